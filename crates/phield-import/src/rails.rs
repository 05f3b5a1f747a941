//! Active Record encryption of Rails 7 and 8.
//!
//! ```text
//! key      = PBKDF2-HMAC-digest(primary_key or deterministic_key, key_derivation_salt, 65 536, 32)    digest: SHA-256, or SHA-1
//! message  = {"p": base64(C), "h": {"iv": base64(12 bytes), "at": base64(T), "c": true, "e": base64(encoding), "k": message, "i": …}}
//! C ‖ T    = AES-256-GCM(key, iv, no associated data, text; where "c" is true, zlib of the text)
//! ```
//!
//! A deterministic value differs in its key, and in that iv = HMAC-SHA-256(key, text)[0..12]: reading is the same. Where
//! there is a "k", it is a message that holds the key of this one.

mod credentials;
mod inflate;
mod message;

use std::fmt;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use phield_core::Phi;
use sha1::Sha1;
use sha2::Sha256;
use zeroize::Zeroizing;

pub use credentials::RailsCredentialsError;
use message::{Encoding, Header, Message};

/// Rounds of `ActiveSupport::KeyGenerator`, in every version that has Active Record encryption.
const ITERATIONS: u32 = 1 << 16;

/// Longest value unless configured otherwise: the most that a phield field can hold.
const LIMIT: usize = 16 << 20;

/// The digest that keys are derived with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RailsDigest {
    /// SHA-256: the default since Rails 7.1.
    Sha256,
    /// SHA-1: the default of Rails 7.0, and of applications that kept its defaults.
    Sha1,
}

/// Why a message was not decrypted. No variant shows anything of the column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RailsError {
    /// It is no message.
    #[error(
        "this is no message of Rails (JSON with \"p\", and \"iv\" and \"at\" in \"h\"): it may be plaintext that \
         `support_unencrypted_data` let stand, or of a serializer of your own"
    )]
    NotAMessage,
    /// No key opens it, or somebody changed it.
    #[error(
        "none of the keys opens this message: a primary or deterministic key, its digest (SHA-256 or SHA-1) or the \
         `key_derivation_salt` is missing or another one, or the message was changed"
    )]
    NoKeyOpens,
    /// Longer than the limit.
    #[error("the value is longer than the limit of this import")]
    TooLarge,
    /// It opens, and what is said to be compressed is not.
    #[error("the message opens, but what it holds is no zlib data")]
    Compression,
    /// It opens, and is no text that can be read: not UTF-8, or of an encoding that is not known here.
    #[error("the message opens, but what it holds is no text in UTF-8, US-ASCII or ISO-8859-1")]
    Encoding,
}

/// The keys of an application that used Active Record encryption. All of them are tried, the first first.
///
/// Give every primary key that still stands in `config.active_record.encryption.primary_key`, the deterministic key, and
/// the keys of single attributes (`encrypts :name, key: …`); each with SHA-256, with SHA-1, or with both where the
/// application moved from one to the other. Deriving one takes some hundredths of a second: keep this, and give it to all
/// rows.
pub struct RailsKeys {
    #[allow(
        clippy::vec_box,
        reason = "a vector that grows would leave key schedules behind"
    )]
    keys: Vec<Box<Aes256Gcm>>,
    limit: usize,
}

impl RailsKeys {
    /// No keys.
    #[must_use]
    pub fn new() -> Self {
        Self {
            keys: Vec::new(),
            limit: LIMIT,
        }
    }

    /// And the key that is derived from this secret: a `primary_key`, a `deterministic_key`, or the `key:` of an attribute.
    #[must_use]
    pub fn with_key(mut self, secret: &str, key_derivation_salt: &str, digest: RailsDigest) -> Self {
        let (secret, salt) = (secret.as_bytes(), key_derivation_salt.as_bytes());
        let mut key = Zeroizing::new([0; 32]);
        match digest {
            RailsDigest::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(secret, salt, ITERATIONS, &mut *key),
            RailsDigest::Sha1 => pbkdf2::pbkdf2_hmac::<Sha1>(secret, salt, ITERATIONS, &mut *key),
        }
        self.keys.push(Box::new(Aes256Gcm::new((&*key).into())));
        self
    }

    /// Values of at most this many bytes, before they were encrypted; 16 MiB unless said.
    #[must_use]
    pub fn with_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// The text in a message.
    ///
    /// Text that Rails took for bytes (`ASCII-8BIT`) is text here, if it is UTF-8.
    ///
    /// # Errors
    /// See [`RailsError`].
    pub fn decrypt(&self, message: &str) -> Result<Phi<String>, RailsError> {
        let (mut value, encoding) = self.open(message)?;
        match encoding {
            Encoding::Utf8 => {}
            Encoding::Latin1 => {
                let mut text = String::with_capacity(value.len().saturating_mul(2));
                text.extend(value.iter().map(|byte| char::from(*byte)));
                return Ok(Phi::new(text));
            }
            Encoding::Other => return Err(RailsError::Encoding),
        }
        let text = String::from_utf8(std::mem::take(&mut *value));
        text.map(Phi::new).map_err(|error| {
            drop(Zeroizing::new(error.into_bytes()));
            RailsError::Encoding
        })
    }

    /// The bytes in a message, of a binary attribute: as they were, whatever their encoding.
    ///
    /// # Errors
    /// See [`RailsError`].
    pub fn decrypt_bytes(&self, message: &str) -> Result<Phi<Vec<u8>>, RailsError> {
        match self.open(message) {
            Ok((mut value, _)) => Ok(Phi::new(std::mem::take(&mut *value))),
            Err(error) => Err(error),
        }
    }

    fn open(&self, message: &str) -> Result<(Zeroizing<Vec<u8>>, Encoding), RailsError> {
        let Message { body, header } = Message::parse(message, self.limit)?;
        let value = match &header.data_key {
            None => self.open_body(&body, &header)?,
            Some(wrap) => {
                let key = self.open_body(&wrap.body, &wrap.header)?;
                let key: &[u8; 32] = key.first_chunk().ok_or(RailsError::NotAMessage)?;
                open_with(&Aes256Gcm::new(key.into()), &body, &header).ok_or(RailsError::NoKeyOpens)?
            }
        };
        let value = if header.compressed {
            inflate::inflate(&value, self.limit)?
        } else {
            value
        };
        if value.len() > self.limit {
            return Err(RailsError::TooLarge);
        }
        Ok((value, header.encoding))
    }

    fn open_body(&self, body: &[u8], header: &Header) -> Result<Zeroizing<Vec<u8>>, RailsError> {
        let mut opened = self.keys.iter().filter_map(|key| open_with(key, body, header));
        opened.next().ok_or(RailsError::NoKeyOpens)
    }
}

/// Whatever the cipher leaves of a failure is wiped with its buffer.
fn open_with(key: &Aes256Gcm, body: &[u8], header: &Header) -> Option<Zeroizing<Vec<u8>>> {
    let mut buffer = Zeroizing::new(body.to_vec());
    let opened = key.decrypt_inout_detached(
        (&header.iv).into(),
        b"",
        buffer.as_mut_slice().into(),
        (&header.tag).into(),
    );
    opened.ok().map(|()| buffer)
}

impl Default for RailsKeys {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RailsKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RailsKeys")
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}
