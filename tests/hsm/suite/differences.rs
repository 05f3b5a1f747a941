//! What one token does wrong, or otherwise than the other one: seen here, so that nobody relies on it unknowingly.

use cryptoki::error::{Error, RvError};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use phield::ProviderErrorKind;
use phield::pkcs11::Pkcs11Error;
use phield_hsm_tests::{Client, provider, provider_with_kek, reference};
use phield_testkit::hsm::{TestToken, TokenKind};

use crate::{refused, round_trip, run};

/// SoftHSM never locks a PIN.
#[test]
fn softhsm_never_locks() {
    run(
        TokenKind::SoftHsm,
        concat!(module_path!(), "::softhsm_never_locks"),
        |token| {
            drop(provider_with_kek(token));
            let client = Client::new(token);
            client.close_all_sessions();
            client.wrong_pins(20);
            assert_eq!(client.pin_flags(), [true, false, false]);
            round_trip(&provider(token), &reference("kek")).unwrap();
        },
    );
}

/// kryoptic locks a PIN after ten wrong ones, and shows it coming; the provider says so, and tries nothing.
#[test]
fn kryoptic_locks_after_ten() {
    run(
        TokenKind::Kryoptic,
        concat!(module_path!(), "::kryoptic_locks_after_ten"),
        |token| {
            drop(provider_with_kek(token));
            let client = Client::new(token);
            client.close_all_sessions();
            client.wrong_pins(10);
            assert!(client.pin_flags()[2]);
            let pin = AuthPin::from(TestToken::PIN.to_owned());
            let login = client.session().login(UserType::User, Some(&pin));
            assert!(
                matches!(login, Err(Error::Pkcs11(RvError::PinLocked, _))),
                "{login:?}"
            );
            let label = TestToken::LABEL.to_owned();
            assert_eq!(
                refused(&provider(token)),
                (ProviderErrorKind::Refused, Pkcs11Error::PinLocked(label))
            );
        },
    );
}
