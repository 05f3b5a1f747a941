//! What names do not tell, the compiler checks: plain columns hold no `Phi`, a row id and a subject are one, aliases and
//! types of the application's own keep the rules that are about their type, a part is a part of its model.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;

use super::{binding, columns, constants, names};
use crate::ast::{mentions, path_mentions};
use crate::valid::{
    Bound, Field, Index, Kind, LOW_ENTROPY, Model, Padding, Part, Plain, Role, Sealed, UNEVEN, UNPADDED,
};

/// Everything that can be checked where the struct stands.
pub(super) fn expand(model: &Model<'_>) -> TokenStream {
    let checks = all(model).into_iter().filter(|check| !check.late);
    let checks = checks.map(|Check { span, ty, code, .. }| quote_spanned!(span=> const _: #ty = #code;));
    checks.collect()
}

/// The checks of what mentions a parameter: a constant that sealing and opening evaluate.
pub(super) fn of_parameters(model: &Model<'_>) -> TokenStream {
    let checks: Vec<_> = all(model)
        .into_iter()
        .filter(|check| check.late)
        .map(|check| {
            let (span, code) = (check.span, check.code);
            quote_spanned!(span=> #code;)
        })
        .collect();
    if checks.is_empty() {
        return TokenStream::new();
    }
    quote!(const CHECKED: () = { #(#checks)* };)
}

/// One check, a constant expression.
struct Check {
    span: Span,
    /// It names a parameter.
    late: bool,
    /// What it is computed to.
    ty: TokenStream,
    code: TokenStream,
}

impl Check {
    /// One that is computed to nothing.
    fn new(span: Span, late: bool, code: TokenStream) -> Self {
        Self {
            span,
            late,
            ty: quote!(()),
            code,
        }
    }
}

fn all(model: &Model<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    checks.extend(model.fields.iter().filter_map(|field| match field {
        Field::Plain(plain) => no_phi(model, plain),
        Field::Sealed(_) | Field::Flat(_) => None,
    }));
    checks.extend(model.binding.columns().map(|bound| is_bound(model, bound)));
    checks.extend(model.sealed().filter_map(|field| computed(model, field)));
    checks.extend(
        model
            .indexes
            .iter()
            .filter_map(|index| computed_index(model, index)),
    );
    if model.flat().next().is_some() {
        checks.push(distinct(model));
    }
    if let Role::Part(_) = model.role {
        checks.extend(of_part(model));
    }
    checks
}

/// A bound on a parameter says it of a type that mentions one.
fn no_phi(model: &Model<'_>, plain: &Plain<'_>) -> Option<Check> {
    let ty = plain.ty;
    let code = quote_spanned! {ty.span()=>
        ::core::assert!(__p::Plain::<#ty>::PLAIN, "{}", __p::HIDDEN_PHI)
    };
    (!mentions(ty, model.generics)).then(|| Check::new(ty.span(), false, code))
}

fn is_bound(model: &Model<'_>, bound: &Bound<'_>) -> Check {
    let (ty, tenant) = (bound.ty, model.binding.tenant.as_ref());
    let function = if tenant.is_some_and(|tenant| tenant.ident == bound.ident) {
        quote!(assert_tenant)
    } else {
        quote!(assert_row_id)
    };
    let code = quote_spanned!(ty.span()=> __p::#function::<#ty>());
    Check::new(ty.span(), mentions(ty, model.generics), code)
}

/// Computes a constant that checks its column, where that is to be checked: the constants of an `impl` are computed where
/// they are used, so `cargo check` would not find what `cargo build` refuses. What mentions a parameter is known there alone.
fn computed(model: &Model<'_>, field: &Sealed<'_>) -> Option<Check> {
    let check = one_length(field).filter(|_| !mentions(field.ty, model.generics))?;
    let constant = names::column_constant(field);
    match model.role {
        Role::Table if model.generics.params.is_empty() => {
            let ty = binding::of_column(model, &value_of(field));
            Some(value_of_constant(model, &constant, ty))
        }
        Role::Table | Role::Embedded => Some(Check::new(constant.span(), false, check)),
        // The model says how a part is padded.
        Role::Part(_) => None,
    }
}

/// As [`computed`], of an index.
fn computed_index(model: &Model<'_>, index: &Index<'_>) -> Option<Check> {
    of_index(model, index).next()?;
    let generic = !model.generics.params.is_empty();
    (!generic).then(|| value_of_constant(model, &names::index_constant(index), quote!(__p::Index)))
}

fn value_of_constant(model: &Model<'_>, constant: &Ident, ty: TokenStream) -> Check {
    let ident = model.ident;
    Check {
        span: constant.span(),
        late: false,
        ty,
        code: quote!(#ident::#constant),
    }
}

/// What an index is checked for.
pub(super) fn of_index<'m>(
    model: &'m Model<'_>,
    index: &'m Index<'_>,
) -> impl Iterator<Item = TokenStream> + 'm {
    let normalizers = index.parts.iter().filter_map(|part| takes(model, part));
    few_values(model, index).into_iter().chain(normalizers)
}

/// an index over types of few values alone says so. Of the name `bool` the derive knows that it is one.
fn few_values(model: &Model<'_>, index: &Index<'_>) -> Option<TokenStream> {
    let may_be_few = |kind| matches!(kind, Kind::Bool | Kind::Unknown);
    let known = index.parts.iter().all(|part| part.kind == Kind::Bool);
    if index.options.leaks_equality || known || !index.parts.iter().all(|part| may_be_few(part.kind)) {
        return None;
    }
    let fields = index.parts.iter().filter_map(|part| field_of(model, part.field));
    let values = fields.map(value_of);
    let few = quote!(#(__p::has_few_values::<#values>())&&*);
    Some(quote_spanned!(index.span=> ::core::assert!(!(#few), #LOW_ENTROPY)))
}

/// A normalizer takes the values of its field.
fn takes(model: &Model<'_>, part: &Part<'_>) -> Option<TokenStream> {
    let field = field_of(model, part.field).filter(|_| part.kind == Kind::Unknown)?;
    let (value, normalizer) = (value_of(field), part.normalizer.variant());
    let message = format!(
        "the normalizer `{}` does not take values of this type",
        part.normalizer.as_str()
    );
    let accepts = quote!(__p::accepts::<#value>(__p::Normalizer::#normalizer));
    Some(quote_spanned!(part.span=> ::core::assert!(#accepts, #message)))
}

/// a type of few values is padded to one length. Of the name `bool` the derive knows that the default does it. In
/// the constant of the column, so that this is the one error.
pub(super) fn one_length(field: &Sealed<'_>) -> Option<TokenStream> {
    let message = match (field.kind, field.padding) {
        (Kind::Text | Kind::Opaque, _) | (Kind::Bool, Padding::Block16 | Padding::None) => return None,
        (_, Padding::None) => UNPADDED,
        (Kind::Bool | Kind::Unknown, _) => UNEVEN,
    };
    let (value, padding) = (value_of(field), constants::padding(field));
    let span = field.pad.unwrap_or_else(|| field.ty.span());
    Some(quote_spanned!(span=> ::core::assert!(__p::has_one_length::<#value>(#padding), #message)))
}

/// No column of a flattened field has the name of another one.
fn distinct(model: &Model<'_>) -> Check {
    let late = !model.generics.params.is_empty();
    let ident = model.ident;
    let this = if late { quote!(Self) } else { quote!(#ident) };
    let code = quote!(__p::assert_distinct(<#this as __p::Model>::COLUMNS));
    Check::new(ident.span(), late, code)
}

/// The columns of a part are columns of its model, and its rows are bound as the model's are.
fn of_part(model: &Model<'_>) -> Vec<Check> {
    let Role::Part(path) = model.role else {
        return Vec::new();
    };
    let late = !model.generics.params.is_empty() || path_mentions(path, model.generics);
    let ident = model.ident;
    let this = if late { quote!(Self) } else { quote!(#ident) };
    let (binding, bound, row) = (
        constants::binding(model),
        constants::bound_columns(model),
        binding::of_type(model),
    );
    let code = quote_spanned! {path.span()=>
        __p::assert_bound(&<#path>::SCHEMA, &__p::Schema::new("", "", #binding, &[], &[])#bound)
    };
    let mut checks = vec![Check::new(path.span(), late, code)];
    checks.extend(model.fields.iter().filter_map(|field| match field {
        Field::Plain(plain) => {
            let (span, sql_name) = (plain.ident.span(), &plain.sql_name);
            let code = quote_spanned!(span=> __p::assert_plain(&<#path>::SCHEMA, #sql_name));
            Some(Check::new(span, late, code))
        }
        Field::Sealed(sealed) => {
            let (span, ty, sql_name) = (sealed.ident.span(), sealed.ty, &sealed.sql_name);
            let (constant, text) = (names::column_constant(sealed), sealed.text);
            let code = quote_spanned! {span=>
                __p::assert_sealed::<#ty, #row>(&<#path>::SCHEMA, #this::#constant, #sql_name, #text)
            };
            Some(Check::new(span, late, code))
        }
        Field::Flat(_) => None,
    }));
    checks
}

fn field_of<'m, 'a>(model: &'m Model<'a>, field: &Ident) -> Option<&'m Sealed<'a>> {
    model.sealed().find(|sealed| sealed.ident == field)
}

fn value_of(field: &Sealed<'_>) -> TokenStream {
    columns::value_type(field, &quote!(__p))
}
