//! What real Rails stored, read (`rails/generate.rb` made the fixtures), and everything else refused.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

use data_encoding::HEXLOWER;
use phield_import::{RailsCredentialsError, RailsDigest, RailsError, RailsKeys};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Fixtures {
    versions: Value,
    key_derivation_salt: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    digest: String,
    secret: String,
    value_hex: String,
    message: String,
    #[serde(default)]
    binary: bool,
}

impl Case {
    fn value(&self) -> Vec<u8> {
        HEXLOWER.decode(self.value_hex.as_bytes()).unwrap()
    }

    fn keys(&self, salt: &str) -> RailsKeys {
        RailsKeys::new().with_key(&self.secret, salt, self.digest())
    }

    fn digest(&self) -> RailsDigest {
        match self.digest.as_str() {
            "sha256" => RailsDigest::Sha256,
            "sha1" => RailsDigest::Sha1,
            other => panic!("{other}"),
        }
    }
}

fn fixtures() -> Fixtures {
    serde_json::from_str(include_str!("rails/fixtures.json")).unwrap()
}

fn case(name: &str) -> (Case, RailsKeys) {
    let fixtures = fixtures();
    let case = fixtures.cases.into_iter().find(|case| case.name == name).unwrap();
    let keys = case.keys(&fixtures.key_derivation_salt);
    (case, keys)
}

#[test]
fn what_rails_stored_is_read() {
    let fixtures = fixtures();
    assert!(
        fixtures.versions["activerecord"]
            .as_str()
            .unwrap()
            .starts_with("7.")
    );
    for case in &fixtures.cases {
        let keys = case.keys(&fixtures.key_derivation_salt);
        let bytes = keys.decrypt_bytes(&case.message).unwrap();
        assert!(*bytes.expose() == case.value(), "{}", case.name);
        if !case.binary {
            let text = keys.decrypt(&case.message).unwrap();
            assert!(text.expose().as_bytes() == case.value(), "{}", case.name);
        }
    }
    let has = |text: &str| {
        fixtures
            .cases
            .iter()
            .filter(|case| case.message.contains(text))
            .count()
    };
    assert!(has(r#""c":true"#) == 6 && has(r#""k":"#) == 2 && has(r#""i":"#) == 1 && has(r#""e":"#) == 4);
}

#[test]
fn encodings() {
    let (latin, keys) = case("ISO-8859-1");
    assert_eq!(keys.decrypt(&latin.message).unwrap().expose(), "Zoë");
    let (bytes, keys) = case("bytes");
    assert_eq!(keys.decrypt(&bytes.message).unwrap_err(), RailsError::Encoding);
    // Said to be of an encoding that nobody knows here.
    let (name, keys) = case("name, not deterministic");
    let mut message: Value = serde_json::from_str(&name.message).unwrap();
    message["h"]["e"] = json!("U2hpZnRfSklT");
    let message = message.to_string();
    assert_eq!(keys.decrypt(&message).unwrap_err(), RailsError::Encoding);
    assert_eq!(keys.decrypt_bytes(&message).unwrap().expose(), b"Ada Lovelace");
}

#[test]
fn every_key_of_a_credentials_file_is_tried() {
    let fixtures = fixtures();
    let salt = &fixtures.key_derivation_salt;
    let credentials = format!(
        "primary_key = ['first-primary-key-of-the-fixtures', 'second-primary-key-of-the-fixture']\n\
         deterministic_key = 'deterministic-key-of-the-fixtures'\n\
         keys = ['key-of-one-attribute-alone']\n\
         key_derivation_salt = '{salt}'"
    );
    let keys = RailsKeys::from_credentials(&credentials).unwrap();
    for case in &fixtures.cases {
        assert!(keys.decrypt_bytes(&case.message).is_ok(), "{}", case.name);
    }
    let sha1 = RailsKeys::from_credentials(&format!(
        "primary_key = 'first-primary-key-of-the-fixtures'\nkey_derivation_salt = '{salt}'\nhash_digest = 'sha1'"
    ));
    let sha1 = sha1.unwrap();
    for case in fixtures
        .cases
        .iter()
        .filter(|case| case.name == "ssn, not deterministic")
    {
        let expected = if case.digest == "sha1" {
            None
        } else {
            Some(RailsError::NoKeyOpens)
        };
        assert_eq!(sha1.decrypt(&case.message).err(), expected);
    }
    for (credentials, error) in [
        (
            "primary_key = 'secret-of-this-test",
            RailsCredentialsError::Syntax,
        ),
        (
            "primary_key = 'secret-of-this-test'",
            RailsCredentialsError::Syntax,
        ),
        ("key_derivation_salt = 's'", RailsCredentialsError::NoKey),
        (
            "key_derivation_salt = 's'\nprimary_kye = 'x'",
            RailsCredentialsError::Syntax,
        ),
    ] {
        let refused = RailsKeys::from_credentials(credentials).unwrap_err();
        assert_eq!(refused, error, "{credentials}");
        assert!(!format!("{refused} {refused:?}").contains("secret-of-this-test"));
    }
}

#[test]
fn wrong_keys_and_changed_messages_do_not_open() {
    let (name, keys) = case("name, not deterministic");
    let salt = fixtures().key_derivation_salt;
    for other in [
        RailsKeys::new(),
        RailsKeys::new().with_key("another secret", &salt, RailsDigest::Sha256),
        RailsKeys::new().with_key(&name.secret, "another salt", RailsDigest::Sha256),
        RailsKeys::new().with_key(&name.secret, &salt, RailsDigest::Sha1),
    ] {
        assert_eq!(other.decrypt(&name.message).unwrap_err(), RailsError::NoKeyOpens);
    }
    for at in [["p", ""], ["h", "iv"], ["h", "at"]] {
        let mut message: Value = serde_json::from_str(&name.message).unwrap();
        let part = match at {
            [first, ""] => &mut message[first],
            [first, second] => &mut message[first][second],
        };
        let text = part.as_str().unwrap();
        let first = if text.starts_with('A') { "B" } else { "A" };
        *part = json!(format!("{first}{}", &text[1..]));
        assert_eq!(
            keys.decrypt(&message.to_string()).unwrap_err(),
            RailsError::NoKeyOpens,
            "{at:?}"
        );
    }
    let mut claimed: Value = serde_json::from_str(&name.message).unwrap();
    claimed["h"]["c"] = json!(true);
    assert_eq!(
        keys.decrypt(&claimed.to_string()).unwrap_err(),
        RailsError::Compression
    );
    assert_eq!(format!("{keys:?}"), "RailsKeys { keys: 1, .. }");
}

#[test]
fn what_is_no_message_is_told_apart() {
    let (name, keys) = case("name, not deterministic");
    let nested = {
        let (envelope, _) = case("envelope");
        let mut message: Value = serde_json::from_str(&envelope.message).unwrap();
        let inner = message["h"]["k"].clone();
        message["h"]["k"]["h"]["k"] = inner;
        message.to_string()
    };
    let without_tag = name.message.replace("\"at\"", "\"ta\"");
    let short_tag = {
        let mut message: Value = serde_json::from_str(&name.message).unwrap();
        message["h"]["at"] = json!("AAAA");
        message.to_string()
    };
    for text in [
        "",
        "Ada Lovelace",
        "999123456",
        "null",
        "{}",
        "[1]",
        r#"{"p":1}"#,
        &nested,
        &without_tag,
        &short_tag,
    ] {
        assert_eq!(
            keys.decrypt(text).unwrap_err(),
            RailsError::NotAMessage,
            "{text:?}"
        );
    }
}

#[test]
fn the_limit_holds_before_and_after_decompression() {
    let (note, keys) = case("note, not deterministic");
    let len = note.value().len();
    assert!(note.message.len() < len / 2, "it is compressed well");
    assert!(keys.with_limit(len).decrypt(&note.message).is_ok());
    let (_, keys) = case("note, not deterministic");
    assert_eq!(
        keys.with_limit(len - 1).decrypt(&note.message).unwrap_err(),
        RailsError::TooLarge
    );
    let (plain, keys) = case("not compressed");
    assert_eq!(
        keys.with_limit(len - 1).decrypt(&plain.message).unwrap_err(),
        RailsError::TooLarge
    );
    let (_, keys) = case("not compressed");
    let long = "x".repeat(20_000);
    assert_eq!(
        keys.with_limit(100).decrypt(&long).unwrap_err(),
        RailsError::TooLarge
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// No input panics, and none but the real message gives a value.
    #[test]
    fn any_text_is_refused(text in any::<String>(), at in 0_usize..200, replacement in any::<char>()) {
        let keys = RailsKeys::new();
        prop_assert!(keys.decrypt(&text).is_err());
        let envelope = fixtures().cases.into_iter().find(|case| case.name == "envelope, compressed").unwrap();
        let changed: String = (envelope.message.chars().enumerate())
            .map(|(i, c)| if i == at { replacement } else { c })
            .collect();
        prop_assert!(keys.decrypt(&changed).is_err());
        let cut: String = envelope.message.chars().take(at).collect();
        prop_assert!(keys.decrypt_bytes(&cut).is_err());
    }

    /// Texts come out whole or not at all. (Bytes can come out compressed: Rails does not authenticate that they are.)
    #[test]
    fn a_changed_byte_never_changes_a_value(at in 0_usize..600, byte in 0_u8..128) {
        let (note, keys) = shared();
        let mut message = note.message.clone().into_bytes();
        let at = at % message.len();
        message[at] = byte;
        if let Ok(value) = keys.decrypt(std::str::from_utf8(&message).unwrap()) {
            prop_assert_eq!(value.expose().as_bytes(), note.value());
        }
    }
}

/// Deriving a key takes its time.
fn shared() -> &'static (Case, RailsKeys) {
    static SHARED: std::sync::OnceLock<(Case, RailsKeys)> = std::sync::OnceLock::new();
    SHARED.get_or_init(|| case("note, not deterministic"))
}
