//! Two and four processes share a rotation. Those that are killed give their shares back.

use std::time::Duration;

use phield::KeyUse;
use phield_rotation_tests::ring;
use tokio::task::JoinHandle;

use super::{lane, table};
use crate::lane::Start;
use crate::process;

const ROWS: i64 = 2400;
/// Of a table of 2400 rows, 15 shares of 32 pages of 5 rows.
const BATCH: &str = "5";

/// So many processes, of which some are killed on the way.
async fn share(workers: usize, killed: usize) {
    let start = Start::new();
    let url = lane::url(lane::server(), start.folder.path(), "workers").await;
    let pool = table::connect(&url, 2).await.unwrap();
    let patients = table::fill(&pool, &start.ring.keyring(), ROWS).await.unwrap();
    let folder = start.copy_ring("workers");
    let ring = ring::of_copy(start.settings(), &folder);
    let old = ring::active(ring.load().await.unwrap().manifest(), KeyUse::Data).unwrap();
    ring::replace(&ring, KeyUse::Data, old).await.unwrap();
    let folder_name = folder.display().to_string();
    // All of them together as fast in every test, and slow enough to be killed on the way.
    let rate = (1200 / workers).to_string();
    let report = |worker: usize| folder.join(format!("report-{worker}"));
    let begin = |worker: usize| -> (u32, JoinHandle<Result<(), String>>) {
        let report = report(worker).display().to_string();
        let mut rotator = process::rotator(&[
            ("folder", &folder_name),
            ("url", &url),
            ("mode", "data"),
            ("report", &report),
            ("batch", BATCH),
            ("rate", &rate),
            ("lease", "2"),
            ("acknowledged", "yes"),
        ]);
        let child = rotator.spawn().unwrap();
        (child.id().unwrap(), tokio::spawn(process::wait(child)))
    };
    let processes: Vec<_> = (0..workers).map(begin).collect();
    let mut dead = 0;
    let mut ended = Vec::new();
    for (worker, (id, process)) in processes.into_iter().enumerate() {
        if worker < killed {
            // Each that lives has a share of its own by now; that of a dead one may be another's already.
            while table::owners(&pool).await.len() < workers - dead && !process.is_finished() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            process::kill(id);
            assert!(process.await.unwrap().is_err(), "it ended before it was killed");
            dead += 1;
        } else {
            ended.push((worker, process));
        }
    }
    let rotations = {
        let mut survivors = 0;
        for (worker, process) in ended {
            process.await.unwrap().unwrap();
            let text = std::fs::read_to_string(report(worker)).unwrap();
            // Every row was written once, by whomever; and counted once, before and after.
            for line in [format!("changed patients {ROWS}"), "quarantined 0".to_owned()] {
                assert!(text.lines().any(|other| *other == line), "{line} is not in the report:\n{text}");
            }
            for phase in ["before", "after"] {
                assert_eq!(counted(&text, phase, "mrn"), ROWS, "{phase}:\n{text}");
            }
            survivors += 1;
        }
        survivors
    };
    assert_eq!((rotations, dead), (workers - killed, killed));
    let rotations = table::rotations(&pool).await.unwrap();
    println!("{workers} workers, {killed} of them killed: (rows changed, pass) of each rotation {rotations:?}");
    assert_eq!(rotations, [(ROWS, 1)], "one rotation, of one pass");
    table::check_opens(&pool, &ring.keyring().await.unwrap(), &patients).await.unwrap();
    let [tokens, _] = table::keys(&pool).await.unwrap();
    assert!(tokens.keys().eq([&ring::active(ring.load().await.unwrap().manifest(), KeyUse::Data).unwrap()]));
}

/// The sum of the counts of a column, over all keys.
fn counted(report: &str, phase: &str, column: &str) -> i64 {
    let start = format!("{phase} {column} ");
    let counts = report.lines().filter_map(|line| line.strip_prefix(&start)?.split(' ').nth(1)?.parse::<i64>().ok());
    counts.sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn two() {
    share(2, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four() {
    share(4, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_of_which_two_are_killed() {
    share(4, 2).await;
}
