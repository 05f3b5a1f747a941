//! What the rows of a model are bound to, and what they are sealed and opened with.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

use crate::valid::{Binding, Bound, Model, Role};

/// A short name for the binding, and for columns of it, unless they have parameters.
pub(super) fn alias(model: &Model<'_>) -> TokenStream {
    if matches!(model.role, Role::Embedded) || !model.generics.params.is_empty() {
        return TokenStream::new();
    }
    let row = written_out(model);
    quote! {
        type __Row = #row;
        type __Column<T> = __p::Column<T, __Row>;
    }
}

/// The type of the binding.
pub(super) fn of_type(model: &Model<'_>) -> TokenStream {
    if model.generics.params.is_empty() {
        quote!(__Row)
    } else {
        written_out(model)
    }
}

/// The type of a column handle.
pub(super) fn of_column(model: &Model<'_>, value: &TokenStream) -> TokenStream {
    if model.generics.params.is_empty() {
        return quote!(__Column<#value>);
    }
    let row = written_out(model);
    quote!(__p::Column<#value, #row>)
}

/// Of the row id or `Unbound`; with the subject, in the tenant, with the `extra`.
fn written_out(model: &Model<'_>) -> TokenStream {
    let binding = &model.binding;
    let row = row_id_type(model).unwrap_or_else(|| quote!(__p::Unbound));
    let row = match &binding.subject {
        Some(subject) => {
            let (name, ty) = (with_subject(binding), subject.ty);
            quote!(#name<#row, #ty>)
        }
        None => row,
    };
    let row = match &binding.tenant {
        Some(Bound { ty, .. }) => quote!(__p::InTenant<#ty, #row>),
        None => row,
    };
    match &binding.extra {
        Some(Bound { ty, .. }) => quote!(__p::WithExtra<#row, #ty>),
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
        [] => quote!(__p::Unbound),
        [Bound { ident, .. }] => quote!(&#from.#ident),
        _ => composite(model, from),
    };
    if let Some(Bound { ident, .. }) = &binding.subject {
        let name = if binding.subject_keys {
            quote!(subject_key)
        } else {
            quote!(subject)
        };
        row = quote!(__p::#name(#row, &#from.#ident));
    }
    if let Some(Bound { ident, .. }) = &binding.tenant {
        row = quote!(__p::tenant(&#from.#ident, #row));
    }
    if let Some(Bound { ident, .. }) = &binding.extra {
        row = quote!(__p::extra(#row, &#from.#ident));
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
        quote!(__p::UnderSubjectKey)
    } else {
        quote!(__p::OfSubject)
    }
}

/// The tenant as a parameter of a search: nothing for a model without tenants.
pub(super) fn tenant_parameter(model: &Model<'_>) -> TokenStream {
    let tenant = tenant();
    let parameter = model
        .binding
        .tenant
        .as_ref()
        .map(|Bound { ty, .. }| quote!(#tenant: &#ty,));
    parameter.unwrap_or_default()
}

/// The same parameter, for the macros of the facade: `tenant: Type`.
pub(super) fn tenant_of(model: &Model<'_>) -> TokenStream {
    let tenant = tenant();
    let of = model.binding.tenant.as_ref();
    of.map(|Bound { ty, .. }| quote!(#tenant: #ty))
        .unwrap_or_default()
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
                ty: quote!(__p::SubjectKeyring<'_>),
                of_model: quote!(__p::SubjectKeyring<'__k>),
                ring: quote!(#name.keyring()),
                name,
            };
        }
        let name = name("keyring");
        Self {
            ty: quote!(__p::Keyring),
            of_model: quote!(__p::Keyring),
            ring: quote!(#name),
            name,
        }
    }
}
