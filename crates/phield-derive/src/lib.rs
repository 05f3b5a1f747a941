//! `#[derive(EncryptedPhi)]` of phield: it emits calls into `phield-core`, never cryptography. Use it as
//! `phield::EncryptedPhi`, where it is documented.
//!
//! A pipeline of one file a step: `ast` takes the struct apart, `attr` reads the syntax of `#[phi(…)]`, `valid` holds
//! every rule and makes the checked `Model`, `expand` writes the code of a model, `fallback` what stands in for it
//! when a rule was broken, so that the mistake itself is reported and little else.
#![forbid(unsafe_code)]

mod ast;
mod attr;
mod errors;
mod expand;
mod fallback;
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

fn derive(input: &DeriveInput) -> syn::Result<proc_macro2::TokenStream> {
    let errors = Errors::default();
    let parsed = ast::Input::parse(input, &errors)?;
    let model = valid::check(&parsed, &errors);
    errors.check().map(|()| expand::expand(&model))
}
