//! What is an outage, and what a revocation, with a real emulator behind the proxy: nothing is opened or wrapped
//! meanwhile, and calls work again by themselves.

use std::time::{Duration, Instant};

use phield_core::ProviderErrorKind::{Authentication, Refused, Unavailable};
use phield_core::{KeyProvider as _, ProviderErrorKind};
use phield_kms_tests::Emulator::{Ministack, Moto};
use phield_kms_tests::{REGION, context, key_material};
use phield_testkit::servers::{Fault, KmsProxy, MotoServer};

fn faults() -> Vec<(Fault, ProviderErrorKind)> {
    vec![
        (Fault::Refuse, Unavailable),
        (Fault::BlackHole, Unavailable),
        (Fault::Status(500), Unavailable),
        (Fault::Status(403), Unavailable),
        (Fault::Error(500, "KMSInternalException"), Unavailable),
        (Fault::Throttle, Unavailable),
        (Fault::Error(400, "LimitExceededException"), Unavailable),
        (Fault::Delay(Duration::from_secs(6)), Unavailable),
        (Fault::AccessDenied, Refused),
        (Fault::Disabled, Refused),
        (Fault::PendingDeletion, Refused),
        (Fault::Error(400, "UnrecognizedClientException"), Refused),
        (Fault::Error(400, "InvalidCiphertextException"), Authentication),
    ]
}

#[tokio::test]
async fn every_fault_has_its_class_and_ends() {
    for emulator in [Moto, Ministack] {
        let kms = emulator.kms();
        let (provider, kek) = (kms.provider(), kms.key(REGION).await);
        let wrapped = provider.wrap(&kek, &context(1), &key_material(7)).await.unwrap();
        for (fault, kind) in faults() {
            kms.proxy.set(fault.clone());
            let started = Instant::now();
            let error = provider.unwrap(&kek, &context(1), &wrapped).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{emulator:?} {fault:?}");
            // Four seconds are the limit of a call; the machine may be busy.
            assert!(
                started.elapsed() < Duration::from_secs(8),
                "{fault:?} {:?}",
                started.elapsed()
            );
            kms.proxy.set(Fault::None);
            let opened = provider.unwrap(&kek, &context(1), &wrapped).await.unwrap();
            assert_eq!(
                opened.expose_bytes(),
                key_material(7).expose_bytes(),
                "{emulator:?} after {fault:?}"
            );
        }
    }
}

#[tokio::test]
async fn slow_answers_are_answers() {
    let kms = Ministack.kms();
    let (provider, kek) = (kms.provider(), kms.key(REGION).await);
    kms.proxy.set(Fault::Delay(Duration::from_millis(300)));
    let started = Instant::now();
    let calls: Vec<_> = (1..=20)
        .map(|id| {
            let (provider, kek) = (&provider, &kek);
            async move { provider.generate(kek, &context(id)).await.map(|_| ()) }
        })
        .collect();
    let mut done = Vec::new();
    // All at once: every call waits for the same 300 milliseconds.
    let mut calls: Vec<_> = calls.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|polled| {
        calls.retain_mut(|call| match call.as_mut().poll(polled) {
            std::task::Poll::Ready(result) => {
                done.push(result);
                false
            }
            std::task::Poll::Pending => true,
        });
        if calls.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert!(kms.proxy.most_at_once() > 1 && kms.proxy.most_at_once() <= 20);
}

/// The KMS itself has gone, not the way to it.
#[tokio::test]
async fn an_emulator_that_was_killed() {
    let mut server = MotoServer::start();
    let proxy = KmsProxy::start(server.port());
    let kms = Moto.kms();
    let kek = kms.key(REGION).await;
    server.kill();
    let config = aws_sdk_kms::Config::builder()
        .behavior_version(aws_sdk_kms::config::BehaviorVersion::latest())
        .credentials_provider(aws_sdk_kms::config::Credentials::new(
            "testing", "testing", None, None, "static",
        ))
        .endpoint_url(proxy.url());
    let provider =
        phield_aws_kms::AwsKmsProvider::from_client(&aws_sdk_kms::Client::from_conf(config.build()));
    let error = provider.generate(&kek, &context(1)).await.unwrap_err();
    assert_eq!(error.kind(), Unavailable);
    // Three attempts, unless other tests of the process have used up what the SDK allows it for retries.
    let attempts = proxy.calls_of("GenerateDataKey");
    assert!((1..=3).contains(&attempts), "{attempts} attempts");
}
