use proptest::prelude::*;

use super::*;

fn key(id: u32) -> KeyId {
    KeyId::new(id).unwrap()
}

fn covered(id: u32, state: &str) -> CoveredKey {
    CoveredKey {
        key: key(id),
        key_use: "data".to_owned(),
        state: state.to_owned(),
    }
}

fn report() -> CoverageReport {
    let mut report = CoverageReport {
        version: VERSION,
        app: "emr".to_owned(),
        ring: "dev".to_owned(),
        database: "sqlite clinic.db".to_owned(),
        mode: CoverageMode::Scan,
        who: "anna@db1".to_owned(),
        started: 1_790_000_000,
        count_started: 1_790_000_000,
        ended: 1_790_000_060,
        epoch_start: 7,
        epoch_end: 7,
        hard_ttl_seconds: 3600,
        complete: true,
        keys: vec![covered(10, "decrypt-only"), covered(11, "active")],
        columns: Vec::new(),
        unregistered: Vec::new(),
    };
    let ssn = report.column_mut("patients", "ssn", CoveredKind::Token);
    ssn.key_mut(key(11)).after = 12;
    ssn.key_mut(key(10)).before = Some(12);
    ssn.key_mut(key(10)).shredded = 2;
    ssn.add_quarantined(QuarantineReason::Malformed, None, 1);
    ssn.add_quarantined(QuarantineReason::Authentication, Some(key(10)), 3);
    ssn.add_quarantined(QuarantineReason::Authentication, Some(key(10)), 1);
    ssn.add_quarantined(QuarantineReason::UnknownKey, Some(key(99)), 5);
    let index = report.column_mut("patients", "ssn_index", CoveredKind::Index);
    index.key_mut(key(20)).after = 14;
    index.add_quarantined(QuarantineReason::Duplicate, Some(key(20)), 1);
    report.column_mut("notes", "text", CoveredKind::Token);
    report
}

fn ring_key(byte: u8) -> RingKey {
    RingKey::new(&[byte; 32])
}

fn sign(report: CoverageReport) -> SignedCoverage {
    SignedCoverage::sign(report, (key(1), &ring_key(7))).unwrap()
}

/// Whether a file is read and authenticates.
fn is_good(file: &[u8]) -> bool {
    SignedCoverage::from_json(file).is_ok_and(|signed| signed.authenticates((key(1), &ring_key(7))))
}

#[test]
fn counts() {
    let report = report();
    assert_eq!((report.rows_under(key(10)), report.rows_under(key(11))), (0, 12));
    assert_eq!((report.shredded(key(10)), report.shredded(key(11))), (2, 0));
    // Four of its id, and one of which nobody can say whose it is.
    assert_eq!(report.quarantined(key(10), CoveredKind::Token), 5);
    assert_eq!(report.quarantined(key(10), CoveredKind::Index), 0);
    assert_eq!(report.quarantined(key(20), CoveredKind::Index), 1);
    assert!(report.was_retired(key(10)) && !report.was_retired(key(11)) && !report.was_retired(key(12)));
}

#[test]
fn what_a_person_reads() {
    let text = report().to_string();
    let expected = "\
Coverage of sqlite clinic.db by ring dev of emr (scan), by anna@db1
started 2026-09-21T14:13:20Z, counted from 2026-09-21T14:13:20Z to 2026-09-21T14:14:20Z; epoch 7 to 7; hard TTL 3600 s
  patients.ssn (token)
    0000000a: 0 rows, 12 before, 2 shredded
    0000000b: 12 rows
    quarantine, unknown-key: 5 rows under 00000063
    quarantine, authentication: 4 rows under 0000000a
    quarantine, malformed: 1 row
  patients.ssn_index (index)
    00000014: 14 rows
    quarantine, duplicate: 1 row under 00000014
  notes.text (token): nothing
0 rows under key 0000000a (decrypt-only, data), and 4 rows in quarantine, and 2 rows of shredded subjects
12 rows under key 0000000b (active, data)
14 rows under key 00000014 (not in the ring, or destroyed), and 1 row in quarantine
11 rows in quarantine
No column holds tokens and is not registered.";
    assert_eq!(text, expected);

    let mut report = report();
    report.complete = false;
    report.unregistered = vec!["public.old.\u{1b}[2Jssn".to_owned()];
    let text = report.to_string();
    assert!(text.contains("NOT COMPLETE"), "{text}");
    assert!(
        text.ends_with("1 column not registered that holds tokens; their keys were not counted:\n  public.old.\\u{1b}[2Jssn"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn every_changed_byte_is_refused() {
    let file = sign(report()).to_json().unwrap().into_bytes();
    assert!(is_good(&file));
    for place in 0..file.len() {
        for change in [1, 2, 8, 32, 128] {
            let mut changed = file.clone();
            changed[place] ^= change;
            assert!(!is_good(&changed), "byte {place}");
        }
        assert!(!is_good(&file[..place]));
    }
    assert!(!is_good(&[&file[..], b"\n"].concat()));
    let signed = SignedCoverage::from_json(&file).unwrap();
    assert!(!signed.authenticates((key(1), &ring_key(8))));
    // The same content in another form is not what was written.
    let value: serde_json::Value = serde_json::from_slice(&file).unwrap();
    assert!(SignedCoverage::from_json(value.to_string().as_bytes()).is_err());
}

#[test]
fn another_version_is_refused() {
    let mut report = report();
    report.version = 2;
    let file = sign(report).to_json().unwrap();
    let error = SignedCoverage::from_json(file.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("coverage report"), "{error}");
}

#[test]
fn what_was_under_a_compromised_key_is_told() {
    let mut report = report();
    let [compromised, active] = [10, 11].map(key);
    let ssn = report.column_mut("patients", "ssn", CoveredKind::Token);
    ssn.key_mut(compromised).compromised = 7;
    let notes = report.column_mut("notes", "text", CoveredKind::Token);
    notes.key_mut(compromised).compromised = 1;
    assert_eq!(
        (report.compromised(compromised), report.compromised(active)),
        (8, 0)
    );
    let text = report.to_string();
    for line in [
        "    0000000a: 0 rows, 12 before, 2 shredded, 7 sealed again from it while it was compromised\n",
        "    0000000a: 0 rows, 1 sealed again from it while it was compromised\n",
        "NOT AUTHENTICATED: 8 values were opened under key 0000000a while it was compromised, and sealed again under another one. \
         Whoever had key 0000000a can have made them up: compare them with where they come from.\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let file = sign(report).to_json().unwrap();
    assert!(file.contains("\"compromised\": 7") && is_good(file.as_bytes()));
    assert!(!sign(self::report()).to_json().unwrap().contains("compromised\":"));
}

/// The MAC of one report, so that a report of today is read by the phield of tomorrow. Computed by Python's hmac from
/// the formula of decision 0008.
#[test]
fn the_mac_is_as_written_down() {
    let mut small = report();
    small.columns.clear();
    small.keys.clear();
    let canonical = String::from_utf8(small.canonical().unwrap()).unwrap();
    assert_eq!(
        canonical,
        r#"{"version":1,"app":"emr","ring":"dev","database":"sqlite clinic.db","mode":"scan","who":"anna@db1","started":1790000000,"count_started":1790000000,"ended":1790000060,"epoch_start":7,"epoch_end":7,"hard_ttl_seconds":3600,"complete":true,"keys":[],"columns":[],"unregistered":[]}"#
    );
    let hex = data_encoding::HEXLOWER.encode(&sign(small).mac);
    assert_eq!(
        hex,
        "89709d7a0f5d3ac87067783754435615cd5d43ed34b86047bf9dc30d6b6d8fd7"
    );
}

fn any_id() -> impl Strategy<Value = KeyId> {
    (1..=u32::MAX).prop_map(key)
}

fn any_column() -> impl Strategy<Value = ColumnCoverage> {
    let reason = prop_oneof![
        Just(QuarantineReason::UnknownKey),
        Just(QuarantineReason::Authentication),
        Just(QuarantineReason::Malformed),
        Just(QuarantineReason::Duplicate),
    ];
    let keys = proptest::collection::vec((any_id(), any::<Option<u64>>(), any::<[u64; 2]>()), 0..4);
    let quarantined = proptest::collection::vec((reason, proptest::option::of(any_id()), any::<u64>()), 0..4);
    (any::<String>(), any::<String>(), any::<bool>(), keys, quarantined).prop_map(
        |(table, column, is_index, keys, quarantined)| {
            let kind = if is_index {
                CoveredKind::Index
            } else {
                CoveredKind::Token
            };
            let mut entry = ColumnCoverage::new(&table, &column, kind);
            for (key, before, [after, shredded]) in keys {
                let count = entry.key_mut(key);
                (count.before, count.after, count.shredded) = (before, after, shredded);
            }
            for (reason, key, rows) in quarantined {
                entry.add_quarantined(reason, key, rows);
            }
            entry
        },
    )
}

fn any_report() -> impl Strategy<Value = CoverageReport> {
    let mode = prop_oneof![
        Just(CoverageMode::Scan),
        Just(CoverageMode::Verify),
        Just(CoverageMode::Data),
        Just(CoverageMode::Pepper),
        Just(CoverageMode::Migrate),
        Just(CoverageMode::Unseal),
    ];
    let columns = proptest::collection::vec(any_column(), 0..4);
    let unregistered = proptest::collection::vec(any::<String>(), 0..3);
    let keys = proptest::collection::vec(any_id().prop_map(|id| covered(id.get(), "active")), 0..3);
    let words = any::<[String; 4]>();
    (
        mode,
        words,
        any::<[u64; 6]>(),
        any::<bool>(),
        columns,
        unregistered,
        keys,
    )
        .prop_map(
            |(mode, [app, ring, database, who], numbers, complete, columns, unregistered, keys)| {
                let [
                    started,
                    count_started,
                    ended,
                    epoch_start,
                    epoch_end,
                    hard_ttl_seconds,
                ] = numbers;
                CoverageReport {
                    version: VERSION,
                    app,
                    ring,
                    database,
                    mode,
                    who,
                    started,
                    count_started,
                    ended,
                    epoch_start,
                    epoch_end,
                    hard_ttl_seconds,
                    complete,
                    keys,
                    columns,
                    unregistered,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// What is written is read again as it was, authenticates, and is shown without anything that a terminal obeys.
    #[test]
    fn a_report_comes_back(report in any_report()) {
        let file = sign(report.clone()).to_json().unwrap();
        let read = SignedCoverage::from_json(file.as_bytes()).unwrap();
        prop_assert_eq!(read.report(), &report);
        prop_assert!(read.authenticates((key(1), &ring_key(7))));
        let is_bad = |c: char| c.is_control() && c != '\n';
        // Ring and app are names by the time a report is authentic.
        let shown = CoverageReport { app: "a".into(), ring: "r".into(), ..report }.to_string();
        prop_assert!(!shown.contains(is_bad));
    }

    /// Two reports that differ have canonical bytes that differ: the MAC says which.
    #[test]
    fn the_canonical_bytes_are_injective(a in any_report(), b in any_report()) {
        prop_assert_eq!(a == b, a.canonical().unwrap() == b.canonical().unwrap());
    }

    #[test]
    fn any_change_is_refused(report in any_report(), place in any::<prop::sample::Index>(), change in 1_u8..) {
        let mut file = sign(report).to_json().unwrap().into_bytes();
        let place = place.index(file.len());
        file[place] ^= change;
        prop_assert!(!is_good(&file));
    }
}
