//! Keeps health data (PHI) unreadable outside the application: in the database, in its backups, in logs and dumps.
//!
//! A model marks its PHI as [`Phi<T>`](Phi). The derive makes the struct of its columns, in which every such field is a
//! token: encrypted under keys that the database never sees, and bound to the application, table, row and column that
//! it was sealed for. Columns that are searched get a blind index beside the token.
//!
//! ```text
//! rare, async, I/O                                    hot, sync, no I/O
//! key file                                            Patient { id, name: Phi<String>, ssn: Phi<String>, clinic }
//!    |  KeyProvider::unwrap                               |  #[derive(EncryptedPhi)]
//!    v                                                    v
//! key store -> manifest (MAC, epoch, check values)    patient.seal(&keyring)
//!    |                                                    |  per Phi field: frame -> AEAD -> token
//!    v                                                    |  per index: normalize -> HMAC -> blind index
//! Keyring  ------------------------------------------>    v
//!                                                     SealedPatient { id, name: Sealed<String>, ssn, ssn_index, clinic }
//!                                                         |  sqlx
//!                                                         v
//!                                                     BLOB, TEXT: ciphertext in every column
//! ```
//!
//! # Start
//!
#![cfg_attr(feature = "derive", doc = "```")]
#![cfg_attr(not(feature = "derive"), doc = "```ignore")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use phield::{AppName, EncryptedPhi, Keyring, Phi};
//!
//! #[derive(Debug, Clone, EncryptedPhi)]
//! #[phi(table = "patients")]
//! struct Patient {
//!     #[phi(row_id)]
//!     id: i64,
//!     name: Phi<String>,
//!     #[phi(index(normalize = "ssn"))]
//!     ssn: Phi<String>,
//!     phone: Option<Phi<String>>, // SQL NULL when absent
//!     clinic: i64,                // not PHI: a plain column
//! }
//!
//! let keyring = Keyring::ephemeral(AppName::from_static("emr"))?; // in unit tests; else from a ring, see `Ring`
//! let ada = Patient { id: 1, name: "Ada".into(), ssn: "999-12-3456".into(), phone: None, clinic: 7 };
//!
//! let sealed: SealedPatient = ada.seal(&keyring)?;
//! assert!(Patient::ssn_index(&keyring, "999 12 3456")?.contains(&sealed.ssn_index));
//! assert_eq!(sealed.open(&keyring)?.name.expose(), "Ada");
//! assert!(format!("{ada:?}").contains("name: Phi(..)"));
//! # Ok(())
//! # }
//! ```
//!
//! # What it does not do
//!
//! * It does not protect against whoever runs code in the application, or reads its memory: keys and opened values
//!   are there.
//! * It does not hide which rows exist, when they change, their plain columns, or which fields are SQL NULL; of a
//!   value it shows the padded length. Equal values of an indexed column are equal in the index: that is what makes
//!   them searchable.
//! * Tokens bind a row's fields to the row, but nothing binds the rows to the table: a row can be deleted, and an old
//!   version of a row put back, by whoever writes to the database.
//! * It is no access control and no ORM.
//!
//! # Features
//!
//! | feature | default | |
//! |---|---|---|
//! | `derive` | yes | [`EncryptedPhi`](macro@EncryptedPhi) |
//! | `aws-lc` | yes | AES-256-GCM by `aws-lc-rs` instead of the `aes-gcm` crate: the same bytes, computed faster |
//! | `fips` | | a profile for a whole build, with `default-features = false`: cryptography by the FIPS module of `aws-lc-rs`, the rest refused; see the section FIPS of [`phield_core`] |
//! | `chrono`, `time` | | `chrono::NaiveDate`, `time::Date` as values |
//! | `serde` | | `Deserialize` of [`Phi`], so that JSON comes in straight; never `Serialize` |
//! | `sqlx-sqlite` | | sealed columns in SQLite, through sqlx 0.9: `phield::sqlx` |
#![forbid(unsafe_code)]

pub use phield_core::config;
pub use phield_core::{
    AllowedProvider, AppName, AsRowId, Binding, BlindIndex, Column, ColumnKind, ColumnName, ColumnSchema,
    Encoded, Erase, Field, FileError, FileStore, FileWitness, Index, IndexError, IndexName, IndexSchema,
    IndexValue, InvalidName, KekReference, KeyContext, KeyId, KeyMaterial, KeyProvider, KeyRecord, KeyState,
    KeyUse, Keyring, LocalKeyFile, LocalProvider, Manifest, Normalizer, OpenError, Opened, Padding,
    Passphrase, Phi, ProviderError, ProviderErrorKind, ProviderFuture, ProviderName, RandomError, Reported,
    Ring, RingError, RingKeyPin, RingName, RingSettings, Row, RowBinding, RowId, RowOpener, Schema,
    ScopeName, Scopes, SealError, Sealed, SealedText, Sealer, StorageKind, Stretching, Suite, TableName,
    TenantName, Token, TokenInfo, Unbound, Unsealable, Value, ValueType, VerifiedRing, Wrap,
};

/// Seals the `Phi` fields of a struct.
///
/// For `struct Patient` it makes `SealedPatient`, the struct of its columns, with the fields of the model in their
/// order and each index column after its field; and these:
///
/// | item | what |
/// |---|---|
/// | `patient.seal(&keyring)`, `Patient::seal_batch(&patients, &keyring)` | rows to columns |
/// | `sealed.open(&keyring)`, `sealed.open_reported(&keyring)`, `SealedPatient::open_batch(rows, &keyring)` | columns to rows |
/// | `Patient::SSN` | the [`Column`]: opens one value without its row |
/// | `Patient::SSN_INDEX`, `Patient::ssn_index(&keyring, value)` | the [`Index`], and its two values for `IN (?, ?)` |
/// | `Patient::seal_ssn(&keyring, &row_id, &ssn)` | one field with its index, for an `UPDATE` |
/// | `Patient::SCHEMA`, `SealedPatient::COLUMNS`, `SealedPatient::COLUMN_LIST` | the table |
/// | `Patient::find_by_ssn(executor, &keyring, value)`, `Patient::fetch(executor, &keyring, &id)` | with a database feature |
///
/// What a field becomes, and its column in SQLite:
///
/// | field of the model | field of `SealedPatient` | SQL type |
/// |---|---|---|
/// | `Phi<T>` | `Sealed<T>` | `BLOB NOT NULL` |
/// | `Option<Phi<T>>` | `Option<Sealed<T>>` | `BLOB`, `NULL` when absent |
/// | `Phi<Option<T>>` | `Sealed<Option<T>>` | `BLOB NOT NULL`: absence is encrypted |
/// | the same with `store = "text"` | `SealedText<T>`, … | `TEXT`, likewise |
/// | an index over `Phi<T>` alone | `BlindIndex` | `BLOB NOT NULL` |
/// | an index with a part that can be absent | `Option<BlindIndex>` | `BLOB`, `NULL` when a part is absent |
/// | anything else | the same type | your own |
///
/// `T` is `String`, `Vec<u8>`, an integer, `bool`, `Uuid`, or a date of `chrono` or `time`. An index over
/// `Phi<Option<T>>` shows by its `NULL` which values are absent.
///
/// Fields of a compound index are sealed together, by one method named after the index, which gives a struct of all
/// their columns. An index column can be `NULL` when a part of it can be absent.
///
/// # Attributes of the struct
///
/// * `#[phi(table = "patients")]`: logical name of the table, bound into every token, and its name in SQL.
/// * `#[phi(unbound)]` instead of a row id: tokens can be moved between rows by whoever writes to the database.
/// * `#[phi(index(name = "family_birth_date", on(family = "name", birth_date = "date")))]`: a compound index.
///
/// # Attributes of a field
///
/// * `row_id`: what the tokens of the row are bound to. An integer, a UUID, text or bytes; made before the row is
///   sealed.
/// * `index(normalize = "exact | digits | ssn | name | date", name = "…", leaks_equality)`: a blind index over the
///   field. `leaks_equality` accepts what an index over a bool shows.
/// * `pad = "block(16) | fixed(N) | padme(N) | none"`: see [`Padding`].
/// * `store = "binary | text"`: a column of [`Sealed`] or of [`SealedText`].
/// * `column = "…"`: logical name of the column, if it is not the field's name: the field can then be renamed.
/// * `sealed`: the type is an alias of `Phi<T>` or `Option<Phi<T>>`; the derive knows these two by name only. An
///   index over an alias can be `NULL`.
///
/// A field that is neither is a plain column. A `Phi` in it, behind an alias, a pointer, in a collection or a struct,
/// does not compile (but for one inside a lock: see `docs/decisions/0002`). A field of your own SQL that is opened by
/// `sealed.open` is opened under the id in its row: check that it is the row that you asked for, as `fetch` does.
#[cfg(feature = "derive")]
pub use phield_derive::EncryptedPhi;

#[cfg(feature = "sqlx-sqlite")]
pub use phield_sqlx as sqlx;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

/// Keeps the part of an expansion that needs a database.
#[cfg(feature = "sqlx-sqlite")]
#[doc(hidden)]
#[macro_export]
macro_rules! __with_sqlx {
    ($($tokens:tt)*) => { $($tokens)* };
}

/// Drops the part of an expansion that needs a database.
#[cfg(not(feature = "sqlx-sqlite"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __with_sqlx {
    ($($tokens:tt)*) => {};
}
