//! What a part of a model is held to, when the program is compiled: its columns are columns of the model.
#![allow(clippy::panic, reason = "in constants alone: the program does not compile")]

use super::columns::same;
use crate::binding::RowBinding;
use crate::column::Column;
use crate::model::PhiField;
use crate::schema::{Binding, ColumnKind, ColumnSchema, Schema, StorageKind};

/// A sealed column of the model has this name in SQL, and the type that the part reads it as.
#[doc(hidden)]
pub const fn assert_sealed<F: PhiField, B: RowBinding + ?Sized>(
    schema: &Schema,
    handle: Column<F::Value, B>,
    sql_name: &str,
    as_text: bool,
) {
    let column = named(schema, sql_name);
    let same_field = match column {
        Some(ColumnSchema {
            kind: ColumnKind::Sealed { name, .. },
            ..
        }) => same(name, handle.name().as_str()),
        _ => false,
    };
    #[allow(
        clippy::mem_forget,
        reason = "what is computed when the program is compiled cannot be dropped"
    )]
    std::mem::forget(handle);
    assert!(
        same_field,
        "the field has another name in SQL in the model: write its `sql_name` as the model does"
    );
    let Some(ColumnSchema {
        kind: ColumnKind::Sealed {
            sql_null, storage, ..
        },
        ..
    }) = column
    else {
        return;
    };
    assert!(
        *sql_null == F::SQL_NULL,
        "the column is SQL NULL when the value is absent in one of model and part alone: write `Phi<T>` or `Option<Phi<T>>` \
         as the model does"
    );
    assert!(
        matches!(storage, StorageKind::Text) == as_text,
        "the model stores the column in another form: write `store` as the model does"
    );
}

/// A plain column of the model has this name in SQL.
#[doc(hidden)]
pub const fn assert_plain(schema: &Schema, sql_name: &str) {
    match named(schema, sql_name) {
        Some(ColumnSchema {
            kind: ColumnKind::Plain { .. },
            ..
        }) => {}
        Some(_) => panic!(
            "the column is sealed, or of index values, in the model: a sealed field is `Phi<T>` or `Option<Phi<T>>`"
        ),
        None => panic!("the model has no column of this name in SQL"),
    }
}

/// The rows of the part are bound by the same columns as the rows of the model.
#[doc(hidden)]
pub const fn assert_bound(schema: &Schema, part: &Schema) {
    let row_id = match (schema.binding, part.binding) {
        (Binding::RowId(columns), Binding::RowId(others)) => same_columns(columns, others),
        (Binding::Unbound, Binding::Unbound) => true,
        _ => false,
    };
    assert!(
        row_id
            && same_column(schema.tenant, part.tenant)
            && same_column(schema.subject, part.subject)
            && same_column(schema.extra, part.extra)
            && schema.subject_keys == part.subject_keys,
        "mark row id, tenant, subject and `extra` as the model does, and say `unbound` and `subject_keys` as it does: a \
         row is opened by all that it is bound to"
    );
}

const fn named<'s>(schema: &'s Schema, sql_name: &str) -> Option<&'s ColumnSchema> {
    let mut rest = schema.columns;
    while let [column, tail @ ..] = rest {
        if same(column.sql_name, sql_name) {
            return Some(column);
        }
        rest = tail;
    }
    None
}

const fn same_columns(a: &[&str], b: &[&str]) -> bool {
    let (mut a, mut b) = (a, b);
    while let ([first, rest @ ..], [second, others @ ..]) = (a, b) {
        if !same(first, second) {
            return false;
        }
        (a, b) = (rest, others);
    }
    a.is_empty() && b.is_empty()
}

const fn same_column(a: Option<&str>, b: Option<&str>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => same(a, b),
        (None, None) => true,
        _ => false,
    }
}
