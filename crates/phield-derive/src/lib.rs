//! The derives of phield: they emit calls into `phield-core`, never cryptography. Use them as `phield::EncryptedPhi`,
//! `phield::PhiValue` and `phield::Erase`, where they are documented.
//!
//! `EncryptedPhi` is a pipeline of one file a step: `ast` takes the struct apart, `attr` reads the syntax of
//! `#[phi(…)]`, `valid` holds every rule and makes the checked `Model`, `expand` writes the code of a model, `fallback`
//! what stands in for it when a rule was broken, so that the mistake itself is reported and little else. The two small
//! derives have a file each, `phi_value` and `erase`.
#![forbid(unsafe_code)]

mod ast;
mod attr;
mod erase;
mod errors;
mod expand;
mod fallback;
mod phi_value;
mod sql;
mod valid;

use errors::Errors;
use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Seals the `Phi` fields of a struct: see `phield::EncryptedPhi`.
#[proc_macro_derive(EncryptedPhi, attributes(phi))]
pub fn derive_encrypted_phi(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    match derive(&input) {
        Ok(expanded) => expanded.into(),
        Err(error) => fallback::expand(&input, &error).into(),
    }
}

/// Makes a newtype or an enumeration a value that can be sealed: see `phield::PhiValue`.
#[proc_macro_derive(PhiValue, attributes(phi))]
pub fn derive_phi_value(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    phi_value::expand(&input)
        .unwrap_or_else(|error| phi_value::fallback(&input, &error))
        .into()
}

/// Erases every field: see `phield::Erase`.
#[proc_macro_derive(Erase)]
pub fn derive_erase(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    erase::expand(&input)
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}

fn derive(input: &DeriveInput) -> syn::Result<proc_macro2::TokenStream> {
    let errors = Errors::default();
    let parsed = ast::Input::parse(input, &errors)?;
    let model = valid::check(&parsed, &errors);
    errors.check().map(|()| expand::expand(&model))
}

#[cfg(test)]
mod tests;
