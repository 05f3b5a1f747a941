//! Frames, paddings and the values inside (format §5).

use super::input::Input;
use crate::error::Unsealable;
use crate::frame::{self, Padding};
use crate::value::{Opened, Value, ValueType};
use crate::wipe::Wiped;

const TYPES: [ValueType; 11] = [
    ValueType::Null,
    ValueType::Text,
    ValueType::Bytes,
    ValueType::Integer,
    ValueType::Bool,
    ValueType::Date,
    ValueType::Timestamp,
    ValueType::Decimal,
    ValueType::Json,
    ValueType::Float,
    ValueType::Uuid,
];
/// Longest ciphertext (format §3).
const MAX_BODY: usize = 18 << 20;
/// Longer frames than this are only computed, not written.
const MAX_WRITTEN: usize = 1 << 16;

/// Any bytes as a frame, and frames of any value, type and padding.
pub fn frame(data: &[u8]) {
    read(data);
    let mut input = Input::new(data);
    let padding = padding(&mut input);
    padded_lengths(padding, input.u32());
    write(&mut input, padding);
}

/// What reads is written again as the same bytes, and its value means the same to every type.
fn read(data: &[u8]) {
    let Some((value_type, value)) = frame::read(data) else {
        return;
    };
    let mut written = Vec::new();
    frame::write(&mut written, value_type, value, data.len());
    assert_eq!(written, data);
    decode(value_type, value);
    // The same bytes under every other type: never a panic.
    for other in TYPES {
        let _ = other.accepts(value);
    }
}

/// The Rust types of a value type decode what it accepts, to a value that is encoded as the same bytes.
fn decode(value_type: ValueType, value: &[u8]) {
    let opened = || Opened::new(Wiped(value.to_vec()), value_type, 0, value.len());
    let accepted = value_type.accepts(value);
    assert_eq!(opened().is_well_formed(), accepted);
    assert_eq!(opened().into_vec(), value);
    match value_type {
        ValueType::Null => assert_eq!(decoded::<Option<String>>(opened(), value), accepted),
        ValueType::Text => assert_eq!(decoded::<String>(opened(), value), accepted),
        ValueType::Bytes => assert!(decoded::<Vec<u8>>(opened(), value)),
        ValueType::Bool => assert_eq!(decoded::<bool>(opened(), value), accepted),
        ValueType::Uuid => assert_eq!(decoded::<uuid::Uuid>(opened(), value), accepted),
        ValueType::Integer => {
            assert_eq!(decoded::<i64>(opened(), value), accepted);
            // Narrower types take what fits.
            let in_range = |fits: fn(i64) -> bool| {
                <[u8; 8]>::try_from(value).is_ok_and(|bytes| fits(i64::from_be_bytes(bytes)))
            };
            let u64_fits = in_range(|n| u64::try_from(n).is_ok());
            assert_eq!(decoded::<u64>(opened(), value), u64_fits);
            let i8_fits = in_range(|n| i8::try_from(n).is_ok());
            assert_eq!(decoded::<i8>(opened(), value), i8_fits);
        }
        ValueType::Date => {
            #[cfg(feature = "chrono")]
            assert_eq!(decoded::<chrono::NaiveDate>(opened(), value), accepted);
            #[cfg(feature = "time")]
            assert_eq!(decoded::<time::Date>(opened(), value), accepted);
        }
        ValueType::Timestamp | ValueType::Decimal | ValueType::Json | ValueType::Float => {}
    }
}

/// Whether the value decodes; then it must be encoded as it was.
fn decoded<T: Value>(opened: Opened, value: &[u8]) -> bool {
    let value_type = opened.value_type();
    T::decode(opened).is_some_and(|decoded| {
        let encoded = decoded.encode().unwrap();
        assert_eq!(encoded.value_type(), value_type);
        assert_eq!(encoded.as_bytes(), value);
        true
    })
}

fn padding(input: &mut Input<'_>) -> Padding {
    let kind = input.u8() % 4;
    // Small paddings by two bytes, the limit of 18 MiB and what lies above by four.
    let n = match input.bool() {
        true => u32::from(input.u16()),
        false => input.u32(),
    };
    match kind {
        0 => Padding::Block16,
        1 => Padding::Fixed(n),
        2 => Padding::Padme(n),
        _ => Padding::None,
    }
}

/// The rules of §5, for a frame of any length up to just above what a token holds.
fn padded_lengths(padding: Padding, len: u32) {
    let len = 2 + usize::try_from(len).unwrap() % (MAX_BODY + 16);
    let valid = match padding {
        Padding::Fixed(n) | Padding::Padme(n) => (2..=MAX_BODY).contains(&usize::try_from(n).unwrap()),
        _ => true,
    };
    assert_eq!(padding.is_valid(), valid);
    let Ok(padded) = padding.padded_len(len) else {
        let too_long = match padding {
            Padding::Fixed(n) => len > usize::try_from(n).unwrap(),
            // Padding may add to the last lengths below the limit.
            _ => len + len * 12 / 100 + 16 > MAX_BODY,
        };
        assert!(!valid || too_long, "{padding:?} of {len}");
        assert_eq!(padding.padded_len(len), Err(Unsealable::PaddingTooShort));
        return;
    };
    assert!(
        valid && padded >= len && padded <= MAX_BODY,
        "{padding:?} of {len}"
    );
    match padding {
        Padding::None => assert_eq!(padded, len),
        Padding::Block16 => assert!(padded.is_multiple_of(16) && padded - len < 16),
        Padding::Fixed(n) => assert_eq!(padded, usize::try_from(n).unwrap()),
        Padding::Padme(n) if len <= usize::try_from(n).unwrap() => {
            assert_eq!(padded, usize::try_from(n).unwrap());
        }
        Padding::Padme(_) => assert!((padded - len) * 100 <= len * 12, "padme of {len} is {padded}"),
    }
    // A padded length is a bucket: it is its own padded length, and longer frames never get shorter.
    assert_eq!(padding.padded_len(padded), Ok(padded));
    if let Ok(next) = padding.padded_len(len + 1) {
        assert!(next >= padded);
    }
}

/// What is written is read again: its type and its value, whatever the value ends in.
fn write(input: &mut Input<'_>, padding: Padding) {
    let value_type = *input.choice(&TYPES);
    let value = input.rest();
    let Ok(padded) = padding.padded_len(frame::unpadded_len(value.len())) else {
        return;
    };
    if padded > MAX_WRITTEN {
        return;
    }
    let mut written = b"in front".to_vec();
    frame::write(&mut written, value_type, value, padded);
    let written = written.strip_prefix(b"in front").unwrap();
    assert_eq!(written.len(), padded);
    assert_eq!(frame::read(written), Some((value_type, value)));
    decode(value_type, value);
}
