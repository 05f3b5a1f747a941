//! No two things have one name: logical columns, logical indexes, SQL columns, generated items.

use std::collections::HashMap;

use proc_macro2::Span;
use syn::ext::IdentExt as _;

use super::{Field, Model, Role};
use crate::errors::Errors;
use crate::expand::{Form, names};

/// Names that are taken, and by what.
struct Taken<'e> {
    by: HashMap<String, String>,
    errors: &'e Errors,
    clash: bool,
}

impl Taken<'_> {
    /// Takes a name, or reports who has it.
    fn take(&mut self, name: &str, span: Span, what: String) {
        if let Some(other) = self.by.get(name) {
            self.errors.at(
                span,
                format_args!("{what} and {other} have the same name `{name}`"),
            );
            self.clash = true;
        } else {
            self.by.insert(name.to_owned(), what);
        }
    }
}

/// Checks the names of a model. Later kinds of names follow from earlier ones: the first clash is enough.
pub(super) fn check(model: &Model<'_>, errors: &Errors) {
    // A part has the constants of its model and no methods that are named after its fields, an embedded struct has neither.
    let kinds: &[fn(&Model<'_>, &mut Taken<'_>)] = match model.role {
        Role::Table => &[columns, indexes, fields, sql_columns, constants, methods],
        Role::Part(_) | Role::Embedded => &[columns, fields, sql_columns],
    };
    for kind in kinds {
        let mut taken = Taken {
            by: HashMap::new(),
            errors,
            clash: false,
        };
        kind(model, &mut taken);
        if taken.clash {
            return;
        }
    }
}

fn columns(model: &Model<'_>, taken: &mut Taken<'_>) {
    for field in model.sealed().filter(|field| !field.column.is_empty()) {
        taken.take(
            &field.column,
            field.ident.span(),
            format!("the logical column of `{}`", field.ident),
        );
    }
}

fn indexes(model: &Model<'_>, taken: &mut Taken<'_>) {
    for index in &model.indexes {
        taken.take(
            &index.name,
            index.span,
            format!("the index over {}", parts(index)),
        );
    }
}

/// The fields of the sealed struct.
fn fields(model: &Model<'_>, taken: &mut Taken<'_>) {
    for field in &model.fields {
        let ident = field.ident();
        taken.take(
            &ident.unraw().to_string(),
            ident.span(),
            format!("the column of `{ident}`"),
        );
    }
    for index in &model.indexes {
        taken.take(
            &index.field(),
            index.span,
            format!("the column of the index over {}", parts(index)),
        );
    }
}

/// SQL does not tell upper from lower case.
fn sql_columns(model: &Model<'_>, taken: &mut Taken<'_>) {
    for field in &model.fields {
        let (ident, sql_name) = match field {
            Field::Plain(plain) => (plain.ident, &plain.sql_name),
            Field::Sealed(sealed) => (sealed.ident, &sealed.sql_name),
            // Its columns are known to the compiler alone.
            Field::Flat(_) => continue,
        };
        taken.take(
            &sql_name.to_lowercase(),
            ident.span(),
            format!("the column of `{ident}`"),
        );
    }
    for index in &model.indexes {
        taken.take(
            &index.sql_name.to_lowercase(),
            index.span,
            format!("the column of the index over {}", parts(index)),
        );
    }
}

fn constants(model: &Model<'_>, taken: &mut Taken<'_>) {
    taken.take("SCHEMA", Span::call_site(), "the schema constant".to_owned());
    for field in model.sealed() {
        let name = names::column_constant(field).to_string();
        taken.take(
            &name,
            field.ident.span(),
            format!("the column constant of `{}`", field.ident),
        );
    }
    for index in &model.indexes {
        let name = names::index_constant(index).to_string();
        taken.take(
            &name,
            index.span,
            format!("the constant of the index over {}", parts(index)),
        );
    }
}

fn methods(model: &Model<'_>, taken: &mut Taken<'_>) {
    let fixed = |name: &str, taken: &mut Taken<'_>| {
        taken.take(name, Span::call_site(), format!("the method `{name}`"));
    };
    for form in Form::of(&model.indexes) {
        for name in ["seal", "seal_batch"] {
            fixed(&format!("{name}{}", form.suffix()), taken);
        }
    }
    if !model.binding.row_id.is_empty() {
        fixed("fetch", taken);
    }
    for index in &model.indexes {
        let queries = Form::of([index])
            .into_iter()
            .map(|form| names::query_method(index, form));
        for name in queries.chain([names::finder(index)]) {
            taken.take(
                &name.to_string(),
                index.span,
                format!("a method of the index over {}", parts(index)),
            );
        }
    }
    for group in names::groups(model) {
        let span = group
            .fields
            .first()
            .map_or_else(Span::call_site, |field| field.ident.span());
        for form in Form::of(group.indexes.iter().copied()) {
            let what = format!("the method that seals {}", group.listed());
            taken.take(&group.method(form).to_string(), span, what);
        }
    }
}

fn parts(index: &super::Index<'_>) -> String {
    let names: Vec<_> = index
        .parts
        .iter()
        .map(|part| format!("`{}`", part.field))
        .collect();
    names.join(" and ")
}
