//! Reading and finding rows: what the generated finders call.

use phield_core::{
    AsTenant, BlindIndex, Encoded, Index, IndexError, Keys as _, MissingKey as _, Model, ReadModel,
    TenantName,
};
use sqlx::{Database, Executor, FromRow};

use crate::backend::Backend;
use crate::error::{DatabaseError, Error};
use crate::row::{BindColumn, SealedRow};
use crate::statement::{Statement, quoted};

/// The columns of a model, in a database that knows all their types. For every sealed row that sqlx reads.
#[diagnostic::on_unimplemented(
    message = "a column of `{Self}` cannot be read from `{DB}`",
    note = "is the feature of sqlx for the types of its plain columns on (`uuid`, `chrono`, `time`, …)?"
)]
pub trait ReadRow<DB: Database>: SealedRow + Send + Unpin {
    /// The columns in a row of the database.
    #[doc(hidden)]
    #[allow(clippy::missing_errors_doc, reason = "called by generated code")]
    fn read(row: &DB::Row) -> Result<Self, sqlx::Error>
    where
        Self: Sized;
}

impl<DB: Database, R: SealedRow + Send + Unpin + for<'r> FromRow<'r, DB::Row>> ReadRow<DB> for R {
    fn read(row: &DB::Row) -> Result<Self, sqlx::Error> {
        Self::from_row(row)
    }
}

/// What rows are searched for: an index, its two values, and the parts that they are of.
type Search<'s, const N: usize> = (&'s Index, [BlindIndex; 2], [Option<Encoded<'s>>; N]);

/// The rows with one of the index values, opened; of these, the rows that have the parts.
#[allow(clippy::missing_errors_doc, reason = "called by generated code")]
pub async fn find<'c, M, E, const N: usize>(
    executor: E,
    keys: &M::Keys<'_>,
    search: Search<'_, N>,
) -> Result<Vec<M>, Error>
where
    E: Executor<'c, Database: Backend>,
    M: Model<Sealed: ReadRow<E::Database>>,
{
    let statement = candidates::<E::Database, M, N>(&search);
    found(executor, keys, statement, &search, None).await
}

/// As [`find`], of the rows of a tenant.
#[allow(clippy::missing_errors_doc, reason = "called by generated code")]
pub async fn find_in<'c, M, E, T, const N: usize>(
    executor: E,
    keys: &M::Keys<'_>,
    tenant: &T,
    search: Search<'_, N>,
) -> Result<Vec<M>, Error>
where
    E: Executor<'c, Database: Backend>,
    M: Model<Sealed: ReadRow<E::Database>>,
    T: AsTenant + BindColumn<E::Database>,
{
    let mut statement = candidates::<E::Database, M, N>(&search);
    if let Some(column) = M::Sealed::TENANT {
        statement
            .push(" AND ")
            .column(M::Sealed::TABLE, column)
            .push(" = ");
        tenant.bind_column(&mut statement);
    }
    let name = tenant.as_tenant().map_err(IndexError::from)?;
    found(executor, keys, statement, &search, Some(&name)).await
}

/// `SELECT columns FROM table WHERE index IN (…, …)`
fn candidates<DB: Backend, M: Model<Sealed: SealedRow>, const N: usize>(
    (index, [first, second], _): &Search<'_, N>,
) -> Statement<DB> {
    let mut statement = select::<DB, M::Sealed>();
    let mut indexes = M::INDEXES.iter();
    let column = indexes.find(|other| other.name == index.name().as_str());
    let column = column.map_or("", |index| index.sql_name);
    statement
        .push(" WHERE ")
        .column(M::Sealed::TABLE, column)
        .push(" IN (");
    DB::bind_index(&mut statement, *first);
    statement.push(", ");
    DB::bind_index(&mut statement, *second);
    statement.push(")");
    statement
}

/// The candidates that are what was searched for. An index value is a claim of whoever writes to the database: the
/// opened values decide.
async fn found<'c, M, E, const N: usize>(
    executor: E,
    keys: &M::Keys<'_>,
    statement: Statement<E::Database>,
    search: &Search<'_, N>,
    tenant: Option<&TenantName>,
) -> Result<Vec<M>, Error>
where
    E: Executor<'c, Database: Backend>,
    M: Model<Sealed: ReadRow<E::Database>>,
{
    let (sql, arguments) = statement.finish()?;
    let candidates = sqlx::query_with(sql, arguments)
        .fetch_all(executor)
        .await
        .map_err(DatabaseError::of::<M::Sealed>)?;
    let mut found = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let model = open::<M, E::Database>(candidate, keys).await?;
        if is_found(&model, search, tenant)? {
            found.push(model);
        }
    }
    Ok(found)
}

/// Whether a row has the parts that were searched for, in the same tenant.
fn is_found<M: Model, const N: usize>(
    model: &M,
    (searched, _, parts): &Search<'_, N>,
    tenant: Option<&TenantName>,
) -> Result<bool, Error> {
    let mut is_found = false;
    model.each_index(&mut |index, tenant_of_row, parts_of_row| {
        if index.name() == searched.name() && tenant_of_row == tenant {
            is_found = index.same_value(parts_of_row, parts)?;
        }
        Ok(())
    })?;
    Ok(is_found)
}

/// The row with this key, opened, if it is the `same` one: a collation that ignores case finds others.
#[allow(clippy::missing_errors_doc, reason = "called by generated code")]
pub async fn fetch<'c, M, E>(
    executor: E,
    keys: &M::Keys<'_>,
    key: impl FnOnce(Conditions<'_, E::Database>) -> Conditions<'_, E::Database>,
    same: impl Fn(&M) -> bool,
) -> Result<Option<M>, Error>
where
    E: Executor<'c, Database: Backend>,
    M: ReadModel<Sealed: ReadRow<E::Database>>,
{
    let mut statement = select::<E::Database, M::Sealed>();
    let _ = key(Conditions {
        statement: &mut statement,
        table: M::Sealed::TABLE,
        first: true,
    });
    let (sql, arguments) = statement.finish()?;
    let row = sqlx::query_with(sql, arguments)
        .fetch_optional(executor)
        .await
        .map_err(DatabaseError::of::<M::Sealed>)?;
    match row {
        Some(row) => Ok(Some(open::<M, E::Database>(row, keys).await?).filter(same)),
        None => Ok(None),
    }
}

/// Opens a row; once more after a refresh of the keyring, if a key is not there.
async fn open<M, DB>(row: DB::Row, keys: &M::Keys<'_>) -> Result<M, Error>
where
    DB: Database,
    M: ReadModel<Sealed: ReadRow<DB>>,
{
    let read = |row: &DB::Row| M::Sealed::read(row).map_err(DatabaseError::of::<M::Sealed>);
    let needs = match M::open_reported(read(&row)?, keys) {
        Ok(reported) => return Ok(reported.value),
        Err(error) => error.needs().ok_or(error)?,
    };
    keys.ring_keys().provide(needs).await;
    Ok(M::open_reported(read(&row)?, keys)?.value)
}

/// `SELECT columns FROM table`
fn select<DB: Backend, R: SealedRow>() -> Statement<DB> {
    let mut statement = Statement::new("SELECT ");
    for (i, column) in R::COLUMNS.iter().enumerate() {
        statement
            .push(if i > 0 { ", " } else { "" })
            .column(R::TABLE, column);
    }
    statement.push(" FROM ").table(R::TABLE);
    statement
}

/// The columns of a model for a `SELECT` or `INSERT` in this database, every name quoted as it quotes names.
///
/// `COLUMN_LIST` is the same for SQLite and PostgreSQL. MariaDB and MySQL take what stands in double quotes for text,
/// unless their `sql_mode` has `ANSI_QUOTES`: with columns whose names SQL reserves, ask here.
///
/// ```
/// # use phield_sqlx::{SealedRow, column_list};
/// struct SealedWard;
/// # impl SealedRow for SealedWard {
/// #     const TABLE: &'static str = "wards";
/// #     const COLUMNS: &'static [&'static str] = &["id", "where"];
/// # }
/// # #[cfg(feature = "mysql")]
/// assert_eq!(column_list::<sqlx::MySql, SealedWard>(), "`id`, `where`");
/// ```
#[must_use]
pub fn column_list<DB: Backend, R: SealedRow>() -> String {
    let quoted = R::COLUMNS.iter().map(|column| quoted::<DB>(column));
    quoted.collect::<Vec<_>>().join(", ")
}

/// ` WHERE column = … AND column = …`
#[derive(Debug)]
pub struct Conditions<'s, DB: Database> {
    statement: &'s mut Statement<DB>,
    table: &'static str,
    first: bool,
}

impl<DB: Backend> Conditions<'_, DB> {
    /// The column has this value.
    #[must_use]
    pub fn equal(mut self, column: &'static str, value: &impl BindColumn<DB>) -> Self {
        let first = std::mem::take(&mut self.first);
        let statement = self.statement.push(if first { " WHERE " } else { " AND " });
        value.bind_column(statement.column(self.table, column).push(" = "));
        self
    }
}
