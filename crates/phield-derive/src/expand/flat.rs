//! Flattening: the columns of embedded structs among those of a model. The compiler knows them, the derive does not.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned as _;

use super::columns::{self, Column};
use super::generics::Generics;
use super::{binding, constants, names};
use crate::sql;
use crate::valid::{Field, Flat, Model};

/// The number of a flattened field among them.
pub(super) fn position(model: &Model<'_>, field: &Ident) -> Literal {
    let before = model.flat().take_while(|flat| flat.ident != field).count();
    Literal::usize_unsuffixed(before)
}

/// The constant of the columns of a flattened field, with their prefix.
pub(super) fn constant(model: &Model<'_>, field: &Ident) -> Ident {
    format_ident!("__FLAT_{}", position(model, field).to_string())
}

/// The columns of every flattened field, and the model as their place.
pub(super) fn places(model: &Model<'_>, generics: &Generics) -> TokenStream {
    let (ident, table, row) = (model.ident, &model.table, binding::of_type(model));
    let (parameters, arguments, bounds) = (
        generics.parameters(&TokenStream::new()),
        &generics.arguments,
        generics.bounds(&[]),
    );
    let places = model.flat().map(|flat| {
        let (at, constant) = (position(model, flat.ident), constant(model, flat.ident));
        let columns = prefixed(flat);
        quote! {
            const #constant: &[__p::ColumnSchema] = #columns;
            #[automatically_derived]
            impl #parameters __p::Place<#at> for #ident #arguments #bounds {
                type Row = #row;
                const TABLE: &'static str = #table;
                const COLUMNS: &'static [__p::ColumnSchema] = #constant;
            }
        }
    });
    places.collect()
}

fn prefixed(flat: &Flat<'_>) -> TokenStream {
    let (ty, prefix) = (flat.ty, &flat.prefix);
    let columns = quote_spanned!(ty.span()=> <#ty as __p::Embedded>::COLUMNS);
    if prefix.is_empty() {
        return columns;
    }
    quote! {{
        const __OF: &[__p::ColumnSchema] = #columns;
        const __NAMES: &[u8; __p::prefixed_len(#prefix, __OF)] = &__p::prefixed_names(#prefix, __OF);
        &__p::prefixed::<{ __OF.len() }>(#prefix, __OF, __NAMES)
    }}
}

/// How many columns there are: what is known, and what the compiler adds.
pub(super) fn count(model: &Model<'_>) -> TokenStream {
    let columns = columns::list(model);
    let known = columns
        .iter()
        .filter(|column| column.sql_name().is_some())
        .count();
    let known = Literal::usize_unsuffixed(known);
    let more = model.flat().map(|flat| {
        let constant = constant(model, flat.ident);
        quote!(+ #constant.len())
    });
    quote!({ #known #(#more)* })
}

/// Lists of one piece for each column, in their order: `known` of those that the derive knows, and `flattened`.
pub(super) fn lists(
    model: &Model<'_>,
    known: impl Fn(&Column<'_, '_>) -> TokenStream,
    flattened: impl Fn(&Ident) -> TokenStream,
) -> TokenStream {
    let (mut lists, mut list) = (Vec::new(), Vec::new());
    for column in columns::list(model) {
        if let Column::Flat(flat) = &column {
            let pieces = std::mem::take(&mut list);
            lists.push(quote!(&[#(#pieces),*]));
            lists.push(flattened(&constant(model, flat.ident)));
        } else {
            list.push(known(&column));
        }
    }
    lists.push(quote!(&[#(#list),*]));
    quote!(&[#(#lists),*])
}

/// `COLUMNS` and `COLUMN_LIST` of a model with flattened fields.
pub(super) fn names(model: &Model<'_>, generics: &Generics) -> (TokenStream, TokenStream, TokenStream) {
    let (ident, arguments, count) = (model.ident, &generics.arguments, count(model));
    let lists = lists(
        model,
        |column| {
            let name = column.sql_name().map(sql::identifier);
            quote!(#name)
        },
        |flat| quote!(&__p::names_of::<{ #flat.len() }>(#flat)),
    );
    (
        quote! {
            const __LISTS: &[&[&str]] = #lists;
            const __LIST: &[u8; __p::joined_len(__LISTS)] = &__p::join(__LISTS);
        },
        quote!(&__p::names_of::<#count>(<#ident #arguments as __p::Model>::COLUMNS)),
        quote!(__p::text(__LIST)),
    )
}

/// What an embedded struct expands to.
pub(super) fn embedded(model: &Model<'_>) -> TokenStream {
    let (ident, sealed_struct) = (model.ident, names::sealed_struct(model.ident));
    let (tokens, columns) = (model.sealed().count(), constants::columns(model));
    let place = |at: usize, field: &crate::valid::Sealed<'_>| {
        let (at, value) = (
            Literal::usize_unsuffixed(at),
            columns::value_type(field, &quote!(__p)),
        );
        quote!(const { __p::placed::<__M, __AT, #value>(#at) })
    };
    let fields = model
        .fields
        .iter()
        .enumerate()
        .filter_map(|(at, field)| match field {
            Field::Sealed(sealed) => {
                let (ident, column) = (sealed.ident, place(at, sealed));
                Some(quote!(fields.push(__p::field(&self.#ident, #column)?);))
            }
            Field::Plain(_) | Field::Flat(_) => None,
        });
    let values = model.fields.iter().map(|field| {
        let ident = field.ident();
        match field {
            Field::Sealed(_) => quote!(#ident: __p::next_token(tokens)?),
            Field::Plain(_) | Field::Flat(_) => quote!(#ident: __p::Clone::clone(&self.#ident)),
        }
    });
    let opened = model.fields.iter().enumerate().map(|(at, field)| {
        let ident = field.ident();
        match field {
            Field::Sealed(sealed) => {
                let column = place(at, sealed);
                quote!(#ident: __p::open_field(opener, &#column, sealed.#ident)?)
            }
            Field::Plain(_) | Field::Flat(_) => quote!(#ident: sealed.#ident),
        }
    });
    quote! {
        #[automatically_derived]
        impl __p::Embedded for #ident {
            type Sealed = #sealed_struct;
            const TOKENS: usize = #tokens;
            #columns
            fn fields<'__f, __M: __p::Place<__AT>, const __AT: usize>(
                &'__f self,
                fields: &mut __p::Vec<__p::Field<'__f>>,
            ) -> __p::Result<(), __p::Unsealable> {
                #(#fields)*
                __p::Result::Ok(())
            }
            fn sealed(
                &self,
                tokens: &mut dyn ::core::iter::Iterator<Item = __p::Token>,
            ) -> __p::Result<Self::Sealed, __p::SealError> {
                __p::Result::Ok(#sealed_struct { #(#values,)* })
            }
            fn open<__M: __p::Place<__AT>, const __AT: usize>(
                sealed: Self::Sealed,
                opener: &mut __p::RowOpener<'_>,
            ) -> __p::Result<Self, __p::OpenRowError> {
                __p::Result::Ok(Self { #(#opened,)* })
            }
        }
    }
}
