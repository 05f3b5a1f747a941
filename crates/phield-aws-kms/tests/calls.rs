//! What the provider sends, and what it makes of answers: against a server that answers as told. The real behaviour of KMS
//! is in `tests/kms`.
#![allow(clippy::unwrap_used, reason = "clippy allows it in the test functions alone")]

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use aws_sdk_kms::config::{BehaviorVersion, Credentials, ProvideCredentials, Region};
use data_encoding::BASE64;
use phield_aws_kms::{AwsKmsProvider, CallLimits, KeyPurpose, KmsFailure, ResolveError};
use phield_core::{
    KekReference, KeyContext, KeyMaterial, KeyProvider, KeyUse, ProviderError, ProviderErrorKind, RingName,
    ScopeName, Share,
};
use phield_testkit::servers::{Fault, KmsProxy};
use phield_testkit::{TestRing, block_on};

const ARN: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const OTHER: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// Of some key: with a ring, a scope and a share of its own.
fn context() -> KeyContext {
    static CONTEXT: LazyLock<KeyContext> = LazyLock::new(|| {
        let ring = block_on(TestRing::new("kms").ring().load()).unwrap();
        ring.manifest().records[0].context.clone()
    });
    let mut context = CONTEXT.clone();
    context.ring = RingName::from_static("clinic");
    context.scope = Some(ScopeName::from_static("a"));
    context.share = Some(Share::Second);
    (context.key_use, context.suite) = (KeyUse::Index, None);
    context
}

fn config(server: &KmsProxy) -> aws_sdk_kms::config::Builder {
    aws_sdk_kms::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(Credentials::new("testing", "testing", None, None, "static"))
        .endpoint_url(server.url())
}

fn provider(server: &KmsProxy) -> AwsKmsProvider {
    AwsKmsProvider::from_client(&aws_sdk_kms::Client::from_conf(config(server).build()))
}

fn reference(text: &str) -> KekReference {
    KekReference::new(text).unwrap()
}

fn key() -> KeyMaterial {
    KeyMaterial::init_with(|key| *key = [0x5a; 32])
}

/// What `Decrypt`, `GenerateDataKey` and `GenerateMac` answer.
fn answer(key_id: &str, plaintext: &[u8]) -> Fault {
    let (blob, plaintext) = (BASE64.encode(b"wrap"), BASE64.encode(plaintext));
    Fault::Answer(
        200,
        format!(
            r#"{{"KeyId":"{key_id}","Plaintext":"{plaintext}","CiphertextBlob":"{blob}","Mac":"{plaintext}"}}"#
        ),
    )
}

/// The error of every call, which must be of one kind.
async fn errors(provider: &AwsKmsProvider, arn: &str) -> ProviderError {
    let (arn, context) = (reference(arn), context());
    let error = provider.unwrap(&arn, &context, b"wrap").await.unwrap_err();
    let kinds = [
        provider.wrap(&arn, &context, &key()).await.unwrap_err().kind(),
        provider.generate(&arn, &context).await.unwrap_err().kind(),
        provider.mac(&arn, b"message").await.unwrap_err().kind(),
    ];
    assert_eq!(kinds, [error.kind(); 3]);
    error
}

fn failure(error: &ProviderError) -> &KmsFailure {
    std::error::Error::source(error).unwrap().downcast_ref().unwrap()
}

#[tokio::test]
async fn error_classes() {
    use ProviderErrorKind::{Authentication, Refused, Unavailable, UnknownKek, Unsupported};
    let server = KmsProxy::alone();
    let provider = provider(&server).with_limits(CallLimits::new(Duration::from_secs(20), 1).unwrap());
    for (status, code, kind) in [
        (400, "AccessDeniedException", Refused),
        (400, "DisabledException", Refused),
        (400, "KMSInvalidStateException", Refused),
        (400, "NotFoundException", UnknownKek),
        (400, "UnrecognizedClientException", Refused),
        (400, "InvalidSignatureException", Refused),
        (400, "InvalidGrantTokenException", Refused),
        (400, "SomethingNewException", Refused),
        (400, "ThrottlingException", Unavailable),
        (400, "LimitExceededException", Unavailable),
        (400, "ExpiredTokenException", Unavailable),
        (500, "KMSInternalException", Unavailable),
        (500, "DependencyTimeoutException", Unavailable),
        (500, "KeyUnavailableException", Unavailable),
        (503, "SomethingNewException", Unavailable),
        (400, "InvalidCiphertextException", Authentication),
        (400, "IncorrectKeyException", Authentication),
        (400, "InvalidKeyUsageException", UnknownKek),
        (400, "ValidationException", UnknownKek),
        (400, "UnsupportedOperationException", Unsupported),
    ] {
        server.set(Fault::Error(status, code));
        let error = errors(&provider, ARN).await;
        assert_eq!(error.kind(), kind, "{code}");
        let failure = failure(&error);
        assert_eq!((failure.code(), failure.status()), (Some(code), Some(status)));
        assert_eq!(failure.request_id(), Some("00000000-0000-4000-8000-000000000000"));
    }
}

/// A signature whose time is wrong is a wrong clock, no revocation.
#[tokio::test]
async fn a_wrong_clock_is_an_outage() {
    let server = KmsProxy::alone();
    let provider = provider(&server);
    let wrong = |words: &str| {
        let json = format!(r#"{{"__type":"InvalidSignatureException","message":"{words}"}}"#);
        Fault::Answer(400, json)
    };
    for (words, kind) in [
        (
            "Signature expired: 20260101T000000Z is now earlier than",
            ProviderErrorKind::Unavailable,
        ),
        (
            "Signature not yet current: 20270101T000000Z is still later",
            ProviderErrorKind::Unavailable,
        ),
        (
            "The request signature we calculated does not match",
            ProviderErrorKind::Refused,
        ),
    ] {
        server.set(wrong(words));
        assert_eq!(errors(&provider, ARN).await.kind(), kind, "{words}");
    }
    server.set(Fault::Error(400, "RequestTimeTooSkewed"));
    assert_eq!(
        errors(&provider, ARN).await.kind(),
        ProviderErrorKind::Unavailable
    );
}

/// A page of a proxy or load balancer on the way refuses nothing in the name of KMS.
#[tokio::test]
async fn answers_without_a_code_are_outages() {
    let server = KmsProxy::alone();
    let provider = provider(&server).with_limits(CallLimits::new(Duration::from_secs(20), 1).unwrap());
    for status in [403, 407, 502, 503] {
        server.set(Fault::Status(status));
        let error = errors(&provider, ARN).await;
        assert_eq!(error.kind(), ProviderErrorKind::Unavailable, "{status}");
        assert_eq!(
            (failure(&error).code(), failure(&error).status()),
            (None, Some(status))
        );
    }
    for answer in ["", "<html>", "{", r#"{"Plaintext": 7}"#] {
        server.set(Fault::Answer(200, answer.to_owned()));
        let error = provider
            .unwrap(&reference(ARN), &context(), b"wrap")
            .await
            .unwrap_err();
        let kind = error.kind();
        // An empty answer is one of KMS that names no key.
        let expected = if answer.is_empty() {
            ProviderErrorKind::Authentication
        } else {
            ProviderErrorKind::Unavailable
        };
        assert_eq!(kind, expected, "{answer}");
    }
}

/// A refusal is said at once; an outage is tried again, for as long as the limits say.
#[tokio::test]
async fn attempts_and_times() {
    let server = KmsProxy::alone();
    let provider = provider(&server).with_limits(CallLimits::new(Duration::from_secs(2), 3).unwrap());
    let (arn, context) = (reference(ARN), context());
    let call = async |fault: Fault| {
        server.set(fault);
        let (before, started) = (server.calls(), Instant::now());
        let error = provider.unwrap(&arn, &context, b"wrap").await.unwrap_err();
        (error.kind(), server.calls() - before, started.elapsed())
    };
    let (kind, calls, _) = call(Fault::AccessDenied).await;
    assert_eq!((kind, calls), (ProviderErrorKind::Refused, 1));
    for fault in [
        Fault::Throttle,
        Fault::Error(500, "KMSInternalException"),
        Fault::Status(503),
    ] {
        let (kind, calls, _) = call(fault).await;
        assert_eq!((kind, calls), (ProviderErrorKind::Unavailable, 3));
    }
    let (kind, calls, _) = call(Fault::Refuse).await;
    assert_eq!((kind, calls), (ProviderErrorKind::Unavailable, 0));
    let (kind, calls, time) = call(Fault::BlackHole).await;
    assert_eq!(kind, ProviderErrorKind::Unavailable);
    assert!((1..=2).contains(&calls), "{calls}");
    assert!(
        time >= Duration::from_secs(1) && time < Duration::from_secs(4),
        "{time:?}"
    );
    // It comes back by itself.
    server.set(answer(ARN, &[7; 32]));
    assert_eq!(
        provider
            .unwrap(&arn, &context, b"wrap")
            .await
            .unwrap()
            .expose_bytes(),
        &[7; 32]
    );
}

/// The answer is of the key that was asked for, and 32 bytes.
#[tokio::test]
async fn answers_that_are_not_the_key() {
    let server = KmsProxy::alone();
    let provider = provider(&server);
    let (arn, context) = (reference(ARN), context());
    for fault in [
        answer(OTHER, &[7; 32]),
        answer("1234abcd-12ab-34cd-56ef-1234567890ab", &[7; 32]),
        answer("", &[7; 32]),
        answer(ARN, &[7; 31]),
        answer(ARN, &[7; 33]),
        answer(ARN, &[]),
        Fault::Answer(200, "{}".to_owned()),
    ] {
        server.set(fault.clone());
        let kinds = [
            provider.unwrap(&arn, &context, b"wrap").await.unwrap_err().kind(),
            provider.generate(&arn, &context).await.unwrap_err().kind(),
            provider.mac(&arn, b"message").await.unwrap_err().kind(),
        ];
        assert_eq!(kinds, [ProviderErrorKind::Authentication; 3], "{fault:?}");
    }
    server.set(answer(OTHER, &[]));
    let kind = provider.wrap(&arn, &context, &key()).await.unwrap_err().kind();
    assert_eq!(kind, ProviderErrorKind::Authentication);
}

/// What is sent: the reference, the context as separate pairs, the grant tokens.
#[tokio::test]
async fn what_is_sent() {
    let server = KmsProxy::alone();
    let provider = provider(&server).with_grant_tokens(["token".to_owned()]);
    let (arn, mut context) = (reference(ARN), context());
    let id = context.key_id;
    let pairs = format!(
        r#""phield:key":"{id}","phield:ring":"clinic","phield:scope":"a","phield:share":"2","phield:suite":"00","phield:use":"index","phield:v":"1""#
    );
    server.set(answer(ARN, &[7; 32]));
    provider.unwrap(&arn, &context, b"wrap").await.unwrap();
    let sent = server.last_call();
    assert_eq!(sorted_context(&sent), pairs);
    for part in [
        format!(r#""KeyId":"{ARN}""#),
        r#""GrantTokens":["token"]"#.to_owned(),
        format!(r#""CiphertextBlob":"{}""#, BASE64.encode(b"wrap")),
    ] {
        assert!(sent.contains(&part), "{part} in {sent}");
    }
    provider.generate(&arn, &context).await.unwrap();
    assert_eq!(sorted_context(&server.last_call()), pairs);
    assert!(server.last_call().contains(r#""KeySpec":"AES_256""#));
    provider.wrap(&arn, &context, &key()).await.unwrap();
    assert_eq!(sorted_context(&server.last_call()), pairs);
    (context.scope, context.share) = (None, None);
    provider.wrap(&arn, &context, &key()).await.unwrap();
    assert!(!server.last_call().contains("phield:scope") && !server.last_call().contains("phield:share"));
    provider.mac(&arn, b"message").await.unwrap();
    let sent = server.last_call();
    assert!(
        sent.contains(r#""MacAlgorithm":"HMAC_SHA_256""#) && sent.contains(r#""GrantTokens":["token"]"#),
        "{sent}"
    );
    assert_eq!(
        ["Decrypt", "GenerateDataKey", "Encrypt", "GenerateMac"].map(|call| server.calls_of(call)),
        [1, 1, 2, 1]
    );
}

/// The pairs in `"EncryptionContext":{…}`, sorted.
fn sorted_context(json: &str) -> String {
    let (_, rest) = json.split_once(r#""EncryptionContext":{"#).unwrap();
    let mut pairs: Vec<_> = rest.split_once('}').unwrap().0.split(',').collect();
    pairs.sort_unstable();
    pairs.join(",")
}

/// Aliases, bare ids and what is no wrap never reach the network.
#[tokio::test]
async fn refused_before_any_call() {
    let server = KmsProxy::alone();
    let provider = provider(&server);
    for text in [
        "alias/phield",
        "1234abcd-12ab-34cd-56ef-1234567890ab",
        "arn:aws:kms:eu-central-1:111122223333:alias/phield",
        "1",
    ] {
        let error = errors(&provider, text).await;
        assert_eq!(error.kind(), ProviderErrorKind::UnknownKek, "{text}");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("by its key ARN"), "{source}");
    }
    for wrapped in [vec![], vec![0; 6145]] {
        let error = provider
            .unwrap(&reference(ARN), &context(), &wrapped)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ProviderErrorKind::Malformed);
    }
    assert_eq!(server.calls(), 0);
}

/// No credentials is an outage: those of a role come over the network, too.
#[tokio::test]
async fn no_credentials() {
    #[derive(Debug)]
    struct Broken;
    impl ProvideCredentials for Broken {
        fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let error =
                aws_credential_types::provider::error::CredentialsError::provider_error("secret words");
            aws_credential_types::provider::future::ProvideCredentials::ready(Err(error))
        }
    }
    let server = KmsProxy::alone();
    let config = config(&server).credentials_provider(Broken).build();
    let provider = AwsKmsProvider::from_client(&aws_sdk_kms::Client::from_conf(config));
    let error = errors(&provider, ARN).await;
    assert_eq!(error.kind(), ProviderErrorKind::Unavailable);
    assert_eq!(
        failure(&error).to_string(),
        "the credentials of AWS could not be fetched"
    );
    assert_eq!(server.calls(), 0);
}

#[test]
fn without_a_runtime() {
    let server = KmsProxy::alone();
    let error = block_on(errors(&provider(&server), ARN));
    assert_eq!(error.kind(), ProviderErrorKind::Unsupported);
    assert!(
        std::error::Error::source(&error)
            .unwrap()
            .to_string()
            .contains("runtime")
    );
}

/// The runtime that made the first calls stands still, as that of a thread that has done its work does; calls go on
/// from another one.
#[test]
fn another_runtime() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let server = KmsProxy::alone();
    let provider = provider(&server).with_limits(CallLimits::new(Duration::from_secs(4), 3).unwrap());
    server.set(answer(ARN, &[7; 32]));
    let (first, second, third) = (runtime(), runtime(), runtime());
    let (arn, context) = (reference(ARN), context());
    let call = || provider.unwrap(&arn, &context, b"wrap");
    first.block_on(call()).unwrap();
    // One that is still there but not driven: its connection serves nobody.
    second.block_on(call()).unwrap();
    drop((first, second));
    third.block_on(call()).unwrap();
}

#[tokio::test]
async fn keys_by_alias() {
    let server = KmsProxy::alone();
    let client = aws_sdk_kms::Client::from_conf(config(&server).region(Region::new("eu-central-1")).build());
    let provider = AwsKmsProvider::from_client(&client);
    let described = |state: &str, enabled: bool, usage: &str, spec: &str| {
        Fault::Answer(
            200,
            format!(
                r#"{{"KeyMetadata":{{"KeyId":"1","Arn":"{ARN}","KeyState":"{state}","Enabled":{enabled},"KeyUsage":"{usage}","KeySpec":"{spec}"}}}}"#
            ),
        )
    };
    let (wrap, mac) = (
        ("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT"),
        ("GENERATE_VERIFY_MAC", "HMAC_256"),
    );
    server.set(described("Enabled", true, wrap.0, wrap.1));
    for key in [
        "alias/phield",
        "1234abcd-12ab-34cd-56ef-1234567890ab",
        ARN,
        "arn:aws:kms:eu-central-1:111122223333:alias/phield",
    ] {
        assert_eq!(
            provider.resolve_key(key, KeyPurpose::Wrap).await.unwrap(),
            reference(ARN),
            "{key}"
        );
        let wrong = provider.resolve_key(key, KeyPurpose::Mac).await;
        assert!(matches!(wrong, Err(ResolveError::Usage { .. })), "{key}");
    }
    server.set(described("Enabled", true, mac.0, mac.1));
    assert_eq!(
        provider
            .resolve_key("alias/pepper", KeyPurpose::Mac)
            .await
            .unwrap(),
        reference(ARN)
    );
    for spec in ["HMAC_512", "RSA_2048"] {
        server.set(described("Enabled", true, mac.0, spec));
        let wrong = provider.resolve_key("alias/pepper", KeyPurpose::Mac).await;
        assert!(matches!(wrong, Err(ResolveError::Usage { .. })), "{spec}");
    }
    for (state, enabled) in [
        ("Disabled", false),
        ("PendingDeletion", false),
        ("PendingDeletion", true),
        ("Enabled", false),
    ] {
        server.set(described(state, enabled, wrap.0, wrap.1));
        let error = provider
            .resolve_key("alias/phield", KeyPurpose::Wrap)
            .await
            .unwrap_err();
        assert!(matches!(error, ResolveError::State { .. }), "{error}");
    }
    let calls = server.calls();
    for key in [
        "",
        "alias/with space",
        "arn:aws:s3:::bucket",
        "arn:aws:kms:eu-central-1:1:alias/x",
    ] {
        let error = provider.resolve_key(key, KeyPurpose::Wrap).await.unwrap_err();
        assert!(matches!(error, ResolveError::NoKey(_)), "{key}: {error}");
    }
    assert_eq!(server.calls(), calls);
    server.set(Fault::Error(400, "NotFoundException"));
    let error = provider
        .resolve_key("alias/none", KeyPurpose::Wrap)
        .await
        .unwrap_err();
    assert!(matches!(&error, ResolveError::Provider(error) if error.kind() == ProviderErrorKind::UnknownKek));
    let error = self::provider(&server)
        .resolve_key("alias/x", KeyPurpose::Wrap)
        .await
        .unwrap_err();
    assert!(matches!(error, ResolveError::NoRegion(_)));
}
