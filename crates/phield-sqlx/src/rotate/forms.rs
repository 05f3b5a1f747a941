//! The forms in which tokens of a ring stand in columns that nobody registered: as they are, and as copies write them.

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use phield_core::{KeyId, KeyUse, Keyring, key_of_token_start};

use super::cell::Cell;

/// The shortest token, in bytes.
const SHORTEST: usize = 63;
/// As many digits and letters follow the start of a token at least, in hex and in base64.
const HEX_RUN: usize = 2 * SHORTEST;
const BASE64_RUN: usize = SHORTEST * 4 / 3 - 6;

/// What tokens of a ring start with.
#[doc(hidden)]
#[derive(Debug)]
pub struct Forms {
    /// Suite and key id.
    pub(crate) starts: Vec<[u8; 5]>,
    /// The same in hex, of both cases.
    hex: Vec<String>,
    /// The same in both alphabets of base64, wherever the token begins within what is encoded; of the text form, too.
    base64: Vec<String>,
    /// The text form alone.
    #[allow(
        dead_code,
        reason = "used by the databases whose columns hold either bytes or text"
    )]
    pub(crate) text_tokens: Vec<String>,
}

impl Forms {
    /// Of tokens under the keys of this ring that are not destroyed.
    pub(crate) fn of(keyring: &Keyring) -> Self {
        let keys = keyring.status().keys.into_iter();
        Self::of_keys(keys.filter(|key| key.key_use != KeyUse::Index).map(|key| key.id))
    }

    fn of_keys(keys: impl Iterator<Item = KeyId>) -> Self {
        let start = |suite: u8, key: KeyId| {
            let [a, b, c, d] = key.get().to_be_bytes();
            [suite, a, b, c, d]
        };
        let starts = keys.flat_map(|key| (0..=u8::MAX).map(move |suite| start(suite, key)));
        let starts: Vec<_> = starts
            .filter(|start| key_of_token_start(start).is_some())
            .collect();
        let hex = starts
            .iter()
            .flat_map(|start| [HEXLOWER.encode(start), HEXUPPER.encode(start)]);
        let base64 = starts.iter().flat_map(base64_forms);
        let text_tokens = starts.iter().map(|start| {
            let encoded = BASE64URL_NOPAD.encode(start);
            format!("phi1.{}", encoded.get(..6).unwrap_or_default())
        });
        Self {
            hex: without_doubles(hex.collect()),
            base64: without_doubles(base64.collect()),
            text_tokens: text_tokens.collect(),
            starts,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Every form in text: of letters, digits and `+/-_` alone.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.hex.iter().chain(&self.base64).map(String::as_str)
    }

    /// Whether a value is a token, or has one somewhere in it. What the database finds by the start of one alone may be a number.
    pub(crate) fn are_in(&self, cell: &Cell) -> bool {
        let bytes = match cell {
            Cell::Text(text) => text.as_bytes(),
            Cell::Bytes(bytes) | Cell::Raw(bytes) | Cell::Other(bytes) => bytes,
            _ => return false,
        };
        let is_token = bytes.len() >= SHORTEST && self.starts.iter().any(|start| bytes.starts_with(start));
        is_token || self.are_in_text(&String::from_utf8_lossy(bytes))
    }

    fn are_in_text(&self, text: &str) -> bool {
        let is_hex = |c: char| c.is_ascii_hexdigit();
        let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_');
        has_run(text, &self.hex, is_hex, HEX_RUN) || has_run(text, &self.base64, is_base64, BASE64_RUN)
    }
}

/// A start of a token in base64: six letters that hold nothing but bits of it.
fn base64_forms(start: &[u8; 5]) -> Vec<String> {
    let mut forms = Vec::new();
    // So many bytes are before it in its group of three, and so many letters have bits of those.
    for (before, letters) in [(0, 0), (1, 2), (2, 3)] {
        let bytes = [&[0; 2][..before.min(2)], start].concat();
        for encoded in [BASE64.encode(&bytes), BASE64URL_NOPAD.encode(&bytes)] {
            forms.extend(encoded.get(letters..letters + 6).map(str::to_owned));
        }
    }
    forms
}

fn without_doubles(mut texts: Vec<String>) -> Vec<String> {
    texts.sort_unstable();
    texts.dedup();
    texts
}

/// Whether one of the starts has so many characters of its alphabet from there on. Lines of base64 end, and JSON writes that as `\n`.
fn has_run(text: &str, starts: &[String], is_part: impl Fn(char) -> bool, len: usize) -> bool {
    starts.iter().any(|start| {
        text.match_indices(start.as_str()).any(|(at, _)| {
            let rest = text.get(at..).unwrap_or_default().chars();
            let rest = rest.filter(|c| !matches!(c, '\n' | '\r' | '\\'));
            rest.take_while(|c| is_part(*c)).take(len).count() >= len
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_in_every_form() {
        let forms = Forms::of_keys(KeyId::new(0x89ab_cdef).into_iter());
        let token: Vec<u8> = [0x11, 0x89, 0xab, 0xcd, 0xef].into_iter().chain(5..63).collect();
        assert!(forms.are_in(&Cell::Bytes(token.clone())));
        assert!(!forms.are_in(&Cell::Bytes(token.get(..62).unwrap().to_vec())));
        assert!(!forms.are_in(&Cell::Bytes([&[0], token.as_slice()].concat())));
        let mut texts = vec![HEXLOWER.encode(&token), HEXUPPER.encode(&token)];
        for before in 0..4 {
            let bytes = [&[0xff; 4][..before], &token].concat();
            texts.extend([BASE64.encode(&bytes), BASE64URL_NOPAD.encode(&bytes)]);
        }
        texts.push(format!("phi1.{}", BASE64URL_NOPAD.encode(&token)));
        for text in texts {
            assert!(forms.texts().any(|form| text.contains(form)), "{text}");
            assert!(
                forms.are_in(&Cell::Text(format!(r#"{{"ssn": "{text}"}}"#))),
                "{text}"
            );
            assert!(forms.are_in(&Cell::Bytes(text.clone().into_bytes())), "{text}");
            // Of another key, and a start alone.
            let short = text.get(..60).unwrap();
            assert!(!forms.are_in(&Cell::Text(format!("{short} {short}"))), "{short}");
        }
        let other = Forms::of_keys(KeyId::new(0x89ab_cdee).into_iter());
        assert!(!other.are_in(&Cell::Text(HEXLOWER.encode(&token))));
    }
}
