//! Sessions that are lost, and processes that are forked.

use fork::{Fork, fork, waitpid};
use phield::ProviderErrorKind;
use phield::pkcs11::{Pkcs11Error, Pkcs11Provider};
use phield_hsm_tests::{Client, provider, provider_with_kek, reference, settings};

use crate::{refused, round_trip};

/// What somebody else in the process does to the provider's sessions; each time the next calls work.
fn survives(provider: &Pkcs11Provider, disturb: impl Fn()) {
    let kek = reference("kek");
    round_trip(provider, &kek).unwrap();
    for _ in 0..5 {
        disturb();
        round_trip(provider, &kek).unwrap();
    }
    assert_eq!(provider.counts().failures, 0);
}

on_both! {
    fn logged_out_under_our_feet(token) {
        let (provider, client) = (provider_with_kek(token), Client::new(token));
        let retries = provider.counts().retries;
        survives(&provider, || client.log_out());
        assert!(provider.counts().retries > retries, "nothing was disturbed");
    }

    fn sessions_closed_under_our_feet(token) {
        let (provider, client) = (provider_with_kek(token), Client::new(token));
        let retries = provider.counts().retries;
        survives(&provider, || client.close_all_sessions());
        assert!(provider.counts().retries > retries, "nothing was disturbed");
    }

    /// Another library of the process ends the module for everybody.
    fn the_module_finalised_under_our_feet(token) {
        let provider = provider_with_kek(token);
        survives(&provider, || Client::new(token).finalize());
    }

    /// Whoever logged in first is welcome.
    fn logged_in_by_somebody_else(token) {
        drop(provider_with_kek(token));
        let client = Client::new(token);
        let _session = client.logged_in();
        let provider = provider(token);
        round_trip(&provider, &reference("kek")).unwrap();
        assert_eq!(provider.counts().retries, 0);
    }

    /// A provider that ends, and one that starts: the key is the same.
    fn started_again(token) {
        for _ in 0..3 {
            let provider = match token.folder().join("made").exists() {
                true => provider(token),
                false => {
                    std::fs::write(token.folder().join("made"), "").unwrap();
                    provider_with_kek(token)
                }
            };
            round_trip(&provider, &reference("kek")).unwrap();
        }
        // Two at a time share the module and the login.
        let (one, other) = (provider(token), provider(token));
        round_trip(&one, &reference("kek")).unwrap();
        round_trip(&other, &reference("kek")).unwrap();
        drop(one);
        round_trip(&other, &reference("kek")).unwrap();
    }

    /// More calls than sessions.
    fn one_session_serves_many(token) {
        drop(provider_with_kek(token));
        let mut settings = settings(token);
        settings.sessions = 1;
        let provider = Pkcs11Provider::new(settings);
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| round_trip(&provider, &reference("kek")).unwrap());
            }
        });
        assert_eq!(provider.counts().calls, 40);
    }

    /// PKCS#11 does not survive a fork, and a provider in a forked process says so at once.
    fn refused_after_a_fork(token) {
        let provider = provider_with_kek(token);
        round_trip(&provider, &reference("kek")).unwrap();
        let report = token.folder().join("forked");
        match fork().unwrap() {
            Fork::Child => {
                let forked = (ProviderErrorKind::Refused, Pkcs11Error::Forked);
                let said = refused(&provider) == forked && refused(&self::provider(token)) == forked;
                std::fs::write(report, said.to_string()).unwrap();
                // The rest of the test is the parent's.
                std::process::abort();
            }
            Fork::Parent(child) => {
                waitpid(child).unwrap();
                assert_eq!(std::fs::read_to_string(report).unwrap(), "true");
                round_trip(&provider, &reference("kek")).unwrap();
            }
        }
    }
}
