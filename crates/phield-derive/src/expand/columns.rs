//! The structs of columns, and the pieces that fill and read them.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, format_ident, quote};
use syn::Attribute;
use syn::ext::IdentExt as _;

use super::names;
use crate::ast::Shape;
use crate::valid::{Field, Index, Model, Plain, Sealed};

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

/// A column of the sealed struct.
pub(super) struct Column {
    pub(super) ident: Ident,
    pub(super) ty: TokenStream,
    pub(super) sql_name: String,
    /// The database fills it.
    pub(super) generated: bool,
}

/// The columns, in the order of the sealed struct.
pub(super) fn list(model: &Model<'_>) -> Vec<Column> {
    let of_index = |index: &Index<'_>| Column {
        ident: names::index_field(index),
        ty: index_type(index),
        sql_name: index.sql_name.clone(),
        generated: false,
    };
    let mut columns = Vec::new();
    for field in &model.fields {
        match field {
            Field::Plain(field) => columns.push(Column {
                ident: field.ident.clone(),
                ty: field.ty.to_token_stream(),
                sql_name: field.sql_name.clone(),
                generated: field.generated,
            }),
            Field::Sealed(field) => {
                columns.push(Column {
                    ident: field.ident.clone(),
                    ty: stored_type(field),
                    sql_name: field.sql_name.clone(),
                    generated: false,
                });
                columns.extend(model.index_of(field.ident).map(of_index));
            }
        }
    }
    columns.extend(model.compound().map(of_index));
    columns
}

/// The struct of the columns.
pub(super) fn sealed_struct(model: &Model<'_>) -> TokenStream {
    let (vis, name) = (model.vis, names::sealed_struct(model.ident));
    let doc = format!(
        "The columns of a [`{}`]: ciphertext, index values and what is not PHI.",
        model.ident
    );
    let docs = documented(&doc, &model.docs);
    let serde = model.serde.then(|| {
        quote! {
            #[derive(::phield::__private::serde::Serialize, ::phield::__private::serde::Deserialize)]
            #[serde(crate = "::phield::__private::serde")]
        }
    });
    let fields = in_order(model, sealed_field, index_field, |field| {
        let (vis, ident, ty) = (field.vis, field.ident, field.ty);
        let docs = documented(&format!("`{}`, as it is.", ident.unraw()), &field.docs);
        quote!(#docs #vis #ident: #ty)
    });
    quote! {
        #docs
        #[derive(::core::fmt::Debug, ::core::clone::Clone)]
        #serde
        #[allow(dead_code)]
        #vis struct #name { #(#fields,)* }
    }
}

/// What the derive says of an item, and after it what the user says of the field or struct that it comes from.
fn documented(doc: &str, docs: &[&Attribute]) -> TokenStream {
    let between = (!docs.is_empty()).then(|| quote!(#[doc = ""]));
    quote!(#[doc = #doc] #between #(#docs)*)
}

fn sealed_field(field: &Sealed<'_>) -> TokenStream {
    let (vis, ident, ty) = (field.vis, field.ident, stored_type(field));
    let docs = documented(&format!("`{}`, sealed.", ident.unraw()), &field.docs);
    quote!(#docs #vis #ident: #ty)
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

/// Variables for the tokens of `fields`.
pub(super) fn token_names(fields: &[&Sealed<'_>]) -> Vec<Ident> {
    (0..fields.len())
        .map(|i| format_ident!("token_{i}", span = Span::mixed_site()))
        .collect()
}

/// A field of `self`.
pub(super) fn of_self(ident: &Ident) -> TokenStream {
    quote!(&self.#ident)
}

/// A parameter that is named after a field.
pub(super) fn parameter(ident: &Ident) -> TokenStream {
    quote!(#ident)
}

/// The field of a row that is about to be sealed.
pub(super) fn field(field: &Sealed<'_>, value: impl Fn(&Ident) -> TokenStream) -> TokenStream {
    let (value, constant) = (value(field.ident), names::column_constant(field));
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

/// Shows an index of `self`, with its tenant and parts, to `visit`.
pub(super) fn visit_index(index: &Index<'_>, tenant: &TokenStream) -> TokenStream {
    let (constant, parts) = (names::index_constant(index), parts(index, of_self));
    quote!(visit(&Self::#constant, #tenant, &[#(#parts),*])?;)
}

/// The values of fields as the parts of an index.
pub(super) fn parts(index: &Index<'_>, value: impl Fn(&Ident) -> TokenStream) -> Vec<TokenStream> {
    let part = |field| {
        let value = value(field);
        quote!(::phield::__private::PhiField::part(#value)?)
    };
    index.parts.iter().map(|each| part(each.field)).collect()
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
