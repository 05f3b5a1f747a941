//! `token-label/object-label` (format §8.1).

use std::fmt;

use phield_core::KekReference;

use crate::Pkcs11Error;

/// A key of a token, both by their labels: slot numbers and handles change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct KeyLabel {
    /// The label of the token; without a slash.
    pub token: String,
    /// The label of the key.
    pub object: String,
}

impl KeyLabel {
    /// The key that a reference names: the first slash parts token and object.
    ///
    /// # Errors
    /// [`Pkcs11Error::Reference`] when one of them is empty.
    pub fn parse(reference: &KekReference) -> Result<Self, Pkcs11Error> {
        match reference.as_str().split_once('/') {
            Some((token, object)) if !token.is_empty() && !object.is_empty() => Ok(Self {
                token: token.to_owned(),
                object: object.to_owned(),
            }),
            _ => Err(Pkcs11Error::Reference),
        }
    }
}

impl fmt::Display for KeyLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.token, self.object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_slash_parts_token_and_object() {
        let parse = |text| KeyLabel::parse(&KekReference::new(text).unwrap());
        let key = parse("phield/kek/2026").unwrap();
        assert_eq!((key.token.as_str(), key.object.as_str()), ("phield", "kek/2026"));
        assert_eq!(key.to_string(), "phield/kek/2026");
        for wrong in ["kek", "/kek", "phield/", "/"] {
            assert_eq!(parse(wrong), Err(Pkcs11Error::Reference), "{wrong}");
        }
    }
}
