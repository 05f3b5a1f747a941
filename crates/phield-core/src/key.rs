//! Keys: one type per role. Only `schedule` turns one into another.

use std::fmt;
use std::num::NonZeroU32;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::kdf::Prf;
use crate::random::{self, RandomError};

/// The id of a key record: random, never 0, unique in its ring and never reused. Public: every token shows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(NonZeroU32);

impl KeyId {
    /// The id with this number; `None` for 0.
    #[must_use]
    pub const fn new(id: u32) -> Option<Self> {
        match NonZeroU32::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The id as a number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    pub(crate) fn to_bytes(self) -> [u8; 4] {
        self.get().to_be_bytes()
    }

    pub(crate) fn from_bytes(bytes: [u8; 4]) -> Option<Self> {
        Self::new(u32::from_be_bytes(bytes))
    }

    /// A random id.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub(crate) fn random() -> Result<Self, RandomError> {
        loop {
            if let Some(id) = Self::from_bytes(random::array()?) {
                return Ok(id);
            }
        }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.get())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// The 32 bytes of a key on their way between a provider and a ring. Built in place, boxed, erased on drop.
///
/// # Security
/// This is what everything hangs on. It exists between unwrapping and the key schedule, nowhere else.
#[derive(ZeroizeOnDrop)]
pub struct KeyMaterial(Box<[u8; 32]>);

impl KeyMaterial {
    /// Key material written by `fill` straight into its final place.
    #[must_use]
    pub fn init_with(fill: impl FnOnce(&mut [u8; 32])) -> Self {
        let mut key = Self(Box::new([0; 32]));
        fill(&mut key.0);
        key
    }

    /// As [`init_with`](Self::init_with), with a `fill` that can fail.
    ///
    /// # Errors
    /// The error of `fill`.
    pub fn try_init_with<E>(fill: impl FnOnce(&mut [u8; 32]) -> Result<(), E>) -> Result<Self, E> {
        let mut key = Self(Box::new([0; 32]));
        fill(&mut key.0)?;
        Ok(key)
    }

    /// A fresh random key.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn random() -> Result<Self, RandomError> {
        Self::try_init_with(|bytes| random::fill(bytes))
    }

    /// The bytes, for a [`KeyProvider`](crate::KeyProvider) that wraps them.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyMaterial").finish_non_exhaustive()
    }
}

/// Roles whose key only ever goes into HMAC.
macro_rules! prf_role {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub(crate) struct $name(Prf);

        impl $name {
            pub(crate) fn new(key: &[u8; 32]) -> Self {
                Self(Prf::new(key))
            }

            /// A derived key: its bytes exist in a wiped buffer until the pads are absorbed (by a crate that may leave
            /// them on the stack while it does).
            #[allow(dead_code, reason = "some roles are never derived")]
            pub(crate) fn init_with(fill: impl FnOnce(&mut [u8; 32])) -> Self {
                Self::new(KeyMaterial::init_with(fill).expose_bytes())
            }

            pub(crate) fn prf(&self) -> &Prf {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }

        impl ZeroizeOnDrop for $name {}
    };
}

prf_role! {
    /// A data key: row keys and commitments are derived from it.
    DataKey
}
prf_role! {
    /// The pepper of blind indexes: index keys are derived from it.
    Pepper
}
prf_role! {
    /// The key of one blind index of one tenant.
    IndexKey
}
prf_role! {
    /// The pepper of UIDs: UID keys are derived from it.
    UidPepper
}
prf_role! {
    /// The key of the UIDs of one domain, session and tenant.
    UidKey
}
prf_role! {
    /// The ring key: authenticates the manifest.
    RingKey
}
prf_role! {
    /// A key-encryption key: of a local key file, or the key of a subject record.
    Kek
}
prf_role! {
    /// `M` of a local key file: what the passphrase is stretched to.
    FileKey
}
prf_role! {
    /// A key of any use whose check value is being computed.
    CheckedKey
}

/// Roles whose key goes into an AEAD, or is itself encrypted.
macro_rules! bytes_role {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Zeroize, ZeroizeOnDrop)]
        pub(crate) struct $name(Box<[u8; 32]>);

        impl $name {
            pub(crate) fn init_with(fill: impl FnOnce(&mut [u8; 32])) -> Self {
                let mut key = Self(Box::new([0; 32]));
                fill(&mut key.0);
                key
            }

            pub(crate) fn expose_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

bytes_role! {
    /// The key of one row: encrypts its fields.
    RowKey
}
bytes_role! {
    /// `S`, the random secret of one subject: part of the context that the subject's data keys are derived from.
    SubjectSecret
}
bytes_role! {
    /// The key of one derived wrap.
    WrapKey
}
bytes_role! {
    /// The key that encrypts the contents of a local key file.
    FileContentKey
}

#[cfg(test)]
mod tests {
    use super::*;
    use static_assertions::{assert_impl_all, assert_not_impl_any};

    assert_impl_all!(KeyMaterial: ZeroizeOnDrop, Send, Sync);
    assert_impl_all!(RowKey: ZeroizeOnDrop);
    assert_impl_all!(WrapKey: ZeroizeOnDrop);
    assert_impl_all!(FileContentKey: ZeroizeOnDrop);
    assert_not_impl_any!(KeyMaterial: Clone, PartialEq, fmt::Display, std::ops::Deref<Target = [u8; 32]>, serde::Serialize);
    assert_not_impl_any!(RowKey: Clone, PartialEq, fmt::Display, serde::Serialize);
    assert_not_impl_any!(DataKey: Clone, PartialEq, fmt::Display, serde::Serialize);
    assert_not_impl_any!(Pepper: Clone, PartialEq, fmt::Display, serde::Serialize);
    assert_not_impl_any!(IndexKey: Clone, PartialEq, fmt::Display, serde::Serialize);
    assert_not_impl_any!(RingKey: Clone, PartialEq, fmt::Display, serde::Serialize);
    assert_not_impl_any!(Kek: Clone, PartialEq, fmt::Display, serde::Serialize);
    // The states inside `Prf` are erased by their own crates: `zeroize` on hmac and sha2 must stay switched on.
    assert_impl_all!(aes_gcm::Aes256Gcm: ZeroizeOnDrop);
    assert_impl_all!(chacha20poly1305::XChaCha20Poly1305: ZeroizeOnDrop);
    assert_impl_all!(sha2::block_api::Sha256VarCore: ZeroizeOnDrop);

    #[test]
    fn debug_shows_no_key() {
        let bytes = [0x5a; 32];
        assert_eq!(
            format!("{:?}", KeyMaterial::init_with(|b| *b = bytes)),
            "KeyMaterial { .. }"
        );
        assert_eq!(
            format!("{:?}", RowKey::init_with(|b| *b = bytes)),
            "RowKey { .. }"
        );
        assert_eq!(format!("{:?}", DataKey::new(&bytes)), "DataKey { .. }");
        assert_eq!(format!("{:?}", Pepper::new(&bytes)), "Pepper { .. }");
        assert_eq!(format!("{:?}", IndexKey::new(&bytes)), "IndexKey { .. }");
        assert_eq!(format!("{:?}", RingKey::new(&bytes)), "RingKey { .. }");
        assert_eq!(format!("{:?}", Kek::new(&bytes)), "Kek { .. }");
        assert_eq!(format!("{:?}", KeyId::new(0xabc).unwrap()), "KeyId(00000abc)");
    }
}
