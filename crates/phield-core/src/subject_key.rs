//! Subject keys (format §8.3): one random secret a person, deleted to shred that person's data.
//!
//! ```text
//! SREC   = LP("phield.v1.subjrec", ring, u32(id of the use = subject record), opt(tenant), subject)
//! stored = u32(id of the subject record) ‖ derived wrap of S with SREC for KREC and that record's key as KEK      97 bytes
//!          tombstone: the id alone, 4 bytes
//! data key of the subject = KDF(data key, "phield.v1.subject", S ‖ LP(subject), 32)
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::error::{OpenError, SealError, Unsealable};
use crate::key::{DataKey, KeyId, KeyMaterial, SubjectSecret};
use crate::key_slot::{Missing, Role};
use crate::keyring::{Keyring, LoadedKey};
use crate::lp;
use crate::name::{RingName, ScopeName, TenantName};
use crate::provider::ProviderErrorKind;
use crate::random::RandomError;
use crate::record::KeyUse;
use crate::row_id::{AsRowId, RowId};
use crate::schedule;
use crate::wrap::{self, WRAP_LEN};

/// Length of a stored secret: record id and derived wrap.
const STORED_LEN: usize = 4 + WRAP_LEN;

/// How often a store is asked again when others change it at the same time.
const MAX_TRIES: usize = 10;

/// Why there is no subject key. Never a reason to seal or open under the ring's key instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectError {
    /// The subject has no secret, or it was not loaded.
    #[error("the subject has no secret, or it was not loaded")]
    NoSecret,
    /// The subject was shredded: its secret is gone for good.
    #[error("the subject was shredded")]
    Shredded(KeyId),
    /// What is stored is neither a wrapped secret nor a tombstone.
    #[error("what is stored for the subject is not a phield v1 subject secret")]
    Malformed,
    /// The ring has no record of the key that wraps the secret.
    #[error("subject record {0} is not in the key ring")]
    UnknownKey(KeyId),
    /// The secret was not wrapped for this subject, tenant and ring, or was changed.
    #[error("the subject's secret does not authenticate")]
    Authentication,
    /// The key that wraps the secret is destroyed.
    #[error("subject record {0} is destroyed")]
    KeyState(KeyId),
    /// The key that wraps the secret could not be unwrapped. Try again later.
    #[error("subject record {0} could not be unwrapped: its provider is out of reach")]
    KeyUnavailable(KeyId),
    /// The provider of the key that wraps the secret refuses it.
    #[error("subject record {0} could not be unwrapped: its provider refuses it")]
    KeyRefused(KeyId),
    /// The key that wraps new secrets is past its `not after`: replace it.
    #[error("subject record {0} is past its last day of wrapping: replace it")]
    KeyExpired(KeyId),
    /// The ring has no active subject record to wrap a new secret under.
    #[error("the key ring has no active subject record for this tenant")]
    NoActiveKey,
    /// The subject cannot be encoded.
    #[error(transparent)]
    Unsealable(#[from] Unsealable),
    /// The operating system gave no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl From<SubjectError> for OpenError {
    fn from(error: SubjectError) -> Self {
        match error {
            SubjectError::NoSecret | SubjectError::NoActiveKey => Self::NoSubjectSecret,
            SubjectError::Shredded(id) | SubjectError::KeyState(id) => Self::KeyState(id),
            SubjectError::Malformed => Self::Malformed,
            SubjectError::UnknownKey(id) => Self::UnknownKey(id),
            SubjectError::KeyUnavailable(id) => Self::KeyUnavailable(id),
            SubjectError::KeyRefused(id) => Self::KeyRefused(id),
            SubjectError::KeyExpired(id) => Self::KeyState(id),
            SubjectError::Authentication | SubjectError::Unsealable(_) | SubjectError::Random(_) => {
                Self::Authentication
            }
        }
    }
}

impl From<SubjectError> for SealError {
    fn from(error: SubjectError) -> Self {
        Self::Subject(error)
    }
}

/// The unwrapped secret of one subject of one tenant. With the ring's data key it makes the subject's data key; both are
/// needed. Erased on drop.
pub struct SubjectKey(Arc<Parts>);

struct Parts {
    secret: SubjectSecret,
    ring: RingName,
    tenant: Option<TenantName>,
    /// As in ROW.
    subject: Vec<u8>,
}

impl SubjectKey {
    /// `KDF(data key, "phield.v1.subject", S ‖ LP(subject), 32)`
    pub(crate) fn data_key(&self, data_key: &DataKey) -> DataKey {
        schedule::subject_data_key(data_key, &self.0.secret, &lp::encode(&[&self.0.subject]))
    }

    /// The same key, not a copy of it.
    pub(crate) fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// Whether it is the key of this subject and tenant in this ring.
    pub(crate) fn is_of(&self, ring: &RingName, tenant: Option<&TenantName>, subject: &[u8]) -> bool {
        self.0.ring == *ring && self.0.tenant.as_ref() == tenant && self.0.subject == subject
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubjectKey").finish_non_exhaustive()
    }
}

/// Where the keys of subjects come from while rows are sealed and opened: a [`SubjectKey`] for rows of one person, a
/// [`SubjectKeyMap`] for rows of many. Shared by threads, so that a query can be awaited in a spawned task.
pub trait SubjectKeys: Send + Sync {
    /// The key of this subject (encoded as in `ROW`) and tenant.
    ///
    /// # Errors
    /// See [`SubjectError`]; [`SubjectError::NoSecret`] when it was not loaded.
    #[doc(hidden)]
    fn subject_key(&self, tenant: Option<&TenantName>, subject: &[u8]) -> Result<&SubjectKey, SubjectError>;
}

impl SubjectKeys for SubjectKey {
    fn subject_key(&self, tenant: Option<&TenantName>, subject: &[u8]) -> Result<&SubjectKey, SubjectError> {
        let same = self.0.tenant.as_ref() == tenant && self.0.subject == subject;
        same.then_some(self).ok_or(SubjectError::NoSecret)
    }
}

/// The keys of the subjects whose rows are about to be sealed or opened. A subject that was shredded, or whose secret
/// does not authenticate, is kept with its error, so that its rows fail with it.
///
/// # Security
/// Fill one for a request, and drop it with it: a subject that is shredded meanwhile stays readable for whoever still
/// has the key in memory.
#[derive(Default)]
pub struct SubjectKeyMap {
    tenants: HashMap<Option<TenantName>, OfTenant>,
}

/// By subject, encoded.
#[derive(Default)]
struct OfTenant(HashMap<Vec<u8>, Result<SubjectKey, SubjectError>>);

impl SubjectKeyMap {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens what is stored for a subject (`None`: nothing is) and keeps the key, or why there is none.
    ///
    /// # Errors
    /// A subject that cannot be encoded.
    pub fn insert(
        &mut self,
        keyring: &Keyring,
        tenant: Option<&TenantName>,
        subject: &(impl AsRowId + ?Sized),
        stored: Option<&[u8]>,
    ) -> Result<(), Unsealable> {
        let encoded = encode(subject)?;
        let key = stored
            .ok_or(SubjectError::NoSecret)
            .and_then(|stored| keyring.open_subject_secret(tenant, subject, stored));
        let tenant = self.tenants.entry(tenant.cloned()).or_default();
        tenant.0.insert(encoded, key);
        Ok(())
    }

    /// Takes the keys of another map: rows of several tenants in one batch.
    pub fn append(&mut self, other: Self) {
        for (tenant, keys) in other.tenants {
            self.tenants.entry(tenant).or_default().0.extend(keys.0);
        }
    }
}

impl fmt::Debug for SubjectKeyMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Subjects are persons: not even their ids.
        f.debug_struct("SubjectKeyMap").finish_non_exhaustive()
    }
}

impl SubjectKeys for SubjectKeyMap {
    fn subject_key(&self, tenant: Option<&TenantName>, subject: &[u8]) -> Result<&SubjectKey, SubjectError> {
        let keys = self.tenants.iter().find(|(of, _)| of.as_ref() == tenant);
        match keys.and_then(|(_, keys)| keys.0.get(subject)) {
            Some(Ok(key)) => Ok(key),
            Some(Err(error)) => Err(*error),
            None => Err(SubjectError::NoSecret),
        }
    }
}

/// A keyring together with the keys of subjects: what rows of a table with subject keys are sealed and opened with.
#[derive(Clone, Copy)]
pub struct SubjectKeyring<'k> {
    keyring: &'k Keyring,
    subjects: &'k dyn SubjectKeys,
}

impl<'k> SubjectKeyring<'k> {
    /// The keyring.
    #[must_use]
    pub fn keyring(&self) -> &'k Keyring {
        self.keyring
    }

    pub(crate) fn subjects(&self) -> &'k dyn SubjectKeys {
        self.subjects
    }
}

impl fmt::Debug for SubjectKeyring<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubjectKeyring")
            .field("keyring", self.keyring)
            .finish_non_exhaustive()
    }
}

/// What rows are sealed and opened with: a [`Keyring`], or a [`SubjectKeyring`] for tables with subject keys.
///
/// Not for users to implement.
pub trait Keys {
    /// The keys of the ring.
    #[doc(hidden)]
    fn ring_keys(&self) -> &Keyring;

    /// The keys of subjects.
    #[doc(hidden)]
    fn subject_keys(&self) -> Option<&dyn SubjectKeys>;
}

impl Keys for Keyring {
    fn ring_keys(&self) -> &Keyring {
        self
    }

    fn subject_keys(&self) -> Option<&dyn SubjectKeys> {
        None
    }
}

impl Keys for SubjectKeyring<'_> {
    fn ring_keys(&self) -> &Keyring {
        self.keyring
    }

    fn subject_keys(&self) -> Option<&dyn SubjectKeys> {
        Some(self.subjects())
    }
}

/// The result of asking a [`SubjectStore`].
pub type SubjectStoreFuture<'a, T> =
    Pin<Box<dyn Future<Output = Result<T, Box<dyn Error + Send + Sync>>> + Send + 'a>>;

/// Where wrapped secrets are kept: a table with the primary key (tenant, subject).
///
/// # Security
/// Reads go to the primary, never to a replica: a replica that lags would hide a secret, or a tombstone. A backup of this
/// table undoes shredding: keep it apart, and for a short time.
pub trait SubjectStore: Send + Sync {
    /// What is stored for a subject (encoded, at most 4096 bytes).
    fn read<'a>(
        &'a self,
        tenant: Option<&'a TenantName>,
        subject: &'a [u8],
    ) -> SubjectStoreFuture<'a, Option<Vec<u8>>>;

    /// Stores this for a subject that has nothing; does nothing for one that has. Whether it was stored does not
    /// matter: the caller reads again.
    fn insert_if_absent<'a>(
        &'a self,
        tenant: Option<&'a TenantName>,
        subject: &'a [u8],
        stored: &'a [u8],
    ) -> SubjectStoreFuture<'a, ()>;

    /// Replaces `old` by `new`; gives whether `old` was what was stored.
    fn compare_and_swap<'a>(
        &'a self,
        tenant: Option<&'a TenantName>,
        subject: &'a [u8],
        old: &'a [u8],
        new: &'a [u8],
    ) -> SubjectStoreFuture<'a, bool>;
}

/// Why a subject's secret could not be read, made or shredded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectStoreError {
    /// There is no key.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// The store failed. The `Debug` of a driver's error can show more than its text: log the text.
    #[error("the store of subject secrets failed")]
    Store(#[source] Box<dyn Error + Send + Sync>),
    /// Others changed the same secret again and again.
    #[error("the subject's secret is being changed by others: try again")]
    Conflict,
}

impl Keyring {
    /// This keyring with the keys of subjects, for tables that have them.
    #[must_use]
    pub fn with_subjects<'k>(&'k self, subjects: &'k dyn SubjectKeys) -> SubjectKeyring<'k> {
        SubjectKeyring {
            keyring: self,
            subjects,
        }
    }

    /// A fresh secret for a subject, wrapped as it is stored: 97 bytes.
    ///
    /// # Security
    /// What is sealed under a secret that was not stored first is lost.
    /// [`subject_key_or_new`](Self::subject_key_or_new) keeps to the rules of storing it: insert if absent, read again
    /// from the primary, open what was read before the first row is sealed.
    ///
    /// # Errors
    /// See [`SubjectError`].
    pub fn new_subject_secret(
        &self,
        tenant: Option<&TenantName>,
        subject: &(impl AsRowId + ?Sized),
    ) -> Result<Vec<u8>, SubjectError> {
        let subject = encode(subject)?;
        let (id, record) = self.active_subject_record(tenant)?;
        if record.is_expired() {
            return Err(SubjectError::KeyExpired(id));
        }
        let role = record.role().map_err(|missing| missing_record(missing, id))?;
        let Role::Subject(kek) = &*role else {
            return Err(SubjectError::KeyUnavailable(id));
        };
        let srec = encode_context(self.ring(), id, tenant, &subject);
        let wrapped = wrap::seal(kek, &srec, &KeyMaterial::random()?)?;
        Ok([id.to_bytes().as_slice(), &wrapped].concat())
    }

    /// Opens the stored secret of a subject.
    ///
    /// # Errors
    /// See [`SubjectError`].
    pub fn open_subject_secret(
        &self,
        tenant: Option<&TenantName>,
        subject: &(impl AsRowId + ?Sized),
        stored: &[u8],
    ) -> Result<SubjectKey, SubjectError> {
        let subject = encode(subject)?;
        let (id, wrapped) = parse(stored).ok_or(SubjectError::Malformed)?;
        if wrapped.is_empty() {
            return Err(SubjectError::Shredded(id));
        }
        let record = self.record(id).ok_or(SubjectError::UnknownKey(id))?;
        if record.key_use != KeyUse::Subject {
            return Err(SubjectError::Authentication);
        }
        if !record.state.opens() {
            return Err(SubjectError::KeyState(id));
        }
        let role = record.role().map_err(|missing| missing_record(missing, id))?;
        let Role::Subject(kek) = &*role else {
            return Err(SubjectError::KeyUnavailable(id));
        };
        let srec = encode_context(self.ring(), id, tenant, &subject);
        let secret = wrap::open(kek, &srec, wrapped).map_err(|error| match error.kind() {
            ProviderErrorKind::Malformed => SubjectError::Malformed,
            _ => SubjectError::Authentication,
        })?;
        Ok(SubjectKey(Arc::new(Parts {
            secret: SubjectSecret::init_with(|s| s.copy_from_slice(secret.expose_bytes())),
            ring: self.ring().clone(),
            tenant: tenant.cloned(),
            subject,
        })))
    }

    /// What replaces a stored secret to shred its subject: the id of its record alone.
    ///
    /// # Errors
    /// [`SubjectError::Malformed`] when what is stored is neither a secret nor a tombstone.
    pub fn subject_tombstone(stored: &[u8]) -> Result<[u8; 4], SubjectError> {
        parse(stored)
            .map(|(id, _)| id.to_bytes())
            .ok_or(SubjectError::Malformed)
    }

    /// The key of a subject, from its store.
    ///
    /// # Errors
    /// [`SubjectError::NoSecret`] when the subject has none; see [`SubjectStoreError`].
    pub async fn subject_key(
        &self,
        store: &(impl SubjectStore + ?Sized),
        tenant: Option<&TenantName>,
        subject: &(impl AsRowId + ?Sized),
    ) -> Result<SubjectKey, SubjectStoreError> {
        let encoded = encode(subject).map_err(SubjectError::from)?;
        let stored = store
            .read(tenant, &encoded)
            .await
            .map_err(SubjectStoreError::Store)?;
        let stored = stored.ok_or(SubjectError::NoSecret)?;
        Ok(self.open_subject_secret(tenant, subject, &stored)?)
    }

    /// The keys of several subjects, from their store: for the rows of many people. A subject that has no secret, or was
    /// shredded, is in the map with its error.
    ///
    /// # Errors
    /// See [`SubjectStoreError`]; when the store fails.
    pub async fn subject_keys<'s, S: AsRowId + ?Sized + 's>(
        &self,
        store: &(impl SubjectStore + ?Sized),
        tenant: Option<&TenantName>,
        subjects: impl IntoIterator<Item = &'s S>,
    ) -> Result<SubjectKeyMap, SubjectStoreError> {
        let mut keys = SubjectKeyMap::new();
        for subject in subjects {
            let encoded = encode(subject).map_err(SubjectError::from)?;
            let stored = store
                .read(tenant, &encoded)
                .await
                .map_err(SubjectStoreError::Store)?;
            keys.insert(self, tenant, subject, stored.as_deref())
                .map_err(SubjectError::from)?;
        }
        Ok(keys)
    }

    /// The key of a subject; made and stored first where the subject has none. Two callers at once get the same key.
    ///
    /// # Errors
    /// See [`SubjectStoreError`].
    pub async fn subject_key_or_new(
        &self,
        store: &(impl SubjectStore + ?Sized),
        tenant: Option<&TenantName>,
        subject: &(impl AsRowId + ?Sized),
    ) -> Result<SubjectKey, SubjectStoreError> {
        match self.subject_key(store, tenant, subject).await {
            Err(SubjectStoreError::Subject(SubjectError::NoSecret)) => {}
            found => return found,
        }
        let encoded = encode(subject).map_err(SubjectError::from)?;
        let stored = self.new_subject_secret(tenant, subject)?;
        store
            .insert_if_absent(tenant, &encoded, &stored)
            .await
            .map_err(SubjectStoreError::Store)?;
        // Only what the store holds now is the subject's secret: somebody else may have been first.
        self.subject_key(store, tenant, subject).await
    }

    /// Shreds a subject: from now on its secret cannot be read from the store, and never be made again. A subject
    /// without a secret gets a tombstone too.
    ///
    /// # Security
    /// Effective once every process that has the key in memory has dropped it. Complete only when every copy and backup
    /// of the stored secret is gone, and the subject's index values and UIDs are deleted: those are not sealed under
    /// the secret.
    ///
    /// # Errors
    /// See [`SubjectStoreError`].
    pub async fn shred_subject(
        &self,
        store: &(impl SubjectStore + ?Sized),
        tenant: Option<&TenantName>,
        subject: &(impl AsRowId + ?Sized),
    ) -> Result<(), SubjectStoreError> {
        let encoded = encode(subject).map_err(SubjectError::from)?;
        for _ in 0..MAX_TRIES {
            let stored = store
                .read(tenant, &encoded)
                .await
                .map_err(SubjectStoreError::Store)?;
            match stored {
                None => {
                    let (id, _) = self.active_subject_record(tenant)?;
                    store
                        .insert_if_absent(tenant, &encoded, &id.to_bytes())
                        .await
                        .map_err(SubjectStoreError::Store)?;
                }
                Some(stored) => {
                    let tombstone = Self::subject_tombstone(&stored)?;
                    if stored == tombstone {
                        return Ok(());
                    }
                    // Read again in any case: the tombstone is seen before this says that it is there.
                    store
                        .compare_and_swap(tenant, &encoded, &stored, &tombstone)
                        .await
                        .map_err(SubjectStoreError::Store)?;
                }
            }
        }
        Err(SubjectStoreError::Conflict)
    }

    /// The record under which new secrets are wrapped: the active one of the tenant's scope, or of no scope where the
    /// tenant's has none at all.
    fn active_subject_record(
        &self,
        tenant: Option<&TenantName>,
    ) -> Result<(KeyId, Arc<LoadedKey>), SubjectError> {
        let snapshot = self.snapshot();
        let own = self.scopes().of_tenant(tenant);
        let is_of = |key: &LoadedKey, scope: Option<&ScopeName>| {
            key.key_use == KeyUse::Subject && key.scope.as_ref() == scope
        };
        let scope = own.filter(|scope| snapshot.keys().any(|(_, key)| is_of(key, Some(scope))));
        snapshot
            .keys()
            .find(|(_, key)| is_of(key, scope) && key.state.seals())
            .map(|(id, key)| (id, Arc::clone(key)))
            .ok_or(SubjectError::NoActiveKey)
    }
}

fn missing_record(missing: Missing, id: KeyId) -> SubjectError {
    match missing {
        Missing::Unavailable => SubjectError::KeyUnavailable(id),
        Missing::Refused => SubjectError::KeyRefused(id),
    }
}

/// The id of the subject record and the wrap, which is empty in a tombstone.
fn parse(stored: &[u8]) -> Option<(KeyId, &[u8])> {
    let (id, wrapped) = stored.split_first_chunk::<4>()?;
    let right_length = wrapped.is_empty() || stored.len() == STORED_LEN;
    Some((KeyId::from_bytes(*id)?, right_length.then_some(wrapped)?))
}

/// A subject, encoded as a row id.
fn encode(subject: &(impl AsRowId + ?Sized)) -> Result<Vec<u8>, Unsealable> {
    let mut out = Vec::with_capacity(32);
    let subject: RowId<'_> = subject.as_row_id()?;
    subject.encode(&mut out)?;
    Ok(out)
}

/// `SREC`
fn encode_context(ring: &RingName, id: KeyId, tenant: Option<&TenantName>, subject: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(96 + subject.len());
    lp::Writer::new(&mut out, 5)
        .element(b"phield.v1.subjrec")
        .element(ring.as_bytes())
        .element(&id.to_bytes())
        .optional(tenant.map(TenantName::as_bytes))
        .element(subject);
    out
}

#[cfg(test)]
pub(crate) mod fixed {
    //! Subject secrets with given values, for vectors.

    use super::*;

    pub(crate) fn encode_context(
        ring: &RingName,
        id: KeyId,
        tenant: Option<&TenantName>,
        subject: &[u8],
    ) -> Vec<u8> {
        super::encode_context(ring, id, tenant, subject)
    }

    pub(crate) fn key(
        ring: &RingName,
        secret: [u8; 32],
        tenant: Option<&TenantName>,
        subject: &[u8],
    ) -> SubjectKey {
        SubjectKey(Arc::new(Parts {
            secret: SubjectSecret::init_with(|s| *s = secret),
            ring: ring.clone(),
            tenant: tenant.cloned(),
            subject: subject.to_vec(),
        }))
    }

    pub(crate) fn secret(key: &SubjectKey) -> &[u8; 32] {
        key.0.secret.expose_bytes()
    }
}
