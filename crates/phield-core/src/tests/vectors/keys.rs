//! Vectors of keys at rest: records, wraps, manifests, key files, splits, subject secrets.

use super::*;
use crate::patience::Patience;

#[derive(Deserialize)]
pub(super) struct KeyVector {
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
pub(super) struct ManifestVector {
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

    let (key, reference) = (&file.keys[0], KekReference::new("1").unwrap());
    let provider = FixedProvider {
        name: ProviderName::from_static("local"),
        keks: vec![(
            reference.clone(),
            key.kek.array(),
            key.r.array(),
            key.nonce.array(),
        )],
    };
    let allowed = AllowedProvider::new(Arc::new(provider), [reference]);
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
pub(super) struct LocalVector {
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
pub(super) struct SplitVector {
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
        let opened = block_on(split::unwrap(both, Patience::default(), &context, &wrap)).unwrap();
        assert_eq!(opened.expose_bytes(), key.expose_bytes(), "{}", v.name);
        // Each share at its own place, each key-encryption key allowed.
        let [w1, w2] = lp::decode::<2>(&wrap.bytes).unwrap();
        let swapped = Wrap::new(wrap.provider.clone(), wrap.kek.clone(), lp::encode(&[w2, w1]));
        assert!(matches!(
            block_on(split::unwrap(both, Patience::default(), &context, &swapped)),
            Err(RingError::Authentication)
        ));
        let one = [AllowedProvider::new(allowed.shared(), [reference("1")])];
        assert!(matches!(
            block_on(split::unwrap(&one, Patience::default(), &context, &wrap)),
            Err(RingError::Config(_))
        ));
    }
}

#[derive(Deserialize)]
pub(super) struct KmsVector {
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
pub(super) struct SubjectVector {
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
