//! What the provider refuses: each with an error of its own, and nothing is wrapped or opened.

use cryptoki::object::{Attribute, KeyType};
use phield::pkcs11::{KeyLabel, Pkcs11Error, Pkcs11Provider, Pkcs11Settings};
use phield::{KekReference, Passphrase, ProviderErrorKind};
use phield_hsm_tests::{Client, block_on, provider, provider_with_kek, reference, settings};
use phield_testkit::hsm::{TestToken, TokenKind};

use crate::{refused, round_trip};

fn with_pin(token: &TestToken, pin: &str) -> Pkcs11Provider {
    let mut settings = settings(token);
    settings.pin = Passphrase::new(pin.to_owned());
    Pkcs11Provider::new(settings)
}

fn no_key(object: &str) -> Pkcs11Error {
    Pkcs11Error::NoKey(KeyLabel::parse(&reference(object)).unwrap())
}

/// The rule that a key breaks.
fn rule(provider: &Pkcs11Provider) -> &'static str {
    match refused(provider) {
        (ProviderErrorKind::Refused, Pkcs11Error::Attribute { rule, .. }) => rule,
        other => panic!("{other:?}"),
    }
}

on_both! {
    /// It is tried once, whatever is asked and by however many threads: forty calls do not lock the token.
    fn a_wrong_pin_is_tried_once(token) {
        drop(provider_with_kek(token));
        let client = Client::new(token);
        client.close_all_sessions();
        let wrong = with_pin(token, "wrong-pin-4711");
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let label = TestToken::LABEL.to_owned();
                    assert_eq!(refused(&wrong), (ProviderErrorKind::Refused, Pkcs11Error::PinIncorrect(label)));
                });
            }
        });
        assert_eq!(wrong.counts().retries, 0);
        assert!(!client.pin_flags()[2], "the PIN is locked");
        if token.kind() == TokenKind::Kryoptic {
            // It counts to ten: had the PIN been tried twice, these would lock it.
            client.wrong_pins(8);
            assert_eq!(client.pin_flags()[1..], [true, false]);
            drop(client.logged_in());
        }
        // A configuration that is loaded anew may have the right one.
        round_trip(&provider(token), &reference("kek")).unwrap();
    }

    /// A token whose next wrong PIN locks it is left alone, until somebody has logged in by hand.
    fn the_last_try_is_for_people(token) {
        drop(provider_with_kek(token));
        let client = Client::new(token);
        client.close_all_sessions();
        if token.kind() == TokenKind::SoftHsm {
            // It never comes to that: see `differences.rs`.
            return;
        }
        client.wrong_pins(9);
        assert_eq!(client.pin_flags()[1..], [true, false]);
        let label = TestToken::LABEL.to_owned();
        let expected = (ProviderErrorKind::Refused, Pkcs11Error::PinFinalTry(label));
        for provider in [provider(token), with_pin(token, "wrong-pin-4711")] {
            assert_eq!(refused(&provider), expected);
        }
        assert_eq!(client.pin_flags()[1..], [true, false], "the PIN was tried");
        drop(client.logged_in());
        round_trip(&provider(token), &reference("kek")).unwrap();
    }

    fn no_such_key(token) {
        let provider = provider(token);
        let (kind, error) = refused(&provider);
        assert_eq!(kind, ProviderErrorKind::UnknownKek);
        assert!(matches!(&error, Pkcs11Error::NoKey(key) if key.object == "kek"), "{error}");
        assert!(error.to_string().contains("phield hsm create-key"));
        let unreadable = KekReference::new("no-slash").unwrap();
        assert_eq!(block_on(provider.check_key(&unreadable)), Err(Pkcs11Error::Reference));
    }

    fn no_such_token(token) {
        let provider = provider(token);
        let kek = KekReference::new("elsewhere/kek").unwrap();
        let error = round_trip(&provider, &kek).unwrap_err();
        assert_eq!(error.kind(), ProviderErrorKind::Unavailable);
        assert_eq!(block_on(provider.check_key(&kek)), Err(Pkcs11Error::NoToken("elsewhere".to_owned())));
    }

    /// A key that was there and is gone was taken away on purpose: that is not a key that never was there.
    fn a_key_that_was_removed(token) {
        let (provider, client) = (provider_with_kek(token), Client::new(token));
        round_trip(&provider, &reference("kek")).unwrap();
        client.remove_keys("kek");
        for provider in [&provider, &self::provider(token)] {
            let (kind, error) = refused(provider);
            assert_eq!(kind, ProviderErrorKind::Refused, "{error}");
            assert!(error.to_string().contains("is gone"), "{error}");
        }
        let never = block_on(provider.check_key(&reference("never"))).unwrap_err();
        assert_eq!((never.kind(), never), (ProviderErrorKind::UnknownKek, no_key("never")));
        // Whoever was logged out sees no key either.
        block_on(provider.create_key(&reference("kek"))).unwrap();
        client.log_out();
        round_trip(&provider, &reference("kek")).unwrap();
    }

    /// Which of two would be chance.
    fn an_ambiguous_label(token) {
        let (provider, client) = (provider_with_kek(token), Client::new(token));
        round_trip(&provider, &reference("kek")).unwrap();
        client.make_key("kek", &[]);
        // A session that knows its key goes on; one that looks for it refuses.
        client.close_all_sessions();
        let (kind, error) = refused(&provider);
        assert_eq!(kind, ProviderErrorKind::Refused);
        assert!(matches!(error, Pkcs11Error::AmbiguousKey(_)), "{error}");
    }

    ///
    fn keys_that_could_come_out_or_do_more_than_sign(token) {
        let client = Client::new(token);
        let cases: [(&str, Vec<Attribute>); 8] = [
            ("CKA_EXTRACTABLE", vec![Attribute::Extractable(true)]),
            ("CKA_SENSITIVE", vec![Attribute::Sensitive(false)]),
            ("CKA_ENCRYPT", vec![Attribute::Encrypt(true)]),
            ("CKA_DECRYPT", vec![Attribute::Decrypt(true)]),
            ("CKA_WRAP", vec![Attribute::Wrap(true)]),
            ("CKA_UNWRAP", vec![Attribute::Unwrap(true)]),
            ("CKA_DERIVE", vec![Attribute::Derive(true)]),
            ("CKA_PRIVATE", vec![Attribute::Private(false)]),
        ];
        for (attribute, changed) in cases {
            client.make_key("kek", &changed);
            let rule = rule(&provider(token));
            assert!(rule.contains(attribute), "{attribute}: {rule}");
            client.remove_keys("kek");
        }
    }

    fn keys_of_another_kind(token) {
        let client = Client::new(token);
        let cases: [(&str, Vec<Attribute>); 3] = [
            ("CKA_SIGN", vec![Attribute::Sign(false)]),
            ("CKA_VALUE_LEN", vec![Attribute::ValueLen(48.into())]),
            ("CKK_GENERIC_SECRET", vec![Attribute::KeyType(KeyType::AES)]),
        ];
        for (attribute, changed) in cases {
            client.make_key("kek", &changed);
            let rule = rule(&provider(token));
            assert!(rule.contains(attribute), "{attribute}: {rule}");
            client.remove_keys("kek");
        }
    }

    /// What was checked once is checked again when the key is looked up anew.
    fn a_key_that_was_replaced_by_a_worse_one(token) {
        let (provider, client) = (provider_with_kek(token), Client::new(token));
        round_trip(&provider, &reference("kek")).unwrap();
        client.remove_keys("kek");
        client.make_key("kek", &[Attribute::Extractable(true)]);
        assert!(rule(&provider).contains("CKA_EXTRACTABLE"));
    }

    fn a_module_that_is_none(token) {
        let path = token.folder().join("module.so");
        std::fs::write(&path, "no library").unwrap();
        let provider = Pkcs11Provider::new(Pkcs11Settings::new(path, Passphrase::new(TestToken::PIN.to_owned())));
        let (kind, error) = refused(&provider);
        assert_eq!(kind, ProviderErrorKind::Refused);
        assert!(matches!(error, Pkcs11Error::Module { .. }), "{error}");
    }
}
