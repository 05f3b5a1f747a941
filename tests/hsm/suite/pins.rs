//! PINs that change while a provider runs.

use std::fs;

use phield::ProviderErrorKind;
use phield::pkcs11::Pkcs11Error;
use phield_hsm_tests::{Client, provider_with_kek, reference};
use phield_testkit::hsm::{TestToken, TokenKind};

use crate::config::{GOOD, settings};
use crate::{refused, round_trip};

/// The provider of a configuration, logged in, with the PIN from the file `pin`.
fn configured(token: &TestToken) -> phield::RingSettings {
    drop(provider_with_kek(token));
    Client::new(token).log_out();
    let settings = settings(token, &format!("{GOOD}sessions = 1\n")).unwrap();
    round_trip(settings.providers[0].provider(), &reference("kek")).unwrap();
    settings
}

on_both! {
    /// The PIN is another one, and the HSM has forgotten the login: the old PIN is tried once, and the new one when the file
    /// has it; no configuration is loaded anew.
    fn a_new_pin_is_read_from_the_file(token) {
        let (settings, client) = (configured(token), Client::new(token));
        let provider = settings.providers[0].provider();
        client.change_pin("new-pin-4711");
        client.log_out();
        let wrong = Pkcs11Error::PinIncorrect(TestToken::LABEL.to_owned());
        for _ in 0..20 {
            assert_eq!(refused(provider), (ProviderErrorKind::Refused, wrong.clone()));
        }
        assert!(!client.pin_flags()[2], "the PIN is locked");
        token.write_pin("pin", "new-pin-4711");
        round_trip(provider, &reference("kek")).unwrap();
        // A file that cannot be read is no reason to fail: the PIN that worked last is known.
        fs::remove_file(token.pin_file()).unwrap();
        client.log_out();
        round_trip(provider, &reference("kek")).unwrap();
    }

    /// A fleet whose PIN was changed does not lock its token: the last try is not made with a PIN that was used before, though
    /// it worked.
    fn the_last_try_is_not_for_a_pin_that_worked(token) {
        if token.kind() == TokenKind::SoftHsm {
            // It never comes to that: see `differences.rs`.
            return;
        }
        let (settings, client) = (configured(token), Client::new(token));
        let provider = settings.providers[0].provider();
        client.change_pin("new-pin-4711");
        client.log_out();
        client.wrong_pins(9);
        assert_eq!(client.pin_flags()[1..], [true, false]);
        let last = Pkcs11Error::PinFinalTry(TestToken::LABEL.to_owned());
        for _ in 0..3 {
            assert_eq!(refused(provider), (ProviderErrorKind::Refused, last.clone()));
        }
        assert_eq!(client.pin_flags()[1..], [true, false], "the PIN was tried");
        token.write_pin("pin", "new-pin-4711");
        round_trip(provider, &reference("kek")).unwrap();
        assert_eq!(client.pin_flags(), [false, false, false]);
    }
}
