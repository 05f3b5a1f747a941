//! What may be shown of the refusal of a database: its code, and names of the schema.
//!
//! An allow-list. PostgreSQL sends names as fields of their own. SQLite and MariaDB write them into messages, beside values:
//! of these, what stands in the place of a name in a message of one known form, and only if it has the form of a name.

use std::borrow::Cow;

use sqlx::error::DatabaseError;

/// Longest name that is shown: PostgreSQL has 63 bytes, MariaDB 64 characters; the columns of an index on SQLite are more.
const MAX_NAME: usize = 200;

/// The refusal of a database, without anything that could be a value.
#[derive(Debug, Default)]
pub(crate) struct Refusal<'e> {
    /// SQLSTATE; of SQLite the extended result code.
    pub(crate) code: Option<Cow<'e, str>>,
    /// The error number of MariaDB and MySQL.
    pub(crate) number: Option<u16>,
    pub(crate) table: Option<&'e str>,
    pub(crate) column: Option<&'e str>,
    /// The constraint or index, or on SQLite the columns of it.
    pub(crate) constraint: Option<&'e str>,
}

impl<'e> Refusal<'e> {
    pub(crate) fn of(error: &'e dyn DatabaseError) -> Self {
        let mut refusal = Self {
            code: error.code().filter(|code| is_code(code)),
            constraint: error.constraint(),
            table: error.table(),
            ..Self::default()
        };
        refusal.name_postgres(error);
        refusal.name_mysql(error);
        refusal.name_sqlite(error);
        for name in [&mut refusal.table, &mut refusal.column, &mut refusal.constraint] {
            *name = name.filter(|name| is_name(name));
        }
        refusal
    }

    #[cfg_attr(
        not(feature = "postgres"),
        allow(unused_variables, clippy::unused_self, reason = "without it")
    )]
    fn name_postgres(&mut self, error: &'e dyn DatabaseError) {
        #[cfg(feature = "postgres")]
        if let Some(error) = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
            self.column = error.column();
        }
    }

    #[cfg_attr(
        not(feature = "mysql"),
        allow(unused_variables, clippy::unused_self, reason = "without it")
    )]
    fn name_mysql(&mut self, error: &'e dyn DatabaseError) {
        #[cfg(feature = "mysql")]
        if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
            self.number = Some(error.number());
            let message = error.message();
            match error.number() {
                // Duplicate entry '…' for key '…'
                1062 | 1586 => self.constraint = last_quoted(message, " for key "),
                // Column '…' cannot be null; Field '…' doesn't have a default value
                1048 | 1364 => self.column = first_quoted(message),
                // Out of range value for column '…' at row …, Data truncated …, Data too long …, Incorrect … value: '…'
                // for column `…`.`…`.`…` at row …
                1264 | 1265 | 1366 | 1406 => self.column = last_quoted(message, " for column "),
                // … foreign key constraint fails (`…`.`…`, CONSTRAINT `…` FOREIGN KEY …
                1451 | 1452 => self.constraint = last_quoted(message, "CONSTRAINT "),
                // CONSTRAINT `…` failed for `…`.`…`; Check constraint '…' is violated.
                3819 | 4025 => self.constraint = first_quoted(message),
                _ => {}
            }
        }
    }

    #[cfg_attr(
        not(feature = "sqlite"),
        allow(unused_variables, clippy::unused_self, reason = "without it")
    )]
    fn name_sqlite(&mut self, error: &'e dyn DatabaseError) {
        #[cfg(feature = "sqlite")]
        if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
            // UNIQUE constraint failed: table.column, table.column; a trigger's own message has another code.
            let names = || Some(error.message().split_once(" constraint failed: ")?.1);
            use sqlx::error::ErrorKind;
            match error.kind() {
                ErrorKind::UniqueViolation | ErrorKind::CheckViolation => self.constraint = names(),
                ErrorKind::NotNullViolation => self.column = names(),
                _ => {}
            }
        }
    }

    /// Whether the database ended one of two transactions that waited for each other.
    pub(crate) fn is_deadlock(&self) -> bool {
        self.number == Some(1213) || self.code.as_deref() == Some("40P01")
    }

    /// Whether the same transaction can succeed when it is run again.
    pub(crate) fn is_retryable(&self) -> bool {
        match self.number {
            // Deadlock, lock wait timeout, and a row that changed since the snapshot (innodb_snapshot_isolation).
            Some(number) => matches!(number, 1213 | 1205 | 1020),
            // Deadlock, serialization failure, lock not available. SQLITE_BUSY and SQLITE_LOCKED, in the low byte.
            None => self.code.as_deref().is_some_and(|code| {
                matches!(code, "40P01" | "40001" | "55P03") || (code.len() < 5 && is_locked(code))
            }),
        }
    }
}

fn is_locked(code: &str) -> bool {
    code.parse().is_ok_and(|code: u32| matches!(code & 0xff, 5 | 6))
}

/// A name in quotation marks of MariaDB, or the last of `database`.`table`.`column`.
#[cfg(feature = "mysql")]
fn quoted(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '`'))?;
    let mut parts = text.split(quote);
    let mut name = parts.nth(1)?;
    while parts.next() == Some(".") {
        name = parts.next()?;
    }
    Some(name)
}

#[cfg(feature = "mysql")]
fn first_quoted(message: &str) -> Option<&str> {
    quoted(message.get(message.find(['\'', '`'])?..)?)
}

/// What comes after the last of these words: values come before it.
#[cfg(feature = "mysql")]
fn last_quoted<'m>(message: &'m str, words: &str) -> Option<&'m str> {
    quoted(message.rsplit_once(words)?.1)
}

/// Names of a schema, with dots and commas between them.
pub(crate) fn is_name(name: &str) -> bool {
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_$., ".contains(&byte);
    !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(of_name)
}

/// SQLSTATE, or a number.
fn is_code(code: &str) -> bool {
    code.len() <= 5 && code.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(all(test, feature = "mysql"))]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_behind_values_that_look_like_them() {
        let message = "Duplicate entry 'x' for key 'Lovelace' for key 'patients.ssn_index'";
        assert_eq!(last_quoted(message, " for key "), Some("patients.ssn_index"));
        let message =
            "Incorrect string value: '\\xE9 for column `a`' for column `emr`.`patients`.`name` at row 1";
        assert_eq!(last_quoted(message, " for column "), Some("name"));
        assert_eq!(first_quoted("Column 'ssn' cannot be null"), Some("ssn"));
        assert_eq!(
            first_quoted("CONSTRAINT `adult` failed for `emr`.`patients`"),
            Some("adult")
        );
        assert_eq!(first_quoted("no name here"), None);
    }

    #[test]
    fn what_is_no_name_is_not_shown() {
        assert!(is_name("patients.ssn, patients.clinic"));
        for no_name in ["", "a'b", "García", "x\ny", &"a".repeat(201)] {
            assert!(!is_name(no_name), "{no_name}");
        }
        assert!(is_code("23505") && is_code("2067") && !is_code("Ada Lovelace") && !is_code("2350-"));
    }
}
