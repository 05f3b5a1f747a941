//! `LP`, the one injective list encoding (format §1): `u32(n) ‖ u32(len x1) ‖ x1 ‖ … ‖ u32(len xn) ‖ xn`.

/// Appends the encoding of one list to a buffer, element by element. The count is given first and checked at the end
/// in debug builds.
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    left: u32,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>, count: u32) -> Self {
        out.extend_from_slice(&count.to_be_bytes());
        Self { out, left: count }
    }

    #[inline]
    pub(crate) fn element(&mut self, bytes: &[u8]) -> &mut Self {
        self.length(bytes.len());
        self.out.extend_from_slice(bytes);
        self
    }

    /// `opt(x)`: absent is empty, present is `0x01 ‖ x`.
    #[inline]
    pub(crate) fn optional(&mut self, bytes: Option<&[u8]>) -> &mut Self {
        match bytes {
            None => self.length(0),
            Some(bytes) => {
                self.length(bytes.len() + 1);
                self.out.push(1);
                self.out.extend_from_slice(bytes);
            }
        }
        self
    }

    /// `opt(x)` of what `write` appends.
    pub(crate) fn present<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<&mut Self, E> {
        let start = self.out.len();
        self.optional(Some(&[]));
        let written = self.out.len();
        write(self.out)?;
        let length = length(self.out.len() - written + 1);
        if let Some(place) = self.out.get_mut(start..start + length.len()) {
            place.copy_from_slice(&length);
        }
        Ok(self)
    }

    /// One element, the parts of a compound index joined with `+`, which no name contains.
    pub(crate) fn joined<'b>(&mut self, parts: impl Iterator<Item = &'b str> + Clone) -> &mut Self {
        let length: usize = parts.clone().map(|part| part.len() + 1).sum();
        self.length(length.saturating_sub(1));
        for (position, part) in parts.enumerate() {
            if position > 0 {
                self.out.push(b'+');
            }
            self.out.extend_from_slice(part.as_bytes());
        }
        self
    }

    #[inline]
    fn length(&mut self, bytes: usize) {
        debug_assert!(self.left > 0, "more elements than counted");
        self.left = self.left.saturating_sub(1);
        self.out.extend_from_slice(&length(bytes));
    }
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes)
        .expect("an encoded element is bounded to well below 4 GiB")
        .to_be_bytes()
}

/// The start of a list whose elements are [`push`]ed into a buffer that the caller guards.
pub(crate) fn start(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(
        &u32::try_from(count)
            .expect("a list has far fewer than 2^32 elements")
            .to_be_bytes(),
    );
}

/// One more element of a list.
pub(crate) fn push(out: &mut Vec<u8>, element: &[u8]) {
    Writer { out, left: 1 }.element(element);
}

/// `LP(elements…)` as a buffer of its own.
pub(crate) fn encode(elements: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + elements.iter().map(|e| e.len() + 4).sum::<usize>());
    let count = u32::try_from(elements.len()).expect("a list has far fewer than 2^32 elements");
    let mut writer = Writer::new(&mut out, count);
    for element in elements {
        writer.element(element);
    }
    out
}

/// Decodes exactly `N` elements; anything else, or trailing bytes, is refused.
pub(crate) fn decode<const N: usize>(bytes: &[u8]) -> Option<[&[u8]; N]> {
    decode_list(bytes)?.try_into().ok()
}

/// Decodes a list of any length; trailing bytes are refused. Allocates in proportion to the input, never to its count.
pub(crate) fn decode_list(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let (count, mut rest) = read_u32(bytes)?;
    let count = usize::try_from(count).ok()?;
    let mut elements = Vec::with_capacity(count.min(rest.len() / 4));
    for _ in 0..count {
        let (length, tail) = read_u32(rest)?;
        let (element, tail) = tail.split_at_checked(usize::try_from(length).ok()?)?;
        elements.push(element);
        rest = tail;
    }
    rest.is_empty().then_some(elements)
}

/// Decodes `opt(x)`. The outer `Option` is the failure.
pub(crate) fn decode_optional(bytes: &[u8]) -> Option<Option<&[u8]>> {
    match bytes {
        [] => Some(None),
        [1, value @ ..] => Some(Some(value)),
        _ => None,
    }
}

fn read_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*head), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_bytes() {
        assert_eq!(encode(&[]), [0, 0, 0, 0]);
        assert_eq!(
            encode(&[b"ab", b""]),
            [0, 0, 0, 2, 0, 0, 0, 2, b'a', b'b', 0, 0, 0, 0]
        );
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, 4);
        writer
            .optional(None)
            .optional(Some(b""))
            .joined(["a", "bc"].into_iter());
        let late = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"d");
            Ok::<_, ()>(())
        };
        assert!(writer.present(late).is_ok());
        assert_eq!(
            out,
            [
                0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 4, b'a', b'+', b'b', b'c', 0, 0, 0, 2, 1,
                b'd'
            ]
        );
    }

    #[test]
    fn refuses_wrong_counts_and_trailing_bytes() {
        let good = encode(&[b"ab", b"c"]);
        assert!(decode::<2>(&good).is_some());
        assert!(decode::<1>(&good).is_none());
        assert!(decode::<3>(&good).is_none());
        assert!(decode_list(&[good.as_slice(), &[0]].concat()).is_none());
        for end in 0..good.len() {
            assert!(decode_list(good.get(..end).unwrap()).is_none());
        }
        assert!(decode_list(&[0xff; 4]).is_none());
        assert_eq!(decode_optional(&[]), Some(None));
        assert_eq!(decode_optional(&[1]), Some(Some(&[][..])));
        assert_eq!(decode_optional(&[2, 3]), None);
        assert_eq!(decode_optional(&[0]), None);
    }

    proptest! {
        /// equal bytes mean equal lists, because decoding gives the list back; concatenations do not collide.
        #[test]
        fn is_injective(a: Vec<Vec<u8>>, b: Vec<Vec<u8>>) {
            let slices = |list: &[Vec<u8>]| -> Vec<u8> { encode(&list.iter().map(Vec::as_slice).collect::<Vec<_>>()) };
            let (left, right) = (slices(&a), slices(&b));
            prop_assert_eq!(left == right, a == b);
            prop_assert_eq!(decode_list(&left).unwrap(), a.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }

        #[test]
        fn moving_a_byte_between_neighbours_changes_the_encoding(text: Vec<u8>, cut in 0usize..64, other in 0usize..64) {
            let (cut, other) = (cut.min(text.len()), other.min(text.len()));
            prop_assume!(cut != other);
            let split = |at: usize| { let (a, b) = text.split_at(at); encode(&[a, b]) };
            prop_assert_ne!(split(cut), split(other));
        }

        #[test]
        fn decoding_never_panics(bytes: Vec<u8>) {
            if let Some(list) = decode_list(&bytes) {
                prop_assert_eq!(encode(&list), bytes);
            }
        }
    }
}
