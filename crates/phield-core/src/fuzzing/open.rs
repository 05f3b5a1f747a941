//! Opening (format §4): what comes out was sealed in this place; everything else is refused, in the order of the page.

use std::sync::{Arc, LazyLock};

use super::identity::Place;
use super::input::Input;
use crate::cipher::{Body, RowCipher};
use crate::context::KeyContext;
use crate::error::OpenError;
use crate::frame;
use crate::index_workers::IndexWorkers;
use crate::key::{DataKey, KeyId, KeyMaterial};
use crate::key_slot::{KeySlot, NEVER, Unwrapped};
use crate::keyring::{Contents, Keyring, Shared, Snapshot};
use crate::name::{AppName, ColumnName, RingName, ScopeName, TableName, TenantName};
use crate::record::{KeyRecord, KeyState, KeyUse};
use crate::row::RowOpener;
use crate::row_id::RowId;
use crate::schedule;
use crate::scope::Scopes;
use crate::sealed::{Sealed, SealedText, Storage};
use crate::token::{self, Nonce, Parts, RowSalt, Suite, TAG_LEN};
use crate::value::{Value, ValueType};

const APP: AppName = AppName::from_static("emr");
const RING: RingName = RingName::from_static("prod");

/// A token that was sealed, and all that went into it.
struct Genuine {
    place: Place,
    key_id: u32,
    value_type: ValueType,
    value: &'static [u8],
    token: Vec<u8>,
}

/// A key of the ring, as the oracle sees it.
struct Key {
    id: u32,
    key_use: KeyUse,
    suite: Option<Suite>,
    scope: Option<&'static str>,
    state: KeyState,
    /// `None`: no provider could unwrap it.
    bytes: Option<[u8; 32]>,
}

struct World {
    keys: Vec<Key>,
    keyring: Keyring,
    genuine: Vec<Genuine>,
}

static WORLD: LazyLock<World> = LazyLock::new(World::new);

/// Any tokens in any places under one ring of keys of every kind; genuine ones too, changed or elsewhere.
pub fn open(data: &[u8]) {
    let mut input = Input::new(data);
    let place = place(&mut input);
    let opened = place.with_row(|row| WORLD.keyring.opener(row));
    let Ok(mut opener) = opened else {
        assert!(matches!(opened, Err(OpenError::Authentication)) && !place.row_is_encodable());
        return;
    };
    assert!(place.row_is_encodable());
    // Several tokens by one opener, which keeps what it derived: no token may profit from the one before.
    let mut compromised = false;
    for _ in 0..4 {
        let field = Place {
            row_id: place.row_id.clone(),
            ..field(&place, &mut input)
        };
        let token = read_token(&mut input);
        let expected = expected(&field, &token);
        compromised |= expected
            .as_ref()
            .is_ok_and(|genuine| key(genuine.key_id).state == KeyState::Compromised);
        attempt(&mut opener, &field, token, &expected, input.u8());
        assert_eq!(opener.compromised().is_some(), compromised);
        if input.is_empty() {
            break;
        }
    }
}

/// The place of a genuine token, as it is or changed in one part; or any place at all.
fn place(input: &mut Input<'_>) -> Place {
    let genuine = &input.choice(&WORLD.genuine).place;
    match input.u8() % 4 {
        0 | 1 => genuine.clone(),
        2 => genuine.changed(input),
        _ => Place::read(input),
    }
}

/// Another field of the same row, or the same one.
fn field(place: &Place, input: &mut Input<'_>) -> Place {
    let mut field = place.clone();
    match input.u8() % 4 {
        0 | 1 => {}
        2 => {
            let other = &input.choice(&WORLD.genuine).place;
            (field.column, field.extra) = (other.column.clone(), other.extra.clone());
        }
        _ => {
            field.column = ColumnName::new(input.name()).unwrap();
            field.extra = input.optional(Input::bytes);
        }
    }
    field
}

/// A genuine token with some changes, or any bytes.
fn read_token(input: &mut Input<'_>) -> Vec<u8> {
    if input.u8() % 4 == 3 {
        let len = usize::from(input.u16());
        return input.take(len).to_vec();
    }
    let mut token = input.choice(&WORLD.genuine).token.clone();
    for _ in 0..input.below(4) {
        change(&mut token, input);
    }
    token
}

fn change(token: &mut Vec<u8>, input: &mut Input<'_>) {
    let (kind, at) = (input.u8() % 6, usize::from(input.u16()));
    let len = token.len().max(1);
    match kind {
        0 => {
            if let Some(byte) = token.get_mut(at / 8 % len) {
                *byte ^= 1 << (at % 8);
            }
        }
        1 => token.truncate(at % (token.len() + 1)),
        2 => token.extend_from_slice(&input.bytes()),
        3 => {
            if let Some(byte) = token.get_mut(at % len) {
                *byte = input.u8();
            }
        }
        4 => {
            let other = &input.choice(&WORLD.genuine).token;
            let end = (at + input.below(64)).min(token.len()).min(other.len());
            if at < end {
                token[at..end].copy_from_slice(&other[at..end]);
            }
        }
        // The visible parts of another token as a whole: key, salt, commitment, nonce, ciphertext.
        _ => {
            let other = &input.choice(&WORLD.genuine).token;
            let cuts = [0, 1, 5, 17, 33, 45, token.len().min(other.len())];
            let part = input.below(6);
            if let Some(range) = token.get_mut(cuts[part]..cuts[part + 1]) {
                range.copy_from_slice(&other[cuts[part]..cuts[part + 1]]);
            }
        }
    }
}

/// What §4 says about this token in this place, in the order of the page.
fn expected(place: &Place, token: &[u8]) -> Result<&'static Genuine, OpenError> {
    let is_token = (63..=61 + (18 << 20)).contains(&token.len())
        && matches!(token[0], 0x11 | 0x12)
        && token[1..5] != [0; 4];
    if !is_token {
        return Err(OpenError::Malformed);
    }
    let number = u32::from_be_bytes([token[1], token[2], token[3], token[4]]);
    let id = KeyId::new(number).unwrap();
    let Some(key) = WORLD.keys.iter().find(|key| key.id == number) else {
        return Err(OpenError::UnknownKey(id));
    };
    if key.key_use != KeyUse::Data {
        return Err(OpenError::Authentication);
    }
    if key.state == KeyState::Destroyed {
        return Err(OpenError::KeyState(id));
    }
    if key.suite.unwrap().byte() != token[0] || !listed(place).contains(&key.scope) {
        return Err(OpenError::Authentication);
    }
    if key.bytes.is_none() {
        return Err(OpenError::KeyUnavailable(id));
    }
    let genuine = WORLD.genuine.iter();
    let mut sealed_here = genuine.filter(|genuine| genuine.place == *place && genuine.token == token);
    sealed_here.next().ok_or(OpenError::Authentication)
}

fn key(id: u32) -> &'static Key {
    WORLD.keys.iter().find(|key| key.id == id).unwrap()
}

/// The scopes that [`World::new`] configures, written out once more.
fn listed(place: &Place) -> &'static [Option<&'static str>] {
    match (
        place.table.as_str(),
        place.tenant.as_ref().map(TenantName::as_str),
    ) {
        ("notes", _) => &[Some("notes"), None],
        (_, Some("t2")) => &[Some("t2")],
        _ => &[None],
    }
}

fn attempt(
    opener: &mut RowOpener<'_>,
    place: &Place,
    token: Vec<u8>,
    expected: &Result<&'static Genuine, OpenError>,
    how: u8,
) {
    let opened = opener.open_token(&place.column, place.extra.as_deref(), token.clone());
    match (&opened, expected) {
        (Ok(opened), Ok(genuine)) => {
            let genuine = (genuine.value_type, genuine.value);
            assert_eq!((opened.value_type(), opened.as_bytes()), genuine);
        }
        (Err(error), Err(expected)) => assert_eq!(error, expected),
        (Ok(_), Err(expected)) => panic!("opened, not {expected:?}: {token:02x?} in {place:?}"),
        (Err(error), Ok(_)) => panic!("{error:?} of a genuine token: {token:02x?} in {place:?}"),
    }
    let text = how & 8 != 0;
    match how & 7 {
        0 => typed::<String>(opener, place, token, expected, text),
        1 => typed::<Vec<u8>>(opener, place, token, expected, text),
        2 => typed::<i64>(opener, place, token, expected, text),
        3 => typed::<bool>(opener, place, token, expected, text),
        4 => typed::<uuid::Uuid>(opener, place, token, expected, text),
        5 => typed::<Option<String>>(opener, place, token, expected, text),
        _ => typed::<Option<i64>>(opener, place, token, expected, text),
    }
}

/// As one type: only a value of this type comes out.
fn typed<T: Value>(
    opener: &mut RowOpener<'_>,
    place: &Place,
    token: Vec<u8>,
    expected: &Result<&'static Genuine, OpenError>,
    text: bool,
) {
    let extra = place.extra.as_deref();
    let opened = if text {
        opener.open_field(&place.column, extra, SealedText::<T>::from_token(token))
    } else {
        opener.open_field(&place.column, extra, Sealed::<T>::from_token(token))
    };
    let fits = |genuine: &Genuine| {
        let null = T::NULLABLE && genuine.value_type == ValueType::Null;
        (null || genuine.value_type == T::TYPE) && genuine.value_type.accepts(genuine.value)
    };
    match (opened, expected) {
        (Ok(value), Ok(genuine)) if fits(genuine) => {
            assert_eq!(value.expose().encode().unwrap().as_bytes(), genuine.value);
        }
        (Err(OpenError::Authentication), Ok(genuine)) if !fits(genuine) => {}
        (Err(error), Err(expected)) => assert_eq!(error, *expected),
        (opened, expected) => panic!(
            "{:?}, not {:?}, in {place:?}",
            opened.map(|_| ()),
            expected.as_ref().map(|_| ())
        ),
    }
}

impl World {
    /// Keys of both suites, every state, other uses and scopes, and tokens under each of them.
    fn new() -> Self {
        use Suite::{Aes256Gcm as Gcm, XChaCha20Poly1305 as XChaCha};
        // The data key of the vectors: token A1 is genuine here.
        let bytes: [u8; 32] = std::array::from_fn(|n| u8::try_from(n).unwrap());
        let data = |id, suite| Key {
            id,
            key_use: KeyUse::Data,
            suite: Some(suite),
            scope: None,
            state: KeyState::Active,
            bytes: Some(bytes),
        };
        let in_state = |id, suite, state| Key {
            state,
            ..data(id, suite)
        };
        let of_use = |id, key_use| Key {
            key_use,
            suite: None,
            ..data(id, Gcm)
        };
        let keys = vec![
            data(7, Gcm),
            in_state(8, XChaCha, KeyState::DecryptOnly),
            in_state(9, Gcm, KeyState::PreActive),
            in_state(10, XChaCha, KeyState::Compromised),
            in_state(11, Gcm, KeyState::Destroyed),
            Key {
                bytes: None,
                ..in_state(12, XChaCha, KeyState::DecryptOnly)
            },
            Key {
                scope: Some("notes"),
                ..data(13, Gcm)
            },
            Key {
                scope: Some("t2"),
                bytes: Some([2; 32]),
                ..data(14, XChaCha)
            },
            Key {
                bytes: Some([15; 32]),
                ..in_state(15, Gcm, KeyState::DecryptOnly)
            },
            of_use(16, KeyUse::Index),
            of_use(17, KeyUse::Ring),
            of_use(18, KeyUse::Uid),
            of_use(19, KeyUse::Subject),
        ];
        let scopes = Scopes::default()
            .assign(
                Some(TableName::from_static("notes")),
                None,
                Some(ScopeName::from_static("notes")),
                [None],
            )
            .assign(
                None,
                Some(TenantName::from_static("t2")),
                Some(ScopeName::from_static("t2")),
                [],
            );
        let contents = Contents {
            app: APP,
            ring: RING,
            scopes,
            value_limit: 1 << 20,
            index_workers: IndexWorkers::default(),
        };
        let shared = Shared::new();
        shared.publish(Snapshot::new(1, keys.iter().map(Key::loaded)));
        shared.rely_on_manifest_until(NEVER);
        let keyring = Keyring::new(contents, shared, None);
        let genuine = genuine(&keys);
        Self {
            keys,
            keyring,
            genuine,
        }
    }
}

impl Key {
    fn loaded(&self) -> (KeyRecord, Arc<KeySlot>) {
        let record = KeyRecord {
            context: KeyContext {
                ring: RING,
                key_id: KeyId::new(self.id).unwrap(),
                suite: self.suite,
                key_use: self.key_use,
                scope: self.scope.map(ScopeName::from_static),
                share: None,
            },
            state: self.state,
            created: 1,
            not_after: 0,
            check_value: [0; 32],
            wraps: Vec::new(),
        };
        let slot = KeySlot::empty();
        if let Some(bytes) = self.bytes.filter(|_| self.state.opens()) {
            let key = Unwrapped::Key(KeyMaterial::init_with(|k| *k = bytes));
            slot.fill(key.role(&record), NEVER);
        }
        (record, slot)
    }
}

/// A1 of the vectors; fields of the same row in the same call; then rows of every kind of id under every key.
fn genuine(keys: &[Key]) -> Vec<Genuine> {
    let place = |table, row_id, column| Place {
        tenant: Some(TenantName::from_static("t1")),
        table: TableName::from_static(table),
        row_id,
        subject: None,
        column: ColumnName::from_static(column),
        extra: None,
    };
    let (salt, nonce): ([u8; 12], [u8; 12]) = (
        std::array::from_fn(|n| 0xa0 | u8::try_from(n).unwrap()),
        std::array::from_fn(|n| 0xb0 | u8::try_from(n).unwrap()),
    );
    let patient = |column| place("patients", Some(RowId::Integer(42)), column);
    let mut sealed = Vec::new();
    let mut seal = |place: Place, key_id, value_type, value: &'static [u8], padded_len| {
        let key = keys.iter().find(|key| key.id == key_id).unwrap();
        // A nonce for each; the salt is shared by the first ones, as in one call.
        let mut nonce = nonce;
        nonce[11] ^= u8::try_from(sealed.len()).unwrap();
        let token = seal(key, salt, nonce, &place, (value_type, value), padded_len);
        sealed.push(Genuine {
            place,
            key_id,
            value_type,
            value,
            token,
        });
    };
    seal(patient("ssn"), 7, ValueType::Text, b"123456789", 16);
    seal(patient("dob"), 7, ValueType::Date, b"1980-02-29", 16);
    seal(patient("visits"), 7, ValueType::Integer, &[0xff; 8], 16);
    seal(patient("vip"), 7, ValueType::Bool, &[1], 32);
    let listed = Place {
        extra: Some(vec![0, 1]),
        ..patient("ssn")
    };
    seal(listed, 7, ValueType::Null, b"", 16);
    // Authentic, but not well formed: refused with the type, like everything else.
    seal(patient("bad"), 7, ValueType::Text, &[0xff, 0xfe], 16);
    seal(patient("ssn"), 8, ValueType::Text, b"123456789", 16);
    let text = |key_id| (key_id, ValueType::Text, b"naive patient".as_slice(), 48);
    let composite = RowId::Composite(vec![RowId::Text("sac-9".into()), RowId::Integer(-1)]);
    let uuid = RowId::Uuid(uuid::Uuid::from_bytes([0x75; 16]));
    let other = RowId::Bytes(vec![0, 0, 42].into());
    let unbound = Place {
        tenant: None,
        ..place("notes", None, "body")
    };
    let of_subject = Place {
        subject: Some(RowId::Integer(7)),
        ..place("labs", Some(RowId::Text("42".into())), "result")
    };
    let of_t2 = Place {
        tenant: Some(TenantName::from_static("t2")),
        ..patient("ssn")
    };
    let rows = [
        (unbound.clone(), text(7)),
        (unbound, text(13)),
        (of_subject, text(15)),
        (of_t2.clone(), text(14)),
        (of_t2, text(7)),
        (place("labs", Some(composite), "result"), text(9)),
        (place("labs", Some(uuid), "result"), text(10)),
        (place("labs", Some(other), "result"), text(11)),
        (patient("note"), text(13)),
        (patient("index"), text(16)),
    ];
    for (place, (key_id, value_type, value, padded_len)) in rows {
        seal(place, key_id, value_type, value, padded_len);
    }
    sealed
}

/// The formulas of §4, with a given salt and nonce.
fn seal(
    key: &Key,
    salt: [u8; 12],
    nonce: [u8; 12],
    place: &Place,
    (value_type, value): (ValueType, &[u8]),
    padded_len: usize,
) -> Vec<u8> {
    let (salt, nonce) = (RowSalt(salt), Nonce(nonce));
    // A key of another use seals nothing; a token that names it is made as if it were a data key.
    let suite = key.suite.unwrap_or(Suite::Aes256Gcm);
    let head = token::Head::new(suite, KeyId::new(key.id).unwrap(), salt);
    let data_key = DataKey::new(&key.bytes.unwrap());
    let (row_key, commitment) = schedule::row_key(&data_key, &head, &place.row(&APP).unwrap());
    let aad = [head.as_bytes(), &commitment.0, &place.field().unwrap()].concat();
    let mut token = token::start(&head, &commitment, &nonce, padded_len);
    frame::write(&mut token, value_type, value, padded_len);
    token.resize(token.len() + TAG_LEN, 0);
    let (nonce, buffer) = token::nonce_and_body_mut(&mut token);
    let body = Body {
        nonce,
        aad: &aad,
        buffer,
    };
    let cipher = RowCipher::new(suite, &row_key).unwrap();
    cipher.seal_fields(salt, &mut [body]).unwrap();
    assert!(Parts::parse(&token).is_ok());
    token
}
