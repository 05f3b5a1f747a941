//! Rings whose keys are wrapped in an HSM.

use std::path::Path;
use std::sync::Arc;

use phield::pkcs11::Pkcs11Provider;
use phield::{
    AllowedProvider, AppName, EncryptedPhi, FileStore, FileWitness, KekReference, KeyState, KeyUse, Keyring,
    LocalKeyFile, LocalProvider, Passphrase, Phi, Ring, RingError, RingName, RingSettings, Stretching, Suite,
};
use phield_hsm_tests::{Client, block_on, provider, provider_with_kek, reference};

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "people")]
struct Person {
    #[phi(row_id)]
    id: i64,
    #[phi(index(normalize = "ssn"))]
    ssn: Phi<String>,
}

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "people")]
struct InDevice {
    #[phi(row_id)]
    id: i64,
    #[phi(index(normalize = "ssn", algorithm = "device-hmac-sha256"))]
    ssn: Phi<String>,
}

fn hsm(provider: Pkcs11Provider) -> AllowedProvider {
    AllowedProvider::new(Arc::new(provider), [reference("kek")])
}

fn local() -> AllowedProvider {
    let folder = tempfile::tempdir().unwrap();
    let (path, passphrase) = (
        folder.path().join("keys.phield"),
        Passphrase::new("correct horse".to_owned()),
    );
    let file = LocalKeyFile::create(&path, &passphrase, Stretching::minimal(), 0).unwrap();
    AllowedProvider::new(Arc::new(LocalProvider::new(&file)), [kek("1")])
}

fn kek(text: &str) -> KekReference {
    KekReference::new(text).unwrap()
}

/// A ring of these providers, published in the folder.
fn publish(folder: &Path, providers: Vec<AllowedProvider>, dual_control: bool) -> Ring {
    let mut settings = RingSettings::new(
        AppName::from_static("emr"),
        RingName::from_static("emr-hsm"),
        providers,
    );
    if dual_control {
        let keks = [0, 1].map(|at| {
            let allowed = &settings.providers[at];
            (allowed.provider().name().clone(), allowed.keks()[0].clone())
        });
        settings.dual_control = Some(keks);
    }
    let new = block_on(Ring::generate(&mut settings, &[(None, Suite::Aes256Gcm)])).unwrap();
    let (store, witness) = (folder.join("ring.phield"), folder.join("epoch.witness"));
    let ring = Ring::new(settings, FileStore::new(store), Some(FileWitness::new(witness)));
    block_on(ring.publish(&new)).unwrap();
    ring
}

fn seals_and_opens(keyring: &Keyring) {
    let person = Person {
        id: 1,
        ssn: "999-12-3456".into(),
    };
    let sealed = person.seal(keyring).unwrap();
    assert!(
        Person::ssn_index(keyring, "999 12 3456")
            .unwrap()
            .contains(&sealed.ssn_index)
    );
    assert_eq!(sealed.open(keyring).unwrap(), person);
}

on_both! {
    fn a_whole_ring(token) {
        let mut ring = publish(token.folder(), vec![hsm(provider_with_kek(token))], false);
        let keyring = block_on(ring.keyring()).unwrap();
        let sealed = Person { id: 1, ssn: "999-12-3456".into() }.seal(&keyring).unwrap();
        seals_and_opens(&keyring);
        let verified = block_on(ring.load()).unwrap();
        assert!(block_on(verified.check_every_wrap(&ring.settings)).unwrap() >= 6);
        // A service that starts anew opens it.
        ring.settings.providers = vec![hsm(provider(token))];
        assert_eq!(sealed.open(&block_on(ring.keyring()).unwrap()).unwrap().ssn.expose(), "999-12-3456");
    }

    /// A key-encryption key of the same label that is another key opens nothing, and neither does none.
    fn another_key_in_its_place(token) {
        let ring = publish(token.folder(), vec![hsm(provider_with_kek(token))], false);
        let client = Client::new(token);
        client.remove_keys("kek");
        // It was there: that is a refusal, not a configuration that names none.
        assert!(matches!(block_on(ring.keyring()), Err(RingError::KeyRefused(..))));
        client.make_key("kek", &[]);
        assert!(matches!(block_on(ring.keyring()), Err(RingError::Authentication)));
    }

    /// HSM and key file together: either opens the ring.
    fn either_of_two(token) {
        let local = local();
        let ring = publish(token.folder(), vec![hsm(provider_with_kek(token)), local.clone()], false);
        seals_and_opens(&block_on(ring.keyring()).unwrap());
        Client::new(token).remove_keys("kek");
        seals_and_opens(&block_on(ring.keyring()).unwrap());
        // The HSM alone does not, without its key.
        let mut alone = ring;
        alone.settings.providers.pop();
        assert!(block_on(alone.keyring()).is_err());
    }

    /// HSM and key file under dual control: neither opens the ring alone.
    fn both_of_two(token) {
        let local = local();
        let mut ring = publish(token.folder(), vec![hsm(provider_with_kek(token)), local.clone()], true);
        seals_and_opens(&block_on(ring.keyring()).unwrap());
        for alone in [vec![hsm(provider(token))], vec![local]] {
            ring.settings.providers = alone;
            assert!(block_on(ring.keyring()).is_err());
        }
    }

    /// An index pepper that stays in the HSM.
    fn an_index_in_the_device(token) {
        let provider = provider_with_kek(token);
        block_on(provider.create_key(&reference("pepper"))).unwrap();
        let allowed = hsm(provider).with_mac_keys([reference("pepper")]);
        let name = allowed.provider().name().clone();
        let ring = publish(token.folder(), vec![allowed], false);
        let added = block_on(ring.add_device_pepper(&name, &reference("pepper"), None)).unwrap();
        let waits = |record: &&phield::KeyRecord| {
            record.context.key_use == KeyUse::Index && record.state == KeyState::PreActive
        };
        let id = added.manifest().records.iter().find(waits).unwrap().context.key_id;
        block_on(ring.set_state(id, KeyState::Active)).unwrap();
        let keyring = block_on(ring.keyring()).unwrap();
        let person = InDevice { id: 1, ssn: "999-12-3456".into() };
        let sealed = block_on(person.seal_async(&keyring)).unwrap();
        let asked = block_on(InDevice::ssn_index_async(&keyring, "999 12 3456")).unwrap();
        assert!(asked.contains(&sealed.ssn_index));
        let other = block_on(InDevice::ssn_index_async(&keyring, "999 12 3457")).unwrap();
        assert!(!other.contains(&sealed.ssn_index));
        assert_eq!(sealed.open(&keyring).unwrap(), person);
        // Another key of the same label is noticed when the ring is loaded.
        let client = Client::new(token);
        client.remove_keys("pepper");
        client.make_key("pepper", &[]);
        assert!(matches!(block_on(ring.keyring()), Err(RingError::Authentication)));
    }
}
