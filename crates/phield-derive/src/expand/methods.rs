//! The methods of the model and of its columns.

use proc_macro2::{Ident, TokenStream};
use quote::quote;

use super::{columns, names};
use crate::valid::{Binding, Index, Model};

/// Sealing whole rows, sealing single fields, and searching.
pub(super) fn of_model(model: &Model<'_>) -> TokenStream {
    let (vis, ident, sealed_struct) = (model.vis, model.ident, names::sealed_struct(model.ident));
    let groups = names::groups(model);
    let groups = groups.iter().map(|group| seal_group(model, group));
    let queries = model.indexes.iter().map(|index| query(model, index));
    quote! {
        #[automatically_derived]
        #[allow(dead_code)]
        impl #ident {
            /// Seals the row.
            ///
            /// # Errors
            /// When a value cannot be sealed or indexed, or a key is missing. Then nothing is sealed.
            #vis fn seal(
                &self,
                keyring: &::phield::__private::Keyring,
            ) -> ::core::result::Result<#sealed_struct, ::phield::__private::SealError> {
                ::phield::__private::seal(self, keyring)
            }

            /// Seals many rows, with one request to the operating system for randomness.
            ///
            /// # Errors
            /// When a value cannot be sealed or indexed, or a key is missing. Then nothing is sealed.
            #vis fn seal_batch(
                rows: &[Self],
                keyring: &::phield::__private::Keyring,
            ) -> ::core::result::Result<::std::vec::Vec<#sealed_struct>, ::phield::__private::SealError> {
                ::phield::__private::seal_batch(rows, keyring)
            }

            #(#groups)*
            #(#queries)*
        }
    }
}

/// Opening whole rows.
pub(super) fn of_sealed(model: &Model<'_>) -> TokenStream {
    let (vis, ident, sealed_struct) = (model.vis, model.ident, names::sealed_struct(model.ident));
    quote! {
        #[automatically_derived]
        #[allow(dead_code)]
        impl #sealed_struct {
            /// Opens the row in place. Index columns are not needed for it.
            ///
            /// # Errors
            /// When a token was not sealed for this place, or its key is missing.
            #vis fn open(
                self,
                keyring: &::phield::__private::Keyring,
            ) -> ::core::result::Result<#ident, ::phield::__private::OpenError> {
                ::phield::__private::open(self, keyring)
            }

            /// Opens the row, and says when a compromised key was involved: then it is not authenticated against
            /// whoever has the key.
            ///
            /// # Errors
            /// When a token was not sealed for this place, or its key is missing.
            #vis fn open_reported(
                self,
                keyring: &::phield::__private::Keyring,
            ) -> ::core::result::Result<::phield::__private::Reported<#ident>, ::phield::__private::OpenError> {
                ::phield::__private::Model::open_reported(self, keyring)
            }

            /// Opens many rows.
            ///
            /// # Errors
            /// When a token was not sealed for its place, or its key is missing.
            #vis fn open_batch(
                rows: ::std::vec::Vec<Self>,
                keyring: &::phield::__private::Keyring,
            ) -> ::core::result::Result<::std::vec::Vec<#ident>, ::phield::__private::OpenError> {
                ::phield::__private::open_batch(rows, keyring)
            }
        }
    }
}

/// Seals one field, or fields that share a compound index, of a row that exists.
fn seal_group(model: &Model<'_>, group: &names::Group<'_, '_>) -> TokenStream {
    let (vis, method, table) = (model.vis, group.method(), &model.table);
    let idents = group.fields.iter().map(|field| field.ident);
    let types = group.fields.iter().map(|field| field.ty);
    let binding_type = columns::binding_type(model);
    let (parameter, binding) = match model.binding {
        Binding::RowId { .. } => (quote!(row_id: &#binding_type,), quote!(row_id)),
        Binding::Unbound => (TokenStream::new(), quote!(&::phield::__private::Unbound)),
    };
    let (returned, result) = returned(model.ident, group);
    let token = columns::token_names(&group.fields);
    let fields = group
        .fields
        .iter()
        .map(|field| columns::field(field, &TokenStream::new()));
    let doc = format!(
        "Seals {} of a row on its own, for an `UPDATE` of exactly the columns returned.",
        group.listed()
    );
    quote! {
        #[doc = #doc]
        ///
        /// # Errors
        /// When a value cannot be sealed or indexed, or a key is missing. Then nothing is sealed.
        #vis fn #method(
            keyring: &::phield::__private::Keyring,
            #parameter
            #(#idents: &#types,)*
        ) -> ::core::result::Result<#returned, ::phield::__private::SealError> {
            let table = const { ::phield::__private::TableName::from_static(#table) };
            let row = ::phield::__private::Row::new(&table, #binding)?;
            let [#(#token),*] = keyring.seal_row(&row, [#(#fields),*])?;
            #result
        }
    }
}

/// What sealing a group gives, and the result: a column, a column with its index, or a struct of all columns.
fn returned(model: &Ident, group: &names::Group<'_, '_>) -> (TokenStream, TokenStream) {
    let nowhere = TokenStream::new();
    if let Some(name) = group.sealed_struct(model) {
        let fields = group
            .fields
            .iter()
            .map(|field| columns::stored(field, &group.fields));
        let indexes = group
            .indexes
            .iter()
            .map(|index| columns::index_column(index, &quote!(keyring), &nowhere));
        return (
            quote!(#name),
            quote!(::core::result::Result::Ok(#name { #(#fields,)* #(#indexes,)* })),
        );
    }
    let (mut types, mut stored) = (TokenStream::new(), TokenStream::new());
    for field in &group.fields {
        let ty = field.ty;
        types.extend(columns::stored_type(field));
        stored.extend(quote!(<#ty as ::phield::__private::PhiField>::stored(token_0)));
    }
    let Some(index) = group.indexes.first() else {
        return (types, stored);
    };
    let (index_type, constant) = (columns::index_type(index), names::index_constant(index));
    let parts = index
        .parts
        .iter()
        .map(|part| columns::part_of(part.field, &nowhere));
    let value = quote!(::phield::__private::index_column(keyring, &Self::#constant, &[#(#parts),*])?);
    (
        quote!((#types, #index_type)),
        quote!(::core::result::Result::Ok((#stored?, #value))),
    )
}

/// The values to search an index for.
fn query(model: &Model<'_>, index: &Index<'_>) -> TokenStream {
    let (vis, method, constant) = (
        index.vis,
        names::query_method(index),
        names::index_constant(index),
    );
    let idents: Vec<_> = index.parts.iter().map(|part| part.field).collect();
    let types = values(model, index);
    let doc = format!(
        "The values to search the index `{}` for: two slots for `IN (?, ?)`, equal outside a pepper rotation.",
        index.name
    );
    quote! {
        #[doc = #doc]
        ///
        /// # Errors
        /// When a value is absent, or a pepper is missing.
        #vis fn #method(
            keyring: &::phield::__private::Keyring,
            #(#idents: &(impl ::phield::__private::IndexValue<#types> + ?::core::marker::Sized),)*
        ) -> ::core::result::Result<[::phield::__private::BlindIndex; 2], ::phield::__private::IndexError> {
            keyring.index_query(&Self::#constant, ::core::option::Option::None, &[
                #(::core::option::Option::Some(::phield::__private::IndexValue::<#types>::encode_part(#idents)?)),*
            ])
        }
    }
}

/// The types of the values of an index's parts.
pub(super) fn values(model: &Model<'_>, index: &Index<'_>) -> Vec<TokenStream> {
    let field = |name: &Ident| model.sealed().find(|field| field.ident == name);
    index
        .parts
        .iter()
        .filter_map(|part| field(part.field))
        .map(columns::value_type)
        .collect()
}
