//! The bytes of a token and its text form (format §3). No cryptography here; the only file that indexes into bytes.
//!
//! | offset | length | field |
//! |---|---|---|
//! | 0 | 1 | suite |
//! | 1 | 4 | key id |
//! | 5 | 12 | row salt |
//! | 17 | 16 | commitment |
//! | 33 | 12 | nonce |
//! | 45 | n ≥ 2 | ciphertext |
//! | 45+n | 16 | tag |
#![allow(
    clippy::indexing_slicing,
    reason = "every index below lies under a length that was checked first"
)]

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use subtle::ConstantTimeEq as _;

use crate::error::OpenError;
use crate::key::KeyId;

/// `suite ‖ key id ‖ row salt`
const HEAD_LEN: usize = 17;
/// Length of `HEAD ‖ COM`, the part that is associated data.
pub(crate) const AAD_START: usize = 33;
/// Where the nonce starts.
const NONCE_AT: usize = AAD_START;
/// Where the ciphertext starts.
pub(crate) const BODY_AT: usize = 45;
/// Length of the AEAD tag.
pub(crate) const TAG_LEN: usize = 16;
/// Shortest frame: a type byte and the padding byte.
const MIN_FRAME: usize = 2;
/// Longest ciphertext without its tag: 18 MiB.
pub(crate) const MAX_BODY: usize = 18 << 20;
/// Start of the text form.
pub(crate) const TEXT_PREFIX: &str = "phi1.";

/// The AEAD of a data key. A property of the key record, repeated in every token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Suite {
    /// AES-256-GCM (FIPS 197, SP 800-38D), byte `0x11`.
    Aes256Gcm,
    /// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), byte `0x12`.
    XChaCha20Poly1305,
}

impl Suite {
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::Aes256Gcm => 0x11,
            Self::XChaCha20Poly1305 => 0x12,
        }
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x11 => Some(Self::Aes256Gcm),
            0x12 => Some(Self::XChaCha20Poly1305),
            _ => None,
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aes256Gcm => "AES-256-GCM",
            Self::XChaCha20Poly1305 => "XChaCha20-Poly1305",
        })
    }
}

/// The salt of one row in one seal call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowSalt(pub(crate) [u8; 12]);

/// `COM`: commits to the data key, `HEAD` and `ROW`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Commitment(pub(crate) [u8; 16]);

impl Commitment {
    /// Whether the two are equal, in constant time: as one number, for which `subtle` has one barrier and not sixteen.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let number = |commitment: &Self| u128::from_ne_bytes(commitment.0);
        number(self).ct_eq(&number(other)).into()
    }
}

/// A nonce of one field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nonce(pub(crate) [u8; 12]);

/// `HEAD = suite ‖ key id ‖ row salt`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head([u8; HEAD_LEN]);

impl Head {
    pub(crate) fn new(suite: Suite, key_id: KeyId, salt: RowSalt) -> Self {
        let mut head = [0; HEAD_LEN];
        head[0] = suite.byte();
        head[1..5].copy_from_slice(&key_id.to_bytes());
        head[5..].copy_from_slice(&salt.0);
        Self(head)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn salt(&self) -> RowSalt {
        let mut salt = [0; 12];
        salt.copy_from_slice(&self.0[5..]);
        RowSalt(salt)
    }
}

/// The visible parts of a token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts {
    pub(crate) suite: Suite,
    pub(crate) key_id: KeyId,
    pub(crate) head: Head,
    pub(crate) commitment: Commitment,
    pub(crate) nonce: Nonce,
    /// Length of the ciphertext without its tag, which is the length of the padded frame.
    pub(crate) body_len: usize,
}

impl Parts {
    /// Parses and bounds-checks a token.
    #[inline]
    pub(crate) fn parse(token: &[u8]) -> Result<Self, OpenError> {
        let (suite, key_id) = check(token)?;
        let mut head = Head([0; HEAD_LEN]);
        head.0.copy_from_slice(&token[..HEAD_LEN]);
        let (mut commitment, mut nonce) = (Commitment([0; 16]), Nonce([0; 12]));
        commitment.0.copy_from_slice(&token[HEAD_LEN..NONCE_AT]);
        nonce.0.copy_from_slice(&token[NONCE_AT..BODY_AT]);
        Ok(Self {
            suite,
            key_id,
            head,
            commitment,
            nonce,
            body_len: token.len() - BODY_AT - TAG_LEN,
        })
    }
}

/// Bounds-checks a token: its length, its suite and its key id, which is all that can be wrong with its form.
#[inline]
pub(crate) fn check(token: &[u8]) -> Result<(Suite, KeyId), OpenError> {
    let lengths = BODY_AT + MIN_FRAME + TAG_LEN..=BODY_AT + MAX_BODY + TAG_LEN;
    if !lengths.contains(&token.len()) {
        return Err(OpenError::Malformed);
    }
    let suite = Suite::from_byte(token[0]).ok_or(OpenError::Malformed)?;
    let key_id = KeyId::from_bytes([token[1], token[2], token[3], token[4]]).ok_or(OpenError::Malformed)?;
    Ok((suite, key_id))
}

/// Starts a token in a buffer that will never grow: `HEAD ‖ COM ‖ nonce`, with room for a frame of `frame_len` bytes
/// and its tag.
pub(crate) fn start(head: &Head, commitment: &Commitment, nonce: &Nonce, frame_len: usize) -> Vec<u8> {
    let mut token = Vec::with_capacity(BODY_AT + frame_len + TAG_LEN);
    token.extend_from_slice(&head.0);
    token.extend_from_slice(&commitment.0);
    token.extend_from_slice(&nonce.0);
    token
}

/// The nonce of a token that is being sealed, and the part from the ciphertext on.
pub(crate) fn nonce_and_body_mut(token: &mut [u8]) -> (&mut [u8; 12], &mut [u8]) {
    token[NONCE_AT..]
        .split_first_chunk_mut()
        .expect("a token is started with its nonce")
}

/// The part of a token from the ciphertext on.
pub(crate) fn body_mut(token: &mut [u8]) -> &mut [u8] {
    &mut token[BODY_AT..]
}

/// The text form: `"phi1." ‖ base64url` without padding.
pub(crate) fn to_text(token: &[u8]) -> String {
    let mut text = String::with_capacity(TEXT_PREFIX.len() + BASE64URL_NOPAD.encode_len(token.len()));
    text.push_str(TEXT_PREFIX);
    BASE64URL_NOPAD.encode_append(token, &mut text);
    text
}

/// Decodes the text form. One token has one text form: padding, white space, other alphabets and non-zero trailing
/// bits are refused. The bounds of the token are checked too.
pub(crate) fn from_text(text: &str) -> Result<Vec<u8>, OpenError> {
    let encoded = text.strip_prefix(TEXT_PREFIX).ok_or(OpenError::Malformed)?;
    let token = BASE64URL_NOPAD
        .decode(encoded.as_bytes())
        .map_err(|_| OpenError::Malformed)?;
    check(&token).map(|_| token)
}

/// Everything that anybody can see in a token, and nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenInfo {
    /// The AEAD.
    pub suite: Suite,
    /// The data key; with it go its scope and its rotation period.
    pub key_id: KeyId,
    /// The row salt: equal in two tokens if they are of one row, sealed in one call.
    pub row_salt: [u8; 12],
    /// The length of the padded frame, in bytes: all that shows of the value.
    pub padded_len: usize,
}

impl TokenInfo {
    /// Reads a token in binary or text form.
    ///
    /// # Errors
    /// [`OpenError::Malformed`] when it is neither.
    pub fn parse(token: &[u8]) -> Result<Self, OpenError> {
        let decoded;
        let bytes = match std::str::from_utf8(token) {
            Ok(text) if text.starts_with(TEXT_PREFIX) => {
                decoded = from_text(text)?;
                decoded.as_slice()
            }
            _ => token,
        };
        let parts = Parts::parse(bytes)?;
        Ok(Self {
            suite: parts.suite,
            key_id: parts.key_id,
            row_salt: parts.head.salt().0,
            padded_len: parts.body_len,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(body: usize) -> Vec<u8> {
        let head = Head::new(Suite::Aes256Gcm, KeyId::new(7).unwrap(), RowSalt([1; 12]));
        let mut token = start(&head, &Commitment([2; 16]), &Nonce([3; 12]), body);
        token.resize(BODY_AT + body + TAG_LEN, 0);
        token
    }

    #[test]
    fn lengths_are_bounded() {
        assert_eq!(token(2).len(), 63);
        assert!(Parts::parse(&token(2)).is_ok());
        assert!(Parts::parse(&token(1)).is_err());
        assert!(Parts::parse(&token(MAX_BODY)).is_ok());
        assert!(Parts::parse(&token(MAX_BODY + 1)).is_err());
        assert_eq!(token(16).capacity(), 77);
    }

    #[test]
    fn text_form_is_canonical() {
        let text = to_text(&token(2));
        assert_eq!(from_text(&text).unwrap(), token(2));
        // 63 bytes leave no trailing bits; 64 leave four.
        let long = to_text(&token(3));
        assert!(long.ends_with('A'));
        let mutants = [
            text.replacen("phi1", "phi2", 1),
            text.replacen("phi1.", "", 1),
            format!("{text}="),
            format!("{text}\n"),
            format!(" {text}"),
            text.replacen("EQ", "E Q", 1),
            text.replace("AQEB", "A+EB"),
            text.replace("AQEB", "A/EB"),
            format!("{}B", &long[..long.len() - 1]),
            format!("{text}A"),
        ];
        for mutant in mutants {
            assert_eq!(from_text(&mutant), Err(OpenError::Malformed), "{mutant}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes: Vec<u8>, text: String) {
            let _ = TokenInfo::parse(&bytes);
            let _ = TokenInfo::parse(text.as_bytes());
            let _ = from_text(&format!("phi1.{text}"));
        }

        #[test]
        fn one_token_has_one_text_form(body in proptest::collection::vec(any::<u8>(), 18..80), flip in 0usize..64, to in 32u8..127) {
            let mut bytes = token(2);
            bytes.extend_from_slice(&body);
            let text = to_text(&bytes);
            prop_assert_eq!(&from_text(&text).unwrap(), &bytes);
            let mut other = text.clone().into_bytes();
            let at = flip % other.len();
            other[at] = to;
            let other = String::from_utf8(other).unwrap();
            if let Ok(decoded) = from_text(&other) {
                prop_assert_eq!(decoded == bytes, other == text);
            }
        }
    }
}
