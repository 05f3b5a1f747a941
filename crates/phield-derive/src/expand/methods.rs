//! The methods of the model and of its columns.
//!
//! Variables of generated functions are hygienic (`mixed_site`): a field may have the name of any of them.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};

use super::binding::{self, Keys, TenantParameter};
use super::form::Form;
use super::{columns, names};
use crate::valid::{Index, Model};

/// Sealing whole rows, sealing single fields, and searching.
pub(super) fn of_model(model: &Model<'_>) -> TokenStream {
    let ident = model.ident;
    let rows = Form::of(&model.indexes).into_iter().map(|form| seal(model, form));
    // With an `extra`, the tokens of a row are sealed together: one on its own would be of another revision.
    let groups = match model.binding.extra {
        Some(_) => Vec::new(),
        None => names::groups(model),
    };
    let groups = groups.iter().flat_map(|group| {
        let forms = Form::of(group.indexes.iter().copied());
        forms.into_iter().map(|form| seal_group(model, group, form))
    });
    let queries = model.indexes.iter().flat_map(|index| {
        let forms = Form::of([index]);
        forms.into_iter().map(|form| query(model, index, form))
    });
    quote! {
        #[automatically_derived]
        #[allow(dead_code)]
        impl #ident {
            #(#rows)*
            #(#groups)*
            #(#queries)*
        }
    }
}

/// Sealing one row, and many.
fn seal(model: &Model<'_>, form: Form) -> TokenStream {
    let (vis, sealed_struct) = (model.vis, names::sealed_struct(model.ident));
    let Keys {
        name: keys,
        ty: keys_type,
        ..
    } = Keys::of(model);
    let (keyword, wait, suffix) = (form.keyword(), form.wait(), form.suffix());
    let (one, many) = (format_ident!("seal{suffix}"), format_ident!("seal_batch{suffix}"));
    let more = form.doc(&model.indexes.iter().collect::<Vec<_>>());
    let (doc, doc_of_many) = (
        format!("Seals the row.{more}"),
        format!("Seals many rows, with few requests to the operating system for randomness.{more}"),
    );
    quote! {
        #[doc = #doc]
        ///
        /// # Errors
        /// When a value cannot be sealed or indexed, or a key is missing. Then nothing is sealed.
        #vis #keyword fn #one(
            &self,
            #keys: &#keys_type,
        ) -> ::core::result::Result<#sealed_struct, ::phield::__private::SealError> {
            ::phield::__private::#one(self, #keys) #wait
        }

        #[doc = #doc_of_many]
        ///
        /// # Errors
        /// When a value cannot be sealed or indexed, or a key is missing. Then nothing is sealed.
        #vis #keyword fn #many(
            rows: &[Self],
            #keys: &#keys_type,
        ) -> ::core::result::Result<::std::vec::Vec<#sealed_struct>, ::phield::__private::SealError> {
            ::phield::__private::#many(rows, #keys) #wait
        }
    }
}

/// Opening whole rows.
pub(super) fn of_sealed(model: &Model<'_>) -> TokenStream {
    let (vis, ident, sealed_struct) = (model.vis, model.ident, names::sealed_struct(model.ident));
    let Keys {
        name: keys,
        ty: keys_type,
        ..
    } = Keys::of(model);
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
                #keys: &#keys_type,
            ) -> ::core::result::Result<#ident, ::phield::__private::OpenRowError> {
                ::phield::__private::open(self, #keys)
            }

            /// Opens the row, and says when a compromised key was involved: then it is not authenticated against
            /// whoever has the key.
            ///
            /// # Errors
            /// When a token was not sealed for this place, or its key is missing.
            #vis fn open_reported(
                self,
                #keys: &#keys_type,
            ) -> ::core::result::Result<::phield::__private::Reported<#ident>, ::phield::__private::OpenRowError> {
                ::phield::__private::Model::open_reported(self, #keys)
            }

            /// Opens many rows.
            ///
            /// # Errors
            /// When a token was not sealed for its place, or its key is missing.
            #vis fn open_batch(
                rows: ::std::vec::Vec<Self>,
                #keys: &#keys_type,
            ) -> ::core::result::Result<::std::vec::Vec<#ident>, ::phield::__private::OpenRowError> {
                ::phield::__private::open_batch(rows, #keys)
            }
        }
    }
}

/// Seals one field, or fields that share a compound index, of a row that exists.
fn seal_group(model: &Model<'_>, group: &names::Group<'_, '_>, form: Form) -> TokenStream {
    let (vis, method, table) = (model.vis, group.method(form), &model.table);
    let Keys {
        name: keys,
        ty: keys_type,
        ring,
        ..
    } = Keys::of(model);
    let keyword = form.keyword();
    let idents = group.fields.iter().map(|field| field.ident);
    let types = group.fields.iter().map(|field| field.ty);
    // Indexes first: what is awaited holds no tokens.
    let index_names = index_names(group);
    let (tenant, tenant_name) = tenant_of_row(model, group);
    let indexes = group
        .indexes
        .iter()
        .map(|index| index_value(index, &ring, &tenant_name, form));
    let token = columns::token_names(&group.fields);
    let fields = group
        .fields
        .iter()
        .map(|field| columns::field(field, columns::parameter));
    let (parameter, row) = binding_parameter(model);
    let (returned, result) = returned(model.ident, group);
    let doc = format!(
        "Seals {} of a row on its own, for an `UPDATE` of exactly the columns returned.{}",
        group.listed(),
        form.doc(&group.indexes)
    );
    quote_spanned! {Span::mixed_site()=>
        #[doc = #doc]
        ///
        /// # Errors
        /// When a value cannot be sealed or indexed, or a key is missing. Then nothing is sealed.
        #vis #keyword fn #method(
            #keys: &#keys_type,
            #parameter
            #(#idents: &#types,)*
        ) -> ::core::result::Result<#returned, ::phield::__private::SealError> {
            #tenant
            #(let #index_names = #indexes;)*
            let table = const { ::phield::__private::TableName::from_static(#table) };
            let row = ::phield::__private::Row::new(&table, #row)?;
            let [#(#token),*] = #keys.seal_row(&row, [#(#fields),*])?;
            #result
        }
    }
}

/// The parameter that says which row a field is of, and what it is bound to.
fn binding_parameter(model: &Model<'_>) -> (TokenStream, TokenStream) {
    let binding_type = binding::of_type(model);
    let binding = &model.binding;
    let name = match (binding.row_id.is_empty(), &binding.tenant, &binding.subject) {
        (true, None, None) => {
            return (TokenStream::new(), quote!(&::phield::__private::Unbound));
        }
        (false, None, None) => "row_id",
        (_, _, _) => "row",
    };
    let name = Ident::new(name, Span::mixed_site());
    (quote!(#name: &#binding_type,), quote!(#name))
}

/// The tenant out of the parameter that says which row a field is of, where index values need it.
fn tenant_of_row(model: &Model<'_>, group: &names::Group<'_, '_>) -> (TokenStream, TokenStream) {
    if model.binding.tenant.is_none() || group.indexes.is_empty() {
        return (TokenStream::new(), quote!(::core::option::Option::None));
    }
    let tenant = binding::tenant();
    let (_, row) = binding_parameter(model);
    (
        quote!(let #tenant = ::phield::__private::RowBinding::tenant_binding(#row)?;),
        quote!(#tenant.as_deref()),
    )
}

fn index_names(group: &names::Group<'_, '_>) -> Vec<Ident> {
    (0..group.indexes.len())
        .map(|i| format_ident!("index_{i}", span = Span::mixed_site()))
        .collect()
}

/// The value of an index whose parts are parameters.
fn index_value(index: &Index<'_>, ring: &TokenStream, tenant: &TokenStream, form: Form) -> TokenStream {
    // What needs no waiting is computed at once, in both forms.
    let form = if index.is_awaited() { form } else { Form::Blocking };
    let (function, wait) = (format_ident!("index_column{}", form.suffix()), form.wait());
    let (constant, parts) = (
        names::index_constant(index),
        columns::parts(index, columns::parameter),
    );
    quote!(::phield::__private::#function(#ring, &Self::#constant, #tenant, &[#(#parts),*]) #wait?)
}

/// What sealing a group gives, and the result: a column, a column with its index, or a struct of all columns.
fn returned(model: &Ident, group: &names::Group<'_, '_>) -> (TokenStream, TokenStream) {
    let index_names = index_names(group);
    if let Some(name) = group.sealed_struct(model) {
        let fields = group
            .fields
            .iter()
            .map(|field| columns::stored(field, &group.fields));
        let indexes = group.indexes.iter().map(|index| names::index_field(index));
        return (
            quote!(#name),
            quote!(::core::result::Result::Ok(#name { #(#fields,)* #(#indexes: #index_names,)* })),
        );
    }
    let token = columns::token_names(&group.fields);
    let types = group.fields.iter().map(|field| field.ty);
    let stored = quote!(#(<#types as ::phield::__private::PhiField>::stored(#token))*);
    let stored_types = group.fields.iter().map(|field| columns::stored_type(field));
    match group.indexes.first() {
        None => (quote!(#(#stored_types)*), stored),
        Some(index) => {
            let index_type = columns::index_type(index);
            (
                quote!((#(#stored_types)*, #index_type)),
                quote!(::core::result::Result::Ok((#stored?, #(#index_names)*))),
            )
        }
    }
}

/// The values to search an index for.
fn query(model: &Model<'_>, index: &Index<'_>, form: Form) -> TokenStream {
    let (vis, method, constant) = (
        index.vis,
        names::query_method(index, form),
        names::index_constant(index),
    );
    let keyring = Ident::new("keyring", Span::mixed_site());
    let TenantParameter {
        parameter: tenant,
        name: tenant_name,
    } = TenantParameter::of(model);
    let (keyword, wait, function) = (
        form.keyword(),
        form.wait(),
        format_ident!("index_query{}", form.suffix()),
    );
    let idents: Vec<_> = index.parts.iter().map(|part| part.field).collect();
    let types = values(model, index);
    // Borrowed while it is waited for, perhaps by another thread.
    let sync = (form == Form::Async).then(|| quote!(+ ::core::marker::Sync));
    let doc = format!(
        "The values to search the index `{}` for: two slots for `IN (?, ?)`, equal outside a pepper rotation.{}{}",
        index.name,
        truncated(index),
        form.doc(&[index])
    );
    quote! {
        #[doc = #doc]
        ///
        /// # Errors
        /// When a value is absent, or a pepper is missing.
        #vis #keyword fn #method(
            #keyring: &::phield::__private::Keyring,
            #tenant
            #(#idents: &(impl ::phield::__private::IndexValue<#types> #sync + ?::core::marker::Sized),)*
        ) -> ::core::result::Result<[::phield::__private::BlindIndex; 2], ::phield::__private::IndexError> {
            #keyring.#function(&Self::#constant, #tenant_name, &[
                #(::core::option::Option::Some(::phield::__private::IndexValue::<#types>::encode_part(#idents)?)),*
            ]) #wait
        }
    }
}

/// What a query over a truncated index has to know.
fn truncated(index: &Index<'_>) -> String {
    let bits = index.options.bits;
    if bits == 256 {
        return String::new();
    }
    format!(
        "\n\nThe index keeps {bits} bits: other values have these index values, too. Open what is found, and compare, as \
         the finder does; limit afterwards."
    )
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
