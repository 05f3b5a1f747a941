//! Types of the application's own.

use std::borrow::Cow;

use super::{Encoded, Opened, Value};
use crate::error::Unsealable;
use crate::value_type::ValueType;
use crate::wipe::Erase;

/// A type of the application that is sealed as another one: a newtype as what is in it, an enumeration as a text.
///
/// `#[derive(PhiValue)]` writes it, and [`Erase`] with it. By hand:
///
/// ```
/// use std::borrow::Cow;
/// use phield_core::{Erase, Phi, PhiValue};
///
/// #[derive(Debug, Clone, PartialEq)]
/// struct Mrn(String);
///
/// impl Mrn {
///     fn parse(text: &str) -> Option<Self> {
///         text.starts_with("MRN-").then(|| Self(text.to_owned()))
///     }
/// }
///
/// impl Erase for Mrn {
///     fn erase(&mut self) {
///         self.0.erase();
///     }
/// }
///
/// impl PhiValue for Mrn {
///     type Repr = String;
///
///     fn to_repr(&self) -> Cow<'_, String> {
///         Cow::Borrowed(&self.0)
///     }
///
///     fn from_repr(repr: &String) -> Option<Self> {
///         Self::parse(repr)
///     }
/// }
///
/// let mrn: Phi<Mrn> = Phi::new(Mrn("MRN-0001".to_owned()));
/// ```
///
/// # Security
/// What [`to_repr`](Self::to_repr) gives, [`from_repr`](Self::from_repr) has to take: now, or it is not sealed, and in
/// every later version of the application too, for what it does not take can no longer be opened.
pub trait PhiValue: Erase + Sized {
    /// What it is sealed as. Part of what is authenticated: a change makes values that are there unreadable.
    type Repr: Value + Clone;
    /// For an enumeration: the length of its shortest and its longest value, in bytes. See [`Value::LENGTHS`].
    const LENGTHS: Option<[usize; 2]> = None;

    /// The value as it is sealed.
    fn to_repr(&self) -> Cow<'_, Self::Repr>;

    /// The value of what was opened; `None` for what is none. What was opened is erased afterwards.
    fn from_repr(repr: &Self::Repr) -> Option<Self>;
}

impl<T: PhiValue> Value for T {
    const TYPE: ValueType = <T::Repr as Value>::TYPE;
    const NULLABLE: bool = <T::Repr as Value>::NULLABLE;
    const LENGTHS: Option<[usize; 2]> = match T::LENGTHS {
        Some(lengths) => Some(lengths),
        None => <T::Repr as Value>::LENGTHS,
    };

    fn encode(&self) -> Result<Encoded<'_>, Unsealable> {
        match self.to_repr() {
            Cow::Borrowed(repr) => taken_back::<T>(repr).and_then(|()| repr.encode()),
            Cow::Owned(mut repr) => {
                let encoded = taken_back::<T>(&repr).and_then(|()| repr.encode().map(Encoded::into_owned));
                repr.erase();
                encoded
            }
        }
    }

    fn decode(opened: Opened) -> Option<Self> {
        let mut repr = T::Repr::decode(opened)?;
        let value = T::from_repr(&repr);
        repr.erase();
        value
    }
}

/// What would not be taken back is not sealed: nobody could open it again.
fn taken_back<T: PhiValue>(repr: &T::Repr) -> Result<(), Unsealable> {
    let mut value = T::from_repr(repr).ok_or(Unsealable::NotTakenBack)?;
    value.erase();
    Ok(())
}
