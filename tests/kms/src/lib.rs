//! Keys at the two emulators of AWS KMS, and providers that use them through a proxy.
#![forbid(unsafe_code)]
#![allow(missing_docs, clippy::missing_panics_doc, reason = "helpers of tests")]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_sdk_kms::Client;
use aws_sdk_kms::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_kms::types::{KeySpec, KeyUsageType};
use phield_aws_kms::{AwsKmsProvider, CallLimits};
use phield_core::{AllowedProvider, KekReference, KeyContext, KeyId, KeyMaterial, KeyUse, RingName};
use phield_testkit::servers::{KmsProxy, MinistackServer, MotoServer};
use phield_testkit::{TestRing, block_on};

pub const REGION: &str = "eu-central-1";
pub const OTHER_REGION: &str = "eu-west-1";

/// Which emulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "for tests alone")]
pub enum Emulator {
    Moto,
    Ministack,
}

/// An emulator, shared by the tests of the process, behind a proxy of one test.
#[derive(Debug)]
#[allow(clippy::exhaustive_structs, reason = "for tests alone")]
pub struct Kms {
    pub proxy: KmsProxy,
    /// Past the proxy: for administration.
    direct: String,
}

impl Emulator {
    #[must_use]
    pub fn kms(self) -> Kms {
        let port = match self {
            Self::Moto => MotoServer::shared().port(),
            Self::Ministack => MinistackServer::shared().port(),
        };
        Kms {
            proxy: KmsProxy::start(port),
            direct: format!("http://127.0.0.1:{port}"),
        }
    }
}

fn client(url: &str, region: &str) -> Client {
    let config = aws_sdk_kms::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(Credentials::new("testing", "testing", None, None, "static"))
        .region(Region::new(region.to_owned()))
        .endpoint_url(url);
    Client::from_conf(config.build())
}

impl Kms {
    /// A client that the proxy does not see.
    #[must_use]
    pub fn admin(&self, region: &str) -> Client {
        client(&self.direct, region)
    }

    /// A provider behind the proxy, whose calls give up after four seconds: longer than an emulator takes on a busy machine.
    #[must_use]
    pub fn provider(&self) -> AwsKmsProvider {
        let limits = CallLimits::new(Duration::from_secs(4), 2).expect("within the bounds");
        AwsKmsProvider::from_client(&client(&self.proxy.url(), REGION)).with_limits(limits)
    }

    /// The provider with these keys allowed.
    #[must_use]
    pub fn allowed(&self, keks: &[&KekReference]) -> AllowedProvider {
        AllowedProvider::new(Arc::new(self.provider()), keks.iter().copied().cloned())
    }

    /// A new key for wrapping.
    pub async fn key(&self, region: &str) -> KekReference {
        self.create(
            region,
            KeyUsageType::EncryptDecrypt,
            KeySpec::SymmetricDefault,
            false,
        )
        .await
    }

    /// A new multi-region key for wrapping.
    pub async fn multi_region_key(&self, region: &str) -> KekReference {
        self.create(
            region,
            KeyUsageType::EncryptDecrypt,
            KeySpec::SymmetricDefault,
            true,
        )
        .await
    }

    /// A new HMAC key.
    pub async fn hmac_key(&self, region: &str) -> KekReference {
        self.create(region, KeyUsageType::GenerateVerifyMac, KeySpec::Hmac256, false)
            .await
    }

    async fn create(
        &self,
        region: &str,
        usage: KeyUsageType,
        spec: KeySpec,
        multi_region: bool,
    ) -> KekReference {
        let created = self
            .admin(region)
            .create_key()
            .key_usage(usage)
            .key_spec(spec)
            .multi_region(multi_region);
        let created = created.send().await.expect("the emulator makes keys");
        let arn = created
            .key_metadata
            .and_then(|key| key.arn)
            .expect("a key has an ARN");
        KekReference::new(arn).expect("an ARN is a reference")
    }
}

/// The bare id of a key: what moto wants where it should take an ARN.
#[must_use]
pub fn id(key: &KekReference) -> &str {
    key.as_str().rsplit('/').next().unwrap_or_default()
}

/// The context of some key, with this id.
#[must_use]
pub fn context(key_id: u32) -> KeyContext {
    static CONTEXT: LazyLock<KeyContext> = LazyLock::new(|| {
        let ring = block_on(TestRing::new("kms").ring().load()).expect("a test ring loads");
        let record = ring.manifest().records.first().expect("a ring has keys");
        record.context.clone()
    });
    let mut context = CONTEXT.clone();
    context.ring = RingName::from_static("clinic");
    context.key_id = KeyId::new(key_id).expect("not 0");
    (context.key_use, context.suite) = (KeyUse::Uid, None);
    context
}

/// Some key.
#[must_use]
pub fn key_material(byte: u8) -> KeyMaterial {
    KeyMaterial::init_with(|key| *key = [byte; 32])
}
