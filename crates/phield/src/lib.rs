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
//! # Testing
//!
//! [`Keyring::ephemeral`] makes a keyring of fresh random keys that exist in the process alone: no ring, no files, no
//! configuration. Models seal, open and search with it as in production; nothing sealed with it opens afterwards.
//!
//! Models with a slow index are tested with [`Keyring::ephemeral_with_cheap_slow_indexes`], where Argon2id with 64 MiB
//! would take the time of everything else together. Release builds refuse it.
//!
#![cfg_attr(feature = "derive", doc = "```")]
#![cfg_attr(not(feature = "derive"), doc = "```ignore")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # if !cfg!(debug_assertions) { return Ok(()); }
//! use phield::{AppName, EncryptedPhi, Keyring, Phi};
//!
//! #[derive(EncryptedPhi)]
//! #[phi(table = "people")]
//! struct Person {
//!     #[phi(row_id)]
//!     id: i64,
//!     #[phi(index(normalize = "ssn", algorithm = "argon2id-m65536-t3-p1"))]
//!     ssn: Phi<String>,
//! }
//!
//! let keyring = Keyring::ephemeral_with_cheap_slow_indexes(AppName::from_static("emr"))?;
//! let sealed = Person { id: 1, ssn: "999-12-3456".into() }.seal(&keyring)?;
//! assert!(Person::ssn_index(&keyring, "999123456")?.contains(&sealed.ssn_index));
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
//! | `derive` | yes | [`EncryptedPhi`](macro@EncryptedPhi), [`PhiValue`](macro@PhiValue), [`Erase`](macro@Erase) |
//! | `aws-lc` | yes | AES-256-GCM by `aws-lc-rs` instead of the `aes-gcm` crate: the same bytes, computed faster |
//! | `chrono` | | `chrono::NaiveDate` and `chrono::DateTime<Utc>` as values |
//! | `time` | | `time::Date` and `time::OffsetDateTime` as values |
//! | `decimal` | | `rust_decimal::Decimal` as a value |
//! | `fips` | | a profile for a whole build, with `default-features = false`: cryptography by the FIPS module of `aws-lc-rs`, the rest refused; see the section FIPS of [`phield_core`] |
//! | `pkcs11` | | keys under a key-encryption key in an HSM, through PKCS#11: `phield::pkcs11` |
//! | `serde` | | sealed values, index values and UIDs in every serde format; `Serialize` of [`Disclosed`]; `Deserialize` of [`Phi`], so that JSON comes in straight; never `Serialize` |
//! | `aws-kms` | | key-encryption keys and index peppers in AWS KMS: `phield::aws_kms`, and the kind `aws-kms` of providers in `phield.toml`. Brings the AWS SDK |
//! | `sqlx-sqlite`, `sqlx-postgres`, `sqlx-mysql` | | sealed columns in a database, through sqlx 0.9: `phield::sqlx`. `sqlx-mysql` is tested with MariaDB |
#![forbid(unsafe_code)]

pub use phield_core::config;
pub use phield_core::{
    AcceptedLosses, AddedColumn, AddedIndex, Ages, AllowedProvider, AppName, AsRowId, AsTenant, Backends,
    Binding, BindingEntry, BindingUse, BlindIndex, CachePolicy, Column, ColumnCoverage, ColumnEntry,
    ColumnKind, ColumnName, ColumnSchema, CoverageMode, CoverageReport, CoveredKey, CoveredKind,
    DataKeyPolicy, DerivedUnwrap, DerivedWrap, DestroyRefused, Destroyed, Destruction, Dialect, Disclosed,
    DisclosedColumn, Disclosure, DisclosureEvent, DisclosureRecorder, DisclosureRefused, DisclosureView,
    DomainName, Encoded, EphemeralError, EpochWitness, Erase, Field, FileError, FileStore, FileWitness,
    IdentifierKind, InTenant, Index, IndexAlgorithm, IndexEntry, IndexError, IndexName, IndexSchema,
    IndexValue, IndexWorkerLimits, IndexWorkers, InvalidName, InvalidUid, Json, KekAge, KekReference, KeyAge,
    KeyContext, KeyCoverage, KeyId, KeyMaterial, KeyPolicy, KeyProvider, KeyRecord, KeySelection, KeyState,
    KeyStatus, KeyStore, KeyStoreFactory, KeyUse, Keyring, KeyringStatus, Keys, LocalKeyFile, LocalProvider,
    Manifest, MemoryProtection, MissingKek, MissingKey, Needs, Normalizer, OfSubject, OpenError,
    OpenRowError, Opened, Padding, Passphrase, Phi, PhiValue, ProviderError, ProviderErrorKind,
    ProviderFactory, ProviderFuture, ProviderName, Purpose, QuarantineReason, QuarantinedRows, RandomError,
    Rekek, RekekPlan, RekekProgress, Rekeked, Reported, Restored, Retired, Retirement, Ring, RingError,
    RingFuture, RingKeyPin, RingName, RingSettings, Rollout, Row, RowBinding, RowId, RowOpener, Schema,
    SchemaFile, SchemaFileError, SchemaSqlError, ScopeName, Scopes, SealError, Sealed, SealedText, Sealer,
    SessionId, Share, SignedCoverage, StorageKind, Stretching, SubjectError, SubjectKey, SubjectKeyMap,
    SubjectKeyring, SubjectKeys, SubjectStore, SubjectStoreError, SubjectStoreFuture, SubjectUse, Successor,
    Suite, Surrogate, TableEntry, TableName, TenantName, Token, TokenInfo, Uid, UidDomain, UidError, Unbound,
    UnderSubjectKey, Unsealable, Urgency, Value, ValueType, VerifiedRing, WithExtra, WithoutExtra,
    WithoutSubject, WithoutTenant, Wrap, WrapCheck, WrapOutcome, WrapsChanged, protect_memory,
};

/// Loads the keyring that a `phield.toml` describes, with every provider and key store that a feature of this crate brings.
/// The keys refresh themselves in the background; see [`Keyring`].
///
/// # Errors
/// See [`RingError`].
pub async fn load(config: impl AsRef<std::path::Path>) -> Result<Keyring, RingError> {
    Keyring::load_with(config, &backends()).await
}

/// The kinds of providers and key stores that the features of this crate bring.
#[must_use]
pub fn backends() -> Backends {
    let backends = Backends::local();
    #[cfg(feature = "pkcs11")]
    let backends = backends.with_provider(pkcs11::Pkcs11ProviderFactory::new());
    #[cfg(feature = "aws-kms")]
    let backends = backends.with_provider(aws_kms::AwsKmsFactory::new());
    #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
    let backends = backends.with_key_store(phield_sqlx::TableKeyStores::new());
    backends
}

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
/// | `Patient::find_by_ssn(executor, &keyring, value).await`, `Patient::fetch(executor, &keyring, &id).await` | with a database feature |
/// | `patient.seal_async(&keyring).await`, `Patient::seal_batch_async(…)`, `Patient::ssn_index_async(…)`, `Patient::seal_ssn_async(…)` | with a slow or device index |
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
/// | an embedded struct with `flatten` | its sealed struct | the columns of its fields |
/// | anything else | the same type | your own |
///
/// `T` is one of these, or `Option` of it; an index over `Phi<Option<T>>` shows by its `NULL` which values are absent:
///
/// * `String`, `Vec<u8>`, an integer that fits `i64`, `f64`, `bool`, `Uuid`, [`Surrogate`];
/// * a date or a point in time of `chrono` or `time`, a `Decimal` of `rust_decimal`, each behind its feature;
/// * [`Json<U>`](Json) of any serde value `U`: with `Serialize`, `Deserialize` and `PartialEq`, and
///   [`#[derive(Erase)]`](macro@Erase); the feature `serde` of this crate is not needed for it;
/// * your own newtypes and enumerations, by [`#[derive(PhiValue)]`](macro@PhiValue).
///
/// Fields of a compound index are sealed together, by one method named after the index, which gives a struct of all
/// their columns. An index column can be `NULL` when a part of it can be absent.
///
/// # Attributes of the struct
///
/// * `#[phi(table = "patients")]`: logical name of the table, bound into every token, and its name in SQL.
/// * `#[phi(sql_name = "emr.persons")]`: its name in SQL, if that is another one. A table is renamed by this one; under
///   another logical name no row opens.
/// * `#[phi(unbound)]` instead of a row id: tokens can be moved between rows by whoever writes to the database.
/// * `#[phi(subject_keys)]`: rows are sealed under the key of their subject, so that one person's data can be shredded;
///   see below.
/// * `#[phi(serde)]`: the struct of the columns, ciphertext, is a serde type (feature `serde`).
/// * `#[phi(part_of = Patient)]`, `#[phi(embedded)]`: a part of a model, or columns for several models; see below.
/// * `#[phi(index(name = "family_birth_date", on(family = "name", birth_date = "date")))]`: a compound index. It takes
///   `bits`, `algorithm`, `leaks_equality`, `unique` and `sql_name` like an index over one field.
///
/// # Attributes of a field
///
/// * `row_id`: what the tokens of the row are bound to. An integer, a UUID, text or bytes; made before the row is
///   sealed. Several fields, at most eight, are a composite row id: a tuple in the place of the row
///   id. Their order is the one of the fields, and stays: two of one type that change places are another row id.
/// * `tenant`: the tenant that the row belongs to, bound into every token and every index value: a [`TenantName`], text
///   that is one, a UUID or an integer. Tenants are apart: a row does not open, and a value is not found, as another
///   tenant's. Whatever searches takes the tenant first; a row is `InTenant { tenant, row }`.
/// * `subject`: the person that the row belongs to, bound into every token beside the row id. An integer, a UUID, a
///   [`Uid`], text or bytes. Give it wherever a row reaches its person through a plain column: otherwise somebody who
///   writes to the database re-assigns the row by editing that column. The row id may be the subject, too.
/// * `extra`: a value of your own, bound into every token of the row: a revision, larger with every change. A cell that is
///   put back on its own to an older value does not open; a whole row that is put back does. The fields of the row are
///   sealed together: there is no `Patient::seal_ssn`. Two writers who both make revision 6 of 5 make two rows whose
///   cells can be mixed: add `AND revision = 5` to the `UPDATE`, and start over when it meets no row.
/// * `index(normalize = "exact | digits | ssn | name | date", name = "…", bits = 256, algorithm = "…",
///   leaks_equality, unique, sql_name = "…")`: a blind index over the field. `leaks_equality` accepts what an index over bools and enumerations
///   alone shows.
///   * `normalize`: what is found as equal. It checks nothing: an `ssn` of two digits is compared as the text it is.
///   * `bits`: how many bits of a value are kept, 1 to 256, which is the default. Fewer make different values look
///     alike: candidates are opened and compared, by the finder or by you.
///   * `unique`: the schema makes the column unique, so that the database refuses a second row with an equal value; its
///     refusal tells whoever may insert that somebody has the value. Not for truncated indexes. Index values under
///     different peppers differ: while peppers are rotated, uniqueness is not complete.
///   * `algorithm`: `hmac-sha256` (fast, the default), `argon2id-m65536-t3-p1` and `pbkdf2-sha256-i600000` (slow, with
///     these or larger numbers), `device-hmac-sha256` (in the KMS or HSM). See [`IndexAlgorithm`].
/// * `pad = "block(16) | fixed(N) | padme(N) | none"`: see [`Padding`].
/// * `store = "binary | text"`: a column of [`Sealed`] or of [`SealedText`].
/// * `column = "…"`: logical name of the column, if it is not the field's name: the field can then be renamed.
/// * `sql_name = "…"`: name of the column in SQL, if it is not the field's name. A column is renamed by this one.
/// * `max_len = 4000`: most bytes of a value; longer ones are not sealed. By it the schema knows the size of the column.
/// * `sql_type = "VARCHAR(40)"`: type of a plain column in SQL, for the schema.
/// * `generated`: a plain column that the database fills: it is read, and never written; in a new row put any value, 0.
///   Not for what is bound, which is
///   there before the row is sealed: take the next value of the sequence first, or another column as the row id.
/// * `flatten`, `flatten = "home_"`: the columns of an embedded struct; see below.
/// * `sealed`: the type is an alias of `Phi<T>` or `Option<Phi<T>>`; the derive knows these two by name only. An
///   index over an alias can be `NULL`.
///
/// A field that is none of these is a plain column. A `Phi` in it, behind an alias, a pointer, in a collection or a struct,
/// does not compile (but for one inside a lock: see `docs/decisions/0002`). A row of your own SQL that is opened by
/// `sealed.open` is opened under the id and the subject in it: check that they are the ones that you asked for, as
/// `fetch` does with the id.
///
/// What does not open is an [`OpenRowError`]: it names table and column, and has the row id by an accessor alone.
///
/// Normalizer, algorithm and bits of an index never change under its name: a changed definition is a new index.
///
/// # Parts of a model
///
/// A struct with some of the columns of a model reads those, and seals nothing. What the model says holds for it: table,
/// labels, paddings. It marks row id, tenant, subject and `extra` again, and says `sql_name` and `store` as the model does;
/// whatever disagrees does not compile. It has `open`, `open_reported`, `open_batch` and `fetch`, and `COLUMN_LIST`.
///
#[cfg_attr(feature = "derive", doc = "```")]
#[cfg_attr(not(feature = "derive"), doc = "```ignore")]
/// # use phield::{EncryptedPhi, Phi};
/// #[derive(EncryptedPhi)]
/// #[phi(table = "patients")]
/// struct Patient {
///     #[phi(row_id)]
///     id: i64,
///     name: Phi<String>,
///     history: Phi<String>,
/// }
///
/// #[derive(EncryptedPhi)]
/// #[phi(part_of = Patient)]
/// struct PatientName {
///     #[phi(row_id)]
///     id: i64,
///     name: Phi<String>,
/// }
///
/// assert_eq!(SealedPatientName::COLUMN_LIST, "id, name");
/// ```
///
/// # Flattened structs
///
/// The fields of an embedded struct are columns of the models that it is flattened into, each bound to its own name with
/// the prefix: a token does not open under another prefix. The embedded fields have no indexes, no column
/// handles and no methods that seal one alone, the others of the model keep theirs; keep at the top what is searched for.
/// `query_as!` fills no nested structs: use the function `query_as`, or a struct without `flatten`.
///
#[cfg_attr(feature = "derive", doc = "```")]
#[cfg_attr(not(feature = "derive"), doc = "```ignore")]
/// # use phield::{EncryptedPhi, Phi};
/// #[derive(EncryptedPhi)]
/// #[phi(embedded)]
/// struct Address {
///     street: Phi<String>,
///     country: String,
/// }
///
/// #[derive(EncryptedPhi)]
/// #[phi(table = "patients")]
/// struct Patient {
///     #[phi(row_id)]
///     id: i64,
///     #[phi(flatten)]
///     address: Address,
///     #[phi(flatten = "work_")]
///     work: Address,
/// }
///
/// assert_eq!(SealedPatient::COLUMN_LIST, "id, street, country, work_street, work_country");
/// ```
///
/// # Generic models
///
/// A model has type and constant parameters: `struct Observation<T: Value> { …, value: Phi<T> }`. All instances have one
/// table, and a token of one type of values does not open as another. The rules that depend on such a type (a bool is
/// padded, a plain column is no `Phi`) are checked where the model is used with it.
///
/// # Slow and device indexes
///
/// A slow index takes memory and a tenth of a second for each value, by the [workers](IndexWorkers) of the keyring. A
/// model with one has every method that computes values of it twice: the plain one blocks its thread, the one whose
/// name ends in `_async` does not. `seal_batch_async` has the values of 64 rows under way at a time. A device is asked
/// over a network: with a device index the plain ones are not there. Finders wait for both kinds.
///
/// # Subjects
///
/// With `subject`, what a row is bound to is a pair: column handles and `Patient::seal_ssn` take
/// `&OfSubject { row: id, subject: person }` in the place of the row id ([`Unbound`] as `row` in an `unbound` table).
/// With `subject_keys` it is [`UnderSubjectKey`] and whatever seals or opens takes a [`SubjectKeyring`] in the place
/// of the [`Keyring`], so that forgetting the keys of subjects does not compile. Index values do not depend on them.
///
#[cfg_attr(feature = "derive", doc = "```")]
#[cfg_attr(not(feature = "derive"), doc = "```ignore")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use phield::{AppName, EncryptedPhi, Keyring, Phi, UnderSubjectKey};
/// #[derive(EncryptedPhi)]
/// #[phi(table = "visits", subject_keys)]
/// struct Visit {
///     #[phi(row_id)]
///     id: i64,
///     #[phi(subject)]
///     patient_id: i64,
///     note: Phi<String>,
/// }
///
/// # let keyring = Keyring::ephemeral(AppName::from_static("emr"))?;
/// // In production: `keyring.subject_key_or_new(&store, None, &7_i64).await?`, which makes the secret of a person, stores
/// // it and reads it again; for rows of many people `keyring.subject_keys(&store, None, &ids).await?`; and
/// // `keyring.shred_subject(&store, None, &7_i64).await?` for good.
/// let stored = keyring.new_subject_secret(None, &7_i64)?;
/// let ada = keyring.open_subject_secret(None, &7_i64, &stored)?;
/// let keys = keyring.with_subjects(&ada);
///
/// let sealed = Visit { id: 1, patient_id: 7, note: "cough".into() }.seal(&keys)?;
/// let row = UnderSubjectKey { row: 1, subject: 7 };
/// assert_eq!(Visit::NOTE.open(&keys, &row, &sealed.note)?.expose(), "cough");
/// # Ok(())
/// # }
/// ```
///
/// The store is a [`SubjectStore`] of your own: a table of the wrapped secrets, best in another database whose backups are
/// kept for a short time, and read from its primary.
///
/// ```sql
/// CREATE TABLE subject_secrets (tenant TEXT NOT NULL, subject BLOB NOT NULL, stored BLOB NOT NULL,
///                               PRIMARY KEY (tenant, subject))
/// ```
///
/// A finder opens every candidate. When the key of one row's subject was not loaded, or the subject was shredded, it
/// returns the error of that row and no other row: ask for the subjects of the candidates first, by
/// `SELECT patient_id … WHERE ssn_index IN (?, ?)`, load those keys, and delete the index values of whom you shred.
#[cfg(feature = "derive")]
pub use phield_derive::EncryptedPhi;

/// Makes a type of your own a value that can be sealed: implements [`PhiValue`](trait@PhiValue) and
/// [`Erase`](trait@Erase).
///
/// * A newtype, a struct with one field, is sealed as that field. `#[phi(parse = "path::to::function")]` names an
///   `fn(Field) -> Option<Self>` that opened values go through; what it gives back `None` for can no longer be opened,
///   and what it does not keep it should erase.
/// * An enumeration, an enum whose variants have no fields, is sealed as text: the name of the variant as written, or
///   the one in `#[phi(name = "…")]`.
///
/// Columns of enumerations are held to the rules for `bool`: all names have one padded length, and an index over them
/// alone says `leaks_equality`. Values of other shapes are sealed as [`Json`].
///
/// ```
/// use phield::{Phi, PhiValue};
///
/// #[derive(Debug, Clone, PartialEq, PhiValue)]
/// #[phi(parse = "Self::parse")]
/// struct Mrn(String);
///
/// impl Mrn {
///     fn parse(text: String) -> Option<Self> {
///         text.starts_with("MRN-").then_some(Self(text))
///     }
/// }
///
/// #[derive(Debug, Clone, Copy, PartialEq, PhiValue)]
/// enum HivStatus {
///     #[phi(name = "positive")]
///     Positive,
///     #[phi(name = "negative")]
///     Negative,
///     #[phi(name = "not tested")]
///     NotTested,
/// }
///
/// let (mrn, status) = (Phi::new(Mrn("MRN-0001".to_owned())), Phi::new(HivStatus::Negative));
/// ```
///
/// # Security
/// Stored values carry the names. Renaming a variant without `#[phi(name = "…")]`, or changing that name, makes the
/// values that were sealed under the old one unreadable.
#[cfg(feature = "derive")]
pub use phield_derive::PhiValue;

/// Erases every field: implements [`Erase`](trait@Erase), for types inside [`Json`].
///
/// Of an enum it erases the fields of the variant that is there; an enum without any fields is overwritten by its first
/// variant. A type parameter has to erase itself, too.
///
/// ```
/// use phield::{Erase, Json, Phi};
///
/// #[derive(Debug, PartialEq, Erase, serde::Serialize, serde::Deserialize)]
/// struct Address {
///     street: String,
///     lines: Vec<String>,
///     zip: Option<u32>,
/// }
///
/// let address = Address { street: "Elm St 1".to_owned(), lines: Vec::new(), zip: Some(12345) };
/// let sealed_as_one_value = Phi::new(Json(address));
/// ```
#[cfg(feature = "derive")]
pub use phield_derive::Erase;

#[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
pub use phield_sqlx as sqlx;

#[cfg(feature = "aws-kms")]
pub use phield_aws_kms as aws_kms;
#[cfg(feature = "pkcs11")]
pub use phield_pkcs11 as pkcs11;

mod methods;
mod schema_test;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

/// Makes a `#[test]` that keeps the schema file of an application current: `phield::schema_test!("phield.schema.json",
/// [Patient, Visit]);`, once, in a test or module that sees every model.
///
/// The path is relative to the crate's `Cargo.toml`. The test fails where the file differs from the models, and says how;
/// with the variable `PHIELD_UPDATE_SCHEMA=1` it writes the file instead. It fails, too, where two models do not go
/// together: one table twice, two tables in one SQL table. Commit the file: it is what `phield schema sql` and other
/// commands read.
///
/// ```no_run
/// # #[cfg(feature = "derive")]
/// # mod models {
/// #[derive(phield::EncryptedPhi)]
/// #[phi(table = "patients")]
/// struct Patient {
///     #[phi(row_id)]
///     id: i64,
///     name: phield::Phi<String>,
/// }
///
/// phield::schema_test!("phield.schema.json", [Patient]);
/// # }
/// ```
#[macro_export]
macro_rules! schema_test {
    ($file:expr, [$($model:ty),+ $(,)?] $(,)?) => {
        #[test]
        fn phield_schema() {
            let models = [$(<$model>::SCHEMA),+];
            let folder = ::core::env!("CARGO_MANIFEST_DIR");
            if let ::core::result::Result::Err(message) = $crate::__private::schema_test(folder, $file, &models) {
                ::core::panic!("{message}");
            }
        }
    };
}

/// Keeps the part of an expansion that needs a database.
#[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __with_sqlx {
    ($($tokens:tt)*) => { $($tokens)* };
}

/// Drops the part of an expansion that needs a database.
#[cfg(not(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql")))]
#[doc(hidden)]
#[macro_export]
macro_rules! __with_sqlx {
    ($($tokens:tt)*) => {};
}
