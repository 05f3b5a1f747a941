//! Tokens and their text form (format §3).

use data_encoding::BASE64URL_NOPAD;

use crate::error::OpenError;
use crate::sealed::{Sealed, SealedText, Storage};
use crate::token::{self, Parts, TokenInfo};

/// Bytes of a token beside its padded frame (format §3).
const OVERHEAD: usize = 1 + 4 + 12 + 16 + 12 + 16;

/// Any bytes as a token: what parses has the documented lengths and parts, and nothing else parses.
pub fn token(data: &[u8]) {
    let parsed = Parts::parse(data);
    // Format §3 read off the bytes: 2 to 18 MiB of ciphertext, a known suite, a key id.
    let lengths = OVERHEAD + 2..=OVERHEAD + (18 << 20);
    let is_token =
        lengths.contains(&data.len()) && matches!(data[0], 0x11 | 0x12) && data[1..5] != [0, 0, 0, 0];
    assert_eq!(parsed.is_ok(), is_token);
    assert_eq!(Sealed::<String>::from_bytes(data.to_vec()).is_ok(), is_token);
    let Ok(parts) = parsed else {
        assert!(matches!(parsed, Err(OpenError::Malformed)));
        return;
    };
    assert_eq!(parts.suite.byte(), data[0]);
    assert_eq!(parts.key_id.to_bytes(), data[1..5]);
    assert_eq!(parts.head.as_bytes(), &data[..17]);
    assert_eq!(parts.head.salt().0, data[5..17]);
    assert_eq!(parts.commitment.0, data[17..33]);
    assert_eq!(parts.nonce.0, data[33..45]);
    assert_eq!(parts.body_len + OVERHEAD, data.len());
    assert_info(&parts, data);

    // The writer lays the parts out where the reader finds them.
    let mut written = token::start(&parts.head, &parts.commitment, &parts.nonce, parts.body_len);
    assert!(written.capacity() >= data.len());
    written.extend_from_slice(&data[45..]);
    assert_eq!(written, data);
    assert_eq!(token::body_mut(&mut written), &data[45..]);
}

/// [`TokenInfo`] and the column types say what the parser says.
fn assert_info(parts: &Parts, token: &[u8]) {
    let sealed = Sealed::<String>::from_bytes(token.to_vec()).unwrap();
    assert_eq!(sealed.as_bytes(), token);
    let info = sealed.info().unwrap();
    assert_eq!(
        (info.suite, info.key_id, info.row_salt, info.padded_len),
        (parts.suite, parts.key_id, parts.head.salt().0, parts.body_len)
    );
    let text = SealedText::<String>::from_token(token.to_vec());
    assert_eq!(TokenInfo::parse(text.as_str().as_bytes()), Ok(info));
    assert_eq!(Storage::into_token(text).as_deref(), Ok(token));
}

/// Any text as the text form, and the text form of any bytes: one token has one text form.
pub fn text_form(data: &[u8]) {
    let _ = TokenInfo::parse(data);
    if let Ok(text) = std::str::from_utf8(data) {
        assert_canonical(text);
        // Most inputs would fail at the prefix alone.
        assert_canonical(&format!("phi1.{text}"));
    }
    let text = token::to_text(data);
    assert_eq!(text, format!("phi1.{}", BASE64URL_NOPAD.encode(data)));
    assert!(
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    );
    match Parts::parse(data) {
        Ok(_) => assert_eq!(token::from_text(&text).as_deref(), Ok(data)),
        Err(error) => assert_eq!(token::from_text(&text), Err(error)),
    }
    assert_canonical(&text);
    for other in [
        format!("{text}="),
        format!("{text}\n"),
        format!(" {text}"),
        text.replacen("phi1.", "PHI1.", 1),
    ] {
        assert_eq!(token::from_text(&other), Err(OpenError::Malformed), "{other:?}");
    }
}

/// What decodes is encoded again as exactly the same text, and its bytes are a token.
fn assert_canonical(text: &str) {
    let sealed = SealedText::<String>::from_text(text.to_owned());
    let Ok(bytes) = token::from_text(text) else {
        assert!(sealed.is_err());
        return;
    };
    assert_eq!(token::to_text(&bytes), text);
    assert_eq!(sealed.unwrap().as_str(), text);
    token(&bytes);
    assert_eq!(TokenInfo::parse(text.as_bytes()), TokenInfo::parse(&bytes));
}
