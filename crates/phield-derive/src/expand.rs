//! The code of a struct. Short, for it is compiled once for each: all work is done by functions of the core.
//!
//! The structs of columns stand beside the user's struct, everything else in one block, which names the functions of
//! the core by `__p`.

mod binding;
mod checks;
mod columns;
mod constants;
mod database;
mod flat;
mod form;
mod generics;
mod methods;
mod model;
pub(crate) mod names;

use proc_macro2::TokenStream;
use quote::quote;

use crate::valid::{Model, Role};
pub(crate) use form::Form;
use generics::Generics;

/// Everything that the derive emits.
pub(crate) fn expand(model: &Model<'_>) -> TokenStream {
    let generics = Generics::of(model);
    let (structs, checks) = (columns::sealed_struct(model), checks::expand(model));
    let (row, database) = (binding::alias(model), database::expand(model, &generics));
    let (groups, code) = match model.role {
        Role::Table => (columns::group_structs(model), of_table(model, &generics)),
        Role::Part(_) => (TokenStream::new(), of_part(model, &generics)),
        Role::Embedded => (TokenStream::new(), flat::embedded(model)),
    };
    quote! {
        #structs
        #groups
        #[allow(dead_code, unused_imports)]
        const _: () = {
            use ::phield::__private::{self as __p, MaybePhi as _};
            type __Sealing<T> = __p::Result<T, __p::SealError>;
            type __Opening<T> = __p::Result<T, __p::OpenRowError>;
            #row
            #checks
            #code
            #database
        };
    }
}

/// A model is sealed, opened and searched.
fn of_table(model: &Model<'_>, generics: &Generics) -> TokenStream {
    let (places, lists, names) = match model.flat().next() {
        Some(_) => {
            let (lists, columns, list) = flat::names(model, generics);
            (flat::places(model, generics), lists, (columns, list))
        }
        None => (
            TokenStream::new(),
            TokenStream::new(),
            constants::known_names(model, generics),
        ),
    };
    let (constants, methods) = (constants::of_model(model), methods::of_model(model, generics));
    let of_model = inherent(model, generics, &quote!(#constants #methods));
    let of_sealed = of_sealed(model, generics, names);
    let (read, write) = (model::read(model, generics), model::write(model, generics));
    quote!(#places #lists #of_model #of_sealed #read #write)
}

/// A part of a model is opened.
fn of_part(model: &Model<'_>, generics: &Generics) -> TokenStream {
    let handles = model.sealed().map(|field| constants::handle(model, field));
    let of_model = inherent(model, generics, &quote!(#(#handles)*));
    let of_sealed = of_sealed(model, generics, constants::known_names(model, generics));
    let read = model::read(model, generics);
    quote!(#of_model #of_sealed #read)
}

/// `impl Model { … }`
fn inherent(model: &Model<'_>, generics: &Generics, items: &TokenStream) -> TokenStream {
    let (ident, arguments) = (model.ident, &generics.arguments);
    let (parameters, bounds) = (generics.parameters(&TokenStream::new()), generics.bounds(&[]));
    quote! {
        #[automatically_derived]
        impl #parameters #ident #arguments #bounds { #items }
    }
}

/// `impl SealedModel { … }`
fn of_sealed(model: &Model<'_>, generics: &Generics, names: (TokenStream, TokenStream)) -> TokenStream {
    let (sealed_struct, arguments) = (names::sealed_struct(model.ident), &generics.arguments);
    let (parameters, bounds) = (generics.parameters(&TokenStream::new()), generics.bounds(&[]));
    let (names, methods) = (
        constants::of_columns(model, names),
        methods::of_sealed(model, generics),
    );
    quote! {
        #[automatically_derived]
        impl #parameters #sealed_struct #arguments #bounds { #names #methods }
    }
}
