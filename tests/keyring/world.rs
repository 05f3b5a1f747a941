//! A ring whose provider fails as it is told, and work to do with its keyring.

use std::sync::Arc;
use std::time::Duration;

use phield_core::{
    AllowedProvider, CachePolicy, FileStore, FileWitness, KekReference, KeyProvider, Keyring, LocalKeyFile,
    LocalProvider, Passphrase, ProviderName, Ring,
};
pub(crate) use phield_testkit::load::{Load, key_of, open, seal, search, until};
use phield_testkit::{FaultyProvider, TestRing};

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
