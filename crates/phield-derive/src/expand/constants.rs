//! The constants of a model: column handles, index definitions, the schema.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned as _;

use super::{binding, columns, names};
use crate::sql;
use crate::valid::{Algorithm, Bound, Index, Kind, Model, Padding, Plain, Sealed, UNEVEN, UNPADDED};

/// Column handles, index definitions, and the schema.
pub(super) fn expand(model: &Model<'_>) -> TokenStream {
    let (ident, sealed_struct) = (model.ident, names::sealed_struct(model.ident));
    let columns = model.sealed().map(|field| column_constant(model, field));
    let indexes = model.indexes.iter().map(|index| index_constant(model, index));
    let schema = schema(model);
    let sql_names: Vec<_> = columns::list(model)
        .into_iter()
        .map(|column| column.sql_name)
        .collect();
    let list = sql_names
        .iter()
        .map(|name| sql::identifier(name))
        .collect::<Vec<_>>()
        .join(", ");
    let vis = model.vis;
    quote! {
        #[automatically_derived]
        #[allow(dead_code)]
        impl #ident {
            #schema
            #(#columns)*
            #(#indexes)*
        }

        #[automatically_derived]
        #[allow(dead_code)]
        impl #sealed_struct {
            /// The names of the columns in SQL, in the order of the fields.
            #vis const COLUMNS: &'static [&'static str] = &[#(#sql_names),*];

            /// The columns for a `SELECT` or `INSERT`: separated by commas, quoted where SQL reserves the word.
            #vis const COLUMN_LIST: &'static str = #list;
        }
    }
}

fn column_constant(model: &Model<'_>, field: &Sealed<'_>) -> TokenStream {
    let (vis, name, table, column) = (
        field.vis,
        names::column_constant(field),
        &model.table,
        &field.column,
    );
    let (value, padding) = (columns::value_type(field), padding(field));
    let (binding, assertion) = (binding::of_type(model), padding_assertion(field));
    let max_len = field.max_len.map(|bytes| quote!(.with_max_len(#bytes)));
    let doc = format!(
        "The sealed column of `{}`: opens it without the rest of its row.",
        field.ident
    );
    quote! {
        #[doc = #doc]
        #vis const #name: ::phield::__private::Column<#value, #binding> =
            { #assertion ::phield::__private::Column::new(#table, #column, #padding) #max_len };
    }
}

/// Computes a column's constant where its padding is to be checked: the constants of an `impl` are computed where they are
/// used, so `cargo check` would not find what `cargo build` refuses.
pub(super) fn check_padding(model: &Model<'_>, field: &Sealed<'_>) -> Option<TokenStream> {
    padding_assertion(field)?;
    let (ident, name) = (model.ident, names::column_constant(field));
    let (value, binding) = (columns::value_type(field), binding::of_type(model));
    Some(quote!(const _: ::phield::__private::Column<#value, #binding> = #ident::#name;))
}

/// a type of few values is padded to one length. Of the name `bool` the derive knows that the default does it. In
/// the constant of the column, so that this is the one error.
fn padding_assertion(field: &Sealed<'_>) -> Option<TokenStream> {
    let message = match (field.kind, field.padding) {
        (Kind::Text | Kind::Opaque, _) | (Kind::Bool, Padding::Block16 | Padding::None) => return None,
        (_, Padding::None) => UNPADDED,
        (Kind::Bool | Kind::Unknown, _) => UNEVEN,
    };
    let (value, padding) = (columns::value_type(field), padding(field));
    let span = field.pad.unwrap_or_else(|| field.ty.span());
    Some(quote_spanned! {span=>
        ::core::assert!(::phield::__private::has_one_length::<#value>(#padding), #message);
    })
}

fn index_constant(model: &Model<'_>, index: &Index<'_>) -> TokenStream {
    let (vis, name, table) = (index.vis, names::index_constant(index), &model.table);
    let schema = index_schema(index);
    let doc = format!("The definition of the blind index `{}`.", index.name);
    quote! {
        #[doc = #doc]
        #vis const #name: ::phield::__private::Index = #schema.definition(#table);
    }
}

fn index_schema(index: &Index<'_>) -> TokenStream {
    let (name, sql_name, bits) = (&index.name, &index.sql_name, index.options.bits);
    let unique = index.options.unique.then(|| quote!(.unique()));
    let columns = index.parts.iter().map(|part| &part.column);
    let normalizers = index.parts.iter().map(|part| part.normalizer.variant());
    let algorithm = algorithm(index.options.algorithm);
    quote! {
        ::phield::__private::IndexSchema::new(
            #name,
            #sql_name,
            &[#(#columns),*],
            &[#(::phield::__private::Normalizer::#normalizers),*],
            #bits,
        )
        #algorithm
        #unique
    }
}

/// What sets the algorithm of an index, if it is not the default.
fn algorithm(algorithm: Algorithm) -> TokenStream {
    let made = match algorithm {
        Algorithm::HmacSha256 => return TokenStream::new(),
        Algorithm::Argon2id {
            memory_kib,
            passes,
            lanes,
        } => quote!(argon2id(#memory_kib, #passes, #lanes)),
        Algorithm::Pbkdf2 { iterations } => quote!(pbkdf2(#iterations)),
        Algorithm::DeviceHmacSha256 => quote!(DeviceHmacSha256),
    };
    quote!(.with_algorithm(::phield::__private::IndexAlgorithm::#made))
}

fn schema(model: &Model<'_>) -> TokenStream {
    let (vis, table, sql_table) = (model.vis, &model.table, &model.sql_table);
    let row_id: Vec<_> = model.binding.row_id.iter().map(|part| &part.sql_name).collect();
    let binding = if row_id.is_empty() {
        quote!(::phield::__private::Binding::Unbound)
    } else {
        quote!(::phield::__private::Binding::RowId(&[#(#row_id),*]))
    };
    let bound = bound_columns(model);
    let columns = columns::in_order(
        model,
        |field| column_schema(&field.sql_name, &sealed_kind(field)),
        |index| {
            let (name, optional) = (&index.name, index.optional);
            column_schema(
                &index.sql_name,
                &quote!(::phield::__private::ColumnKind::index(#name, #optional)),
            )
        },
        |plain| {
            let (column, generated) = (
                column_schema(&plain.sql_name, &plain_kind(plain)),
                plain.generated.then(|| quote!(.generated())),
            );
            quote!(#column #generated)
        },
    );
    // In the order of their columns: compound indexes stand last.
    let indexes = model.indexes.iter().map(index_schema);
    quote! {
        /// The table: its columns, and its blind indexes.
        #vis const SCHEMA: ::phield::__private::Schema = {
            const COLUMNS: &[::phield::__private::ColumnSchema] = &[#(#columns),*];
            const INDEXES: &[::phield::__private::IndexSchema] = &[#(#indexes),*];
            ::phield::__private::Schema::new(#table, #sql_table, #binding, COLUMNS, INDEXES) #bound
        };
    }
}

/// What sets the columns that are bound beside the row id.
fn bound_columns(model: &Model<'_>) -> TokenStream {
    let binding = &model.binding;
    let subject = if binding.subject_keys {
        quote!(under_subject_key)
    } else {
        quote!(of_subject)
    };
    let set = |bound: &Option<Bound<'_>>, method: &TokenStream| {
        bound
            .as_ref()
            .map(|Bound { sql_name, .. }| quote!(.#method(#sql_name)))
    };
    [
        set(&binding.tenant, &quote!(in_tenant)),
        set(&binding.subject, &subject),
        set(&binding.extra, &quote!(with_extra)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn column_schema(sql_name: &str, kind: &TokenStream) -> TokenStream {
    quote!(::phield::__private::ColumnSchema::new(#sql_name, #kind))
}

fn plain_kind(field: &Plain<'_>) -> TokenStream {
    let rust_type = field.ty.to_token_stream().to_string().replace(' ', "");
    let sql_type = option(field.sql_type.as_ref());
    quote!(::phield::__private::ColumnKind::plain(#rust_type, #sql_type))
}

fn option(value: Option<&impl ToTokens>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}

fn sealed_kind(field: &Sealed<'_>) -> TokenStream {
    let (ty, value) = (field.ty, columns::value_type(field));
    let (column, padding) = (&field.column, padding(field));
    let max_len = option(field.max_len.as_ref());
    let storage = if field.text { quote!(Text) } else { quote!(Binary) };
    quote! {
        ::phield::__private::ColumnKind::sealed::<#value>(
            #column,
            <#ty as ::phield::__private::PhiField>::SQL_NULL,
            #padding,
            ::phield::__private::StorageKind::#storage,
            #max_len,
        )
    }
}

/// How a column is padded.
pub(super) fn padding(field: &Sealed<'_>) -> TokenStream {
    match field.padding {
        Padding::Block16 => quote!(::phield::__private::Padding::Block16),
        Padding::Fixed(n) => quote!(::phield::__private::Padding::Fixed(#n)),
        Padding::Padme(n) => quote!(::phield::__private::Padding::Padme(#n)),
        Padding::None => quote!(::phield::__private::Padding::None),
    }
}
