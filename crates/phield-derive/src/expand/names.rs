//! The names of generated items, and which fields are sealed together.

use proc_macro2::{Ident, Span};
use quote::format_ident;
use syn::ext::IdentExt as _;

use super::form::Form;
use crate::valid::{Index, Model, Sealed};

/// A generated name: found at `at` in diagnostics, but not the user's own code for lints.
fn generated(name: &str, at: Span) -> Ident {
    let span = Span::call_site().located_at(at);
    // A raw identifier for what is a keyword in lower case; upper case names are none.
    if syn::parse_str::<Ident>(name).is_ok() {
        Ident::new(name, span)
    } else {
        Ident::new_raw(name, span)
    }
}

/// The struct of the columns.
pub(crate) fn sealed_struct(model: &Ident) -> Ident {
    generated(&format!("Sealed{}", model.unraw()), model.span())
}

/// The handle of a column.
pub(crate) fn column_constant(field: &Sealed<'_>) -> Ident {
    generated(
        &field.ident.unraw().to_string().to_uppercase(),
        field.ident.span(),
    )
}

/// The definition of an index.
pub(crate) fn index_constant(index: &Index<'_>) -> Ident {
    generated(&index.field().to_uppercase(), index.span)
}

/// The column of an index.
pub(crate) fn index_field(index: &Index<'_>) -> Ident {
    generated(&index.field(), index.span)
}

/// The method that computes the values to search an index for.
pub(crate) fn query_method(index: &Index<'_>, form: Form) -> Ident {
    generated(&format!("{}{}", index.field(), form.suffix()), index.span)
}

/// The method that finds rows by an index.
pub(crate) fn finder(index: &Index<'_>) -> Ident {
    generated(&format!("find_by_{}", index.base), index.span)
}

/// Fields that are sealed together, because a compound index is over them, and all their indexes.
pub(crate) struct Group<'m, 'a> {
    pub(crate) fields: Vec<&'m Sealed<'a>>,
    pub(crate) indexes: Vec<&'m Index<'a>>,
    base: String,
}

impl Group<'_, '_> {
    /// The method that seals the group on its own.
    pub(crate) fn method(&self, form: Form) -> Ident {
        generated(&format!("seal_{}{}", self.base, form.suffix()), Span::call_site())
    }

    /// The struct of its columns, if it has several fields.
    pub(crate) fn sealed_struct(&self, model: &Ident) -> Option<Ident> {
        let camel = |word: &str| {
            let mut chars = word.chars();
            chars
                .next()
                .map(|first| first.to_uppercase().chain(chars).collect::<String>())
                .unwrap_or_default()
        };
        let base: String = self.base.split('_').map(camel).collect();
        (self.fields.len() > 1)
            .then(|| format_ident!("Sealed{}{base}", model.unraw(), span = Span::call_site()))
    }

    /// Its fields, for messages and docs.
    pub(crate) fn listed(&self) -> String {
        let names: Vec<_> = self
            .fields
            .iter()
            .map(|field| format!("`{}`", field.ident))
            .collect();
        names.join(" and ")
    }
}

/// Every sealed field, in the one group that it belongs to.
pub(crate) fn groups<'m, 'a>(model: &'m Model<'a>) -> Vec<Group<'m, 'a>> {
    let mut groups: Vec<Group<'m, 'a>> = Vec::new();
    for field in model.sealed() {
        if groups
            .iter()
            .any(|group| group.fields.iter().any(|other| other.ident == field.ident))
        {
            continue;
        }
        groups.push(group_of(field, model));
    }
    groups
}

/// The fields that `first` is connected with by compound indexes.
fn group_of<'m, 'a>(first: &'m Sealed<'a>, model: &'m Model<'a>) -> Group<'m, 'a> {
    let mut members = vec![first.ident];
    loop {
        let touched = |index: &&Index<'a>| members.iter().any(|member| index.takes(member));
        let parts = model
            .compound()
            .filter(touched)
            .flat_map(|index| index.parts.iter().map(|part| part.field));
        let new: Vec<_> = parts.filter(|field| !members.contains(field)).collect();
        if new.is_empty() {
            break;
        }
        members.extend(new);
    }
    let fields: Vec<_> = model
        .sealed()
        .filter(|field| members.contains(&field.ident))
        .collect();
    let touched = |index: &&Index<'a>| members.iter().any(|member| index.takes(member));
    let indexes: Vec<_> = model.indexes.iter().filter(touched).collect();
    let compound: Vec<_> = indexes
        .iter()
        .filter(|index| index.is_compound())
        .map(|index| index.base.as_str())
        .collect();
    let base = if compound.is_empty() {
        first.ident.unraw().to_string()
    } else {
        compound.join("_and_")
    };
    Group {
        fields,
        indexes,
        base,
    }
}
