//! Tokens as they come from a column: any bytes and any text. Nothing panics, and one token has one text form.
#![no_main]

use data_encoding::BASE64URL_NOPAD;
use libfuzzer_sys::fuzz_target;
use phield_core::{Sealed, SealedText, TokenInfo};

/// Bytes of a token beside its padded frame (format §3).
const OVERHEAD: usize = 1 + 4 + 12 + 16 + 12 + 16;

fuzz_target!(|input: &[u8]| {
    bytes(input);
    if let Ok(text) = std::str::from_utf8(input) {
        self::text(text);
        self::text(&format!("phi1.{text}"));
    }
    self::text(&format!("phi1.{}", BASE64URL_NOPAD.encode(input)));
});

fn bytes(input: &[u8]) {
    let Ok(sealed) = Sealed::<String>::from_bytes(input.to_vec()) else {
        return;
    };
    let info = TokenInfo::parse(input).expect("what a column accepts can be inspected");
    assert_eq!(info.padded_len + OVERHEAD, input.len());
    assert_eq!(sealed.info(), Ok(info));
    let text = format!("phi1.{}", BASE64URL_NOPAD.encode(input));
    assert_eq!(TokenInfo::parse(text.as_bytes()), Ok(info));
}

fn text(input: &str) {
    let Ok(sealed) = SealedText::<String>::from_text(input.to_owned()) else {
        return;
    };
    assert_eq!(sealed.as_str(), input);
    let encoded = input.strip_prefix("phi1.").expect("the text form has its prefix");
    let token = BASE64URL_NOPAD
        .decode(encoded.as_bytes())
        .expect("the text form is canonical");
    assert_eq!(BASE64URL_NOPAD.encode(&token), encoded);
    assert_eq!(TokenInfo::parse(&token), TokenInfo::parse(input.as_bytes()));
    bytes(&token);
}
