//! A ring whose provider fails as it is told, and work to do with its keyring.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use phield_core::{
    AllowedProvider, CachePolicy, ColumnName, Field, FileStore, FileWitness, Index, IndexError, KekReference,
    KeyId, KeyProvider, Keyring, LocalKeyFile, LocalProvider, Normalizer, OpenError, Passphrase, Phi,
    ProviderName, Ring, Row, SealError, Sealed, TableName, Unbound, Value as _,
};
use phield_testkit::{FaultyProvider, TestRing};

static TABLE: TableName = TableName::from_static("patients");
static COLUMN: ColumnName = ColumnName::from_static("name");

/// The soft and hard TTL of these tests.
pub(crate) const SOFT: Duration = Duration::from_millis(200);
pub(crate) const HARD: Duration = Duration::from_millis(2000);

/// A published ring, its provider behind faults.
pub(crate) struct World {
    pub(crate) ring: TestRing,
    pub(crate) provider: Arc<FaultyProvider>,
}

impl World {
    pub(crate) fn new() -> Self {
        let ring = TestRing::new("clinic");
        let provider = FaultyProvider::new(local(&ring, "local"));
        Self { ring, provider }
    }

    /// The ring with these times, behind the faults.
    pub(crate) fn ring(&self, soft: Duration, hard: Duration) -> Ring {
        let mut settings = self.ring.ring().settings.clone();
        let kek = KekReference::new("1").unwrap();
        let provider = Arc::clone(&self.provider) as Arc<dyn KeyProvider>;
        settings.providers = vec![AllowedProvider::new(provider, [kek])];
        settings.cache = CachePolicy::new(soft, hard).unwrap();
        let store = FileStore::new(self.ring.key_store());
        Ring::new(settings, store, Some(FileWitness::new(self.ring.witness())))
    }

    pub(crate) async fn keyring(&self) -> Keyring {
        self.ring(SOFT, HARD).into_keyring().await.unwrap()
    }
}

/// The provider of a test ring, under this name.
pub(crate) fn local(ring: &TestRing, name: &'static str) -> Arc<dyn KeyProvider> {
    let passphrase = Passphrase::from_file(&ring.passphrase_file()).unwrap();
    let keys = LocalKeyFile::open(&ring.key_file(), &passphrase).unwrap();
    Arc::new(LocalProvider::new(&keys).with_name(ProviderName::from_static(name)))
}

pub(crate) fn seal(keyring: &Keyring) -> Result<Sealed<String>, SealError> {
    let name = Phi::from("Ada");
    let row = Row::new(&TABLE, &Unbound)?;
    let [token] = keyring.seal_row(&row, [Field::new(COLUMN.clone(), &name)?])?;
    token.required()
}

pub(crate) fn open(keyring: &Keyring, sealed: &Sealed<String>) -> Result<(), OpenError> {
    let row = Row::new(&TABLE, &Unbound).unwrap();
    let opened: Phi<String> = keyring.opener(&row)?.open_field(&COLUMN, None, sealed.clone())?;
    assert_eq!(opened.expose(), "Ada");
    Ok(())
}

pub(crate) fn search(keyring: &Keyring) -> Result<(), IndexError> {
    let index = Index::new("patients", "by_name", &["name"], &[Normalizer::Exact], 256);
    let name = "Ada".to_owned();
    keyring
        .index_query(&index, None, &[Some(name.encode()?)])
        .map(|_| ())
}

/// Threads that seal, open and search without a pause.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    pub(crate) served: Arc<AtomicU64>,
    pub(crate) failed: Arc<AtomicU64>,
}

impl Load {
    pub(crate) fn start(keyring: &Arc<Keyring>, threads: usize) -> Self {
        let (stop, served, failed) = <(Arc<AtomicBool>, Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let sealed = seal(keyring).unwrap();
        let thread = |_| {
            let (keyring, sealed) = (Arc::clone(keyring), sealed.clone());
            let (stop, served, failed) = (Arc::clone(&stop), Arc::clone(&served), Arc::clone(&failed));
            std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let worked = request(&keyring, &sealed);
                    let counter = if worked { &served } else { &failed };
                    counter.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_micros(500));
                }
            })
        };
        let threads = (0..threads).map(thread).collect();
        Self {
            stop,
            threads,
            served,
            failed,
        }
    }

    /// Requests that were served and that failed since the last call.
    pub(crate) fn since(&self) -> (u64, u64) {
        (
            self.served.swap(0, Ordering::SeqCst),
            self.failed.swap(0, Ordering::SeqCst),
        )
    }

    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

/// Whether everything worked; what fails does so with an error that may be retried.
fn request(keyring: &Keyring, sealed: &Sealed<String>) -> bool {
    let sealing = seal(keyring);
    let opening = open(keyring, sealed);
    let searching = search(keyring);
    if let Err(error) = &sealing {
        assert!(error.is_retryable(), "{error}");
    }
    if let Err(error) = opening {
        assert!(error.is_retryable(), "{error}");
    }
    if let Err(error) = searching {
        assert!(error.is_retryable(), "{error}");
    }
    sealing.is_ok() && opening.is_ok() && searching.is_ok()
}

/// The key that it was sealed with.
pub(crate) fn key_of(sealed: &Sealed<String>) -> KeyId {
    sealed.info().unwrap().key_id
}

/// Waits until it is true; panics when it is not in time.
pub(crate) async fn until(what: &str, patience: Duration, mut is_true: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_true() {
        assert!(begun.elapsed() < patience, "{what}: not within {patience:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    begun.elapsed()
}
