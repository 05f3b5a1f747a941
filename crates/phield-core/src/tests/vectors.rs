//! The reference vectors of format v1: every value and every intermediate value of the parts that are built.

use std::sync::Arc;

use data_encoding::HEXLOWER;
use serde::Deserialize;

use super::block_on;
use super::device::SoftwareDevice;
use crate::binding::Unbound;
use crate::blind_index::{BlindIndex, Index, IndexError};
use crate::cipher::{RowCipher, SealedBody};
use crate::config::ConfigError;
use crate::context::{self, KeyContext, Row, Share};
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
use crate::provider::{AllowedProvider, KeyProvider, ProviderErrorKind, ProviderFuture};
use crate::record::{KekReference, KeyRecord, KeyState, KeyUse, Wrap};
use crate::row::{SealingKey, fixed};
use crate::row_id::RowId;
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
mod indexes;
mod keys;

use indexes::{IndexVector, UidVector};
use keys::{KeyVector, KmsVector, LocalVector, ManifestVector, SplitVector, SubjectVector};

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
        let row = match &id {
            Some(id) => Row::new(&table, id),
            None => Row::new(&table, &Unbound),
        };
        let mut row = row.unwrap();
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

/// X1: a body that AES-GCM accepts under two data keys. Only the commitment refuses the second.
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
