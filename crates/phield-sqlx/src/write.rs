//! Writing rows.

use sqlx::{Connection, Executor};

use crate::backend::{Backend, Reuse, UpdateForm};
use crate::error::{DatabaseError, Error};
use crate::row::{BindRow, SealedRow, Values};
use crate::statement::{Statement, quoted, quoted_table};

/// Inserts one sealed row.
///
/// # Errors
/// When the database refuses it.
pub async fn insert<'c, R, E>(executor: E, row: &R) -> Result<(), Error>
where
    E: Executor<'c>,
    E::Database: Backend,
    R: BindRow<E::Database>,
{
    execute::<R, E>(executor, Form::Insert.of_one(row)).await?;
    Ok(())
}

/// Inserts sealed rows with as few statements as the database allows, all or none of them; how many there were.
///
/// In a transaction of the caller they are a part of it; otherwise they are one of their own. The rows are taken one
/// after the other as they are sent: no more than about 4 MiB of an iterator are in memory at a time.
///
/// # Errors
/// When the database refuses a row. Then none is inserted.
pub async fn insert_batch<C, R>(connection: &mut C, rows: impl IntoIterator<Item = R>) -> Result<u64, Error>
where
    C: Connection,
    C::Database: Backend,
    R: BindRow<C::Database>,
{
    write_batch(connection, rows, Form::Insert).await
}

/// Writes every column of one sealed row over the row with its key: row id, and tenant where the table has one. The
/// number of rows that there were: 1, or 0 when there is no such row.
///
/// A row is taken for it only if its key is the same byte for byte, whatever the collation of the database says: tokens
/// of `abc` do not open in `ABC`. A model of an `unbound` table has no key, and this does not compile for it.
///
/// # Errors
/// When the database refuses it.
///
/// ```compile_fail,E0080
/// # use std::pin::Pin;
/// # use phield_sqlx::{BindRow, Error, SealedRow, Values};
/// # use sqlx::{Sqlite, SqliteConnection};
/// struct SealedNote; // of an unbound table
///
/// impl SealedRow for SealedNote {
///     const TABLE: &'static str = "notes";
///     const COLUMNS: &'static [&'static str] = &["text"];
/// }
/// # impl BindRow<Sqlite> for SealedNote {
/// #     fn bind_row(&self, values: &mut Values<'_, Sqlite>) {
/// #         values.bind(&1_i64);
/// #     }
/// # }
///
/// fn write(connection: &mut SqliteConnection) -> Pin<Box<dyn Future<Output = Result<u64, Error>> + '_>> {
///     Box::pin(phield_sqlx::update(connection, &SealedNote))
/// }
/// # fn main() { let _: for<'c> fn(&'c mut SqliteConnection) -> Pin<Box<dyn Future<Output = Result<u64, Error>> + 'c>> = write; }
/// ```
pub async fn update<'c, R, E>(executor: E, row: &R) -> Result<u64, Error>
where
    E: Executor<'c>,
    E::Database: Backend,
    R: BindRow<E::Database>,
{
    let statement = match Form::update::<E::Database, R>() {
        Form::Update(UpdateForm::Join) => update_by_key(row, |_| {}),
        form => form.of_one(row),
    };
    execute::<R, E>(executor, statement).await
}

/// Writes every column of sealed rows over the rows with their keys, with as few statements as the database allows, all
/// or none of them; the number of rows that there were.
///
/// It is smaller than the number of rows given when rows are missing: roll back if it should not be. On MariaDB a batch
/// about as large as the table can lock all rows of it, not only its own.
/// Give no key twice:
/// which of the two is written, the database decides. Otherwise as [`update`] and [`insert_batch`].
///
/// # Errors
/// When the database refuses a row. Then none is written.
pub async fn update_batch<C, R>(connection: &mut C, rows: impl IntoIterator<Item = R>) -> Result<u64, Error>
where
    C: Connection,
    C::Database: Backend,
    R: BindRow<C::Database>,
{
    write_batch(connection, rows, Form::update::<C::Database, R>()).await
}

/// Runs a statement of one row.
pub(crate) async fn execute<'c, R, E>(executor: E, statement: Statement<E::Database>) -> Result<u64, Error>
where
    E: Executor<'c>,
    E::Database: Backend,
    R: SealedRow,
{
    let (sql, arguments) = statement.finish()?;
    let done = sqlx::query_with(sql, arguments).execute(executor).await;
    let done = done.map_err(DatabaseError::of::<R>)?;
    Ok(E::Database::rows_affected(&done))
}

async fn write_batch<C, R>(
    connection: &mut C,
    rows: impl IntoIterator<Item = R>,
    form: Form,
) -> Result<u64, Error>
where
    C: Connection,
    C::Database: Backend,
    R: BindRow<C::Database>,
{
    let mut transaction = connection.begin().await?;
    let mut rows = rows.into_iter();
    let mut written = 0;
    while let Some((statement, reuse)) = form.next_statement::<C::Database, R>(&mut rows) {
        match C::Database::execute(statement, reuse, &mut *transaction).await {
            Ok(rows) => written += rows,
            Err(error) => {
                // At once: a connection that waits in an open transaction keeps its locks. What the rollback says adds
                // nothing, where the connection is lost or the database has rolled back on its own.
                let _ = transaction.rollback().await;
                return Err(DatabaseError::of::<R>(error).into());
            }
        }
    }
    transaction.commit().await?;
    Ok(written)
}

/// A statement is sent once it binds this many bytes: well below the 16 MiB that MariaDB takes unless configured
/// otherwise (`max_allowed_packet`), with room for one large row.
const MAX_BYTES: usize = 4 << 20;

/// What the table of new values is called in an `UPDATE`.
const NEW: &str = "phield_new";

/// What surrounds the rows of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `INSERT INTO t (columns) VALUES (…), (…)`
    Insert,
    Update(UpdateForm),
}

impl Form {
    fn update<DB: Backend, R: SealedRow>() -> Self {
        const {
            assert!(
                !R::KEY.is_empty(),
                "a row of an `unbound` table has no key to update it by: write the UPDATE yourself"
            );
        }
        Self::Update(DB::UPDATE)
    }

    fn of_one<DB: Backend, R: BindRow<DB>>(self, row: &R) -> Statement<DB> {
        let mut statement = self.start::<DB, R>();
        bind(&mut statement, row);
        self.end::<DB, R>(&mut statement);
        statement
    }

    /// A statement of as many rows as fit, if there are any left.
    fn next_statement<DB: Backend, R: BindRow<DB>>(
        self,
        rows: &mut impl Iterator<Item = R>,
    ) -> Option<(Statement<DB>, Reuse)> {
        let first = rows.next()?;
        let mut statement = self.start::<DB, R>();
        bind(&mut statement, &first);
        drop(first);
        let binds_each = statement.binds();
        let mut reuse = Reuse::Likely;
        while statement.binds() + binds_each <= DB::MAX_BINDS {
            let row = (statement.size() < MAX_BYTES).then(|| rows.next()).flatten();
            let Some(row) = row else {
                reuse = Reuse::of_rows(statement.binds() / binds_each.max(1));
                break;
            };
            statement.push(self.between());
            bind(&mut statement, &row);
        }
        self.end::<DB, R>(&mut statement);
        Some((statement, reuse))
    }

    /// All that stands before the values of the first row.
    fn start<DB: Backend, R: SealedRow>(self) -> Statement<DB> {
        let mut statement = Statement::new("");
        match self {
            Self::Insert => {
                statement.push("INSERT INTO ").table(R::TABLE).push(" (");
                statement.list(written::<R>(), |statement, column| {
                    statement.name(column);
                });
                statement.push(") VALUES (");
            }
            Self::Update(UpdateForm::From) => {
                statement.push("WITH ").name(NEW).push(" (");
                statement.list(written::<R>(), |statement, column| {
                    statement.name(column);
                });
                statement.push(") AS (VALUES (");
            }
            // The first part of the union has no rows, and the types and collations of the columns.
            Self::Update(UpdateForm::Join) => {
                statement.push("UPDATE (SELECT ");
                statement.list(written::<R>(), |statement, column| {
                    statement.name(column);
                });
                statement
                    .push(" FROM ")
                    .table(R::TABLE)
                    .push(" WHERE FALSE UNION ALL SELECT ");
            }
        }
        statement
    }

    /// What stands between the values of two rows.
    fn between(self) -> &'static str {
        match self {
            Self::Insert | Self::Update(UpdateForm::From) => "), (",
            Self::Update(UpdateForm::Join) => " UNION ALL SELECT ",
        }
    }

    /// All that stands after the values of the last row.
    fn end<DB: Backend, R: SealedRow>(self, statement: &mut Statement<DB>) {
        match self {
            Self::Insert => {
                statement.push(")");
            }
            Self::Update(UpdateForm::From) => {
                statement.push(")) UPDATE ").table(R::TABLE).push(" SET ");
                set::<DB, R>(statement, |statement, column| {
                    statement.name(column);
                });
                statement.push(" FROM ").name(NEW).push(" WHERE ");
                same_key::<DB, R>(statement);
            }
            // In this order, so that rows are looked up by the key: reading a table through locks all of its rows.
            Self::Update(UpdateForm::Join) => {
                statement
                    .push(") AS ")
                    .name(NEW)
                    .push(" STRAIGHT_JOIN ")
                    .table(R::TABLE)
                    .push(" ON ");
                same_key::<DB, R>(statement);
                statement.push(" SET ");
                set::<DB, R>(statement, |statement, column| {
                    statement.column(R::TABLE, column);
                });
            }
        }
    }
}

/// `UPDATE t SET column = ? WHERE key = ?`, where a join of one row with a small table would lock all of it. `more` stands
/// after the columns.
pub(crate) fn update_by_key<DB: Backend, R: BindRow<DB>>(
    row: &R,
    more: impl FnOnce(&mut Statement<DB>),
) -> Statement<DB> {
    let mut statement = Statement::new("UPDATE ");
    statement.table(R::TABLE);
    let pass = |statement: &mut Statement<DB>,
                [first, between]: [&str; 2],
                of_key: bool,
                texts: &dyn Fn(String) -> [String; 2]| {
        let mut separator = first;
        let texts = written::<R>().map(|column| {
            (R::KEY.contains(&column) == of_key).then(|| {
                let [start, end] = texts(quoted::<DB>(column));
                [
                    format!("{}{start}", std::mem::replace(&mut separator, between)),
                    end,
                ]
            })
        });
        let texts = texts.collect();
        row.bind_row(&mut Values::some(statement, texts));
    };
    pass(&mut statement, [" SET ", ", "], false, &|column| {
        [format!("{column} = "), String::new()]
    });
    more(&mut statement);
    pass(&mut statement, [" WHERE ", " AND "], true, &|column| {
        [format!("{column} = "), String::new()]
    });
    pass(&mut statement, [" AND ", " AND "], true, &|column| {
        same_bytes::<DB>().map(|text| text.replace("{column}", &column))
    });
    statement
}

/// What stands before and after the value of [`Backend::SAME_BYTES`].
fn same_bytes<DB: Backend>() -> [&'static str; 2] {
    let (before, after) = DB::SAME_BYTES
        .split_once("{value}")
        .unwrap_or((DB::SAME_BYTES, ""));
    [before, after]
}

/// The columns that are written.
pub(crate) fn written<R: SealedRow>() -> impl Iterator<Item = &'static str> {
    let columns = R::COLUMNS.iter().copied();
    columns.filter(|column| !R::GENERATED.contains(column))
}

/// `column = new.column`, of every column but those of the key.
fn set<DB: Backend, R: SealedRow>(statement: &mut Statement<DB>, target: impl Fn(&mut Statement<DB>, &str)) {
    let columns = written::<R>().filter(|column| !R::KEY.contains(column));
    statement.list(columns, |statement, column| {
        target(statement, column);
        statement.push(" = ").column(NEW, column);
    });
}

/// `t.key = new.key`, by which the index is searched, and that the two are the same byte for byte.
fn same_key<DB: Backend, R: SealedRow>(statement: &mut Statement<DB>) {
    for (i, column) in R::KEY.iter().enumerate() {
        statement.push(if i > 0 { " AND " } else { "" });
        statement.column(R::TABLE, column).push(" = ").column(NEW, column);
        let old = format!("{}.{}", quoted_table::<DB>(R::TABLE), quoted::<DB>(column));
        let [before, after] = same_bytes::<DB>().map(|text| text.replace("{column}", &old));
        statement
            .push(" AND ")
            .push(before)
            .column(NEW, column)
            .push(after);
    }
}

pub(crate) fn bind<DB: Backend, R: BindRow<DB>>(statement: &mut Statement<DB>, row: &R) {
    row.bind_row(&mut Values::new(statement));
}
