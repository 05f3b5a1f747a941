//! The decimal number of `rust_decimal`.

use std::io::Write as _;

use rust_decimal::Decimal;
use zeroize::Zeroizing;

use super::{Encoded, INLINE, Opened, Value};
use crate::error::Unsealable;
use crate::value_type::ValueType;

/// As given, trailing zeros included: `12.50` comes back as `12.50`. A number of another writer with more digits than
/// the 96 bits of `Decimal` hold does not open as one.
impl Value for Decimal {
    const TYPE: ValueType = ValueType::Decimal;

    fn encode(&self) -> Result<Encoded<'_>, Unsealable> {
        let mut text = Zeroizing::new([0_u8; INLINE]);
        let mut rest = text.as_mut_slice();
        // Zero has no sign: -0 is equal to 0, and so has to have the same bytes.
        let mut number = *self;
        number.set_sign_negative(self.is_sign_negative() && !self.is_zero());
        // At most a sign, 29 digits and a point.
        write!(rest, "{number}").map_err(|_| Unsealable::ValueTooLong)?;
        let len = INLINE - rest.len();
        Ok(Encoded::inline(Self::TYPE, text.get(..len).unwrap_or_default()))
    }

    fn decode(opened: Opened) -> Option<Self> {
        Self::from_str_exact(std::str::from_utf8(opened.as_bytes()).ok()?).ok()
    }
}
