//! What configuration says about a ring, and verifying a stored manifest against it (format §8.2).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use subtle::ConstantTimeEq as _;

use crate::cache_policy::CachePolicy;
use crate::clock;
use crate::config::ConfigError;
use crate::context::KeyContext;
use crate::data_key_policy::DataKeyPolicy;
use crate::error::RingError;
use crate::fips;
use crate::index_workers::IndexWorkers;
use crate::indexing::DevicePepper;
use crate::key::{KeyId, KeyMaterial, RingKey};
use crate::key_policy::KeyPolicy;
use crate::key_slot::Unwrapped;
use crate::keyring::DEFAULT_VALUE_LIMIT;
use crate::manifest::{Manifest, RawManifest};
use crate::name::{AppName, ProviderName, RingName};
use crate::patience::Patience;
use crate::provider::{AllowedProvider, KeyProvider, ProviderError, ProviderErrorKind};
use crate::record::{KekReference, KeyRecord, KeyState, KeyUse, Wrap};
use crate::ring::{NewKey, VerifiedRing};
use crate::schedule;
use crate::scope::Scopes;
use crate::split;

/// Pins the ring key by id and check value: `00000001:<64 hex digits>`, lower case (format §8.2).
///
/// # Security
/// It belongs to configuration, never into the key store or its backup: whoever could change both could choose the key
/// that authenticates the ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingKeyPin {
    key_id: KeyId,
    check_value: [u8; 32],
}

impl RingKeyPin {
    /// The pin of a ring key: its check value is no secret.
    ///
    /// # Security
    /// Pin what you made yourself, or saw made: never what a key store says.
    #[must_use]
    pub fn of(record: &KeyRecord) -> Self {
        Self {
            key_id: record.context.key_id,
            check_value: record.check_value,
        }
    }

    /// The id of the pinned key.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }
}

impl FromStr for RingKeyPin {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let parse = || {
            let (id, check_value) = text.split_once(':')?;
            let id = HEXLOWER.decode(id.as_bytes()).ok()?.try_into().ok()?;
            let check_value = HEXLOWER.decode(check_value.as_bytes()).ok()?.try_into().ok()?;
            Some(Self {
                key_id: KeyId::from_bytes(id)?,
                check_value,
            })
        };
        parse().ok_or(ConfigError::Pin)
    }
}

impl fmt::Display for RingKeyPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.key_id, HEXLOWER.encode(&self.check_value))
    }
}

/// What configuration says about a ring.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RingSettings {
    /// The application; equal to the ring's.
    pub app: AppName,
    /// The ring.
    pub ring: RingName,
    /// The pinned ring keys, tried in order.
    pub pins: Vec<RingKeyPin>,
    /// Epochs below are refused.
    pub min_epoch: u64,
    /// The providers, tried in order.
    pub providers: Vec<AllowedProvider>,
    /// Dual control: new keys are split in two shares, one under each of these key-encryption keys, and wrapped in no
    /// other way. Both providers are needed to load them.
    ///
    /// # Security
    /// Two providers that one person can open are no dual control: keep key files, passphrases and accounts apart. A key
    /// that exists already is not split: make a new one.
    pub dual_control: Option<[(ProviderName, KekReference); 2]>,
    /// Which scopes serve which tables and tenants.
    pub scopes: Scopes,
    /// Longest value that is sealed, in bytes; at most 16 MiB.
    pub value_limit: usize,
    /// How long data keys seal.
    pub data_keys: DataKeyPolicy,
    /// When keys are to be replaced, and may be destroyed.
    pub policy: KeyPolicy,
    /// How long keys are used without having been asked for again.
    pub cache: CachePolicy,
    /// The workers of slow indexes, shared by all keyrings of these settings.
    pub index_workers: IndexWorkers,
    /// How long one call of a provider or store may take.
    pub(crate) patience: Patience,
}

impl RingSettings {
    /// Settings with the defaults: no pin yet, no scopes, values of 1 MiB.
    #[must_use]
    pub fn new(app: AppName, ring: RingName, providers: Vec<AllowedProvider>) -> Self {
        Self {
            app,
            ring,
            pins: Vec::new(),
            min_epoch: 0,
            providers,
            dual_control: None,
            scopes: Scopes::default(),
            value_limit: DEFAULT_VALUE_LIMIT,
            data_keys: DataKeyPolicy::default(),
            policy: KeyPolicy::default(),
            cache: CachePolicy::default(),
            index_workers: IndexWorkers::default(),
            patience: Patience::default(),
        }
    }

    /// Makes the record of an index pepper that stays in a device.
    pub(crate) async fn device_record(
        &self,
        new: NewKey,
        key_id: KeyId,
        wrap: Wrap,
        now: u64,
    ) -> Result<KeyRecord, RingError> {
        let context = new.context(&self.ring, key_id);
        let check_value = self.device_check_value(&context, &wrap).await?.1;
        Ok(KeyRecord {
            context,
            state: new.state,
            created: now,
            not_after: 0,
            check_value,
            wraps: vec![wrap],
        })
    }

    /// `KCV` of a pepper that stays in a device, by the device.
    async fn device_check_value(
        &self,
        context: &KeyContext,
        wrap: &Wrap,
    ) -> Result<(Arc<dyn KeyProvider>, [u8; 32]), RingError> {
        let allowed = self.providers.iter().find(|allowed| allowed.allows_mac(wrap));
        let provider = allowed
            .ok_or(ConfigError::KekNotAllowed(context.key_id))?
            .shared();
        let message = schedule::check_value_message(context);
        let mac = provider.mac(&wrap.kek, &message.0);
        let check_value = self
            .patience
            .call(mac)
            .await
            .map_err(|error| provider_error(context.key_id, error))?;
        Ok((provider, check_value))
    }

    /// Wraps a new key: in shares under dual control, else under every configured key-encryption key. `generated` is a
    /// wrap that there is already, by the provider that made the key.
    pub(crate) async fn wraps(
        &self,
        context: &KeyContext,
        key: &KeyMaterial,
        mut generated: Option<Wrap>,
    ) -> Result<Vec<Wrap>, RingError> {
        if let Some(keks) = &self.dual_control {
            return Ok(vec![split::wrap(&self.providers, keks, context, key).await?]);
        }
        let mut wraps = Vec::new();
        for allowed in &self.providers {
            if *allowed.provider().name() == split::SPLIT {
                // It stands for two providers, and is none.
                return Err(ConfigError::UnknownProvider(split::SPLIT.to_string()).into());
            }
            for kek in allowed.keks() {
                let is_this =
                    |wrap: &mut Wrap| wrap.provider == *allowed.provider().name() && wrap.kek == *kek;
                if let Some(wrap) = generated.take_if(is_this) {
                    wraps.push(wrap);
                    continue;
                }
                let wrapped = allowed.provider().wrap(kek, context, key).await;
                let bytes = wrapped.map_err(|error| provider_error(context.key_id, error))?;
                wraps.push(Wrap::new(allowed.provider().name().clone(), kek.clone(), bytes));
            }
        }
        wraps.sort_by(|a, b| a.order().cmp(&b.order()));
        if wraps.is_empty() {
            return Err(ConfigError::NoProvider.into());
        }
        Ok(wraps)
    }

    /// What a record's providers give for it, checked: its key, or the device that holds it.
    pub(crate) async fn unwrap_record(&self, record: &KeyRecord) -> Result<Unwrapped, RingError> {
        match record.device_wrap() {
            Some(wrap) => self.device(record, wrap).await.map(Unwrapped::Device),
            None => self.unwrap(record).await.map(Unwrapped::Key),
        }
    }

    /// A pepper that stays in its device: the device itself computes the check value.
    pub(crate) async fn device(&self, record: &KeyRecord, wrap: &Wrap) -> Result<DevicePepper, RingError> {
        let (provider, check_value) = self.device_check_value(&record.context, wrap).await?;
        if !bool::from(check_value.ct_eq(&record.check_value)) {
            return Err(RingError::Authentication);
        }
        Ok(DevicePepper {
            provider,
            key: wrap.kek.clone(),
        })
    }

    /// Unwraps a record by the first wrap that a configured provider opens, and checks its check value.
    pub(crate) async fn unwrap(&self, record: &KeyRecord) -> Result<KeyMaterial, RingError> {
        checked(record, self.open_wrap(&record.context, &record.wraps).await?)
    }

    /// The key in the first wrap that a configured provider opens, in the order of configuration. Wraps that are not
    /// allowed are never shown to one.
    ///
    /// When none opens, the gravest failure is told: a provider that refuses (R-12: whoever revoked a key does not mean
    /// the outage of another provider to keep it alive), then one that is out of reach, then the first.
    async fn open_wrap(&self, context: &KeyContext, wraps: &[Wrap]) -> Result<KeyMaterial, RingError> {
        let id = context.key_id;
        let mut failure: Option<RingError> = None;
        let mut failed = |error: RingError| match &failure {
            Some(before) if gravity(before) >= gravity(&error) => {}
            _ => failure = Some(error),
        };
        for allowed in &self.providers {
            // The record of the ring key is not authenticated yet: of each key-encryption key one wrap is tried.
            let mut tried = BTreeSet::new();
            for wrap in wraps.iter().filter(|wrap| allowed.allows(wrap)) {
                if !tried.insert(&wrap.kek) {
                    continue;
                }
                let unwrap = allowed.provider().unwrap(&wrap.kek, context, &wrap.bytes);
                match self.patience.call(unwrap).await {
                    Ok(key) => return Ok(key),
                    Err(error) => failed(provider_error(id, error)),
                }
            }
        }
        for wrap in wraps.iter().filter(|wrap| wrap.provider == split::SPLIT) {
            match split::unwrap(&self.providers, self.patience, context, wrap).await {
                Ok(key) => return Ok(key),
                Err(error) => failed(error),
            }
        }
        Err(failure.unwrap_or_else(|| ConfigError::KekNotAllowed(id).into()))
    }

    /// Verifies a stored manifest in the order of format §8.2.
    ///
    /// # Errors
    /// See [`RingError`].
    pub async fn verify(&self, stored: &[u8]) -> Result<VerifiedRing, RingError> {
        self.verify_knowing(stored, None).await
    }

    /// As [`verify`](Self::verify), by a ring key that was unwrapped before where its provider is out of reach now.
    pub(crate) async fn verify_knowing(
        &self,
        stored: &[u8],
        known: Option<&KnownRingKey>,
    ) -> Result<VerifiedRing, RingError> {
        fips::check_module()?;
        let raw = RawManifest::parse(stored).ok_or(RingError::Malformed("the manifest"))?;
        let mut failure = None;
        for (place, pin) in self.pins.iter().enumerate() {
            match self.verify_pin(&raw, pin, known).await {
                Ok(ring_key) => return self.verify_rules(raw, (place, ring_key), pin, stored),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or_else(|| ConfigError::NoPin.into()))
    }

    /// Record, allow-list, unwrap, check value against the pin, MAC. Nothing else that the record says decides before
    /// the MAC is verified, but that it is for this ring's key and has a wrap.
    async fn verify_pin(
        &self,
        raw: &RawManifest<'_>,
        pin: &RingKeyPin,
        known: Option<&KnownRingKey>,
    ) -> Result<KnownRingKey, RingError> {
        let record = raw.record(pin.key_id).ok_or(RingError::Authentication)?;
        let context = record.context().map_err(|_| RingError::Authentication)?;
        let wraps = record.wraps().map_err(|_| RingError::Authentication)?;
        if context.key_use != KeyUse::Ring || context.ring != self.ring {
            return Err(RingError::Authentication);
        }
        if wraps.is_empty() && record.state == KeyState::Destroyed.byte() {
            return Err(RingError::KeyState(pin.key_id));
        }
        let pinned = |value: &[u8; 32]| bool::from(value.ct_eq(&pin.check_value));
        let begun = clock::now();
        let mut opened = self.open_wrap(&context, &wraps).await;
        if let (Err(RingError::KeyRefused(..)), Some(known)) = (&opened, known)
            && known.is_of(pin, begun)
            && known.wraps != wraps
        {
            // Whoever writes the key store chose these wraps: by them alone nobody's access is revoked.
            opened = self.open_wrap(&context, &known.wraps).await;
        }
        let ring_key = match opened {
            Ok(key) if !pinned(&schedule::check_value(&key, &context)) => {
                return Err(RingError::Authentication);
            }
            Ok(key) => KnownRingKey {
                pin: pin.clone(),
                key: Arc::new(RingKey::new(key.expose_bytes())),
                wraps,
                relied_until: begun.saturating_add(clock::millis(self.cache.hard_ttl())),
            },
            // an outage is no reason to forget the key; its time is not extended.
            Err(error @ RingError::KeyUnavailable(..)) => match known {
                Some(known) if known.is_of(pin, begun) => known.clone(),
                _ => return Err(error),
            },
            Err(error) => return Err(error),
        };
        if pinned(&record.check_value) && raw.authenticates(&ring_key.key) {
            Ok(ring_key)
        } else {
            Err(RingError::Authentication)
        }
    }

    /// Which pin a changed manifest is authenticated by (format §8.2): the first whose key is active in it. With its
    /// record.
    pub(crate) fn writing_pin<'m>(
        &self,
        manifest: &'m Manifest,
    ) -> Result<(usize, &'m KeyRecord), RingError> {
        let active = |pin: &RingKeyPin| {
            let record = manifest.record(pin.key_id)?;
            (record.state.seals() && record.context.key_use == KeyUse::Ring).then_some(record)
        };
        let mut pins = self.pins.iter().enumerate();
        let found = pins.find_map(|(place, pin)| Some((place, pin, active(pin)?)));
        let Some((place, pin, record)) = found else {
            let none = |pin: &RingKeyPin| RingError::KeyState(pin.key_id);
            return Err(self.pins.first().map_or_else(|| ConfigError::NoPin.into(), none));
        };
        if bool::from(record.check_value.ct_eq(&pin.check_value)) {
            Ok((place, record))
        } else {
            Err(RingError::Authentication)
        }
    }

    /// Names, states, wrap order, the one-active rule, the ring key's own state, the epoch floor, the FIPS profile.
    fn verify_rules(
        &self,
        raw: RawManifest<'_>,
        verified_by: (usize, KnownRingKey),
        pin: &RingKeyPin,
        stored: &[u8],
    ) -> Result<VerifiedRing, RingError> {
        let mac = *raw.mac;
        let manifest = raw
            .into_manifest(&self.ring, &self.app)
            .map_err(RingError::from)?;
        let state = manifest.record(pin.key_id).map(|record| record.state);
        if matches!(state, None | Some(KeyState::Compromised | KeyState::Destroyed)) {
            return Err(RingError::KeyState(pin.key_id));
        }
        if manifest.epoch < self.min_epoch {
            return Err(RingError::Stale {
                epoch: manifest.epoch,
                known: self.min_epoch,
            });
        }
        let live = |record: &&KeyRecord| record.state.opens();
        for record in manifest.records.iter().filter(live) {
            record.context.suite.map_or(Ok(()), fips::check_suite)?;
        }
        Ok(VerifiedRing::new(manifest, mac, verified_by, stored.to_vec()))
    }
}

/// `KCV` of the key that came out, against the record. A mismatch refuses the key: two wraps of different keys, a
/// swapped record, the wrong provider.
pub(crate) fn checked(record: &KeyRecord, key: KeyMaterial) -> Result<KeyMaterial, RingError> {
    let check_value = schedule::check_value(&key, &record.context);
    if bool::from(check_value.ct_eq(&record.check_value)) {
        Ok(key)
    } else {
        Err(RingError::Authentication)
    }
}

/// A ring key that was unwrapped and checked against its pin.
#[derive(Clone)]
pub(crate) struct KnownRingKey {
    pin: RingKeyPin,
    key: Arc<RingKey>,
    /// The wraps of its record.
    wraps: Vec<Wrap>,
    /// One hard TTL after it was unwrapped, by [`clock::now`].
    relied_until: u64,
}

impl KnownRingKey {
    fn is_of(&self, pin: &RingKeyPin, now: u64) -> bool {
        self.pin == *pin && now < self.relied_until
    }

    pub(crate) fn key_id(&self) -> KeyId {
        self.pin.key_id
    }

    pub(crate) fn key(&self) -> &RingKey {
        &self.key
    }

    pub(crate) fn relied_until(&self) -> u64 {
        self.relied_until
    }
}

/// Which of several failures to unwrap one key is told.
pub(crate) fn gravity(error: &RingError) -> u8 {
    match error {
        RingError::KeyRefused(..) => 2,
        RingError::KeyUnavailable(..) => 1,
        _ => 0,
    }
}

pub(crate) fn provider_error(id: KeyId, error: ProviderError) -> RingError {
    match error.kind() {
        ProviderErrorKind::Unavailable => RingError::KeyUnavailable(id, error),
        ProviderErrorKind::Refused => RingError::KeyRefused(id, error),
        ProviderErrorKind::Authentication => RingError::Authentication,
        ProviderErrorKind::Malformed => RingError::Malformed("a wrap"),
        ProviderErrorKind::UnknownKek => ConfigError::KekNotAllowed(id).into(),
        ProviderErrorKind::Unsupported => ConfigError::NoDevice(id).into(),
    }
}
