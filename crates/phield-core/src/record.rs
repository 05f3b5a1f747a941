//! Key records (format §8.1): one key of the ring, its state, its check value and its wraps.

use std::fmt;

use crate::config::ConfigError;
use crate::context::KeyContext;
use crate::data_key_policy::DataKeyPolicy;
use crate::error::RingError;
use crate::key::KeyId;
use crate::lp;
use crate::name::{InvalidName, ProviderName, RingName, ScopeName};
use crate::split;
use crate::token::Suite;

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KeyUse {
    /// Seals fields.
    Data,
    /// The pepper of blind indexes.
    Index,
    /// The pepper of UIDs.
    Uid,
    /// Wraps the secrets of subjects.
    Subject,
    /// Authenticates the manifest.
    Ring,
}

impl KeyUse {
    const ALL: [Self; 5] = [Self::Data, Self::Index, Self::Uid, Self::Subject, Self::Ring];

    /// The name in key records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Index => "index",
            Self::Uid => "uid",
            Self::Subject => "subject",
            Self::Ring => "ring",
        }
    }

    pub(crate) fn from_bytes(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|key_use| key_use.as_str().as_bytes() == name)
    }
}

impl fmt::Display for KeyUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The state of a key (NIST SP 800-57 Part 1 §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KeyState {
    /// Published ahead of time: opens and is queried, never seals.
    PreActive,
    /// Seals, and writes index values.
    Active,
    /// Opens and is queried.
    DecryptOnly,
    /// Opens and is queried; everything under it is to be re-sealed at once.
    Compromised,
    /// Gone. The record stays, so that its id is never used again.
    Destroyed,
}

impl KeyState {
    const ALL: [Self; 5] = [
        Self::PreActive,
        Self::Active,
        Self::DecryptOnly,
        Self::Compromised,
        Self::Destroyed,
    ];

    /// The name in listings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreActive => "pre-active",
            Self::Active => "active",
            Self::DecryptOnly => "decrypt-only",
            Self::Compromised => "compromised",
            Self::Destroyed => "destroyed",
        }
    }

    /// Whether a key may go from this state to `next`. There is no way back: not even from decrypt-only to active, for
    /// every process was told not to seal with it, and some may have forgotten its limits.
    ///
    /// | from | to |
    /// |---|---|
    /// | pre-active | active, compromised, destroyed |
    /// | active | decrypt-only, compromised |
    /// | decrypt-only | compromised, destroyed |
    /// | compromised | destroyed |
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (
                Self::PreActive,
                Self::Active | Self::Compromised | Self::Destroyed
            ) | (Self::Active, Self::DecryptOnly | Self::Compromised)
                | (Self::DecryptOnly, Self::Compromised | Self::Destroyed)
                | (Self::Compromised, Self::Destroyed)
        )
    }

    /// Whether keys of this state seal, and write index values (I-8: never before they are active).
    #[must_use]
    pub const fn seals(self) -> bool {
        matches!(self, Self::Active)
    }

    /// Whether keys of this state seal, or will: what is under any other is to be sealed again.
    #[must_use]
    pub const fn is_current(self) -> bool {
        matches!(self, Self::PreActive | Self::Active)
    }

    /// Whether keys of this state open, and are asked by index queries.
    #[must_use]
    pub const fn opens(self) -> bool {
        !matches!(self, Self::Destroyed)
    }

    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::PreActive => 0,
            Self::Active => 1,
            Self::DecryptOnly => 2,
            Self::Compromised => 3,
            Self::Destroyed => 4,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.byte() == byte)
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Names a key-encryption key at its provider: a key file id, a key ARN, `token-label/object-label`.
/// At most 512 bytes of printable ASCII.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KekReference(String);

impl KekReference {
    /// A reference; `None` when it is longer than 512 bytes, empty, or not printable ASCII.
    #[must_use]
    pub fn new(reference: impl Into<String>) -> Option<Self> {
        let reference = reference.into();
        let good =
            (1..=512).contains(&reference.len()) && reference.bytes().all(|b| (0x20..0x7f).contains(&b));
        good.then_some(Self(reference))
    }

    /// The reference as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KekReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key, encrypted under a key-encryption key of a provider.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wrap {
    /// The provider.
    pub provider: ProviderName,
    /// Its key-encryption key.
    pub kek: KekReference,
    /// What the provider made of the key.
    pub bytes: Vec<u8>,
}

impl Wrap {
    /// A wrap as it stands in a record.
    #[must_use]
    pub fn new(provider: ProviderName, kek: KekReference, bytes: Vec<u8>) -> Self {
        Self { provider, kek, bytes }
    }

    /// Sorted by provider, then by reference, as unsigned bytes.
    pub(crate) fn order(&self) -> (&[u8], &[u8]) {
        (self.provider.as_bytes(), self.kek.0.as_bytes())
    }
}

impl fmt::Debug for Wrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Wrap({} {}, {} bytes)",
            self.provider,
            self.kek,
            self.bytes.len()
        )
    }
}

/// One record of the ring.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyRecord {
    /// What the key is, bound to its wraps and check value.
    pub context: KeyContext,
    /// Its state.
    pub state: KeyState,
    /// When it was created, in seconds since the Unix epoch, UTC.
    pub created: u64,
    /// The last second in which it may seal; 0 for none.
    pub not_after: u64,
    /// `KCV`: recognises the key after unwrapping.
    pub check_value: [u8; 32],
    /// Its wraps, in the order of the format.
    pub wraps: Vec<Wrap>,
}

impl KeyRecord {
    /// `R_k = LP(KREC, state, u64(created), u64(not after), KCV, LP(LP(provider, kek ref, wrap)…))`
    pub(crate) fn encode(&self) -> Vec<u8> {
        let wraps: Vec<_> = self
            .wraps
            .iter()
            .map(|w| lp::encode(&[w.provider.as_bytes(), w.kek.as_str().as_bytes(), &w.bytes]))
            .collect();
        lp::encode(&[
            &self.context.encode(),
            &[self.state.byte()],
            &self.created.to_be_bytes(),
            &self.not_after.to_be_bytes(),
            &self.check_value,
            &lp::encode(&wraps.iter().map(Vec::as_slice).collect::<Vec<_>>()),
        ])
    }

    /// Moves the key to another state at `now` (Unix seconds). A data key that becomes active seals for as long as
    /// `policy` says from now on; a key that stops sealing has sealed for the last time now; a key that is destroyed loses
    /// its wraps.
    ///
    /// # Errors
    /// [`RingError::Transition`] for a step that [`KeyState::may_become`] does not allow.
    #[doc(hidden)]
    pub fn set_state(&mut self, next: KeyState, now: u64, policy: DataKeyPolicy) -> Result<(), RingError> {
        if !self.state.may_become(next) {
            return Err(RingError::Transition(self.context.key_id, self.state, next));
        }
        match next {
            KeyState::Active if self.context.key_use == KeyUse::Data => {
                self.not_after = policy.not_after(now);
            }
            KeyState::DecryptOnly | KeyState::Compromised => self.stop_sealing(now),
            KeyState::Destroyed => self.wraps.clear(),
            _ => {}
        }
        self.state = next;
        Ok(())
    }

    /// Brings `not after` forward to `now`, unless it is past: from then on nobody who has this record seals (decision 0008).
    pub(crate) fn stop_sealing(&mut self, now: u64) {
        if self.not_after == 0 || self.not_after > now {
            self.not_after = now;
        }
    }

    /// The second in which a key that is decrypt-only or compromised sealed last, as the ring says. `None` where it does
    /// not: it seals, or is about to, or its ring is older than this note, or the time is still to come.
    #[must_use]
    pub fn stopped_sealing(&self, now: u64) -> Option<u64> {
        let is_old = matches!(self.state, KeyState::DecryptOnly | KeyState::Compromised);
        (is_old && self.not_after != 0 && self.not_after <= now).then_some(self.not_after)
    }

    /// The checks that are made once the manifest's MAC has been verified.
    pub(crate) fn from_raw(raw: &RawRecord<'_>) -> Result<Self, BadRecord> {
        let record = Self {
            context: raw.context()?,
            state: KeyState::from_byte(raw.state).ok_or("a key record has an unknown state")?,
            created: raw.created,
            not_after: raw.not_after,
            check_value: raw.check_value,
            wraps: raw.wraps()?,
        };
        record.check_wraps()?;
        Ok(record)
    }

    /// The wrap of a pepper that never leaves its device: the only one, with empty bytes (format §7).
    pub(crate) fn device_wrap(&self) -> Option<&Wrap> {
        match self.wraps.as_slice() {
            [wrap] if self.context.key_use == KeyUse::Index && wrap.bytes.is_empty() => Some(wrap),
            _ => None,
        }
    }

    pub(crate) fn check_wraps(&self) -> Result<(), &'static str> {
        if (self.state == KeyState::Destroyed) != self.wraps.is_empty() {
            return Err("a destroyed key has wraps, or another key has none");
        }
        let is_split = |wrap: &Wrap| wrap.provider == split::SPLIT;
        if self.wraps.iter().any(is_split) && !self.wraps.iter().all(is_split) {
            return Err("a key under dual control has another kind of wrap");
        }
        if self.wraps.is_sorted_by(|a, b| a.order() < b.order()) {
            Ok(())
        } else {
            Err("wraps are out of order")
        }
    }
}

/// Why an authenticated record, or manifest, is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadRecord {
    /// It is of another ring or application than configuration says.
    Elsewhere,
    Name(InvalidName),
    Malformed(&'static str),
}

impl From<InvalidName> for BadRecord {
    fn from(name: InvalidName) -> Self {
        Self::Name(name)
    }
}

impl From<&'static str> for BadRecord {
    fn from(what: &'static str) -> Self {
        Self::Malformed(what)
    }
}

impl From<BadRecord> for RingError {
    fn from(bad: BadRecord) -> Self {
        match bad {
            BadRecord::Elsewhere => Self::Authentication,
            BadRecord::Name(name) => ConfigError::Name(name).into(),
            BadRecord::Malformed(what) => Self::Malformed(what),
        }
    }
}

/// A record whose structure and lengths are right; nothing in it is trusted yet.
#[derive(Debug)]
pub(crate) struct RawRecord<'a> {
    pub(crate) ring: &'a [u8],
    pub(crate) key_id: KeyId,
    suite: u8,
    pub(crate) key_use: &'a [u8],
    scope: Option<&'a [u8]>,
    pub(crate) state: u8,
    created: u64,
    not_after: u64,
    pub(crate) check_value: [u8; 32],
    wraps: Vec<[&'a [u8]; 3]>,
}

impl<'a> RawRecord<'a> {
    /// What the record says the key is.
    pub(crate) fn context(&self) -> Result<KeyContext, BadRecord> {
        let key_use = KeyUse::from_bytes(self.key_use).ok_or("a key record has an unknown use")?;
        let suite = match (key_use, self.suite) {
            (KeyUse::Data, byte) => Some(Suite::from_byte(byte).ok_or("a data key has an unknown suite")?),
            (_, 0) => None,
            _ => return Err("only data keys have a suite".into()),
        };
        let scope = self
            .scope
            .map(|scope| Ok::<_, BadRecord>(ScopeName::new(text(scope)?)?));
        let ring = RingName::new(text(self.ring)?)?;
        Ok(KeyContext {
            ring,
            key_id: self.key_id,
            suite,
            key_use,
            scope: scope.transpose()?,
            share: None,
        })
    }

    /// The wraps, in whatever order they stand.
    pub(crate) fn wraps(&self) -> Result<Vec<Wrap>, BadRecord> {
        let wraps = self.wraps.iter().map(|[provider, kek, bytes]| {
            let provider = ProviderName::new(text(provider)?)?;
            let kek = KekReference::new(text(kek)?).ok_or("a KEK reference is not printable ASCII")?;
            Ok(Wrap::new(provider, kek, bytes.to_vec()))
        });
        wraps.collect()
    }

    /// Structure and lengths of `R_k`.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let [krec, state, created, not_after, check_value, wraps] = lp::decode::<6>(bytes)?;
        let [label, ring, key_id, suite, key_use, scope] = lp::decode::<6>(krec)?;
        let (&[state], &[suite]) = (state, suite) else {
            return None;
        };
        if label != b"phield.v1.keyrec" {
            return None;
        }
        Some(Self {
            ring,
            key_id: KeyId::from_bytes(key_id.try_into().ok()?)?,
            suite,
            key_use,
            scope: lp::decode_optional(scope)?,
            state,
            created: u64::from_be_bytes(created.try_into().ok()?),
            not_after: u64::from_be_bytes(not_after.try_into().ok()?),
            check_value: check_value.try_into().ok()?,
            wraps: lp::decode_list(wraps)?
                .into_iter()
                .map(lp::decode::<3>)
                .collect::<Option<_>>()?,
        })
    }
}

fn text(bytes: &[u8]) -> Result<String, &'static str> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a name is not text")
}
