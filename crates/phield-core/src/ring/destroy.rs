//! The end of a key (I-5, I-7).

use crate::coverage::{CoverageMode, CoverageReport, CoveredKind, SignedCoverage, clean};
use crate::error::RingError;
use crate::key::KeyId;
use crate::record::{KeyRecord, KeyState, KeyUse};
use crate::ring::change::Tries;
use crate::ring::{DestroyRefused, Ring, SKEW, VerifiedRing};

/// The newest report of every database is not older than this many seconds: a week.
const FRESH: u64 = 7 * 24 * 60 * 60;

/// What somebody has who wants to destroy a key.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Destruction<'a> {
    /// The coverage reports: one of every database that the ring serves. None is needed for a ring key.
    ///
    /// # Security
    /// The ring does not know its databases. What is in one that has no report here is lost.
    pub reports: Vec<&'a SignedCoverage>,
    /// How many rows in quarantine are given up: as many as the reports have under the key, or without a key id.
    pub acknowledged_quarantined: u64,
    /// How many rows of shredded subjects are known to be under the key: as many as the reports have.
    pub acknowledged_shredded: u64,
    /// No backup that may have to be put back holds anything under the key.
    pub backups_acknowledged: bool,
}

/// What came of destroying a key.
#[derive(Debug)]
#[non_exhaustive]
pub struct Destroyed {
    /// The ring as it is stored now.
    pub ring: VerifiedRing,
    /// Whether it was destroyed before, and nothing was changed.
    pub was_destroyed: bool,
}

impl Ring {
    /// Destroys an old key: its wraps go, its record, id and check value stay for ever, so that the id is never used again.
    /// Nothing that it sealed opens any more. A key that is destroyed already stays so.
    ///
    /// Only (I-5, I-7) a data key, index pepper or ring key that is decrypt-only or compromised and not pinned; one hard TTL
    /// and 5 minutes after it stopped sealing; with a complete report of every database, begun after that, in which no row
    /// is under it, but for those that are acknowledged by their number, and no column is unregistered; after the waiting
    /// period of [`KeyPolicy::destroy_after`](crate::KeyPolicy::destroy_after); and with backups acknowledged. Then raise
    /// `min_epoch`, where there is no epoch witness.
    ///
    /// # Errors
    /// [`RingError::NotDestroyed`] says which of these is missing, and what to do; [`RingError::Authentication`] for a report
    /// of another ring, or one that was changed; see [`RingError`].
    pub async fn destroy(&self, id: KeyId, destruction: &Destruction<'_>) -> Result<Destroyed, RingError> {
        let mut tries = Tries::default();
        loop {
            let verified = self.load().await?;
            let record = verified.manifest.record(id).ok_or(RingError::UnknownKey(id))?;
            if record.state == KeyState::Destroyed {
                return Ok(Destroyed {
                    ring: verified,
                    was_destroyed: true,
                });
            }
            let mut reports = Vec::with_capacity(destruction.reports.len());
            for signed in &destruction.reports {
                reports.push(verified.verify_coverage(&self.settings, signed).await?);
            }
            let now = verified.now()?;
            self.check_destruction(&verified, record, (destruction, &reports), now)
                .map_err(|refused| RingError::NotDestroyed(id, refused))?;
            let policy = self.settings.data_keys;
            let change = self
                .publish_change(&verified, |manifest| {
                    manifest.set_state(id, KeyState::Destroyed, now, policy)
                })
                .await;
            if !tries.again(&change) {
                return Ok(Destroyed {
                    ring: change?,
                    was_destroyed: false,
                });
            }
        }
    }

    /// Everything that holds before a key is destroyed, in the order in which it is put right.
    fn check_destruction(
        &self,
        verified: &VerifiedRing,
        record: &KeyRecord,
        (destruction, reports): (&Destruction<'_>, &[&CoverageReport]),
        now: u64,
    ) -> Result<(), DestroyRefused> {
        let stopped = self.check_old(record, now)?;
        let hard_ttl = self.settings.cache.fleet_wait().as_secs();
        let until = stopped.saturating_add(hard_ttl);
        if now < until {
            return Err(DestroyRefused::StillInUse { stopped, until });
        }
        let counted = match record.context.key_use {
            KeyUse::Data => Some(CoveredKind::Token),
            KeyUse::Index => Some(CoveredKind::Index),
            _ => None,
        };
        // What waits for the end of the first scan of each database, or, for a ring key, of its own use.
        let mut ended = until;
        let mut newest: Vec<&CoverageReport> = Vec::new();
        if let Some(kind) = counted {
            if reports.is_empty() {
                return Err(DestroyRefused::NoReport(until));
            }
            for (i, report) in reports.iter().enumerate() {
                check_report(verified, record, (report, until), now)?;
                if reports.iter().take(i).any(|other| other == report) {
                    return Err(DestroyRefused::Twice(clean(&report.database)));
                }
            }
            let mut first: Vec<&CoverageReport> = Vec::new();
            for report in reports {
                keep(&mut first, report, |one, other| one.ended < other.ended);
                keep(&mut newest, report, |one, other| {
                    one.count_started > other.count_started
                });
            }
            ended = first.iter().fold(ended, |ended, report| ended.max(report.ended));
            let mut columns = reports.iter().flat_map(|report| &report.columns);
            if !columns.any(|column| column.kind == kind) {
                let first = reports.first().map(|report| clean(&report.database));
                return Err(DestroyRefused::NoColumnOfUse(
                    first.unwrap_or_default(),
                    record.context.key_use,
                ));
            }
            check_acknowledged((record.context.key_id, kind), destruction, &newest)?;
        }
        let ready = ended.saturating_add(self.settings.policy.destroy_after.as_secs());
        if now < ready {
            return Err(DestroyRefused::Waiting(ready));
        }
        // A row that came back since, from a backup or from a process that slept, is in no count of before.
        if let Some(old) = newest
            .iter()
            .find(|report| report.count_started.saturating_add(FRESH) < now)
        {
            return Err(DestroyRefused::ReportOld {
                database: clean(&old.database),
                counted_from: old.count_started,
            });
        }
        if !destruction.backups_acknowledged {
            return Err(DestroyRefused::Backups);
        }
        Ok(())
    }

    /// An old key of a use that can be counted, and not pinned. Gives when it stopped sealing.
    fn check_old(&self, record: &KeyRecord, now: u64) -> Result<u64, DestroyRefused> {
        let (id, key_use) = (record.context.key_id, record.context.key_use);
        if self.settings.pins.iter().any(|pin| pin.key_id() == id) {
            return Err(DestroyRefused::Pinned);
        }
        if !matches!(key_use, KeyUse::Data | KeyUse::Index | KeyUse::Ring) {
            return Err(DestroyRefused::NotCounted(key_use));
        }
        if !matches!(record.state, KeyState::DecryptOnly | KeyState::Compromised) {
            return Err(DestroyRefused::NotOld(record.state));
        }
        let stopped = record.stopped_sealing(now);
        stopped.ok_or(DestroyRefused::NoStopTime(id, record.state))
    }
}

/// Keeps one report of each database: the better one.
fn keep<'r>(
    kept: &mut Vec<&'r CoverageReport>,
    report: &'r CoverageReport,
    is_better: impl Fn(&CoverageReport, &CoverageReport) -> bool,
) {
    match kept.iter_mut().find(|other| other.database == report.database) {
        Some(other) if is_better(report, other) => *other = report,
        Some(_) => {}
        None => kept.push(report),
    }
}

/// Whether a report is evidence that nothing is under a key.
fn check_report(
    verified: &VerifiedRing,
    record: &KeyRecord,
    (report, until): (&CoverageReport, u64),
    now: u64,
) -> Result<(), DestroyRefused> {
    let (id, database) = (record.context.key_id, || clean(&report.database));
    // The pass may have gone by a longer hard TTL than configuration has now.
    let longer = record
        .not_after
        .saturating_add(report.hard_ttl_seconds)
        .saturating_add(SKEW);
    let until = until.max(longer);
    let is_ahead = report.ended > now.saturating_add(SKEW)
        || report.count_started > report.ended
        || report.epoch_start > report.epoch_end
        || report.epoch_end > verified.manifest.epoch;
    if is_ahead {
        return Err(DestroyRefused::ReportAhead(database()));
    }
    if report.count_started < until {
        return Err(DestroyRefused::ReportTooEarly {
            database: database(),
            counted_from: report.count_started,
            until,
        });
    }
    if !report.was_retired(id) {
        return Err(DestroyRefused::NotRetiredThen(database()));
    }
    if !report.complete {
        return Err(DestroyRefused::NotComplete(database()));
    }
    // A pass that only opened did not look at index values in earlier versions.
    let is_index = record.context.key_use == KeyUse::Index;
    let mut columns = report.columns.iter();
    let counts_indexes =
        report.mode != CoverageMode::Verify || columns.any(|column| column.kind == CoveredKind::Index);
    if is_index && !counts_indexes {
        return Err(DestroyRefused::IndexesNotCounted(database()));
    }
    if report.columns.is_empty() {
        return Err(DestroyRefused::NothingCounted(database()));
    }
    if !report.unregistered.is_empty() {
        return Err(DestroyRefused::Unregistered {
            database: database(),
            columns: report.unregistered.iter().map(|name| clean(name)).collect(),
        });
    }
    // In columns of either kind: a token where an index value should be is under its key all the same.
    let (rows, key_use) = (report.rows_under(id), record.context.key_use);
    if rows > 0 {
        return Err(DestroyRefused::RowsLeft {
            database: database(),
            rows,
            key_use,
        });
    }
    Ok(())
}

/// What is given up is exactly what the reports have.
fn check_acknowledged(
    (id, kind): (KeyId, CoveredKind),
    destruction: &Destruction<'_>,
    reports: &[&CoverageReport],
) -> Result<(), DestroyRefused> {
    let sum = |rows: &dyn Fn(&CoverageReport) -> u64| {
        let rows = reports.iter().map(|report| rows(report));
        rows.fold(0, u64::saturating_add)
    };
    let (found, acknowledged) = (
        sum(&|report| report.quarantined(id, kind)),
        destruction.acknowledged_quarantined,
    );
    if found != acknowledged {
        return Err(DestroyRefused::Quarantined { found, acknowledged });
    }
    let (found, acknowledged) = (
        sum(&|report| report.shredded(id)),
        destruction.acknowledged_shredded,
    );
    if found != acknowledged {
        return Err(DestroyRefused::Shredded { found, acknowledged });
    }
    Ok(())
}
