//! Whole rings: their keys at KMS, in two regions, beside a local key file, under dual control; index peppers in KMS.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use phield::config::ConfigError;
use phield::{
    AllowedProvider, AppName, EncryptedPhi, FileStore, KekReference, KeyProvider as _, KeyState, KeyUse,
    Keyring, LocalKeyFile, LocalProvider, Passphrase, Phi, ProviderName, Ring, RingError, RingName,
    RingSettings, Stretching, Suite,
};
use phield_kms_tests::Emulator::{Ministack, Moto};
use phield_kms_tests::{Kms, OTHER_REGION, REGION, key_material};
use phield_testkit::servers::Fault;
use tempfile::TempDir;

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "patients")]
struct Patient {
    #[phi(row_id)]
    id: i64,
    name: Phi<String>,
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

fn ada() -> Patient {
    Patient {
        id: 1,
        name: "Ada".into(),
        ssn: "999-12-3456".into(),
    }
}

fn works(keyring: &Keyring) {
    let sealed = ada().seal(keyring).unwrap();
    assert!(
        Patient::ssn_index(keyring, "999 12 3456")
            .unwrap()
            .contains(&sealed.ssn_index)
    );
    assert_eq!(sealed.open(keyring).unwrap(), ada());
}

fn settings(providers: Vec<AllowedProvider>) -> RingSettings {
    RingSettings::new(
        AppName::from_static("emr"),
        RingName::from_static("emr-test"),
        providers,
    )
}

/// A published ring, and its folder.
async fn ring(mut settings: RingSettings) -> (Ring, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let new = Ring::generate(&mut settings, &[(None, Suite::Aes256Gcm)])
        .await
        .unwrap();
    let ring = at(folder.path(), settings);
    ring.publish(&new).await.unwrap();
    (ring, folder)
}

fn at(folder: &Path, settings: RingSettings) -> Ring {
    Ring::new(settings, FileStore::new(folder.join("ring.phield")), None)
}

fn aws_kms() -> ProviderName {
    ProviderName::from_static("aws-kms")
}

fn local() -> (AllowedProvider, KekReference) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.phield");
    let passphrase = Passphrase::generate().unwrap();
    let keys = LocalKeyFile::create(&path, &passphrase, Stretching::minimal(), 1_700_000_000).unwrap();
    let kek = KekReference::new("1").unwrap();
    (
        AllowedProvider::new(Arc::new(LocalProvider::new(&keys)), [kek.clone()]),
        kek,
    )
}

/// The error of loading the keys of a ring.
async fn error(ring: &Ring) -> RingError {
    ring.keyring().await.map(|_| ()).unwrap_err()
}

#[tokio::test]
async fn a_ring_at_kms() {
    for emulator in [Moto, Ministack] {
        let kms = emulator.kms();
        let kek = kms.key(REGION).await;
        let (ring, _folder) = ring(settings(vec![kms.allowed(&[&kek])])).await;
        works(&ring.keyring().await.unwrap());
        let loaded = ring.load().await.unwrap();
        let records = loaded.manifest().records.len();
        let before = kms.proxy.calls_of("Decrypt");
        assert_eq!(loaded.check_every_wrap(&ring.settings).await.unwrap(), records);
        assert_eq!(kms.proxy.calls_of("Decrypt") - before, records);
        // KMS itself makes a key that has one wrap.
        assert_eq!(kms.proxy.calls_of("GenerateDataKey"), records, "one call a key");
        assert_eq!(kms.proxy.calls_of("Encrypt"), 0);
    }
}

/// Nobody is asked about a key that configuration does not name.
#[tokio::test]
async fn an_arn_outside_the_allow_list_is_not_called() {
    for emulator in [Moto, Ministack] {
        let kms = emulator.kms();
        let (kek, other) = (kms.key(REGION).await, kms.key(REGION).await);
        let (ring, folder) = ring(settings(vec![kms.allowed(&[&kek])])).await;
        let mut settings = ring.settings.clone();
        settings.providers = vec![kms.allowed(&[&other])];
        let calls = kms.proxy.calls();
        let error = error(&at(folder.path(), settings)).await;
        assert!(
            matches!(error, RingError::Config(ConfigError::KekNotAllowed(_))),
            "{error}"
        );
        assert_eq!(kms.proxy.calls(), calls);
    }
}

/// The error classes of a whole ring: outage, revocation; and it works again.
#[tokio::test]
async fn a_ring_and_the_faults_of_kms() {
    for emulator in [Moto, Ministack] {
        let kms = emulator.kms();
        let kek = kms.key(REGION).await;
        let (ring, _folder) = ring(settings(vec![kms.allowed(&[&kek])])).await;
        for fault in [
            Fault::Refuse,
            Fault::BlackHole,
            Fault::Status(500),
            Fault::Throttle,
        ] {
            kms.proxy.set(fault.clone());
            let error = error(&ring).await;
            assert!(
                matches!(error, RingError::KeyUnavailable(..)),
                "{fault:?} {error}"
            );
        }
        for fault in [Fault::AccessDenied, Fault::Disabled, Fault::PendingDeletion] {
            kms.proxy.set(fault.clone());
            let error = error(&ring).await;
            assert!(matches!(error, RingError::KeyRefused(..)), "{fault:?} {error}");
        }
        kms.proxy.set(Fault::None);
        works(&ring.keyring().await.unwrap());
    }
}

/// Its cipher has no tag: flipped bits come out as another key, and the check value of the ring refuses it.
#[tokio::test]
async fn ministack_changes_a_key_and_the_ring_refuses_it() {
    let kms = Ministack.kms();
    let kek = kms.key(REGION).await;
    let (ring, folder) = ring(settings(vec![kms.allowed(&[&kek])])).await;
    let pin = ring.settings.pins[0].key_id();
    ring.update(|manifest| {
        let data = manifest
            .records
            .iter_mut()
            .find(|record| record.context.key_use == KeyUse::Data)
            .unwrap();
        *data.wraps[0].bytes.last_mut().unwrap() ^= 1;
    })
    .await
    .unwrap();
    let calls = kms.proxy.calls_of("Decrypt");
    assert!(matches!(error(&ring).await, RingError::Authentication));
    assert!(kms.proxy.calls_of("Decrypt") > calls, "the emulator opened it");
    // The ring key itself, whose wrap stands in the manifest that it authenticates: the pin refuses it.
    let file = folder.path().join("ring.phield");
    let mut stored = std::fs::read(&file).unwrap();
    let wrap = ring
        .settings
        .verify(&stored)
        .await
        .unwrap()
        .manifest()
        .record(pin)
        .unwrap()
        .wraps[0]
        .bytes
        .clone();
    let place = stored
        .windows(wrap.len())
        .position(|bytes| bytes == wrap)
        .unwrap();
    stored[place + wrap.len() - 1] ^= 1;
    std::fs::write(&file, &stored).unwrap();
    assert!(matches!(
        ring.load().await.unwrap_err(),
        RingError::Authentication
    ));
}

/// Every key under a key of each of two regions: one of them is enough, and what is not the same key is noticed.
#[tokio::test]
async fn two_regions() {
    for emulator in [Moto, Ministack] {
        let kms = emulator.kms();
        let (near, far) = (kms.key(REGION).await, kms.key(OTHER_REGION).await);
        let (ring, folder) = ring(settings(vec![kms.allowed(&[&near, &far])])).await;
        works(&ring.keyring().await.unwrap());
        let loaded = ring.load().await.unwrap();
        let records = loaded.manifest().records.len();
        assert_eq!(
            loaded.check_every_wrap(&ring.settings).await.unwrap(),
            2 * records
        );
        let mut settings = ring.settings.clone();
        settings.providers = vec![kms.allowed(&[&far])];
        let elsewhere = at(folder.path(), settings);
        works(&elsewhere.keyring().await.unwrap());

        // The far wrap of a data key holds something else.
        let record = |record: &&phield::KeyRecord| record.context.key_use == KeyUse::Data;
        let data = loaded.manifest().records.iter().find(record).unwrap();
        let other = kms
            .provider()
            .wrap(&far, &data.context, &key_material(9))
            .await
            .unwrap();
        ring.update(|manifest| {
            let mut records = manifest.records.iter_mut();
            let data = records
                .find(|record| record.context.key_id == data.context.key_id)
                .unwrap();
            let wrap = data.wraps.iter_mut().find(|wrap| wrap.kek == far).unwrap();
            wrap.bytes = other;
        })
        .await
        .unwrap();
        works(&ring.keyring().await.unwrap());
        assert!(matches!(error(&elsewhere).await, RingError::Authentication));
        let every = ring.load().await.unwrap().check_every_wrap(&ring.settings).await;
        assert!(matches!(every, Err(RingError::Authentication)));
    }
}

/// A disabled key, and the wrap under another one in its place.
#[tokio::test]
async fn a_disabled_key_and_a_second_region() {
    let kms = Ministack.kms();
    let (near, far) = (kms.key(REGION).await, kms.key(OTHER_REGION).await);
    let (ring, _folder) = ring(settings(vec![kms.allowed(&[&near, &far])])).await;
    kms.admin(REGION)
        .disable_key()
        .key_id(near.as_str())
        .send()
        .await
        .unwrap();
    works(&ring.keyring().await.unwrap());
    let deletion = kms
        .admin(OTHER_REGION)
        .schedule_key_deletion()
        .key_id(far.as_str());
    deletion.send().await.unwrap();
    assert!(matches!(error(&ring).await, RingError::KeyRefused(..)));
}

/// A key and its replica: a process in either region needs the key of its own region alone.
#[tokio::test]
async fn multi_region_keys() {
    let kms = Ministack.kms();
    let primary = kms.multi_region_key(REGION).await;
    let replicate = kms
        .admin(REGION)
        .replicate_key()
        .key_id(primary.as_str())
        .replica_region(OTHER_REGION);
    let replica = replicate
        .send()
        .await
        .unwrap()
        .replica_key_metadata
        .unwrap()
        .arn
        .unwrap();
    let replica = KekReference::new(replica).unwrap();
    let (ring, folder) = ring(settings(vec![kms.allowed(&[&primary, &replica])])).await;
    for reference in [&primary, &replica] {
        let mut settings = ring.settings.clone();
        settings.providers = vec![kms.allowed(&[reference])];
        works(&at(folder.path(), settings).keyring().await.unwrap());
    }
}

/// A restart while KMS is out of reach goes through the local key file.
#[tokio::test]
async fn kms_and_a_local_key_file() {
    for emulator in [Moto, Ministack] {
        let kms = emulator.kms();
        let (kek, (local, _)) = (kms.key(REGION).await, local());
        let (ring, _folder) = ring(settings(vec![kms.allowed(&[&kek]), local])).await;
        works(&ring.keyring().await.unwrap());
        for fault in [Fault::Refuse, Fault::Throttle, Fault::AccessDenied] {
            kms.proxy.set(fault);
            works(&ring.keyring().await.unwrap());
        }
    }
}

/// Either half alone opens nothing.
#[tokio::test]
async fn dual_control_of_kms_and_a_local_key_file() {
    for emulator in [Moto, Ministack] {
        let kms = emulator.kms();
        let (kek, (local, local_kek)) = (kms.key(REGION).await, local());
        let mut both = settings(vec![kms.allowed(&[&kek]), local.clone()]);
        both.dual_control = Some([
            (aws_kms(), kek.clone()),
            (ProviderName::from_static("local"), local_kek),
        ]);
        let (ring, folder) = ring(both).await;
        works(&ring.keyring().await.unwrap());
        assert!(kms.proxy.last_call().contains(r#""phield:share":"1""#));
        for alone in [vec![local], vec![kms.allowed(&[&kek])]] {
            let mut settings = ring.settings.clone();
            settings.providers = alone;
            let calls = kms.proxy.calls();
            let error = error(&at(folder.path(), settings)).await;
            assert!(
                matches!(error, RingError::Config(ConfigError::KekNotAllowed(_))),
                "{error}"
            );
            assert_eq!(kms.proxy.calls(), calls);
        }
        // A process that starts now: one that has verified the ring before knows its ring key.
        let fresh = || at(folder.path(), ring.settings.clone());
        kms.proxy.set(Fault::Refuse);
        assert!(matches!(error(&fresh()).await, RingError::KeyUnavailable(..)));
        kms.proxy.set(Fault::AccessDenied);
        assert!(matches!(error(&fresh()).await, RingError::KeyRefused(..)));
    }
}

async fn with_pepper(kms: &Kms) -> (Ring, TempDir, KekReference) {
    let (kek, pepper) = (kms.key(REGION).await, kms.hmac_key(REGION).await);
    let allowed = kms.allowed(&[&kek]).with_mac_keys([pepper.clone()]);
    let (ring, folder) = ring(settings(vec![allowed])).await;
    let added = ring.add_device_pepper(&aws_kms(), &pepper, None).await.unwrap();
    let is_new = |record: &&phield::KeyRecord| {
        record.context.key_use == KeyUse::Index && record.state == KeyState::PreActive
    };
    let id = added
        .manifest()
        .records
        .iter()
        .find(is_new)
        .unwrap()
        .context
        .key_id;
    ring.set_state(id, KeyState::Active).await.unwrap();
    (ring, folder, pepper)
}

/// Index values by an HMAC key that never leaves KMS.
#[tokio::test]
async fn an_index_pepper_in_kms() {
    let kms = Ministack.kms();
    let (ring, folder, pepper) = with_pepper(&kms).await;
    let keyring = ring.keyring().await.unwrap();
    let person = InDevice {
        id: 1,
        ssn: "999-12-3456".into(),
    };
    let before = kms.proxy.calls_of("GenerateMac");
    let sealed = person.seal_async(&keyring).await.unwrap();
    let slots = InDevice::ssn_index_async(&keyring, "999 12 3456").await.unwrap();
    assert!(slots.contains(&sealed.ssn_index));
    assert!(kms.proxy.calls_of("GenerateMac") >= before + 2);
    assert!(!kms.proxy.last_call().contains("999123456"));
    let other = InDevice::ssn_index_async(&keyring, "999-12-3457").await.unwrap();
    assert!(!other.contains(&sealed.ssn_index));
    assert_eq!(sealed.open(&keyring).unwrap(), person);

    for (fault, expected) in [
        (Fault::Throttle, "out of reach"),
        (Fault::AccessDenied, "refused"),
    ] {
        kms.proxy.set(fault);
        let error = InDevice::ssn_index_async(&keyring, "999-12-3456")
            .await
            .unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    kms.proxy.set(Fault::None);

    // Another HMAC key under the name of the pepper: its check value differs.
    let other = kms.hmac_key(REGION).await;
    let mut settings = ring.settings.clone();
    let kek = ring.settings.providers[0].keks()[0].clone();
    settings.providers = vec![
        kms.allowed(&[&kek])
            .with_mac_keys([pepper.clone(), other.clone()]),
    ];
    let ring = at(folder.path(), settings);
    ring.update(|manifest| {
        let records = manifest.records.iter_mut().flat_map(|record| &mut record.wraps);
        for wrap in records.filter(|wrap| wrap.kek == pepper) {
            wrap.kek = other.clone();
        }
    })
    .await
    .unwrap();
    assert!(matches!(error(&ring).await, RingError::Authentication));
}

/// The whole way from `phield.toml`, with credentials from the environment: in a process of its own, which has one.
#[tokio::test]
async fn from_configuration() {
    for emulator in [Moto, Ministack] {
        let kms = emulator.kms();
        let kek = kms.key(REGION).await;
        let (ring, folder) = ring(settings(vec![kms.allowed(&[&kek])])).await;
        let config = format!(
            "app = \"emr\"\nring = \"emr-test\"\nring_key = \"{}\"\nmin_epoch = 1\n\n[key_store]\nfile = \"ring.phield\"\n\n\
             [[provider]]\nname = \"aws-kms\"\nkeks = [\"{kek}\"]\nendpoint_url = \"{}\"\n",
            ring.settings.pins[0],
            kms.proxy.url()
        );
        let path = folder.path().join("phield.toml");
        std::fs::write(&path, config).unwrap();
        let calls = kms.proxy.calls_of("Decrypt");
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "rings::child_of_from_configuration",
                "--ignored",
                "--nocapture",
            ])
            .env("PHIELD_KMS_TEST_CONFIG", &path)
            .env("AWS_ACCESS_KEY_ID", "testing")
            .env("AWS_SECRET_ACCESS_KEY", "testing")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(kms.proxy.calls_of("Decrypt") > calls);
    }
}

#[tokio::test]
#[ignore = "run by from_configuration"]
async fn child_of_from_configuration() {
    let config = std::env::var_os("PHIELD_KMS_TEST_CONFIG").unwrap();
    works(&phield::load(config).await.unwrap());
}
