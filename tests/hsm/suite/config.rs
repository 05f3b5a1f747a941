//! `phield.toml` with an HSM.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use cryptoki::object::Attribute;
use phield::config::{Config, ConfigError};
use phield::pkcs11::Pkcs11Error;
use phield::{RingError, RingSettings};
use phield_hsm_tests::{Client, block_on, provider_with_kek};
use phield_testkit::hsm::{TestToken, TokenKind};

/// A configuration with this provider; `{module}` and `{pin}` are those of the token.
pub(crate) fn settings(token: &TestToken, provider: &str) -> Result<RingSettings, RingError> {
    let pin = "00000001:".to_owned() + &"0".repeat(64);
    let provider = provider.replace("{module}", &token.module().display().to_string());
    let toml = format!(
        "app = \"emr\"\nring = \"emr-test\"\nring_key = \"{pin}\"\nmin_epoch = 1\n[key_store]\nfile = \"ring.phield\"\n\
         [[provider]]\n{provider}"
    );
    let path: PathBuf = token.folder().join("phield.toml");
    fs::write(&path, toml).unwrap();
    block_on(Config::read(&path)?.settings(&phield::backends()))
}

fn error(token: &TestToken, provider: &str) -> String {
    match settings(token, provider) {
        Err(RingError::Config(error @ ConfigError::Provider { .. })) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

pub(crate) const GOOD: &str =
    "name = \"pkcs11\"\nmodule = \"{module}\"\npin_file = \"pin\"\nkeks = [\"phield/kek\"]\n";

on_both! {
    fn opens_what_it_says(token) {
        drop(provider_with_kek(token));
        let settings = settings(token, &format!("{GOOD}sessions = 2\ntimeout_ms = 5000\n")).unwrap();
        let provider = settings.providers[0].provider();
        assert_eq!(provider.name().as_str(), "pkcs11");
        crate::round_trip(provider, &settings.providers[0].keks()[0]).unwrap();
    }

    /// Each wrong entry has a message that says what to fix.
    fn wrong_entries(token) {
        drop(provider_with_kek(token));
        let loose = token.write_pin("loose", TestToken::PIN);
        fs::set_permissions(loose, fs::Permissions::from_mode(0o644)).unwrap();
        token.write_pin("wrong", "wrong-pin-4711");
        for (from, to, says) in [
            ("pin_file = \"pin\"\n", "", "PHIELD_PKCS11_PIN_FILE"),
            ("phield/kek", "kek", "token-label/object-label"),
            ("phield/kek", "phield/none", "phield hsm create-key"),
            ("\"pin\"", "\"wrong\"", "the PIN of the token \"phield\" is wrong"),
            ("{module}", "none.so", "none.so does not exist"),
            ("keks =", "sessions = 0\nkeks =", "sessions is 1 to 256"),
            ("keks =", "timeout_ms = 5\nkeks =", "timeout_ms is 100 to 600000"),
            ("keks =", "mac_keys = [\"phield/kek\"]\nkeks =", "every key has one purpose"),
            ("keks =", "pin = \"user-pin-4711\"\nkeks =", "unknown field `pin`"),
        ] {
            let text = GOOD.replace(from, to);
            let error = error(token, &text);
            assert!(error.contains(says), "{says}: {error}");
            assert!(!error.contains("pin-4711"), "{error}");
            // The token has forgotten no login: each case starts without one.
            Client::new(token).log_out();
        }
        let loose = settings(token, &GOOD.replace("\"pin\"", "\"loose\""));
        assert!(matches!(loose, Err(RingError::File(_))), "{loose:?}");
    }

    /// R-14, at the start.
    fn an_extractable_kek(token) {
        Client::new(token).make_key("kek", &[Attribute::Extractable(true)]);
        assert!(error(token, GOOD).contains("it can be taken out of the HSM"));
    }

    /// An HSM that is out of reach is no wrong configuration.
    fn a_token_that_is_not_there(token) {
        let settings = settings(token, &GOOD.replace("phield/kek", "elsewhere/kek")).unwrap();
        let provider = settings.providers[0].provider();
        let error = crate::round_trip(provider, &settings.providers[0].keks()[0]).unwrap_err();
        assert_eq!(error.kind(), phield::ProviderErrorKind::Unavailable);
    }
}

/// Two tokens of one label: nothing starts with them; but whoever runs already has an outage, and loses no key to it.
#[test]
fn a_second_token_of_the_label() {
    crate::run(
        TokenKind::SoftHsm,
        concat!(module_path!(), "::a_second_token_of_the_label"),
        |token| {
            drop(provider_with_kek(token));
            let settings = settings(token, GOOD).unwrap();
            let (provider, client) = (settings.providers[0].provider(), Client::new(token));
            let init = ["--init-token", "--free", "--label", TestToken::LABEL];
            let pins = ["--so-pin", TestToken::SO_PIN, "--pin", TestToken::PIN];
            let second = Command::new("softhsm2-util")
                .args(init)
                .args(pins)
                .output()
                .unwrap();
            assert!(second.status.success(), "{second:?}");
            // SoftHSM does not see it before.
            client.finalize();
            let (kind, said) = crate::refused(provider);
            assert_eq!(kind, phield::ProviderErrorKind::Unavailable, "{said}");
            assert!(matches!(said, Pkcs11Error::AmbiguousToken(_)), "{said}");
            assert!(error(token, GOOD).contains("several tokens are labelled"));
        },
    );
}
