//! Erasing memory: the trait behind [`Phi`](crate::Phi). The work is done by the crate `zeroize`, in whole words.

use std::hint::black_box;

use zeroize::Zeroize;

/// A value that can overwrite itself in memory before it is dropped.
///
/// Implemented for text, bytes, integers and `bool`, where erasure is guaranteed, and for identifiers and dates of
/// other crates, where it is best effort: such a type may have been copied by its own crate.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be in a `Phi`",
    note = "String, Vec<u8>, integers, bool, Uuid, dates (features `chrono`, `time`) and Option of these can; floats, \
            timestamps, decimals, JSON and enums are not built yet: keep them as `Phi<String>`, not as plain columns"
)]
pub trait Erase {
    /// Overwrites the value. What is left is a valid but meaningless value.
    fn erase(&mut self);
}

/// A byte vector that is wiped, spare capacity included, when it is dropped.
#[derive(Default)]
pub(crate) struct Wiped(pub(crate) Vec<u8>);

impl Wiped {
    /// Makes room for `additional` bytes. A buffer that has to grow is wiped, not just freed.
    pub(crate) fn reserve(&mut self, additional: usize) {
        if self.0.capacity() - self.0.len() < additional {
            let mut larger = Self(Vec::with_capacity(self.0.len() + additional));
            larger.0.extend_from_slice(&self.0);
            std::mem::swap(self, &mut larger);
        }
    }

    /// Takes the bytes out; from here on the caller answers for wiping them.
    pub(crate) fn into_inner(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.zeroize();
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
// Text and bytes are wiped with their spare capacity.
erase_by_zeroize!(String, Vec<u8>, i8, i16, i32, i64, u8, u16, u32, u64, bool);

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
    fn wipes_spare_capacity() {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(b"999-12-3456");
        bytes.truncate(3);
        bytes.erase();
        bytes.resize(bytes.capacity(), 1);
        // `resize` wrote ones over zeros: nothing of the value can be left, whatever the capacity was.
        assert!(bytes.iter().all(|b| *b == 1));
        let mut text = String::from("999-12-3456");
        text.erase();
        assert!(text.is_empty());
    }
}
