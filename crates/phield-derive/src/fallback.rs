//! What stands in for a model that breaks a rule: every error, and the items that other code is likely to use, so
//! that it does not fail for their absence.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Fields};

use crate::expand::names;

/// The errors and, for a struct that could have been a model, its stub.
pub(crate) fn expand(input: &DeriveInput, error: &syn::Error) -> TokenStream {
    let errors = error.to_compile_error();
    let is_struct = matches!(&input.data, Data::Struct(data) if matches!(data.fields, Fields::Named(_)));
    let stub = (is_struct && input.generics.params.is_empty()).then(|| stub(input));
    quote!(#errors #stub)
}

fn stub(input: &DeriveInput) -> TokenStream {
    let (vis, ident, sealed_struct) = (&input.vis, &input.ident, names::sealed_struct(&input.ident));
    quote! {
        #[derive(::core::fmt::Debug, ::core::clone::Clone)]
        #[allow(missing_docs, dead_code)]
        #vis struct #sealed_struct {}

        #[allow(missing_docs, dead_code, unused_variables)]
        impl #ident {
            #vis fn seal(
                &self,
                keys: &(impl ::phield::__private::Keys + ?::core::marker::Sized),
            ) -> ::core::result::Result<#sealed_struct, ::phield::__private::SealError> {
                loop {}
            }

            #vis fn seal_batch(
                rows: &[Self],
                keys: &(impl ::phield::__private::Keys + ?::core::marker::Sized),
            ) -> ::core::result::Result<::std::vec::Vec<#sealed_struct>, ::phield::__private::SealError> {
                loop {}
            }
        }

        #[allow(missing_docs, dead_code, unused_variables)]
        impl #sealed_struct {
            #vis fn open(
                self,
                keys: &(impl ::phield::__private::Keys + ?::core::marker::Sized),
            ) -> ::core::result::Result<#ident, ::phield::__private::OpenRowError> {
                loop {}
            }

            #vis fn open_batch(
                rows: ::std::vec::Vec<Self>,
                keys: &(impl ::phield::__private::Keys + ?::core::marker::Sized),
            ) -> ::core::result::Result<::std::vec::Vec<#ident>, ::phield::__private::OpenRowError> {
                loop {}
            }
        }
    }
}
