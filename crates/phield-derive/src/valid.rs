//! Every rule of the derive. [`check`] makes a [`Model`], about which the code after it need not doubt anything.
//!
//! `entry` reads the entries of an attribute, `field` judges one field, `index` and `algorithm` the indexes, `binding`
//! what rows are bound to, `names` that no two things have one name.

mod algorithm;
mod binding;
mod entry;
mod field;
mod index;
mod names;

use proc_macro2::{Ident, Span};
use syn::{Attribute, Visibility};

use crate::ast::Input;
use crate::errors::Errors;
pub(crate) use algorithm::Algorithm;
pub(crate) use binding::{Binding, Bound};
pub(crate) use entry::Entries;
use entry::{logical_name, sql_identifier};
pub(crate) use field::{Kind, Padding, Plain, Sealed, UNEVEN, UNPADDED};
pub(crate) use index::{Index, LOW_ENTROPY};

/// A struct that keeps every rule.
pub(crate) struct Model<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) vis: &'a Visibility,
    pub(crate) docs: Vec<&'a Attribute>,
    /// Logical name of the table.
    pub(crate) table: String,
    /// Name of the table in SQL.
    pub(crate) sql_table: String,
    pub(crate) binding: Binding<'a>,
    /// The struct of the columns is a serde type.
    pub(crate) serde: bool,
    /// The fields in the order of the struct.
    pub(crate) fields: Vec<Field<'a>>,
    /// The indexes in the order of their columns: after its field, compound ones at the end.
    pub(crate) indexes: Vec<Index<'a>>,
}

/// A field that keeps every rule.
pub(crate) enum Field<'a> {
    Plain(Plain<'a>),
    Sealed(Sealed<'a>),
}

impl<'a> Field<'a> {
    pub(crate) fn ident(&self) -> &'a Ident {
        match self {
            Self::Plain(plain) => plain.ident,
            Self::Sealed(sealed) => sealed.ident,
        }
    }
}

impl<'a> Model<'a> {
    /// The sealed fields.
    pub(crate) fn sealed(&self) -> impl Iterator<Item = &Sealed<'a>> {
        self.fields.iter().filter_map(|field| match field {
            Field::Sealed(sealed) => Some(sealed),
            Field::Plain(_) => None,
        })
    }

    /// The index over this field alone.
    pub(crate) fn index_of(&self, field: &Ident) -> Option<&Index<'a>> {
        self.indexes
            .iter()
            .find(|index| !index.is_compound() && index.takes(field))
    }

    /// The indexes over several fields.
    pub(crate) fn compound(&self) -> impl Iterator<Item = &Index<'a>> {
        self.indexes.iter().filter(|index| index.is_compound())
    }
}

/// Checks every rule; reports everything that is wrong.
pub(crate) fn check<'a>(input: &'a Input<'a>, errors: &Errors) -> Model<'a> {
    let entries = Entries::read(
        &input.attrs,
        &["table", "sql_name", "unbound", "subject_keys", "serde", "index"],
        &["index"],
        "a struct",
        errors,
    );
    let table = table(&entries, input.ident.span(), errors);
    let sql_table = entries
        .text_of("sql_name")
        .map(|text| sql_identifier(text, errors));
    let checked: Vec<_> = input
        .fields
        .iter()
        .map(|field| field::check(field, errors))
        .collect();
    let binding = binding::check(&entries, &checked, input.ident.span(), errors);
    let (mut fields, mut indexes) = (Vec::new(), Vec::new());
    for checked in checked {
        fields.extend(checked.field);
        indexes.extend(checked.index);
    }
    if !input.fields.iter().any(field::is_sealed) {
        errors.at(
            input.ident.span(),
            "no field is `Phi<T>` or `Option<Phi<T>>`: there is nothing to seal",
        );
    }
    let compound = entries
        .all("index")
        .filter_map(|entry| index::compound(entry, input, &fields, errors));
    indexes.extend(compound.collect::<Vec<_>>());
    let model = Model {
        ident: input.ident,
        vis: input.vis,
        docs: input.docs.clone(),
        sql_table: sql_table.unwrap_or_else(|| table.clone()),
        table,
        binding,
        serde: entries.has("serde"),
        fields,
        indexes,
    };
    names::check(&model, errors);
    model
}

/// A model has a table name.
fn table(entries: &Entries<'_, '_>, span: Span, errors: &Errors) -> String {
    let Some(attr) = entries.one("table") else {
        errors.at(
            span,
            "the table is missing: add `#[phi(table = \"…\")]`; its name is part of what tokens are bound to",
        );
        return String::new();
    };
    entries
        .text(attr)
        .and_then(|text| logical_name(text, "a table", errors))
        .unwrap_or_default()
}
