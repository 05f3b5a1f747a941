//! The rules of what binds a row: its row id, and the person that it belongs to.

use proc_macro2::{Ident, Span};
use syn::Type;

use super::entry::Entries;
use super::field::Checked;
use crate::errors::Errors;

/// What binds a row to its place.
#[derive(Clone, Copy)]
pub(crate) enum Binding<'a> {
    RowId { ident: &'a Ident, ty: &'a Type },
    Unbound,
}

/// The person that a row belongs to.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) ty: &'a Type,
    /// Whether rows are sealed under the key of that person.
    pub(crate) has_key: bool,
}

/// A model has one row id, or says `unbound`.
pub(super) fn check<'a>(
    entries: &Entries<'_, '_>,
    fields: &[Checked<'a>],
    span: Span,
    errors: &Errors,
) -> Binding<'a> {
    let unbound = entries.one("unbound").inspect(|attr| entries.flag(attr));
    let row_id = one(
        fields,
        |field| field.row_id,
        "a second `row_id`: a row has one",
        errors,
    );
    match (row_id, unbound) {
        (Some(field), None) => {
            return Binding::RowId {
                ident: field.ident,
                ty: field.ty,
            };
        }
        (Some(_), Some(unbound)) => {
            errors.at(unbound.span, "`unbound` and a `row_id`: a row is bound to its id, or not");
        }
        (None, None) => errors.at(
            span,
            "no field is `#[phi(row_id)]`: without a row id, tokens can be moved between rows by whoever writes to \
             the database; say `#[phi(unbound)]` if that is meant",
        ),
        (None, Some(_)) => {}
    }
    Binding::Unbound
}

/// A row belongs to one person, or to nobody; keys of subjects need one.
pub(super) fn check_subject<'a>(
    entries: &Entries<'_, '_>,
    fields: &[Checked<'a>],
    errors: &Errors,
) -> Option<Subject<'a>> {
    let keys = entries.one("subject_keys").inspect(|attr| entries.flag(attr));
    let second = "a second `subject`: a row belongs to one person";
    let subject = one(fields, |field| field.subject, second, errors);
    if let (None, Some(keys)) = (subject, keys) {
        errors.at(
            keys.span,
            "`subject_keys` without a subject: mark the field that says whose the row is by `#[phi(subject)]`",
        );
    }
    subject.map(|field| Subject {
        ident: field.ident,
        ty: field.ty,
        has_key: keys.is_some(),
    })
}

/// The one field with a mark; the mark on another one is reported.
fn one<'f, 'a>(
    fields: &'f [Checked<'a>],
    mark: impl Fn(&Checked<'a>) -> Option<Span>,
    second: &str,
    errors: &Errors,
) -> Option<&'f Checked<'a>> {
    let mut marked = fields
        .iter()
        .filter_map(|field| mark(field).map(|span| (span, field)));
    let first = marked.next();
    for (span, _) in marked {
        errors.at(span, second);
    }
    first.map(|(_, field)| field)
}
