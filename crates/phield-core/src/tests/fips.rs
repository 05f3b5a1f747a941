//! The FIPS profile (format §9): what it refuses, by name, and that the module makes the nonces.

use std::collections::HashSet;
use std::sync::Arc;

use super::block_on;
use super::vectors::token_vector;
use crate::cipher::rust_crypto;
use crate::config::ConfigError;
use crate::context::{self, KeyContext, Row};
use crate::error::{OpenError, RingError};
use crate::field::Field;
use crate::fips;
use crate::frame;
use crate::key::{DataKey, Kek, KeyId, KeyMaterial, RingKey};
use crate::keyring::Keyring;
use crate::keyring::fixed::{FixedKey, keyring};
use crate::local::{LocalKeyFile, LocalProvider, Passphrase};
use crate::manifest::Manifest;
use crate::name::{AppName, ColumnName, RingName, TableName};
use crate::phi::Phi;
use crate::provider::AllowedProvider;
use crate::record::{KekReference, KeyRecord, KeyState, KeyUse};
use crate::ring::{NewKey, Ring};
use crate::schedule;
use crate::scope::Scopes;
use crate::sealed::Sealed;
use crate::settings::{RingKeyPin, RingSettings};
use crate::stretch::{self, Stretching};
use crate::token::{self, Parts, Suite};
use crate::value::ValueType;
use crate::wrap;

const APP: AppName = AppName::from_static("emr");

/// What was refused.
fn refused<T>(result: Result<T, RingError>) -> &'static str {
    match result.err() {
        Some(RingError::Config(ConfigError::NotFips(what))) => what,
        other => panic!("not refused by the profile: {other:?}"),
    }
}

fn settings(folder: &tempfile::TempDir) -> RingSettings {
    let passphrase = Passphrase::new("correct horse battery staple".to_owned());
    let file = folder.path().join("keys");
    let keys = LocalKeyFile::create(&file, &passphrase, Stretching::default(), 1).unwrap();
    let local = Arc::new(LocalProvider::new(&keys));
    let allowed = AllowedProvider::new(local, [KekReference::new("1").unwrap()]);
    RingSettings::new(APP, RingName::from_static("dev"), vec![allowed])
}

#[test]
fn the_module_is_in_its_mode() {
    fips::check_module().unwrap();
}

#[test]
fn a_new_ring_or_keyring_has_no_xchacha_key() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(&folder);
    let wanted = [(None, Suite::XChaCha20Poly1305)];
    let what = refused(block_on(Ring::generate(&mut settings, &wanted)).map(drop));
    assert!(what.contains("XChaCha20-Poly1305") && what.contains("AES-256-GCM"));
    assert!(settings.pins.is_empty(), "no key was made");
    refused(Keyring::ephemeral_with_suite(APP, Suite::XChaCha20Poly1305));
    Keyring::ephemeral(APP).unwrap();
}

/// A ring from elsewhere, with an XChaCha data key: refused as long as that key is not destroyed.
#[test]
fn a_ring_with_an_xchacha_key_is_not_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(&folder);
    let record = |settings: &RingSettings, id: u32, key_use, suite, key: &KeyMaterial| {
        let new = NewKey {
            key_use,
            suite,
            scope: None,
            state: KeyState::DecryptOnly,
        };
        block_on(settings.record(new, KeyId::new(id).unwrap(), key, 1)).unwrap()
    };
    let key = KeyMaterial::random().unwrap();
    let ring_record = KeyRecord {
        state: KeyState::Active,
        ..record(&settings, 1, KeyUse::Ring, None, &key)
    };
    let xchacha = record(
        &settings,
        7,
        KeyUse::Data,
        Some(Suite::XChaCha20Poly1305),
        &KeyMaterial::random().unwrap(),
    );
    settings.pins = vec![RingKeyPin::of(&ring_record)];
    let stored = |xchacha: KeyRecord| {
        let manifest = Manifest {
            ring: RingName::from_static("dev"),
            app: APP,
            epoch: 1,
            records: vec![ring_record.clone(), xchacha],
        };
        manifest.check_rules().unwrap();
        manifest.seal(&RingKey::new(key.expose_bytes()))
    };
    for state in [
        KeyState::PreActive,
        KeyState::Active,
        KeyState::DecryptOnly,
        KeyState::Compromised,
    ] {
        let live = KeyRecord {
            state,
            ..xchacha.clone()
        };
        let what = refused(block_on(settings.verify(&stored(live))).map(drop));
        assert!(what.contains("XChaCha20-Poly1305"));
    }
    let destroyed = KeyRecord {
        state: KeyState::Destroyed,
        wraps: Vec::new(),
        ..xchacha
    };
    let verified = block_on(settings.verify(&stored(destroyed))).unwrap();
    block_on(verified.keyring(&settings)).unwrap();
}

/// Not even a keyring that was put together past those checks opens suite 0x12.
#[test]
fn an_xchacha_token_does_not_open() {
    let a3 = token_vector("A3");
    let open = |key: FixedKey| {
        let keyring = keyring("emr", Scopes::default(), [key]);
        a3.with_row(|row| {
            let mut opener = keyring.opener(row).unwrap();
            opener.open_token(&a3.column(), None, a3.token.0.clone()).err()
        })
    };
    for suite in [Suite::Aes256Gcm, Suite::XChaCha20Poly1305] {
        let key = FixedKey::data(a3.key_id, suite, a3.data_key.array());
        assert_eq!(open(key), Some(OpenError::Authentication), "{suite}");
    }
}

#[test]
fn argon2id_is_refused_and_pbkdf2_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    let passphrase = Passphrase::new("correct horse battery staple".to_owned());
    let argon2id = Stretching::Argon2id {
        memory_kib: 262_144,
        passes: 3,
        lanes: 4,
    };
    let what = refused(LocalKeyFile::create(&file, &passphrase, argon2id, 1));
    assert!(what.contains("Argon2id") && what.contains("PBKDF2"));
    assert!(!file.exists());
    let refused = stretch::argon2id(b"input", &[0; 16], [65_536, 3, 1], &mut [0; 32]);
    assert_eq!(refused, Err(stretch::InvalidParameters));

    let least = Stretching::Pbkdf2 { iterations: 600_000 };
    assert_eq!([Stretching::default(), Stretching::minimal()], [least; 2]);
    LocalKeyFile::create(&file, &passphrase, Stretching::default(), 1).unwrap();
    assert_eq!(std::fs::read(&file).unwrap()[5], 0x02);
    LocalKeyFile::open(&file, &passphrase).unwrap();
}

/// The same key file is refused when it is opened, before its passphrase is looked at (the vector L1 is opened in
/// `vectors`).
#[test]
fn an_argon2id_key_file_is_refused() {
    use std::os::unix::fs::OpenOptionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let header = [
        b"PHLK\x01\x01".as_slice(),
        &65_536_u32.to_be_bytes(),
        &3_u32.to_be_bytes(),
        &[1],
    ]
    .concat();
    let file = [header.as_slice(), &[0; 16 + 16 + 12 + 4]].concat();
    let mut options = std::fs::OpenOptions::new();
    let mut created = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .unwrap();
    std::io::Write::write_all(&mut created, &file).unwrap();
    let any = Passphrase::new("correct horse battery staple".to_owned());
    assert!(refused(LocalKeyFile::open(&path, &any)).contains("Argon2id"));
}

/// PBKDF2 is an approved service of the module from 14 bytes on.
#[test]
fn a_short_passphrase_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let create = |name: &str, passphrase: &str| {
        let passphrase = Passphrase::new(passphrase.to_owned());
        LocalKeyFile::create(&folder.path().join(name), &passphrase, Stretching::default(), 1)
    };
    assert!(refused(create("short", "thirteen byte")).contains("14 bytes"));
    create("long", "fourteen bytes").unwrap();
}

/// The module makes the nonces: all different, none left as it was; and what it seals opens here and by RustCrypto.
#[test]
fn a_thousand_tokens() {
    let data_key = [3; 32];
    let key = FixedKey::data(7, Suite::Aes256Gcm, data_key);
    let keyring = keyring("emr", Scopes::default(), [key]);
    let (table, column) = (
        TableName::from_static("patients"),
        ColumnName::from_static("name"),
    );
    let mut nonces = HashSet::new();
    for id in 0..1000_i64 {
        let row = Row::new(&table, &id).unwrap();
        let name = Phi::new(format!("patient {id}"));
        let field = Field::new(column.clone(), &name).unwrap();
        let [token] = keyring.seal_row(&row, [field]).unwrap();
        let sealed: Sealed<String> = token.required().unwrap();
        let token = sealed.as_bytes().to_vec();
        let parts = Parts::parse(&token).unwrap();
        assert!(nonces.insert(parts.nonce.0));
        let opened = keyring.opener(&row).unwrap().open_field(&column, None, sealed);
        assert_eq!(opened.unwrap(), name);

        let row = row.encode(&APP).unwrap();
        let (row_key, commitment) = schedule::row_key(&DataKey::new(&data_key), &parts.head, &row);
        let mut aad = [parts.head.as_bytes(), &commitment.0].concat();
        context::encode_field(&column, None, &mut aad).unwrap();
        let mut token = token;
        let body = token::body_mut(&mut token);
        rust_crypto::Aes256Gcm::new(row_key.expose_bytes())
            .open(&parts.nonce.0, &aad, body)
            .unwrap();
        let value = frame::read(&body[..parts.body_len]);
        assert_eq!(value, Some((ValueType::Text, name.expose().as_bytes())));
    }
    assert!(!nonces.contains(&[0; 12]));
}

/// Of wraps and key files too.
#[test]
fn nonces_of_wraps_and_key_files() {
    let context = KeyContext {
        ring: RingName::from_static("dev"),
        key_id: KeyId::new(7).unwrap(),
        suite: None,
        key_use: KeyUse::Index,
        scope: None,
        share: None,
    };
    let (kek, key) = (Kek::new(&[1; 32]), KeyMaterial::random().unwrap());
    let wraps: HashSet<_> = (0..100)
        .map(|_| wrap::seal(&kek, &context.encode(), &key).unwrap()[33..45].to_vec())
        .chain([vec![0; 12]])
        .collect();
    assert_eq!(wraps.len(), 101);
    let folder = tempfile::tempdir().unwrap();
    settings(&folder);
    let file = std::fs::read(folder.path().join("keys")).unwrap();
    assert_ne!(file[47..59], [0; 12]);
}
