//! `impl ReadModel` and `impl Model`: how a row is sealed and opened.

use proc_macro2::TokenStream;
use quote::quote;

use super::binding::{self, Keys};
use super::columns::{self, Column};
use super::generics::Generics;
use super::{checks, constants, flat, names};
use crate::valid::{Field, Model, Role, Sealed};

/// How a row is opened.
pub(super) fn read(model: &Model<'_>, generics: &Generics) -> TokenStream {
    let (ident, sealed_struct) = (model.ident, names::sealed_struct(model.ident));
    let (parameters, arguments, bounds) = (
        generics.parameters(&TokenStream::new()),
        &generics.arguments,
        generics.bounds(&[]),
    );
    let Keys {
        name: keys,
        ty: keys_type,
        of_model,
        ..
    } = Keys::of(model);
    let table = match model.role {
        Role::Part(path) => quote!(<#path>::SCHEMA.table),
        Role::Table | Role::Embedded => {
            let table = &model.table;
            quote!(#table)
        }
    };
    let (checked, row) = (
        checks::of_parameters(model),
        binding::of_row(model, &quote!(sealed)),
    );
    let opened = model.fields.iter().map(|field| opened(model, field));
    // A part has the columns that bind its rows because it has to: nobody need read them.
    let read = matches!(model.role, Role::Part(_)).then(|| {
        let bound = model.binding.columns().map(|bound| bound.ident);
        quote!(let _ = (#(&value.#bound),*);)
    });
    quote! {
        #[automatically_derived]
        impl #parameters __p::ReadModel for #ident #arguments #bounds {
            type Sealed = #sealed_struct #arguments;
            type Keys<'__k> = #of_model;
            const TABLE: __p::TableName = __p::TableName::from_static(#table);
            #checked
            fn open_reported(
                sealed: Self::Sealed,
                #keys: &#keys_type,
            ) -> __Opening<__p::Reported<Self>> {
                let row = #row;
                let opener = &mut __p::row_opener::<Self>(#keys, row)?;
                let value = Self { #(#opened,)* };
                #read
                __p::Result::Ok(__p::Reported::new(value, opener.compromised()))
            }
        }
    }
}

/// `field: value` of an opened row.
fn opened(model: &Model<'_>, field: &Field<'_>) -> TokenStream {
    let ident = field.ident();
    match field {
        Field::Plain(_) => quote!(#ident: sealed.#ident),
        Field::Sealed(field) => {
            let constant = names::column_constant(field);
            quote!(#ident: __p::open_field(opener, &Self::#constant, sealed.#ident)?)
        }
        Field::Flat(_) => {
            let at = flat::position(model, ident);
            quote!(#ident: __p::Embedded::open::<Self, #at>(sealed.#ident, opener)?)
        }
    }
}

/// How a row is sealed.
pub(super) fn write(model: &Model<'_>, generics: &Generics) -> TokenStream {
    let ident = model.ident;
    let (parameters, arguments, bounds) = (
        generics.parameters(&TokenStream::new()),
        &generics.arguments,
        generics.bounds(&[]),
    );
    let (columns, indexes) = (constants::columns(model), constants::indexes(model));
    let (tokens, embedded) = (
        model.sealed().count(),
        model.flat().map(|flat| {
            let ty = flat.ty;
            quote!(+ <#ty as __p::Embedded>::TOKENS)
        }),
    );
    let (visits, fields) = (visits(model), fields(model));
    let sealed_struct = names::sealed_struct(ident);
    let values = columns::list(model);
    let values = values.iter().map(value);
    quote! {
        #[automatically_derived]
        impl #parameters __p::Model for #ident #arguments #bounds {
            const TOKENS: usize = #tokens #(#embedded)*;
            #columns
            #indexes
            fn each_index(&self, visit: &mut __p::IndexVisitor<'_>) -> __Sealing<()> {
                #visits
                __p::Result::Ok(())
            }
            fn seal_with(
                &self,
                sealer: &mut __p::Sealer<'_>,
                indexes: __p::IndexValues,
            ) -> __Sealing<Self::Sealed> {
                #fields
                __p::Result::Ok(#sealed_struct { #(#values,)* })
            }
        }
    }
}

/// Shows every index to `visit`.
fn visits(model: &Model<'_>) -> TokenStream {
    let tenant = model.binding.tenant.as_ref().map(|tenant| {
        let ident = tenant.ident;
        quote! {
            let tenant = __p::AsTenant::as_tenant(&self.#ident)?;
            let tenant = __p::Option::Some(&*tenant);
        }
    });
    let tenant = tenant.filter(|_| !model.indexes.is_empty());
    let name = if tenant.is_some() {
        quote!(tenant)
    } else {
        quote!(__p::Option::None)
    };
    let visits = model.indexes.iter().map(|index| {
        let constant = names::index_constant(index);
        let parts = columns::parts(index, |field| quote!(&self.#field));
        quote!(visit(&Self::#constant, #name, &[#(#parts),*])?;)
    });
    quote!(#tenant #(#visits)*)
}

/// Seals the fields: in an array, where their number is known.
fn fields(model: &Model<'_>) -> TokenStream {
    let row = binding::of_row(model, &quote!(self));
    let field = |field: &Sealed<'_>| {
        let (ident, constant) = (field.ident, names::column_constant(field));
        quote!(__p::field(&self.#ident, Self::#constant)?)
    };
    if model.flat().next().is_none() {
        let fields = model.sealed().map(field);
        return quote! {
            let fields = [#(#fields),*];
            let mut row = __p::seal_fields(self, sealer, indexes, #row, fields)?;
        };
    }
    let fields = model.fields.iter().map(|each| match each {
        Field::Plain(_) => TokenStream::new(),
        Field::Sealed(sealed) => {
            let field = field(sealed);
            quote!(fields.push(#field);)
        }
        Field::Flat(flat) => {
            let (ident, at) = (flat.ident, flat::position(model, flat.ident));
            quote!(__p::Embedded::fields::<Self, #at>(&self.#ident, &mut fields)?;)
        }
    });
    quote! {
        let mut fields = __p::Vec::with_capacity(<Self as __p::Model>::TOKENS);
        #(#fields)*
        let mut row = __p::seal_all_fields(self, sealer, indexes, #row, &fields)?;
    }
}

/// `field: column` of a sealed row.
fn value(column: &Column<'_, '_>) -> TokenStream {
    let ident = column.ident();
    match column {
        Column::Plain(_) => quote!(#ident: __p::Clone::clone(&self.#ident)),
        Column::Sealed(_) => quote!(#ident: row.token()?),
        Column::Index(_) => quote!(#ident: row.index()?),
        Column::Flat(_) => quote!(#ident: row.embedded(&self.#ident)?),
    }
}
