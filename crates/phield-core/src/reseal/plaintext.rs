//! Values that cross between a column of plaintext and one of tokens, by the schema alone.

use std::borrow::Cow;

use zeroize::Zeroizing;

use super::{RowIdentity, SealedColumn, TableRows};
use crate::error::{OpenError, SealError, Unsealable};
use crate::field::Field;
use crate::row::Sealer;
use crate::subject_key::Keys;
use crate::value::{Encoded, Opened, ValueType};
use crate::wipe::Wiped;

/// What stands in a column of plaintext. Erased on drop where it is owned.
#[allow(clippy::exhaustive_enums, reason = "what columns of the databases hold")]
pub enum PlainValue<'v> {
    /// SQL NULL.
    Null,
    /// A number, or a boolean where the database has none.
    Integer(i64),
    /// Text, and everything that the database gives as text.
    Text(Cow<'v, str>),
    /// Bytes.
    Bytes(Cow<'v, [u8]>),
}

impl std::fmt::Debug for PlainValue<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PlainValue(..)")
    }
}

impl Drop for PlainValue<'_> {
    fn drop(&mut self) {
        match self {
            Self::Text(Cow::Owned(text)) => drop(Wiped(std::mem::take(text).into_bytes())),
            Self::Bytes(Cow::Owned(bytes)) => drop(Wiped(std::mem::take(bytes))),
            _ => {}
        }
    }
}

/// Why a plaintext was not sealed, or a token not unsealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaintextError {
    /// The column does not hold what the schema says of it: no date, no number, no UUID, longer than its limit, NULL.
    #[error("the plaintext is no value of the column's type, or longer than the column allows")]
    NotItsType,
    /// Nothing can have been sealed with this row id, tenant, subject or `extra`.
    #[error("the identity of the row is none that something can be sealed with")]
    Identity(#[source] Unsealable),
    /// It cannot be sealed now: no row of the table and tenant can.
    #[error(transparent)]
    Seal(SealError),
    /// The token does not open.
    #[error("the token does not open")]
    Open(#[source] OpenError),
    /// A new token does not open to what was sealed.
    #[error(
        "a new token does not open to what was sealed: this machine computes wrongly; nothing was written"
    )]
    NotTheSame,
}

impl TableRows {
    /// The position of the sealed column with this logical name.
    #[must_use]
    pub fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|own| own.name.as_str() == column)
    }

    /// Seals the plaintext of one column, padded as the schema says, under a salt of its own; opens the token again and
    /// compares (I-4). None: SQL NULL, which stays one.
    ///
    /// # Errors
    /// See [`PlaintextError`].
    pub fn seal_plaintext(
        &self,
        sealer: &mut Sealer<'_>,
        keys: &(impl Keys + ?Sized),
        identity: &RowIdentity,
        column: usize,
        value: &PlainValue<'_>,
    ) -> Result<Option<Vec<u8>>, PlaintextError> {
        let column = self.columns.get(column).ok_or(PlaintextError::NotItsType)?;
        let Some((value_type, bytes)) = column.encode(value)? else {
            return Ok(None);
        };
        let row = self.row(identity).map_err(PlaintextError::Identity)?;
        let field = Field {
            column_of: None,
            column: column.name.clone(),
            extra: None,
            padding: column.padding,
            value: Some(Encoded::borrowed(value_type, &bytes)),
            max_len: column.max_len,
            lengths: None,
        };
        let sealed = sealer
            .seal_fields(&row, std::slice::from_ref(&field))
            .map_err(refused)?;
        let token = sealed.into_iter().next().and_then(crate::row::Token::into_bytes);
        let token = token.ok_or(PlaintextError::NotTheSame)?;
        let opened = self.open_one(keys, identity, column, token.clone());
        let same =
            opened.is_ok_and(|opened| opened.value_type() == value_type && *opened.as_bytes() == *bytes);
        same.then_some(Some(token)).ok_or(PlaintextError::NotTheSame)
    }

    /// What a token holds, as it stands in a column of plaintext.
    ///
    /// # Security
    /// The value is in the clear from here on.
    ///
    /// # Errors
    /// See [`PlaintextError`].
    pub fn unseal(
        &self,
        keys: &(impl Keys + ?Sized),
        identity: &RowIdentity,
        column: usize,
        token: Vec<u8>,
    ) -> Result<PlainValue<'static>, PlaintextError> {
        let column = self.columns.get(column).ok_or(PlaintextError::NotItsType)?;
        let opened = self.open_one(keys, identity, column, token)?;
        column.decode(opened).ok_or(PlaintextError::NotItsType)
    }

    /// Whether a token holds this plaintext.
    ///
    /// # Errors
    /// See [`PlaintextError`].
    pub fn holds(
        &self,
        keys: &(impl Keys + ?Sized),
        identity: &RowIdentity,
        column: usize,
        token: Vec<u8>,
        value: &PlainValue<'_>,
    ) -> Result<bool, PlaintextError> {
        let column = self.columns.get(column).ok_or(PlaintextError::NotItsType)?;
        let Some((value_type, bytes)) = column.encode(value)? else {
            return Ok(false);
        };
        let opened = self.open_one(keys, identity, column, token)?;
        Ok(opened.value_type() == value_type && *opened.as_bytes() == *bytes)
    }

    fn open_one(
        &self,
        keys: &(impl Keys + ?Sized),
        identity: &RowIdentity,
        column: &SealedColumn,
        token: Vec<u8>,
    ) -> Result<Opened, PlaintextError> {
        let row = self.row(identity).map_err(PlaintextError::Identity)?;
        let position = self
            .position(column.name.as_str())
            .ok_or(PlaintextError::NotItsType)?;
        let opened = self.open(keys, &row, vec![(position, token)]).into_iter().next();
        let (_, opened) = opened.ok_or(PlaintextError::NotItsType)?;
        opened.map_err(PlaintextError::Open)
    }
}

/// What says something about this value alone, and what says that nothing can be sealed.
fn refused(error: SealError) -> PlaintextError {
    match error {
        SealError::Unsealable(_) | SealError::NoValue => PlaintextError::NotItsType,
        other => PlaintextError::Seal(other),
    }
}

impl SealedColumn {
    /// Type and bytes of the frame of a plaintext; none for a SQL NULL that stays one.
    fn encode<'v>(
        &self,
        value: &'v PlainValue<'_>,
    ) -> Result<Option<(ValueType, Plain<'v>)>, PlaintextError> {
        if matches!(value, PlainValue::Null) {
            return Ok(self.nullable.then_some((ValueType::Null, Plain::Borrowed(&[]))));
        }
        let bytes = encode(self.value_type, value).ok_or(PlaintextError::NotItsType)?;
        if !self.value_type.accepts(&bytes) {
            return Err(PlaintextError::NotItsType);
        }
        Ok(Some((self.value_type, bytes)))
    }

    fn decode(&self, opened: Opened) -> Option<PlainValue<'static>> {
        let text = |bytes: Vec<u8>| match String::from_utf8(bytes) {
            Ok(text) => Some(PlainValue::Text(Cow::Owned(text))),
            Err(error) => {
                drop(Wiped(error.into_bytes()));
                None
            }
        };
        Some(match opened.value_type() {
            ValueType::Null => PlainValue::Null,
            ValueType::Text | ValueType::Date | ValueType::Decimal | ValueType::Json => {
                text(opened.into_vec())?
            }
            // The one form that a DATETIME of MariaDB takes, too. It is UTC.
            ValueType::Timestamp => {
                let mut bytes = opened.into_vec();
                bytes.pop();
                if let Some(separator) = bytes.get_mut(10) {
                    *separator = b' ';
                }
                text(bytes)?
            }
            ValueType::Bytes | ValueType::Uuid => PlainValue::Bytes(Cow::Owned(opened.into_vec())),
            ValueType::Integer => PlainValue::Integer(i64::from_be_bytes(opened.as_bytes().try_into().ok()?)),
            ValueType::Bool => PlainValue::Integer(i64::from(*opened.as_bytes().first()?)),
            ValueType::Float => return None,
        })
    }
}

/// Bytes of a value: where they stand in the column, or wiped.
enum Plain<'v> {
    Borrowed(&'v [u8]),
    Owned(Zeroizing<Vec<u8>>),
}

impl std::ops::Deref for Plain<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// The bytes of format §5. A floating-point number has no text that every database gives back exactly: none.
fn encode<'v>(value_type: ValueType, value: &'v PlainValue<'_>) -> Option<Plain<'v>> {
    let owned = |bytes: &[u8]| Some(Plain::Owned(Zeroizing::new(bytes.to_vec())));
    let text = match value {
        PlainValue::Text(text) => Some(&**text),
        PlainValue::Bytes(bytes) if value_type != ValueType::Bytes => std::str::from_utf8(bytes).ok(),
        _ => None,
    };
    match (value_type, value) {
        (ValueType::Bytes, PlainValue::Bytes(bytes)) => Some(Plain::Borrowed(bytes)),
        (ValueType::Bytes, PlainValue::Text(text)) => Some(Plain::Borrowed(text.as_bytes())),
        (ValueType::Uuid, PlainValue::Bytes(bytes)) if bytes.len() == 16 => Some(Plain::Borrowed(bytes)),
        (ValueType::Uuid, _) => owned(uuid::Uuid::try_parse(text?).ok()?.as_bytes()),
        (ValueType::Integer, PlainValue::Integer(n)) => owned(&n.to_be_bytes()),
        (ValueType::Integer, _) => owned(&text?.parse::<i64>().ok()?.to_be_bytes()),
        (ValueType::Bool, PlainValue::Integer(n @ (0 | 1))) => owned(&[u8::from(*n == 1)]),
        (ValueType::Bool, _) => match text? {
            "true" | "t" | "1" => owned(&[1]),
            "false" | "f" | "0" => owned(&[0]),
            _ => None,
        },
        (ValueType::Decimal, PlainValue::Integer(n)) => owned(n.to_string().as_bytes()),
        (ValueType::Timestamp, _) => Some(Plain::Owned(timestamp(text?)?)),
        (ValueType::Text | ValueType::Date | ValueType::Decimal | ValueType::Json, _) => {
            Some(Plain::Borrowed(text?.as_bytes()))
        }
        _ => None,
    }
}

/// `YYYY-MM-DD HH:MM:SS[.fraction][offset 0]` as `YYYY-MM-DDTHH:MM:SS[.fraction]Z`. A time without an offset is UTC.
fn timestamp(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let rest = ["Z", "+00:00", "+00", "-00:00"]
        .iter()
        .find_map(|offset| text.strip_suffix(offset));
    let rest = rest.unwrap_or(text).as_bytes();
    let (date, time) = (rest.get(..10)?, rest.get(11..)?);
    if !matches!(rest.get(10), Some(b' ' | b'T')) {
        return None;
    }
    let fraction = time.get(8..).filter(|fraction| fraction.first() == Some(&b'.'));
    let digits = fraction.map_or(0, |fraction| {
        let zeros = fraction.iter().rev().take_while(|digit| **digit == b'0').count();
        match fraction.len() - zeros {
            1 => 0,
            len => len,
        }
    });
    let time = match fraction {
        Some(_) => time.get(..8 + digits)?,
        None => time,
    };
    let mut written = Zeroizing::new(Vec::with_capacity(32));
    written.extend_from_slice(date);
    written.push(b'T');
    written.extend_from_slice(time);
    written.push(b'Z');
    Some(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plaintext_as_the_databases_give_it() {
        let text = |text: &str| PlainValue::Text(Cow::Owned(text.to_owned()));
        let encoded = |value_type: ValueType, value: PlainValue<'_>| {
            let bytes = encode(value_type, &value)?.to_vec();
            value_type.accepts(&bytes).then_some(bytes)
        };
        let time = |given: &str| {
            let bytes = encoded(ValueType::Timestamp, text(given))?;
            String::from_utf8(bytes).ok()
        };
        assert_eq!(time("2026-11-27 02:30:00+00").unwrap(), "2026-11-27T02:30:00Z");
        assert_eq!(
            time("2026-11-27T02:30:00.120Z").unwrap(),
            "2026-11-27T02:30:00.12Z"
        );
        assert_eq!(
            time("2026-11-27 02:30:00.000000").unwrap(),
            "2026-11-27T02:30:00Z"
        );
        assert_eq!(time("2026-11-27T02:30:00+00:00").unwrap(), "2026-11-27T02:30:00Z");
        for wrong in [
            "",
            "2026-11-27",
            "2026-11-27 02:30:00+02",
            "2026-11-27 02:30",
            "27.11.2026 02:30:00",
            "2026-11-27é02:30:00",
        ] {
            assert_eq!(time(wrong), None, "{wrong}");
        }
        let uuid = uuid::Uuid::from_u128(7);
        for value in [
            text(&uuid.to_string()),
            PlainValue::Bytes(Cow::Borrowed(uuid.as_bytes())),
        ] {
            assert_eq!(encoded(ValueType::Uuid, value).unwrap(), uuid.as_bytes());
        }
        assert_eq!(
            encoded(ValueType::Integer, text("-42")).unwrap(),
            (-42_i64).to_be_bytes()
        );
        assert_eq!(encoded(ValueType::Integer, text("4 2")), None);
        assert_eq!(encoded(ValueType::Bool, text("t")).unwrap(), [1]);
        assert_eq!(encoded(ValueType::Bool, PlainValue::Integer(2)), None);
        assert_eq!(encoded(ValueType::Date, text("2026-02-29")), None);
        assert_eq!(encoded(ValueType::Float, text("1.5")), None);
        assert_eq!(
            encoded(ValueType::Text, PlainValue::Bytes(Cow::Borrowed(&[0xff]))),
            None
        );
        assert_eq!(format!("{:?}", text("999-12-3456")), "PlainValue(..)");
    }
}
