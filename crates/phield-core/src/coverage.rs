//! The coverage report: what a pass over a database found under which key, and the MAC that shows that phield wrote it
//! (decision 0008). It is the evidence on which a key is destroyed (I-5, I-7).

mod columns;
mod text;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use crate::cache_policy::CachePolicy;
use crate::error::RingError;
use crate::kdf::sha256;
use crate::key::{KeyId, RingKey};
use crate::record::{KeyState, KeyUse};
use crate::ring::VerifiedRing;
use crate::schedule;

#[doc(hidden)]
pub use text::clean;

pub use columns::{ColumnCoverage, CoveredKind, KeyCoverage, QuarantineReason, QuarantinedRows};

/// The version that is written, and the one that is read.
const VERSION: u32 = 1;

/// What made a coverage report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CoverageMode {
    /// Looked at key ids alone.
    Scan,
    /// Opened everything.
    Verify,
    /// Re-sealed rows under new data keys.
    Data,
    /// Computed index values under a new pepper.
    Pepper,
    /// Sealed columns that were plaintext.
    Migrate,
    /// Wrote sealed columns back as plaintext.
    Unseal,
}

impl CoverageMode {
    /// The name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::Verify => "verify",
            Self::Data => "data",
            Self::Pepper => "pepper",
            Self::Migrate => "migrate",
            Self::Unseal => "unseal",
        }
    }
}

/// A key that the ring had when counting began: the report says of each how many rows it found, and be it none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CoveredKey {
    /// Its id.
    #[serde(with = "columns::key_id")]
    pub key: KeyId,
    /// What it is for: `data` or `index`.
    #[serde(rename = "use")]
    pub key_use: String,
    /// Its state when counting began.
    pub state: String,
}

/// What a pass over one database found, and what it did. Times are seconds since the Unix epoch, UTC, by the clock of the
/// database; `count_started` by that of the machine that counted, where it was behind.
///
/// Made by [`new`](Self::new), filled by whoever counts, authenticated by
/// [`VerifiedRing::sign_coverage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CoverageReport {
    /// Version of this structure: 1.
    pub version: u32,
    /// The application.
    pub app: String,
    /// The ring.
    pub ring: String,
    /// The database in words: engine, host, name. No credentials.
    pub database: String,
    /// What made the report.
    pub mode: CoverageMode,
    /// Whoever started it, as the operator gave it, or `user@host`.
    pub who: String,
    /// When the pass was started first.
    pub started: u64,
    /// When the counting began that `columns` holds: this is the time that decides about the destruction of keys. A count that
    /// is resumed goes on from where it was, and one that nobody has worked at for a hard TTL begins anew.
    pub count_started: u64,
    /// When it ended.
    pub ended: u64,
    /// The epoch of the ring when counting began.
    pub epoch_start: u64,
    /// The epoch of the ring at the end.
    pub epoch_end: u64,
    /// The hard TTL that the pass went by, in seconds.
    pub hard_ttl_seconds: u64,
    /// Every registered column was counted from its first row to its last, and the database was searched for columns that
    /// are not registered.
    pub complete: bool,
    /// The data keys and index peppers of the ring when counting began that were not destroyed.
    pub keys: Vec<CoveredKey>,
    /// Every registered column, one without rows too.
    pub columns: Vec<ColumnCoverage>,
    /// Columns that hold tokens or index values and are not registered, by their names in SQL with the schema in front:
    /// `public.patients.old_ssn`.
    pub unregistered: Vec<String>,
}

impl CoverageReport {
    /// A report that begins to count now (`now`: seconds since the Unix epoch), with the keys that the ring has.
    ///
    /// `ended`, `epoch_end`, `columns`, `unregistered` and at last `complete` are for whoever counts; `started`, too, where
    /// the pass began before.
    #[must_use]
    pub fn new(
        ring: &VerifiedRing,
        cache: &CachePolicy,
        mode: CoverageMode,
        (database, who): (impl Into<String>, impl Into<String>),
        now: u64,
    ) -> Self {
        let manifest = ring.manifest();
        let mut report = Self {
            version: VERSION,
            app: manifest.app.to_string(),
            ring: manifest.ring.to_string(),
            database: database.into(),
            mode,
            who: who.into(),
            started: now,
            count_started: now,
            ended: now,
            epoch_start: 0,
            epoch_end: 0,
            hard_ttl_seconds: cache.hard_ttl().as_secs(),
            complete: false,
            keys: Vec::new(),
            columns: Vec::new(),
            unregistered: Vec::new(),
        };
        report.count_from(ring, now);
        report
    }

    /// Counting begins anew, now: what was counted is forgotten.
    pub fn count_from(&mut self, ring: &VerifiedRing, now: u64) {
        let manifest = ring.manifest();
        (self.epoch_start, self.epoch_end) = (manifest.epoch, manifest.epoch);
        (self.count_started, self.ended, self.complete) = (now, now, false);
        self.columns.clear();
        let counted = manifest.records.iter().filter(|record| {
            matches!(record.context.key_use, KeyUse::Data | KeyUse::Index) && record.state.opens()
        });
        let key = |record: &crate::record::KeyRecord| CoveredKey {
            key: record.context.key_id,
            key_use: record.context.key_use.as_str().to_owned(),
            state: record.state.as_str().to_owned(),
        };
        self.keys = counted.map(key).collect();
    }

    /// The entry of a registered column, by its names in SQL; a new and empty one unless there is one.
    #[allow(clippy::missing_panics_doc, reason = "the entry was found or made just now")]
    pub fn column_mut(&mut self, table: &str, column: &str, kind: CoveredKind) -> &mut ColumnCoverage {
        let is_it = |other: &ColumnCoverage| other.table == table && other.column == column;
        let place = self.columns.iter().position(is_it).unwrap_or_else(|| {
            self.columns.push(ColumnCoverage::new(table, column, kind));
            self.columns.len() - 1
        });
        self.columns
            .get_mut(place)
            .expect("the place of an entry that is there")
    }

    /// The rows under a key that are neither listed as quarantined nor as shredded, in all columns.
    #[must_use]
    pub fn rows_under(&self, key: KeyId) -> u64 {
        self.sum(|column| column.rows_under(key))
    }

    /// The quarantined rows that hold this key's id, or none that can be told, in columns of this kind: among those may be
    /// some of the key.
    #[must_use]
    pub fn quarantined(&self, key: KeyId, kind: CoveredKind) -> u64 {
        self.sum(|column| match column.kind == kind {
            true => column.quarantined_of(key),
            false => 0,
        })
    }

    /// The rows under a key whose subject was shredded.
    #[must_use]
    pub fn shredded(&self, key: KeyId) -> u64 {
        self.sum(|column| column.shredded_of(key))
    }

    /// The values that rotations have opened under a key while it was compromised, and sealed again, in all columns.
    #[must_use]
    pub fn compromised(&self, key: KeyId) -> u64 {
        self.sum(|column| column.compromised_of(key))
    }

    /// Whether the key was in the ring when counting began, and did not seal any more.
    pub(crate) fn was_retired(&self, key: KeyId) -> bool {
        let retired = [KeyState::DecryptOnly, KeyState::Compromised].map(KeyState::as_str);
        let mut keys = self.keys.iter();
        keys.any(|covered| covered.key == key && retired.contains(&covered.state.as_str()))
    }

    fn sum(&self, rows: impl Fn(&ColumnCoverage) -> u64) -> u64 {
        self.columns.iter().map(rows).fold(0, u64::saturating_add)
    }

    /// The bytes that the MAC is over: JSON without spaces, fields in the order of this structure.
    fn canonical(&self) -> Result<Vec<u8>, RingError> {
        serde_json::to_vec(self).map_err(|_| MALFORMED)
    }
}

/// A coverage report and its MAC, as the file holds them.
///
/// # Security
/// The MAC is by the ring key. It shows that a process wrote the report that had loaded the ring; every such process could
/// write any. Whoever edits the file cannot. Whoever writes to the database during the count can change what is counted: the
/// report is proof against mistakes, not against them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedCoverage {
    report: CoverageReport,
    #[serde(with = "columns::key_id")]
    ring_key: KeyId,
    #[serde(with = "columns::hex")]
    mac: [u8; 32],
}

const MALFORMED: RingError = RingError::Malformed("the coverage report: it is not as phield wrote it");

impl SignedCoverage {
    /// The file: JSON for people and machines, with a line feed at its end.
    ///
    /// # Errors
    /// None that is known: its parts can all be written as JSON.
    pub fn to_json(&self) -> Result<String, RingError> {
        let text = serde_json::to_string_pretty(self).map_err(|_| MALFORMED)?;
        Ok(text + "\n")
    }

    /// Reads a file. Every byte has to be as it was written: a file that was formatted anew is refused.
    ///
    /// # Errors
    /// [`RingError::Malformed`].
    pub fn from_json(file: &[u8]) -> Result<Self, RingError> {
        let signed: Self = serde_json::from_slice(file).map_err(|_| MALFORMED)?;
        if signed.report.version != VERSION || signed.to_json()?.as_bytes() != file {
            return Err(MALFORMED);
        }
        Ok(signed)
    }

    /// What the report says.
    ///
    /// # Security
    /// Of a file that was read, nothing of it is true before [`Ring::verify_coverage`](crate::Ring::verify_coverage).
    #[must_use]
    pub fn report(&self) -> &CoverageReport {
        &self.report
    }

    /// The ring key that authenticates it.
    #[must_use]
    pub fn ring_key(&self) -> KeyId {
        self.ring_key
    }

    pub(crate) fn sign(report: CoverageReport, ring_key: (KeyId, &RingKey)) -> Result<Self, RingError> {
        let mac = mac(ring_key.1, &report)?;
        Ok(Self {
            report,
            ring_key: ring_key.0,
            mac,
        })
    }

    /// Whether the MAC is by this key. Compared in constant time.
    pub(crate) fn authenticates(&self, (id, ring_key): (KeyId, &RingKey)) -> bool {
        let is_equal = |mac: [u8; 32]| mac.ct_eq(&self.mac).into();
        id == self.ring_key && mac(ring_key, &self.report).is_ok_and(is_equal)
    }
}

/// `MAC = KDF(ring key, "phield.v1.coverage", SHA-256(canonical JSON of the report), 32)`
fn mac(ring_key: &RingKey, report: &CoverageReport) -> Result<[u8; 32], RingError> {
    Ok(schedule::coverage_mac(ring_key, &sha256(&report.canonical()?)))
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    reason = "a test that indexes out of bounds fails, as it should"
)]
mod tests;
