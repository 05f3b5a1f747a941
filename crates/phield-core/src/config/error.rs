//! What can be wrong in configuration: every message says what to fix, none quotes a value that could be a secret.

use std::path::PathBuf;

use crate::key::KeyId;
use crate::name::InvalidName;

/// Something in configuration is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The configuration file cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// The configuration file is not what it should be.
    ///
    /// The line itself is not kept: somebody may have written a passphrase there.
    #[error("{} is not a phield configuration: line {line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A name.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A pin.
    #[error("ring_key is written as 8 hex digits, a colon and 64 hex digits, all lower-case")]
    Pin,
    /// No pin.
    #[error("ring_key is missing: `phield init` prints it")]
    NoPin,
    /// Neither an epoch witness nor a floor.
    #[error("an old key ring could be put back unnoticed: give [epoch_witness] or min_epoch")]
    NoEpochFloor,
    /// No provider.
    #[error("no provider with a key-encryption key is configured: add [[provider]] with keks")]
    NoProvider,
    /// A kind of providers that this build does not have.
    #[error("there is no key provider {0:?} in this build: is the feature of that name on?")]
    UnknownProvider(String),
    /// A kind of key stores that this build does not have.
    #[error("there is no key store with URLs of the scheme {0:?} in this build")]
    UnknownKeyStore(String),
    /// A URL that is none. It may hold a password: it is not shown.
    #[error("the url of [key_store] is not one of a database")]
    KeyStoreUrl,
    /// The table of the key store.
    #[error(
        "the table of [key_store] is 1 to 63 of A-Z a-z 0-9 _, with a schema and a dot before it if need be"
    )]
    KeyStoreTable,
    /// Neither a file nor a URL, or both.
    #[error("[key_store] takes either file or url")]
    KeyStore,
    /// Two providers of one name.
    #[error("two providers are named {0}: give one of them another name, and its kind")]
    ProviderTwice(String),
    /// An entry of a provider. What it says is not shown: it may be a secret.
    #[error("the provider {provider}: {message}")]
    Provider {
        /// Its name.
        provider: String,
        /// What to fix.
        message: String,
    },
    /// Dual control.
    #[error("[dual_control] takes two different keks of configured providers, as provider and kek")]
    DualControl,
    /// Times of the key cache.
    #[error(
        "[cache] takes a soft_ttl_seconds of 1 or more, below hard_ttl_seconds, that of at most 259200 (72 hours), and \
         concurrent_unwraps of 1 or more"
    )]
    CachePolicy,
    /// An environment variable.
    #[error("the variable {0} is not what it should be")]
    Variable(&'static str),
    /// A key-encryption key.
    #[error("no allowed key-encryption key opens key {0}: is its reference in keks, and in the key file?")]
    KekNotAllowed(KeyId),
    /// A key-encryption key that configuration does not have.
    #[error(
        "no provider {0} with the key-encryption key {1} is configured: add it to keks of [[provider]] first"
    )]
    NoSuchKek(String, String),
    /// A provider without keys that stay in a device.
    #[error("the provider of key {0} has no keys that stay in a device")]
    NoDevice(KeyId),
    /// A reference.
    #[error("a key-encryption key reference is 1 to 512 bytes of printable ASCII")]
    KekReference,
    /// No passphrase file.
    #[error("the local provider needs passphrase_file, or the variable {0}")]
    NoPassphraseFile(String),
    /// A passphrase.
    #[error("{} holds no passphrase: it is empty or not UTF-8", .0.display())]
    Passphrase(PathBuf),
    /// A file that should be there.
    #[error("{} does not exist", .0.display())]
    NoFile(PathBuf),
    /// Parameters of a key file.
    #[error("the parameters of the key file are out of bounds")]
    Stretching,
    /// What the FIPS profile (feature `fips`) does not have; the message says what to use instead.
    #[error("refused by the FIPS profile: {0}")]
    NotFips(&'static str),
    /// A build with the feature `fips` whose cryptographic module is not in its FIPS mode.
    #[error("the cryptographic module is not in FIPS mode")]
    NoFipsMode,
    /// The value limit.
    #[error("value_limit is at most 16 MiB")]
    ValueLimit,
    /// How long data keys seal.
    #[error(
        "[data_keys] takes days of 1 to 365 and tokens_per_second above 0, together at most 2^40 tokens a key"
    )]
    DataKeyPolicy,
    /// A key-encryption key that would be replaced by itself.
    #[error("the old and the new key-encryption key are the same one")]
    SameKek,
    /// When keys are to be replaced.
    #[error(
        "[policy] takes days of 1 to 36500 (warning_days and destroy_after_days: of 0), and since = \"2026-01-31\" of a kek"
    )]
    KeyPolicy,
    /// The workers of slow indexes.
    #[error("[slow_index] takes memory_mib of 64 or more, and threads and queue of 1 or more")]
    IndexWorkers,
}
