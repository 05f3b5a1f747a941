//! De-identified UIDs (format §7): links between records that name nobody.
//!
//! ```text
//! UCTX  = LP("phield.v1.uctx", app, opt(tenant), domain kind, domain name, opt(session id))
//! K_uid = KDF(uid pepper, "phield.v1.uid", UCTX, 32)
//! UID   = HMAC(K_uid, 0x00 ‖ LP(id kind, id bytes))[0..16] as a UUIDv8 (RFC 9562 §5.8)
//! ```

use std::fmt;
use std::str::FromStr;

use uuid::{Uuid, Variant};

use crate::error::Unsealable;
use crate::key::{KeyId, UidKey};
use crate::key_slot::{Missing, Role};
use crate::keyring::Keyring;
use crate::lp;
use crate::name::{AppName, DomainName, TenantName, is_name};
use crate::normalize::Normalizer;
use crate::phi::Phi;
use crate::random::{self, RandomError};
use crate::record::{KeyState, KeyUse};
use crate::schedule;
use crate::value::{Encoded, Opened, Value, ValueType};
use crate::wipe::{Erase, Wiped};

/// The id kind of surrogates. No named kind is equal to it: those have a normalizer behind a colon.
const SURROGATE: &[u8] = b"surrogate";

/// 16 random bytes that are kept somewhere, and never printed.
macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name([u8; 16]);

        impl $name {
            /// A fresh one.
            ///
            /// # Errors
            /// When the operating system gives no randomness.
            pub fn random() -> Result<Self, RandomError> {
                random::array().map(Self)
            }

            /// The one with these bytes, as it was kept.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            #[must_use]
            pub const fn expose_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

random_id! {
    /// A random stand-in for a person, 16 bytes: what UIDs are made from.
    ///
    /// Draw one when a person is registered, and keep it sealed with the person's record (`surrogate: Phi<Surrogate>`).
    ///
    /// # Security
    /// A UID of a surrogate is not derived from information about the individual, as 45 CFR 164.514(c) asks of a code for
    /// re-identification. Whoever has the surrogate and the UID pepper can make the UIDs of that person in every domain.
    Surrogate
}
random_id! {
    /// A session: 16 random bytes. UIDs of one session are linked with each other and with nothing else, so it is kept for
    /// as long as the session lasts, and nowhere longer.
    SessionId
}

impl Erase for Surrogate {
    fn erase(&mut self) {
        self.0.erase();
    }
}

/// Sealed as its 16 bytes.
impl Value for Surrogate {
    const TYPE: ValueType = ValueType::Bytes;

    fn encode(&self) -> Result<Encoded<'_>, Unsealable> {
        Ok(Encoded::borrowed(Self::TYPE, &self.0))
    }

    fn decode(opened: Opened) -> Option<Self> {
        opened.as_bytes().try_into().ok().map(Self)
    }
}

/// Within what UIDs link: the same person has one UID inside a domain, and unlinkable ones in two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UidDomain {
    name: DomainName,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Group,
    Session(SessionId),
    Export,
}

impl UidDomain {
    /// A group of tables that are linked for good: `clinical`, `billing`.
    #[must_use]
    pub const fn group(name: DomainName) -> Self {
        Self {
            name,
            kind: Kind::Group,
        }
    }

    /// One session: its UIDs go into URLs and file names, and link nothing once the session is over.
    #[must_use]
    pub const fn session(name: DomainName, session: SessionId) -> Self {
        Self {
            name,
            kind: Kind::Session(session),
        }
    }

    /// One export, a study for example: a name of its own for each recipient keeps them from joining their data.
    #[must_use]
    pub const fn export(name: DomainName) -> Self {
        Self {
            name,
            kind: Kind::Export,
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &DomainName {
        &self.name
    }

    /// `UCTX`
    pub(crate) fn encode(&self, app: &AppName, tenant: Option<&TenantName>) -> Vec<u8> {
        let (kind, session): (&[u8], _) = match &self.kind {
            Kind::Group => (b"group", None),
            Kind::Session(session) => (b"session", Some(session.0.as_slice())),
            Kind::Export => (b"export", None),
        };
        let mut out = Vec::with_capacity(128);
        lp::Writer::new(&mut out, 6)
            .element(b"phield.v1.uctx")
            .element(app.as_bytes())
            .optional(tenant.map(TenantName::as_bytes))
            .element(kind)
            .element(self.name.as_bytes())
            .optional(session);
        out
    }
}

/// A kind of identifier that UIDs can be made from, with its normalizer: `mrn:exact.v1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdentifierKind {
    name: &'static str,
    normalizer: Normalizer,
}

impl IdentifierKind {
    /// The kind with this name: `mrn`, `ssn`.
    ///
    /// # Panics
    /// When the name with its normalizer is no name; in a `const` that is a compile error.
    #[must_use]
    pub const fn new(name: &'static str, normalizer: Normalizer) -> Self {
        assert!(
            is_name(name.as_bytes()) && name.len() + 1 + normalizer.id().len() <= 128,
            "a kind of identifier is 1 to about 118 bytes of A-Z a-z 0-9 _ . : -"
        );
        Self { name, normalizer }
    }

    /// The id, part of what UIDs are made from.
    #[must_use]
    pub fn id(self) -> String {
        format!("{}:{}", self.name, self.normalizer.id())
    }
}

/// Why no UID was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UidError {
    /// The ring has no UID pepper for this domain.
    #[error("the key ring has no UID pepper for this domain")]
    NoPepper,
    /// The UID pepper of this domain could not be unwrapped.
    #[error("UID pepper {0} could not be unwrapped: its provider is out of reach")]
    KeyUnavailable(KeyId),
    /// The provider of this domain's UID pepper refuses it.
    #[error("UID pepper {0} could not be unwrapped: its provider refuses it")]
    KeyRefused(KeyId),
    /// The UID pepper of this domain is destroyed or not active yet, or none is active and there are several. Another
    /// one would give other UIDs.
    #[error(
        "UID pepper {0} of this domain is destroyed or not active yet, or there are several and none is active"
    )]
    KeyState(KeyId),
    /// The identifier cannot be encoded.
    #[error(transparent)]
    Unsealable(#[from] Unsealable),
    /// The identifier is of a type that its normalizer does not take, or an encrypted null.
    #[error("the identifier is of a type that its normalizer does not take")]
    WrongType,
}

impl Keyring {
    /// The UID of a person in a domain: for foreign keys, URLs, file names and exports, where no PHI may go.
    ///
    /// The pepper is the one whose scope is the domain's name, or else the one without a scope. UID peppers do not
    /// rotate: another pepper gives other UIDs.
    ///
    /// # Errors
    /// See [`UidError`].
    pub fn uid(
        &self,
        domain: &UidDomain,
        tenant: Option<&TenantName>,
        surrogate: &Surrogate,
    ) -> Result<Uid, UidError> {
        let key = self.uid_key(domain, tenant)?;
        Ok(Uid::compute(&key, SURROGATE, &surrogate.0))
    }

    /// The UID of an identifier in a domain.
    ///
    /// # Security
    /// Such a UID is **pseudonymised PHI**, not a de-identified code: it is derived from information about the
    /// individual (45 CFR 164.514(c)), and whoever has the UID pepper can find the identifier by trying all of them.
    /// Prefer [`uid`](Self::uid) of a [`Surrogate`].
    ///
    /// # Errors
    /// See [`UidError`].
    pub fn pseudonymised_uid<T: Value>(
        &self,
        domain: &UidDomain,
        tenant: Option<&TenantName>,
        kind: IdentifierKind,
        identifier: &Phi<T>,
    ) -> Result<Uid, UidError> {
        let encoded = identifier.expose().encode()?;
        if encoded.value_type() == ValueType::Null || !kind.normalizer.accepts(encoded.value_type()) {
            return Err(UidError::WrongType);
        }
        let key = self.uid_key(domain, tenant)?;
        let normalized = kind.normalizer.normalize(encoded.as_bytes());
        Ok(Uid::compute(&key, kind.id().as_bytes(), normalized.as_bytes()))
    }

    /// `K_uid` of a domain, session and tenant.
    fn uid_key(&self, domain: &UidDomain, tenant: Option<&TenantName>) -> Result<UidKey, UidError> {
        let snapshot = self.snapshot();
        let of_scope = |named: bool| {
            snapshot.keys().filter(move |(_, key)| {
                let scope = key.scope.as_ref().map(|scope| scope.as_bytes());
                key.key_use == KeyUse::Uid && scope == named.then_some(domain.name.as_bytes())
            })
        };
        // A domain that has a record of its own never falls back to the common one, whatever the state: its UIDs would
        // change without anybody noticing.
        let named = of_scope(true).next().is_some();
        let mut live = of_scope(named)
            .filter(|(_, key)| !matches!(key.state, KeyState::PreActive | KeyState::Destroyed));
        // The active one; or else the only one there is, for what was written with it is still looked for.
        let active = of_scope(named).find(|(_, key)| key.state.seals());
        let only = || live.next().filter(|_| live.next().is_none());
        let Some((id, key)) = active.or_else(only) else {
            let refused = of_scope(named).next();
            return Err(refused.map_or(UidError::NoPepper, |(id, _)| UidError::KeyState(id)));
        };
        let role = key.role().map_err(|missing| match missing {
            Missing::Unavailable => UidError::KeyUnavailable(id),
            Missing::Refused => UidError::KeyRefused(id),
        })?;
        match &*role {
            Role::Uid(pepper) => Ok(schedule::uid_key(pepper, &domain.encode(self.app(), tenant))),
            _ => Err(UidError::KeyUnavailable(id)),
        }
    }
}

/// A de-identified UID, a UUID of version 8. Its text, 36 lower-case characters, is safe in URLs and file names.
///
/// It can be a row id, a subject and a plain column; in SQL it is a UUID (switch on the feature `uuid` of sqlx).
///
/// ```
/// use phield_core::{AppName, DomainName, Keyring, Surrogate, Uid, UidDomain};
///
/// let keyring = Keyring::ephemeral(AppName::from_static("emr"))?;
/// let ada = Surrogate::random()?; // kept sealed with the person's record
/// const CLINICAL: UidDomain = UidDomain::group(DomainName::from_static("clinical"));
///
/// let uid: Uid = keyring.uid(&CLINICAL, None, &ada)?;
/// assert_eq!(keyring.uid(&CLINICAL, None, &ada)?, uid);
/// let path = format!("/patients/{uid}");
/// # assert_eq!(path.len(), 46);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(Uuid);

impl Uid {
    /// `HMAC(K_uid, 0x00 ‖ LP(id kind, id bytes))[0..16]` with version and variant set
    fn compute(key: &UidKey, kind: &[u8], id: &[u8]) -> Self {
        let mut message = Wiped(Vec::with_capacity(12 + kind.len() + id.len()));
        lp::Writer::new(&mut message.0, 2).element(kind).element(id);
        let mac = key.prf().mac(&[&[0x00], &message.0]);
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(&mac) {
            *to = *from;
        }
        // Byte 6 = & 0x0f | 0x80, byte 8 = & 0x3f | 0x80 (RFC 9562 §5.8).
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// A UID as it was kept; `None` for a UUID that is no UUIDv8.
    #[must_use]
    pub fn from_uuid(uuid: Uuid) -> Option<Self> {
        let is_v8 = uuid.get_version_num() == 8 && uuid.get_variant() == Variant::RFC4122;
        is_v8.then_some(Self(uuid))
    }

    /// The UID as a UUID.
    #[must_use]
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0.as_hyphenated(), f)
    }
}

/// A text that is no UID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a UID is a UUID of version 8 in 36 lower-case characters")]
#[non_exhaustive]
pub struct InvalidUid;

impl FromStr for Uid {
    type Err = InvalidUid;

    /// Takes the one text form that a UID has.
    fn from_str(text: &str) -> Result<Self, InvalidUid> {
        let uid = Uuid::try_parse(text).ok().and_then(Self::from_uuid);
        uid.filter(|uid| uid.to_string() == text).ok_or(InvalidUid)
    }
}

impl TryFrom<Uuid> for Uid {
    type Error = InvalidUid;

    fn try_from(uuid: Uuid) -> Result<Self, InvalidUid> {
        Self::from_uuid(uuid).ok_or(InvalidUid)
    }
}

impl From<Uid> for Uuid {
    fn from(uid: Uid) -> Self {
        uid.0
    }
}

#[cfg(test)]
pub(crate) mod fixed {
    //! The steps of a UID, for vectors.

    use super::*;

    pub(crate) fn compute(key: &UidKey, kind: &[u8], id: &[u8]) -> Uid {
        Uid::compute(key, kind, id)
    }
}
