//! A ring at rest: verified, created, changed and loaded (format §8.2).

use std::path::PathBuf;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::HEXLOWER;
use subtle::ConstantTimeEq as _;

use crate::config::ConfigError;
use crate::context::KeyContext;
use crate::durable::FileError;
use crate::key::{KeyId, KeyMaterial, RingKey};
use crate::keyring::{Contents, DEFAULT_VALUE_LIMIT, Keyring};
use crate::manifest::{Manifest, RawManifest};
use crate::name::{AppName, RingName, ScopeName};
use crate::provider::{AllowedProvider, ProviderError, ProviderErrorKind};
use crate::random::RandomError;
use crate::record::{KeyRecord, KeyState, KeyUse, Wrap};
use crate::schedule;
use crate::scope::Scopes;
use crate::store::FileStore;
use crate::token::Suite;
use crate::witness::FileWitness;

/// How often a ring is read again when it seems stale: other processes may be changing it.
const MAX_TRIES: usize = 10;

/// How long a data key seals: 90 days (format §6).
const DATA_KEY_SECONDS: u64 = 90 * 24 * 60 * 60;

/// Why a ring was not loaded or not changed (format §8.5).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// Configuration is wrong; the message says what to fix.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Stored bytes are not what they should be.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// The manifest, a wrap or the key file does not authenticate, or is of another ring or application. A wrong
    /// passphrase looks the same.
    #[error("the key ring does not authenticate: wrong key, passphrase, ring or app, or it was changed")]
    Authentication,
    /// An older manifest than one that was seen before, or another one of the same epoch.
    #[error("the key ring is stale: it has epoch {epoch}, and epoch {known} is known")]
    Stale {
        /// Its epoch.
        epoch: u64,
        /// The highest epoch known.
        known: u64,
    },
    /// A provider is out of reach: try again later.
    #[error("key {0} cannot be unwrapped now")]
    KeyUnavailable(KeyId, #[source] ProviderError),
    /// A provider denied access, or its key is disabled or pending deletion.
    #[error("the provider refused to unwrap key {0}")]
    KeyRefused(KeyId, #[source] ProviderError),
    /// The pinned ring key is compromised or destroyed.
    #[error("the pinned ring key {0} is compromised or destroyed")]
    KeyState(KeyId),
    /// A key is not in the ring.
    #[error("key {0} is not in the key ring")]
    UnknownKey(KeyId),
    /// There is no key ring at the configured place.
    #[error("there is no key ring at {}: run `phield init`, or restore a backup", .0.display())]
    NoRing(PathBuf),
    /// A file that was to be created is there already.
    #[error("{} exists already; nothing was changed", .0.display())]
    Exists(PathBuf),
    /// Somebody else changed the ring first; nothing was written.
    #[error("the key ring was changed by somebody else meanwhile; nothing was written, try again")]
    Conflict,
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The operating system gave no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The system clock stands before 1970.
    #[error("the system clock stands before 1970")]
    Clock,
}

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
    fn of(record: &KeyRecord) -> Self {
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

impl std::fmt::Display for RingKeyPin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
    /// Which scopes serve which tables and tenants.
    pub scopes: Scopes,
    /// Longest value that is sealed, in bytes; at most 16 MiB.
    pub value_limit: usize,
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
            scopes: Scopes::default(),
            value_limit: DEFAULT_VALUE_LIMIT,
        }
    }

    /// Wraps a new key under every configured key-encryption key and makes its record.
    async fn record(
        &self,
        new: NewKey,
        key_id: KeyId,
        key: &KeyMaterial,
        now: u64,
    ) -> Result<KeyRecord, RingError> {
        let context = KeyContext {
            ring: self.ring.clone(),
            key_id,
            suite: new.suite,
            key_use: new.key_use,
            scope: new.scope,
        };
        let mut wraps = Vec::new();
        for allowed in &self.providers {
            for kek in allowed.keks() {
                let wrapped = allowed.provider().wrap(kek, &context, key).await;
                let bytes = wrapped.map_err(|error| provider_error(key_id, error))?;
                wraps.push(Wrap::new(allowed.provider().name().clone(), kek.clone(), bytes));
            }
        }
        wraps.sort_by(|a, b| {
            (a.provider.as_str(), a.kek.as_str()).cmp(&(b.provider.as_str(), b.kek.as_str()))
        });
        if wraps.is_empty() {
            return Err(ConfigError::NoProvider.into());
        }
        let check_value = schedule::check_value(key, &context);
        // A successor's time starts when it is activated.
        let not_after = match (new.key_use, new.state) {
            (KeyUse::Data, KeyState::Active) => now.saturating_add(DATA_KEY_SECONDS),
            _ => 0,
        };
        Ok(KeyRecord {
            context,
            state: new.state,
            created: now,
            not_after,
            check_value,
            wraps,
        })
    }

    /// Unwraps a record by the first wrap that a configured provider opens, and checks its check value.
    async fn unwrap(&self, record: &KeyRecord) -> Result<KeyMaterial, RingError> {
        let id = record.context.key_id;
        let mut failure = None;
        for allowed in &self.providers {
            for wrap in record.wraps.iter().filter(|wrap| allowed.allows(wrap)) {
                match allowed
                    .provider()
                    .unwrap(&wrap.kek, &record.context, &wrap.bytes)
                    .await
                {
                    Ok(key) => return checked(record, key),
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
        }
        Err(failure.map_or_else(
            || ConfigError::KekNotAllowed(id).into(),
            |error| provider_error(id, error),
        ))
    }

    /// Verifies a stored manifest in the order of format §8.2.
    ///
    /// # Errors
    /// See [`RingError`].
    pub async fn verify(&self, stored: &[u8]) -> Result<VerifiedRing, RingError> {
        let raw = RawManifest::parse(stored).ok_or(RingError::Malformed("the manifest"))?;
        let mut failure = None;
        for pin in &self.pins {
            match self.verify_pin(&raw, pin).await {
                Ok(ring_key) => return self.verify_rules(raw, pin, ring_key, stored),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or_else(|| ConfigError::NoPin.into()))
    }

    /// Record, allow-list, unwrap, check value against the pin, MAC.
    async fn verify_pin(&self, raw: &RawManifest<'_>, pin: &RingKeyPin) -> Result<RingKey, RingError> {
        let record = raw.record(pin.key_id).ok_or(RingError::Authentication)?;
        if record.key_use != KeyUse::Ring.as_str().as_bytes() || record.ring != self.ring.as_str().as_bytes()
        {
            return Err(RingError::Authentication);
        }
        if !bool::from(record.check_value.ct_eq(&pin.check_value)) {
            return Err(RingError::Authentication);
        }
        if record.state == KeyState::Destroyed.byte() {
            return Err(RingError::KeyState(pin.key_id));
        }
        let record = KeyRecord::from_raw(record).map_err(RingError::Malformed)?;
        let key = self.unwrap(&record).await?;
        let ring_key = RingKey::new(key.expose_bytes());
        if raw.authenticates(&ring_key) {
            Ok(ring_key)
        } else {
            Err(RingError::Authentication)
        }
    }

    /// Names, states, wrap order, the one-active rule, the ring key's own state, the epoch floor.
    fn verify_rules(
        &self,
        raw: RawManifest<'_>,
        pin: &RingKeyPin,
        ring_key: RingKey,
        stored: &[u8],
    ) -> Result<VerifiedRing, RingError> {
        let mac = *raw.mac;
        let manifest = raw
            .into_manifest(&self.ring, &self.app)
            .map_err(|why| why.map_or(RingError::Authentication, RingError::Malformed))?;
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
        Ok(VerifiedRing {
            manifest,
            mac,
            ring_key,
            stored: stored.to_vec(),
        })
    }
}

/// `KCV` of the key that came out, against the record. A mismatch refuses the key: two wraps of different keys, a
/// swapped record, the wrong provider.
fn checked(record: &KeyRecord, key: KeyMaterial) -> Result<KeyMaterial, RingError> {
    let check_value = schedule::check_value(&key, &record.context);
    if bool::from(check_value.ct_eq(&record.check_value)) {
        Ok(key)
    } else {
        Err(RingError::Authentication)
    }
}

fn provider_error(id: KeyId, error: ProviderError) -> RingError {
    match error.kind() {
        ProviderErrorKind::Unavailable => RingError::KeyUnavailable(id, error),
        ProviderErrorKind::Refused => RingError::KeyRefused(id, error),
        ProviderErrorKind::Authentication => RingError::Authentication,
        ProviderErrorKind::Malformed => RingError::Malformed("a wrap"),
        ProviderErrorKind::UnknownKek => ConfigError::KekNotAllowed(id).into(),
    }
}

/// A key that is about to be made.
#[derive(Debug, Clone)]
struct NewKey {
    key_use: KeyUse,
    suite: Option<Suite>,
    scope: Option<ScopeName>,
    state: KeyState,
}

impl NewKey {
    fn new(key_use: KeyUse, state: KeyState) -> Self {
        Self {
            key_use,
            suite: None,
            scope: None,
            state,
        }
    }

    /// The active data key of a scope, and the pre-active successor by which it can be replaced at once (I-8).
    fn data(suite: Suite, scope: Option<&ScopeName>) -> [Self; 2] {
        [KeyState::Active, KeyState::PreActive].map(|state| Self {
            suite: Some(suite),
            scope: scope.cloned(),
            ..Self::new(KeyUse::Data, state)
        })
    }

    fn pepper(scope: Option<&ScopeName>) -> Self {
        Self {
            scope: scope.cloned(),
            ..Self::new(KeyUse::Index, KeyState::Active)
        }
    }
}

/// A manifest whose MAC, records and epoch floor were checked.
#[derive(Debug)]
pub struct VerifiedRing {
    manifest: Manifest,
    mac: [u8; 32],
    ring_key: RingKey,
    stored: Vec<u8>,
}

impl VerifiedRing {
    /// What the manifest says.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The stored bytes: what a backup holds.
    #[must_use]
    pub fn stored(&self) -> &[u8] {
        &self.stored
    }

    /// Unwraps every key that is not destroyed and checks its check value. A key whose provider is out of reach is
    /// left for later; every other failure refuses the ring.
    ///
    /// # Errors
    /// See [`RingError`].
    pub async fn keyring(&self, settings: &RingSettings) -> Result<Keyring, RingError> {
        let mut keys = Vec::with_capacity(self.manifest.records.len());
        for record in &self.manifest.records {
            let key = match record.state {
                KeyState::Destroyed => None,
                _ => match settings.unwrap(record).await {
                    Ok(key) => Some(key),
                    Err(RingError::KeyUnavailable(..)) => None,
                    Err(error) => return Err(error),
                },
            };
            keys.push((record.clone(), key));
        }
        let contents = Contents {
            app: settings.app.clone(),
            ring: settings.ring.clone(),
            epoch: self.manifest.epoch,
            scopes: settings.scopes.clone(),
            value_limit: settings.value_limit,
        };
        Ok(Keyring::new(contents, keys))
    }

    /// Unwraps every record that is not destroyed through every wrap that configuration reaches, and checks every
    /// check value: the rehearsal of a restore (I-9). Returns how many wraps were opened.
    ///
    /// # Errors
    /// The first wrap that does not give its key.
    pub async fn check_every_wrap(&self, settings: &RingSettings) -> Result<usize, RingError> {
        let mut opened = 0;
        for record in self
            .manifest
            .records
            .iter()
            .filter(|record| record.state != KeyState::Destroyed)
        {
            for wrap in &record.wraps {
                let Some(allowed) = settings.providers.iter().find(|allowed| allowed.allows(wrap)) else {
                    continue;
                };
                let key = allowed
                    .provider()
                    .unwrap(&wrap.kek, &record.context, &wrap.bytes)
                    .await;
                checked(
                    record,
                    key.map_err(|error| provider_error(record.context.key_id, error))?,
                )?;
                opened += 1;
            }
        }
        Ok(opened)
    }

    /// The stored bytes of a changed manifest: epoch + 1, a new MAC, the rules checked.
    fn changed(&self, change: impl FnOnce(&mut Manifest)) -> Result<Vec<u8>, RingError> {
        let mut manifest = self.manifest.clone();
        change(&mut manifest);
        manifest.epoch = self
            .manifest
            .epoch
            .checked_add(1)
            .ok_or(RingError::Malformed("the last epoch"))?;
        manifest.check_rules().map_err(RingError::Malformed)?;
        Ok(manifest.seal(&self.ring_key))
    }
}

/// A ring in its place: settings, key store and epoch witness.
#[derive(Debug)]
#[non_exhaustive]
pub struct Ring {
    /// What configuration says.
    pub settings: RingSettings,
    store: FileStore,
    witness: Option<FileWitness>,
}

impl Ring {
    /// A ring in a key store file, its highest epoch kept by a witness.
    #[must_use]
    pub fn new(settings: RingSettings, store: FileStore, witness: Option<FileWitness>) -> Self {
        Self {
            settings,
            store,
            witness,
        }
    }

    /// Reads and verifies the manifest; the witness is asked before it is used.
    ///
    /// # Errors
    /// See [`RingError`].
    pub async fn load(&self) -> Result<VerifiedRing, RingError> {
        let mut stored = self.read()?;
        let mut tries = 0;
        loop {
            tries += 1;
            let verified = self.settings.verify(&stored).await?;
            let Some(witness) = &self.witness else {
                return Ok(verified);
            };
            let stale = match witness.check(&verified.manifest.ring, verified.manifest.epoch, &verified.mac) {
                Ok(()) => return Ok(verified),
                Err(stale @ RingError::Stale { .. }) => stale,
                Err(error) => return Err(error),
            };
            // Another process may have changed the ring and told the witness since it was read here: stale is only
            // what still stands there.
            let current = self.read()?;
            if current == stored || tries == MAX_TRIES {
                return Err(stale);
            }
            stored = current;
        }
    }

    fn read(&self) -> Result<Vec<u8>, RingError> {
        self.store
            .read()?
            .ok_or_else(|| RingError::NoRing(self.store.path().to_owned()))
    }

    /// Loads the ring and its keys.
    ///
    /// # Errors
    /// See [`RingError`].
    pub async fn keyring(&self) -> Result<Keyring, RingError> {
        self.load().await?.keyring(&self.settings).await
    }

    /// Makes a new ring in memory: ring key, data keys with their successors and index peppers for `scopes` (and for
    /// no scope), a UID pepper. Pins its ring key in `settings`. Nothing is stored: publish it once it is backed up.
    ///
    /// # Errors
    /// See [`RingError`].
    pub async fn generate(
        settings: &mut RingSettings,
        scopes: &[(Option<ScopeName>, Suite)],
    ) -> Result<VerifiedRing, RingError> {
        let mut wanted = vec![NewKey::new(KeyUse::Uid, KeyState::Active)];
        for (scope, suite) in scopes {
            wanted.extend(NewKey::data(*suite, scope.as_ref()));
            wanted.push(NewKey::pepper(scope.as_ref()));
        }
        let now = now()?;
        let ring_key = KeyMaterial::random()?;
        let new_ring_key = NewKey::new(KeyUse::Ring, KeyState::Active);
        let mut records = vec![
            settings
                .record(new_ring_key, KeyId::random()?, &ring_key, now)
                .await?,
        ];
        settings.pins = records.iter().map(RingKeyPin::of).collect();
        for new in wanted {
            let id = unused_id(&records)?;
            records.push(settings.record(new, id, &KeyMaterial::random()?, now).await?);
        }
        records.sort_by_key(|record| record.context.key_id);
        let manifest = Manifest {
            ring: settings.ring.clone(),
            app: settings.app.clone(),
            epoch: 1,
            records,
        };
        manifest.check_rules().map_err(RingError::Malformed)?;
        let stored = manifest.seal(&RingKey::new(ring_key.expose_bytes()));
        settings.verify(&stored).await
    }

    /// Stores a new ring; refuses to replace one.
    ///
    /// # Errors
    /// [`RingError::Conflict`] when the key store holds a ring already.
    pub fn publish(&self, ring: &VerifiedRing) -> Result<(), RingError> {
        self.store.replace(None, &ring.stored)
    }

    /// Changes the ring: epoch + 1, a new MAC, compare-and-swap on the manifest that was read (I-2). Nothing is stored
    /// when the changed manifest breaks a rule.
    ///
    /// # Errors
    /// [`RingError::Conflict`] when somebody else changed it first; see [`RingError`].
    #[doc(hidden)]
    pub async fn update(&self, change: impl FnOnce(&mut Manifest)) -> Result<VerifiedRing, RingError> {
        let verified = self.load().await?;
        let stored = verified.changed(change)?;
        self.settings.verify(&stored).await?;
        self.store.replace(Some(&verified.stored), &stored)?;
        self.load().await
    }
}

fn unused_id(records: &[KeyRecord]) -> Result<KeyId, RandomError> {
    loop {
        let id = KeyId::random()?;
        if records.iter().all(|record| record.context.key_id != id) {
            return Ok(id);
        }
    }
}

/// Seconds since the Unix epoch.
fn now() -> Result<u64, RingError> {
    Ok(SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|_| RingError::Clock)?
        .as_secs())
}
