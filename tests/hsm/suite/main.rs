//! HSM tokens in software, SoftHSM 2 and kryoptic, through the real `cryptoki`.
//!
//! Each test runs in a process of its own with a token of its own (`phield_testkit::hsm`); `on_both!` runs one on both
//! tokens. What one of them does wrong, or differently, stands in `differences.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "clippy allows them in the test functions alone"
)]

/// Runs cases on both tokens.
macro_rules! on_both {
    ($($(#[$doc:meta])* fn $name:ident($token:ident) $body:block)+) => {$(
        $(#[$doc])*
        mod $name {
            use super::*;

            fn case($token: &phield_testkit::hsm::TestToken) $body

            #[test]
            fn softhsm() {
                crate::run(phield_testkit::hsm::TokenKind::SoftHsm, concat!(module_path!(), "::softhsm"), case);
            }

            #[test]
            fn kryoptic() {
                crate::run(phield_testkit::hsm::TokenKind::Kryoptic, concat!(module_path!(), "::kryoptic"), case);
            }
        }
    )+};
}

mod ceremony;
mod config;
mod conformance;
mod differences;
mod outages;
mod pins;
mod refusals;
mod ring;
mod sessions;
mod stress;
mod stuck;

use std::time::{Duration, Instant};

use phield::pkcs11::Pkcs11Error;
use phield::{KekReference, KeyMaterial, KeyProvider, ProviderError, ProviderErrorKind};
use phield_hsm_tests::{block_on, context, reference};
use phield_testkit::hsm::{TestToken, TokenKind, in_process};

/// `path` is the full path of the test, with the name of this program in front.
fn run(kind: TokenKind, path: &str, case: fn(&TestToken)) {
    let test = path.split_once("::").unwrap().1;
    in_process(kind, test, |token| {
        case(token);
        threads_end();
    });
}

/// Waits for threads of providers that were dropped; one that is stuck on purpose stays. They may still be closing their
/// sessions, and SoftHSM 2.6.1 frees what they use when the module is finalised or the process ends: it dies (`SIGSEGV`).
fn threads_end() {
    let start = Instant::now();
    while threads() > 0 && start.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Threads of providers that do work.
fn threads() -> usize {
    let names = std::fs::read_dir("/proc/self/task").unwrap().filter_map(|task| {
        // One that has just ended has no name.
        std::fs::read_to_string(task.unwrap().path().join("comm")).ok()
    });
    names.filter(|name| name.trim_end() == "phield-pkcs11").count()
}

/// Wraps a key and unwraps it again.
fn round_trip(provider: &dyn KeyProvider, kek: &KekReference) -> Result<(), ProviderError> {
    block_on(async {
        let key = KeyMaterial::random().unwrap();
        let wrapped = provider.wrap(kek, &context(), &key).await?;
        let opened = provider.unwrap(kek, &context(), &wrapped).await?;
        assert_eq!(opened.expose_bytes(), key.expose_bytes(), "another key came out");
        Ok(())
    })
}

/// The error of a round trip with `kek`: its class, and what the HSM says.
fn refused(provider: &dyn KeyProvider) -> (ProviderErrorKind, Pkcs11Error) {
    let error = round_trip(provider, &reference("kek")).unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    (
        error.kind(),
        source.downcast_ref::<Pkcs11Error>().unwrap().clone(),
    )
}
