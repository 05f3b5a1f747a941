//! Erasing memory: the trait behind [`Phi`](crate::Phi). The work is done by the crate `zeroize`, in whole words.

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;

use zeroize::Zeroize;

/// A value that can overwrite itself in memory before it is dropped.
///
/// Guaranteed for text, bytes, numbers and `bool`, in the place where they are when they are dropped: what a move, or a
/// processor's register, keeps of a number or a short value is out of reach. Best effort for identifiers, dates, decimals and collections of other
/// crates: such a type may have been copied by its own crate, and a collection that has grown has left its elements'
/// old places behind (what text and bytes in it point to is erased). `#[derive(Erase)]` erases every field of a type of
/// your own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be in a `Phi`",
    note = "String, Vec<u8>, integers, f64, bool, Uuid, Json<T>, dates and times (features `chrono`, `time`), decimals \
            (feature `decimal`), types with `#[derive(PhiValue)]`, and Option of these can; types inside Json \
            need `#[derive(Erase)]`"
)]
pub trait Erase {
    /// Overwrites the value. What is left is a valid but meaningless value.
    fn erase(&mut self);

    /// Erases and empties a vector of such values.
    #[doc(hidden)]
    fn erase_vec(values: &mut Vec<Self>)
    where
        Self: Sized,
    {
        values.iter_mut().for_each(Self::erase);
        values.clear();
    }
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
    #[inline]
    pub(crate) fn into_inner(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Erases and empties a vector. As spare capacity it is overwritten in one call; its elements would be one by one.
fn wipe<T: Copy>(values: &mut Vec<T>) {
    values.clear();
    values.spare_capacity_mut().zeroize();
}

macro_rules! erase_by_zeroize {
    ($($t:ty),*) => {$(
        impl Erase for $t {
            fn erase(&mut self) {
                self.zeroize();
            }

            // A vector of these is wiped with its spare capacity.
            fn erase_vec(values: &mut Vec<Self>) {
                wipe(values);
            }
        }
    )*};
}
erase_by_zeroize!(
    i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize, f32, f64, bool, char
);

/// With its spare capacity.
impl Erase for String {
    fn erase(&mut self) {
        wipe(&mut std::mem::take(self).into_bytes());
    }
}

impl<T: Erase> Erase for Vec<T> {
    fn erase(&mut self) {
        T::erase_vec(self);
    }
}

impl<T: Erase, const N: usize> Erase for [T; N] {
    fn erase(&mut self) {
        self.iter_mut().for_each(T::erase);
    }
}

impl<T: Erase + ?Sized> Erase for Box<T> {
    fn erase(&mut self) {
        (**self).erase();
    }
}

impl Erase for () {
    fn erase(&mut self) {}
}

macro_rules! erase_tuples {
    ($(($($part:ident),+))*) => {$(
        impl<$($part: Erase),+> Erase for ($($part,)+) {
            fn erase(&mut self) {
                #[allow(non_snake_case, reason = "type and part have one name")]
                let ($($part,)+) = self;
                $($part.erase();)+
            }
        }
    )*};
}
erase_tuples!((A)(A, B)(A, B, C)(A, B, C, D));

impl<K: Erase + Ord, V: Erase> Erase for BTreeMap<K, V> {
    fn erase(&mut self) {
        // Values where they are; keys can only be moved out.
        self.values_mut().for_each(V::erase);
        for (mut key, _) in std::mem::take(self) {
            key.erase();
        }
    }
}

impl<K: Erase, V: Erase, S: Default> Erase for HashMap<K, V, S> {
    fn erase(&mut self) {
        // Values where they are; keys can only be moved out.
        self.values_mut().for_each(V::erase);
        for (mut key, _) in std::mem::take(self) {
            key.erase();
        }
    }
}

impl Erase for serde_json::Value {
    fn erase(&mut self) {
        match self {
            Self::Null => {}
            Self::Bool(value) => value.erase(),
            Self::Number(_) => *self = Self::from(0),
            Self::String(text) => text.erase(),
            Self::Array(values) => values.erase(),
            Self::Object(members) => {
                members.values_mut().for_each(Self::erase);
                for (mut name, _) in std::mem::take(members) {
                    name.erase();
                }
            }
        }
        black_box(self);
    }
}

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
#[cfg(feature = "chrono")]
erase_by_overwrite!(chrono::DateTime<chrono::Utc>, Self::default());
#[cfg(feature = "time")]
erase_by_overwrite!(time::Date, Self::MIN);
#[cfg(feature = "time")]
erase_by_overwrite!(time::OffsetDateTime, Self::UNIX_EPOCH);
#[cfg(feature = "decimal")]
erase_by_overwrite!(rust_decimal::Decimal, Self::ZERO);

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
