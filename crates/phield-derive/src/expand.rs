//! The code of a model. Short, for it is compiled once for each model: all work is done by functions of the core.

mod binding;
mod columns;
mod constants;
mod database;
mod form;
mod methods;
pub(crate) mod names;

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::Type;
use syn::spanned::Spanned as _;

use crate::valid::{Field, Index, Kind, LOW_ENTROPY, Model};
use binding::{Keys, TenantParameter};
pub(crate) use form::Form;

/// Everything that the derive emits.
pub(crate) fn expand(model: &Model<'_>) -> TokenStream {
    let parts = [
        assertions(model),
        columns::sealed_struct(model),
        columns::group_structs(model),
        constants::expand(model),
        model_impl(model),
        methods::of_model(model),
        methods::of_sealed(model),
        database::expand(model),
    ];
    parts.into_iter().collect()
}

/// What names do not tell, the compiler checks: plain columns hold no `Phi`, a row id and a subject are one, and aliases
/// and types of the application's own keep the rules that are about their type.
fn assertions(model: &Model<'_>) -> TokenStream {
    let plain = model.fields.iter().filter_map(|field| match field {
        Field::Plain(plain) => Some(plain_assertion(plain.ty)),
        Field::Sealed(_) => None,
    });
    let tenant = model.binding.tenant.as_ref().map(|tenant| tenant.ident);
    let ids = model.binding.columns().map(|bound| {
        let ty = bound.ty;
        let function = if Some(bound.ident) == tenant {
            quote!(assert_tenant)
        } else {
            quote!(assert_row_id)
        };
        quote_spanned! {ty.span()=>
            const _: fn() = || ::phield::__private::#function::<#ty>();
        }
    });
    let domains = model
        .indexes
        .iter()
        .filter_map(|index| domain_assertion(model, index));
    let normalizers = normalizer_assertions(model);
    let paddings = model
        .sealed()
        .filter_map(|field| constants::check_padding(model, field));
    quote!(#(#plain)* #(#ids)* #(#domains)* #(#normalizers)* #(#paddings)*)
}

fn plain_assertion(ty: &Type) -> TokenStream {
    let message = "a plain column is or contains `Phi`: write its type as `Phi<T>` or `Option<Phi<T>>`, or mark an alias \
                   of these `#[phi(sealed)]`";
    quote_spanned! {ty.span()=>
        const _: () = {
            #[allow(unused_imports)]
            use ::phield::__private::MaybePhi as _;
            ::core::assert!(::phield::__private::Plain::<#ty>::PLAIN, #message);
        };
    }
}

/// an index over types of few values alone says so. Of the name `bool` the derive knows that it is one.
fn domain_assertion(model: &Model<'_>, index: &Index<'_>) -> Option<TokenStream> {
    let may_be_few = |kind| matches!(kind, Kind::Bool | Kind::Unknown);
    let known = index.parts.iter().all(|part| part.kind == Kind::Bool);
    if index.options.leaks_equality || known || !index.parts.iter().all(|part| may_be_few(part.kind)) {
        return None;
    }
    let values = index.parts.iter().filter_map(|part| value_of(model, part.field));
    let few = quote!(#(::phield::__private::has_few_values::<#values>())&&*);
    Some(quote_spanned!(index.span=> const _: () = ::core::assert!(!(#few), #LOW_ENTROPY);))
}

/// A normalizer takes the values of its field.
fn normalizer_assertions(model: &Model<'_>) -> Vec<TokenStream> {
    let parts = model.indexes.iter().flat_map(|index| &index.parts);
    let unknown = parts.filter(|part| part.kind == Kind::Unknown);
    let assertions = unknown.filter_map(|part| {
        let (value, normalizer) = (value_of(model, part.field)?, part.normalizer.variant());
        let accepts =
            quote!(::phield::__private::accepts::<#value>(::phield::__private::Normalizer::#normalizer));
        let message = format!(
            "the normalizer `{}` does not take values of this type",
            part.normalizer.as_str()
        );
        Some(quote_spanned!(part.span=> const _: () = ::core::assert!(#accepts, #message);))
    });
    assertions.collect()
}

fn value_of(model: &Model<'_>, field: &Ident) -> Option<TokenStream> {
    let field = model.sealed().find(|sealed| sealed.ident == field);
    field.map(columns::value_type)
}

/// `impl Model`: how a row is sealed and opened.
fn model_impl(model: &Model<'_>) -> TokenStream {
    let (ident, sealed_struct, table) = (model.ident, names::sealed_struct(model.ident), &model.table);
    let fields: Vec<_> = model.sealed().collect();
    let tokens = fields.len();
    let token = columns::token_names(&fields);
    let sealed_fields = fields.iter().map(|field| columns::field(field, columns::of_self));
    let values = columns::in_order(
        model,
        |field| columns::stored(field, &fields),
        |index| {
            let ident = names::index_field(index);
            quote!(#ident: indexes.column()?)
        },
        |plain| {
            let ident = plain.ident;
            quote!(#ident: ::core::clone::Clone::clone(&self.#ident))
        },
    );
    let (seal_binding, open_binding) = (
        binding::of_row(model, &quote!(self)),
        binding::of_row(model, &quote!(sealed)),
    );
    let Keys {
        name: keys,
        ty: keys_type,
        of_model: keys_of_model,
        ..
    } = Keys::of(model);
    let tenant = model.binding.tenant.as_ref().map(|tenant| {
        let (tenant, ident) = (binding::tenant(), tenant.ident);
        quote!(let #tenant = &self.#ident;)
    });
    let tenant = tenant.filter(|_| !model.indexes.is_empty());
    let TenantParameter {
        name: tenant_name, ..
    } = TenantParameter::of(model);
    let visits = columns::in_order(
        model,
        |_| TokenStream::new(),
        |index| columns::visit_index(index, &tenant_name),
        |_| TokenStream::new(),
    );
    let opened = model.fields.iter().map(columns::opened);
    quote! {
        #[automatically_derived]
        impl ::phield::__private::Model for #ident {
            type Sealed = #sealed_struct;
            type Keys<'k> = #keys_of_model;
            const TOKENS: usize = #tokens;

            fn each_index(
                &self,
                visit: &mut ::phield::__private::IndexVisitor<'_>,
            ) -> ::core::result::Result<(), ::phield::__private::SealError> {
                #tenant
                #(#visits)*
                ::core::result::Result::Ok(())
            }

            fn seal_with(
                &self,
                sealer: &mut ::phield::__private::Sealer<'_>,
                mut indexes: ::phield::__private::IndexValues,
            ) -> ::core::result::Result<#sealed_struct, ::phield::__private::SealError> {
                let table = const { ::phield::__private::TableName::from_static(#table) };
                let binding = #seal_binding;
                let row = ::phield::__private::Row::new(&table, binding)?;
                let [#(#token),*] = sealer.seal_row(&row, [#(#sealed_fields),*])?;
                ::core::result::Result::Ok(#sealed_struct { #(#values,)* })
            }

            fn open_reported(
                sealed: #sealed_struct,
                #keys: &#keys_type,
            ) -> ::core::result::Result<::phield::__private::Reported<Self>, ::phield::__private::OpenRowError> {
                let table = const { ::phield::__private::TableName::from_static(#table) };
                let mut opener = ::phield::__private::row_opener(#keys, &table, #open_binding)?;
                let value = Self { #(#opened,)* };
                ::core::result::Result::Ok(::phield::__private::Reported::new(value, opener.compromised()))
            }
        }
    }
}
