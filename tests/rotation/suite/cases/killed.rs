//! A rotation that is killed at every write: of the ring, of the database, of the report. The rows that are left open and are
//! found, and the same command finishes.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use phield::{KeyId, KeyState, KeyUse, Manifest, Ring, RingSettings};
use phield_rotation_tests::model::Patient;
use phield_rotation_tests::{Failed, ring};

use super::{lane, table};
use crate::kill_points;
use crate::lane::Start;
use crate::process::{self, Ended, KillPoint};

const ROWS: i64 = 12;
/// Processes at a time.
const LANES: usize = 2;

/// What all lanes of a test share.
struct Test {
    start: Start,
    settings: RingSettings,
    mode: &'static str,
    key_use: KeyUse,
    /// The key that is rotated away.
    old: KeyId,
    before: Manifest,
    patients: Vec<Patient>,
}

/// One database and one ring.
struct Lane {
    name: String,
    url: String,
}

impl Test {
    async fn new(mode: &'static str, pragma: Option<&'static str>) -> (Self, Vec<Lane>) {
        let start = Start::new();
        let key_use = if mode == "pepper" { KeyUse::Index } else { KeyUse::Data };
        if mode == "kek" {
            start.add_provider();
        }
        let settings = ring::open(start.ring.folder()).await.unwrap().settings.clone();
        let before = start.ring.ring().load().await.unwrap().manifest().clone();
        let keyring = start.ring.keyring();
        let (mut patients, mut lanes) = (Vec::new(), Vec::new());
        for lane in 0..LANES {
            let name = format!("lane_{lane}_");
            let url = lane::url(lane::server(), start.folder.path(), &name).await;
            let pool = table::connect(&url, 1).await.unwrap();
            if let Some(pragma) = pragma {
                sqlx::query(pragma).execute(&pool).await.unwrap();
            }
            patients = table::fill(&pool, &keyring, ROWS).await.unwrap();
            table::keep(&pool).await.unwrap();
            pool.close().await;
            lane::copy(start.folder.path(), &name, &format!("{name}kept"));
            lanes.push(Lane { name, url });
        }
        let old = ring::active(&before, key_use).unwrap();
        let test = Self { start, settings, mode, key_use, old, before, patients };
        (test, lanes)
    }

    /// The lane as it was, and a fresh copy of the ring for it.
    async fn reset(&self, lane: &Lane) -> Result<std::path::PathBuf, Failed> {
        if !lane::copy(self.start.folder.path(), &format!("{}kept", lane.name), &lane.name) {
            let pool = table::connect(&lane.url, 1).await?;
            table::reset(&pool).await?;
            pool.close().await;
        }
        Ok(self.start.copy_ring(&lane.name))
    }

    fn rotator(&self, lane: &Lane, folder: &Path) -> tokio::process::Command {
        let (old, folder_name) = (self.old.get().to_string(), folder.display().to_string());
        let report = folder.join("report").display().to_string();
        process::rotator(&[
            ("folder", &folder_name),
            ("url", &lane.url),
            ("mode", self.mode),
            ("report", &report),
            ("replace", &old),
            ("batch", "4"),
            ("alone", "yes"),
            ("acknowledged", "yes"),
        ])
    }

    /// At any moment: every key is there, every token is under one of them, every row opens and is found.
    async fn holds(&self, lane: &Lane, ring: &Ring) -> Result<Manifest, Failed> {
        let verified = ring.load().await?;
        let keyring = verified.keyring(&ring.settings).await?;
        let manifest = verified.manifest().clone();
        for record in &self.before.records {
            let kept = manifest.record(record.context.key_id).ok_or("a key is lost")?;
            if kept.check_value != record.check_value {
                return Err("a key has changed".into());
            }
        }
        for key_use in [KeyUse::Data, KeyUse::Index] {
            let is_active =
                |record: &&phield::KeyRecord| record.context.key_use == key_use && record.state == KeyState::Active;
            if manifest.records.iter().filter(is_active).count() != 1 {
                return Err(format!("not one {key_use} key is active").into());
            }
        }
        let pool = table::connect(&lane.url, 1).await?;
        for key in table::keys_in_use(&pool).await? {
            let record = manifest.record(key).ok_or("a token is under a key that the ring does not have")?;
            if !record.state.opens() || record.state == KeyState::PreActive {
                return Err(format!("a token is under a {} key", record.state).into());
            }
        }
        table::check(&pool, &keyring, &self.patients).await?;
        pool.close().await;
        Ok(manifest)
    }

    /// What holds once a run came to its end: as without any kill.
    async fn ended(&self, lane: &Lane, folder: &Path) -> Result<(), Failed> {
        let ring = ring::of_copy(&self.settings, folder);
        let manifest = self.holds(lane, &ring).await?;
        if self.mode == "kek" {
            return self.rewrapped(&manifest);
        }
        let active = ring::active(&manifest, self.key_use).ok_or("no key is active")?;
        let old = manifest.record(self.old).map(|record| record.state);
        if active == self.old || old != Some(KeyState::DecryptOnly) {
            return Err("the key was not replaced".into());
        }
        let pool = table::connect(&lane.url, 1).await?;
        let counts = table::keys(&pool).await?;
        pool.close().await;
        let [rotated, others] = if self.key_use == KeyUse::Data { counts } else { [counts[1].clone(), counts[0].clone()] };
        if rotated.keys().ne([&active]) || others.len() != 1 || others.contains_key(&active) {
            return Err(format!("not all is under the key {active}: {rotated:?}, {others:?}").into());
        }
        let report = std::fs::read_to_string(folder.join("report"))?;
        let is_old = |line: &str| line.starts_with("after ") && line.contains(&self.old.to_string());
        if report.lines().any(is_old) || !report.lines().any(|line| line == "quarantined 0") {
            return Err(format!("the report says:\n{report}").into());
        }
        Ok(())
    }

    /// Every key is under the other key-encryption key, and under that alone.
    fn rewrapped(&self, manifest: &Manifest) -> Result<(), Failed> {
        let [_, other] = ring::PROVIDERS;
        for record in &manifest.records {
            if record.wraps.len() != 1 || record.wraps.iter().any(|wrap| wrap.provider.as_str() != other) {
                return Err(format!("key {} is not re-wrapped", record.context.key_id).into());
            }
        }
        let is_as_before = manifest.records.len() == self.before.records.len();
        is_as_before.then_some(()).ok_or_else(|| "there are other keys than before".into())
    }

    /// One kill: what is left holds, and the same command finishes.
    async fn kill(&self, lane: &Lane, point: KillPoint) -> Result<Ended, Failed> {
        let folder = self.reset(lane).await?;
        let ended = process::kill_at(&mut self.rotator(lane, &folder), point).await?;
        let ring = ring::of_copy(&self.settings, &folder);
        self.holds(lane, &ring).await.map_err(|error| format!("after the kill: {error}"))?;
        process::finish(&mut self.rotator(lane, &folder)).await.map_err(|error| format!("the second run: {error}"))?;
        self.ended(lane, &folder).await.map_err(|error| format!("in the end: {error}"))?;
        Ok(ended)
    }

    async fn all(self: Arc<Self>, lanes: Vec<Lane>, database: &str) {
        let first = lanes.first().unwrap();
        let folder = self.reset(first).await.unwrap();
        let counts = process::count(&mut self.rotator(first, &folder), &folder.join("total")).await.unwrap();
        self.ended(first, &folder).await.unwrap();
        println!("{database} {}: {counts:?}", self.mode);
        let writes = counts.first().map_or(0, |(_, total)| *total);
        assert!(writes > 50, "these are not all the writes");
        let points = Arc::new(kill_points::of(writes));
        let (next, killed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let failures = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = tokio::task::JoinSet::new();
        for lane in lanes {
            let (test, points, next) = (Arc::clone(&self), Arc::clone(&points), Arc::clone(&next));
            let (killed, failures) = (Arc::clone(&killed), Arc::clone(&failures));
            tasks.spawn(async move {
                while let Some(point) = points.get(next.fetch_add(1, Ordering::SeqCst)) {
                    match test.kill(&lane, *point).await {
                        Ok(Ended::Killed) => drop(killed.fetch_add(1, Ordering::SeqCst)),
                        // It made fewer writes than the one that was counted.
                        Ok(Ended::Done) => {}
                        Err(error) => failures.lock().unwrap().push(format!("{point:?}: {error}")),
                    }
                }
            });
        }
        while let Some(joined) = tasks.join_next().await {
            joined.unwrap();
        }
        let failures = failures.lock().unwrap();
        let killed = killed.load(Ordering::SeqCst);
        println!(
            "{database} {}: {writes} writes, {} kill points, killed at {killed} of them, {} failed",
            self.mode,
            points.len(),
            failures.len()
        );
        assert!(failures.is_empty(), "{}", failures.join("\n"));
        // The last writes of a run may be one or two fewer than of another.
        assert!(killed * 10 >= points.len() * 9, "most runs ended before they were killed");
    }
}

pub(crate) async fn run(mode: &'static str, pragma: Option<&'static str>) {
    let (test, lanes) = Test::new(mode, pragma).await;
    let database = module_path!().rsplit("::").nth(1).unwrap();
    let database = if mode == "kek" { "key file" } else { database };
    let database = pragma.map_or(database.to_owned(), |pragma| format!("{database} ({pragma})"));
    Arc::new(test).all(lanes, &database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data() {
    run("data", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pepper() {
    run("pepper", None).await;
}
