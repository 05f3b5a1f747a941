//! No key stands in what the SDK logs, at its most talkative.
#![allow(clippy::unwrap_used, reason = "clippy allows it in the test functions alone")]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use aws_sdk_kms::config::{BehaviorVersion, Credentials, StalledStreamProtectionConfig};
use data_encoding::{BASE64, HEXLOWER};
use phield_aws_kms::AwsKmsProvider;
use phield_core::{KekReference, KeyMaterial, KeyProvider};
use phield_testkit::servers::{Fault, KmsProxy};
use phield_testkit::{TestRing, block_on};
use tracing_subscriber::filter::LevelFilter;

const ARN: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().map_err(|_| io::ErrorKind::Other)?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_key_is_logged() {
    let ring = block_on(TestRing::new("kms").ring().load()).unwrap();
    let context = ring.manifest().records[0].context.clone();
    let (log, server) = (Log::default(), KmsProxy::alone());
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    tracing_subscriber::util::SubscriberInitExt::init(subscriber);

    let bytes: [u8; 32] = std::array::from_fn(|i| 0xa0 + u8::try_from(i).unwrap());
    let key = KeyMaterial::init_with(|key| *key = bytes);
    let base64 = BASE64.encode(&bytes);
    let config = aws_sdk_kms::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(Credentials::new(
            "testing",
            "secret access key",
            None,
            None,
            "static",
        ))
        // With it a body is a stream, and streams are not shown.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .endpoint_url(server.url());
    let provider = AwsKmsProvider::from_client(&aws_sdk_kms::Client::from_conf(config.build()));
    let reference = KekReference::new(ARN).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        // As KMS answers: to `Encrypt` and `GenerateMac` without the key.
        let public = format!(r#"{{"KeyId":"{ARN}","CiphertextBlob":"d3JhcA==","Mac":"bWFj"}}"#);
        server.set(Fault::Answer(200, public));
        provider.wrap(&reference, &context, &key).await.unwrap();
        let _ = provider.mac(&reference, b"hash of a value").await;
        let secret = format!(r#"{{"KeyId":"{ARN}","Plaintext":"{base64}","CiphertextBlob":"d3JhcA=="}}"#);
        // The second is no JSON, but holds the key.
        for answer in [secret.clone(), secret.replace('{', "{{")] {
            server.set(Fault::Answer(200, answer));
            let _ = provider.generate(&reference, &context).await;
            let error = provider.unwrap(&reference, &context, b"wrap").await.err();
            let shown = format!("{error:?}");
            assert!(!shown.contains(&base64), "{shown}");
        }
    });
    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(log.contains("transmitting request"), "the log is talkative");
    let list = format!("{bytes:?}");
    let message = BASE64.encode(b"hash of a value");
    let inner = list.trim_matches(['[', ']']);
    for secret in [
        base64.as_str(),
        &HEXLOWER.encode(&bytes),
        inner,
        "secret access key",
        &message,
        "hash of a value",
    ] {
        let place = log.find(secret);
        let around = place.map(|at| &log[at.saturating_sub(600)..at]);
        assert_eq!(place, None, "{secret}: after {around:?}");
    }
}
