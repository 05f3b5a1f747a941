//! The structs of columns, and the pieces that fill and read them.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens as _, quote};
use syn::Attribute;
use syn::ext::IdentExt as _;

use super::{generics, names};
use crate::ast::Shape;
use crate::valid::{Field, Flat, Index, Model, Plain, Sealed};

/// The value inside a sealed field; `p` is the path of what the expansion names.
pub(super) fn value_type(field: &Sealed<'_>, p: &TokenStream) -> TokenStream {
    match field.shape {
        Shape::Phi(value) | Shape::OptionPhi(value) => quote!(#value),
        Shape::Hidden(_) | Shape::Other => {
            let ty = field.ty;
            quote!(<#ty as #p::PhiField>::Value)
        }
    }
}

/// The type of a sealed field's column.
pub(super) fn stored_type(field: &Sealed<'_>, p: &TokenStream) -> TokenStream {
    let (ty, value) = (field.ty, value_type(field, p));
    let storage = if field.text {
        quote!(#p::SealedText<#value>)
    } else {
        quote!(#p::Sealed<#value>)
    };
    match field.shape {
        Shape::Phi(_) => storage,
        Shape::OptionPhi(_) => quote!(#p::Option<#storage>),
        Shape::Hidden(_) | Shape::Other => quote!(<#ty as #p::PhiField>::Stored<#storage>),
    }
}

/// The type of an index column.
pub(super) fn index_type(index: &Index<'_>, p: &TokenStream) -> TokenStream {
    if index.optional {
        quote!(#p::Option<#p::BlindIndex>)
    } else {
        quote!(#p::BlindIndex)
    }
}

/// A field of the sealed struct.
pub(super) enum Column<'m, 'a> {
    Plain(&'m Plain<'a>),
    Sealed(&'m Sealed<'a>),
    Index(&'m Index<'a>),
    Flat(&'m Flat<'a>),
}

/// The fields of the sealed struct in their order: each index after its field, compound ones at the end.
pub(super) fn list<'m, 'a>(model: &'m Model<'a>) -> Vec<Column<'m, 'a>> {
    let mut columns = Vec::new();
    for field in &model.fields {
        match field {
            Field::Plain(plain) => columns.push(Column::Plain(plain)),
            Field::Sealed(sealed) => {
                columns.push(Column::Sealed(sealed));
                columns.extend(model.index_of(sealed.ident).map(Column::Index));
            }
            Field::Flat(flat) => columns.push(Column::Flat(flat)),
        }
    }
    columns.extend(model.compound().map(Column::Index));
    columns
}

impl Column<'_, '_> {
    pub(super) fn ident(&self) -> Ident {
        match self {
            Self::Plain(plain) => plain.ident.clone(),
            Self::Sealed(sealed) => sealed.ident.clone(),
            Self::Index(index) => names::index_field(index),
            Self::Flat(flat) => flat.ident.clone(),
        }
    }

    pub(super) fn ty(&self, p: &TokenStream) -> TokenStream {
        match self {
            Self::Plain(plain) => plain.ty.to_token_stream(),
            Self::Sealed(sealed) => stored_type(sealed, p),
            Self::Index(index) => index_type(index, p),
            Self::Flat(flat) => {
                let ty = flat.ty;
                quote!(<#ty as #p::Embedded>::Sealed)
            }
        }
    }

    /// The name in SQL; of a flattened struct the derive knows none.
    pub(super) fn sql_name(&self) -> Option<&str> {
        match self {
            Self::Plain(plain) => Some(&plain.sql_name),
            Self::Sealed(sealed) => Some(&sealed.sql_name),
            Self::Index(index) => Some(&index.sql_name),
            Self::Flat(_) => None,
        }
    }

    /// The database fills it.
    pub(super) fn is_generated(&self) -> bool {
        matches!(self, Self::Plain(plain) if plain.generated)
    }

    /// The field, with its docs.
    fn field(&self) -> TokenStream {
        let (ident, ty) = (self.ident(), self.ty(&outside()));
        let (vis, doc, docs) = match self {
            Self::Plain(plain) => (plain.vis, format!("`{}`, as it is.", ident.unraw()), &*plain.docs),
            Self::Sealed(sealed) => (sealed.vis, format!("`{}`, sealed.", ident.unraw()), &*sealed.docs),
            Self::Index(index) => (index.vis, format!("The blind index `{}`.", index.name), &[][..]),
            Self::Flat(flat) => (
                flat.vis,
                format!("The columns of `{}`.", ident.unraw()),
                &*flat.docs,
            ),
        };
        let docs = documented(&doc, docs);
        quote!(#docs #vis #ident: #ty)
    }
}

/// The path of what the expansion names, outside its block.
pub(super) fn outside() -> TokenStream {
    quote!(::phield::__private)
}

/// The struct of the columns.
pub(super) fn sealed_struct(model: &Model<'_>) -> TokenStream {
    let (vis, name) = (model.vis, names::sealed_struct(model.ident));
    let (generics, bounds) = (model.generics, &model.generics.where_clause);
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
    let fields = list(model);
    let fields = fields.iter().map(Column::field);
    quote! {
        #docs
        #[derive(::core::fmt::Debug, ::core::clone::Clone)]
        #serde
        #[allow(dead_code)]
        #vis struct #name #generics #bounds { #(#fields,)* }
    }
}

/// What the derive says of an item, and after it what the user says of the field or struct that it comes from.
fn documented(doc: &str, docs: &[&Attribute]) -> TokenStream {
    let between = (!docs.is_empty()).then(|| quote!(#[doc = ""]));
    quote!(#[doc = #doc] #between #(#docs)*)
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
        let parameters = generics::of_group(model, group);
        let fields = group.fields.iter().map(|field| Column::Sealed(field).field());
        let indexes = group.indexes.iter().map(|index| Column::Index(index).field());
        Some(quote! {
            #[doc = #doc]
            #[derive(::core::fmt::Debug, ::core::clone::Clone)]
            #[allow(dead_code)]
            #vis struct #name #parameters { #(#fields,)* #(#indexes,)* }
        })
    });
    structs.collect()
}

/// The values of fields as the parts of an index.
pub(super) fn parts(index: &Index<'_>, value: impl Fn(&Ident) -> TokenStream) -> Vec<TokenStream> {
    let part = |field| {
        let value = value(field);
        quote!(__p::part(#value)?)
    };
    index.parts.iter().map(|each| part(each.field)).collect()
}
