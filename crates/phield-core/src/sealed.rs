//! Sealed values as typed columns: a token that remembers what is inside.

use std::fmt;
use std::marker::PhantomData;

use crate::error::OpenError;
use crate::token::{self, TokenInfo};

/// A sealed value in a BLOB, BYTEA or VARBINARY column: a token in its binary form.
///
/// It has no equality and no order: two tokens of one value differ. Search goes through a
/// [`BlindIndex`](crate::BlindIndex).
pub struct Sealed<T> {
    token: Vec<u8>,
    _value: PhantomData<fn() -> T>,
}

/// A sealed value in a TEXT column: a token in its text form, `phi1.…`.
pub struct SealedText<T> {
    text: String,
    _value: PhantomData<fn() -> T>,
}

/// A column type that holds one token.
#[doc(hidden)]
pub trait Storage: Clone {
    /// The type of the value inside.
    type Value;
    #[doc(hidden)]
    fn from_token(token: Vec<u8>) -> Self;
    #[doc(hidden)]
    fn into_token(self) -> Result<Vec<u8>, OpenError>;
}

// By hand: a derive would ask for `T: Clone`.
impl<T> Clone for Sealed<T> {
    fn clone(&self) -> Self {
        Self::from_token(self.token.clone())
    }
}

impl<T> Clone for SealedText<T> {
    fn clone(&self) -> Self {
        Self {
            text: self.text.clone(),
            _value: PhantomData,
        }
    }
}

impl<T> Sealed<T> {
    /// A token as it came from a column, its form checked; whether it opens is not known yet.
    ///
    /// # Errors
    /// [`OpenError::Malformed`].
    pub fn from_bytes(token: Vec<u8>) -> Result<Self, OpenError> {
        token::check(&token).map(|_| Storage::from_token(token))
    }

    /// The token.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.token
    }

    /// What anybody can see in the token.
    ///
    /// # Errors
    /// Never for a value that was read or sealed by phield.
    pub fn info(&self) -> Result<TokenInfo, OpenError> {
        TokenInfo::parse(&self.token)
    }
}

impl<T> SealedText<T> {
    /// A token as it came from a column, its form checked; whether it opens is not known yet.
    ///
    /// # Errors
    /// [`OpenError::Malformed`].
    pub fn from_text(text: String) -> Result<Self, OpenError> {
        token::from_text(&text).map(|_| Self {
            text,
            _value: PhantomData,
        })
    }

    /// The token in text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl<T> Storage for Sealed<T> {
    type Value = T;

    fn from_token(token: Vec<u8>) -> Self {
        Self {
            token,
            _value: PhantomData,
        }
    }

    fn into_token(self) -> Result<Vec<u8>, OpenError> {
        Ok(self.token)
    }
}

impl<T> Storage for SealedText<T> {
    type Value = T;

    fn from_token(token: Vec<u8>) -> Self {
        Self {
            text: token::to_text(&token),
            _value: PhantomData,
        }
    }

    fn into_token(self) -> Result<Vec<u8>, OpenError> {
        token::from_text(&self.text)
    }
}

impl<T> fmt::Debug for Sealed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_token(f, "Sealed", &self.token)
    }
}

impl<T> fmt::Debug for SealedText<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_token(f, "SealedText", self.text.as_bytes())
    }
}

fn debug_token(f: &mut fmt::Formatter<'_>, name: &str, token: &[u8]) -> fmt::Result {
    match TokenInfo::parse(token) {
        Ok(info) => write!(
            f,
            "{name}(key {}, padded to {} bytes)",
            info.key_id, info.padded_len
        ),
        Err(_) => write!(f, "{name}(malformed)"),
    }
}
