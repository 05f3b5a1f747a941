//! Throwaway key rings.

use std::fs;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use phield_core::config::{Config, LocalFiles};
use phield_core::{
    AllowedProvider, AppName, FileStore, FileWitness, KekReference, Keyring, LocalKeyFile, LocalProvider,
    Passphrase, Ring, RingName, RingSettings, Stretching, Suite,
};
use tempfile::TempDir;

/// Long enough for any test, readable in hex dumps: 2023-11-14.
const CREATED: u64 = 1_700_000_000;

/// A ring with a local key file in a temporary directory, removed when dropped: `keys.phield` (stretched as little as
/// the format allows), `passphrase`, `ring.phield`, `epoch.witness` and `phield.toml`.
#[derive(Debug)]
pub struct TestRing {
    folder: TempDir,
    ring: Ring,
}

impl TestRing {
    /// A published ring `<app>-test` of suite AES-256-GCM for this application.
    ///
    /// # Panics
    /// When `app` is no name, or the temporary directory cannot be written.
    #[must_use]
    pub fn new(app: &str) -> Self {
        let made = Self::unpublished(app);
        let Self { folder, mut ring } = made;
        let new = block_on(Ring::generate(&mut ring.settings, &[(None, Suite::Aes256Gcm)]))
            .expect("a ring in memory");
        let settings = ring.settings.clone();
        let file = |name| folder.path().join(name);
        let pin = settings.pins.first().expect("generate pins its ring key");
        let files = LocalFiles {
            folder: folder.path().to_owned(),
            key_store: "ring.phield".into(),
            epoch_witness: "epoch.witness".into(),
            key_file: "keys.phield".into(),
            passphrase_file: "passphrase".into(),
            backup: None,
        };
        let config = Config::local(&settings.app, &settings.ring, pin, files)
            .to_toml()
            .expect("paths are ASCII");
        fs::write(file("phield.toml"), config).expect("the temporary directory is writable");
        block_on(ring.publish(&new)).expect("the temporary directory is writable");
        block_on(ring.load()).expect("what was published loads");
        Self { folder, ring }
    }

    /// Key file, passphrase and settings; no ring yet.
    fn unpublished(app: &str) -> Self {
        let folder = TempDir::with_prefix("phield-test-").expect("a temporary directory");
        let file = |name| folder.path().join(name);
        let passphrase = Passphrase::generate().expect("randomness");
        passphrase
            .write_new(&file("passphrase"))
            .expect("the temporary directory is writable");
        let keys = LocalKeyFile::create(&file("keys.phield"), &passphrase, Stretching::minimal(), CREATED)
            .expect("the temporary directory is writable");
        let kek = KekReference::new("1").expect("a reference");
        let provider = AllowedProvider::new(Arc::new(LocalProvider::new(&keys)), [kek]);
        let app_name = AppName::new(app).expect("the app of a test is a name");
        let ring_name = RingName::new(format!("{app}-test")).expect("the app of a test is a short name");
        let settings = RingSettings::new(app_name, ring_name, vec![provider]);
        let (store, witness) = (
            FileStore::new(file("ring.phield")),
            FileWitness::new(file("epoch.witness")),
        );
        let ring = Ring::new(settings, store, Some(witness));
        Self { folder, ring }
    }

    /// Adds a second provider to the configuration, `other`, with a key file of its own; its key-encryption key is `1`, as that of
    /// the first, `local`.
    ///
    /// # Panics
    /// When it is added twice, or the temporary directory cannot be written.
    pub fn add_provider(&self) {
        let file = |name: &str| self.folder().join(name);
        let passphrase = Passphrase::generate().expect("randomness");
        passphrase
            .write_new(&file("other.passphrase"))
            .expect("there is no other provider yet");
        LocalKeyFile::create(&file("other.phield"), &passphrase, Stretching::minimal(), CREATED)
            .expect("the temporary directory is writable");
        let config = fs::read_to_string(self.config_path()).expect("a ring has a configuration");
        let second = "\n[[provider]]\nname = \"other\"\nkind = \"local\"\nkey_file = \"other.phield\"\n\
                      passphrase_file = \"other.passphrase\"\nkeks = [\"1\"]\n";
        fs::write(self.config_path(), config + second).expect("the temporary directory is writable");
    }

    /// The folder of all the files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `phield.toml`.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.folder().join("phield.toml")
    }

    /// The key file.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.folder().join("keys.phield")
    }

    /// The passphrase file.
    #[must_use]
    pub fn passphrase_file(&self) -> PathBuf {
        self.folder().join("passphrase")
    }

    /// The manifest.
    #[must_use]
    pub fn key_store(&self) -> PathBuf {
        self.folder().join("ring.phield")
    }

    /// The epoch witness.
    #[must_use]
    pub fn witness(&self) -> PathBuf {
        self.folder().join("epoch.witness")
    }

    /// The configuration, read from its file.
    ///
    /// # Panics
    /// When a test has broken it.
    #[must_use]
    pub fn config(&self) -> Config {
        Config::read(&self.config_path()).expect("the configuration of a test ring reads")
    }

    /// The ring, its providers open.
    #[must_use]
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// The keyring.
    ///
    /// # Panics
    /// When a test has broken the ring.
    #[must_use]
    pub fn keyring(&self) -> Keyring {
        block_on(self.ring.keyring()).expect("a test ring loads")
    }
}

/// Runs a future that never waits for anything, as those of the local provider are.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::yield_now(),
        }
    }
}
