//! `Phi<T>`: the only place where PHI lives in the clear.

use std::fmt;
use std::marker::PhantomData;

use crate::wipe::Erase;

/// Protected health information in the clear, in the application's memory.
///
/// Its `Debug` is redacted; it has no `Display`, `Serialize`, `Hash`, order or sqlx `Encode`, so that formatting,
/// serialising or binding it does not compile. It is erased when dropped. [`expose`](Self::expose) is the one way to
/// the value.
///
/// ```
/// use phield_core::Phi;
///
/// let name = Phi::from("Ada Lovelace".to_owned());
/// assert_eq!(format!("{name:?}"), "Phi(..)");
/// assert_eq!(name.expose(), "Ada Lovelace");
/// ```
///
/// # Security
/// `Clone` makes a second copy, erased on its own. `PartialEq` compares like `T` does, not in constant time.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Phi<T: Erase> {
    value: T,
    /// Makes `Phi`, and every type that holds one, neither `UnwindSafe` nor `RefUnwindSafe`: by this the derive tells
    /// that a plain column hides no PHI behind an alias, a collection, a reference, a shared pointer or a struct.
    _phi: PhantomData<dyn Send + Sync + Unpin>,
}

impl<T: Erase> Phi<T> {
    /// Takes a value as PHI.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self {
            value,
            _phi: PhantomData,
        }
    }

    /// The value in the clear.
    ///
    /// # Security
    /// From here on it is the caller's to keep out of logs, errors and columns. Search code for `.expose()` to find
    /// every place where that happens.
    #[must_use]
    pub const fn expose(&self) -> &T {
        &self.value
    }
}

impl<T: Erase> From<T> for Phi<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl From<&str> for Phi<String> {
    fn from(value: &str) -> Self {
        Self::new(value.to_owned())
    }
}

impl<T: Erase> Drop for Phi<T> {
    fn drop(&mut self) {
        self.value.erase();
    }
}

impl<T: Erase> fmt::Debug for Phi<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phi(..)")
    }
}

#[cfg(feature = "serde")]
impl<'de, T: Erase + serde::Deserialize<'de>> serde::Deserialize<'de> for Phi<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The error of a format quotes what it read ("invalid type: string …"): here that is PHI.
        T::deserialize(deserializer)
            .map(Self::new)
            .map_err(|_| serde::de::Error::custom("a PHI value is not of the expected type"))
    }
}

/// A type that holds no [`Phi`]: what a plain column may be. The derive asserts it for every field without PHI.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is or contains `Phi` and cannot be a plain column",
    label = "PHI hidden in a plain column",
    note = "write the field's type as `Phi<T>` or `Option<Phi<T>>`, or mark the field `#[phi(sealed)]`"
)]
#[doc(hidden)]
pub trait PlainColumn {}

impl<T: std::panic::UnwindSafe + ?Sized> PlainColumn for T {}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use static_assertions::{assert_impl_all, assert_not_impl_any};

    assert_impl_all!(Phi<String>: Send, Sync, Clone, PartialEq, Default, Unpin);
    assert_not_impl_any!(Phi<String>: fmt::Display, std::hash::Hash, PartialOrd, serde::Serialize, AsRef<str>, std::ops::Deref);
    assert_impl_all!(String: PlainColumn);
    assert_impl_all!(Option<Vec<i64>>: PlainColumn);
    assert_not_impl_any!(Phi<String>: PlainColumn);
    assert_not_impl_any!(Vec<Phi<String>>: PlainColumn);
    assert_not_impl_any!(Option<Phi<i64>>: PlainColumn);
    assert_not_impl_any!((i64, Box<[Phi<i64>]>): PlainColumn);

    assert_not_impl_any!(Arc<Phi<String>>: PlainColumn);
    assert_not_impl_any!(std::rc::Rc<Vec<Phi<String>>>: PlainColumn);
    assert_not_impl_any!(&'static Phi<String>: PlainColumn);

    #[cfg(feature = "serde")]
    #[test]
    fn deserializing_quotes_nothing() {
        let wrong = serde_json::from_str::<Phi<i64>>("\"999-12-3456\"")
            .unwrap_err()
            .to_string();
        assert_eq!(wrong, "a PHI value is not of the expected type");
        let wrong = serde_json::from_str::<Phi<String>>("999123456")
            .unwrap_err()
            .to_string();
        assert!(!wrong.contains("999"), "{wrong}");
        assert_eq!(serde_json::from_str::<Phi<i64>>("5").unwrap().expose(), &5);
    }

    // The exception that decision 0002 writes down: a lock hides what is in it.
    assert_impl_all!(std::sync::Mutex<Phi<String>>: PlainColumn);

    struct Counted(Arc<AtomicUsize>);
    impl Erase for Counted {
        fn erase(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn erases_on_drop_and_is_redacted() {
        let erased = Arc::new(AtomicUsize::new(0));
        drop(Phi::new(Counted(erased.clone())));
        assert_eq!(erased.load(Ordering::Relaxed), 1);
        assert_eq!(
            format!("{:?} {:#?}", Phi::from("x"), Phi::new(5_i64)),
            "Phi(..) Phi(..)"
        );
    }
}
