//! A rotation that is killed at every write: of the ring, of the database, of the report. The rows that are left open and are
//! found, and the same command finishes.

use phield::config::Config;
use phield::{KeyId, KeyRecord, KeyState, KeyUse, Manifest, Ring, RingKeyPin, RingSettings};
use phield_rotation_tests::model::{Patient, patient};
use phield_rotation_tests::{Failed, ring};
use sqlx::Pool;

use super::DATABASE;
use super::kills::{Command, Site, at_every_write};
use super::table::{self, Db};
use crate::lane::Start;

const ROWS: i64 = 12;
const MODE_RING: &str = "ring";

/// What is rotated: `data`, `pepper`, `kek` or `ring`.
pub(crate) struct Rotation {
    start: Start,
    settings: RingSettings,
    mode: &'static str,
    key_use: KeyUse,
    /// The key that is rotated away.
    old: KeyId,
    before: Manifest,
    patients: Vec<Patient>,
}

impl Command for Rotation {
    type Written = ();

    fn mode(&self) -> &'static str {
        self.mode
    }

    fn start(&self) -> &Start {
        &self.start
    }

    fn least_writes(&self) -> u64 {
        // Two changes of the ring, and three of the configuration.
        if self.mode == MODE_RING { 40 } else { 50 }
    }

    fn spread(&self) -> usize {
        if self.mode == MODE_RING { 20 } else { 30 }
    }

    fn arguments(&self) -> Vec<(&'static str, String)> {
        vec![("replace", self.old.get().to_string())]
    }

    async fn fill(&self, pool: &Pool<Db>) -> Result<(), Failed> {
        let rows = i64::try_from(self.patients.len())?;
        table::fill(pool, &self.start.ring.keyring(), rows).await?;
        table::keep(pool, "patients").await
    }

    async fn reset(&self, pool: &Pool<Db>) -> Result<(), Failed> {
        table::reset(pool).await
    }

    async fn killed(&self, site: &Site) -> Result<(), Failed> {
        self.holds(site).await.map(drop)
    }

    async fn ended(&self, site: &Site, (): ()) -> Result<String, Failed> {
        let manifest = self.holds(site).await?;
        let report = site.report()?;
        let is_old = |line: &str| line.starts_with("after ") && line.contains(&self.old.to_string());
        if report.lines().any(is_old) || !report.lines().any(|line| line == "quarantined 0") {
            return Err(format!("the report says:\n{report}").into());
        }
        match self.mode {
            "kek" => self.rewrapped(&manifest)?,
            MODE_RING => self.replaced(&manifest)?,
            _ => {
                self.replaced(&manifest)?;
                self.rotated(&manifest, site).await?;
            }
        }
        Ok(self.state(&manifest))
    }
}

impl Rotation {
    pub(crate) async fn new(mode: &'static str, rows: i64) -> Self {
        let start = Start::new();
        let key_use = match mode {
            "pepper" => KeyUse::Index,
            MODE_RING => KeyUse::Ring,
            _ => KeyUse::Data,
        };
        if mode == "kek" {
            start.ring.add_provider();
        }
        let settings = ring::open(start.ring.folder()).await.unwrap().settings.clone();
        let before = start.ring.ring().load().await.unwrap().manifest().clone();
        let old = ring::active(&before, key_use).unwrap();
        let patients = (1..=rows).map(patient).collect();
        Self { start, settings, mode, key_use, old, before, patients }
    }

    /// The ring of a run, with the pins that its configuration has by now.
    fn ring(&self, site: &Site) -> Result<Ring, Failed> {
        let mut settings = self.settings.clone();
        settings.pins = ring::pins(&Config::read(&site.folder.join("phield.toml"))?)?;
        Ok(ring::of_copy(&settings, &site.folder))
    }

    /// At any moment: every key is there, every token is under one of them, every row opens and is found.
    async fn holds(&self, site: &Site) -> Result<Manifest, Failed> {
        let ring = self.ring(site)?;
        let verified = ring.load().await?;
        let keyring = verified.keyring(&ring.settings).await?;
        let manifest = verified.manifest().clone();
        for record in &self.before.records {
            let kept = manifest.record(record.context.key_id).ok_or("a key is lost")?;
            if kept.check_value != record.check_value {
                return Err("a key has changed".into());
            }
        }
        for key_use in [KeyUse::Data, KeyUse::Index, KeyUse::Ring] {
            let is_active = |record: &&KeyRecord| record.context.key_use == key_use && record.state == KeyState::Active;
            if manifest.records.iter().filter(is_active).count() != 1 {
                return Err(format!("not one {key_use} key is active").into());
            }
        }
        for key in table::keys_in_use(&site.pool).await? {
            let record = manifest.record(key).ok_or("a token is under a key that the ring does not have")?;
            if !record.state.opens() || record.state == KeyState::PreActive {
                return Err(format!("a token is under a {} key", record.state).into());
            }
        }
        table::check(&site.pool, &keyring, &self.patients).await?;
        if self.mode == MODE_RING {
            self.every_instance_opens(&ring, &manifest, site).await?;
        }
        Ok(manifest)
    }

    /// Processes that have the pins of the step before, or of the step after, open the ring and its rows.
    async fn every_instance_opens(&self, ring: &Ring, manifest: &Manifest, site: &Site) -> Result<(), Failed> {
        let of_ring = manifest.records.iter().filter(|record| record.context.key_use == KeyUse::Ring);
        let (old, new): (Vec<_>, Vec<_>) = of_ring.partition(|record| record.context.key_id == self.old);
        let (old, new) = (old.first().ok_or("the old ring key is lost")?, new.first());
        let mut instances = Vec::new();
        if let Some(new) = new {
            instances.extend([vec![*old, *new], vec![*new, *old]]);
        }
        let active = new.filter(|new| new.state == KeyState::Active).unwrap_or(old);
        instances.push(vec![*active]);
        for records in instances {
            let mut settings = ring.settings.clone();
            settings.pins = records.into_iter().map(RingKeyPin::of).collect();
            let keyring = ring::of_copy(&settings, &site.folder).keyring().await?;
            table::check_opens(&site.pool, &keyring, &self.patients).await?;
        }
        Ok(())
    }

    /// The old key has a successor.
    fn replaced(&self, manifest: &Manifest) -> Result<(), Failed> {
        let active = ring::active(manifest, self.key_use).ok_or("no key is active")?;
        let old = manifest.record(self.old).map(|record| record.state);
        if active == self.old || old != Some(KeyState::DecryptOnly) {
            return Err(format!("the key was not replaced: {active} is active, the old one is {old:?}").into());
        }
        Ok(())
    }

    /// Everything is under the successor.
    async fn rotated(&self, manifest: &Manifest, site: &Site) -> Result<(), Failed> {
        let active = ring::active(manifest, self.key_use).ok_or("no key is active")?;
        let counts = table::keys(&site.pool).await?;
        let [rotated, others] = if self.key_use == KeyUse::Data { counts } else { [counts[1].clone(), counts[0].clone()] };
        if rotated.keys().ne([&active]) || others.len() != 1 || others.contains_key(&active) {
            return Err(format!("not all is under the key {active}: {rotated:?}, {others:?}").into());
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

    /// The keys without their ids, which are random, and how often the ring was changed.
    fn state(&self, manifest: &Manifest) -> String {
        let key = |record: &KeyRecord| format!("{} {}", record.context.key_use, record.state);
        let mut keys: Vec<_> = manifest.records.iter().map(key).collect();
        keys.sort();
        let changes = manifest.epoch - self.before.epoch;
        format!("{changes} changes of the ring, keys: {}", keys.join(", "))
    }
}

pub(crate) async fn run(mode: &'static str, pragma: Option<&'static str>) {
    let database = match mode {
        "kek" | MODE_RING => "key file",
        _ => DATABASE,
    };
    let database = pragma.map_or(database.to_owned(), |pragma| format!("{database} ({pragma})"));
    at_every_write(Rotation::new(mode, ROWS).await, pragma, &database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data() {
    run("data", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pepper() {
    run("pepper", None).await;
}
