//! The KDF (format §1): NIST SP 800-108r1 §4.1, counter mode, HMAC-SHA-256. Only `schedule` calls it.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroize as _;

/// HMAC-SHA-256 (FIPS 198-1) under one 32-byte key, with the two pad blocks already absorbed.
///
/// Boxed, so that moving a key moves a pointer; the state is erased on drop by the `zeroize` feature of its crate.
pub(crate) struct Prf(Box<Hmac<Sha256>>);

impl Prf {
    /// Every key is exactly 32 bytes: HMAC pads with zeros, so k and k‖00 would collide.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Box::new(
            Hmac::new_from_slice(key).expect("HMAC takes keys of any length"),
        ))
    }

    /// `HMAC(k, parts…)`
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = Hmac::clone(&self.0);
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// `KDF(k, label, context…, out.len())` = for i = 1..: `HMAC(k, u32(i) ‖ label ‖ 0x00 ‖ context ‖ u32(bits))`
    pub(crate) fn derive_into(&self, label: &str, context: &[&[u8]], out: &mut [u8]) {
        let bits = bits(out.len());
        for (counter, chunk) in (1_u32..).zip(out.chunks_mut(32)) {
            let mut mac = Hmac::clone(&self.0);
            mac.update(&counter.to_be_bytes());
            mac.update(label.as_bytes());
            mac.update(&[0]);
            for part in context {
                mac.update(part);
            }
            mac.update(&bits);
            let mut block = mac.finalize().into_bytes();
            for (byte, derived) in chunk.iter_mut().zip(block.iter()) {
                *byte = *derived;
            }
            block.as_mut_slice().zeroize();
        }
    }

    /// As [`derive_into`](Self::derive_into), for output that is no key.
    pub(crate) fn derive<const N: usize>(&self, label: &str, context: &[&[u8]]) -> [u8; N] {
        let mut out = [0; N];
        self.derive_into(label, context, &mut out);
        out
    }
}

/// The message whose one HMAC is `KDF(k, label, context, 32)`: for a key that never leaves its device.
pub(crate) fn message(label: &str, context: &[u8]) -> Vec<u8> {
    [&1_u32.to_be_bytes(), label.as_bytes(), &[0], context, &bits(32)].concat()
}

fn bits(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes * 8)
        .expect("derived keys are a few dozen bytes")
        .to_be_bytes()
}

/// SHA-256 (FIPS 180-4)
pub(crate) fn sha256(message: &[u8]) -> [u8; 32] {
    Sha256::digest(message).into()
}
