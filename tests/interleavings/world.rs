//! A ring, a table, and two instances of an application whose keys may be stale.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use phield::sqlx::rotate::{Mode, Rotation, RotationError, RotationOptions};
use phield::sqlx::{insert_batch, update};
use phield::{
    EncryptedPhi, KeyId, KeyState, KeyUse, Keyring, Manifest, Phi, Retirement, RingError, Rollout,
    SchemaFile, Suite,
};
use phield_core::Destruction;
use phield_testkit::TestRing;
use sqlx::SqlitePool;
use sqlx::sqlite::SqlitePoolOptions;

use crate::steps::{INSTANCES, ROWS, Step};

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "patients")]
pub(crate) struct Patient {
    #[phi(row_id)]
    pub(crate) id: i64,
    #[phi(index(normalize = "exact"))]
    pub(crate) name: Phi<String>,
    #[phi(store = "text")]
    pub(crate) note: Option<Phi<String>>,
}

pub(crate) struct World {
    pub(crate) ring: TestRing,
    pub(crate) pool: SqlitePool,
    pub(crate) instances: Vec<Arc<Keyring>>,
    /// What every row holds.
    pub(crate) rows: Vec<Patient>,
    /// The ring as it was after the last step.
    pub(crate) seen: Manifest,
    /// Rotations that were killed, and that came to their end.
    pub(crate) killed: u32,
    pub(crate) ended: u32,
}

fn patient(id: i64, value: u32) -> Patient {
    Patient {
        id,
        name: Phi::new(format!("{id} {value}")),
        note: (!value.is_multiple_of(3)).then(|| Phi::new(format!("note {value}"))),
    }
}

fn use_of(pepper: bool) -> KeyUse {
    if pepper { KeyUse::Index } else { KeyUse::Data }
}

impl World {
    pub(crate) async fn new() -> Self {
        let ring = TestRing::new("emr");
        let file = format!("sqlite://{}?mode=rwc", ring.folder().join("db").display());
        let pool = SqlitePoolOptions::new()
            .max_connections(5)
            .connect(&file)
            .await
            .unwrap();
        // Nothing of it is kept: no syncs.
        let table = "PRAGMA journal_mode = wal; PRAGMA synchronous = off; \
                     CREATE TABLE patients (id INTEGER PRIMARY KEY, name BLOB NOT NULL, name_index BLOB NOT NULL, note TEXT)";
        sqlx::raw_sql(table).execute(&pool).await.unwrap();
        let keyring = Arc::new(ring.keyring());
        let rows: Vec<_> = (1..=ROWS).map(|id| patient(id, 1)).collect();
        let sealed = Patient::seal_batch(&rows, &keyring).unwrap();
        insert_batch(&mut *pool.acquire().await.unwrap(), sealed)
            .await
            .unwrap();
        let seen = ring.ring().load().await.unwrap().manifest().clone();
        Self {
            ring,
            pool,
            instances: vec![keyring; INSTANCES],
            rows,
            seen,
            killed: 0,
            ended: 0,
        }
    }

    pub(crate) async fn manifest(&self) -> Manifest {
        self.ring.ring().load().await.unwrap().manifest().clone()
    }

    async fn fresh(&self) -> Arc<Keyring> {
        Arc::new(self.ring.ring().keyring().await.unwrap())
    }

    async fn reload_all(&mut self) {
        let keyring = self.fresh().await;
        self.instances = vec![keyring; INSTANCES];
    }

    pub(crate) async fn take(&mut self, step: &Step) {
        match *step {
            Step::Publish { pepper } => self.publish(pepper).await,
            Step::Activate { pepper, acknowledged } => self.activate(pepper, acknowledged).await,
            Step::Compromise => self.compromise().await,
            Step::Write { instance, row, value } => self.write(instance, row, value).await,
            Step::Read { instance, row } => self.read(instance, row).await,
            Step::Rotate {
                pepper,
                polls,
                acknowledged,
            } => self.rotate(pepper, polls, acknowledged).await,
            Step::Reload { instance } | Step::Restart { instance } => {
                self.instances[instance] = self.fresh().await;
            }
            Step::Destroy { key } => self.destroy(key).await,
        }
    }

    async fn publish(&mut self, pepper: bool) {
        let live = self
            .seen
            .records
            .iter()
            .filter(|record| record.context.key_use == KeyUse::Index && record.state.opens());
        let (live, pre_active) = (live.count(), self.find(use_of(pepper), KeyState::PreActive));
        let suite = (!pepper).then_some(Suite::Aes256Gcm);
        let made = self.ring.ring().successor(use_of(pepper), suite, None).await;
        if pepper && pre_active.is_none() && live == 2 {
            // A search has two slots: the old pepper is destroyed first.
            assert!(made.is_err(), "a third pepper");
        } else {
            assert_eq!(made.unwrap().is_new, pre_active.is_none());
        }
    }

    async fn activate(&mut self, pepper: bool, acknowledged: bool) {
        let Some(id) = self.find(use_of(pepper), KeyState::PreActive) else {
            return;
        };
        let ring = self.ring.ring();
        if acknowledged {
            // The operator looks at every instance, and restarts those that do not have it.
            let has_it = |keyring: &Arc<Keyring>| keyring.status().keys.iter().any(|key| key.id == id);
            let stale: Vec<_> = (0..INSTANCES).filter(|i| !has_it(&self.instances[*i])).collect();
            for i in stale {
                self.instances[i] = self.fresh().await;
            }
            ring.activate(id, Rollout::AcknowledgedByEveryInstance)
                .await
                .unwrap();
        } else {
            let refused = ring.activate(id, Rollout::Waited).await.unwrap_err();
            assert!(matches!(refused, RingError::TooSoon { .. }), "{refused:?}");
        }
    }

    async fn compromise(&mut self) {
        let active = self.find(KeyUse::Data, KeyState::Active).unwrap();
        let retired = self
            .ring
            .ring()
            .retire(active, Retirement::Compromised, None)
            .await;
        match self.find(KeyUse::Data, KeyState::PreActive) {
            Some(_) => assert!(retired.unwrap().successor.is_some()),
            None => assert!(matches!(retired.unwrap_err(), RingError::NoSuccessor(_))),
        }
        self.reload_all().await;
    }

    async fn write(&mut self, instance: usize, row: i64, value: u32) {
        let patient = patient(row, value);
        let sealed = patient.seal(&self.instances[instance]).unwrap();
        assert_eq!(update(&self.pool, &sealed).await.unwrap(), 1);
        *self.rows.iter_mut().find(|patient| patient.id == row).unwrap() = patient;
    }

    async fn read(&self, instance: usize, row: i64) {
        let keyring = &self.instances[instance];
        let expected = self.rows.iter().find(|patient| patient.id == row).unwrap();
        assert_eq!(
            Patient::fetch(&self.pool, keyring, &row).await.unwrap().as_ref(),
            Some(expected)
        );
        let found = Patient::find_by_name(&self.pool, keyring, expected.name.expose().as_str())
            .await
            .unwrap();
        assert_eq!(found, std::slice::from_ref(expected));
    }

    async fn rotate(&mut self, pepper: bool, polls: u32, acknowledged: bool) {
        let (mode, other) = if pepper {
            (Mode::Pepper, Mode::Data)
        } else {
            (Mode::Data, Mode::Pepper)
        };
        if acknowledged {
            // The operator sees to it that every instance seals under the active key.
            self.reload_all().await;
        }
        let mut options = RotationOptions::default();
        (
            options.batch,
            options.alone,
            options.acknowledged_by_every_instance,
        ) = (2, true, acknowledged);
        let schema = SchemaFile::of(&[Patient::SCHEMA]).unwrap();
        let rotation = Rotation::new(self.pool.clone(), self.fresh().await, schema).with_options(options);
        let ended = {
            let mut run = pin!(rotation.run(mode, |_| {}));
            let mut left = polls;
            poll_fn(|context| {
                if left == 0 {
                    return Poll::Ready(None);
                }
                left -= 1;
                run.as_mut().poll(context).map(Some)
            })
            .await
        };
        match ended {
            // Killed. Its workers end with it.
            None => {
                self.killed += 1;
                tokio::task::yield_now().await;
            }
            Some(Ok(status)) => {
                self.ended += 1;
                assert!(status.quarantined.is_empty(), "{:?}", status.quarantined);
            }
            Some(Err(RotationError::TooSoon { .. })) => assert!(!acknowledged),
            Some(Err(RotationError::UnderWay { mode, .. })) => assert_eq!(mode, other.as_str()),
            Some(Err(error)) => panic!("{error:?}"),
        }
    }

    async fn destroy(&mut self, key: usize) {
        let id = self.seen.records[key % self.seen.records.len()].context.key_id;
        let mut destruction = Destruction::default();
        destruction.backups_acknowledged = true;
        // There is no report, and no hard TTL has passed since any key stopped sealing.
        let refused = self.ring.ring().destroy(id, &destruction).await.unwrap_err();
        assert!(
            matches!(refused, RingError::NotDestroyed(refused, _) if refused == id),
            "{refused:?}"
        );
    }

    pub(crate) fn find(&self, key_use: KeyUse, state: KeyState) -> Option<KeyId> {
        let mut records = self.seen.records.iter();
        let found = records.find(|record| record.context.key_use == key_use && record.state == state);
        found.map(|record| record.context.key_id)
    }
}
