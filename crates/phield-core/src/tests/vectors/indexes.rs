//! Vectors of blind indexes and UIDs.

use super::*;

#[derive(Deserialize)]
pub(super) struct IndexVector {
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

        let keyring = keyring(
            leak(v.app),
            Scopes::default(),
            [FixedKey::index(v.key_id, v.pepper.array())],
        );
        if index.algorithm() == IndexAlgorithm::DeviceHmacSha256 {
            fixed_keyring::add_device(&keyring, v.key_id, SoftwareDevice::pepper(v.pepper.array()));
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
pub(super) struct UidVector {
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
