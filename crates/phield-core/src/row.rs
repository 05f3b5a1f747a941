//! Sealing and opening rows (format §4): one salt, one row key and one commitment for the fields of a row.

mod planned;

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::binding::RowBinding;
use crate::cipher::{self, RowCipher, SealedBody};
use crate::column::Column;
use crate::context::{self, Row};
use crate::error::{OpenError, OpenRowError, SealError, Unsealable};
use crate::field::Field;
use crate::frame;
use crate::key::{DataKey, KeyId};
use crate::keyring::Keyring;
use crate::lp;
use crate::name::{ColumnName, ScopeName, TableName};
use crate::phi::Phi;
use crate::random::Draw;
use crate::row_id::RowId;
use crate::schedule;
use crate::sealed::Storage;
use crate::subject_key::{Keys, SubjectError, SubjectKey, SubjectKeyring, SubjectKeys};
use crate::token::{self, BODY_AT, Commitment, Head, Nonce, Parts, RowSalt, Suite};
use crate::value::{Opened, Value, ValueType};
use crate::wipe::Wiped;

use planned::seal_planned;
pub(crate) use planned::{Frame, Planned};

/// Random bytes of one row before its nonces: `r12`, the random input of the salt.
const SALT_RANDOM: usize = 12;

/// Most tokens under one salt (format §6).
const MAX_FIELDS: usize = 1 << 16;
/// Up to this many fields, comparing each with each is quicker than hashing.
const FEW_FIELDS: usize = 32;
/// Room for the associated data of a field with a short column name.
const AAD_CAPACITY: usize = 80;

/// The token of one field, or none for an absent field.
#[derive(Debug, Default)]
pub struct Token(Option<Vec<u8>>);

impl Token {
    /// The token as a column that always holds one.
    ///
    /// # Errors
    /// [`SealError::NoValue`] when the field was absent.
    pub fn required<S: Storage>(self) -> Result<S, SealError> {
        self.0.map(S::from_token).ok_or(SealError::NoValue)
    }

    pub(crate) fn as_bytes(&self) -> Option<&[u8]> {
        self.0.as_deref()
    }

    pub(crate) fn into_bytes(self) -> Option<Vec<u8>> {
        self.0
    }

    /// The token as a column that is SQL NULL when the field was absent.
    #[must_use]
    pub fn optional<S: Storage>(self) -> Option<S> {
        self.0.map(S::from_token)
    }
}

/// Seals rows one after the other with the randomness of one request to the operating system.
///
/// Every row gets a salt of its own, every field a nonce of its own (format §1).
///
/// # Security
/// Use it within one call. Kept across a fork or a snapshot of the machine, both sides would draw the same random
/// bytes; the hedged salt then still tells rows and moments apart, nothing else does.
#[doc(hidden)]
pub struct Sealer<'k> {
    keyring: &'k Keyring,
    subjects: Option<&'k dyn SubjectKeys>,
    draw: Draw,
}

impl std::fmt::Debug for Sealer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

/// The data key of a row, ready to seal.
pub(crate) struct SealingKey<'k> {
    pub(crate) id: KeyId,
    pub(crate) suite: Suite,
    pub(crate) key: &'k DataKey,
}

impl Keyring {
    /// Seals the fields of one row: tokens come back in the order of the fields.
    ///
    /// # Errors
    /// See [`SealError`]. Nothing is returned for a row with one field that cannot be sealed.
    pub fn seal_row<const N: usize>(
        &self,
        row: &Row<'_>,
        fields: [Field<'_>; N],
    ) -> Result<[Token; N], SealError> {
        Sealer::new(self, 1, N)?.seal_row(row, fields)
    }

    /// An opener for the fields of one row.
    ///
    /// # Errors
    /// [`OpenError::Authentication`] for a row id that nothing can have been sealed with.
    pub fn opener(&self, row: &Row<'_>) -> Result<RowOpener<'_>, OpenError> {
        RowOpener::new(self, row)
    }
}

impl SubjectKeyring<'_> {
    /// Seals the fields of one row: tokens come back in the order of the fields.
    ///
    /// # Errors
    /// See [`SealError`]. Nothing is returned for a row with one field that cannot be sealed.
    pub fn seal_row<const N: usize>(
        &self,
        row: &Row<'_>,
        fields: [Field<'_>; N],
    ) -> Result<[Token; N], SealError> {
        Sealer::new(self, 1, N)?.seal_row(row, fields)
    }

    /// An opener for the fields of one row.
    ///
    /// # Errors
    /// [`OpenError::Authentication`] for a row id that nothing can have been sealed with.
    pub fn opener(&self, row: &Row<'_>) -> Result<RowOpener<'_>, OpenError> {
        RowOpener::new(self, row)
    }
}

impl<'k> Sealer<'k> {
    /// A sealer for a batch of `rows` rows with `fields` fields each; both are estimates that save system calls.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn new(keys: &'k (impl Keys + ?Sized), rows: usize, fields: usize) -> Result<Self, SealError> {
        let len = rows.saturating_mul(SALT_RANDOM + fields.saturating_mul(cipher::NONCE_RANDOM));
        Ok(Sealer {
            keyring: keys.ring_keys(),
            subjects: keys.subject_keys(),
            draw: Draw::new(len.min(1 << 20))?,
        })
    }

    /// The keyring.
    #[must_use]
    pub fn keyring(&self) -> &'k Keyring {
        self.keyring
    }

    /// Seals the fields of one row: tokens come back in the order of the fields.
    ///
    /// # Errors
    /// See [`SealError`]. Nothing is returned for a row with one field that cannot be sealed.
    pub fn seal_row<const N: usize>(
        &mut self,
        row: &Row<'_>,
        fields: [Field<'_>; N],
    ) -> Result<[Token; N], SealError> {
        let mut tokens = [const { Token(None) }; N];
        self.seal_into(row, &fields, &mut tokens)?;
        Ok(tokens)
    }

    /// As [`seal_row`](Self::seal_row), for a number of fields that is not known in advance.
    ///
    /// # Errors
    /// See [`SealError`].
    #[doc(hidden)]
    pub fn seal_fields(&mut self, row: &Row<'_>, fields: &[Field<'_>]) -> Result<Vec<Token>, SealError> {
        let mut tokens = Vec::new();
        tokens.resize_with(fields.len(), || Token(None));
        self.seal_into(row, fields, &mut tokens)?;
        Ok(tokens)
    }

    fn seal_into(
        &mut self,
        row: &Row<'_>,
        fields: &[Field<'_>],
        tokens: &mut [Token],
    ) -> Result<(), SealError> {
        fields.iter().try_for_each(|field| field.belongs_to(row))?;
        // One of the two would be lost, and with it what told fields apart.
        if row.extra().is_some() && fields.iter().any(|field| field.extra.is_some()) {
            return Err(SealError::WrongBinding);
        }
        let limit = self.keyring.value_limit();
        self.with_key(row, |key, salt, identity, draw| {
            seal_fields(key, salt, identity, fields, tokens, limit, || {
                Ok(Nonce(cipher::nonce(|| draw.next())?))
            })
        })
    }

    /// Seals frames of other tokens, as they are.
    pub(crate) fn seal_frames(&mut self, row: &Row<'_>, planned: Vec<Planned<'_>>) -> Result<(), SealError> {
        if planned.len() > MAX_FIELDS {
            return Err(SealError::TooManyFields);
        }
        self.with_key(row, |key, salt, identity, draw| {
            seal_planned(key, salt, identity, planned, || {
                Ok(Nonce(cipher::nonce(|| draw.next())?))
            })
        })
    }

    /// Calls `seal` with what the tokens of a row are sealed with.
    fn with_key(
        &mut self,
        row: &Row<'_>,
        seal: impl FnOnce(&SealingKey<'_>, RowSalt, Identity<'_>, &mut Draw) -> Result<(), SealError>,
    ) -> Result<(), SealError> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_err(|_| SealError::Clock)?;
        let active = self
            .keyring
            .active_data_key(row.table(), row.tenant(), now.as_secs())?;
        let key = active.sealing_key()?;
        let subject_key = row.subject_key(self.keyring.ring(), self.subjects)?;
        let subject_data_key = subject_key.map(|subject| subject.data_key(key.key));
        let key = SealingKey {
            key: subject_data_key.as_ref().unwrap_or(key.key),
            ..key
        };
        let extra = row.extra();
        let row = row.encode(self.keyring.app())?;
        // Nanoseconds since 1970 fit u64 until the year 2554.
        let clock = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let salt = schedule::row_salt(key.key, &self.draw.next()?, clock, &row);
        let identity = Identity { row: &row, extra };
        seal(&key, salt, identity, &mut self.draw)
    }
}

/// What the fields of a row have in common.
#[derive(Clone, Copy)]
struct Identity<'a> {
    /// `ROW`
    row: &'a [u8],
    /// The `extra` of every field that has none of its own.
    extra: Option<&'a [u8]>,
}

/// `token = HEAD ‖ COM ‖ nonce ‖ C ‖ T` for each field that is there.
fn seal_fields(
    key: &SealingKey<'_>,
    salt: RowSalt,
    identity: Identity<'_>,
    fields: &[Field<'_>],
    tokens: &mut [Token],
    value_limit: usize,
    nonce: impl FnMut() -> Result<Nonce, SealError>,
) -> Result<(), SealError> {
    if fields.len() > MAX_FIELDS {
        return Err(SealError::TooManyFields);
    }
    refuse_duplicates(fields)?;
    let mut planned = Vec::with_capacity(fields.len());
    for (field, token) in fields.iter().zip(tokens.iter_mut()) {
        let padded_len = field.padded_len(value_limit)?;
        let Some(value) = &field.value else { continue };
        planned.push(Planned {
            column: &field.column,
            extra: field.extra,
            frame: Frame::Of(value, padded_len),
            token,
        });
    }
    seal_planned(key, salt, identity, planned, nonce)
}

/// Two equal FIELDs in one call are refused: they would be interchangeable.
fn refuse_duplicates(fields: &[Field<'_>]) -> Result<(), SealError> {
    let duplicate = if fields.len() > FEW_FIELDS {
        let mut seen = HashSet::with_capacity(fields.len());
        !fields.iter().all(|field| seen.insert(field.identity()))
    } else {
        let mut rest = fields;
        let mut found = false;
        while let [first, tail @ ..] = rest {
            found |= tail.iter().any(|other| other.identity() == first.identity());
            rest = tail;
        }
        found
    };
    if duplicate {
        Err(SealError::DuplicateField)
    } else {
        Ok(())
    }
}

/// Appends `AAD = HEAD ‖ COM ‖ FIELD`. The nonce is not in it: FIPS modules make their own.
fn write_aad(
    out: &mut Vec<u8>,
    head: &Head,
    commitment: &Commitment,
    column: &ColumnName,
    extra: Option<&[u8]>,
) -> Result<(), Unsealable> {
    start_aad(out, head, commitment);
    context::encode_field(column, extra, out)
}

/// Appends `HEAD ‖ COM`, what the associated data of all fields of a row begin with.
fn start_aad(out: &mut Vec<u8>, head: &Head, commitment: &Commitment) {
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(&commitment.0);
}

/// Opens the fields of one row; the key derivation is shared by tokens that were sealed in one call.
pub struct RowOpener<'k> {
    keyring: &'k Keyring,
    table: TableName,
    /// The scopes whose keys may have sealed this row.
    scopes: &'k [Option<ScopeName>],
    /// `ROW`
    row: Vec<u8>,
    /// The `extra` of every field that has none of its own.
    extra: Option<Vec<u8>>,
    /// `HEAD ‖ COM` of what was derived last, and `FIELD` of the field that was opened last.
    aad: Vec<u8>,
    derived: Option<Derived>,
    compromised: Option<KeyId>,
    /// The key of the row's subject, or why there is none; `None` for a row without subject keys.
    subject_key: Option<Result<SubjectKey, SubjectError>>,
}

/// What was derived for the last (HEAD, ROW).
struct Derived {
    head: Head,
    commitment: Commitment,
    cipher: RowCipher,
    compromised: bool,
}

impl std::fmt::Debug for RowOpener<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowOpener").finish_non_exhaustive()
    }
}

impl<'k> RowOpener<'k> {
    pub(crate) fn new(keys: &'k (impl Keys + ?Sized), row: &Row<'_>) -> Result<Self, OpenError> {
        let keyring = keys.ring_keys();
        let subject_key = row.subject_key(keyring.ring(), keys.subject_keys());
        Ok(Self {
            keyring,
            scopes: keyring.scopes().listed(row.table(), row.tenant()),
            row: row.encode(keyring.app()).map_err(|_| OpenError::Authentication)?,
            extra: row.extra().map(<[u8]>::to_vec),
            aad: Vec::with_capacity(AAD_CAPACITY),
            derived: None,
            compromised: None,
            table: row.table().clone(),
            // Why there is none is said in its turn, after what the token's own key has to say.
            subject_key: subject_key.map(|key| key.map(SubjectKey::share)).transpose(),
        })
    }
}

impl<'k> RowOpener<'k> {
    /// The opener of the row with this binding, for the errors that say where.
    pub(crate) fn of_binding<B: RowBinding + ?Sized>(
        keys: &'k (impl Keys + ?Sized),
        table: &TableName,
        binding: &B,
    ) -> Result<Self, OpenRowError> {
        let row = Row::new(table, binding).map_err(|_| OpenError::Authentication);
        let opener = row.and_then(|row| Self::new(keys, &row));
        opener.map_err(|cause| OpenRowError::new(cause, table.clone(), None, None))
    }

    /// Opens the value of a column; the error says where.
    pub(crate) fn open_column<T: Value, B: RowBinding + ?Sized>(
        &mut self,
        column: &Column<T, B>,
        sealed: impl Storage<Value = T>,
    ) -> Result<Phi<T>, OpenRowError> {
        let opened = self.open(column, sealed);
        opened.map_err(|cause| self.located(Some(column.name()), cause))
    }
}

impl RowOpener<'_> {
    /// Opens the value of a column.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open<T: Value, B: RowBinding + ?Sized>(
        &mut self,
        column: &Column<T, B>,
        sealed: impl Storage<Value = T>,
    ) -> Result<Phi<T>, OpenError> {
        if *column.table() != self.table {
            return Err(OpenError::Authentication);
        }
        self.open_field(column.name(), None, sealed)
    }

    /// Opens the value of a column that is SQL NULL when the value is absent.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_optional<T: Value, B: RowBinding + ?Sized>(
        &mut self,
        column: &Column<T, B>,
        sealed: Option<impl Storage<Value = T>>,
    ) -> Result<Option<Phi<T>>, OpenError> {
        sealed.map(|sealed| self.open(column, sealed)).transpose()
    }

    /// Opens the value of the column with this logical name, sealed with this `extra`.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_field<T: Value>(
        &mut self,
        column: &ColumnName,
        extra: Option<&[u8]>,
        sealed: impl Storage<Value = T>,
    ) -> Result<Phi<T>, OpenError> {
        let opened = self.open_token(column, extra, sealed.into_token()?)?;
        let declared =
            opened.value_type() == T::TYPE || (T::NULLABLE && opened.value_type() == ValueType::Null);
        // Text is checked once, where it becomes a `String`: a document is not read twice.
        let well_formed = opened.value_type() == ValueType::Text || opened.is_well_formed();
        if !declared || !well_formed {
            return Err(OpenError::Authentication);
        }
        T::decode(opened).map(Phi::new).ok_or(OpenError::Authentication)
    }

    /// The key that some value so far was opened under, if that key is compromised: such values are not authenticated
    /// against whoever has the key.
    #[must_use]
    pub fn compromised(&self) -> Option<KeyId> {
        self.compromised
    }

    /// Opens a token in the order of format §4, up to the frame: its value is not checked against its type yet. On
    /// failure the buffer is wiped.
    #[inline]
    pub(crate) fn open_token(
        &mut self,
        column: &ColumnName,
        extra: Option<&[u8]>,
        token: Vec<u8>,
    ) -> Result<Opened, OpenError> {
        let mut token = Wiped(token);
        let (value_type, len) = self.open_in_place(column, extra, &mut token.0)?;
        Ok(Opened::new(token, value_type, BODY_AT + 1, len))
    }

    /// Opens a token where it lies; the type and the length of its value, which begins behind the byte of the type.
    fn open_in_place(
        &mut self,
        column: &ColumnName,
        extra: Option<&[u8]>,
        token: &mut [u8],
    ) -> Result<(ValueType, usize), OpenError> {
        let parts = Parts::parse(token)?;
        self.derive(&parts)?;
        let Some(derived) = &self.derived else {
            return Err(OpenError::Authentication);
        };
        if extra.is_some() && self.extra.is_some() {
            return Err(OpenError::Authentication);
        }
        let extra = extra.or(self.extra.as_deref());
        if !derived.commitment.is(&parts.commitment) {
            return Err(OpenError::Authentication);
        }
        self.aad.truncate(token::AAD_START);
        context::encode_field(column, extra, &mut self.aad).map_err(|_| OpenError::Authentication)?;
        let body = SealedBody {
            nonce: parts.nonce,
            aad: &self.aad,
            buffer: token::body_mut(token),
        };
        let opened = derived.cipher.open_field(parts.head.salt(), body);
        opened.map_err(|_| OpenError::Authentication)?;
        if derived.compromised && self.compromised.replace(parts.key_id).is_none() {
            self.keyring.count_compromised();
        }
        let body = token.get(BODY_AT..BODY_AT + parts.body_len).unwrap_or_default();
        let (value_type, value) = frame::read(body).ok_or(OpenError::Authentication)?;
        Ok((value_type, value.len()))
    }

    /// The cipher and commitment of a token's (HEAD, ROW), derived at most once while a row is read.
    fn derive(&mut self, parts: &Parts) -> Result<(), OpenError> {
        let derived = self.derived.as_ref();
        if derived.is_some_and(|derived| derived.head == parts.head) {
            return Ok(());
        }
        self.derive_anew(parts)
    }

    /// Apart, so that the fields after the first pay nothing for it.
    #[inline(never)]
    fn derive_anew(&mut self, parts: &Parts) -> Result<(), OpenError> {
        let record = self
            .keyring
            .opening_record(parts.key_id, parts.suite, self.scopes)?;
        let subject_key = self.subject_key.as_ref().map(Result::as_ref).transpose();
        let subject_key = subject_key.map_err(|error| OpenError::from(*error))?;
        let compromised = record.is_compromised();
        let unlocked = record.unlock()?;
        let ring_key = unlocked.key()?;
        let subject_data_key = subject_key.map(|subject_key| subject_key.data_key(ring_key));
        let key = subject_data_key.as_ref().unwrap_or(ring_key);
        let (row_key, commitment) = schedule::row_key(key, &parts.head, &self.row);
        let cipher = RowCipher::new(parts.suite, &row_key).map_err(|_| OpenError::Authentication)?;
        self.aad.clear();
        start_aad(&mut self.aad, &parts.head, &commitment);
        self.derived = Some(Derived {
            head: parts.head,
            commitment,
            cipher,
            compromised,
        });
        Ok(())
    }

    /// An error, with the place where it was met.
    pub(crate) fn located(&self, column: Option<&ColumnName>, cause: OpenError) -> OpenRowError {
        let row_id = lp::decode::<5>(&self.row).and_then(|[_, _, _, row_id, _]| lp::decode_optional(row_id)?);
        OpenRowError::new(
            cause,
            self.table.clone(),
            column.cloned(),
            row_id.and_then(RowId::decode),
        )
    }
}

/// A value, and whether a compromised key was involved in opening it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Reported<T> {
    /// The value.
    pub value: T,
    /// The compromised key that it was opened under. Then the value is not authenticated against whoever has the key.
    pub compromised: Option<KeyId>,
}

impl<T> Reported<T> {
    /// Written by the derive.
    #[doc(hidden)]
    #[must_use]
    pub fn new(value: T, compromised: Option<KeyId>) -> Self {
        Self { value, compromised }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// when a later field cannot be sealed, no buffer holds a byte of an earlier one.
    #[test]
    fn a_row_that_fails_leaves_no_plaintext() {
        let data_key = DataKey::new(&[1; 32]);
        let key = SealingKey {
            id: KeyId::new(7).unwrap(),
            suite: Suite::Aes256Gcm,
            key: &data_key,
        };
        let (ssn, note) = (Phi::from("999-12-3456"), Phi::new("x".repeat(100)));
        let column = ColumnName::from_static;
        let extra = [0; 1025];
        let fields = [
            Field::new(column("ssn"), &ssn).unwrap(),
            Field::new(column("note"), &note).unwrap().with_extra(&extra),
        ];
        let mut tokens = [const { Token(None) }; 2];
        let identity = Identity {
            row: b"ROW",
            extra: None,
        };
        let mut seal = |limit| {
            let nonce = || Ok(Nonce([3; 12]));
            let failed = seal_fields(
                &key,
                RowSalt([2; 12]),
                identity,
                &fields,
                &mut tokens,
                limit,
                nonce,
            );
            (failed, tokens.iter().filter(|token| token.0.is_some()).count())
        };
        assert_eq!(seal(50), (Err(Unsealable::ValueTooLong.into()), 0));
        assert_eq!(seal(500), (Err(Unsealable::Extra.into()), 1));
        let started = tokens.iter().filter_map(|token| token.0.as_ref());
        assert!(started.clone().count() == 1 && started.clone().all(|token| token.len() == BODY_AT));
    }
}

#[cfg(test)]
pub(crate) mod fixed {
    //! Sealing with given salts and nonces, for vectors. Exists in this crate's own tests alone.

    use super::*;
    use crate::cipher::Body;
    use crate::frame::Padding;
    use crate::token::TAG_LEN;
    use crate::value::Encoded;

    /// Seals fields under a fixed salt, the nonces taken in turn.
    pub(crate) fn seal<const N: usize>(
        key: &SealingKey<'_>,
        salt: [u8; 12],
        nonces: [[u8; 12]; N],
        row: &[u8],
        fields: [Field<'_>; N],
    ) -> Result<[Vec<u8>; N], SealError> {
        let mut nonces = nonces.into_iter().map(Nonce);
        let mut tokens = [const { Token(None) }; N];
        let next = || Ok(nonces.next().expect("one nonce a field"));
        let identity = Identity { row, extra: None };
        seal_fields(key, RowSalt(salt), identity, &fields, &mut tokens, 1 << 20, next)?;
        Ok(tokens.map(|token| token.0.expect("every field has a value")))
    }

    /// A field with raw value bytes of any type.
    pub(crate) fn field<'a>(
        column: ColumnName,
        extra: Option<&'a [u8]>,
        padding: Padding,
        value_type: ValueType,
        value: &'a [u8],
    ) -> Field<'a> {
        Field {
            column_of: None,
            column,
            extra,
            padding,
            value: Some(Encoded::borrowed(value_type, value)),
            max_len: None,
            lengths: None,
        }
    }

    /// A token around any frame at all, well formed or not.
    pub(crate) fn seal_frame(key: &SealingKey<'_>, row: &[u8], column: &ColumnName, frame: &[u8]) -> Vec<u8> {
        let (salt, nonce) = (RowSalt([0xa0; 12]), Nonce([0xb0; 12]));
        let head = Head::new(key.suite, key.id, salt);
        let (row_key, commitment) = schedule::row_key(key.key, &head, row);
        let mut token = token::start(&head, &commitment, &nonce, frame.len());
        token.extend_from_slice(frame);
        token.resize(token.len() + TAG_LEN, 0);
        let mut aad = Vec::new();
        write_aad(&mut aad, &head, &commitment, column, None).unwrap();
        let (nonce, buffer) = token::nonce_and_body_mut(&mut token);
        let aad = &aad;
        RowCipher::new(key.suite, &row_key)
            .unwrap()
            .seal_fields(salt, &mut [Body { nonce, aad, buffer }])
            .unwrap();
        token
    }
}
