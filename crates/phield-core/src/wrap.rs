//! The derived wrap (format §8.1), of local key files and HSMs: 93 bytes, one HMAC of the key-encryption key.
//!
//! ```text
//! K_wrap = KDF(KEK, "phield.v1.wrap", LP(KREC, r), 32)
//! W      = 0x01 ‖ r ‖ nonce(12) ‖ AES-256-GCM(K_wrap, nonce, AAD = 0x01 ‖ r ‖ KREC, key)
//! ```

use crate::cipher;
use crate::key::{Kek, KeyMaterial};
use crate::lp;
use crate::provider::{ProviderError, ProviderErrorKind};
use crate::random::{self, RandomError};
use crate::schedule;
use crate::wipe::Wiped;

/// Version byte of the derived wrap.
const VERSION: u8 = 0x01;
/// Length of a derived wrap: version, r, nonce, key and tag.
pub(crate) const WRAP_LEN: usize = 93;

/// Wraps `key` under a fresh `r` and nonce; `context` is `KREC`, or `SREC` for the secret of a subject.
pub(crate) fn seal(kek: &Kek, context: &[u8], key: &KeyMaterial) -> Result<Vec<u8>, RandomError> {
    let nonce = cipher::nonce(random::array)?;
    Ok(seal_with(kek, context, key, &random::array()?, nonce))
}

fn seal_with(kek: &Kek, krec: &[u8], key: &KeyMaterial, r: &[u8; 32], mut nonce: [u8; 12]) -> Vec<u8> {
    let wrap_key = schedule::wrap_key(kek, &lp::encode(&[krec, r]));
    let mut sealed = Wiped(Vec::with_capacity(48));
    sealed.0.extend_from_slice(key.expose_bytes());
    cipher::seal_vec(wrap_key.expose_bytes(), &mut nonce, &aad(krec, r), &mut sealed.0)
        .expect("AES-256-GCM seals 32 bytes");
    [&[VERSION], r.as_slice(), &nonce, &sealed.0].concat()
}

/// Unwraps a key. Every failure past the form of the wrap is one error.
pub(crate) fn open(kek: &Kek, context: &[u8], wrapped: &[u8]) -> Result<KeyMaterial, ProviderError> {
    let malformed = || ProviderError::new(ProviderErrorKind::Malformed, "unwrap");
    let refused = || ProviderError::new(ProviderErrorKind::Authentication, "unwrap");
    if wrapped.len() != WRAP_LEN {
        return Err(malformed());
    }
    let (version, rest) = wrapped.split_first().ok_or_else(malformed)?;
    let (r, rest) = rest.split_first_chunk::<32>().ok_or_else(malformed)?;
    let (nonce, sealed) = rest.split_first_chunk::<12>().ok_or_else(malformed)?;
    if *version != VERSION {
        return Err(malformed());
    }
    let wrap_key = schedule::wrap_key(kek, &lp::encode(&[context, r]));
    let mut sealed = Wiped(sealed.to_vec());
    let key = cipher::open_slice(wrap_key.expose_bytes(), nonce, &aad(context, r), &mut sealed.0)
        .map_err(|_| refused())?;
    let key: &[u8; 32] = (&*key).try_into().map_err(|_| refused())?;
    Ok(KeyMaterial::init_with(|k| k.copy_from_slice(key)))
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
