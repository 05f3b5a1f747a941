//! Normalizers are frozen: golden examples, and a digest over what they make of every character.

use hmac::digest::Digest as _;
use proptest::prelude::*;
use sha2::Sha256;

use crate::normalize::Normalizer;

const ALL: [Normalizer; 5] = [
    Normalizer::Exact,
    Normalizer::Digits,
    Normalizer::Ssn,
    Normalizer::Name,
    Normalizer::Date,
];

fn normalized(normalizer: Normalizer, text: &str) -> String {
    String::from_utf8(normalizer.normalize(text.as_bytes()).as_bytes().to_vec()).unwrap()
}

/// Lines of `normalizer<TAB>input<TAB>output`, inputs and outputs written as JSON strings.
#[test]
fn golden_examples() {
    let mut seen = 0;
    for line in include_str!("../../vectors/normalizers.v1.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let columns: Vec<&str> = line.split('\t').collect();
        let [id, input, output] = columns.as_slice() else {
            panic!("three columns: {line}")
        };
        let normalizer = ALL.into_iter().find(|n| n.id() == *id).unwrap();
        let (input, output): (String, String) = (
            serde_json::from_str(input).unwrap(),
            serde_json::from_str(output).unwrap(),
        );
        assert_eq!(normalized(normalizer, &input), output, "{id} of {input:?}");
        seen += 1;
    }
    assert!(seen > 60, "{seen} examples");
}

/// Every character there is, alone and behind a letter: a library that changed one of them would fail here.
#[test]
fn golden_digest_over_all_characters() {
    let digests = ALL.map(|normalizer| {
        let mut digest = Sha256::new();
        for c in '\0'..=char::MAX {
            for text in [c.to_string(), format!("a{c}"), format!("A{c}\u{301}")] {
                let once = normalizer.normalize(text.as_bytes());
                let once = once.as_bytes();
                let twice = normalizer.normalize(once);
                assert_eq!(
                    twice.as_bytes(),
                    once,
                    "{normalizer:?} of {text:?} is not idempotent"
                );
                digest.update(u32::try_from(once.len()).unwrap().to_be_bytes());
                digest.update(once);
            }
        }
        format!(
            "{}\t{}\n",
            normalizer.id(),
            data_encoding::HEXLOWER.encode(&digest.finalize())
        )
    });
    let golden = include_str!("../../vectors/normalizers.v1.sha256");
    assert_eq!(digests.concat(), golden);
}

proptest! {
    #[test]
    fn normalizers_are_idempotent(text: String, dated in "[0-9 ./-]{0,12}", name in "[A-Za-zÀ-ɏ’'. -]{0,24}") {
        for text in [&text, &dated, &name] {
            for normalizer in ALL {
                let once = normalized(normalizer, text);
                prop_assert_eq!(&normalized(normalizer, &once), &once);
            }
        }
    }

    #[test]
    fn normalizers_never_panic(bytes: Vec<u8>) {
        for normalizer in ALL {
            let _ = normalizer.normalize(&bytes);
        }
    }
}
