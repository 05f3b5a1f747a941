//! The rules of what binds a row: its row id, its tenant, the person that it belongs to, its `extra`.

use proc_macro2::{Ident, Span};
use syn::Type;

use super::entry::Entries;
use super::field::{Checked, Marks};
use crate::errors::Errors;

/// A plain column whose value is bound into the tokens of its row.
#[derive(Clone)]
pub(crate) struct Bound<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) ty: &'a Type,
    pub(crate) sql_name: String,
}

/// What binds a row to its place.
#[derive(Default)]
pub(crate) struct Binding<'a> {
    /// The row id: several columns make a composite one, none an unbound row.
    pub(crate) row_id: Vec<Bound<'a>>,
    pub(crate) tenant: Option<Bound<'a>>,
    /// The person that the row belongs to.
    pub(crate) subject: Option<Bound<'a>>,
    /// Whether rows are sealed under the key of that person.
    pub(crate) subject_keys: bool,
    /// A value of the application's own.
    pub(crate) extra: Option<Bound<'a>>,
}

impl<'a> Binding<'a> {
    /// Every column of it.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &Bound<'a>> {
        let one = [&self.tenant, &self.subject, &self.extra];
        self.row_id.iter().chain(one.into_iter().flatten())
    }

    /// The columns that say which row it is: none for an unbound row, which a tenant alone does not tell from others.
    pub(crate) fn key(&self) -> impl Iterator<Item = &Bound<'a>> {
        let tenant = self.tenant.iter().filter(|_| !self.row_id.is_empty());
        tenant.chain(&self.row_id)
    }
}

/// Most columns of a composite row id: the tuples that `AsRowId` is implemented for.
const MAX_PARTS: usize = 8;

/// A model has a row id, or says `unbound`; one tenant, subject and `extra` at most; keys of subjects need one.
pub(super) fn check<'a>(
    entries: &Entries<'_, '_>,
    fields: &[Checked<'a>],
    span: Span,
    errors: &Errors,
) -> Binding<'a> {
    let row_id = row_id(entries, fields, span, errors);
    let one = |mark: fn(&Marks) -> Option<Span>, second| one(fields, mark, second, errors);
    let binding = Binding {
        row_id,
        tenant: one(|marks| marks.tenant, "a second `tenant`: a row belongs to one"),
        subject: one(
            |marks| marks.subject,
            "a second `subject`: a row belongs to one person",
        ),
        subject_keys: entries.has("subject_keys"),
        extra: one(|marks| marks.extra, "a second `extra`: a row has one"),
    };
    if let (None, Some(keys)) = (&binding.subject, entries.one("subject_keys")) {
        errors.at(
            keys.span,
            "`subject_keys` without a subject: mark the field that says whose the row is by `#[phi(subject)]`",
        );
    }
    binding
}

fn row_id<'a>(
    entries: &Entries<'_, '_>,
    fields: &[Checked<'a>],
    span: Span,
    errors: &Errors,
) -> Vec<Bound<'a>> {
    let unbound = entries.one("unbound").inspect(|attr| entries.flag(attr));
    let marked: Vec<_> = fields
        .iter()
        .filter_map(|field| Some((field.marks.row_id?, field)))
        .collect();
    match (marked.get(MAX_PARTS), unbound) {
        (Some((ninth, _)), _) => errors.at(
            *ninth,
            format_args!("a composite row id has at most {MAX_PARTS} columns"),
        ),
        (None, Some(unbound)) if !marked.is_empty() => {
            errors.at(unbound.span, "`unbound` and a `row_id`: a row is bound to its id, or not");
        }
        (None, None) if marked.is_empty() => errors.at(
            span,
            "no field is `#[phi(row_id)]`: without a row id, tokens can be moved between rows by whoever writes to \
             the database; say `#[phi(unbound)]` if that is meant",
        ),
        (None, _) => {}
    }
    marked.into_iter().map(|(_, field)| field.bound()).collect()
}

/// The one field with a mark; the mark on another one is reported.
fn one<'a>(
    fields: &[Checked<'a>],
    mark: fn(&Marks) -> Option<Span>,
    second: &str,
    errors: &Errors,
) -> Option<Bound<'a>> {
    let mut marked = fields
        .iter()
        .filter_map(|field| mark(&field.marks).map(|span| (span, field)));
    let first = marked.next();
    for (span, _) in marked {
        errors.at(span, second);
    }
    first.map(|(_, field)| field.bound())
}

impl<'a> Checked<'a> {
    fn bound(&self) -> Bound<'a> {
        Bound {
            ident: self.ident,
            ty: self.ty,
            sql_name: self.sql_name.clone(),
        }
    }
}
