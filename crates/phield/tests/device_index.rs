//! Models with a pepper in a device, and with workers that have a short queue: through a ring of a provider in software.
#![allow(clippy::unwrap_used, reason = "clippy allows it in the test functions alone")]
#![cfg(feature = "derive")]

use std::future::ready;
use std::sync::Arc;

use phield::{
    AllowedProvider, AppName, EncryptedPhi, FileStore, IndexError, IndexWorkerLimits, IndexWorkers,
    KekReference, KeyContext, KeyMaterial, KeyProvider, KeyState, KeyUse, Keyring, Phi, ProviderFuture,
    ProviderName, Ring, RingName, RingSettings, SealError, Suite,
};

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(
    table = "people",
    index(
        name = "both",
        on(ssn = "ssn", name = "name"),
        algorithm = "device-hmac-sha256"
    )
)]
struct InDevice {
    #[phi(row_id)]
    id: i64,
    #[phi(index(normalize = "ssn", algorithm = "device-hmac-sha256", bits = 100))]
    ssn: Phi<String>,
    name: Option<Phi<String>>,
}

#[derive(Debug, Clone, PartialEq, EncryptedPhi)]
#[phi(table = "people")]
struct Slow {
    #[phi(row_id)]
    id: i64,
    #[phi(index(algorithm = "argon2id-m65536-t3-p1"))]
    ssn: Phi<String>,
    #[phi(index(algorithm = "argon2id-m65536-t3-p1"))]
    mrn: Option<Phi<String>>,
}

/// Keeps keys as they are, and its one MAC is none: a test needs no more.
#[derive(Debug)]
struct InSoftware(ProviderName);

fn mac(message: &[u8]) -> [u8; 32] {
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    let mut out = [0; 32];
    for (i, byte) in message.iter().chain(&[0; 32]).enumerate() {
        state = (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        out[i % 32] ^= state.to_be_bytes()[0];
    }
    out
}

impl KeyProvider for InSoftware {
    fn name(&self) -> &ProviderName {
        &self.0
    }

    fn wrap<'a>(
        &'a self,
        _: &'a KekReference,
        _: &'a KeyContext,
        key: &'a KeyMaterial,
    ) -> ProviderFuture<'a, Vec<u8>> {
        Box::pin(ready(Ok(key.expose_bytes().to_vec())))
    }

    fn unwrap<'a>(
        &'a self,
        _: &'a KekReference,
        _: &'a KeyContext,
        wrapped: &'a [u8],
    ) -> ProviderFuture<'a, KeyMaterial> {
        let key = KeyMaterial::init_with(|key| key.copy_from_slice(wrapped));
        Box::pin(ready(Ok(key)))
    }

    fn mac<'a>(&'a self, _: &'a KekReference, message: &'a [u8]) -> ProviderFuture<'a, [u8; 32]> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            Ok(mac(message))
        })
    }
}

/// A ring of this provider; in the device, if `in_device`, is its index pepper.
async fn keyring(in_device: bool, limits: IndexWorkerLimits) -> Keyring {
    let (provider, kek) = (
        ProviderName::from_static("software"),
        KekReference::new("1").unwrap(),
    );
    let device_key = KekReference::new("pepper").unwrap();
    let allowed = AllowedProvider::new(Arc::new(InSoftware(provider.clone())), [kek])
        .with_mac_keys([device_key.clone()]);
    let mut settings = RingSettings::new(
        AppName::from_static("emr"),
        RingName::from_static("emr-test"),
        vec![allowed],
    );
    settings.index_workers = IndexWorkers::new(limits);
    let new = Ring::generate(&mut settings, &[(None, Suite::Aes256Gcm)])
        .await
        .unwrap();
    if !in_device {
        return new.keyring(&settings).await.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let ring = Ring::new(settings, FileStore::new(folder.path().join("ring.phield")), None);
    ring.publish(&new).await.unwrap();
    let added = ring
        .add_device_pepper(&provider, &device_key, None)
        .await
        .unwrap();
    let mut records = added.manifest().records.iter();
    let pepper = records
        .find(|record| record.context.key_use == KeyUse::Index && record.state == KeyState::PreActive)
        .unwrap();
    ring.set_state(pepper.context.key_id, KeyState::Active)
        .await
        .unwrap();
    ring.keyring().await.unwrap()
}

#[tokio::test]
async fn device_indexes_are_sealed_searched_and_updated() {
    let keyring = keyring(true, IndexWorkerLimits::default()).await;
    let person = |id: i64| InDevice {
        id,
        ssn: Phi::new(format!("{id:09}")),
        name: (id != 2).then(|| "O’Neill".into()),
    };
    let rows: Vec<_> = (0..130).map(person).collect();
    let sealed = InDevice::seal_batch_async(&rows, &keyring).await.unwrap();
    for (row, sealed) in rows.iter().zip(&sealed) {
        let slots = InDevice::ssn_index_async(&keyring, &row.ssn).await.unwrap();
        assert_eq!(slots, [sealed.ssn_index; 2]);
        assert_eq!(sealed.both_index.is_none(), row.id == 2);
    }
    assert_eq!(sealed[0].ssn_index.as_bytes().len(), 4 + 13);
    assert_eq!(SealedInDevice::open_batch(sealed, &keyring).unwrap(), rows);
    let one = rows[5].seal_async(&keyring).await.unwrap();
    let group = InDevice::seal_both_async(&keyring, &5, &rows[5].ssn, &rows[5].name);
    let group = group.await.unwrap();
    assert_eq!(
        (group.ssn_index, group.both_index),
        (one.ssn_index, one.both_index)
    );
    let slots = InDevice::both_index_async(&keyring, "000000005", "oneill")
        .await
        .unwrap();
    assert_eq!(Some(slots[0]), one.both_index);
    // A pepper in a device serves no index of another kind.
    let slow = Slow {
        id: 1,
        ssn: "1".into(),
        mrn: None,
    };
    assert!(matches!(
        slow.seal_async(&keyring).await,
        Err(SealError::Index(IndexError::WrongPepper(_)))
    ));
}

/// A batch needs no longer queue than one row does, and leaves nothing in it.
#[tokio::test]
async fn a_batch_is_larger_than_the_queue() {
    let mut limits = IndexWorkerLimits::default();
    (limits.queue, limits.threads) = (2, 1);
    let keyring = keyring(false, limits).await;
    let row = |id: i64| Slow {
        id,
        ssn: Phi::new(format!("{id:09}")),
        mrn: (id % 2 == 0).then(|| "1".into()),
    };
    let rows: Vec<_> = (0..5).map(row).collect();
    let sealed = Slow::seal_batch_async(&rows, &keyring).await.unwrap();
    assert_eq!(keyring.index_workers().queued(), 0);
    for (row, sealed) in rows.iter().zip(&sealed) {
        let slots = Slow::ssn_index_async(&keyring, &row.ssn).await.unwrap();
        assert_eq!(slots, [sealed.ssn_index; 2]);
    }
    assert_eq!(SealedSlow::open_batch(sealed, &keyring).unwrap(), rows);
}
