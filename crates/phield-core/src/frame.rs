//! Frames (format §5), what is encrypted: `type ‖ value ‖ 0x80 ‖ 0x00 × z`, padded after ISO/IEC 7816-4.

use crate::error::Unsealable;
use crate::token::MAX_BODY;
use crate::value_type::ValueType;

/// How much of a value's length shows in its token. Readers accept every padding without being told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Padding {
    /// To the next multiple of 16: every value of 0–14 bytes gives the same length. The default.
    ///
    /// An encrypted null has the length of such a short value. Where the value is longer, as a UUID or a document is,
    /// the length shows whether it is null: give it `fixed(n)`.
    Block16,
    /// To exactly this many bytes, frame included; a longer value is refused. For codes where even the bucket must
    /// not show.
    Fixed(u32),
    /// To this many bytes, and above that Padmé: at most 12 % growth. For notes and documents.
    Padme(u32),
    /// No padding. Only where the length is public.
    None,
}

impl Padding {
    /// Whether this padding can be written at all: `fixed(n)` and `padme(n)` take 2 ≤ n ≤ 18 MiB.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        match self {
            Self::Block16 | Self::None => true,
            Self::Fixed(n) | Self::Padme(n) => n >= 2 && n as usize <= MAX_BODY,
        }
    }

    /// Whether values of these two lengths, and all between, have one padded length: what a type of few values needs.
    pub(crate) const fn hides([shortest, longest]: [usize; 2], padding: Self) -> bool {
        let (shortest, longest) = (unpadded_len(shortest), unpadded_len(longest));
        match padding {
            // Also where they are equal: the next value that is added may be longer.
            Self::None => false,
            Self::Block16 => shortest.next_multiple_of(16) == longest.next_multiple_of(16),
            Self::Fixed(n) => longest <= n as usize,
            Self::Padme(n) => longest <= n as usize || shortest == longest,
        }
    }

    /// The padded length of a frame of `len` bytes, the byte 0x80 counted.
    pub(crate) fn padded_len(self, len: usize) -> Result<usize, Unsealable> {
        let padded = match self {
            Self::None => len,
            Self::Block16 => len.next_multiple_of(16),
            Self::Fixed(n) if len <= n as usize => n as usize,
            Self::Fixed(_) => return Err(Unsealable::PaddingTooShort),
            Self::Padme(n) if len <= n as usize => n as usize,
            Self::Padme(_) => padme(len),
        };
        if self.is_valid() && padded <= MAX_BODY {
            Ok(padded)
        } else {
            Err(Unsealable::PaddingTooShort)
        }
    }
}

/// Padmé (Nikitin et al., PETS 2019): E = ⌊log2 L⌋, S = ⌊log2 E⌋+1, up to a multiple of 2^(E−S).
fn padme(len: usize) -> usize {
    let e = len.ilog2();
    let s = e.checked_ilog2().map_or(0, |log| log + 1);
    len.next_multiple_of(1 << e.saturating_sub(s))
}

/// Appends a frame to `out`, which has room for it.
pub(crate) fn write(out: &mut Vec<u8>, value_type: ValueType, value: &[u8], padded_len: usize) {
    let end = out.len() + padded_len;
    out.push(value_type.byte());
    out.extend_from_slice(value);
    out.push(0x80);
    out.resize(end, 0);
}

/// The length of a frame before padding.
pub(crate) const fn unpadded_len(value_len: usize) -> usize {
    value_len + 2
}

/// Reads a frame: its type and its value, which is not checked against the type yet.
pub(crate) fn read(frame: &[u8]) -> Option<(ValueType, &[u8])> {
    let end = frame.iter().rposition(|byte| *byte != 0)?;
    let (content, marker) = frame
        .get(..=end)?
        .split_last()
        .map(|(last, content)| (content, *last))?;
    let (tag, value) = content.split_first()?;
    if marker != 0x80 {
        return None;
    }
    ValueType::from_byte(*tag).map(|value_type| (value_type, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(value: &[u8], padding: Padding) -> Vec<u8> {
        let mut out = Vec::new();
        let padded = padding.padded_len(unpadded_len(value.len())).unwrap();
        write(&mut out, ValueType::Bytes, value, padded);
        out
    }

    #[test]
    fn paddings() {
        for (len, padded) in [(0, 16), (14, 16), (15, 32), (30, 32), (31, 48)] {
            assert_eq!(framed(&vec![b'x'; len], Padding::Block16).len(), padded);
        }
        assert_eq!(framed(b"", Padding::None), [0x02, 0x80]);
        assert_eq!(framed(b"", Padding::Fixed(32)).len(), 32);
        assert_eq!(framed(&[1; 30], Padding::Fixed(32)).len(), 32);
        assert_eq!(
            Padding::Fixed(32).padded_len(33),
            Err(Unsealable::PaddingTooShort)
        );
        assert_eq!(framed(&[1; 30], Padding::Padme(64)).len(), 64);
        // L = 1000: E = 9, S = 4, multiple of 32.
        assert_eq!(Padding::Padme(64).padded_len(1000), Ok(1024));
        assert_eq!(Padding::Padme(2).padded_len(3), Ok(3));
        assert_eq!(Padding::Padme(2).padded_len(MAX_BODY), Ok(MAX_BODY));
        for bad in [
            Padding::Fixed(1),
            Padding::Padme(0),
            Padding::Fixed((18 << 20) + 1),
        ] {
            assert!(!bad.is_valid());
            assert_eq!(bad.padded_len(2), Err(Unsealable::PaddingTooShort));
        }
        assert_eq!(
            Padding::Block16.padded_len(MAX_BODY + 1),
            Err(Unsealable::PaddingTooShort)
        );
    }

    #[test]
    fn refuses_what_is_no_frame() {
        let bad: [&[u8]; 7] = [
            b"",
            &[0x80],
            &[0x00],
            &[0x01, 0x00],
            &[0x01, 0x81],
            &[0x01, b'a', 0x80, 0x01],
            &[0x0b, b'a', 0x80],
        ];
        for frame in bad {
            assert_eq!(read(frame), None, "{frame:02x?}");
        }
        assert_eq!(
            read(&[0x01, b'a', 0x80, 0, 0]),
            Some((ValueType::Text, &b"a"[..]))
        );
        assert_eq!(read(&[0x02, 0x80, 0x80]), Some((ValueType::Bytes, &[0x80][..])));
    }

    fn any_padding() -> impl Strategy<Value = Padding> {
        prop_oneof![
            Just(Padding::Block16),
            Just(Padding::None),
            (600u32..4000).prop_map(Padding::Fixed),
            (2u32..600).prop_map(Padding::Padme)
        ]
    }

    proptest! {
        #[test]
        fn round_trip(value in proptest::collection::vec(any::<u8>(), 0..500), zeros in 0usize..20, padding in any_padding()) {
            // Values that end in padding bytes are the hard case.
            let value = [value, vec![0; zeros], vec![0x80], vec![0; zeros]].concat();
            let frame = framed(&value, padding);
            prop_assert_eq!(read(&frame), Some((ValueType::Bytes, value.as_slice())));
        }

        #[test]
        fn padme_grows_by_at_most_an_eighth(len in 2usize..(16 << 20)) {
            let padded = padme(len);
            prop_assert!(padded >= len && padded - len <= len * 12 / 100 + 1);
        }

        #[test]
        fn reading_never_panics(frame: Vec<u8>) {
            let _ = read(&frame);
        }
    }
}
