//! The KDF (format §1): NIST SP 800-108r1 §4.1, counter mode, HMAC-SHA-256. Only `schedule` calls it.
//!
//! HMAC and SHA-256 come from RustCrypto, in the FIPS profile from the module; the loop around them is the same.

use zeroize::Zeroizing;

use crate::wipe::Wiped;

#[cfg(feature = "fips")]
use module as backend;
#[cfg(not(feature = "fips"))]
use rust_crypto as backend;

/// HMAC-SHA-256 (FIPS 198-1) under one 32-byte key, with the two pad blocks already absorbed.
///
/// Boxed, so that moving a key moves a pointer; the state is erased on drop by whichever library computes it.
pub(crate) struct Prf(Box<backend::Hmac>);

impl Prf {
    /// Every key is exactly 32 bytes: HMAC pads with zeros, so k and k‖00 would collide.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Box::new(backend::Hmac::new(key)))
    }

    /// `HMAC(k, parts…)`
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut out = [0; 32];
        self.0.mac_into(parts.iter().copied(), &mut out);
        out
    }

    /// `KDF(k, label, context…, out.len())` = for i = 1..: `HMAC(k, u32(i) ‖ label ‖ 0x00 ‖ context ‖ u32(bits))`
    pub(crate) fn derive_into(&self, label: &str, context: &[&[u8]], out: &mut [u8]) {
        let bits = bits(out.len());
        let mut block = Zeroizing::new([0; 32]);
        for (counter, chunk) in (1_u32..).zip(out.chunks_mut(32)) {
            let counter = counter.to_be_bytes();
            let start: [&[u8]; 3] = [&counter, label.as_bytes(), &[0]];
            let parts = start.into_iter().chain(context.iter().copied());
            self.0.mac_into(parts.chain([bits.as_slice()]), &mut block);
            for (byte, derived) in chunk.iter_mut().zip(block.iter()) {
                *byte = *derived;
            }
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
pub(crate) fn message(label: &str, context: &[u8]) -> Wiped {
    let mut message = Wiped(Vec::with_capacity(4 + label.len() + 1 + context.len() + 4));
    for part in [&1_u32.to_be_bytes(), label.as_bytes(), &[0], context, &bits(32)] {
        message.0.extend_from_slice(part);
    }
    message
}

fn bits(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes * 8)
        .expect("derived keys are a few dozen bytes")
        .to_be_bytes()
}

/// SHA-256 (FIPS 180-4)
pub(crate) fn sha256(message: &[u8]) -> [u8; 32] {
    backend::sha256(message)
}

/// HMAC and SHA-256 by the `hmac` and `sha2` crates.
#[cfg(not(feature = "fips"))]
mod rust_crypto {
    use hmac::KeyInit as _;
    use hmac::block_api::HmacCore;
    use hmac::digest::Output;
    use hmac::digest::block_api::{Buffer, FixedOutputCore as _, UpdateCore as _};
    use sha2::{Digest as _, Sha256};
    use zeroize::Zeroize as _;

    /// The two states without the buffer that `hmac::Hmac` puts before them. That one is finished by value, and what it is
    /// moved from keeps the last block of the message, which is where an index has its value; and a copy of it copies an
    /// empty buffer.
    pub(super) struct Hmac(HmacCore<Sha256>);

    impl Hmac {
        pub(super) fn new(key: &[u8; 32]) -> Self {
            Self(HmacCore::new_from_slice(key).expect("HMAC takes keys of any length"))
        }

        pub(super) fn mac_into<'a>(&self, parts: impl Iterator<Item = &'a [u8]>, out: &mut [u8; 32]) {
            let mut mac = self.0.clone();
            let mut buffer = Buffer::<HmacCore<Sha256>>::default();
            for part in parts {
                buffer.digest_blocks(part, |blocks| mac.update_blocks(blocks));
            }
            let mut tag = Output::<HmacCore<Sha256>>::default();
            mac.finalize_fixed_core(&mut buffer, &mut tag);
            out.copy_from_slice(&tag);
            tag.as_mut_slice().zeroize();
        }
    }

    pub(super) fn sha256(message: &[u8]) -> [u8; 32] {
        Sha256::digest(message).into()
    }
}

/// HMAC and SHA-256 by the FIPS module.
#[cfg(feature = "fips")]
mod module {
    use aws_lc_rs::{digest, hmac};

    use crate::wipe::Wiped;

    pub(super) struct Hmac(hmac::Key);

    impl Hmac {
        pub(super) fn new(key: &[u8; 32]) -> Self {
            Self(hmac::Key::new(hmac::HMAC_SHA256, key))
        }

        /// The parts are joined in a wiped buffer, for the call that takes a message in parts leaves its result on the
        /// stack, where nothing erases it.
        pub(super) fn mac_into<'a>(&self, parts: impl Iterator<Item = &'a [u8]> + Clone, out: &mut [u8; 32]) {
            let mut message = Wiped(Vec::with_capacity(parts.clone().map(<[u8]>::len).sum()));
            parts.for_each(|part| message.0.extend_from_slice(part));
            hmac::sign_to_buffer(&self.0, &message.0, out).expect("HMAC-SHA-256 gives 32 bytes");
        }
    }

    pub(super) fn sha256(message: &[u8]) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(digest::digest(&digest::SHA256, message).as_ref());
        out
    }
}

#[cfg(all(test, feature = "fips"))]
mod tests {
    use super::*;
    use aws_lc_rs::kdf::{KbkdfCtrHmacAlgorithmId, get_kbkdf_ctr_hmac_algorithm, kbkdf_ctr_hmac};
    use proptest::prelude::*;

    proptest! {
        /// The loop above gives the bytes of the module's own SP 800-108 KDF.
        #[test]
        fn the_kdf_of_the_module_agrees(key: [u8; 32], label in "[a-z.]{1,20}", context: Vec<u8>, len in 1_usize..200) {
            let mut out = vec![0; len];
            Prf::new(&key).derive_into(&label, &[&context], &mut out);
            let fixed = [label.as_bytes(), &[0], &context, &bits(len)].concat();
            let algorithm = get_kbkdf_ctr_hmac_algorithm(KbkdfCtrHmacAlgorithmId::Sha256).unwrap();
            let mut expected = vec![0; len];
            kbkdf_ctr_hmac(algorithm, &key, &fixed, &mut expected).unwrap();
            prop_assert_eq!(out, expected);
        }
    }
}
