//! HSMs that are gone, or hang.

use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use phield::ProviderErrorKind;
use phield::pkcs11::{Pkcs11Error, Pkcs11Provider};
use phield_hsm_tests::{Client, provider_with_kek, reference, settings};
use phield_testkit::hsm::TokenKind;

use crate::{refused, round_trip, run, threads_end};

/// The files of the token go away: as close as a token in software comes to being unplugged.
#[test]
fn token_removed() {
    run(
        TokenKind::SoftHsm,
        concat!(module_path!(), "::token_removed"),
        |token| {
            let (provider, client) = (provider_with_kek(token), Client::new(token));
            round_trip(&provider, &reference("kek")).unwrap();
            let (there, gone) = (token.folder().join("tokens"), token.folder().join("gone"));
            fs::rename(&there, &gone).unwrap();
            for _ in 0..3 {
                let (kind, error) = refused(&provider);
                assert_eq!(kind, ProviderErrorKind::Unavailable, "{error}");
            }
            fs::rename(&gone, &there).unwrap();
            // SoftHSM does not see that it is back before the module is initialised anew.
            client.finalize();
            round_trip(&provider, &reference("kek")).unwrap();
        },
    );
}

/// A module that hangs: the configuration of SoftHSM is a pipe that nobody writes to. Calls end within their time; when
/// the module comes back, so does the provider.
#[test]
fn a_module_that_hangs() {
    run(
        TokenKind::SoftHsm,
        concat!(module_path!(), "::a_module_that_hangs"),
        |token| {
            drop(provider_with_kek(token));
            threads_end();
            Client::new(token).finalize();
            let conf = fs::read(token.conf()).unwrap();
            fs::remove_file(token.conf()).unwrap();
            assert!(
                Command::new("mkfifo")
                    .arg(token.conf())
                    .status()
                    .unwrap()
                    .success()
            );

            let mut settings = settings(token);
            settings.timeout = Duration::from_millis(300);
            settings.sessions = 2;
            let provider = Pkcs11Provider::new(settings);
            let start = Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..10 {
                    scope.spawn(|| {
                        let hangs = (ProviderErrorKind::Unavailable, Pkcs11Error::TimedOut);
                        assert_eq!(refused(&provider), hangs);
                    });
                }
            });
            let took = start.elapsed();
            assert!((300..3000).contains(&took.as_millis()), "{took:?}");
            // Nobody else may initialise it meanwhile: in the end that is said, at once.
            let start = Instant::now();
            loop {
                let (kind, error) = refused(&provider);
                assert_eq!(kind, ProviderErrorKind::Unavailable, "{error}");
                if error == Pkcs11Error::Stuck {
                    break;
                }
                assert!(start.elapsed() < Duration::from_secs(30), "it is never said");
            }

            fs::File::options()
                .write(true)
                .open(token.conf())
                .unwrap()
                .write_all(&conf)
                .unwrap();
            let back = Instant::now();
            while round_trip(&provider, &reference("kek")).is_err() {
                assert!(back.elapsed() < Duration::from_secs(30), "it does not come back");
            }
        },
    );
}
