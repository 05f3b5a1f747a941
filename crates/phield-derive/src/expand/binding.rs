//! What the rows of a model are bound to, and what they are sealed and opened with.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

use crate::valid::{Binding, Model};

/// The type of the binding: of the row id or `Unbound`, together with the subject if there is one.
pub(super) fn of_type(model: &Model<'_>) -> TokenStream {
    let row = match model.binding {
        Binding::RowId { ty, .. } => quote!(#ty),
        Binding::Unbound => quote!(::phield::__private::Unbound),
    };
    match model.subject {
        Some(subject) => {
            let (name, ty) = (with_subject(subject.has_key), subject.ty);
            quote!(#name<#row, #ty>)
        }
        None => row,
    }
}

/// The binding of the row whose fields stand at `from`, borrowed.
pub(super) fn of_row(model: &Model<'_>, from: &TokenStream) -> TokenStream {
    let row = match model.binding {
        Binding::RowId { ident, .. } => quote!(&#from.#ident),
        Binding::Unbound => quote!(::phield::__private::Unbound),
    };
    match (model.subject, model.binding) {
        (Some(subject), _) => {
            let (name, ident) = (with_subject(subject.has_key), subject.ident);
            quote!(&#name { row: #row, subject: &#from.#ident })
        }
        (None, Binding::RowId { .. }) => row,
        (None, Binding::Unbound) => quote!(&#row),
    }
}

fn with_subject(has_key: bool) -> TokenStream {
    if has_key {
        quote!(::phield::__private::UnderSubjectKey)
    } else {
        quote!(::phield::__private::OfSubject)
    }
}

/// What rows are sealed and opened with. A table with subject keys takes nothing that lacks them.
pub(super) struct Keys {
    /// The name of the parameter, which no field's name hides.
    pub(super) name: Ident,
    pub(super) ty: TokenStream,
    /// The same type, for the lifetime `'k`.
    pub(super) of_model: TokenStream,
    /// The keys of the ring: what index values are computed with.
    pub(super) ring: TokenStream,
}

impl Keys {
    pub(super) fn of(model: &Model<'_>) -> Self {
        let name = |name| Ident::new(name, Span::mixed_site());
        if model.subject.is_some_and(|subject| subject.has_key) {
            let name = name("keys");
            return Self {
                ty: quote!(::phield::__private::SubjectKeyring<'_>),
                of_model: quote!(::phield::__private::SubjectKeyring<'k>),
                ring: quote!(#name.keyring()),
                name,
            };
        }
        let name = name("keyring");
        Self {
            ty: quote!(::phield::__private::Keyring),
            of_model: quote!(::phield::__private::Keyring),
            ring: quote!(#name),
            name,
        }
    }
}
