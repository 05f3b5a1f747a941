//! The structs of columns, the constants that describe them, and the pieces that fill and read them.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt as _;

use super::names;
use crate::ast::Shape;
use crate::sql;
use crate::valid::{Binding, Field, Index, Model, Padding, Plain, Sealed};

/// The value inside a sealed field.
pub(super) fn value_type(field: &Sealed<'_>) -> TokenStream {
    match field.shape {
        Shape::Phi(value) | Shape::OptionPhi(value) => quote!(#value),
        Shape::Hidden(_) | Shape::Other => {
            let ty = field.ty;
            quote!(<#ty as ::phield::__private::PhiField>::Value)
        }
    }
}

/// `Sealed<T>` or `SealedText<T>`.
fn storage_type(field: &Sealed<'_>) -> TokenStream {
    let value = value_type(field);
    if field.text {
        quote!(::phield::__private::SealedText<#value>)
    } else {
        quote!(::phield::__private::Sealed<#value>)
    }
}

/// The type of a sealed field's column.
pub(super) fn stored_type(field: &Sealed<'_>) -> TokenStream {
    let (ty, storage) = (field.ty, storage_type(field));
    match field.shape {
        Shape::Phi(_) => storage,
        Shape::OptionPhi(_) => quote!(::core::option::Option<#storage>),
        Shape::Hidden(_) | Shape::Other => quote!(<#ty as ::phield::__private::PhiField>::Stored<#storage>),
    }
}

/// The type of an index column.
pub(super) fn index_type(index: &Index<'_>) -> TokenStream {
    let value = quote!(::phield::__private::BlindIndex);
    if index.optional {
        quote!(::core::option::Option<#value>)
    } else {
        value
    }
}

/// What binds a row: the type of the row id, or `Unbound`.
pub(super) fn binding_type(model: &Model<'_>) -> TokenStream {
    match model.binding {
        Binding::RowId { ty, .. } => quote!(#ty),
        Binding::Unbound => quote!(::phield::__private::Unbound),
    }
}

/// One piece of code for each column, in the order of the sealed struct.
pub(super) fn in_order<'a>(
    model: &Model<'a>,
    sealed: impl Fn(&Sealed<'a>) -> TokenStream,
    index: impl Fn(&Index<'a>) -> TokenStream,
    plain: impl Fn(&Plain<'a>) -> TokenStream,
) -> Vec<TokenStream> {
    let mut columns = Vec::new();
    for field in &model.fields {
        match field {
            Field::Plain(field) => columns.push(plain(field)),
            Field::Sealed(field) => {
                columns.push(sealed(field));
                columns.extend(model.index_of(field.ident).map(&index));
            }
        }
    }
    columns.extend(model.compound().map(index));
    columns
}

/// Names and types of the columns, in the order of the sealed struct.
pub(super) fn typed(model: &Model<'_>) -> Vec<(Ident, TokenStream)> {
    let mut columns = Vec::new();
    for field in &model.fields {
        match field {
            Field::Plain(field) => {
                let ty = field.ty;
                columns.push((field.ident.clone(), quote!(#ty)));
            }
            Field::Sealed(field) => {
                columns.push((field.ident.clone(), stored_type(field)));
                columns.extend(
                    model
                        .index_of(field.ident)
                        .map(|index| (names::index_field(index), index_type(index))),
                );
            }
        }
    }
    columns.extend(
        model
            .compound()
            .map(|index| (names::index_field(index), index_type(index))),
    );
    columns
}

/// The struct of the columns.
pub(super) fn sealed_struct(model: &Model<'_>) -> TokenStream {
    let (vis, name) = (model.vis, names::sealed_struct(model.ident));
    let doc = format!(
        "The columns of a [`{}`]: ciphertext, index values and what is not PHI.",
        model.ident
    );
    let fields = in_order(model, sealed_field, index_field, |field| {
        let (vis, ident, ty) = (field.vis, field.ident, field.ty);
        let doc = format!("`{}`, as it is.", ident.unraw());
        quote!(#[doc = #doc] #vis #ident: #ty)
    });
    quote! {
        #[doc = #doc]
        #[derive(::core::fmt::Debug, ::core::clone::Clone)]
        #[allow(dead_code)]
        #vis struct #name { #(#fields,)* }
    }
}

fn sealed_field(field: &Sealed<'_>) -> TokenStream {
    let (vis, ident, ty) = (field.vis, field.ident, stored_type(field));
    let doc = format!("`{}`, sealed.", ident.unraw());
    quote!(#[doc = #doc] #vis #ident: #ty)
}

fn index_field(index: &Index<'_>) -> TokenStream {
    let (vis, ident, ty) = (index.vis, names::index_field(index), index_type(index));
    let doc = format!("The blind index `{}`.", index.name);
    quote!(#[doc = #doc] #vis #ident: #ty)
}

/// The structs of fields that are sealed together.
pub(super) fn group_structs(model: &Model<'_>) -> TokenStream {
    let groups = names::groups(model);
    let structs = groups.iter().filter_map(|group| {
        let (vis, name) = (model.vis, group.sealed_struct(model.ident)?);
        let doc = format!(
            "The columns of {}, sealed together: write all of them.",
            group.listed()
        );
        let fields = group.fields.iter().map(|field| sealed_field(field));
        let indexes = group.indexes.iter().map(|index| index_field(index));
        Some(quote! {
            #[doc = #doc]
            #[derive(::core::fmt::Debug, ::core::clone::Clone)]
            #[allow(dead_code)]
            #vis struct #name { #(#fields,)* #(#indexes,)* }
        })
    });
    structs.collect()
}

fn padding(field: &Sealed<'_>) -> TokenStream {
    match field.padding {
        Padding::Block16 => quote!(::phield::__private::Padding::Block16),
        Padding::Fixed(n) => quote!(::phield::__private::Padding::Fixed(#n)),
        Padding::Padme(n) => quote!(::phield::__private::Padding::Padme(#n)),
        Padding::None => quote!(::phield::__private::Padding::None),
    }
}

/// Column handles, index definitions, and the schema.
pub(super) fn constants(model: &Model<'_>) -> TokenStream {
    let (ident, sealed_struct) = (model.ident, names::sealed_struct(model.ident));
    let columns = model.sealed().map(|field| column_constant(model, field));
    let indexes = model.indexes.iter().map(|index| index_constant(model, index));
    let schema = schema(model);
    let sql_names: Vec<_> = typed(model)
        .iter()
        .map(|(ident, _)| ident.unraw().to_string())
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
    let (value, binding, padding) = (value_type(field), binding_type(model), padding(field));
    let doc = format!(
        "The sealed column of `{}`: opens it without the rest of its row.",
        field.ident
    );
    quote! {
        #[doc = #doc]
        #vis const #name: ::phield::__private::Column<#value, #binding> =
            ::phield::__private::Column::new(#table, #column, #padding);
    }
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
    let (name, sql_name) = (&index.name, index.sql_name());
    let columns = index.parts.iter().map(|part| &part.column);
    let normalizers = index.parts.iter().map(|part| part.normalizer.variant());
    quote! {
        ::phield::__private::IndexSchema::new(
            #name,
            #sql_name,
            &[#(#columns),*],
            &[#(::phield::__private::Normalizer::#normalizers),*],
            256,
        )
    }
}

fn schema(model: &Model<'_>) -> TokenStream {
    let (vis, table) = (model.vis, &model.table);
    let binding = match model.binding {
        Binding::RowId { ident, .. } => {
            let name = ident.unraw().to_string();
            quote!(::phield::__private::Binding::RowId(#name))
        }
        Binding::Unbound => quote!(::phield::__private::Binding::Unbound),
    };
    let columns = in_order(
        model,
        |field| column_schema(&field.ident.unraw().to_string(), &sealed_kind(field)),
        |index| {
            let (name, optional) = (&index.name, index.optional);
            column_schema(
                &index.sql_name(),
                &quote!(::phield::__private::ColumnKind::index(#name, #optional)),
            )
        },
        |plain| {
            column_schema(
                &plain.ident.unraw().to_string(),
                &quote!(::phield::__private::ColumnKind::Plain),
            )
        },
    );
    // In the order of their columns: compound indexes stand last.
    let indexes = model.indexes.iter().map(index_schema);
    quote! {
        /// The table: its columns, and its blind indexes.
        #vis const SCHEMA: ::phield::__private::Schema = {
            const COLUMNS: &[::phield::__private::ColumnSchema] = &[#(#columns),*];
            const INDEXES: &[::phield::__private::IndexSchema] = &[#(#indexes),*];
            ::phield::__private::Schema::new(#table, #binding, COLUMNS, INDEXES)
        };
    }
}

fn column_schema(sql_name: &str, kind: &TokenStream) -> TokenStream {
    quote!(::phield::__private::ColumnSchema::new(#sql_name, #kind))
}

fn sealed_kind(field: &Sealed<'_>) -> TokenStream {
    let (ty, value, column, padding) = (field.ty, value_type(field), &field.column, padding(field));
    let storage = if field.text { quote!(Text) } else { quote!(Binary) };
    quote! {
        ::phield::__private::ColumnKind::sealed::<#value>(
            #column,
            <#ty as ::phield::__private::PhiField>::SQL_NULL,
            #padding,
            ::phield::__private::StorageKind::#storage,
        )
    }
}

/// Variables for the tokens of `fields`.
pub(super) fn token_names(fields: &[&Sealed<'_>]) -> Vec<Ident> {
    (0..fields.len()).map(|i| format_ident!("token_{i}")).collect()
}

/// The field of a row that is about to be sealed; its value stands at `from`.
pub(super) fn field(field: &Sealed<'_>, from: &TokenStream) -> TokenStream {
    let (ident, constant) = (field.ident, names::column_constant(field));
    let value = if from.is_empty() {
        quote!(#ident)
    } else {
        quote!(&#from #ident)
    };
    quote!(::phield::__private::PhiField::field(#value, Self::#constant)?)
}

/// `field: column` from the token of this field among `fields`.
pub(super) fn stored(field: &Sealed<'_>, fields: &[&Sealed<'_>]) -> TokenStream {
    let (ident, ty) = (field.ident, field.ty);
    let tokens = token_names(fields).into_iter().zip(fields);
    let token = tokens
        .filter(|(_, other)| other.ident == field.ident)
        .map(|(token, _)| token);
    quote!(#ident: <#ty as ::phield::__private::PhiField>::stored(#(#token)*)?)
}

/// `field_index: value`; the values of its fields stand at `from`.
pub(super) fn index_column(index: &Index<'_>, keyring: &TokenStream, from: &TokenStream) -> TokenStream {
    let (ident, constant) = (names::index_field(index), names::index_constant(index));
    let parts = index.parts.iter().map(|part| part_of(part.field, from));
    quote!(#ident: ::phield::__private::index_column(#keyring, &Self::#constant, &[#(#parts),*])?)
}

/// Shows an index of `self` and its parts to `visit`.
pub(super) fn visit_index(index: &Index<'_>) -> TokenStream {
    let constant = names::index_constant(index);
    let parts = index.parts.iter().map(|part| part_of(part.field, &quote!(self.)));
    quote!(visit(&Self::#constant, &[#(#parts),*])?;)
}

/// The value of a field as a part of an index.
pub(super) fn part_of(field: &Ident, from: &TokenStream) -> TokenStream {
    let value = if from.is_empty() {
        quote!(#field)
    } else {
        quote!(&#from #field)
    };
    quote!(::phield::__private::PhiField::part(#value)?)
}

/// `field: value` of an opened row.
pub(super) fn opened(field: &Field<'_>) -> TokenStream {
    match field {
        Field::Plain(plain) => {
            let ident = plain.ident;
            quote!(#ident: sealed.#ident)
        }
        Field::Sealed(field) => {
            let (ident, ty, constant) = (field.ident, field.ty, names::column_constant(field));
            let storage = storage_type(field);
            quote! {
                #ident: <#ty as ::phield::__private::PhiField>::open::<#storage, _>(
                    &mut opener,
                    &Self::#constant,
                    sealed.#ident,
                )?
            }
        }
    }
}
