//! The reference vectors of format v1: every value and every intermediate value of the parts that are built.

use std::sync::Arc;

use data_encoding::HEXLOWER;
use serde::Deserialize;

use super::block_on;
use super::device::SoftwareDevice;
use crate::blind_index::{BlindIndex, Index, IndexError};
use crate::cipher::{RowCipher, SealedBody};
use crate::config::ConfigError;
use crate::context::{self, KeyContext, Row, RowBinding, RowId, Share, Unbound};
use crate::error::{OpenError, RingError};
use crate::frame::{self, Padding};
use crate::index_algorithm::IndexAlgorithm;
use crate::kdf::Prf;
use crate::key::{DataKey, Kek, KeyId, KeyMaterial, Pepper, RingKey, UidKey, UidPepper};
use crate::keyring::Keyring;
use crate::keyring::fixed::{self as fixed_keyring, FixedKey, keyring};
use crate::local::{self, fixed::FixedKek};
use crate::lp;
use crate::manifest::{Manifest, RawManifest};
use crate::name::{
    AppName, ColumnName, DomainName, ProviderName, RingName, ScopeName, TableName, TenantName,
};
use crate::normalize::Normalizer;
use crate::phi::Phi;
use crate::provider::{AllowedProvider, KeyProvider, ProviderError, ProviderErrorKind, ProviderFuture};
use crate::record::{KekReference, KeyRecord, KeyState, KeyUse, Wrap};
use crate::row::{SealingKey, fixed};
use crate::schedule;
use crate::scope::Scopes;
use crate::settings::{RingKeyPin, RingSettings};
use crate::split;
use crate::stretch::Stretching;
use crate::subject_key::{self, SubjectError, SubjectKey};
use crate::token::{self, Commitment, Head, Nonce, Parts, RowSalt, Suite};
use crate::uid::{self, IdentifierKind, SessionId, Surrogate, UidDomain};
use crate::value::ValueType;
use crate::wrap;

/// Whether a module makes the nonces: then no ciphertext is sealed twice, and vectors of ciphertexts are opened alone.
const FIPS: bool = cfg!(feature = "fips");

/// Bytes written as hex.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Hex(pub(super) Vec<u8>);

impl TryFrom<String> for Hex {
    type Error = data_encoding::DecodeError;

    fn try_from(hex: String) -> Result<Self, Self::Error> {
        HEXLOWER.decode(hex.as_bytes()).map(Self)
    }
}

impl Hex {
    pub(super) fn array<const N: usize>(&self) -> [u8; N] {
        self.0.as_slice().try_into().expect("the vector has this length")
    }
}

#[derive(Deserialize)]
struct File {
    kdf: Vec<KdfVector>,
    tokens: Vec<TokenVector>,
    salts: Vec<SaltVector>,
    #[serde(rename = "index")]
    indexes: Vec<IndexVector>,
    keys: Vec<KeyVector>,
    manifests: Vec<ManifestVector>,
    local_file: Vec<LocalVector>,
    salamander: Salamander,
    splits: Vec<SplitVector>,
    kms_contexts: Vec<KmsVector>,
    #[serde(rename = "uid")]
    uids: Vec<UidVector>,
    subjects: Vec<SubjectVector>,
}

fn file() -> File {
    serde_json::from_str(include_str!("../../vectors/v1.json")).expect("the vectors are JSON")
}

/// They are frozen: a change is a format v2, in a file of its own.
#[test]
fn the_vectors_are_frozen() {
    let sha256 = HEXLOWER.encode(&crate::kdf::sha256(include_bytes!("../../vectors/v1.json")));
    let frozen = include_str!("../../vectors/v1.json.sha256");
    assert_eq!(format!("{sha256}  v1.json\n"), frozen);
}

#[derive(Deserialize)]
struct KdfVector {
    name: String,
    key: Hex,
    label: String,
    context: Hex,
    length: usize,
    output: Hex,
}

#[test]
fn kdf() {
    let vectors = file().kdf;
    assert_eq!(vectors.len(), 4);
    for v in vectors {
        let mut out = vec![0; v.length];
        Prf::new(&v.key.array()).derive_into(&v.label, &[&v.context.0], &mut out);
        assert_eq!(out, v.output.0, "{}", v.name);
        // The context may come in pieces.
        let (a, b) = v.context.0.split_at(3);
        Prf::new(&v.key.array()).derive_into(&v.label, &[a, &[], b], &mut out);
        assert_eq!(out, v.output.0, "{}", v.name);
    }
}

#[derive(Deserialize)]
pub(super) struct TokenVector {
    pub(super) name: String,
    pub(super) suite: Hex,
    pub(super) key_id: u32,
    pub(super) data_key: Hex,
    pub(super) app: String,
    pub(super) tenant: Option<String>,
    pub(super) table: String,
    pub(super) column: String,
    pub(super) row_id: Option<Hex>,
    subject: Option<Hex>,
    subject_secret: Option<Hex>,
    subject_data_key: Option<Hex>,
    pub(super) extra: Option<Hex>,
    #[serde(rename = "type")]
    pub(super) value_type: Hex,
    pub(super) value: Hex,
    padding: String,
    salt: Hex,
    nonce: Hex,
    row_context: Hex,
    field_context: Hex,
    row_key: Hex,
    commitment: Hex,
    frame: Hex,
    pub(super) token: Hex,
    text: String,
}

/// The vector whose name starts with this word.
pub(super) fn token_vector(name: &str) -> TokenVector {
    let mut vectors = file().tokens.into_iter();
    vectors
        .find(|v| v.name.split(' ').next() == Some(name))
        .expect("there is such a vector")
}

/// A row id from its typed encoding.
pub(super) fn row_id(encoded: &[u8]) -> RowId<'_> {
    let (letter, bytes) = encoded.split_first().expect("a row id has a type letter");
    match letter {
        b'i' => RowId::Integer(i64::from_be_bytes(bytes.try_into().unwrap())),
        b'u' => RowId::Uuid(uuid::Uuid::from_slice(bytes).unwrap()),
        b's' => RowId::Text(std::str::from_utf8(bytes).unwrap().into()),
        b'b' => RowId::Bytes(bytes.into()),
        b'c' => RowId::Composite(lp::decode_list(bytes).unwrap().into_iter().map(row_id).collect()),
        _ => panic!("unknown row id"),
    }
}

fn padding(text: &str) -> Padding {
    let (kind, n) = text.split_once(':').unwrap();
    let n = n.parse().unwrap();
    match kind {
        "none" => Padding::None,
        "fixed" => Padding::Fixed(n),
        "padme" => Padding::Padme(n),
        "block" if n == 16 => Padding::Block16,
        _ => panic!("unknown padding {text}"),
    }
}

impl TokenVector {
    pub(super) fn suite(&self) -> Suite {
        Suite::from_byte(self.suite.array::<1>()[0]).unwrap()
    }

    pub(super) fn table(&self) -> TableName {
        TableName::new(self.table.clone()).unwrap()
    }

    pub(super) fn column(&self) -> ColumnName {
        ColumnName::new(self.column.clone()).unwrap()
    }

    pub(super) fn tenant(&self) -> Option<TenantName> {
        self.tenant.clone().map(|t| TenantName::new(t).unwrap())
    }

    /// Calls `f` with the row's identity.
    pub(super) fn with_row<R>(&self, f: impl FnOnce(&Row<'_>) -> R) -> R {
        let (table, tenant) = (self.table(), self.tenant());
        let id = self.row_id.as_ref().map(|id| row_id(&id.0));
        let subject = self.subject.as_ref().map(|subject| row_id(&subject.0));
        let binding: &dyn RowBinding = match &id {
            Some(id) => id,
            None => &Unbound,
        };
        let mut row = Row::new(&table, binding).unwrap();
        if let Some(tenant) = &tenant {
            row = row.with_tenant(tenant);
        }
        if let Some(subject) = &subject {
            row = row.with_subject(subject).unwrap();
        }
        f(&row)
    }

    pub(super) fn encoded_row(&self) -> Vec<u8> {
        let app = AppName::new(self.app.clone()).unwrap();
        self.with_row(|row| row.encode(&app).unwrap())
    }

    /// The key that seals: the subject's where there is one.
    fn sealing_key(&self) -> [u8; 32] {
        self.subject_data_key.as_ref().unwrap_or(&self.data_key).array()
    }

    /// The key of the row's subject, of the ring of [`keyring`].
    fn subject_key(&self) -> Option<SubjectKey> {
        let (secret, subject) = (self.subject_secret.as_ref()?, self.subject.as_ref()?);
        Some(subject_key::fixed::key(
            &RingName::from_static("fixed"),
            secret.array(),
            self.tenant().as_ref(),
            &subject.0,
        ))
    }

    pub(super) fn value_type(&self) -> ValueType {
        ValueType::from_byte(self.value_type.array::<1>()[0]).unwrap()
    }
}

#[test]
fn tokens() {
    let vectors = file().tokens;
    assert_eq!(vectors.len(), 20);
    for v in vectors {
        let name = &v.name;
        let row = v.encoded_row();
        assert_eq!(row, v.row_context.0, "{name}: ROW");
        let mut field = Vec::new();
        let extra = v.extra.as_ref().map(|extra| extra.0.as_slice());
        context::encode_field(&v.column(), extra, &mut field).unwrap();
        assert_eq!(field, v.field_context.0, "{name}: FIELD");

        let data_key = DataKey::new(&v.sealing_key());
        let subject_key = v.subject_key();
        if let Some(subject_key) = &subject_key {
            // The key itself is not to be seen: what is derived from it is.
            let derived = subject_key.data_key(&DataKey::new(&v.data_key.array()));
            assert_eq!(
                derived.prf().mac(&[]),
                data_key.prf().mac(&[]),
                "{name}: subject's data key"
            );
        }
        let id = KeyId::new(v.key_id).unwrap();
        let head = Head::new(v.suite(), id, RowSalt(v.salt.array()));
        let (row_key, commitment) = schedule::row_key(&data_key, &head, &row);
        assert_eq!(row_key.expose_bytes().as_slice(), v.row_key.0, "{name}: row key");
        assert_eq!(commitment.0.as_slice(), v.commitment.0, "{name}: commitment");

        let mut framed = Vec::new();
        let padded = padding(&v.padding)
            .padded_len(frame::unpadded_len(v.value.0.len()))
            .unwrap();
        frame::write(&mut framed, v.value_type(), &v.value.0, padded);
        assert_eq!(framed, v.frame.0, "{name}: frame");
        assert_eq!(
            frame::read(&framed),
            Some((v.value_type(), v.value.0.as_slice())),
            "{name}: frame"
        );

        assert_eq!(token::to_text(&v.token.0), v.text, "{name}: text");
        assert_eq!(token::from_text(&v.text).unwrap(), v.token.0, "{name}: text");

        if FIPS && v.suite() != Suite::Aes256Gcm {
            continue;
        }
        let key = SealingKey {
            id,
            suite: v.suite(),
            key: &data_key,
        };
        let fields = [fixed::field(
            v.column(),
            extra,
            padding(&v.padding),
            v.value_type(),
            &v.value.0,
        )];
        let [token] = fixed::seal(&key, v.salt.array(), [v.nonce.array()], &row, fields).unwrap();
        if FIPS {
            assert_eq!(token[..33], v.token.0[..33], "{name}: HEAD and COM");
        } else {
            assert_eq!(token, v.token.0, "{name}: token");
        }

        let keyring = keyring(
            "emr",
            Scopes::default(),
            [FixedKey::data(v.key_id, v.suite(), v.data_key.array())],
        );
        v.with_row(|row| {
            let row = match (&subject_key, &v.subject) {
                (Some(key), Some(subject)) => {
                    let subject = row_id(&subject.0);
                    let row = row.clone().with_subject_key(Box::leak(Box::new(subject)), key);
                    row.unwrap()
                }
                _ => row.clone(),
            };
            for token in [&v.token.0, &token] {
                let opened = keyring
                    .opener(&row)
                    .unwrap()
                    .open_token(&v.column(), extra, token.clone())
                    .unwrap();
                assert!(opened.is_well_formed(), "{name}");
                assert_eq!(
                    (opened.value_type(), opened.as_bytes()),
                    (v.value_type(), v.value.0.as_slice()),
                    "{name}"
                );
            }
        });
    }
}

/// A1 and A2 are one row: sealed in one call they come out as they stand.
#[cfg(not(feature = "fips"))]
#[test]
fn two_fields_of_one_row() {
    let (a1, a2) = (token_vector("A1"), token_vector("A2"));
    let data_key = DataKey::new(&a1.data_key.array());
    let key = SealingKey {
        id: KeyId::new(7).unwrap(),
        suite: a1.suite(),
        key: &data_key,
    };
    let field = |v: &'static TokenVector| {
        fixed::field(v.column(), None, Padding::Block16, v.value_type(), &v.value.0)
    };
    let (a1, a2): (&'static _, &'static _) = (Box::leak(Box::new(a1)), Box::leak(Box::new(a2)));
    let row = a1.encoded_row();
    let nonces = [a1.nonce.array(), a2.nonce.array()];
    let tokens = fixed::seal(&key, a1.salt.array(), nonces, &row, [field(a1), field(a2)]).unwrap();
    assert_eq!(tokens, [a1.token.0.clone(), a2.token.0.clone()]);
}

#[derive(Deserialize)]
struct SaltVector {
    name: String,
    data_key: Hex,
    #[serde(rename = "r12")]
    random: Hex,
    clock_ns: String,
    row_context: Hex,
    salt: Hex,
}

#[test]
fn hedged_salts() {
    let vectors = file().salts;
    assert_eq!(vectors.len(), 3);
    for v in vectors {
        let key = DataKey::new(&v.data_key.array());
        let salt = schedule::row_salt(
            &key,
            &v.random.array(),
            v.clock_ns.parse().unwrap(),
            &v.row_context.0,
        );
        assert_eq!(salt.0.as_slice(), v.salt.0, "{}", v.name);
    }
}

#[derive(Deserialize)]
struct IndexVector {
    name: String,
    pepper: Hex,
    key_id: u32,
    app: String,
    tenant: Option<String>,
    table: String,
    column: String,
    index: String,
    normalizer: String,
    algorithm: String,
    bits: u16,
    values: Vec<Hex>,
    context: Hex,
    index_key: Option<Hex>,
    slow_salt: Option<Hex>,
    context_sha256: Option<Hex>,
    values_sha256: Option<Hex>,
    output: Hex,
}

fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn normalizer(id: &str) -> Normalizer {
    let all = [
        Normalizer::Exact,
        Normalizer::Digits,
        Normalizer::Ssn,
        Normalizer::Name,
        Normalizer::Date,
    ];
    all.into_iter()
        .find(|n| n.id() == id)
        .unwrap_or_else(|| panic!("unknown normalizer {id}"))
}

fn algorithm(id: &str) -> IndexAlgorithm {
    let all = [
        IndexAlgorithm::HmacSha256,
        #[cfg(not(feature = "fips"))]
        IndexAlgorithm::argon2id(65_536, 3, 1),
        IndexAlgorithm::pbkdf2(600_000),
        IndexAlgorithm::DeviceHmacSha256,
    ];
    let found = all.into_iter().find(|algorithm| algorithm.id() == id);
    found.unwrap_or_else(|| panic!("unknown algorithm {id}"))
}

/// Fast, slow and device indexes, with their keys and salts.
#[test]
fn indexes() {
    let vectors = file().indexes;
    assert_eq!(vectors.len(), 8);
    for v in vectors {
        if cfg!(feature = "fips") && v.algorithm.starts_with("argon2id") {
            continue;
        }
        let columns: Vec<&'static str> = v.column.split('+').map(|c| leak(c.to_owned())).collect();
        let normalizers: Vec<Normalizer> = v.normalizer.split('+').map(normalizer).collect();
        let index = Index::new(
            leak(v.table),
            leak(v.index),
            Box::leak(columns.into()),
            Box::leak(normalizers.into()),
            v.bits,
        )
        .with_algorithm(algorithm(&v.algorithm));
        let tenant = v.tenant.map(|t| TenantName::new(t).unwrap());
        let context = index.encode_context(&AppName::new(v.app.clone()).unwrap(), tenant.as_ref());
        assert_eq!(context, v.context.0, "{}: ICTX", v.name);
        let pepper = Pepper::new(&v.pepper.array());
        if let Some(index_key) = v.index_key {
            let key = KeyMaterial::init_with(|k| {
                pepper.prf().derive_into("phield.v1.index", &[&context], k);
            });
            assert_eq!(
                key.expose_bytes().as_slice(),
                index_key.0,
                "{}: index key",
                v.name
            );
        }
        if let Some(slow_salt) = v.slow_salt {
            let salt = schedule::index_salt(&pepper, &context);
            assert_eq!(salt.as_slice(), slow_salt.0, "{}: salt", v.name);
        }
        if let Some(sha256) = v.context_sha256 {
            assert_eq!(crate::kdf::sha256(&context).as_slice(), sha256.0, "{}", v.name);
        }

        let mut keyring = keyring(
            leak(v.app),
            Scopes::default(),
            [FixedKey::index(v.key_id, v.pepper.array())],
        );
        if index.algorithm() == IndexAlgorithm::DeviceHmacSha256 {
            fixed_keyring::add_device(&mut keyring, v.key_id, SoftwareDevice::pepper(v.pepper.array()));
        }
        // The values of the vectors are normalised already, and normalizers are idempotent.
        let encoded = |value: &Hex| {
            let text = Box::leak(String::from_utf8(value.0.clone()).unwrap().into_boxed_str());
            Some(crate::value::Encoded::borrowed(ValueType::Text, text.as_bytes()))
        };
        let parts: Vec<_> = v.values.iter().map(encoded).collect();
        if let Some(sha256) = v.values_sha256 {
            let values = index.normalize(&parts).unwrap().unwrap();
            assert_eq!(crate::kdf::sha256(&values.0).as_slice(), sha256.0, "{}", v.name);
        }
        let written = pollster::block_on(keyring.blind_index_async(&index, tenant.as_ref(), &parts));
        let written = written.unwrap().unwrap();
        assert_eq!(written.as_bytes(), v.output.0, "{}", v.name);
        assert_eq!(
            pollster::block_on(keyring.index_query_async(&index, tenant.as_ref(), &parts)),
            Ok([written; 2]),
            "{}",
            v.name
        );
        let device = index.algorithm() == IndexAlgorithm::DeviceHmacSha256;
        let at_once = keyring.blind_index(&index, tenant.as_ref(), &parts);
        assert_eq!(
            at_once,
            if device {
                Err(IndexError::NeedsAsync)
            } else {
                Ok(Some(written))
            },
            "{}",
            v.name
        );
        assert_eq!(BlindIndex::from_bytes(&v.output.0), Some(written));
    }
}

#[derive(Deserialize)]
struct KeyVector {
    name: String,
    ring: String,
    key_id: u32,
    suite: Hex,
    #[serde(rename = "use")]
    key_use: String,
    scope: Option<String>,
    data_key: Hex,
    record: Hex,
    check_value: Hex,
    kek: Hex,
    r: Hex,
    nonce: Hex,
    wrap_key: Option<Hex>,
    wrapped: Hex,
}

impl KeyVector {
    fn context(&self) -> KeyContext {
        KeyContext {
            ring: RingName::new(self.ring.clone()).unwrap(),
            key_id: KeyId::new(self.key_id).unwrap(),
            suite: Suite::from_byte(self.suite.array::<1>()[0]),
            key_use: KeyUse::from_bytes(self.key_use.as_bytes()).unwrap(),
            scope: self.scope.clone().map(|s| ScopeName::new(s).unwrap()),
            share: None,
        }
    }

    fn key(&self) -> KeyMaterial {
        KeyMaterial::init_with(|k| *k = self.data_key.array())
    }
}

#[test]
fn key_records_check_values_and_wraps() {
    let vectors = file().keys;
    assert_eq!(vectors.len(), 3);
    for v in vectors {
        let context = v.context();
        assert_eq!(context.encode(), v.record.0, "{}: KREC", v.name);
        assert_eq!(
            schedule::check_value(&v.key(), &context).as_slice(),
            v.check_value.0,
            "{}: KCV",
            v.name
        );
        let kek = Kek::new(&v.kek.array());
        if let Some(wrap_key) = &v.wrap_key {
            let derived = schedule::wrap_key(&kek, &lp::encode(&[&context.encode(), &v.r.0]));
            assert_eq!(
                derived.expose_bytes().as_slice(),
                wrap_key.0,
                "{}: wrap key",
                v.name
            );
        }
        let wrapped = wrap::fixed::seal(&kek, &context.encode(), &v.key(), &v.r.array(), &v.nonce.array());
        assert_eq!(wrapped == v.wrapped.0, !FIPS, "{}: wrap", v.name);
        assert_eq!(wrapped.len(), wrap::WRAP_LEN);
        let fresh = wrap::seal(&kek, &context.encode(), &v.key()).unwrap();
        for wrapped in [&v.wrapped.0, &wrapped, &fresh] {
            assert_eq!(
                wrap::open(&kek, &context.encode(), wrapped)
                    .unwrap()
                    .expose_bytes(),
                v.key().expose_bytes(),
                "{}: unwrap",
                v.name
            );
        }
    }
}

/// Every bit of a wrap, and every part of the identity it is bound to.
#[test]
fn a_wrap_opens_only_as_it_was_made() {
    let v = &file().keys[0];
    let (kek, context) = (Kek::new(&v.kek.array()), v.context());
    let kind = |context: &KeyContext, bytes: &[u8]| {
        wrap::open(&kek, &context.encode(), bytes).err().map(|e| e.kind())
    };
    for bit in 0..v.wrapped.0.len() * 8 {
        let mut bytes = v.wrapped.0.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let class = if bit < 8 {
            ProviderErrorKind::Malformed
        } else {
            ProviderErrorKind::Authentication
        };
        assert_eq!(kind(&context, &bytes), Some(class), "bit {bit}");
    }
    for end in 0..v.wrapped.0.len() {
        assert_eq!(
            kind(&context, &v.wrapped.0[..end]),
            Some(ProviderErrorKind::Malformed)
        );
    }
    let others = [
        KeyContext {
            ring: RingName::from_static("dev"),
            ..context.clone()
        },
        KeyContext {
            key_id: KeyId::new(8).unwrap(),
            ..context.clone()
        },
        KeyContext {
            suite: Some(Suite::XChaCha20Poly1305),
            ..context.clone()
        },
        KeyContext {
            suite: None,
            key_use: KeyUse::Index,
            ..context.clone()
        },
        KeyContext {
            scope: None,
            ..context.clone()
        },
        KeyContext {
            scope: Some(ScopeName::from_static("t2")),
            ..context.clone()
        },
    ];
    for other in others {
        assert_eq!(
            kind(&other, &v.wrapped.0),
            Some(ProviderErrorKind::Authentication),
            "{other:?}"
        );
    }
    let other_kek = Kek::new(&[9; 32]);
    assert!(wrap::open(&other_kek, &context.encode(), &v.wrapped.0).is_err());
}

#[derive(Deserialize)]
struct ManifestVector {
    ring: String,
    app: String,
    epoch: u64,
    ring_key_pin: String,
    inputs: Vec<RecordVector>,
    records: Vec<EncodedRecord>,
    manifest: Hex,
    mac: Hex,
    stored: Hex,
}

#[derive(Deserialize)]
struct EncodedRecord {
    key_id: u32,
    bytes: Hex,
}

#[derive(Deserialize)]
struct RecordVector {
    key_id: u32,
    suite: Hex,
    #[serde(rename = "use")]
    key_use: String,
    scope: Option<String>,
    state: u8,
    created: u64,
    not_after: u64,
    check_value_of: Option<Hex>,
    wraps: Vec<(String, String, Hex)>,
}

impl RecordVector {
    /// The record; its check value from the key that the other vectors give for this id.
    fn record(&self, ring: &str, keys: &[KeyVector]) -> KeyRecord {
        let context = KeyContext {
            ring: RingName::new(ring).unwrap(),
            key_id: KeyId::new(self.key_id).unwrap(),
            suite: Suite::from_byte(self.suite.array::<1>()[0]),
            key_use: KeyUse::from_bytes(self.key_use.as_bytes()).unwrap(),
            scope: self.scope.clone().map(|s| ScopeName::new(s).unwrap()),
            share: None,
        };
        let key = self.check_value_of.as_ref().map_or_else(
            || keys.iter().find(|k| k.key_id == self.key_id).unwrap().key(),
            |key| KeyMaterial::init_with(|k| *k = key.array()),
        );
        let wraps = self.wraps.iter().map(|(provider, kek, bytes)| {
            let provider = ProviderName::new(provider.clone()).unwrap();
            Wrap::new(provider, KekReference::new(kek.clone()).unwrap(), bytes.0.clone())
        });
        let mut wraps: Vec<_> = wraps.collect();
        wraps.sort_by(|a, b| {
            (a.provider.as_str(), a.kek.as_str()).cmp(&(b.provider.as_str(), b.kek.as_str()))
        });
        KeyRecord {
            check_value: schedule::check_value(&key, &context),
            context,
            state: KeyState::from_byte(self.state).unwrap(),
            created: self.created,
            not_after: self.not_after,
            wraps,
        }
    }
}

/// A provider `local` with the one key of the vectors.
#[derive(Debug)]
struct VectorProvider(ProviderName, Kek);

impl KeyProvider for VectorProvider {
    fn name(&self) -> &ProviderName {
        &self.0
    }

    fn wrap<'a>(
        &'a self,
        _: &'a KekReference,
        c: &'a KeyContext,
        key: &'a KeyMaterial,
    ) -> ProviderFuture<'a, Vec<u8>> {
        Box::pin(std::future::ready(Ok(
            wrap::seal(&self.1, &c.encode(), key).unwrap()
        )))
    }

    fn unwrap<'a>(
        &'a self,
        _: &'a KekReference,
        c: &'a KeyContext,
        wrapped: &'a [u8],
    ) -> ProviderFuture<'a, KeyMaterial> {
        let opened: Result<KeyMaterial, ProviderError> = wrap::open(&self.1, &c.encode(), wrapped);
        Box::pin(std::future::ready(opened))
    }
}

#[test]
fn manifest() {
    let file = file();
    let [v] = file.manifests.as_slice() else {
        panic!("one manifest")
    };
    let records: Vec<_> = v
        .inputs
        .iter()
        .map(|record| record.record(&v.ring, &file.keys))
        .collect();
    for (record, encoded) in records.iter().zip(&v.records) {
        assert_eq!(record.context.key_id.get(), encoded.key_id);
        assert_eq!(record.encode(), encoded.bytes.0, "record {}", encoded.key_id);
    }
    let (app, ring) = (
        AppName::new(v.app.clone()).unwrap(),
        RingName::new(v.ring.clone()).unwrap(),
    );
    let manifest = Manifest {
        ring: ring.clone(),
        app: app.clone(),
        epoch: v.epoch,
        records,
    };
    let ring_key = RingKey::new(&file.keys[1].data_key.array());
    assert_eq!(manifest.seal(&ring_key), v.stored.0);
    assert_eq!([v.manifest.0.as_slice(), &v.mac.0].concat(), v.stored.0);

    let raw = RawManifest::parse(&v.stored.0).unwrap();
    assert!(raw.authenticates(&ring_key) && !raw.authenticates(&RingKey::new(&[1; 32])));
    assert_eq!(raw.into_manifest(&ring, &app).unwrap(), manifest);

    let provider = Arc::new(VectorProvider(
        ProviderName::from_static("local"),
        Kek::new(&file.keys[0].kek.array()),
    ));
    let allowed = AllowedProvider::new(provider, [KekReference::new("1").unwrap()]);
    let mut settings = RingSettings::new(app, ring, vec![allowed]);
    settings.pins = vec![v.ring_key_pin.parse::<RingKeyPin>().unwrap()];
    assert_eq!(settings.pins[0].to_string(), v.ring_key_pin);
    settings.min_epoch = v.epoch;
    let verified = block_on(settings.verify(&v.stored.0)).unwrap();
    assert_eq!(verified.manifest(), &manifest);
    let keyring = block_on(verified.keyring(&settings)).unwrap();
    assert_eq!(
        format!("{keyring:?}"),
        r#"Keyring { app: "emr", ring: "prod", epoch: 12, keys: 4, .. }"#
    );
}

#[derive(Deserialize)]
struct LocalVector {
    name: String,
    passphrase: String,
    argon2: Option<Argon2Vector>,
    pbkdf2: Option<Pbkdf2Vector>,
    salt: Hex,
    nonce: Hex,
    keys: Vec<LocalKeyVector>,
    file: Hex,
}

#[derive(Deserialize)]
struct Argon2Vector {
    m: u32,
    t: u32,
    p: u8,
}

#[derive(Deserialize)]
struct Pbkdf2Vector {
    iterations: u32,
}

#[derive(Deserialize)]
struct LocalKeyVector {
    id: u32,
    created: u64,
    state: u8,
    key: Hex,
}

#[test]
fn local_key_files() {
    let vectors = file().local_file;
    assert_eq!(vectors.len(), 2);
    for v in vectors {
        let keys: Vec<_> = v
            .keys
            .iter()
            .map(|k| FixedKek(k.id, k.created, k.state, k.key.array()))
            .collect();
        let stretching = match (v.argon2, v.pbkdf2) {
            (Some(a), None) => Stretching::Argon2id {
                memory_kib: a.m,
                passes: a.t,
                lanes: a.p,
            },
            (None, Some(p)) => Stretching::Pbkdf2 {
                iterations: p.iterations,
            },
            _ => panic!("one way of stretching"),
        };
        if FIPS && matches!(stretching, Stretching::Argon2id { .. }) {
            let refused = local::fixed::open(&v.file.0, &v.passphrase);
            assert!(matches!(
                refused,
                Err(RingError::Config(ConfigError::NotFips(what))) if what.contains("Argon2id")
            ));
            continue;
        }
        let file = local::fixed::seal(
            &keys,
            &v.passphrase,
            stretching,
            &v.salt.array(),
            &v.nonce.array(),
        );
        assert_eq!(file == v.file.0, !FIPS, "{}", v.name);
        for file in [&v.file.0, &file] {
            assert_eq!(
                local::fixed::open(file, &v.passphrase).unwrap(),
                keys,
                "{}",
                v.name
            );
        }
        assert!(
            local::fixed::open(&file, "correct horse battery stapl").is_err(),
            "{}",
            v.name
        );
    }
}

#[derive(Deserialize)]
struct Salamander {
    data_key_1: Hex,
    data_key_2: Hex,
    key_id: u32,
    column: String,
    value_1: Hex,
    bare_aead_plaintext_1: Hex,
    bare_aead_plaintext_2: Hex,
    token: Hex,
}

/// X1: a body that AES-GCM accepts under two data keys. Only the commitment refuses the second (R-1).
#[test]
fn salamander_is_refused_by_the_commitment_alone() {
    let x1 = file().salamander;
    let a1 = token_vector("A1");
    let column = ColumnName::new(x1.column.clone()).unwrap();
    let open = |data_key: &Hex| {
        let keyring = keyring(
            "emr",
            Scopes::default(),
            [FixedKey::data(x1.key_id, Suite::Aes256Gcm, data_key.array())],
        );
        a1.with_row(|row| {
            keyring
                .opener(row)
                .unwrap()
                .open_token(&column, None, x1.token.0.clone())
        })
    };
    assert_eq!(open(&x1.data_key_1).unwrap().as_bytes(), x1.value_1.0);
    assert_eq!(open(&x1.data_key_2).err(), Some(OpenError::Authentication));

    // The bare cipher opens the same bytes under both keys, each with the commitment that the token carries.
    let bare = |data_key: &Hex| {
        let parts = Parts::parse(&x1.token.0).unwrap();
        let (row_key, _): (_, Commitment) =
            schedule::row_key(&DataKey::new(&data_key.array()), &parts.head, &a1.encoded_row());
        let mut aad = [parts.head.as_bytes(), &parts.commitment.0].concat();
        context::encode_field(&column, None, &mut aad).unwrap();
        let mut token = x1.token.0.clone();
        let nonce: Nonce = parts.nonce;
        let body = SealedBody {
            nonce,
            aad: &aad,
            buffer: token::body_mut(&mut token),
        };
        RowCipher::new(parts.suite, &row_key)
            .unwrap()
            .open_field(parts.head.salt(), body)
            .unwrap();
        token[token::BODY_AT..token::BODY_AT + parts.body_len].to_vec()
    };
    assert_eq!(bare(&x1.data_key_1), x1.bare_aead_plaintext_1.0);
    assert_eq!(bare(&x1.data_key_2), x1.bare_aead_plaintext_2.0);
    assert!(
        frame::read(&x1.bare_aead_plaintext_2.0).is_some(),
        "the frame alone would not refuse it"
    );
}

#[derive(Deserialize)]
struct SplitVector {
    name: String,
    reference: String,
    record: Hex,
    data_key: Hex,
    kek_1: Hex,
    kek_2: Hex,
    share_1: Hex,
    share_2: Hex,
    r_1: Hex,
    nonce_1: Hex,
    r_2: Hex,
    nonce_2: Hex,
    wrapped: Hex,
}

/// The local provider with given keys, and a given `r` and nonce for each.
#[derive(Debug)]
struct FixedProvider {
    name: ProviderName,
    keks: Vec<FixedWrap>,
}

/// A key-encryption key, `r` and a nonce.
type FixedWrap = (KekReference, [u8; 32], [u8; 32], [u8; 12]);

impl FixedProvider {
    fn kek(&self, reference: &KekReference) -> &FixedWrap {
        self.keks.iter().find(|kek| kek.0 == *reference).unwrap()
    }
}

impl KeyProvider for FixedProvider {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    fn wrap<'a>(
        &'a self,
        kek: &'a KekReference,
        context: &'a KeyContext,
        key: &'a KeyMaterial,
    ) -> ProviderFuture<'a, Vec<u8>> {
        let (_, kek, r, nonce) = self.kek(kek);
        let wrapped = wrap::fixed::seal(&Kek::new(kek), &context.encode(), key, r, nonce);
        Box::pin(std::future::ready(Ok(wrapped)))
    }

    fn unwrap<'a>(
        &'a self,
        kek: &'a KekReference,
        context: &'a KeyContext,
        wrapped: &'a [u8],
    ) -> ProviderFuture<'a, KeyMaterial> {
        let (_, kek, _, _) = self.kek(kek);
        Box::pin(std::future::ready(wrap::open(
            &Kek::new(kek),
            &context.encode(),
            wrapped,
        )))
    }
}

#[test]
fn split_wraps() {
    let vectors = file().splits;
    assert_eq!(vectors.len(), 1);
    for v in vectors {
        let context = file().keys[0].context();
        assert_eq!(context.encode(), v.record.0, "{}", v.name);
        let reference = |name: &str| KekReference::new(name).unwrap();
        let provider = FixedProvider {
            name: ProviderName::from_static("local"),
            keks: vec![
                (reference("1"), v.kek_1.array(), v.r_1.array(), v.nonce_1.array()),
                (reference("2"), v.kek_2.array(), v.r_2.array(), v.nonce_2.array()),
            ],
        };
        let keks = [reference("1"), reference("2")];
        let allowed = AllowedProvider::new(Arc::new(provider), keks.clone());
        let key = KeyMaterial::init_with(|k| *k = v.data_key.array());
        let keks = keks.map(|kek| (ProviderName::from_static("local"), kek));
        let both = std::slice::from_ref(&allowed);
        let wrap = split::fixed::wrap(both, &keks, &context, &key, v.share_1.array());
        let wrap = block_on(wrap).unwrap();
        assert_eq!(wrap.kek.as_str(), v.reference, "{}", v.name);
        #[cfg(not(feature = "fips"))]
        assert_eq!(wrap.bytes, v.wrapped.0, "{}", v.name);
        let joined: Vec<u8> = v.share_1.0.iter().zip(&v.share_2.0).map(|(a, b)| a ^ b).collect();
        assert_eq!(joined, v.data_key.0, "{}", v.name);

        let wrap = Wrap::new(ProviderName::from_static("split"), wrap.kek, v.wrapped.0.clone());
        let opened = block_on(split::unwrap(both, &context, &wrap)).unwrap();
        assert_eq!(opened.expose_bytes(), key.expose_bytes(), "{}", v.name);
        // Each share at its own place, each key-encryption key allowed.
        let [w1, w2] = lp::decode::<2>(&wrap.bytes).unwrap();
        let swapped = Wrap::new(wrap.provider.clone(), wrap.kek.clone(), lp::encode(&[w2, w1]));
        assert!(matches!(
            block_on(split::unwrap(both, &context, &swapped)),
            Err(RingError::Authentication)
        ));
        let one = [AllowedProvider::new(allowed.shared(), [reference("1")])];
        assert!(matches!(
            block_on(split::unwrap(&one, &context, &wrap)),
            Err(RingError::Config(_))
        ));
    }
}

#[derive(Deserialize)]
struct KmsVector {
    name: String,
    ring: String,
    key_id: u32,
    suite: Hex,
    #[serde(rename = "use")]
    key_use: String,
    scope: Option<String>,
    share: Option<u8>,
    pairs: std::collections::BTreeMap<String, String>,
}

#[test]
fn encryption_contexts_of_kms() {
    let vectors = file().kms_contexts;
    assert_eq!(vectors.len(), 3);
    for v in vectors {
        let context = KeyContext {
            ring: RingName::new(v.ring).unwrap(),
            key_id: KeyId::new(v.key_id).unwrap(),
            suite: Suite::from_byte(v.suite.array::<1>()[0]),
            key_use: KeyUse::from_bytes(v.key_use.as_bytes()).unwrap(),
            scope: v.scope.map(|s| ScopeName::new(s).unwrap()),
            share: v.share.map(|share| match share {
                1 => Share::First,
                _ => Share::Second,
            }),
        };
        let pairs = context
            .pairs()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        assert_eq!(
            pairs.collect::<std::collections::BTreeMap<_, _>>(),
            v.pairs,
            "{}",
            v.name
        );
    }
}

#[derive(Deserialize)]
struct UidVector {
    name: String,
    pepper: Hex,
    app: String,
    tenant: Option<String>,
    domain_kind: String,
    domain_name: String,
    context: Hex,
    uid_key: Hex,
    session: Option<Hex>,
    id_kind: String,
    id: Hex,
    uid: String,
}

#[test]
fn uids() {
    let vectors = file().uids;
    assert_eq!(vectors.len(), 4);
    for v in vectors {
        let name = DomainName::new(v.domain_name).unwrap();
        let domain = match (v.domain_kind.as_str(), &v.session) {
            ("group", None) => UidDomain::group(name),
            ("export", None) => UidDomain::export(name),
            ("session", Some(session)) => UidDomain::session(name, SessionId::from_bytes(session.array())),
            (kind, _) => panic!("unknown kind {kind}"),
        };
        let tenant = v.tenant.map(|t| TenantName::new(t).unwrap());
        let context = domain.encode(&AppName::new(v.app.clone()).unwrap(), tenant.as_ref());
        assert_eq!(context, v.context.0, "{}: UCTX", v.name);
        let pepper = UidPepper::new(&v.pepper.array());
        let key = schedule::uid_key(&pepper, &context);
        let expected = UidKey::new(&v.uid_key.array());
        assert_eq!(key.prf().mac(&[]), expected.prf().mac(&[]), "{}: UID key", v.name);
        let computed = uid::fixed::compute(&key, v.id_kind.as_bytes(), &v.id.0);
        assert_eq!(computed.to_string(), v.uid, "{}", v.name);

        let keyring = keyring(
            leak(v.app),
            Scopes::default(),
            [FixedKey {
                key_use: KeyUse::Uid,
                ..FixedKey::index(11, v.pepper.array())
            }],
        );
        let uid = if v.id_kind == "surrogate" {
            keyring.uid(&domain, tenant.as_ref(), &Surrogate::from_bytes(v.id.array()))
        } else {
            let kind = IdentifierKind::new("mrn", Normalizer::Exact);
            assert_eq!(kind.id(), v.id_kind, "{}", v.name);
            let mrn = Phi::new(String::from_utf8(v.id.0.clone()).unwrap());
            keyring.pseudonymised_uid(&domain, tenant.as_ref(), kind, &mrn)
        };
        assert_eq!(uid.unwrap().to_string(), v.uid, "{}", v.name);
        assert_eq!(v.uid.parse(), Ok(computed), "{}", v.name);
    }
}

#[derive(Deserialize)]
struct SubjectVector {
    name: String,
    ring: String,
    key_id: u32,
    tenant: Option<String>,
    subject: Hex,
    subject_record_key: Hex,
    secret: Hex,
    record: Hex,
    r: Hex,
    nonce: Hex,
    stored: Hex,
    tombstone: Hex,
}

#[test]
fn subject_secrets() {
    let vectors = file().subjects;
    assert_eq!(vectors.len(), 1);
    for v in vectors {
        let (ring, id) = (RingName::new(v.ring).unwrap(), KeyId::new(v.key_id).unwrap());
        let tenant = v.tenant.map(|t| TenantName::new(t).unwrap());
        let record = subject_key::fixed::encode_context(&ring, id, tenant.as_ref(), &v.subject.0);
        assert_eq!(record, v.record.0, "{}: SREC", v.name);
        let kek = Kek::new(&v.subject_record_key.array());
        let secret = KeyMaterial::init_with(|k| *k = v.secret.array());
        let wrapped = wrap::fixed::seal(&kek, &record, &secret, &v.r.array(), &v.nonce.array());
        #[cfg(not(feature = "fips"))]
        assert_eq!(
            [id.get().to_be_bytes().as_slice(), &wrapped].concat(),
            v.stored.0,
            "{}",
            v.name
        );
        assert_eq!(wrapped.len(), 93);

        let subject = row_id(&v.subject.0);
        let keyring = fixed_keyring::of_ring(
            ring,
            [FixedKey {
                key_use: KeyUse::Subject,
                ..FixedKey::index(v.key_id, v.subject_record_key.array())
            }],
        );
        let opened = keyring
            .open_subject_secret(tenant.as_ref(), &subject, &v.stored.0)
            .unwrap();
        assert_eq!(
            subject_key::fixed::secret(&opened).as_slice(),
            v.secret.0,
            "{}",
            v.name
        );
        assert_eq!(
            Keyring::subject_tombstone(&v.stored.0).unwrap().as_slice(),
            v.tombstone.0
        );
        let shredded = keyring.open_subject_secret(tenant.as_ref(), &subject, &v.tombstone.0);
        assert_eq!(shredded.err(), Some(SubjectError::Shredded(id)));
    }
}
