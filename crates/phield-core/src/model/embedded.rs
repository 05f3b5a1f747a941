//! Structs whose columns stand among those of a model, once or several times under prefixes.
#![allow(clippy::panic, reason = "in constants alone: the program does not compile")]

use super::columns::{handle, same};
use crate::binding::RowBinding;
use crate::column::Column;
use crate::error::{OpenRowError, SealError, Unsealable};
use crate::field::Field;
use crate::row::{RowOpener, Token};
use crate::schema::{ColumnKind, ColumnSchema};
use crate::value::Value;

/// A struct that can be flattened into a model.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an embedded struct",
    label = "cannot be flattened",
    note = "derive `EncryptedPhi` on it, with `#[phi(embedded)]`"
)]
#[doc(hidden)]
pub trait Embedded: Sized {
    /// Its columns.
    type Sealed;
    /// How many tokens it has.
    const TOKENS: usize;
    /// Its columns, without a prefix.
    const COLUMNS: &'static [ColumnSchema];

    /// Its fields, about to be sealed in a row of the model.
    fn fields<'a, M: Place<AT>, const AT: usize>(
        &'a self,
        fields: &mut Vec<Field<'a>>,
    ) -> Result<(), Unsealable>;

    /// Its columns, from the tokens of its fields.
    fn sealed(&self, tokens: &mut dyn Iterator<Item = Token>) -> Result<Self::Sealed, SealError>;

    /// Opens its columns.
    fn open<M: Place<AT>, const AT: usize>(
        sealed: Self::Sealed,
        opener: &mut RowOpener<'_>,
    ) -> Result<Self, OpenRowError>;
}

/// A model, as the place of its flattened field number `AT`.
#[doc(hidden)]
pub trait Place<const AT: usize> {
    /// What binds its rows.
    type Row: RowBinding;
    /// Logical name of its table.
    const TABLE: &'static str;
    /// The columns of the embedded struct, with their prefix.
    const COLUMNS: &'static [ColumnSchema];
}

/// The handle of a column of an embedded struct, by its number among the columns.
#[doc(hidden)]
#[must_use]
pub const fn placed<M: Place<AT>, const AT: usize, T: Value>(number: usize) -> Column<T, M::Row> {
    let (_, columns) = M::COLUMNS.split_at(number);
    match columns {
        [column, ..] => handle(M::TABLE, column),
        [] => panic!("an embedded struct has no such column"),
    }
}

/// How many bytes [`prefixed_names`] has.
#[doc(hidden)]
#[must_use]
pub const fn prefixed_len(prefix: &str, columns: &[ColumnSchema]) -> usize {
    let (mut len, mut rest) = (0, columns);
    while let [column, tail @ ..] = rest {
        len += prefix.len() + column.sql_name.len();
        if let ColumnKind::Sealed { name, .. } = column.kind {
            len += prefix.len() + name.len();
        }
        rest = tail;
    }
    len
}

/// The names of columns with a prefix, one after the other: in SQL, and of sealed columns the logical ones.
#[doc(hidden)]
#[must_use]
pub const fn prefixed_names<const LEN: usize>(prefix: &str, columns: &[ColumnSchema]) -> [u8; LEN] {
    let (mut out, mut rest) = (Written::new(), columns);
    while let [column, tail @ ..] = rest {
        out = out.write(prefix).write(column.sql_name);
        if let ColumnKind::Sealed { name, .. } = column.kind {
            out = out.write(prefix).write(name);
        }
        rest = tail;
    }
    out.bytes
}

/// The columns with a prefix; `names` is [`prefixed_names`] of the same.
#[doc(hidden)]
#[must_use]
pub const fn prefixed<const N: usize>(
    prefix: &str,
    columns: &[ColumnSchema],
    names: &'static [u8],
) -> [ColumnSchema; N] {
    let mut out = concat_columns(&[columns]);
    let mut slots: &mut [ColumnSchema] = &mut out;
    let mut names = names;
    while let [column, tail @ ..] = slots {
        let (name, rest) = names.split_at(prefix.len() + column.sql_name.len());
        column.sql_name = text(name);
        names = rest;
        if let ColumnKind::Sealed { name, .. } = &mut column.kind {
            let (prefixed, rest) = names.split_at(prefix.len() + name.len());
            *name = text(prefixed);
            names = rest;
        }
        slots = tail;
    }
    out
}

/// Lists of columns, one after the other.
#[doc(hidden)]
#[must_use]
pub const fn concat_columns<const N: usize>(lists: &[&[ColumnSchema]]) -> [ColumnSchema; N] {
    let mut out = [ColumnSchema::plain("", ""); N];
    let mut slots: &mut [ColumnSchema] = &mut out;
    let mut rest = lists;
    while let [list, tail @ ..] = rest {
        let (these, free) = slots.split_at_mut(list.len());
        these.copy_from_slice(list);
        (slots, rest) = (free, tail);
    }
    out
}

/// The names of columns in SQL.
#[doc(hidden)]
#[must_use]
pub const fn names_of<const N: usize>(columns: &[ColumnSchema]) -> [&'static str; N] {
    let mut out = [""; N];
    let mut slots: &mut [&str] = &mut out;
    let mut rest = columns;
    while let [column, tail @ ..] = rest {
        if let [slot, free @ ..] = slots {
            *slot = column.sql_name;
            slots = free;
        } else {
            panic!("more columns than names");
        }
        rest = tail;
    }
    out
}

/// How many bytes [`join`] has.
#[doc(hidden)]
#[must_use]
pub const fn joined_len(lists: &[&[&str]]) -> usize {
    let (mut len, mut rest) = (0, lists);
    while let [list, tail @ ..] = rest {
        let mut names = *list;
        while let [name, tail @ ..] = names {
            len += name.len() + if len > 0 { 2 } else { 0 };
            names = tail;
        }
        rest = tail;
    }
    len
}

/// Names with commas between them.
#[doc(hidden)]
#[must_use]
pub const fn join<const LEN: usize>(lists: &[&[&str]]) -> [u8; LEN] {
    let (mut out, mut rest) = (Written::new(), lists);
    while let [list, tail @ ..] = rest {
        let mut names = *list;
        while let [name, tail @ ..] = names {
            if out.len > 0 {
                out = out.write(", ");
            }
            out = out.write(name);
            names = tail;
        }
        rest = tail;
    }
    out.bytes
}

/// Bytes that are text.
#[doc(hidden)]
#[must_use]
pub const fn text(bytes: &[u8]) -> &str {
    match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => panic!("names are text"),
    }
}

/// No two columns have one name, in SQL or logically.
#[doc(hidden)]
pub const fn assert_distinct(columns: &[ColumnSchema]) {
    let mut rest = columns;
    while let [column, others @ ..] = rest {
        let mut after = others;
        while let [other, tail @ ..] = after {
            assert!(
                !column.sql_name.eq_ignore_ascii_case(other.sql_name),
                "two columns have the same name in SQL: give one of the flattened fields a prefix, `flatten = \"…\"`"
            );
            if let (ColumnKind::Sealed { name: a, .. }, ColumnKind::Sealed { name: b, .. }) =
                (column.kind, other.kind)
            {
                assert!(
                    !same(a, b),
                    "two columns have the same logical name: give one of the flattened fields a prefix, `flatten = \"…\"`"
                );
            }
            after = tail;
        }
        rest = others;
    }
}

/// Text that is written into an array of its length.
struct Written<const LEN: usize> {
    bytes: [u8; LEN],
    len: usize,
}

impl<const LEN: usize> Written<LEN> {
    const fn new() -> Self {
        Self {
            bytes: [0; LEN],
            len: 0,
        }
    }

    const fn write(mut self, text: &str) -> Self {
        let (_, free) = self.bytes.split_at_mut(self.len);
        let (these, _) = free.split_at_mut(text.len());
        these.copy_from_slice(text.as_bytes());
        self.len += text.len();
        self
    }
}
