//! The parameters of a generic struct, in the headers of its `impl`s.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote};
use syn::{ConstParam, GenericParam, TypeParam};

use super::{columns, names};
use crate::ast::mentions;
use crate::valid::{Bound, Field, Model};

/// What stands behind `impl`, behind the name of a struct, and behind `where`.
pub(super) struct Generics {
    /// With their bounds, without their defaults.
    parameters: Vec<GenericParam>,
    /// `<T, N>`, or nothing.
    pub(super) arguments: TokenStream,
    predicates: Vec<TokenStream>,
}

impl Generics {
    pub(super) fn of(model: &Model<'_>) -> Self {
        let parameters = model
            .generics
            .params
            .iter()
            .cloned()
            .map(without_default)
            .collect();
        let (_, arguments, of_struct) = model.generics.split_for_impl();
        let written = of_struct.iter().flat_map(|clause| &clause.predicates);
        let mut predicates: Vec<_> = written.map(|predicate| quote!(#predicate)).collect();
        if !model.generics.params.is_empty() {
            needed(model, &mut predicates);
        }
        Self {
            parameters,
            arguments: arguments.to_token_stream(),
            predicates,
        }
    }

    /// `<'r, R, T: Bound>`: parameters of an `impl`'s own before those of the struct.
    pub(super) fn parameters(&self, own: &TokenStream) -> TokenStream {
        let parameters = &self.parameters;
        if own.is_empty() && parameters.is_empty() {
            return TokenStream::new();
        }
        let comma = (!own.is_empty()).then(|| quote!(,));
        quote!(<#own #comma #(#parameters),*>)
    }

    /// `where …`: the predicates of the struct, and those of an `impl`'s own.
    pub(super) fn bounds(&self, own: &[TokenStream]) -> TokenStream {
        let predicates = &self.predicates;
        if own.is_empty() && predicates.is_empty() {
            return TokenStream::new();
        }
        quote!(where #(#predicates,)* #(#own,)*)
    }
}

/// The parameters that the columns of a group name, without their bounds: tokens ask for none.
pub(super) fn of_group(model: &Model<'_>, group: &names::Group<'_, '_>) -> TokenStream {
    let parameters: Vec<_> = named_in(model, group)
        .map(|parameter| match parameter {
            GenericParam::Const(parameter) => {
                let (ident, ty) = (&parameter.ident, &parameter.ty);
                quote!(const #ident: #ty)
            }
            GenericParam::Type(TypeParam { ident, .. }) => quote!(#ident),
            GenericParam::Lifetime(_) => TokenStream::new(),
        })
        .collect();
    if parameters.is_empty() {
        return TokenStream::new();
    }
    quote!(<#(#parameters),*>)
}

/// The same parameters, as arguments.
pub(super) fn arguments_of_group(model: &Model<'_>, group: &names::Group<'_, '_>) -> TokenStream {
    let arguments: Vec<_> = named_in(model, group)
        .map(|parameter| match parameter {
            GenericParam::Const(ConstParam { ident, .. }) | GenericParam::Type(TypeParam { ident, .. }) => {
                quote!(#ident)
            }
            GenericParam::Lifetime(_) => TokenStream::new(),
        })
        .collect();
    if arguments.is_empty() {
        return TokenStream::new();
    }
    quote!(<#(#arguments),*>)
}

fn named_in<'m>(
    model: &'m Model<'_>,
    group: &names::Group<'_, '_>,
) -> impl Iterator<Item = &'m GenericParam> {
    model.generics.params.iter().filter(|parameter| {
        let alone = syn::Generics {
            params: std::iter::once((*parameter).clone()).collect(),
            ..syn::Generics::default()
        };
        group.fields.iter().any(|field| mentions(field.ty, &alone))
    })
}

fn without_default(mut parameter: GenericParam) -> GenericParam {
    match &mut parameter {
        GenericParam::Type(parameter) => (parameter.eq_token, parameter.default) = (None, None),
        GenericParam::Const(parameter) => (parameter.eq_token, parameter.default) = (None, None),
        GenericParam::Lifetime(_) => {}
    }
    parameter
}

/// What the fields ask of the types that stand for the parameters.
fn needed(model: &Model<'_>, predicates: &mut Vec<TokenStream>) {
    let tenant = model.binding.tenant.as_ref().map(|tenant| tenant.ident);
    let bound = model
        .binding
        .columns()
        .filter(|bound| mentions(bound.ty, model.generics));
    for Bound { ident, ty, .. } in bound {
        predicates.push(if Some(*ident) == tenant {
            quote!(#ty: __p::AsTenant)
        } else {
            quote!(#ty: __p::AsRowId)
        });
    }
    for field in &model.fields {
        match field {
            Field::Plain(plain) if mentions(plain.ty, model.generics) => {
                let ty = plain.ty;
                predicates.push(quote!(#ty: __p::Clone + __p::PlainColumn));
            }
            Field::Sealed(sealed) if mentions(sealed.ty, model.generics) => {
                let value = columns::value_type(sealed, &quote!(__p));
                predicates.push(quote!(#value: __p::SealedValue));
            }
            Field::Plain(_) | Field::Sealed(_) | Field::Flat(_) => {}
        }
    }
}
