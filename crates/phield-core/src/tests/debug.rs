//! What `Debug` and `Display` show of every type that holds or names a secret: never the secret (rule 32).

use std::sync::Arc;

use super::block_on;
use crate::config::ConfigError;
use crate::error::RingError;
use crate::error::{OpenError, SealError, Unsealable};
use crate::key::{KeyId, KeyMaterial};
use crate::local::{LocalKeyFile, LocalProvider, Passphrase};
use crate::name::{AppName, RingName};
use crate::provider::{AllowedProvider, ProviderError, ProviderErrorKind};
use crate::record::KekReference;
use crate::ring::Ring;
use crate::settings::RingSettings;
use crate::store::FileStore;
use crate::stretch::Stretching;
use crate::token::Suite;

const PASSPHRASE: &str = "correct horse battery staple";

#[test]
fn secrets_and_what_holds_them() {
    let folder = tempfile::tempdir().unwrap();
    let passphrase = Passphrase::new(PASSPHRASE.to_owned());
    assert_eq!(format!("{passphrase:?}"), "Passphrase { .. }");
    let file =
        LocalKeyFile::create(&folder.path().join("keys"), &passphrase, Stretching::minimal(), 5).unwrap();
    assert_eq!(
        format!("{file:?}"),
        "LocalKeyFile { keks: {1: KekEntry { created: 5, state: Active, key: KeyMaterial { .. } }} }"
    );
    let provider = LocalProvider::new(&file);
    assert_eq!(
        format!("{provider:?}"),
        r#"LocalProvider { name: ProviderName("local"), keks: {KekReference("1"): ServedKek { state: Active, created: 5, key: Kek { .. } }} }"#
    );
    let allowed = AllowedProvider::new(Arc::new(provider), [KekReference::new("1").unwrap()]);
    let mut settings = RingSettings::new(
        AppName::from_static("emr"),
        RingName::from_static("dev"),
        vec![allowed],
    );
    let ring = block_on(Ring::generate(&mut settings, &[(None, Suite::Aes256Gcm)])).unwrap();
    assert_eq!(
        format!("{ring:?}"),
        r#"VerifiedRing { ring: "dev", app: "emr", epoch: 1, records: 6, .. }"#
    );
    let keyring = block_on(ring.keyring(&settings)).unwrap();
    assert_eq!(
        format!("{keyring:?}"),
        r#"Keyring { app: "emr", ring: "dev", epoch: 1, keys: 6, .. }"#
    );
    let record = &ring.manifest().records[0];
    assert_eq!(format!("{:?}", record.wraps[0]), "Wrap(local 1, 93 bytes)");
    let ring = Ring::new(settings, FileStore::new(folder.path().join("ring")), None);
    assert!(format!("{ring:?}").contains("Kek { .. }"));
    assert!(!format!("{ring:?}").contains(PASSPHRASE));
    assert_eq!(
        format!("{:?}", KeyMaterial::random().unwrap()),
        "KeyMaterial { .. }"
    );
}

/// Every error there is, as it is printed.
#[test]
fn errors() {
    let id = KeyId::new(7).unwrap();
    let provider = || ProviderError::new(ProviderErrorKind::Unavailable, "unwrap");
    let shown: Vec<String> = [
        RingError::Malformed("the manifest"),
        RingError::Authentication,
        RingError::Stale { epoch: 1, known: 2 },
        RingError::KeyUnavailable(id, provider()),
        RingError::KeyRefused(id, provider()),
        RingError::KeyState(id),
        RingError::UnknownKey(id),
        RingError::Conflict,
        RingError::Clock,
        ConfigError::Pin.into(),
        ConfigError::KekNotAllowed(id).into(),
        ConfigError::NotFips("this: use that").into(),
        ConfigError::NoFipsMode.into(),
    ]
    .iter()
    .map(ToString::to_string)
    .collect();
    assert_eq!(
        shown,
        [
            "malformed: the manifest",
            "the key ring does not authenticate: wrong key, passphrase, ring or app, or it was changed",
            "the key ring is stale: it has epoch 1, and epoch 2 is known to the epoch witness or min_epoch",
            "key 00000007 cannot be unwrapped now",
            "the provider refused to unwrap key 00000007",
            "the pinned ring key 00000007 is compromised or destroyed",
            "key 00000007 is not in the key ring: `phield keys list` shows those that are",
            "the key ring was changed by somebody else meanwhile; nothing was written, try again",
            "the system clock stands before 1970",
            "ring_key is written as 8 hex digits, a colon and 64 hex digits, all lower-case",
            "no allowed key-encryption key opens key 00000007: is its reference in keks, and in the key file?",
            "refused by the FIPS profile: this: use that",
            "the cryptographic module is not in FIPS mode",
        ]
    );
    assert_eq!(
        format!("{:?}", provider()),
        "ProviderError { kind: Unavailable, call: \"unwrap\", source: None }"
    );
    let open = [
        OpenError::Malformed,
        OpenError::UnknownKey(id),
        OpenError::KeyUnavailable(id),
        OpenError::KeyState(id),
        OpenError::Authentication,
    ];
    assert_eq!(
        format!("{open:?}"),
        "[Malformed, UnknownKey(KeyId(00000007)), KeyUnavailable(KeyId(00000007)), KeyState(KeyId(00000007)), Authentication]"
    );
    let seal = [
        SealError::KeyExpired(id),
        SealError::Unsealable(Unsealable::PaddingTooShort),
        SealError::NoActiveKey,
    ];
    assert_eq!(
        format!("{seal:?}"),
        "[KeyExpired(KeyId(00000007)), Unsealable(PaddingTooShort), NoActiveKey]"
    );
}

/// A passphrase that somebody wrote into the wrong file is not repeated by the message about it.
#[test]
fn a_wrong_configuration_is_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("phield.toml");
    std::fs::write(
        &path,
        "app = \"clinic\"\nring = \"dev\"\npassphrase = \"hunter2\"\n",
    )
    .unwrap();
    let error = crate::config::Config::read(&path).unwrap_err();
    let shown = format!(
        "{error} {error:?} {:?}",
        std::error::Error::source(&error).map(ToString::to_string)
    );
    assert!(
        error.to_string().contains("line 3: unknown field `passphrase`"),
        "{error}"
    );
    assert!(!shown.contains("hunter2"), "{shown}");
}
