//! The code of a model. Short, for it is compiled once for each model: all work is done by functions of the core.

mod columns;
mod database;
mod methods;
pub(crate) mod names;

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::Type;
use syn::spanned::Spanned as _;

use crate::valid::{Binding, Field, Kind, LOW_ENTROPY, Model, UNPADDED_BOOL};

/// Everything that the derive emits.
pub(crate) fn expand(model: &Model<'_>) -> TokenStream {
    let parts = [
        assertions(model),
        columns::sealed_struct(model),
        columns::group_structs(model),
        columns::constants(model),
        model_impl(model),
        methods::of_model(model),
        methods::of_sealed(model),
        database::expand(model),
    ];
    parts.into_iter().collect()
}

/// What names do not tell, the compiler checks: plain columns hold no `Phi`, a row id is one, and aliases keep the
/// rules that are about their type.
fn assertions(model: &Model<'_>) -> TokenStream {
    let plain = model.fields.iter().filter_map(|field| match field {
        Field::Plain(plain) => Some(plain_assertion(plain.ty)),
        Field::Sealed(_) => None,
    });
    let row_id = match model.binding {
        Binding::RowId { ty, .. } => quote_spanned! {ty.span()=>
            const _: fn() = || ::phield::__private::assert_row_id::<#ty>();
        },
        Binding::Unbound => TokenStream::new(),
    };
    let values = value_assertions(model);
    quote!(#(#plain)* #row_id #(#values)*)
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

/// The rules about bools and normalizers, for values whose type the derive does not know.
fn value_assertions(model: &Model<'_>) -> Vec<TokenStream> {
    let mut assertions = Vec::new();
    for field in model.sealed().filter(|field| field.kind == Kind::Unknown) {
        let value = columns::value_type(field);
        let is_no_bool = quote!(!::phield::__private::has_few_values::<#value>());
        let unpadded = field.unpadded.map(|span| (span, UNPADDED_BOOL));
        let lone = model.index_of(field.ident).filter(|index| !index.leaks_equality);
        let rules = [unpadded, lone.map(|index| (index.span, LOW_ENTROPY))];
        assertions.extend(rules.into_iter().flatten().map(
            |(span, message)| quote_spanned!(span=> const _: () = ::core::assert!(#is_no_bool, #message);),
        ));
    }
    for part in model
        .indexes
        .iter()
        .flat_map(|index| &index.parts)
        .filter(|part| part.unknown)
    {
        let Some(field) = model.sealed().find(|field| field.ident == part.field) else {
            continue;
        };
        let (value, normalizer) = (columns::value_type(field), part.normalizer.variant());
        let accepts =
            quote!(::phield::__private::accepts::<#value>(::phield::__private::Normalizer::#normalizer));
        let message = format!(
            "the normalizer `{}` does not take values of this type",
            part.normalizer.as_str()
        );
        assertions.push(quote_spanned!(part.span=> const _: () = ::core::assert!(#accepts, #message);));
    }
    assertions
}

/// `impl Model`: how a row is sealed and opened.
fn model_impl(model: &Model<'_>) -> TokenStream {
    let (ident, sealed_struct, table) = (model.ident, names::sealed_struct(model.ident), &model.table);
    let fields: Vec<_> = model.sealed().collect();
    let tokens = fields.len();
    let token = columns::token_names(&fields);
    let sealed_fields = fields.iter().map(|field| columns::field(field, &quote!(self.)));
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
    let (seal_binding, open_binding) = match model.binding {
        Binding::RowId { ident, .. } => (quote!(&self.#ident), quote!(&sealed.#ident)),
        Binding::Unbound => (
            quote!(&::phield::__private::Unbound),
            quote!(&::phield::__private::Unbound),
        ),
    };
    let visits = columns::in_order(
        model,
        |_| TokenStream::new(),
        columns::visit_index,
        |_| TokenStream::new(),
    );
    let opened = model.fields.iter().map(columns::opened);
    quote! {
        #[automatically_derived]
        impl ::phield::__private::Model for #ident {
            type Sealed = #sealed_struct;
            type Keys<'k> = ::phield::__private::Keyring;
            const TOKENS: usize = #tokens;

            fn each_index(
                &self,
                visit: &mut ::phield::__private::IndexVisitor<'_>,
            ) -> ::core::result::Result<(), ::phield::__private::SealError> {
                #(#visits)*
                ::core::result::Result::Ok(())
            }

            fn seal_with(
                &self,
                sealer: &mut ::phield::__private::Sealer<'_>,
                mut indexes: ::phield::__private::IndexValues,
            ) -> ::core::result::Result<#sealed_struct, ::phield::__private::SealError> {
                let table = const { ::phield::__private::TableName::from_static(#table) };
                let row = ::phield::__private::Row::new(&table, #seal_binding)?;
                let [#(#token),*] = sealer.seal_row(&row, [#(#sealed_fields),*])?;
                ::core::result::Result::Ok(#sealed_struct { #(#values,)* })
            }

            fn open_reported(
                sealed: #sealed_struct,
                keyring: &::phield::__private::Keyring,
            ) -> ::core::result::Result<::phield::__private::Reported<Self>, ::phield::__private::OpenError> {
                let table = const { ::phield::__private::TableName::from_static(#table) };
                let mut opener = ::phield::__private::row_opener(keyring, &table, #open_binding)?;
                let value = Self { #(#opened,)* };
                ::core::result::Result::Ok(::phield::__private::Reported::new(value, opener.compromised()))
            }
        }
    }
}
