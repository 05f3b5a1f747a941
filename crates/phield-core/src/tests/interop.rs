//! The other implementation: `tests/interop/checker.py` opens what this crate seals, and the other way round.
//!
//! Needs Python with the packages of `tests/interop/requirements.txt`, named by `PHIELD_PYTHON`; `cargo xtask test`
//! provides it and runs these tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde::{Deserialize, Serialize};

use super::block_on;
use super::vectors::{Hex, row_id};
use crate::binding::Unbound;
use crate::blind_index::Index;
use crate::context::Row;
use crate::frame::Padding;
use crate::keyring::Keyring;
use crate::local::{LocalKeyFile, LocalProvider, Passphrase};
use crate::lp;
use crate::name::{AppName, ColumnName, RingName, ScopeName, TableName, TenantName};
use crate::normalize::Normalizer;
use crate::provider::AllowedProvider;
use crate::record::KekReference;
use crate::ring::Ring;
use crate::row::fixed;
use crate::row_id::RowId;
use crate::scope::Scopes;
use crate::sealed::{Sealed, Storage as _};
use crate::settings::RingSettings;
use crate::store::FileStore;
use crate::stretch::Stretching;
use crate::token::{self, Suite};
use crate::value::{Encoded, ValueType};

/// Tokens each way.
const TOKENS: usize = 10_000;

/// One token, as the checker reads and writes it.
#[derive(Serialize, Deserialize)]
struct Case {
    table: String,
    tenant: Option<String>,
    column: String,
    row_id: Option<String>,
    subject: Option<String>,
    extra: Option<String>,
    #[serde(rename = "type")]
    value_type: String,
    value: String,
    token: String,
    text: String,
    scope: Option<String>,
}

#[derive(Serialize)]
struct IndexCase {
    table: String,
    tenant: Option<String>,
    column: String,
    index: String,
    normalizer: String,
    algorithm: &'static str,
    bits: u16,
    values: Vec<String>,
    scope: Option<String>,
    output: String,
}

/// A ring with a data key of each suite: AES-256-GCM without a scope, XChaCha20-Poly1305 under the scope `x`. In the
/// FIPS profile AES-256-GCM for both.
struct InteropRing {
    folder: tempfile::TempDir,
    pin: String,
    /// By whether it seals under the scope `x`; both open everything.
    keyrings: [Keyring; 2],
}

impl InteropRing {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let passphrase = Passphrase::new("correct horse battery staple".to_owned());
        passphrase.write_new(&folder.path().join("passphrase")).unwrap();
        let keys =
            LocalKeyFile::create(&folder.path().join("keys"), &passphrase, Stretching::minimal(), 1).unwrap();
        let provider = AllowedProvider::new(
            Arc::new(LocalProvider::new(&keys)),
            [KekReference::new("1").unwrap()],
        );
        let names = (AppName::from_static("emr"), RingName::from_static("interop"));
        let mut settings = RingSettings::new(names.0, names.1, vec![provider]);
        let x = Some(ScopeName::from_static("x"));
        let other = match cfg!(feature = "fips") {
            true => Suite::Aes256Gcm,
            false => Suite::XChaCha20Poly1305,
        };
        let scopes = [(None, Suite::Aes256Gcm), (x.clone(), other)];
        let verified = block_on(Ring::generate(&mut settings, &scopes)).unwrap();
        let pin = settings.pins[0].to_string();
        let keyrings = [
            Scopes::default().assign(None, None, None, [x.clone()]),
            Scopes::default().assign(None, None, x, [None]),
        ];
        let keyrings = keyrings.map(|scopes| {
            settings.scopes = scopes;
            block_on(verified.keyring(&settings)).unwrap()
        });
        let ring = Ring::new(settings, FileStore::new(folder.path().join("ring")), None);
        block_on(ring.publish(&verified)).unwrap();
        Self {
            folder,
            pin,
            keyrings,
        }
    }

    /// Runs a subcommand of the checker on this ring.
    fn checker(&self, subcommand: &str, arguments: &[&str]) -> String {
        let file = |name: &str| {
            self.folder
                .path()
                .join(name)
                .into_os_string()
                .into_string()
                .unwrap()
        };
        let (manifest, keys, passphrase) = (file("ring"), file("keys"), file("passphrase"));
        let ring = [
            "--app",
            "emr",
            "--manifest",
            &manifest,
            "--key-file",
            &keys,
            "--passphrase-file",
            &passphrase,
        ];
        let arguments = [
            &[subcommand],
            ring.as_slice(),
            &["--ring-key", &self.pin],
            arguments,
        ]
        .concat();
        checker(&arguments)
    }

    fn write(&self, name: &str, lines: &[impl Serialize]) -> PathBuf {
        let path = self.folder.path().join(name);
        let lines: Vec<_> = lines
            .iter()
            .map(|line| serde_json::to_string(line).unwrap())
            .collect();
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        path
    }
}

fn checker(arguments: &[&str]) -> String {
    let python =
        std::env::var_os("PHIELD_PYTHON").expect("PHIELD_PYTHON names a Python: run `cargo xtask test`");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/interop/checker.py");
    let output = Command::new(python).arg(script).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{failed}");
    text
}

#[test]
#[ignore = "needs Python: cargo xtask test"]
fn the_checker_reproduces_the_vectors() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/v1.json");
    let printed = checker(&["vectors", vectors.to_str().unwrap()]);
    assert!(printed.trim_end().ends_with("51 passed, 0 failed"), "{printed}");
}

fn names() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_.:-]{1,12}"
}

fn single_row_id() -> impl Strategy<Value = RowId<'static>> {
    prop_oneof![
        any::<i64>().prop_map(RowId::Integer),
        any::<u128>().prop_map(|id| RowId::Uuid(uuid::Uuid::from_u128(id))),
        ".{0,12}".prop_map(|text| RowId::Text(text.into())),
        proptest::collection::vec(any::<u8>(), 0..12).prop_map(|bytes| RowId::Bytes(bytes.into())),
    ]
}

fn row_ids() -> impl Strategy<Value = Option<RowId<'static>>> {
    let composite = proptest::collection::vec(single_row_id(), 1..5).prop_map(RowId::Composite);
    proptest::option::weighted(0.9, prop_oneof![4 => single_row_id(), 1 => composite])
}

fn values() -> impl Strategy<Value = (ValueType, Vec<u8>)> {
    let date = (1u32..10_000, 1u32..13, 1u32..29).prop_map(|(y, m, d)| format!("{y:04}-{m:02}-{d:02}"));
    let text = |value_type: ValueType| move |text: String| (value_type, text.into_bytes());
    prop_oneof![
        Just((ValueType::Null, vec![])),
        ".{0,40}".prop_map(text(ValueType::Text)),
        proptest::collection::vec(any::<u8>(), 0..80).prop_map(|bytes| (ValueType::Bytes, bytes)),
        any::<i64>().prop_map(|i| (ValueType::Integer, i.to_be_bytes().to_vec())),
        any::<bool>().prop_map(|b| (ValueType::Bool, vec![u8::from(b)])),
        date.clone().prop_map(text(ValueType::Date)),
        (
            date,
            "T(0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{0,8}[1-9])?Z"
        )
            .prop_map(|(date, time)| (ValueType::Timestamp, (date + &time).into_bytes())),
        "-?[0-9]{1,9}(\\.[0-9]{1,4})?".prop_map(text(ValueType::Decimal)),
        "[ -!#-\\[\\]-~é漢]{0,20}".prop_map(|s| (
            ValueType::Json,
            format!("{{\"k\": [\"{s}\", 1.5e3, null]}}").into_bytes()
        )),
        any::<f64>().prop_map(|f| (ValueType::Float, f.to_be_bytes().to_vec())),
        any::<[u8; 16]>().prop_map(|id| (ValueType::Uuid, id.to_vec())),
    ]
}

fn paddings() -> impl Strategy<Value = Padding> {
    prop_oneof![
        Just(Padding::Block16),
        Just(Padding::None),
        (400u32..600).prop_map(Padding::Fixed),
        (2u32..400).prop_map(Padding::Padme)
    ]
}

/// The typed encoding of a row id, by its definition (format §2).
fn encode_row_id(id: &RowId<'_>) -> Vec<u8> {
    match id {
        RowId::Integer(id) => [b"i".as_slice(), &id.to_be_bytes()].concat(),
        RowId::Uuid(id) => [b"u".as_slice(), id.as_bytes()].concat(),
        RowId::Text(id) => [b"s", id.as_bytes()].concat(),
        RowId::Bytes(id) => [b"b", id.as_ref()].concat(),
        RowId::Composite(parts) => {
            let parts: Vec<_> = parts.iter().map(encode_row_id).collect();
            [
                b"c".to_vec(),
                lp::encode(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>()),
            ]
            .concat()
        }
    }
}

/// Calls `f` with a row of these parts.
fn with_row<R>(
    table: &str,
    tenant: Option<&str>,
    id: Option<&RowId<'_>>,
    subject: Option<&RowId<'_>>,
    f: impl FnOnce(&Row<'_>) -> R,
) -> R {
    let table = TableName::new(table).unwrap();
    let tenant = tenant.map(|tenant| TenantName::new(tenant).unwrap());
    let row = match &id {
        Some(id) => Row::new(&table, *id),
        None => Row::new(&table, &Unbound),
    };
    let mut row = row.unwrap();
    if let Some(tenant) = &tenant {
        row = row.with_tenant(tenant);
    }
    if let Some(subject) = subject {
        row = row.with_subject(subject).unwrap();
    }
    f(&row)
}

#[test]
#[ignore = "needs Python: cargo xtask test"]
fn the_checker_opens_what_is_sealed_here() {
    let ring = InteropRing::new();
    let mut runner = TestRunner::default();
    let parts = (
        (names(), proptest::option::of(names()), names()),
        (row_ids(), proptest::option::weighted(0.2, single_row_id())),
        proptest::option::weighted(0.3, proptest::collection::vec(any::<u8>(), 0..20)),
        (values(), paddings(), any::<bool>()),
    );
    let cases: Vec<Case> = (0..TOKENS)
        .map(|_| {
            let ((table, tenant, column), (id, subject), extra, ((value_type, value), mut padding, x)) =
                parts.new_tree(&mut runner).unwrap().current();
            if value_type == ValueType::Bool && padding == Padding::None {
                padding = Padding::Block16;
            }
            let token = with_row(&table, tenant.as_deref(), id.as_ref(), subject.as_ref(), |row| {
                let column = ColumnName::new(column.clone()).unwrap();
                let field = fixed::field(column, extra.as_deref(), padding, value_type, &value);
                let [token] = ring.keyrings[usize::from(x)].seal_row(row, [field]).unwrap();
                token.required::<Sealed<()>>().unwrap().into_token().unwrap()
            });
            Case {
                table,
                tenant,
                column,
                row_id: id.map(|id| HEXLOWER.encode(&encode_row_id(&id))),
                subject: subject.map(|id| HEXLOWER.encode(&encode_row_id(&id))),
                extra: extra.map(|extra| HEXLOWER.encode(&extra)),
                value_type: HEXLOWER.encode(&[value_type.byte()]),
                value: HEXLOWER.encode(&value),
                text: token::to_text(&token),
                token: HEXLOWER.encode(&token),
                scope: x.then(|| "x".to_owned()),
            }
        })
        .collect();
    let file = ring.write("cases.jsonl", &cases);
    let printed = ring.checker("open", &[file.to_str().unwrap()]);
    assert!(printed.contains(&format!("opened {TOKENS} tokens")), "{printed}");
}

fn hex(text: &str) -> Vec<u8> {
    Hex::try_from(text.to_owned()).unwrap().0
}

#[test]
#[ignore = "needs Python: cargo xtask test"]
fn what_the_checker_seals_opens_here() {
    let ring = InteropRing::new();
    let count = TOKENS.to_string();
    let seed = std::process::id().to_string();
    let printed = ring.checker(
        "seal",
        &["--count", &count, "--seed", &seed, "--scope", "", "--scope", "x"],
    );
    let mut opened = 0;
    for line in printed.lines() {
        let case: Case = serde_json::from_str(line).unwrap();
        let (id, token) = (case.row_id.as_deref().map(hex), hex(&case.token));
        let id = id.as_deref().map(row_id);
        let extra = case.extra.as_deref().map(hex);
        assert_eq!(token::from_text(&case.text).unwrap(), token);
        with_row(&case.table, case.tenant.as_deref(), id.as_ref(), None, |row| {
            let column = ColumnName::new(case.column.clone()).unwrap();
            // Which scope may open a row is for configuration to say: here both may.
            let value = ring.keyrings[0]
                .opener(row)
                .unwrap()
                .open_token(&column, extra.as_deref(), token);
            let value = value.unwrap_or_else(|error| panic!("seed {seed}, token {opened}: {error}"));
            assert!(value.is_well_formed());
            assert_eq!(HEXLOWER.encode(&[value.value_type().byte()]), case.value_type);
            assert_eq!(value.as_bytes(), hex(&case.value));
        });
        opened += 1;
    }
    assert_eq!(opened, TOKENS);
}

#[test]
#[ignore = "needs Python: cargo xtask test"]
fn the_checker_computes_the_same_indexes() {
    let ring = InteropRing::new();
    let mut runner = TestRunner::default();
    let parts = (
        names(),
        proptest::option::of(names()),
        names(),
        names(),
        names(),
        1u16..=256,
        any::<bool>(),
    );
    let leak = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
    let cases: Vec<IndexCase> = (0..1000)
        .map(|n| {
            let (table, tenant, column, name, value, bits, x) =
                parts.new_tree(&mut runner).unwrap().current();
            let columns = [leak(&column), "second"];
            let normalizers = [Normalizer::Exact, Normalizer::Name];
            let of = 1 + n % 2;
            let index = Index::new(
                leak(&table),
                leak(&name),
                Box::leak(columns[..of].to_vec().into()),
                Box::leak(normalizers[..of].to_vec().into()),
                bits,
            );
            let encoded = |text: &'static str| Some(Encoded::borrowed(ValueType::Text, text.as_bytes()));
            let tenant_name = tenant.clone().map(|tenant| TenantName::new(tenant).unwrap());
            let keyring = &ring.keyrings[usize::from(x)];
            let parts = [encoded(leak(&value)), encoded("García")];
            let output = keyring
                .blind_index(&index, tenant_name.as_ref(), &parts[..of])
                .unwrap()
                .unwrap();
            IndexCase {
                table,
                tenant,
                column: columns[..of].join("+"),
                index: name,
                normalizer: ["exact.v1", "name.v1"][..of].join("+"),
                algorithm: "hmac-sha256",
                bits,
                values: [value.as_str(), "garcia"][..of]
                    .iter()
                    .map(|v| HEXLOWER.encode(v.as_bytes()))
                    .collect(),
                scope: x.then(|| "x".to_owned()),
                output: HEXLOWER.encode(output.as_bytes()),
            }
        })
        .collect();
    let file = ring.write("indexes.jsonl", &cases);
    let printed = ring.checker("index", &[file.to_str().unwrap()]);
    assert!(printed.contains("checked 1000 index values"), "{printed}");
}
