//! What the rows of a model are bound to, and what they are sealed and opened with.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

use crate::valid::{Binding, Bound, Model};

/// The type of the binding: of the row id or `Unbound`; with the subject, in the tenant, with the `extra`.
pub(super) fn of_type(model: &Model<'_>) -> TokenStream {
    let binding = &model.binding;
    let row = row_id_type(model).unwrap_or_else(|| quote!(::phield::__private::Unbound));
    let row = match &binding.subject {
        Some(subject) => {
            let (name, ty) = (with_subject(binding), subject.ty);
            quote!(#name<#row, #ty>)
        }
        None => row,
    };
    let row = match &binding.tenant {
        Some(Bound { ty, .. }) => quote!(::phield::__private::InTenant<#ty, #row>),
        None => row,
    };
    match &binding.extra {
        Some(Bound { ty, .. }) => quote!(::phield::__private::WithExtra<#row, #ty>),
        None => row,
    }
}

/// The type of the row id: the one of its column, or a tuple.
pub(super) fn row_id_type(model: &Model<'_>) -> Option<TokenStream> {
    match model.binding.row_id.as_slice() {
        [] => None,
        [Bound { ty, .. }] => Some(quote!(#ty)),
        parts => {
            let types = parts.iter().map(|part| part.ty);
            Some(quote!((#(#types),*)))
        }
    }
}

/// The binding of the row whose fields stand at `from`, borrowed.
pub(super) fn of_row(model: &Model<'_>, from: &TokenStream) -> TokenStream {
    let binding = &model.binding;
    let mut row = match binding.row_id.as_slice() {
        [] => quote!(::phield::__private::Unbound),
        [Bound { ident, .. }] => quote!(&#from.#ident),
        _ => composite(model, from),
    };
    if let Some(Bound { ident, .. }) = &binding.subject {
        let name = with_subject(binding);
        row = quote!(#name { row: #row, subject: &#from.#ident });
    }
    if let Some(Bound { ident, .. }) = &binding.tenant {
        row = quote!(::phield::__private::InTenant { tenant: &#from.#ident, row: #row });
    }
    if let Some(Bound { ident, .. }) = &binding.extra {
        row = quote!(::phield::__private::WithExtra { row: #row, extra: &#from.#ident });
    }
    quote!(&#row)
}

/// The parts of a composite row id whose columns stand at `from`, borrowed.
pub(super) fn composite(model: &Model<'_>, from: &TokenStream) -> TokenStream {
    let parts = model.binding.row_id.iter().map(|part| part.ident);
    quote!((#(&#from.#parts),*))
}

fn with_subject(binding: &Binding<'_>) -> TokenStream {
    if binding.subject_keys {
        quote!(::phield::__private::UnderSubjectKey)
    } else {
        quote!(::phield::__private::OfSubject)
    }
}

/// The tenant as a parameter of a search, what it is as a name, and what is borrowed of that.
pub(super) struct TenantParameter {
    pub(super) parameter: TokenStream,
    pub(super) name: TokenStream,
}

impl TenantParameter {
    /// Nothing for a model without tenants.
    pub(super) fn of(model: &Model<'_>) -> Self {
        let Some(Bound { ty, .. }) = &model.binding.tenant else {
            return Self {
                parameter: TokenStream::new(),
                name: quote!(::core::option::Option::None),
            };
        };
        let tenant = tenant();
        Self {
            parameter: quote!(#tenant: &#ty,),
            name: quote!(::core::option::Option::Some(&*::phield::__private::AsTenant::as_tenant(#tenant)?)),
        }
    }
}

/// The name of the parameter, which no field's name hides.
pub(super) fn tenant() -> Ident {
    Ident::new("tenant", Span::mixed_site())
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
        if model.binding.subject_keys {
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
