//! The cryptography and the types of phield: application-layer encryption for protected health information (PHI).
//!
//! Use the crate `phield`, which adds the derive; this crate is what a security reviewer reads. It is synchronous and
//! does no I/O, except in `local` (the key file), `store` (the key store file), `witness` (the epoch witness)
//! and where `config` reads `phield.toml`. Key providers are its one asynchronous joint ([`KeyProvider`]).
//!
//! ```text
//! rare, async, I/O                                    hot, sync, no I/O
//! key file · KMS · HSM                                the application's model with Phi<T> fields
//!    |  KeyProvider::unwrap                               |
//!    v                                                    v
//! key store -> manifest (MAC, epoch, check values)    seal a row: one salt, one row key, one commitment
//!    |                                                    |  per field: frame -> AEAD -> token
//!    v                                                    |  per index: normalize -> HMAC -> blind index
//! Keyring  ------------------------------------------>    v
//!                                                     Sealed<T>, BlindIndex: ciphertext in every column
//! ```
//!
//! One file per noun of the format: `schedule` holds every label and every key derivation, `context` the identities,
//! `token` the bytes of a token, `cipher` the AEADs, `frame` and `value` what is encrypted, `row` puts them together;
//! `record`, `manifest`, `wrap` and `ring` are the keys at rest. Reference vectors stand in `vectors`.
//!
//! # FIPS
//!
//! The feature `fips` is a profile for a whole build (`default-features = false`), meant to be approvable under
//! FIPS 140-3. It writes the same format, and what it writes opens everywhere. In it,
//!
//! * HMAC-SHA-256, SHA-256, PBKDF2 and AES-256-GCM come from the FIPS module of `aws-lc-rs` (AWS-LC-FIPS, linked
//!   statically), and the module makes the nonces of everything that is sealed: fields, wraps, key files;
//! * refused are data keys for XChaCha20-Poly1305, key files stretched with Argon2id and passphrases of less than
//!   14 bytes ([`ConfigError::NotFips`](config::ConfigError::NotFips)), and a module that is not in its FIPS mode
//!   ([`ConfigError::NoFipsMode`](config::ConfigError::NoFipsMode)). [`Stretching::default`] is PBKDF2.
//!
//! Not from the module: the randomness of keys, key ids, salts and passphrases is the operating system's, as in every
//! build. Run on an operating system whose generator is validated, or take keys from a KMS or HSM. The counter mode of
//! SP 800-108 is a loop of this crate around the module's HMAC; a test compares it with the module's own. What a
//! [`KeyProvider`] of somebody else computes is not known here.
//!
//! The feature makes nothing validated. A deployment is, where the linked module has a certificate that covers the
//! version and the platform, and runs in its approved mode. Commitments (`COM`) and check values (`KCV`) publish KDF
//! output: whether that is acceptable is a question for the laboratory. Why it is a profile and not an option among
//! others: `docs/decisions/0003-fips-profile.md`.
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

mod backends;
mod binding;
mod blind_index;
mod cache_policy;
mod cipher;
mod civil;
mod clock;
mod column;
pub mod config;
mod context;
mod coverage;
mod data_key_policy;
mod disclosure;
mod durable;
mod error;
mod field;
mod fips;
mod frame;
mod index_algorithm;
mod index_workers;
mod indexing;
mod kdf;
mod key;
mod key_policy;
mod key_slot;
mod keyring;
mod keyring_status;
mod local;
mod lp;
mod manifest;
mod memory;
mod model;
mod name;
mod normalize;
mod patience;
mod phi;
mod provider;
mod random;
mod record;
mod refresher;
mod reseal;
mod ring;
mod row;
mod row_id;
mod schedule;
mod schema;
mod scope;
mod sealed;
mod settings;
mod split;
mod store;
mod stretch;
mod subject_key;
mod token;
mod uid;
mod value;
mod value_type;
mod wipe;
mod witness;
mod wrap;

#[cfg(all(any(test, feature = "fuzzing"), not(feature = "fips")))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "serde")]
mod serde;
#[cfg(feature = "sqlx")]
mod sqlx;

#[cfg(feature = "sqlx")]
#[doc(hidden)]
pub use self::sqlx::ColumnError;
pub use backends::{Backends, KeyStoreFactory, ProviderFactory};
pub use binding::{
    AsTenant, BindingUse, InTenant, OfSubject, RowBinding, SubjectUse, Unbound, UnderSubjectKey, WithExtra,
    WithoutExtra, WithoutSubject, WithoutTenant,
};
pub use blind_index::{BlindIndex, Index, IndexError};
pub use cache_policy::CachePolicy;
#[doc(hidden)]
pub use civil::utc;
pub use column::Column;
pub use context::{KeyContext, Row, Share};
#[doc(hidden)]
pub use coverage::clean;
pub use coverage::{
    ColumnCoverage, CoverageMode, CoverageReport, CoveredKey, CoveredKind, KeyCoverage, QuarantineReason,
    QuarantinedRows, SignedCoverage,
};
pub use data_key_policy::DataKeyPolicy;
pub use disclosure::{
    Disclosed, DisclosedColumn, Disclosure, DisclosureEvent, DisclosureRecorder, DisclosureRefused,
    DisclosureView,
};
pub use durable::{Faults, FileError, Step};
pub use error::{OpenError, OpenRowError, RingError, SealError, Unsealable};
pub use field::Field;
pub use frame::Padding;
pub use index_algorithm::IndexAlgorithm;
pub use index_workers::{IndexWorkerLimits, IndexWorkers};
#[doc(hidden)]
pub use indexing::PendingIndex;
pub use key::{KeyId, KeyMaterial};
pub use key_policy::KeyPolicy;
pub use keyring::{EphemeralError, Keyring};
pub use keyring_status::{KeyStatus, KeyringStatus};
pub use local::{LocalKeyFile, LocalProvider, Passphrase};
pub use manifest::Manifest;
pub use memory::{MemoryProtection, protect_memory};
pub use model::IndexValue;
#[doc(hidden)]
pub use model::{
    Columns, Embedded, IndexColumn, IndexValues, IndexVisitor, MaybePhi, Model, PendingIndexes, PhiField,
    Place, Plain, ReadModel, TokenColumn, assert_bound, assert_distinct, assert_plain, assert_sealed,
    concat_columns, extra, field, has_one_length, index_column, join, joined_len, names_of, next_token,
    open_field, part, placed, prefixed, prefixed_len, prefixed_names, row_opener, same_row_id, same_tenant,
    schema, seal_all_fields, seal_fields, seal_group, seal_indexed, seal_one, searched, subject, subject_key,
    tenant, text,
};
pub use name::{
    AppName, ColumnName, DomainName, IndexName, InvalidName, ProviderName, Purpose, RingName, ScopeName,
    TableName, TenantName,
};
pub use normalize::Normalizer;
pub use phi::{Phi, PlainColumn};
pub use provider::{AllowedProvider, KeyProvider, ProviderError, ProviderErrorKind, ProviderFuture};
pub use random::RandomError;
pub use record::{KekReference, KeyRecord, KeyState, KeyUse, Wrap};
pub use refresher::{MissingKey, Needs};
pub use reseal::{
    PlainValue, PlaintextError, ReindexError, ResealError, RowIdentity, SealedColumn, TableRows,
    key_of_token, key_of_token_start, text_of_token, token_of_text,
};
pub use ring::{
    AcceptedLosses, Ages, DestroyRefused, Destroyed, Destruction, KekAge, KeyAge, KeySelection, MissingKek,
    Rekek, RekekPlan, RekekProgress, Rekeked, Restored, Retired, Retirement, Ring, Rollout, Successor,
    Urgency, VerifiedRing, WrapCheck, WrapOutcome, WrapsChanged,
};
pub use row::{Reported, RowOpener, Sealer, Token};
pub use row_id::{AsRowId, RowId};
pub use schema::{
    AddedColumn, AddedIndex, Binding, BindingEntry, ColumnEntry, ColumnKind, ColumnSchema, Dialect,
    IndexEntry, IndexSchema, Schema, SchemaFile, SchemaFileError, SchemaSqlError, StorageKind, TableEntry,
};
pub use scope::Scopes;
pub use sealed::{Sealed, SealedText, Storage};
pub use settings::{RingKeyPin, RingSettings};
pub use store::{FileStore, KeyStore, RingFuture};
pub use stretch::Stretching;
pub use subject_key::{
    Keys, SubjectError, SubjectKey, SubjectKeyMap, SubjectKeyring, SubjectKeys, SubjectStore,
    SubjectStoreError, SubjectStoreFuture,
};
pub use token::{Suite, TokenInfo};
pub use uid::{IdentifierKind, InvalidUid, SessionId, Surrogate, Uid, UidDomain, UidError};
pub use value::{Encoded, Json, Opened, PhiValue, Value, ValueType};
pub use wipe::Erase;
pub use witness::{EpochWitness, FileWitness};
pub use wrap::{DerivedUnwrap, DerivedWrap};

#[cfg(test)]
mod tests;
