//! What can go wrong, one enum per operation. No error carries plaintext, key material or row values.

use std::fmt;
use std::path::PathBuf;

use crate::config::ConfigError;
use crate::durable::FileError;
use crate::key::KeyId;
use crate::name::{ColumnName, TableName};
use crate::provider::ProviderError;
use crate::random::RandomError;
use crate::record::KeyState;
use crate::ring::DestroyRefused;
use crate::row_id::RowId;

/// Why a value was not opened (format §4). Causes that an attacker could tell apart are one variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Not a token: too short, an unknown suite, key id 0, or a text form that is not canonical.
    #[error("not a phield v1 token")]
    Malformed,
    /// The ring has no record of this key.
    #[error("key {0} is not in the key ring")]
    UnknownKey(KeyId),
    /// The key is in the ring, but no provider could unwrap it. Try again later.
    #[error("key {0} could not be unwrapped: its provider is out of reach")]
    KeyUnavailable(KeyId),
    /// The key is in the ring, but its provider refuses it: access denied, or its key-encryption key is disabled.
    #[error("key {0} could not be unwrapped: its provider refuses it")]
    KeyRefused(KeyId),
    /// The row is sealed under its subject's key, and the subject has no secret, or it was not loaded. Of the class
    /// `UnknownKey`.
    #[error("the row's subject has no secret, or it was not loaded")]
    NoSubjectSecret,
    /// The key was destroyed, or the row's subject was shredded: then this is the id of the subject record.
    #[error("key {0} is destroyed, or the subject of the row was shredded")]
    KeyState(KeyId),
    /// The token was not sealed with this key for this place, or has been changed; or its value is not of the
    /// declared type.
    #[error("the token does not authenticate")]
    Authentication,
}

/// Why a row, or one column of it, was not opened, and where.
///
/// `Debug` and `Display` show table and column, and never the row id, which may be a medical record number:
/// [`row_id`](Self::row_id) gives it.
#[derive(Clone, PartialEq, Eq)]
pub struct OpenRowError {
    cause: OpenError,
    place: Box<Place>,
}

#[derive(Clone, PartialEq, Eq)]
struct Place {
    table: TableName,
    column: Option<ColumnName>,
    row_id: Option<RowId<'static>>,
}

impl OpenRowError {
    pub(crate) fn new(
        cause: OpenError,
        table: TableName,
        column: Option<ColumnName>,
        row_id: Option<RowId<'static>>,
    ) -> Self {
        let place = Place {
            table,
            column,
            row_id,
        };
        Self {
            cause,
            place: Box::new(place),
        }
    }

    /// Why.
    #[must_use]
    pub fn cause(&self) -> OpenError {
        self.cause
    }

    /// Logical name of the table.
    #[must_use]
    pub fn table(&self) -> &TableName {
        &self.place.table
    }

    /// Logical name of the column; `None` where no token was looked at.
    #[must_use]
    pub fn column(&self) -> Option<&ColumnName> {
        self.place.column.as_ref()
    }

    /// The row id; `None` for an unbound row.
    ///
    /// # Security
    /// It may name a person: do not log it where it may not be.
    #[must_use]
    pub fn row_id(&self) -> Option<&RowId<'static>> {
        self.place.row_id.as_ref()
    }
}

impl fmt::Display for OpenRowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column() {
            Some(column) => write!(f, "{}.{column}: {}", self.table(), self.cause),
            None => write!(f, "{}: {}", self.table(), self.cause),
        }
    }
}

impl fmt::Debug for OpenRowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenRowError({}", self.table())?;
        self.column().map_or(Ok(()), |column| write!(f, ".{column}"))?;
        write!(f, ", {:?})", self.cause)
    }
}

// No `source`: the cause is in the text already.
impl std::error::Error for OpenRowError {}

impl PartialEq<OpenError> for OpenRowError {
    fn eq(&self, cause: &OpenError) -> bool {
        self.cause == *cause
    }
}

impl From<OpenRowError> for OpenError {
    fn from(error: OpenRowError) -> Self {
        error.cause
    }
}

/// Why a value was not sealed. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The value or the row id cannot be sealed.
    #[error(transparent)]
    Unsealable(#[from] Unsealable),
    /// The ring has no active data key for this table and tenant.
    #[error("the key ring has no active data key for this table and tenant")]
    NoActiveKey,
    /// The ring has no active index pepper for this table and tenant.
    #[error("the key ring has no active index pepper for this table and tenant")]
    NoActivePepper,
    /// The active key could not be unwrapped.
    #[error("key {0} could not be unwrapped: its provider is out of reach")]
    KeyUnavailable(KeyId),
    /// The provider of the active key refuses it: access denied, or its key-encryption key is disabled.
    #[error("key {0} could not be unwrapped: its provider refuses it")]
    KeyRefused(KeyId),
    /// No manifest could be read and verified within the hard TTL. Try again later.
    #[error(
        "the key ring could not be verified within its hard TTL: its key store, or the provider of its ring key, is out of reach"
    )]
    RingExpired,
    /// The active key is past its `not after`: rotate it.
    #[error("key {0} is past its last day of sealing: rotate it")]
    KeyExpired(KeyId),
    /// The system clock stands before 1970.
    #[error("the system clock stands before 1970")]
    Clock,
    /// A required field was given no value.
    #[error("a required sealed field has no value")]
    NoValue,
    /// The values do not fit the index: another number of parts, or a type that its normalizer does not take.
    #[error("the values do not fit the definition of the index")]
    WrongIndexParts,
    /// The row is sealed under its subject's key, and there is none.
    #[error(transparent)]
    Subject(crate::subject_key::SubjectError),
    /// A slow or device index was not computed.
    #[error(transparent)]
    Index(crate::blind_index::IndexError),
    /// A field of another table than the row's.
    #[error("a field belongs to another table than its row")]
    WrongTable,
    /// A field whose column is declared with a subject, or with subject keys, in a row that has none, or the other way
    /// round: it would be sealed under another key than declared.
    #[error("a field's column is declared with another use of subjects than its row has")]
    WrongBinding,
    /// Two fields of one call have the same column and `extra`.
    #[error("two fields of one row have the same identity")]
    DuplicateField,
    /// More than 2^16 fields in one call: the limit of tokens under one salt (format §6).
    #[error("a row has more than 65536 fields")]
    TooManyFields,
    /// The operating system gave no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl SealError {
    /// Whether it is an outage, and the same call may work later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::KeyUnavailable(_) | Self::RingExpired => true,
            Self::Index(error) => error.is_retryable(),
            Self::Subject(error) => matches!(error, crate::subject_key::SubjectError::KeyUnavailable(_)),
            _ => false,
        }
    }
}

impl OpenError {
    /// Whether it is an outage, and the same call may work later.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::KeyUnavailable(_))
    }
}

/// A value, padding or identity that cannot be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsealable {
    /// The value is longer than the ring's value limit (1 MiB unless configured).
    #[error("the value is longer than the value limit")]
    ValueTooLong,
    /// The framed value is longer than its `fixed(n)` padding, or than 18 MiB once padded.
    #[error("the value is longer than its padding allows")]
    PaddingTooShort,
    /// A bool or an enumeration without padding, or with one that leaves values of different lengths (format §5).
    #[error("the length of a bool or an enumeration would show: give it a padding that all its values fit")]
    LengthShows,
    /// A value that its own type would not take back: [`PhiValue::from_repr`](crate::PhiValue::from_repr) refuses what
    /// `to_repr` gives.
    #[error("a value would not be taken back by its own type")]
    NotTakenBack,
    /// A structured value that serde cannot write as JSON, or could not read back as what it was: a NaN, for example.
    #[error("a structured value does not come back from JSON as what it is")]
    Json,
    /// An integer outside the range of `i64`.
    #[error("an integer lies outside the range of i64")]
    IntegerRange,
    /// A date or time outside the years 0001 to 9999.
    #[error("a date lies outside the years 0001 to 9999")]
    DateRange,
    /// A row id or subject that is too long, empty composite or nested.
    #[error("a row id is too long, or a composite one that is empty, nested or of more than 16 parts")]
    RowId,
    /// A tenant that is not 1–128 bytes of `[A-Za-z0-9_.:-]`.
    #[error("a tenant is not 1 to 128 bytes of A-Z a-z 0-9 _ . : -")]
    Tenant,
    /// An `extra` of more than 1024 bytes.
    #[error("an extra is longer than 1024 bytes")]
    Extra,
}

/// Why a ring was not loaded or not changed (format §8.5).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// Configuration is wrong; the message says what to fix.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Stored bytes are not what they should be.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// The manifest, a wrap or the key file does not authenticate, or is of another ring or application. A wrong
    /// passphrase looks the same.
    #[error("the key ring does not authenticate: wrong key, passphrase, ring or app, or it was changed")]
    Authentication,
    /// A local key file does not open with the passphrase that was read for it: `Authentication` by format §8.5, with the files named.
    #[error(
        "the key file {} does not open with the passphrase in {}, which {named_by} names: it is not its passphrase, or one of the two \
         files was changed",
        .key_file.display(),
        .passphrase_file.display()
    )]
    Passphrase {
        /// The key file.
        key_file: PathBuf,
        /// Where the passphrase was read.
        passphrase_file: PathBuf,
        /// What named that file: the variable, which comes first, or configuration.
        named_by: String,
    },
    /// An older manifest than one that was seen before, or another one of the same epoch.
    #[error(
        "the key ring is stale: it has epoch {epoch}, and epoch {known} is known to the epoch witness or min_epoch"
    )]
    Stale {
        /// Its epoch.
        epoch: u64,
        /// The highest epoch known.
        known: u64,
    },
    /// A provider is out of reach: try again later.
    #[error("key {0} cannot be unwrapped now")]
    KeyUnavailable(KeyId, #[source] ProviderError),
    /// A provider denied access, or its key is disabled or pending deletion.
    #[error("the provider refused to unwrap key {0}")]
    KeyRefused(KeyId, #[source] ProviderError),
    /// The pinned ring key is compromised or destroyed.
    #[error("the pinned ring key {0} is compromised or destroyed")]
    KeyState(KeyId),
    /// A key cannot go from its state to the one that was asked for.
    #[error("key {0} is {1} and cannot become {2}")]
    Transition(KeyId, KeyState, KeyState),
    /// A change would change when a key that seals stops to: only activation sets that, and it may be brought forward.
    #[error("the change would let key {0} seal for longer, or for ever")]
    NotAfter(KeyId),
    /// A second UID pepper beside one that is not destroyed: every UID would change. UID peppers do not rotate.
    #[error("key {0} would be a second UID pepper of its domain: UID peppers do not rotate")]
    SecondUidPepper(KeyId),
    /// A change would take a record out of the ring, or make another key of it.
    #[error("the change would remove key {0} or make another key of it: records stay for ever")]
    RecordChanged(KeyId),
    /// A key is not in the ring.
    #[error("key {0} is not in the key ring: `phield keys list` shows those that are")]
    UnknownKey(KeyId),
    /// There is no key ring at the configured place.
    #[error("there is no key ring at {0}: run `phield init`, or restore a backup")]
    NoRing(String),
    /// The key store, or the epoch witness, is out of reach: try again later.
    #[error("the key store or epoch witness at {place} is out of reach")]
    Store {
        /// Which.
        place: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file that was to be created is there already.
    #[error("{} exists already; nothing was changed", .0.display())]
    Exists(PathBuf),
    /// The clock of this machine is behind: the ring has a key that was made later. When a key stopped sealing would be noted too
    /// early, and its destruction would not wait for everything that it has sealed (I-5).
    #[error(
        "the clock of this machine is {0} s behind that of whoever made the newest key of the ring: set it right (NTP), and try again"
    )]
    ClockBehind(u64),
    /// A key was published too recently: some process may not know it yet (I-8).
    #[error(
        "key {key_id} was published too recently: in {} every process knows it, or say that every instance has it (--acknowledged-by-every-instance)",
        wait(*seconds)
    )]
    TooSoon {
        /// The key.
        key_id: KeyId,
        /// Seconds until it may become active.
        seconds: u64,
    },
    /// The configured backup does not hold a key as it is: if the ring were lost, so would be what the key seals (I-9).
    #[error("key {0} is not in the backup as it is in the ring: run `phield keys backup`, then try again")]
    NotInBackup(KeyId),
    /// The backup file is of a later epoch than the ring.
    #[error("the backup has epoch {0}, and the key ring only {1}: nothing was changed")]
    BackupAhead(u64, u64),
    /// There is no key that could take the place of an active one.
    #[error("no pre-active key can take the place of key {0}: run `phield keys add`")]
    NoSuccessor(KeyId),
    /// No other wrap of a key opens now: nothing was removed (I-6).
    #[error("no other wrap of key {0} opens now: nothing was removed")]
    LastWrap(KeyId, #[source] Box<Self>),
    /// A key under dual control, or held by a device, has no wraps of another kind.
    #[error("key {0} is under dual control or held by a device: it has no other wraps")]
    NoOtherWrap(KeyId),
    /// Two manifests have two keys by one id: only one of them is a ring of this name.
    #[error("key {0} is one key in one manifest and another key in another: nothing was restored")]
    TwoKeys(KeyId),
    /// Another manifest of the ring is there, and cannot be verified with this configuration, or now: what it knows would
    /// be lost.
    #[error("manifest {place} is there and cannot be verified now: nothing was restored")]
    Unverified {
        /// Which, by its place in the list; the stored one comes after the last of them.
        place: usize,
        /// Why.
        source: Box<Self>,
    },
    /// A restore would lose what the ring became after the newest manifest that is here.
    #[error(
        "the newest manifest here has epoch {newest}, and epoch {known} is known to the epoch witness or min_epoch: what was \
         changed since would be lost, and nothing was restored"
    )]
    HistoryLost {
        /// The epoch of the newest manifest that is here.
        newest: u64,
        /// The highest epoch that is known.
        known: u64,
    },
    /// The file that a backup would replace is no backup of this ring, or was damaged.
    #[error(
        "what is there does not verify: move it away, keep it until you know what it is, and run the command again"
    )]
    OldBackup(#[source] Box<Self>),
    /// A ring key that is to authenticate the ring, and is not the first of the pins: processes that do not have it first
    /// would be locked out (format §8.2).
    #[error(
        "key {0} would authenticate the ring, and is not the first of ring_key: pin [new, old] everywhere first"
    )]
    PinOrder(KeyId),
    /// A key was not destroyed; the reason says what to do next.
    #[error("key {0} was not destroyed: {1}")]
    NotDestroyed(KeyId, DestroyRefused),
    /// A restore without a reason.
    #[error("a restore needs a reason")]
    NoReason,
    /// Somebody else changed the ring first; nothing was written.
    #[error("the key ring was changed by somebody else meanwhile; nothing was written, try again")]
    Conflict,
    /// The system gives no thread that refreshes the keys.
    #[error("the thread that refreshes the keys could not be started")]
    Thread(#[source] std::io::Error),
    /// The thread that refreshes the keys has ended.
    #[error("the thread that refreshes the keys has ended")]
    Stopped,
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The operating system gave no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The system clock stands before 1970.
    #[error("the system clock stands before 1970")]
    Clock,
}

/// Seconds as a person says them, rounded up.
fn wait(seconds: u64) -> String {
    match seconds {
        0..=90 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_keys_and_nothing_else() {
        let id = KeyId::new(0x1f).unwrap();
        assert_eq!(
            format!("{:?} {0}", OpenError::UnknownKey(id)),
            "UnknownKey(KeyId(0000001f)) key 0000001f is not in the key ring"
        );
        assert_eq!(
            format!("{:?} {0}", OpenError::Authentication),
            "Authentication the token does not authenticate"
        );
        assert_eq!(
            format!("{:?} {0}", SealError::from(Unsealable::ValueTooLong)),
            "Unsealable(ValueTooLong) the value is longer than the value limit"
        );
    }
}
