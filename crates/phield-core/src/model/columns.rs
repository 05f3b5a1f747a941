//! Columns and indexes of a schema as the derive writes them: one call each, and what is not the default behind it.
#![allow(clippy::panic, reason = "in constants alone: the program does not compile")]

use crate::binding::{InTenant, OfSubject, RowBinding, UnderSubjectKey, WithExtra};
use crate::blind_index::Index;
use crate::column::Column;
use crate::frame::Padding;
use crate::model::{Model, PhiField};
use crate::normalize::Normalizer;
use crate::schema::{Binding, ColumnKind, ColumnSchema, IndexSchema, Schema, StorageKind};
use crate::value::Value;

#[doc(hidden)]
impl ColumnSchema {
    /// A column of something that is not PHI.
    #[must_use]
    pub const fn plain(sql_name: &'static str, rust_type: &'static str) -> Self {
        Self::new(sql_name, ColumnKind::plain(rust_type, None))
    }

    /// A column of tokens: by its logical name, with the padding `block(16)`, in binary form.
    #[must_use]
    pub const fn sealed<F: PhiField>(name: &'static str) -> Self {
        let kind =
            ColumnKind::sealed::<F::Value>(name, F::SQL_NULL, Padding::Block16, StorageKind::Binary, None);
        Self::new(name, kind)
    }

    /// A column of the values of the index with this logical name.
    #[must_use]
    pub const fn index(sql_name: &'static str, name: &'static str, sql_null: bool) -> Self {
        Self::new(sql_name, ColumnKind::index(name, sql_null))
    }

    /// The same column under another name in SQL.
    #[must_use]
    pub const fn named(mut self, sql_name: &'static str) -> Self {
        self.sql_name = sql_name;
        self
    }

    /// The same column, not of PHI, with its type in SQL.
    #[must_use]
    pub const fn typed(mut self, written: &'static str) -> Self {
        if let ColumnKind::Plain { sql_type, .. } = &mut self.kind {
            *sql_type = Some(written);
        }
        self
    }

    /// The same column of tokens with another padding.
    #[must_use]
    pub const fn padded(mut self, to: Padding) -> Self {
        if let ColumnKind::Sealed { padding, .. } = &mut self.kind {
            *padding = to;
        }
        self
    }

    /// The same column of tokens in text form.
    #[must_use]
    pub const fn in_text(mut self) -> Self {
        if let ColumnKind::Sealed { storage, .. } = &mut self.kind {
            *storage = StorageKind::Text;
        }
        self
    }

    /// The same column for values of at most this many bytes.
    #[must_use]
    pub const fn at_most(mut self, bytes: u32) -> Self {
        if let ColumnKind::Sealed { max_len, .. } = &mut self.kind {
            *max_len = Some(bytes);
        }
        self
    }
}

#[doc(hidden)]
impl IndexSchema {
    /// An index of full length whose column is named as the index is.
    #[must_use]
    pub const fn over(
        name: &'static str,
        columns: &'static [&'static str],
        normalizers: &'static [Normalizer],
    ) -> Self {
        Self::new(name, name, columns, normalizers, 256)
    }

    /// The same index in a column of another name in SQL.
    #[must_use]
    pub const fn named(mut self, sql_name: &'static str) -> Self {
        self.sql_name = sql_name;
        self
    }

    /// The same index with so many bits of each value.
    #[must_use]
    pub const fn truncated(mut self, bits: u16) -> Self {
        self.bits = bits;
        self
    }
}

/// The schema of a model: the names of the table, and of the columns of the row id.
#[doc(hidden)]
#[must_use]
pub const fn schema<M: Model>(
    table: &'static str,
    sql_table: &'static str,
    row_id: &'static [&'static str],
) -> Schema {
    let binding = match row_id {
        [] => Binding::Unbound,
        columns => Binding::RowId(columns),
    };
    Schema::new(table, sql_table, binding, M::COLUMNS, M::INDEXES)
}

#[doc(hidden)]
impl Schema {
    /// The handle of the sealed column with this logical name.
    #[must_use]
    pub const fn column<T: Value, B: RowBinding + ?Sized>(&self, name: &str) -> Column<T, B> {
        let mut rest = self.columns;
        while let [column, tail @ ..] = rest {
            if let ColumnKind::Sealed { name: other, .. } = column.kind
                && same(other, name)
            {
                return handle(self.table, column);
            }
            rest = tail;
        }
        panic!("the schema has no such column")
    }

    /// The definition of the index with this logical name.
    #[must_use]
    pub const fn index(&self, name: &str) -> Index {
        let mut rest = self.indexes;
        while let [index, tail @ ..] = rest {
            if same(index.name, name) {
                return index.definition(self.table);
            }
            rest = tail;
        }
        panic!("the schema has no such index")
    }
}

/// The handle of a sealed column.
pub(super) const fn handle<T: Value, B: RowBinding + ?Sized>(
    table: &'static str,
    column: &ColumnSchema,
) -> Column<T, B> {
    let ColumnKind::Sealed {
        name,
        padding,
        max_len,
        ..
    } = column.kind
    else {
        panic!("not a sealed column")
    };
    let handle = Column::new(table, name, padding);
    match max_len {
        Some(bytes) => handle.with_max_len(bytes),
        None => handle,
    }
}

/// A row in a tenant.
#[doc(hidden)]
pub const fn tenant<T, B>(tenant: T, row: B) -> InTenant<T, B> {
    InTenant { tenant, row }
}

/// A row of a person.
#[doc(hidden)]
pub const fn subject<R, S>(row: R, subject: S) -> OfSubject<R, S> {
    OfSubject { row, subject }
}

/// A row under the key of a person.
#[doc(hidden)]
pub const fn subject_key<R, S>(row: R, subject: S) -> UnderSubjectKey<R, S> {
    UnderSubjectKey { row, subject }
}

/// A row with an `extra`.
#[doc(hidden)]
pub const fn extra<B, E>(row: B, extra: E) -> WithExtra<B, E> {
    WithExtra { row, extra }
}

/// Whether two names are the same.
pub(super) const fn same(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while let ([first, rest @ ..], [second, others @ ..]) = (a, b) {
        if *first != *second {
            return false;
        }
        (a, b) = (rest, others);
    }
    a.is_empty() && b.is_empty()
}
