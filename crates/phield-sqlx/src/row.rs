//! What the derive says about the columns of a model.

use sqlx::{Database, Decode, Encode, Row, Type};

use crate::columns::Columns;
use crate::statement::Statement;

/// The struct of a model's columns. Implemented by the derive.
pub trait SealedRow {
    /// Name of the table in SQL; a dot stands between its schema and its name.
    const TABLE: &'static str;
    /// Names of the columns in SQL, in the order of the fields.
    const COLUMNS: &'static [&'static str];
    /// Names in SQL of the columns that say which row it is: tenant and row id. None in an `unbound` table.
    const KEY: &'static [&'static str] = &[];
    /// Name in SQL of the tenant column, where rows belong to tenants.
    const TENANT: Option<&'static str> = None;
    /// Names in SQL of the columns that the database fills itself: read, and not written.
    const GENERATED: &'static [&'static str] = &[];
}

/// The struct of a model's columns, in a database that knows all their types. Implemented by the derive.
pub trait BindRow<DB: Database>: SealedRow {
    /// Binds every column that is not [`GENERATED`](SealedRow::GENERATED), in the order of [`COLUMNS`](SealedRow::COLUMNS).
    #[doc(hidden)]
    fn bind_row(&self, values: &mut Values<'_, DB>);
}

/// A column type that a database can be given. For every type that sqlx encodes for the database.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be bound in `{DB}`",
    note = "is the feature of sqlx for this type on (`uuid`, `chrono`, `time`, …)?"
)]
#[doc(hidden)]
pub trait BindColumn<DB: Database> {
    /// Binds the column.
    fn bind_column(&self, statement: &mut Statement<DB>);
}

impl<DB: Database, T: for<'q> Encode<'q, DB> + Type<DB>> BindColumn<DB> for T {
    fn bind_column(&self, statement: &mut Statement<DB>) {
        statement.bind(self);
    }
}

/// A column type that a database can give. For every type that sqlx decodes from the database.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be read from `{DB}`",
    note = "is the feature of sqlx for this type on (`uuid`, `chrono`, `time`, …)?"
)]
#[doc(hidden)]
pub trait ReadColumn<'r, DB: Database>: Decode<'r, DB> + Type<DB> {}

impl<'r, DB: Database, T: Decode<'r, DB> + Type<DB>> ReadColumn<'r, DB> for T {}

/// The struct of an embedded struct's columns, in the rows of a model. Implemented by the derive.
#[doc(hidden)]
pub trait FromPart<'r, R: Row>: Sized {
    /// Reads the columns, which come next.
    #[allow(clippy::missing_errors_doc, reason = "called by generated code")]
    fn from_part(columns: &mut Columns<'r, R>) -> Result<Self, sqlx::Error>;
}

/// The struct of an embedded struct's columns, in a database that knows all their types. Implemented by the derive.
#[doc(hidden)]
pub trait BindPart<DB: Database> {
    /// Binds every column, in their order.
    fn bind_part(&self, values: &mut Values<'_, DB>);
}

/// The values of one row in a statement that is being written.
#[derive(Debug)]
pub struct Values<'s, DB: Database> {
    statement: &'s mut Statement<DB>,
    written: Written,
}

/// Which values are written, and what stands around them.
#[derive(Debug)]
enum Written {
    /// All, with commas between them.
    All { first: bool },
    /// For each value the text before and after it, or nothing if it is left out.
    Some(std::vec::IntoIter<Option<[String; 2]>>),
}

impl<'s, DB: Database> Values<'s, DB> {
    /// Every value, with commas between them.
    pub(crate) fn new(statement: &'s mut Statement<DB>) -> Self {
        Self {
            statement,
            written: Written::All { first: true },
        }
    }

    /// Some of the values, each between two texts.
    pub(crate) fn some(statement: &'s mut Statement<DB>, texts: Vec<Option<[String; 2]>>) -> Self {
        Self {
            statement,
            written: Written::Some(texts.into_iter()),
        }
    }

    /// Binds the next value.
    pub fn bind(&mut self, value: &impl BindColumn<DB>) {
        match &mut self.written {
            Written::All { first } => {
                if !std::mem::take(first) {
                    self.statement.push(", ");
                }
                value.bind_column(self.statement);
            }
            Written::Some(texts) => {
                if let Some([before, after]) = texts.next().flatten() {
                    value.bind_column(self.statement.push(before));
                    self.statement.push(after);
                }
            }
        }
    }
}
