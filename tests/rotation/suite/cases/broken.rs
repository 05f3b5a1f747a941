//! A table of which every hundredth row is broken: exactly those are in quarantine, each for its reason, and a second run takes
//! them once they are repaired.

use std::collections::BTreeMap;
use std::sync::Arc;

use phield::sqlx::rotate::{Mode, Rotation, RotationOptions};
use phield::{KeyUse, SchemaFile};
use phield_rotation_tests::model::Patient;
use phield_rotation_tests::ring;

use super::{lane, table};
use crate::lane::Start;

const ROWS: i64 = 3000;
/// The number of the row, in hundreds, decides what is wrong with it.
const BREAKS: [(&str, &str, &str); 5] = [
    ("ssn", "authentication", "(SELECT ssn FROM prepared WHERE id = 1)"),
    ("born", "malformed", "mrn_index"),
    ("note", "unknown-key", "'phi1.Ef____8BAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj9AQUI'"),
    ("note", "malformed", "'in the clear'"),
    // Another column of the same row.
    ("mrn", "authentication", "ssn"),
];

fn broken() -> Vec<(i64, usize)> {
    let ids = (1..=ROWS / 100).map(|hundred| hundred * 100);
    ids.zip((0..BREAKS.len()).cycle()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hundredth_row() {
    let start = Start::new();
    let url = lane::url(lane::server(), start.folder.path(), "broken").await;
    let pool = table::connect(&url, 4).await.unwrap();
    let patients = table::fill(&pool, &start.ring.keyring(), ROWS).await.unwrap();
    table::keep(&pool, "patients").await.unwrap();
    for (id, i) in broken() {
        let (column, _, value) = BREAKS[i];
        table::set(&pool, column, value, id).await.unwrap();
    }
    let ring = start.ring.ring();
    let old = ring::active(ring.load().await.unwrap().manifest(), KeyUse::Data).unwrap();
    ring::replace(ring, KeyUse::Data, old).await.unwrap();
    let keyring = Arc::new(ring.keyring().await.unwrap());
    let mut options = RotationOptions::default();
    (options.batch, options.acknowledged_by_every_instance) = (100, true);
    let schema = SchemaFile::of(&[Patient::SCHEMA]).unwrap();
    let rotation = Rotation::new(pool.clone(), Arc::clone(&keyring), schema).with_options(options);
    let status = rotation.run(Mode::Data, |_| {}).await.unwrap();
    assert_eq!((status.state, status.pass), ("done", 1), "broken rows are no reason for another pass");

    let noted = rotation.quarantine(10_000).await.unwrap();
    let mut noted: Vec<_> = noted.iter().map(|value| (value.row_key.clone(), value.column.as_str(), value.reason.as_str())).collect();
    let mut expected: Vec<_> = broken().into_iter().map(|(id, i)| (format!("i{id}"), BREAKS[i].0, BREAKS[i].1)).collect();
    noted.sort();
    expected.sort();
    assert_eq!(noted, expected);
    let mut by_reason = BTreeMap::new();
    for count in &status.quarantined {
        *by_reason.entry(count.reason.as_str()).or_insert(0) += count.count;
    }
    println!("{}: in quarantine {by_reason:?}", url.split(':').next().unwrap());
    let [tokens, values] = table::keys_of_good(&pool).await.unwrap();
    let active = ring::active(ring.load().await.unwrap().manifest(), KeyUse::Data).unwrap();
    // What does not open stays what it is, under the old key.
    assert!(tokens.contains_key(&active) && tokens.get(&old).copied().unwrap_or(0) < 2 * 30, "{tokens:?}");
    assert_eq!(values.len(), 1);

    for (id, i) in broken() {
        let (column, ..) = BREAKS[i];
        let kept = format!("(SELECT {column} FROM prepared WHERE prepared.id = patients.id)");
        table::set(&pool, column, &kept, id).await.unwrap();
    }
    let status = rotation.run(Mode::Data, |_| {}).await.unwrap();
    let changed: u64 = status.tables.iter().map(|table| table.changed).sum();
    // A note that was put where there had been none is gone again.
    let without = broken().into_iter().filter(|(id, i)| BREAKS[*i].0 == "note" && id % 3 == 0).count();
    assert_eq!(changed, 30 - u64::try_from(without).unwrap(), "the repaired rows alone");
    assert!(rotation.quarantine(10_000).await.unwrap().is_empty());
    table::check_opens(&pool, &keyring, &patients).await.unwrap();
    assert!(table::keys(&pool).await.unwrap()[0].keys().eq([&active]));
}
