//! Calls of the module that never come back, while the HSM does: a search hangs, under the lock of the login.

use std::fs;
use std::time::{Duration, Instant};

use phield::ProviderErrorKind;
use phield::pkcs11::Pkcs11Provider;
use phield_hsm_tests::{hanging_module, provider_with_kek, reference, settings};
use phield_testkit::hsm::{TestToken, TokenKind};

use crate::{refused, round_trip, run, threads};

fn hanging(token: &TestToken, sessions: usize) -> Pkcs11Provider {
    drop(provider_with_kek(token));
    let mut settings = settings(token);
    settings.module = hanging_module(token);
    settings.timeout = Duration::from_millis(200);
    settings.sessions = sessions;
    Pkcs11Provider::new(settings)
}

/// Waits until calls work, and checks that all before were outages.
fn comes_back(provider: &Pkcs11Provider) {
    let start = Instant::now();
    while let Err(error) = round_trip(provider, &reference("kek")) {
        assert_eq!(error.kind(), ProviderErrorKind::Unavailable, "{error:?}");
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "it does not come back: {error:?}"
        );
    }
}

/// One call is lost for ever; others wait for a while, then go on without it. So does a provider of one session.
#[test]
fn one_call_that_never_comes_back() {
    run(
        TokenKind::SoftHsm,
        concat!(module_path!(), "::one_call_that_never_comes_back"),
        |token| {
            for sessions in [1, 4] {
                let provider = hanging(token, sessions);
                fs::write(token.folder().join("hang-once"), "").unwrap();
                let start = Instant::now();
                assert_eq!(refused(&provider).0, ProviderErrorKind::Unavailable);
                assert!(start.elapsed() < Duration::from_secs(2));
                assert!(!token.folder().join("hang-once").exists(), "nothing hung");
                comes_back(&provider);
                phield_hsm_tests::Client::new(token).remove_keys("kek");
            }
        },
    );
}

/// All calls hang: no more than twice the sessions are lost, and then it is said what helps; when they come back, so does the
/// provider, with as many threads as before.
#[test]
fn as_many_as_may_be_lost() {
    run(
        TokenKind::SoftHsm,
        concat!(module_path!(), "::as_many_as_may_be_lost"),
        |token| {
            let provider = hanging(token, 2);
            fs::write(token.folder().join("hang"), "").unwrap();
            let start = Instant::now();
            while !refused(&provider)
                .1
                .to_string()
                .contains("start the process anew")
            {
                assert!(start.elapsed() < Duration::from_secs(20), "it is never said");
            }
            assert!(threads() <= 4, "{}", threads());
            let start = Instant::now();
            assert_eq!(refused(&provider).0, ProviderErrorKind::Unavailable);
            assert!(
                start.elapsed() < Duration::from_millis(100),
                "it waited for nothing"
            );
            fs::remove_file(token.folder().join("hang")).unwrap();
            comes_back(&provider);
            let start = Instant::now();
            while threads() > 2 {
                assert!(start.elapsed() < Duration::from_secs(20), "{}", threads());
                std::thread::scope(|scope| {
                    for _ in 0..8 {
                        scope.spawn(|| round_trip(&provider, &reference("kek")).unwrap());
                    }
                });
            }
        },
    );
}
