//! Sealed values, index values and UIDs in serde (feature `serde`): text where a format is human-readable, bytes
//! elsewhere, and both read back with the checks that a column has.
//!
//! | type | text | bytes |
//! |---|---|---|
//! | [`Sealed`], [`SealedText`] | `phi1.…`, the text form of the token | the token |
//! | [`BlindIndex`] | 10 to 72 lower-case hex digits | 5 to 36 bytes |
//! | [`Uid`] | 36 lower-case characters | 16 bytes |
//!
//! What is read as text or as bytes is taken by either, whatever the format calls itself: formats that buffer what they
//! read forget that they are binary. [`Phi`](crate::Phi) and keys have no `Serialize`.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use data_encoding::HEXLOWER;
use serde::de::{Error as _, SeqAccess};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::blind_index::BlindIndex;
use crate::name::TenantName;
use crate::sealed::{Sealed, SealedText};
use crate::token;
use crate::uid::Uid;

/// Longest token, in bytes.
const MAX_TOKEN: usize = token::BODY_AT + token::MAX_BODY + token::TAG_LEN;

/// A type with a text form and a binary form, both checked when they are read.
trait Forms: Sized {
    /// What is said of anything else.
    const REFUSED: &'static str;
    /// Longest binary form, in bytes.
    const MAX_LEN: usize;

    fn from_text(text: Cow<'_, str>) -> Option<Self>;
    fn from_bytes(bytes: Cow<'_, [u8]>) -> Option<Self>;
}

impl<T> Forms for Sealed<T> {
    const REFUSED: &'static str = "not a phield v1 token";
    const MAX_LEN: usize = MAX_TOKEN;

    fn from_text(text: Cow<'_, str>) -> Option<Self> {
        token::from_text(&text).and_then(Self::from_bytes).ok()
    }

    fn from_bytes(bytes: Cow<'_, [u8]>) -> Option<Self> {
        Self::from_bytes(bytes.into_owned()).ok()
    }
}

impl<T> Forms for SealedText<T> {
    const REFUSED: &'static str = Sealed::<T>::REFUSED;
    const MAX_LEN: usize = MAX_TOKEN;

    fn from_text(text: Cow<'_, str>) -> Option<Self> {
        Self::from_text(text.into_owned()).ok()
    }

    fn from_bytes(bytes: Cow<'_, [u8]>) -> Option<Self> {
        Self::from_text(token::to_text(&bytes)).ok()
    }
}

impl Forms for BlindIndex {
    const REFUSED: &'static str = "not a blind index";
    const MAX_LEN: usize = 36;

    fn from_text(text: Cow<'_, str>) -> Option<Self> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
        Self::from_bytes(&bytes)
    }

    fn from_bytes(bytes: Cow<'_, [u8]>) -> Option<Self> {
        Self::from_bytes(&bytes)
    }
}

impl Forms for Uid {
    const REFUSED: &'static str = "a UID is a UUID of version 8 in 36 lower-case characters";
    const MAX_LEN: usize = 16;

    fn from_text(text: Cow<'_, str>) -> Option<Self> {
        text.parse().ok()
    }

    fn from_bytes(bytes: Cow<'_, [u8]>) -> Option<Self> {
        Uuid::from_slice(&bytes).ok().and_then(Self::from_uuid)
    }
}

impl<T> Serialize for Sealed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&token::to_text(self.as_bytes()))
        } else {
            serializer.serialize_bytes(self.as_bytes())
        }
    }
}

impl<T> Serialize for SealedText<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(self.as_str())
        } else {
            serializer.serialize_bytes(&token::from_text(self.as_str()).map_err(S::Error::custom)?)
        }
    }
}

impl Serialize for BlindIndex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&HEXLOWER.encode(self.as_bytes()))
        } else {
            serializer.serialize_bytes(self.as_bytes())
        }
    }
}

impl Serialize for Uid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(self.as_uuid().as_bytes())
        }
    }
}

macro_rules! deserialize {
    ($([$($generics:tt)*] $form:ty),*) => {$(
        impl<'de, $($generics)*> Deserialize<'de> for $form {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                read(deserializer)
            }
        }
    )*};
}
deserialize!([T] Sealed<T>, [T] SealedText<T>, [] BlindIndex, [] Uid);

/// Reads one form. The error of a format quotes what it read ("invalid type: integer …"), which may be PHI that stands
/// where a token should: so there is one error, which quotes nothing.
fn read<'de, T: Forms, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let visitor = Visitor(PhantomData);
    let read = if deserializer.is_human_readable() {
        deserializer.deserialize_string(visitor)
    } else {
        deserializer.deserialize_byte_buf(visitor)
    };
    read.map_err(|_| D::Error::custom(T::REFUSED))
}

struct Visitor<T>(PhantomData<T>);

impl<T: Forms> Visitor<T> {
    fn taken<E: de::Error>(form: Option<T>) -> Result<T, E> {
        form.ok_or_else(|| E::custom(T::REFUSED))
    }
}

impl<'de, T: Forms> de::Visitor<'de> for Visitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or bytes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        Self::taken(T::from_text(text.into()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<T, E> {
        Self::taken(T::from_text(text.into()))
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<T, E> {
        Self::taken(T::from_bytes(bytes.into()))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<T, E> {
        Self::taken(T::from_bytes(bytes.into()))
    }

    /// Bytes one by one, where a format has no other.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        // A length that is only claimed reserves nothing.
        let mut bytes = Vec::with_capacity(seq.size_hint().unwrap_or(0).min(4096));
        while let Some(byte) = seq.next_element()? {
            if bytes.len() == T::MAX_LEN {
                return Self::taken(None);
            }
            bytes.push(byte);
        }
        Self::taken(T::from_bytes(bytes.into()))
    }
}

/// As text, in every format; checked when it is read.
impl Serialize for TenantName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for TenantName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The error of a format quotes what it read.
        let name = String::deserialize(deserializer).map_err(|_| de::Error::custom("not a tenant name"))?;
        Self::new(name).map_err(de::Error::custom)
    }
}
