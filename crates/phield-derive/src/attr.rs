//! The syntax of `#[phi(…)]`: a list of `name`, `name = "text"`, `name = 5`, `name = Path` and
//! `name(…)`. What the names mean is for
//! `valid`.

use proc_macro2::{Ident, Span};
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::{Attribute, LitBool, LitInt, LitStr, Meta, Path, Token, parenthesized, token};

use crate::errors::Errors;

/// One entry of the list.
pub(crate) struct Attr {
    pub(crate) name: Ident,
    pub(crate) value: AttrValue,
    /// The whole entry.
    pub(crate) span: Span,
}

/// What stands behind the name of an entry.
pub(crate) enum AttrValue {
    /// Nothing.
    Flag,
    /// `= "text"`
    Text(LitStr),
    /// `= 5`
    Number(LitInt),
    /// `= path::to::Type`
    Path(Path),
    /// `(…)`
    List(Vec<Attr>),
}

impl Parse for Attr {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name = input.call(Ident::parse_any)?;
        let start = name.span();
        if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            let (value, end) = value(input)?;
            let span = start.join(end).unwrap_or(start);
            return Ok(Self { name, value, span });
        }
        if input.peek(token::Paren) {
            let content;
            let parens = parenthesized!(content in input);
            let list = Punctuated::<Self, Token![,]>::parse_terminated(&content)?;
            let span = start.join(parens.span.close()).unwrap_or(start);
            return Ok(Self {
                name,
                value: AttrValue::List(list.into_iter().collect()),
                span,
            });
        }
        Ok(Self {
            name,
            value: AttrValue::Flag,
            span: start,
        })
    }
}

/// What stands behind `=`, and where it ends.
fn value(input: ParseStream<'_>) -> syn::Result<(AttrValue, Span)> {
    if input.peek(LitInt) {
        let number: LitInt = input.parse()?;
        let end = number.span();
        return Ok((AttrValue::Number(number), end));
    }
    if input.peek(Ident::peek_any) && !input.peek(LitBool) {
        let path: Path = input.parse()?;
        let end = path.span();
        return Ok((AttrValue::Path(path), end));
    }
    let text: LitStr = input.parse()?;
    let end = text.span();
    Ok((AttrValue::Text(text), end))
}

/// The entries of every `#[phi(…)]` among `attributes`.
pub(crate) fn parse(attributes: &[Attribute], errors: &Errors) -> Vec<Attr> {
    let mut all = Vec::new();
    for attribute in attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("phi"))
    {
        let list = match &attribute.meta {
            Meta::List(list) => list.parse_args_with(Punctuated::<Attr, Token![,]>::parse_terminated),
            other => Err(syn::Error::new(other.span(), "write `#[phi(…)]`")),
        };
        match list {
            Ok(list) => all.extend(list),
            Err(error) => errors.push(error),
        }
    }
    all
}
