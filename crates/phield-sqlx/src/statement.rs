//! A statement while it is written: its text, and what is bound to it.

use std::fmt::{Display, Write as _};

use sqlx::error::BoxDynError;
use sqlx::{Arguments, AssertSqlSafe, Database, Encode, SqlSafeStr as _, SqlStr, Type};

use crate::backend::Backend;

/// Text and arguments. A value that cannot be encoded is an error when the statement is finished: sqlx's own builder
/// panics on it.
#[doc(hidden)]
pub struct Statement<DB: Database> {
    sql: String,
    arguments: DB::Arguments,
    /// About how many bytes are bound.
    size: usize,
    error: Option<BoxDynError>,
}

impl<DB: Database> std::fmt::Debug for Statement<DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Statement")
            .field("sql", &self.sql)
            .finish_non_exhaustive()
    }
}

impl<DB: Database> Statement<DB> {
    pub(crate) fn new(sql: &str) -> Self {
        Self {
            sql: sql.to_owned(),
            arguments: DB::Arguments::default(),
            size: 0,
            error: None,
        }
    }

    pub(crate) fn push(&mut self, sql: impl Display) -> &mut Self {
        // Writing to a `String` cannot fail.
        let _ = write!(self.sql, "{sql}");
        self
    }

    /// A placeholder, and the value behind it.
    pub(crate) fn bind<'t>(&mut self, value: impl Encode<'t, DB> + Type<DB>) -> &mut Self {
        self.size = self.size.saturating_add(value.size_hint());
        let added = self.arguments.add(value);
        let placed = self
            .arguments
            .format_placeholder(&mut self.sql)
            .map_err(BoxDynError::from);
        if let Err(error) = added.and(placed) {
            self.error.get_or_insert(error);
        }
        self
    }

    /// About how many bytes are bound.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// How many values are bound.
    pub(crate) fn binds(&self) -> usize {
        self.arguments.len()
    }

    pub(crate) fn finish(self) -> Result<(SqlStr, DB::Arguments), sqlx::Error> {
        let Self {
            sql,
            arguments,
            size: _,
            error,
        } = self;
        match error {
            Some(error) => Err(sqlx::Error::Encode(error)),
            // The text is of constants of the derive and of placeholders.
            None => Ok((AssertSqlSafe(sql).into_sql_str(), arguments)),
        }
    }
}

impl<DB: Backend> Statement<DB> {
    /// A name, quoted: reserved words are names like others.
    pub(crate) fn name(&mut self, name: &str) -> &mut Self {
        self.push(quoted::<DB>(name))
    }

    /// A table; a dot stands between its schema and its name.
    pub(crate) fn table(&mut self, table: &str) -> &mut Self {
        self.push(quoted_table::<DB>(table))
    }

    /// Names with commas between them, each written by `write`.
    pub(crate) fn list<'n>(
        &mut self,
        names: impl Iterator<Item = &'n str>,
        write: impl Fn(&mut Self, &str),
    ) -> &mut Self {
        for (i, name) in names.enumerate() {
            self.push(if i > 0 { ", " } else { "" });
            write(self, name);
        }
        self
    }

    /// `"table"."column"`: SQLite takes a quoted name for text when there is no such column, but never one with its table.
    pub(crate) fn column(&mut self, table: &str, column: &str) -> &mut Self {
        self.table(table).push(".").name(column)
    }
}

/// A name as the database quotes names.
pub(crate) fn quoted<DB: Backend>(name: &str) -> String {
    let quote = DB::QUOTE;
    // A name that the database has may be anything.
    let name = name.replace(quote, &format!("{quote}{quote}"));
    format!("{quote}{name}{quote}")
}

/// A table, its schema and its name each quoted.
pub(crate) fn quoted_table<DB: Backend>(table: &str) -> String {
    let parts = table.split('.').map(quoted::<DB>);
    parts.collect::<Vec<_>>().join(".")
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;
    use crate::Error;
    use sqlx::Sqlite;
    use sqlx::encode::IsNull;

    /// A type that cannot be encoded, with a reason that repeats its value.
    struct Unencodable;

    impl Type<Sqlite> for Unencodable {
        fn type_info() -> <Sqlite as Database>::TypeInfo {
            <i64 as Type<Sqlite>>::type_info()
        }
    }

    impl Encode<'_, Sqlite> for Unencodable {
        fn encode_by_ref(&self, _: &mut <Sqlite as Database>::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
            Err("value 999-12-3456 is too long".into())
        }
    }

    #[test]
    fn names_are_quoted_and_tables_qualified() {
        let mut statement = Statement::<Sqlite>::new("SELECT ");
        statement.column("clinic.order", "group").push(" = ").bind(5_i64);
        let (sql, arguments) = statement.finish().unwrap();
        assert_eq!(sql.as_str(), r#"SELECT "clinic"."order"."group" = ?"#);
        assert_eq!(quoted::<Sqlite>(r#"a" b"#), r#""a"" b""#);
        assert_eq!(arguments.len(), 1);
    }

    #[test]
    fn what_cannot_be_encoded_is_an_error_without_its_value() {
        let mut statement = Statement::<Sqlite>::new("SELECT ");
        statement
            .bind(5_i64)
            .push(", ")
            .bind(Unencodable)
            .push(", ")
            .bind(6_i64);
        let error = Error::from(statement.finish().err().unwrap());
        assert_eq!(error.to_string(), "a value cannot be encoded");
        assert!(!format!("{error:?}").contains("999"));
    }
}
