//! Two instances of an application write, read and search while their rows are rotated.

use std::collections::BTreeMap;
use std::time::Duration;

use phield::{KeyUse, Rollout};
use phield_rotation_tests::model::{patient, written};
use phield_rotation_tests::ring;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use super::{lane, table};
use crate::lane::Start;
use crate::process;

const ROWS: i64 = 120;
const INSTANCES: usize = 2;
/// How long an instance uses what it knows; a rotation waits for it. Longer than a machine that is busy with other tests keeps a
/// thread waiting: an instance that could not look at its ring for so long fails its requests, as it should.
const HARD_TTL: Duration = Duration::from_secs(8);

struct Instance {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// What an instance did.
#[derive(Default)]
struct Work {
    last: BTreeMap<i64, u64>,
    failed: Vec<String>,
    did: String,
}

impl Instance {
    async fn start(folder: &str, url: &str, number: usize) -> Self {
        let (hard, soft) = (HARD_TTL.as_millis().to_string(), "300");
        let mut process = process::traffic(&[
            ("folder", folder),
            ("url", url),
            ("rows", &ROWS.to_string()),
            ("instance", &number.to_string()),
            ("instances", &INSTANCES.to_string()),
            ("soft", soft),
            ("hard", &hard),
        ])
        .spawn()
        .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut instance = Self { process, lines };
        assert_eq!(instance.lines.next_line().await.unwrap().as_deref(), Some("ready"));
        instance
    }

    async fn stop(mut self) -> Work {
        drop(self.process.stdin.take());
        let mut work = Work::default();
        while let Some(line) = self.lines.next_line().await.unwrap() {
            match line.split_once(' ').unwrap() {
                ("last", rest) => {
                    let (id, number) = rest.split_once(' ').unwrap();
                    work.last.insert(id.parse().unwrap(), number.parse().unwrap());
                }
                ("failed", why) => work.failed.push(why.to_owned()),
                ("did", what) => what.clone_into(&mut work.did),
                _ => panic!("{line}"),
            }
        }
        assert!(self.process.wait().await.unwrap().success());
        work
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn goes_on() {
    let start = Start::new();
    let url = lane::url(lane::server(), start.folder.path(), "traffic").await;
    let pool = table::connect(&url, 1).await.unwrap();
    if url.starts_with("sqlite") {
        sqlx::query("PRAGMA journal_mode = wal").execute(&pool).await.unwrap();
    }
    table::fill(&pool, &start.ring.keyring(), ROWS).await.unwrap();
    let folder = start.copy_ring("traffic");
    let (ring, folder_name) = (ring::of_copy(start.settings(), &folder), folder.display().to_string());
    let mut instances = Vec::new();
    for number in 0..INSTANCES {
        instances.push(Instance::start(&folder_name, &url, number).await);
    }
    for (mode, key_use) in [("data", KeyUse::Data), ("pepper", KeyUse::Index)] {
        let new = ring::publish(&ring, key_use).await.unwrap();
        // After this time every instance has it, or has stopped.
        tokio::time::sleep(HARD_TTL).await;
        ring.activate(new, Rollout::AcknowledgedByEveryInstance).await.unwrap();
        let report = folder.join("report").display().to_string();
        let mut rotator = process::rotator(&[
            ("folder", &folder_name),
            ("url", &url),
            ("mode", mode),
            ("report", &report),
            ("batch", "5"),
            ("rate", "60"),
            ("hard_ttl", &HARD_TTL.as_secs().to_string()),
            ("wait", "yes"),
        ]);
        process::finish(&mut rotator).await.unwrap();
        let [tokens, values] = table::keys(&pool).await.unwrap();
        let rotated = if key_use == KeyUse::Data { tokens } else { values };
        assert!(rotated.keys().eq([&new]), "{mode}: not all is under the new key: {rotated:?}");
    }
    let (mut last, mut failed) = (BTreeMap::new(), Vec::new());
    for instance in instances {
        let work = instance.stop().await;
        println!("{}: {}", url.split(':').next().unwrap(), work.did);
        last.extend(work.last);
        failed.extend(work.failed);
    }
    assert!(failed.is_empty(), "{} requests failed:\n{}", failed.len(), failed.join("\n"));
    assert_eq!(last.len(), usize::try_from(ROWS).unwrap(), "every row was written");
    let expected: Vec<_> = (1..=ROWS).map(|id| last.get(&id).map_or(patient(id), |number| written(id, *number))).collect();
    let keyring = ring.keyring().await.unwrap();
    table::check(&pool, &keyring, &expected).await.unwrap();
}
