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
use syn::spanned::Spanned as _;
use syn::{Attribute, Generics, LitStr, Path, Visibility};

use crate::ast::Input;
use crate::attr::{Attr, AttrValue};
use crate::errors::Errors;
pub(crate) use algorithm::Algorithm;
pub(crate) use binding::{Binding, Bound};
pub(crate) use entry::Entries;
use entry::{logical_name, sql_identifier};
pub(crate) use field::{Flat, Kind, Padding, Plain, Sealed, UNEVEN, UNPADDED};
pub(crate) use index::{Index, LOW_ENTROPY, Part};

/// A struct that keeps every rule.
pub(crate) struct Model<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) vis: &'a Visibility,
    pub(crate) generics: &'a Generics,
    pub(crate) docs: Vec<&'a Attribute>,
    pub(crate) role: Role<'a>,
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

/// What a struct is.
#[derive(Clone, Copy)]
pub(crate) enum Role<'a> {
    /// The model of a table.
    Table,
    /// Some columns of the model at this path, for reading.
    Part(&'a Path),
    /// Columns that are flattened into models.
    Embedded,
}

impl Role<'_> {
    /// The struct, in a sentence.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Table => "a model",
            Self::Part(_) => "a part of a model",
            Self::Embedded => "an embedded struct",
        }
    }
}

/// A field that keeps every rule.
pub(crate) enum Field<'a> {
    Plain(Plain<'a>),
    Sealed(Sealed<'a>),
    /// A struct whose columns stand among those of the model.
    Flat(Flat<'a>),
}

impl<'a> Field<'a> {
    pub(crate) fn ident(&self) -> &'a Ident {
        match self {
            Self::Plain(plain) => plain.ident,
            Self::Sealed(sealed) => sealed.ident,
            Self::Flat(flat) => flat.ident,
        }
    }
}

impl<'a> Model<'a> {
    /// The sealed fields.
    pub(crate) fn sealed(&self) -> impl Iterator<Item = &Sealed<'a>> {
        self.fields.iter().filter_map(|field| match field {
            Field::Sealed(sealed) => Some(sealed),
            Field::Plain(_) | Field::Flat(_) => None,
        })
    }

    /// The flattened fields.
    pub(crate) fn flat(&self) -> impl Iterator<Item = &Flat<'a>> {
        self.fields.iter().filter_map(|field| match field {
            Field::Flat(flat) => Some(flat),
            Field::Plain(_) | Field::Sealed(_) => None,
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
    let entries = Entries::read(&input.attrs, KNOWN, &["index"], "a struct", errors);
    let role = role(&input.attrs, &entries, input, errors);
    let (table, sql_table) = match role {
        Role::Table if entries.one("part_of").is_none() => tables(&entries, input.ident.span(), errors),
        Role::Table | Role::Part(_) | Role::Embedded => (String::new(), String::new()),
    };
    let checked: Vec<_> = input
        .fields
        .iter()
        .map(|field| field::check(field, role, input.generics, errors))
        .collect();
    let binding = match role {
        Role::Table | Role::Part(_) => binding::check(&entries, &checked, input.ident.span(), errors),
        Role::Embedded => Binding::default(),
    };
    let (mut fields, mut indexes) = (Vec::new(), Vec::new());
    for checked in checked {
        fields.extend(checked.field);
        indexes.extend(checked.index);
    }
    if !input.fields.iter().any(field::is_sealed)
        && !fields.iter().any(|field| matches!(field, Field::Flat(_)))
    {
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
        generics: input.generics,
        docs: input.docs.clone(),
        role,
        sql_table,
        table,
        binding,
        serde: entries.has("serde"),
        fields,
        indexes,
    };
    names::check(&model, errors);
    model
}

/// The attributes of a struct.
const KNOWN: &[&str] = &[
    "table",
    "sql_name",
    "part_of",
    "embedded",
    "unbound",
    "subject_keys",
    "serde",
    "index",
];

/// What the struct is; attributes that are not for it are reported.
fn role<'a>(attrs: &'a [Attr], entries: &Entries<'a, '_>, input: &Input<'_>, errors: &Errors) -> Role<'a> {
    let (role, refused): (_, &[&str]) = match (entries.one("part_of"), entries.has("embedded")) {
        (Some(attr), _) => {
            let AttrValue::Path(path) = &attr.value else {
                errors.at(
                    attr.span,
                    "write `part_of = Model`: the struct whose columns these are",
                );
                return Role::Table;
            };
            (Role::Part(path), &["table", "sql_name", "embedded", "index"])
        }
        (None, true) => (
            Role::Embedded,
            &["table", "sql_name", "unbound", "subject_keys", "index"],
        ),
        (None, false) => (Role::Table, &[]),
    };
    for attr in attrs
        .iter()
        .filter(|attr| refused.iter().any(|name| attr.name == name))
    {
        let instead = match role {
            Role::Part(_) => "it has those of its model",
            Role::Table | Role::Embedded => "the model that it is flattened into says that",
        };
        errors.at(
            attr.span,
            format_args!("`{}` is not for {}: {instead}", attr.name, role.name()),
        );
    }
    if let (Role::Embedded, Some(parameter)) = (role, input.generics.params.first()) {
        errors.at(
            parameter.span(),
            "an embedded struct has no parameters: the names of its columns are computed where it is flattened",
        );
    }
    role
}

/// The names of the table: the logical one, and the one in SQL.
fn tables(entries: &Entries<'_, '_>, span: Span, errors: &Errors) -> (String, String) {
    let table = table(entries, span, errors);
    let sql_name = entries.text_of("sql_name");
    let sql_table = sql_name.map(|text: &LitStr| sql_identifier(text, errors));
    (table.clone(), sql_table.unwrap_or(table))
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
