//! The derived wrap (format §8.1), of local key files and HSMs: 93 bytes, one HMAC of the key-encryption key.
//!
//! ```text
//! K_wrap = KDF(KEK, "phield.v1.wrap", LP(KREC, r), 32)
//! W      = 0x01 ‖ r ‖ nonce(12) ‖ AES-256-GCM(K_wrap, nonce, AAD = 0x01 ‖ r ‖ KREC, key)
//! ```

use std::fmt;

use crate::cipher;
use crate::context::KeyContext;
use crate::key::{Kek, KeyMaterial, WrapKey};
use crate::lp;
use crate::provider::{ProviderError, ProviderErrorKind};
use crate::random::{self, RandomError};
use crate::schedule;
use crate::wipe::Wiped;

/// Version byte of the derived wrap.
const VERSION: u8 = 0x01;
/// Length of a derived wrap: version, r, nonce, key and tag.
pub(crate) const WRAP_LEN: usize = 93;

/// A derived wrap about to be made, for a [`KeyProvider`](crate::KeyProvider) whose key-encryption key never leaves a
/// device: the device computes HMAC-SHA-256 of [`message`](Self::message), and [`seal`](Self::seal) does the rest.
pub struct DerivedWrap {
    krec: Vec<u8>,
    r: [u8; 32],
    nonce: [u8; 12],
    message: Wiped,
}

impl DerivedWrap {
    /// A wrap bound to `context`, with a fresh `r`.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn new(context: &KeyContext) -> Result<Self, RandomError> {
        let (krec, r) = (context.encode(), random::array()?);
        Ok(Self {
            nonce: cipher::nonce(random::array)?,
            message: schedule::wrap_key_message(&lp::encode(&[&krec, &r])),
            krec,
            r,
        })
    }

    /// What the device computes HMAC-SHA-256 of, with the key-encryption key. No secret.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message.0
    }

    /// The wrap of `key`, 93 bytes, by what the device computed of [`message`](Self::message).
    #[must_use]
    pub fn seal(self, mac: &KeyMaterial, key: &KeyMaterial) -> Vec<u8> {
        let wrap_key = WrapKey::init_with(|k| k.copy_from_slice(mac.expose_bytes()));
        seal_under(&wrap_key, &self.krec, key, &self.r, self.nonce)
    }
}

impl fmt::Debug for DerivedWrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DerivedWrap").finish_non_exhaustive()
    }
}

/// A derived wrap about to be opened with a key-encryption key that never leaves its device; see [`DerivedWrap`].
pub struct DerivedUnwrap<'w> {
    krec: Vec<u8>,
    parts: Parts<'w>,
    message: Wiped,
}

impl<'w> DerivedUnwrap<'w> {
    /// The wrap of a key of this `context`.
    ///
    /// # Errors
    /// [`ProviderErrorKind::Malformed`] for what is no derived wrap.
    pub fn new(context: &KeyContext, wrapped: &'w [u8]) -> Result<Self, ProviderError> {
        let (krec, parts) = (context.encode(), Parts::parse(wrapped)?);
        Ok(Self {
            message: schedule::wrap_key_message(&lp::encode(&[&krec, parts.r])),
            krec,
            parts,
        })
    }

    /// What the device computes HMAC-SHA-256 of, with the key-encryption key. No secret.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message.0
    }

    /// The key, by what the device computed of [`message`](Self::message).
    ///
    /// # Errors
    /// [`ProviderErrorKind::Authentication`] for another key-encryption key or context, or a wrap that was changed.
    pub fn open(self, mac: &KeyMaterial) -> Result<KeyMaterial, ProviderError> {
        let wrap_key = WrapKey::init_with(|k| k.copy_from_slice(mac.expose_bytes()));
        self.parts.open(&wrap_key, &self.krec)
    }
}

impl fmt::Debug for DerivedUnwrap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DerivedUnwrap").finish_non_exhaustive()
    }
}

/// Wraps `key` under a fresh `r` and nonce; `context` is `KREC`, or `SREC` for the secret of a subject.
pub(crate) fn seal(kek: &Kek, context: &[u8], key: &KeyMaterial) -> Result<Vec<u8>, RandomError> {
    let nonce = cipher::nonce(random::array)?;
    Ok(seal_with(kek, context, key, &random::array()?, nonce))
}

fn seal_with(kek: &Kek, krec: &[u8], key: &KeyMaterial, r: &[u8; 32], nonce: [u8; 12]) -> Vec<u8> {
    let wrap_key = schedule::wrap_key(kek, &lp::encode(&[krec, r]));
    seal_under(&wrap_key, krec, key, r, nonce)
}

fn seal_under(
    wrap_key: &WrapKey,
    krec: &[u8],
    key: &KeyMaterial,
    r: &[u8; 32],
    mut nonce: [u8; 12],
) -> Vec<u8> {
    let mut sealed = Wiped(Vec::with_capacity(48));
    sealed.0.extend_from_slice(key.expose_bytes());
    cipher::seal_vec(wrap_key.expose_bytes(), &mut nonce, &aad(krec, r), &mut sealed.0)
        .expect("AES-256-GCM seals 32 bytes");
    [&[VERSION], r.as_slice(), &nonce, &sealed.0].concat()
}

/// Unwraps a key. Every failure past the form of the wrap is one error.
pub(crate) fn open(kek: &Kek, context: &[u8], wrapped: &[u8]) -> Result<KeyMaterial, ProviderError> {
    let parts = Parts::parse(wrapped)?;
    let wrap_key = schedule::wrap_key(kek, &lp::encode(&[context, parts.r]));
    parts.open(&wrap_key, context)
}

/// The parts of a derived wrap.
struct Parts<'w> {
    r: &'w [u8; 32],
    nonce: &'w [u8; 12],
    sealed: &'w [u8],
}

impl<'w> Parts<'w> {
    fn parse(wrapped: &'w [u8]) -> Result<Self, ProviderError> {
        let parts = || {
            let (&[VERSION], rest) = wrapped.split_first_chunk::<1>()? else {
                return None;
            };
            let (r, rest) = rest.split_first_chunk::<32>()?;
            let (nonce, sealed) = rest.split_first_chunk::<12>()?;
            (wrapped.len() == WRAP_LEN).then_some(Self { r, nonce, sealed })
        };
        parts().ok_or_else(|| ProviderError::new(ProviderErrorKind::Malformed, "unwrap"))
    }

    fn open(&self, wrap_key: &WrapKey, context: &[u8]) -> Result<KeyMaterial, ProviderError> {
        let refused = || ProviderError::new(ProviderErrorKind::Authentication, "unwrap");
        let mut sealed = Wiped(self.sealed.to_vec());
        let aad = aad(context, self.r);
        let key = cipher::open_slice(wrap_key.expose_bytes(), self.nonce, &aad, &mut sealed.0)
            .map_err(|_| refused())?;
        let key: &[u8; 32] = (&*key).try_into().map_err(|_| refused())?;
        Ok(KeyMaterial::init_with(|k| k.copy_from_slice(key)))
    }
}

fn aad(krec: &[u8], r: &[u8; 32]) -> Vec<u8> {
    [&[VERSION], r.as_slice(), krec].concat()
}

#[cfg(test)]
pub(crate) mod fixed {
    //! The derived wrap with a given `r` and nonce, for vectors.

    use super::*;

    pub(crate) fn seal(kek: &Kek, krec: &[u8], key: &KeyMaterial, r: &[u8; 32], nonce: &[u8; 12]) -> Vec<u8> {
        seal_with(kek, krec, key, r, *nonce)
    }
}
