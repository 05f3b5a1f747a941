//! A device that holds index peppers, in software: the part of a KMS or HSM.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::block_on;
use crate::blind_index::{Index, IndexError};
use crate::config::ConfigError;
use crate::context::KeyContext;
use crate::error::{RingError, SealError};
use crate::index_algorithm::IndexAlgorithm;
use crate::indexing::DevicePepper;
use crate::kdf::Prf;
use crate::key::{KeyId, KeyMaterial};
use crate::key_slot::Unwrapped;
use crate::keyring::fixed::{self, FixedKey, keyring};
use crate::name::{AppName, ProviderName, RingName};
use crate::normalize::Normalizer;
use crate::provider::{AllowedProvider, KeyProvider, ProviderError, ProviderErrorKind, ProviderFuture};
use crate::record::{KekReference, KeyRecord, KeyState, KeyUse, Wrap};
use crate::scope::Scopes;
use crate::settings::RingSettings;
use crate::value::{Encoded, ValueType};

/// Holds one key. Fails as told.
#[derive(Debug)]
pub(super) struct SoftwareDevice {
    name: ProviderName,
    key: [u8; 32],
    fails: Option<ProviderErrorKind>,
    calls: AtomicUsize,
}

impl SoftwareDevice {
    fn new(key: [u8; 32], fails: Option<ProviderErrorKind>) -> Arc<Self> {
        Arc::new(Self {
            name: ProviderName::from_static("device"),
            key,
            fails,
            calls: AtomicUsize::new(0),
        })
    }

    pub(super) fn pepper(key: [u8; 32]) -> DevicePepper {
        DevicePepper {
            provider: Self::new(key, None),
            key: reference(),
        }
    }
}

fn reference() -> KekReference {
    KekReference::new("token/pepper").unwrap()
}

fn unsupported<'a, T: Send + 'a>() -> ProviderFuture<'a, T> {
    Box::pin(ready(Err(ProviderError::new(
        ProviderErrorKind::Unsupported,
        "wrap",
    ))))
}

impl KeyProvider for SoftwareDevice {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    fn wrap<'a>(
        &'a self,
        _: &'a KekReference,
        _: &'a KeyContext,
        _: &'a KeyMaterial,
    ) -> ProviderFuture<'a, Vec<u8>> {
        unsupported()
    }

    fn unwrap<'a>(
        &'a self,
        _: &'a KekReference,
        _: &'a KeyContext,
        _: &'a [u8],
    ) -> ProviderFuture<'a, KeyMaterial> {
        unsupported()
    }

    fn mac<'a>(&'a self, key: &'a KekReference, message: &'a [u8]) -> ProviderFuture<'a, [u8; 32]> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let answer = match self.fails {
            Some(kind) => Err(ProviderError::new(kind, "mac")),
            None if *key != reference() => Err(ProviderError::new(ProviderErrorKind::UnknownKek, "mac")),
            None => Ok(Prf::new(&self.key).mac(&[message])),
        };
        Box::pin(ready(answer))
    }
}

fn index(algorithm: IndexAlgorithm) -> Index {
    Index::new("t", "i", &["c"], &[Normalizer::Exact], 256).with_algorithm(algorithm)
}

fn parts() -> [Option<Encoded<'static>>; 1] {
    [Some(Encoded::borrowed(ValueType::Text, b"a"))]
}

/// A ring's record of a pepper in a device: one wrap with empty bytes, its check value computed by the device.
fn record(key: [u8; 32]) -> KeyRecord {
    let context = KeyContext {
        ring: RingName::from_static("prod"),
        key_id: KeyId::new(5).unwrap(),
        suite: None,
        key_use: KeyUse::Index,
        scope: None,
        share: None,
    };
    let check_value = crate::schedule::check_value(&KeyMaterial::init_with(|k| *k = key), &context);
    KeyRecord {
        context,
        state: KeyState::Active,
        created: 0,
        not_after: 0,
        check_value,
        wraps: vec![Wrap::new(
            ProviderName::from_static("device"),
            reference(),
            Vec::new(),
        )],
    }
}

fn load(device: Arc<SoftwareDevice>, allowed: &str, key: [u8; 32]) -> Result<Unwrapped, RingError> {
    let allowed = AllowedProvider::new(device, []).with_mac_keys([KekReference::new(allowed).unwrap()]);
    let settings = RingSettings::new(
        AppName::from_static("emr"),
        RingName::from_static("prod"),
        vec![allowed],
    );
    block_on(settings.unwrap_record(&record(key)))
}

/// The device computes the check value of its pepper; a wrong pepper, an outage and a refusal are told apart.
#[test]
fn a_pepper_in_a_device_is_checked_when_the_ring_is_loaded() {
    let device = |fails| SoftwareDevice::new([7; 32], fails);
    let loaded = |device: Arc<SoftwareDevice>| load(device, "token/pepper", [7; 32]);
    assert!(matches!(loaded(device(None)), Ok(Unwrapped::Device(_))));
    assert!(matches!(
        load(device(None), "token/pepper", [8; 32]),
        Err(RingError::Authentication)
    ));
    assert!(matches!(
        loaded(device(Some(ProviderErrorKind::Unavailable))),
        Err(RingError::KeyUnavailable(..))
    ));
    assert!(matches!(
        loaded(device(Some(ProviderErrorKind::Refused))),
        Err(RingError::KeyRefused(..))
    ));
    assert!(matches!(
        loaded(device(Some(ProviderErrorKind::Unsupported))),
        Err(RingError::Config(ConfigError::NoDevice(_)))
    ));
    // Not on the allow-list: the device is not even asked.
    let unasked = device(None);
    let calls = Arc::clone(&unasked);
    assert!(matches!(
        load(unasked, "another", [7; 32]),
        Err(RingError::Config(ConfigError::KekNotAllowed(_)))
    ));
    assert_eq!(calls.calls.load(Ordering::SeqCst), 0);
}

/// A pepper serves indexes of its own kind alone, and a device index is never computed without its device.
#[test]
fn kinds_of_pepper_are_not_mixed_up() {
    let empty = || keyring("emr", Scopes::default(), []);
    let in_device = empty();
    fixed::add_device(&in_device, 5, SoftwareDevice::pepper([7; 32]));
    let in_memory = keyring("emr", Scopes::default(), [FixedKey::index(5, [7; 32])]);
    let (device, fast) = (
        index(IndexAlgorithm::DeviceHmacSha256),
        index(IndexAlgorithm::HmacSha256),
    );
    let id = KeyId::new(5).unwrap();
    let written = |keyring: &crate::keyring::Keyring, index| {
        block_on(keyring.blind_index_async(index, None, &parts())).map(|_| ())
    };
    assert_eq!(written(&in_device, &device), Ok(()));
    assert_eq!(written(&in_memory, &fast), Ok(()));
    assert_eq!(written(&in_device, &fast), Err(IndexError::WrongPepper(id)));
    assert_eq!(written(&in_memory, &device), Err(IndexError::WrongPepper(id)));
    assert_eq!(
        in_device.index_query(&device, None, &parts()),
        Err(IndexError::NeedsAsync)
    );
    assert_eq!(
        SealError::from(in_device.blind_index(&device, None, &parts()).unwrap_err()),
        SealError::Index(IndexError::NeedsAsync)
    );
    for (fails, expected) in [
        (ProviderErrorKind::Unavailable, IndexError::KeyUnavailable(id)),
        (ProviderErrorKind::Refused, IndexError::KeyRefused(id)),
        (ProviderErrorKind::UnknownKek, IndexError::KeyRefused(id)),
    ] {
        let failing = empty();
        let pepper = DevicePepper {
            provider: SoftwareDevice::new([7; 32], Some(fails)),
            key: reference(),
        };
        fixed::add_device(&failing, 5, pepper);
        assert_eq!(written(&failing, &device), Err(expected));
    }
}
