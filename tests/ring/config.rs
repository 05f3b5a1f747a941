//! Every mistake in `phield.toml` has its message.

use std::fs;

use phield_core::Backends;
use phield_core::config::Config;
use phield_testkit::{TestRing, block_on};

use crate::{chain, class};

/// What the ring says when `from` in its configuration is replaced by `to`.
fn broken(ring: &TestRing, from: &str, to: &str) -> (&'static str, String) {
    let right = fs::read_to_string(ring.config_path()).unwrap();
    assert!(right.contains(from), "{from} is not in\n{right}");
    let path = ring.folder().join("broken.toml");
    fs::write(&path, right.replacen(from, to, 1)).unwrap();
    let error = match Config::read(&path) {
        Err(error) => error.into(),
        Ok(config) => match block_on(config.ring(&Backends::local())) {
            Err(error) => error,
            Ok(ring) => block_on(ring.load())
                .map(|_| ())
                .expect_err("a broken configuration was accepted"),
        },
    };
    let folder = ring.folder().display().to_string();
    (class(&error), chain(&error).replace(&folder, "DIR"))
}

#[test]
fn each_mistake_has_its_message() {
    let ring = TestRing::new("clinic");
    let pin = ring.ring().settings.pins[0].to_string();
    let key = &pin[..8];
    let quoted = format!("\"{pin}\"");
    let upper = format!(
        "\"{}\"",
        pin.to_uppercase().replace(|c: char| c.is_ascii_digit(), "A")
    );
    let witness = "[epoch_witness]\nfile = \"epoch.witness\"\n";
    let cases: &[(&str, &str, &str)] = &[
        (
            "[key_store]",
            "[data_keys]\ndays = 366\n[key_store]",
            "[data_keys] takes days of 1 to 365 and tokens_per_second above 0, together at most 2^40 tokens a key",
        ),
        (
            "[key_store]",
            "[data_keys]\ntokens_per_second = 142000\n[key_store]",
            "[data_keys] takes days of 1 to 365 and tokens_per_second above 0, together at most 2^40 tokens a key",
        ),
        (
            "[key_store]",
            "[slow_index]\nmemory_mib = 63\n[key_store]",
            "[slow_index] takes memory_mib of 64 or more, and threads and queue of 1 or more",
        ),
        (
            "app = \"clinic\"",
            "app = \"my clinic\"",
            "not a valid app name: it must be 1 to 128 bytes of A-Z a-z 0-9 _ . : -",
        ),
        (
            "ring = \"clinic-test\"",
            "ring = \"\"",
            "not a valid ring name: it must be 1 to 128 bytes of A-Z a-z 0-9 _ . : -",
        ),
        (
            &quoted,
            "\"1:2\"",
            "ring_key is written as 8 hex digits, a colon and 64 hex digits, all lower-case",
        ),
        (
            &quoted,
            &upper,
            "ring_key is written as 8 hex digits, a colon and 64 hex digits, all lower-case",
        ),
        (&quoted, "[]", "ring_key is missing: `phield init` prints it"),
        (
            &quoted,
            "\"00000000:\"",
            "ring_key is written as 8 hex digits, a colon and 64 hex digits, all lower-case",
        ),
        (
            "name = \"local\"",
            "name = \"lokal\"",
            "there is no key provider \"lokal\" in this build: is the feature of that name on?",
        ),
        (
            "keks = [\"1\"]",
            "keks = []",
            "no provider with a key-encryption key is configured: add [[provider]] with keks",
        ),
        (
            "keks = [\"1\"]",
            "keks = [\"\"]",
            "a key-encryption key reference is 1 to 512 bytes of printable ASCII",
        ),
        (
            "keys.phield",
            "missing.phield",
            "DIR/missing.phield does not exist",
        ),
        ("\"passphrase\"", "\"missing\"", "DIR/missing does not exist"),
        (
            "passphrase_file = \"passphrase\"\n",
            "",
            "the local provider needs passphrase_file, or the variable PHIELD_PASSPHRASE_FILE",
        ),
        (
            "[key_store]",
            "value_limit = 16777217\n[key_store]",
            "value_limit is at most 16 MiB",
        ),
    ];
    for (from, to, message) in cases {
        assert_eq!(
            broken(&ring, from, to),
            ("Config", (*message).to_owned()),
            "{from} -> {to}"
        );
    }

    let (class, message) = broken(&ring, "keks = [\"1\"]", "keks = [\"2\"]");
    let expected = format!(
        "no allowed key-encryption key opens key {key}: is its reference in keks, and in the key file?"
    );
    assert_eq!((class, message), ("Config", expected));

    for (from, to, part) in [
        ("app = ", "apps = ", "unknown field `apps`"),
        ("min_epoch", "min_epochs", "unknown field `min_epochs`"),
        ("keks", "kek", "missing field `keks`"),
        ("[key_store]\nfile", "[key_store]\npath", "unknown field `path`"),
        (&format!("ring_key = {quoted}\n"), "", "missing field `ring_key`"),
        ("app = \"clinic\"\n", "", "missing field `app`"),
        ("min_epoch = 1", "min_epoch = -1", "invalid value"),
        ("app = \"clinic\"", "app = \"clinic", "invalid basic string"),
    ] {
        let (class, message) = broken(&ring, from, to);
        assert_eq!(class, "Config");
        assert!(
            message.starts_with("DIR/broken.toml is not a phield configuration: "),
            "{message}"
        );
        assert!(message.contains(part), "{message}");
    }

    // The entries of a kind of providers are its own; what they say is not repeated, for it may be a secret.
    for (from, to, expected) in [
        (
            "passphrase_file",
            "passphrase",
            "the provider local: unknown field `passphrase`, expected `key_file` or `passphrase_file`",
        ),
        (
            "key_file = \"keys.phield\"",
            "key_file = 4711",
            "the provider local: invalid type, expected path string",
        ),
    ] {
        assert_eq!(broken(&ring, from, to), ("Config", expected.to_owned()));
    }

    let right = fs::read_to_string(ring.config_path()).unwrap();
    fs::write(ring.config_path(), right.replace(witness, "")).unwrap();
    let message = "an old key ring could be put back unnoticed: give [epoch_witness] or min_epoch".to_owned();
    assert_eq!(broken(&ring, "min_epoch = 1\n", ""), ("Config", message.clone()));
    assert_eq!(
        broken(&ring, "min_epoch = 1\n", "min_epoch = 0\n"),
        ("Config", message)
    );
    block_on(block_on(ring.config().ring(&Backends::local())).unwrap().load()).unwrap();
}

#[test]
fn an_empty_passphrase_is_none() {
    let ring = TestRing::new("clinic");
    for content in ["", "\n"] {
        fs::write(ring.passphrase_file(), content).unwrap();
        let (class, message) = broken(&ring, "app", "app");
        assert_eq!(
            (class, message.as_str()),
            (
                "Config",
                "DIR/passphrase holds no passphrase: it is empty or not UTF-8"
            )
        );
    }
    fs::write(ring.passphrase_file(), b"\xff\xfe").unwrap();
    assert_eq!(broken(&ring, "app", "app").0, "Config");
}

#[test]
fn a_missing_file_names_itself() {
    let error = Config::read("/nonexistent/phield.toml".as_ref()).unwrap_err();
    assert!(
        chain(&error).starts_with("cannot read /nonexistent/phield.toml: No such file"),
        "{}",
        chain(&error)
    );
}
