//! `#[derive(PhiValue)]`: a newtype is sealed as what is in it, an enumeration as the names of its variants.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{Data, DataEnum, DataStruct, DeriveInput, Fields, LitStr, Member, Path, Type, Variant};

use crate::attr;
use crate::erase;
use crate::errors::Errors;
use crate::valid::Entries;

const SHAPES: &str = "PhiValue is for a newtype (a struct with one field) and for an enumeration (an enum without \
                      fields); several values together are sealed as `Json<T>`, with `#[derive(Erase)]` for the `T`";

/// A type that keeps every rule.
enum Shape<'a> {
    Newtype {
        member: Member,
        ty: &'a Type,
        /// A function instead of the constructor, and where it is named.
        parse: Option<(Path, Span)>,
    },
    /// Variants and what they are sealed as.
    Enumeration(Vec<(&'a Ident, String)>),
}

/// `impl PhiValue` and `impl Erase`.
pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let errors = Errors::default();
    let shape = check(input, &errors);
    errors.check()?;
    let Some(shape) = shape else {
        return Err(syn::Error::new(input.ident.span(), SHAPES));
    };
    let (erase, ident) = (erase::expand(input)?, &input.ident);
    let items = match &shape {
        Shape::Newtype { member, ty, parse } => newtype(member, ty, parse.as_ref()),
        Shape::Enumeration(names) => enumeration(names),
    };
    Ok(quote! {
        #erase

        #[automatically_derived]
        impl ::phield::__private::PhiValue for #ident {
            #items
        }
    })
}

/// The errors, and what keeps other code that names the type from failing for the absence of the traits.
pub(crate) fn fallback(input: &DeriveInput, error: &syn::Error) -> TokenStream {
    let (errors, ident) = (error.to_compile_error(), &input.ident);
    let stub = input.generics.params.is_empty().then(|| {
        quote! {
            impl ::phield::__private::Erase for #ident {
                fn erase(&mut self) {}
            }

            impl ::phield::__private::PhiValue for #ident {
                type Repr = ::std::string::String;

                fn to_repr(&self) -> ::std::borrow::Cow<'_, ::std::string::String> {
                    loop {}
                }

                fn from_repr(_: &::std::string::String) -> ::core::option::Option<Self> {
                    loop {}
                }
            }
        }
    });
    quote!(#errors #stub)
}

fn check<'a>(input: &'a DeriveInput, errors: &Errors) -> Option<Shape<'a>> {
    if !input.generics.params.is_empty() {
        errors.at(
            input.generics.span(),
            "PhiValue does not support generic types yet: write the two functions of `impl PhiValue` by hand",
        );
        return None;
    }
    let attrs = attr::parse(&input.attrs, errors);
    match &input.data {
        Data::Struct(data) => {
            let entries = Entries::read(&attrs, &["parse"], &[], "a newtype", errors);
            let parse = entries.text_of("parse").and_then(|text| function(text, errors));
            newtype_of(data, parse, errors)
        }
        Data::Enum(data) => {
            for attr in &attrs {
                errors.at(
                    attr.span,
                    "an enumeration has no attributes; its variants have `#[phi(name = \"…\")]`",
                );
            }
            names_of(input, data, errors).map(Shape::Enumeration)
        }
        Data::Union(_) => None,
    }
}

fn newtype_of<'a>(data: &'a DataStruct, parse: Option<(Path, Span)>, errors: &Errors) -> Option<Shape<'a>> {
    for attr in data
        .fields
        .iter()
        .flat_map(|field| attr::parse(&field.attrs, errors))
    {
        errors.at(
            attr.span,
            "a field of a newtype has no attributes; the struct has `#[phi(parse = \"…\")]`",
        );
    }
    let mut fields = data.fields.iter().zip(data.fields.members());
    match (fields.next(), fields.next()) {
        (Some((field, member)), None) => Some(Shape::Newtype {
            member,
            ty: &field.ty,
            parse,
        }),
        _ => None,
    }
}

fn function(text: &LitStr, errors: &Errors) -> Option<(Path, Span)> {
    let path = text.parse::<Path>();
    if path.is_err() {
        errors.at(
            text.span(),
            "not the path of a function: write `parse = \"Type::function\"`",
        );
    }
    path.ok().map(|path| (path, text.span()))
}

/// What every variant is sealed as. No two are alike.
fn names_of<'a>(
    input: &DeriveInput,
    data: &'a DataEnum,
    errors: &Errors,
) -> Option<Vec<(&'a Ident, String)>> {
    if data.variants.is_empty() {
        errors.at(
            input.ident.span(),
            "an enumeration without variants has no values to seal",
        );
        return None;
    }
    let mut names: Vec<(&Ident, String)> = Vec::new();
    for variant in &data.variants {
        if !matches!(variant.fields, Fields::Unit) {
            errors.at(variant.fields.span(), SHAPES);
            continue;
        }
        let (name, span) = name_of(variant, errors);
        if let Some((other, _)) = names.iter().find(|(_, taken)| *taken == name) {
            errors.at(
                span,
                format_args!("`{other}` is sealed as \"{name}\" already: give this one a name of its own"),
            );
        }
        names.push((&variant.ident, name));
    }
    Some(names)
}

/// The name as written in the attribute, or as the variant's, and where it stands.
fn name_of(variant: &Variant, errors: &Errors) -> (String, Span) {
    let attrs = attr::parse(&variant.attrs, errors);
    let entries = Entries::read(&attrs, &["name"], &[], "a variant", errors);
    let Some(text) = entries.text_of("name") else {
        return (variant.ident.unraw().to_string(), variant.ident.span());
    };
    if text.value().is_empty() {
        errors.at(text.span(), "an empty name: it is what the variant is sealed as");
    }
    (text.value(), text.span())
}

fn newtype(member: &Member, ty: &Type, parse: Option<&(Path, Span)>) -> TokenStream {
    let made = match parse {
        // Typed, so that the error about a function of another type is about that.
        Some((path, span)) => quote_spanned! {*span=>
            let parse: fn(#ty) -> ::core::option::Option<Self> = #path;
            parse(::core::clone::Clone::clone(repr))
        },
        None => quote!(::core::option::Option::Some(Self { #member: ::core::clone::Clone::clone(repr) })),
    };
    quote! {
        type Repr = #ty;

        fn to_repr(&self) -> ::std::borrow::Cow<'_, #ty> {
            ::std::borrow::Cow::Borrowed(&self.#member)
        }

        fn from_repr(repr: &#ty) -> ::core::option::Option<Self> {
            #made
        }
    }
}

fn enumeration(names: &[(&Ident, String)]) -> TokenStream {
    let lengths = || names.iter().map(|(_, name)| name.len());
    let (shortest, longest) = (lengths().min().unwrap_or(0), lengths().max().unwrap_or(0));
    let (variants, names): (Vec<_>, Vec<_>) = names.iter().cloned().unzip();
    quote! {
        type Repr = ::std::string::String;
        const LENGTHS: ::core::option::Option<[usize; 2]> =
            ::core::option::Option::Some([#shortest, #longest]);

        fn to_repr(&self) -> ::std::borrow::Cow<'_, ::std::string::String> {
            ::std::borrow::Cow::Owned(::std::string::String::from(match self {
                #(Self::#variants => #names,)*
            }))
        }

        fn from_repr(repr: &::std::string::String) -> ::core::option::Option<Self> {
            match ::std::string::String::as_str(repr) {
                #(#names => ::core::option::Option::Some(Self::#variants),)*
                _ => ::core::option::Option::None,
            }
        }
    }
}
