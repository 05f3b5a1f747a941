//! How large columns get (format §3, §5): from the type, the longest value and the padding.

use data_encoding::BASE64URL_NOPAD;

use super::StorageKind;
use crate::frame::{Padding, unpadded_len};
use crate::token::{BODY_AT, TAG_LEN, TEXT_PREFIX};
use crate::value_type::ValueType;

/// The length of the longest value, in bytes: of the type, or else what the model says.
const fn longest_value(value_type: ValueType, max_len: Option<u32>) -> Option<usize> {
    let of_type = match value_type {
        ValueType::Null => 0,
        ValueType::Bool => 1,
        ValueType::Integer | ValueType::Float => 8,
        // `YYYY-MM-DD`
        ValueType::Date => 10,
        ValueType::Uuid => 16,
        // `YYYY-MM-DDTHH:MM:SS.nnnnnnnnnZ`: the types for it have nanoseconds.
        ValueType::Timestamp => 30,
        // A sign, 29 digits and a point: the type for it has 96 bits.
        ValueType::Decimal => 31,
        ValueType::Text | ValueType::Bytes | ValueType::Json => {
            return match max_len {
                Some(len) => Some(len as usize),
                None => None,
            };
        }
    };
    Some(of_type)
}

/// The length of the longest token, in bytes (characters of its text form), where that is known: where the type or the
/// model bounds the values, or the padding does.
pub(super) fn longest_token(
    value_type: ValueType,
    max_len: Option<u32>,
    padding: Padding,
    storage: StorageKind,
) -> Option<usize> {
    let frame = match (padding, longest_value(value_type, max_len)) {
        (Padding::Fixed(n), _) => n as usize,
        (padding, Some(len)) => padding.padded_len(unpadded_len(len)).ok()?,
        (_, None) => return None,
    };
    let token = BODY_AT + frame + TAG_LEN;
    Some(match storage {
        StorageKind::Binary => token,
        StorageKind::Text => TEXT_PREFIX.len() + BASE64URL_NOPAD.encode_len(token),
    })
}

/// The length of an index value, in bytes: the id of its pepper, and the bits.
pub(super) const fn index_value(bits: u16) -> usize {
    4 + bits.div_ceil(8) as usize
}
