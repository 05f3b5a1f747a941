//! Many threads on one token, with sessions killed underneath.

use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use phield::pkcs11::Pkcs11Provider;
use phield::{KeyMaterial, KeyProvider as _, ProviderErrorKind};
use phield_hsm_tests::{Client, block_on, context, provider, reference, settings};
use phield_testkit::hsm::TokenKind;

const THREADS: usize = 16;

/// How long; `PHIELD_HSM_STRESS_SECONDS` says otherwise.
fn duration() -> Duration {
    let seconds = std::env::var("PHIELD_HSM_STRESS_SECONDS").ok();
    Duration::from_secs(seconds.map_or(60, |seconds| seconds.parse().unwrap()))
}

#[derive(Default)]
struct Seen {
    requests: AtomicU64,
    failed: AtomicU64,
    disturbed: AtomicU64,
    ended: AtomicBool,
    /// Held by every call, and by a disturbance that a token cannot bear in the middle of one.
    calls: RwLock<()>,
}

impl Seen {
    fn call<T>(&self, call: impl Future<Output = T>) -> T {
        let _call = self.calls.read().unwrap();
        block_on(call)
    }

    /// Kills the sessions of the process, by turns in two ways.
    ///
    /// SoftHSM 2.6.1 frees a session that is closed while another thread's call uses it, and the process dies (`SIGSEGV`);
    /// kryoptic 1.5.4 waits for itself for ever (`phield_hsm_tests::settings`). There it is done between calls.
    fn disturb(&self, client: &Client, kind: TokenKind) {
        let log_out = self.disturbed.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        let between_calls = kind == TokenKind::Kryoptic || !log_out;
        let _calls = between_calls.then(|| self.calls.write().unwrap());
        if log_out {
            client.log_out();
        } else {
            client.close_all_sessions();
        }
    }
}

/// Wraps, unwraps and computes MACs, by two keys each; a failed call is an outage, and nothing else.
fn work(provider: &Pkcs11Provider, thread: usize, mac: [u8; 32], seen: &Seen) {
    let (kek, pepper) = (
        ["kek", "other"][thread % 2],
        ["pepper", "other pepper"][thread % 2],
    );
    let (kek, pepper, context) = (reference(kek), reference(pepper), context());
    let request = |failed: Option<phield::ProviderError>| {
        seen.requests.fetch_add(1, Ordering::Relaxed);
        if let Some(error) = failed {
            assert_eq!(error.kind(), ProviderErrorKind::Unavailable, "{error:?}");
            seen.failed.fetch_add(1, Ordering::Relaxed);
        }
    };
    while !seen.ended.load(Ordering::Relaxed) {
        let key = KeyMaterial::random().unwrap();
        match seen.call(provider.wrap(&kek, &context, &key)) {
            Err(error) => request(Some(error)),
            Ok(wrapped) => {
                request(None);
                let opened = seen.call(provider.unwrap(&kek, &context, &wrapped));
                if let Ok(opened) = &opened {
                    assert_eq!(opened.expose_bytes(), key.expose_bytes(), "a wrong key");
                }
                request(opened.err());
            }
        }
        let made = seen.call(provider.mac(&pepper, b"message"));
        if let Ok(made) = made {
            assert_eq!(made, mac, "a wrong MAC");
        }
        request(made.err());
    }
}

on_both! {
    /// No wrong result, no deadlock: a call that hangs would not let its thread end.
    fn sixteen_threads(token) {
        let made = provider(token);
        for key in ["kek", "other", "pepper", "other pepper"] {
            block_on(made.create_key(&reference(key))).unwrap();
        }
        let macs = ["pepper", "other pepper"].map(|key| block_on(made.mac(&reference(key), b"message")).unwrap());
        drop(made);
        let mut settings = settings(token);
        if token.kind() == TokenKind::SoftHsm {
            settings.sessions = THREADS;
        }
        let (provider, client, seen) = (Pkcs11Provider::new(settings), Client::new(token), Seen::default());
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let (provider, seen) = (&provider, &seen);
                    scope.spawn(move || work(provider, thread, macs[thread % 2], seen))
                })
                .collect();
            let start = Instant::now();
            while start.elapsed() < duration() && !threads.iter().any(|thread| thread.is_finished()) {
                std::thread::sleep(Duration::from_millis(20));
                seen.disturb(&client, token.kind());
            }
            seen.ended.store(true, Ordering::Relaxed);
        });
        let (counts, requests) = (provider.counts(), seen.requests.load(Ordering::Relaxed));
        println!(
            "phield: {:?}: {THREADS} threads, {} s, disturbed {} times: {requests} requests, {} retries, {} failures",
            token.kind(),
            duration().as_secs(),
            seen.disturbed.load(Ordering::Relaxed),
            counts.retries,
            counts.failures,
        );
        assert_eq!((counts.calls, counts.failures), (requests, seen.failed.load(Ordering::Relaxed)));
        assert!(counts.retries > 0, "nothing was disturbed");
        assert!(counts.failures < requests / 10, "most of it failed");
        crate::round_trip(&provider, &reference("kek")).unwrap();
    }
}
