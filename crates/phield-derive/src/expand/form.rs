//! The two forms of a method that computes index values: one that blocks, and one that is awaited.

use proc_macro2::TokenStream;
use quote::quote;

use crate::valid::Index;

/// A form of a method.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Computes everything while the caller waits.
    Blocking,
    /// Its name ends in `_async`.
    Async,
}

impl Form {
    /// The forms of a method that computes the values of `indexes`. What nobody has to wait for has no second form; a
    /// device answers over a network, so there is nothing that blocks.
    pub(crate) fn of<'i, 'a: 'i>(indexes: impl IntoIterator<Item = &'i Index<'a>>) -> Vec<Self> {
        let (mut device, mut awaited) = (false, false);
        for index in indexes {
            device |= index.is_device();
            awaited |= index.is_awaited();
        }
        let blocking = (!device).then_some(Self::Blocking);
        blocking
            .into_iter()
            .chain(awaited.then_some(Self::Async))
            .collect()
    }

    /// What is added to the name of a method or function.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Blocking => "",
            Self::Async => "_async",
        }
    }

    /// `async` before `fn`.
    pub(super) fn keyword(self) -> TokenStream {
        match self {
            Self::Blocking => TokenStream::new(),
            Self::Async => quote!(async),
        }
    }

    /// `.await` behind a call.
    pub(super) fn wait(self) -> TokenStream {
        match self {
            Self::Blocking => TokenStream::new(),
            Self::Async => quote!(.await),
        }
    }

    /// A sentence for the documentation of a method.
    pub(super) fn doc(self, indexes: &[&Index<'_>]) -> &'static str {
        let slow = indexes.iter().any(|index| index.is_awaited());
        match self {
            Self::Blocking if slow => {
                "\n\nBlocks this thread while slow indexes are computed: in asynchronous code call the method whose name \
                 ends in `_async`."
            }
            Self::Blocking => "",
            Self::Async => {
                "\n\nDoes not block the thread while slow indexes are computed, or a device is asked."
            }
        }
    }
}
