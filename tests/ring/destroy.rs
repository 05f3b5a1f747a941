//! The end of a key (I-5, I-7): each thing that has to hold before, missing once.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use phield_core::{
    CoverageMode, CoverageReport, CoveredKind, DestroyRefused, Destruction, KeyId, KeyState, KeyUse,
    QuarantineReason, Retirement, Ring, RingError, Rollout, SignedCoverage,
};
use phield_testkit::{TestRing, block_on};

use crate::class;
use crate::operations::{find, open};

const DAY: u64 = 86_400;
const SEEN: Rollout = Rollout::AcknowledgedByEveryInstance;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A ring whose key of this use was taken out of use a hundred days ago.
struct Old {
    ring: TestRing,
    key: KeyId,
}

impl Old {
    fn new(key_use: KeyUse) -> Self {
        let ring = TestRing::new("clinic");
        if key_use != KeyUse::Data {
            block_on(ring.ring().successor(key_use, None, None)).unwrap();
        }
        let manifest = block_on(ring.ring().load()).unwrap().manifest().clone();
        let key = find(&manifest, key_use, KeyState::Active).unwrap();
        block_on(ring.ring().retire(key, Retirement::DecryptOnly(SEEN), None)).unwrap();
        let old = Self { ring, key };
        old.stopped(now() - 100 * DAY);
        old
    }

    /// Moves the second in which the key sealed last further back.
    fn stopped(&self, at: u64) {
        block_on(self.ring.ring().update(|manifest| {
            let mut records = manifest.records.iter_mut();
            let record = records.find(|record| record.context.key_id == self.key);
            record.unwrap().not_after = at;
        }))
        .unwrap();
    }

    fn ring(&self) -> &Ring {
        self.ring.ring()
    }

    fn state(&self) -> KeyState {
        let verified = block_on(self.ring().load()).unwrap();
        verified.manifest().record(self.key).unwrap().state
    }

    /// A complete report, begun so many days ago, that found nothing.
    fn report(&self, days: u64) -> CoverageReport {
        let (ring, cache) = (block_on(self.ring().load()).unwrap(), &self.ring().settings.cache);
        let begun = now() - days * DAY;
        let place = ("sqlite clinic.db", "anna@db1");
        let mut report = CoverageReport::new(&ring, cache, CoverageMode::Scan, place, begun);
        report.column_mut("patients", "ssn", CoveredKind::Token);
        report.column_mut("patients", "ssn_index", CoveredKind::Index);
        report.ended = begun + 60;
        report.complete = true;
        report
    }

    fn sign(&self, report: CoverageReport) -> SignedCoverage {
        block_on(self.ring().load())
            .unwrap()
            .sign_coverage(report)
            .unwrap()
    }

    fn destroy(&self, change: impl FnOnce(&mut CoverageReport)) -> Result<(), DestroyRefused> {
        let mut report = self.report(40);
        change(&mut report);
        self.destroy_by(&[report], (0, 0))
    }

    fn destroy_by(
        &self,
        reports: &[CoverageReport],
        (quarantined, shredded): (u64, u64),
    ) -> Result<(), DestroyRefused> {
        let again = reports.iter().map(again);
        let reports: Vec<_> = reports.iter().cloned().chain(again).collect();
        let signed: Vec<_> = reports.into_iter().map(|report| self.sign(report)).collect();
        let mut destruction = Destruction::default();
        destruction.reports = signed.iter().collect();
        destruction.acknowledged_quarantined = quarantined;
        destruction.acknowledged_shredded = shredded;
        destruction.backups_acknowledged = true;
        self.refused(self.ring(), &destruction)
    }

    /// Nothing is changed where it is refused.
    fn refused(&self, ring: &Ring, destruction: &Destruction<'_>) -> Result<(), DestroyRefused> {
        let before = self.state();
        match block_on(ring.destroy(self.key, destruction)) {
            Ok(_) => Ok(()),
            Err(RingError::NotDestroyed(key, refused)) => {
                assert_eq!((key, self.state()), (self.key, before));
                let text = refused.to_string();
                assert!(text.len() > 30 && !text.contains('\n'), "{text}");
                Err(refused)
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// The same found once more, yesterday.
fn again(report: &CoverageReport) -> CoverageReport {
    let mut again = report.clone();
    (again.count_started, again.ended) = (now() - DAY, now() - DAY + 60);
    again
}

#[test]
fn a_data_key_is_destroyed_and_its_record_stays() {
    let old = Old::new(KeyUse::Data);
    let signed = old.sign(old.report(40));
    let mut destruction = Destruction::default();
    let fresh = old.sign(old.report(1));
    destruction.reports = vec![&signed, &fresh];
    destruction.backups_acknowledged = true;
    let before = block_on(old.ring().load()).unwrap();
    let record = before.manifest().record(old.key).unwrap();
    let destroyed = block_on(old.ring().destroy(old.key, &destruction)).unwrap();
    assert!(!destroyed.was_destroyed);
    let after = destroyed.ring.manifest().record(old.key).unwrap();
    assert_eq!(
        (after.state, after.wraps.len(), destroyed.ring.manifest().epoch),
        (KeyState::Destroyed, 0, before.manifest().epoch + 1)
    );
    assert_eq!(
        (&after.context, after.check_value, after.created),
        (&record.context, record.check_value, record.created)
    );
    // The command again, as after a kill: nothing is asked any more, and nothing is written.
    let again = block_on(old.ring().destroy(old.key, &Destruction::default())).unwrap();
    assert!(again.was_destroyed);
    assert_eq!(again.ring.manifest().epoch, destroyed.ring.manifest().epoch);
}

#[test]
fn a_pepper_and_a_compromised_key_are_destroyed() {
    let old = Old::new(KeyUse::Index);
    // What a pepper sealed last is known, though it has no `not after` while it is active.
    old.destroy(|_| {}).unwrap();
    assert_eq!(old.state(), KeyState::Destroyed);

    let old = Old::new(KeyUse::Data);
    block_on(
        old.ring()
            .retire_without_successor(old.key, KeyState::Compromised),
    )
    .unwrap();
    old.destroy(|_| {}).unwrap();
    assert_eq!(old.state(), KeyState::Destroyed);
}

#[test]
fn only_an_old_key_is_destroyed() {
    let old = Old::new(KeyUse::Data);
    let signed = old.sign(old.report(40));
    let mut destruction = Destruction::default();
    let fresh = old.sign(old.report(1));
    destruction.reports = vec![&signed, &fresh];
    destruction.backups_acknowledged = true;
    let manifest = block_on(old.ring().load()).unwrap().manifest().clone();
    let refused = |key_use, state| {
        let id = find(&manifest, key_use, state).unwrap();
        match block_on(old.ring().destroy(id, &destruction)).unwrap_err() {
            RingError::NotDestroyed(of, refused) if of == id => refused,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        refused(KeyUse::Data, KeyState::Active),
        DestroyRefused::NotOld(KeyState::Active)
    );
    assert_eq!(
        refused(KeyUse::Index, KeyState::Active),
        DestroyRefused::NotOld(KeyState::Active)
    );
    assert_eq!(refused(KeyUse::Ring, KeyState::Active), DestroyRefused::Pinned);
    for key_use in [KeyUse::Uid, KeyUse::Subject] {
        assert_eq!(
            refused(key_use, KeyState::Active),
            DestroyRefused::NotCounted(key_use)
        );
    }
    block_on(old.ring().add_key(KeyUse::Index, None, None)).unwrap();
    let manifest = block_on(old.ring().load()).unwrap().manifest().clone();
    let successor = find(&manifest, KeyUse::Index, KeyState::PreActive).unwrap();
    match block_on(old.ring().destroy(successor, &destruction)).unwrap_err() {
        RingError::NotDestroyed(_, DestroyRefused::NotOld(KeyState::PreActive)) => {}
        other => panic!("{other:?}"),
    }
    let unknown = KeyId::new(1).unwrap();
    let error = block_on(old.ring().destroy(unknown, &destruction)).unwrap_err();
    assert_eq!(class(&error), "UnknownKey");
}

#[test]
fn not_before_every_process_knows_that_it_is_old() {
    let old = Old::new(KeyUse::Data);
    // To the second: hard TTL and five minutes.
    let fresh = TestRing::new("clinic");
    let manifest = block_on(fresh.ring().load()).unwrap().manifest().clone();
    let key = find(&manifest, KeyUse::Data, KeyState::Active).unwrap();
    block_on(fresh.ring().retire(key, Retirement::DecryptOnly(SEEN), None)).unwrap();
    match block_on(fresh.ring().destroy(key, &Destruction::default())).unwrap_err() {
        RingError::NotDestroyed(_, DestroyRefused::StillInUse { stopped, until }) => {
            assert!(now() - stopped < 60);
            assert_eq!(until - stopped, 3900);
        }
        other => panic!("{other:?}"),
    }

    let stopped = now() - 100 * DAY;
    old.stopped(stopped - 1);
    let until = stopped - 1 + 3900;
    let at = |count_started| {
        old.destroy(|report| report.count_started = count_started)
            .unwrap_err()
    };
    assert!(matches!(at(until - 1), DestroyRefused::ReportTooEarly { until: known, .. } if known == until));
    assert!(
        matches!(at(until - 1), DestroyRefused::ReportTooEarly { .. }),
        "the start of the pass does not count, that of the counting does"
    );
    // The pass went by a longer hard TTL.
    let refused = old.destroy(|report| {
        report.count_started = until;
        report.hard_ttl_seconds = 7200;
    });
    assert!(
        matches!(refused, Err(DestroyRefused::ReportTooEarly { until: known, .. }) if known == until + 3600)
    );
    old.destroy(|report| report.count_started = until).unwrap();
}

/// The hard TTL that configuration has now counts, too.
#[test]
fn the_longer_hard_ttl_counts() {
    let old = Old::new(KeyUse::Data);
    let mut settings = old.ring().settings.clone();
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    settings.cache = phield_core::CachePolicy::new(hours(1), hours(72)).unwrap();
    let ring = open(&old.ring, settings);
    old.stopped(now() - 100 * DAY - 1);
    let mut report = old.report(97);
    report.count_started = now() - 100 * DAY + 3 * DAY;
    let signed = old.sign(report);
    let mut destruction = Destruction::default();
    let fresh = old.sign(old.report(1));
    destruction.reports = vec![&signed, &fresh];
    destruction.backups_acknowledged = true;
    let refused = old.refused(&ring, &destruction);
    assert!(
        matches!(refused, Err(DestroyRefused::ReportTooEarly { .. })),
        "{refused:?}"
    );
    old.refused(old.ring(), &destruction).unwrap();
}

#[test]
fn the_evidence_is_complete() {
    let old = Old::new(KeyUse::Data);
    let destruction = Destruction::default();
    assert!(matches!(
        old.refused(old.ring(), &destruction),
        Err(DestroyRefused::NoReport(_))
    ));
    let refused = |change: &dyn Fn(&mut CoverageReport)| old.destroy(change).unwrap_err();
    let database = || "sqlite clinic.db".to_owned();
    assert_eq!(
        refused(&|report| report.complete = false),
        DestroyRefused::NotComplete(database())
    );
    assert_eq!(
        refused(&|report| report.columns.clear()),
        DestroyRefused::NothingCounted(database())
    );
    assert_eq!(
        refused(&|report| report.keys.clear()),
        DestroyRefused::NotRetiredThen(database())
    );
    assert_eq!(
        refused(&|report| report
            .keys
            .iter_mut()
            .for_each(|key| key.state = "active".to_owned())),
        DestroyRefused::NotRetiredThen(database())
    );
    let ahead: [&dyn Fn(&mut CoverageReport); 4] = [
        &|report| report.ended = now() + 400,
        &|report| report.epoch_end += 1,
        &|report| report.epoch_start += 1,
        &|report| report.count_started = report.ended + 1,
    ];
    for change in ahead {
        assert_eq!(refused(change), DestroyRefused::ReportAhead(database()));
    }
    // I-7.
    let hidden = DestroyRefused::Unregistered {
        database: database(),
        columns: vec!["public.old.\\u{7}ssn".to_owned()],
    };
    assert_eq!(
        refused(&|report| report.unregistered.push("public.old.\u{7}ssn".to_owned())),
        hidden
    );
    assert!(hidden.to_string().contains("public.old.\\u{7}ssn"));
    for kind in [CoveredKind::Token, CoveredKind::Index] {
        let left = refused(&|report| report.column_mut("notes", "text", kind).key_mut(old.key).after = 1);
        assert_eq!(
            left,
            DestroyRefused::RowsLeft {
                database: database(),
                rows: 1,
                key_use: KeyUse::Data
            }
        );
    }
    // Rows of other keys, and those that were there before, do not matter.
    old.destroy(|report| {
        let column = report.column_mut("patients", "ssn", CoveredKind::Token);
        column.key_mut(KeyId::new(77).unwrap()).after = 1000;
        column.key_mut(old.key).before = Some(1000);
    })
    .unwrap();
}

#[test]
fn every_database_has_to_be_free_of_it() {
    let old = Old::new(KeyUse::Data);
    let mut other = old.report(40);
    other.database = "postgres archive".to_owned();
    other
        .column_mut("old", "ssn", CoveredKind::Token)
        .key_mut(old.key)
        .after = 3;
    let refused = old.destroy_by(&[old.report(40), other.clone()], (0, 0));
    assert_eq!(
        refused.unwrap_err().to_string(),
        "3 rows are still under it in postgres archive: `phield rotate run data`, and give its report, which tells what is in \
         quarantine or of shredded subjects apart, or one of `phield scan` after it"
    );
    other.columns.pop();
    other.column_mut("old", "ssn", CoveredKind::Token);
    // The last scan counts for the waiting period.
    other.ended = now() - 10 * DAY;
    let refused = old.destroy_by(&[old.report(40), other.clone()], (0, 0));
    assert_eq!(refused, Err(DestroyRefused::Waiting(other.ended + 30 * DAY)));
    other.ended = now() - 30 * DAY - 1;
    old.destroy_by(&[old.report(40), other], (0, 0)).unwrap();
}

#[test]
fn what_is_given_up_is_said_by_its_number() {
    let old = Old::new(KeyUse::Data);
    let mut report = old.report(40);
    let column = report.column_mut("patients", "ssn", CoveredKind::Token);
    column.add_quarantined(QuarantineReason::Authentication, Some(old.key), 2);
    column.add_quarantined(QuarantineReason::Malformed, None, 1);
    column.add_quarantined(QuarantineReason::UnknownKey, KeyId::new(9), 50);
    column.key_mut(old.key).shredded = 4;
    let index = report.column_mut("patients", "ssn_index", CoveredKind::Index);
    index.add_quarantined(QuarantineReason::Malformed, None, 70);
    let reports = [report];
    for acknowledged in [0, 2, 4, 53] {
        let refused = old.destroy_by(&reports, (acknowledged, 4)).unwrap_err();
        assert_eq!(
            refused,
            DestroyRefused::Quarantined {
                found: 3,
                acknowledged
            }
        );
        assert!(
            refused.to_string().ends_with("--acknowledge-quarantined 3"),
            "{refused}"
        );
    }
    for acknowledged in [0, 3, 5] {
        let refused = old.destroy_by(&reports, (3, acknowledged)).unwrap_err();
        assert_eq!(
            refused,
            DestroyRefused::Shredded {
                found: 4,
                acknowledged
            }
        );
    }
    old.destroy_by(&reports, (3, 4)).unwrap();
    assert_eq!(old.state(), KeyState::Destroyed);
}

#[test]
fn nothing_is_given_up_by_mistake() {
    let old = Old::new(KeyUse::Data);
    let refused = old.destroy_by(&[old.report(40)], (1, 0)).unwrap_err();
    assert_eq!(
        refused,
        DestroyRefused::Quarantined {
            found: 0,
            acknowledged: 1
        }
    );
}

#[test]
fn it_waits_and_wants_backups_acknowledged() {
    let old = Old::new(KeyUse::Data);
    let report = old.report(29);
    let ready = report.ended + 30 * DAY;
    assert_eq!(
        old.destroy_by(&[report], (0, 0)),
        Err(DestroyRefused::Waiting(ready))
    );
    let signed = old.sign(old.report(31));
    let mut destruction = Destruction::default();
    let fresh = old.sign(old.report(1));
    destruction.reports = vec![&signed, &fresh];
    assert_eq!(
        old.refused(old.ring(), &destruction),
        Err(DestroyRefused::Backups)
    );
    // A policy of its own.
    let mut settings = old.ring().settings.clone();
    settings.policy.destroy_after = Duration::from_secs(50 * DAY);
    let ring = open(&old.ring, settings);
    destruction.backups_acknowledged = true;
    assert!(matches!(
        old.refused(&ring, &destruction),
        Err(DestroyRefused::Waiting(_))
    ));
    old.refused(old.ring(), &destruction).unwrap();
}

/// What came back during the waiting period is in no report of before it.
#[test]
fn the_newest_report_is_not_old() {
    let old = Old::new(KeyUse::Data);
    let destroy = |reports: &[CoverageReport]| {
        let signed: Vec<_> = reports.iter().map(|report| old.sign(report.clone())).collect();
        let mut destruction = Destruction::default();
        destruction.reports = signed.iter().collect();
        destruction.backups_acknowledged = true;
        old.refused(old.ring(), &destruction)
    };
    let first = old.report(40);
    let is_old = |days: u64, reports: &[CoverageReport]| {
        let counted_from = now() - days * DAY;
        match destroy(reports).unwrap_err() {
            DestroyRefused::ReportOld {
                counted_from: found, ..
            } => assert!(found.abs_diff(counted_from) < 60),
            other => panic!("{other:?}"),
        }
    };
    is_old(40, std::slice::from_ref(&first));
    is_old(8, &[first.clone(), old.report(8)]);
    is_old(8, &[old.report(8), first.clone()]);
    // The newest alone has not waited.
    assert!(matches!(
        destroy(&[old.report(1)]),
        Err(DestroyRefused::Waiting(_))
    ));
    // Of each database.
    let mut archive = old.report(1);
    archive.database = "postgres archive".to_owned();
    let mut of_archive = first.clone();
    of_archive.database = archive.database.clone();
    is_old(40, &[first.clone(), of_archive.clone(), archive.clone()]);
    assert_eq!(
        destroy(&[first.clone(), first.clone(), old.report(1)]),
        Err(DestroyRefused::Twice("sqlite clinic.db".to_owned()))
    );
    // What came back stands in it.
    let mut back = old.report(1);
    back.column_mut("patients", "ssn", CoveredKind::Token)
        .key_mut(old.key)
        .after = 1;
    assert!(matches!(
        destroy(&[first.clone(), back]),
        Err(DestroyRefused::RowsLeft { rows: 1, .. })
    ));
    destroy(&[first, old.report(6), of_archive, archive]).unwrap();
}

/// The schema file of before the index was there counts no index value.
#[test]
fn a_pepper_wants_a_column_of_index_values() {
    let old = Old::new(KeyUse::Index);
    let refused = old.destroy(|report| report.columns.retain(|column| column.kind == CoveredKind::Token));
    assert!(
        matches!(refused, Err(DestroyRefused::NoColumnOfUse(_, KeyUse::Index))),
        "{refused:?}"
    );
}

/// A report of another ring, one that was edited, and one by a ring key that is compromised by now.
#[test]
fn only_an_authentic_report_counts() {
    let old = Old::new(KeyUse::Data);
    let other = Old::new(KeyUse::Data);
    let destroy = |signed: &SignedCoverage| {
        let mut destruction = Destruction::default();
        destruction.reports = vec![signed];
        destruction.backups_acknowledged = true;
        block_on(old.ring().destroy(old.key, &destruction)).map(drop)
    };
    let foreign = other.sign(other.report(40));
    assert_eq!(class(&destroy(&foreign).unwrap_err()), "Authentication");
    let error = block_on(old.ring().load()).unwrap().sign_coverage({
        let mut report = old.report(40);
        report.ring = "another".to_owned();
        report
    });
    assert_eq!(class(&error.unwrap_err()), "Authentication");

    let mut report = old.report(40);
    report
        .column_mut("patients", "ssn", CoveredKind::Token)
        .key_mut(old.key)
        .after = 12;
    let file = old.sign(report).to_json().unwrap();
    let edited = file.replace("\"after\": 12", "\"after\": 0");
    assert_ne!(file, edited);
    let edited = SignedCoverage::from_json(edited.as_bytes()).unwrap();
    assert_eq!(class(&destroy(&edited).unwrap_err()), "Authentication");
    assert_eq!(old.state(), KeyState::DecryptOnly);
}

/// The ring key was replaced between the scan and the destruction.
#[test]
fn a_report_by_the_ring_key_before_counts_while_that_is_good() {
    let old = Old::new(KeyUse::Data);
    let signed = old.sign(old.report(40));
    let id = block_on(old.ring().add_key(KeyUse::Ring, None, None)).unwrap();
    let manifest = block_on(old.ring().load()).unwrap().manifest().clone();
    let pin = phield_core::RingKeyPin::of(manifest.record(id).unwrap());
    let mut settings = old.ring().settings.clone();
    let before = settings.pins[0].clone();
    settings.pins = vec![pin.clone(), before.clone()];
    block_on(open(&old.ring, settings.clone()).activate(id, SEEN)).unwrap();
    settings.pins = vec![pin];
    let ring = open(&old.ring, settings);
    assert_eq!(
        block_on(ring.verify_coverage(&signed))
            .unwrap()
            .rows_under(old.key),
        0
    );

    // The ring key before is one to be destroyed now, and needs no report, for no scan finds it.
    let destruction = Destruction::default();
    match block_on(ring.destroy(before.key_id(), &destruction)).unwrap_err() {
        RingError::NotDestroyed(_, DestroyRefused::StillInUse { .. }) => {}
        other => panic!("{other:?}"),
    }
    block_on(ring.retire_without_successor(before.key_id(), KeyState::Compromised)).unwrap();
    let error = block_on(ring.verify_coverage(&signed)).unwrap_err();
    assert_eq!(class(&error), "KeyState");
    block_on(ring.update(|manifest| {
        let mut records = manifest.records.iter_mut();
        let record = records.find(|record| record.context.key_id == before.key_id());
        record.unwrap().not_after = now() - 40 * DAY;
    }))
    .unwrap();
    let mut destruction = Destruction::default();
    let refused = block_on(ring.destroy(before.key_id(), &destruction)).unwrap_err();
    assert!(matches!(
        refused,
        RingError::NotDestroyed(_, DestroyRefused::Backups)
    ));
    destruction.backups_acknowledged = true;
    block_on(ring.destroy(before.key_id(), &destruction)).unwrap();
}

/// A ring in which a key was retired before its time was noted.
#[test]
fn a_time_that_is_missing_is_noted() {
    let ring = TestRing::new("clinic");
    let manifest = block_on(ring.ring().load()).unwrap().manifest().clone();
    let pepper = find(&manifest, KeyUse::Index, KeyState::Active).unwrap();
    block_on(ring.ring().update(|manifest| {
        let mut records = manifest.records.iter_mut();
        let record = records.find(|record| record.context.key_id == pepper);
        record.unwrap().state = KeyState::DecryptOnly;
    }))
    .unwrap();
    match block_on(ring.ring().destroy(pepper, &Destruction::default())).unwrap_err() {
        RingError::NotDestroyed(_, refused @ DestroyRefused::NoStopTime(..)) => {
            let command = format!("`phield keys retire {pepper}`");
            assert!(refused.to_string().contains(&command), "{refused}");
        }
        other => panic!("{other:?}"),
    }
    let noted = block_on(
        ring.ring()
            .retire(pepper, Retirement::DecryptOnly(Rollout::Waited), None),
    )
    .unwrap();
    let record = noted.ring.manifest().record(pepper).unwrap();
    assert!(now() - record.not_after < 60 && record.state == KeyState::DecryptOnly);
    let again = block_on(
        ring.ring()
            .retire(pepper, Retirement::DecryptOnly(Rollout::Waited), None),
    )
    .unwrap();
    assert_eq!(
        again.ring.manifest().epoch,
        noted.ring.manifest().epoch,
        "once is enough"
    );
}
