//! Normalizers (`NORMALIZERS.md`).

use unicode_normalization::UnicodeNormalization as _;

use crate::normalize::Normalizer;

const ALL: [Normalizer; 5] = [
    Normalizer::Exact,
    Normalizer::Digits,
    Normalizer::Ssn,
    Normalizer::Name,
    Normalizer::Date,
];

/// Longest part of an input that is used: what a normalizer does depends on neighbours, not on length, and every input
/// is normalised some forty times.
const MAX_LEN: usize = 256;

/// Every normalizer on any bytes, on any text, and on any run of characters.
pub fn normalizers(data: &[u8]) {
    let data = &data[..data.len().min(MAX_LEN)];
    match std::str::from_utf8(data) {
        Ok(text) => texts(text),
        Err(_) => {
            for normalizer in ALL {
                total(normalizer, data);
            }
            texts(&String::from_utf8_lossy(data));
        }
    }
    // Three bytes a character: runs of far-off characters that mutations of UTF-8 hardly meet.
    let characters = data.chunks_exact(3).map(|chunk| {
        let number = u32::from_be_bytes([0, chunk[0], chunk[1], chunk[2]]);
        char::from_u32(number % 0x11_0000).unwrap_or(char::REPLACEMENT_CHARACTER)
    });
    texts(&characters.collect::<String>());
}

/// Total, deterministic and idempotent.
fn total(normalizer: Normalizer, value: &[u8]) -> Vec<u8> {
    let once = normalizer.normalize(value).as_bytes().to_vec();
    assert_eq!(
        normalizer.normalize(value).as_bytes(),
        once,
        "{normalizer:?} of {value:02x?}"
    );
    assert_eq!(
        normalizer.normalize(&once).as_bytes(),
        once,
        "{normalizer:?} of {value:02x?} is not idempotent"
    );
    if normalizer != Normalizer::Exact {
        assert!(
            std::str::from_utf8(&once).is_ok(),
            "{normalizer:?} of {value:02x?}"
        );
    }
    once
}

/// What each normalizer promises about a text.
fn texts(text: &str) {
    let normal = |normalizer| String::from_utf8(total(normalizer, text.as_bytes())).unwrap();
    assert_eq!(normal(Normalizer::Exact), text);

    let digits = normal(Normalizer::Digits);
    assert!(digits.bytes().all(|byte| byte.is_ascii_digit()), "{text:?}");

    let ssn = normal(Normalizer::Ssn);
    let compatible = text.nfkc().collect::<String>();
    let nine = ssn.len() == 9 && ssn.bytes().all(|byte| byte.is_ascii_digit());
    assert!(nine || ssn == compatible.trim(), "{text:?}");
    assert!(!nine || ssn == digits, "{text:?}");

    let name = normal(Normalizer::Name);
    let plain = |c: char| !c.is_ascii() || c.is_ascii_lowercase() || c.is_ascii_digit();
    assert!(name.chars().all(plain), "{text:?} is {name:?}");
    assert!(name.chars().eq(name.nfc()), "{text:?} is {name:?}");

    let date = normal(Normalizer::Date);
    assert!(
        date == text.trim() || date.replace('-', "") == text.trim(),
        "{text:?}"
    );

    // Texts that Unicode calls equivalent are found as one.
    for equivalent in [text.nfc().collect::<String>(), text.nfd().collect()] {
        for (normalizer, of_text) in [
            (Normalizer::Digits, &digits),
            (Normalizer::Ssn, &ssn),
            (Normalizer::Name, &name),
        ] {
            assert_eq!(
                normalizer.normalize(equivalent.as_bytes()).as_bytes(),
                of_text.as_bytes(),
                "{normalizer:?} of {text:?}"
            );
        }
    }
}
