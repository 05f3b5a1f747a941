//! Structured values, as JSON (RFC 8259).

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Encoded, Opened, Value};
use crate::error::Unsealable;
use crate::value_type::ValueType;
use crate::wipe::{Erase, Wiped};

/// A structured value, sealed as one JSON document: an address, a list of allergies, a FHIR resource.
///
/// `T` is any serde value that can be erased and compared: derive [`Erase`] and `PartialEq` for your own types. What is
/// sealed is read back once before, so that a value whose JSON does not come back as what it was (a NaN becomes `null`,
/// a skipped field is lost) is refused and not lost.
///
/// ```
/// use phield_core::{Json, Phi};
///
/// let allergies = Phi::new(Json(vec!["penicillin".to_owned(), "latex".to_owned()]));
/// assert_eq!(allergies.expose().0[1], "latex");
/// ```
///
/// A blind index over a document compares its JSON byte for byte, and a `HashMap` has no order: index what you search by
/// as a column of its own.
///
/// # Security
/// A document shows its padded length, like every value: `pad = "padme(256)"` or the like hides more of it. Erasing is
/// best effort: the JSON reader keeps strings with escapes in a buffer of its own for a while, and drops what it has read
/// of a document that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::exhaustive_structs, reason = "a wrapper that users write")]
pub struct Json<T>(pub T);

impl<T: Erase> Erase for Json<T> {
    fn erase(&mut self) {
        self.0.erase();
    }
}

impl<T: Serialize + DeserializeOwned + PartialEq + Erase> Value for Json<T> {
    const TYPE: ValueType = ValueType::Json;

    fn encode(&self) -> Result<Encoded<'_>, Unsealable> {
        let mut document = Document(Wiped::default());
        serde_json::to_writer(&mut document, &self.0).map_err(|_| Unsealable::Json)?;
        let mut read_back: T = serde_json::from_slice(&document.0.0).map_err(|_| Unsealable::Json)?;
        let same = read_back == self.0;
        read_back.erase();
        if same {
            Ok(Encoded::owned(Self::TYPE, document.0))
        } else {
            Err(Unsealable::Json)
        }
    }

    fn decode(opened: Opened) -> Option<Self> {
        serde_json::from_slice(opened.as_bytes()).ok().map(Self)
    }
}

#[cfg(feature = "serde")]
impl<'de, T: serde::Deserialize<'de>> serde::Deserialize<'de> for Json<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self)
    }
}

/// As the value inside: what [`Disclosed`](crate::Disclosed) gives out.
#[cfg(feature = "serde")]
impl<T: Serialize> Serialize for Json<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// Collects a document; a buffer that has to grow is wiped, not just freed.
struct Document(Wiped);

impl io::Write for Document {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let used = self.0.0.len();
        if self.0.0.capacity() - used < bytes.len() {
            self.0.reserve(bytes.len().max(used).max(256));
        }
        self.0.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
