//! `#[derive(Erase)]`: every field of a type erases itself. One step, for there are no attributes and one rule.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};
use syn::{Data, DataEnum, DeriveInput, Fields, parse_quote};

/// `impl Erase`; a type parameter erases itself, too.
pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let body = body(input)?;
    let mut generics = input.generics.clone();
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(parse_quote!(::phield::__private::Erase));
    }
    let (ident, (impl_generics, type_generics, where_clause)) = (&input.ident, generics.split_for_impl());
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::phield::__private::Erase for #ident #type_generics #where_clause {
            fn erase(&mut self) {
                #body
            }
        }
    })
}

fn body(input: &DeriveInput) -> syn::Result<TokenStream> {
    match &input.data {
        Data::Struct(data) => {
            let (pattern, erased) = (pattern(&data.fields), erased(&data.fields));
            Ok(quote!(let Self #pattern = self; #erased))
        }
        Data::Enum(data) => Ok(variants(data)),
        Data::Union(_) => Err(syn::Error::new(
            input.ident.span(),
            "Erase is for structs and enums: of a union nobody knows which field is there",
        )),
    }
}

fn variants(data: &DataEnum) -> TokenStream {
    let fieldless = data.variants.iter().all(|variant| variant.fields.is_empty());
    match data.variants.first() {
        None => quote!(match *self {}),
        // Nothing but which variant it is: that is overwritten, and the barrier keeps the write.
        Some(first) if fieldless => {
            let first = &first.ident;
            quote!(*self = Self::#first {}; ::core::hint::black_box(self);)
        }
        Some(_) => {
            let arms = data.variants.iter().map(|variant| {
                let (ident, pattern, erased) =
                    (&variant.ident, pattern(&variant.fields), erased(&variant.fields));
                quote!(Self::#ident #pattern => { #erased })
            });
            quote!(match self { #(#arms)* })
        }
    }
}

/// Every field by a name of its own: a pattern of structs, of tuples and of what has no fields.
fn pattern(fields: &Fields) -> TokenStream {
    let (members, names) = (fields.members(), names(fields));
    quote!({ #(#members: #names),* })
}

/// The types are named, so that the error about one that cannot be erased stands at it.
fn erased(fields: &Fields) -> TokenStream {
    let (types, names) = (fields.iter().map(|field| &field.ty), names(fields));
    quote!(#(<#types as ::phield::__private::Erase>::erase(#names);)*)
}

fn names(fields: &Fields) -> Vec<Ident> {
    (0..fields.len())
        .map(|i| format_ident!("field_{i}", span = Span::mixed_site()))
        .collect()
}
