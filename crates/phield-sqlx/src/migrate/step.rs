//! Where the migration of a column is: the table `phield_migration`.
//!
//! | step | what readers in the mixed time take | what writers write |
//! |---|---|---|
//! | none, or one that is not known | the token alone | the token alone |
//! | `add`, `backfill` | the token; the plaintext where there is none | both |
//! | `cutover` | the token alone | the token, and NULL over the plaintext |
//! | `drop` | the token alone | the token alone: the column of the plaintext is gone |

use sqlx::Pool;

use super::database::MigrationDatabase;
use crate::backend::Reuse;
use crate::error::DatabaseError;
use crate::rotate::Cell;
use crate::rotate::state::{sql, text};

/// The last step of a migration that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::exhaustive_enums, reason = "the steps of the command line")]
pub enum Step {
    /// The column of tokens, and those of its indexes, are there.
    Add,
    /// Every row that had plaintext was gone through, and has a token.
    Backfill,
    /// Plaintext is no longer read or written.
    Cutover,
    /// The column of the plaintext is gone. There is no way back.
    Drop,
}

impl Step {
    const ALL: [Self; 4] = [Self::Add, Self::Backfill, Self::Cutover, Self::Drop];

    /// The name on the command line, and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Backfill => "backfill",
            Self::Cutover => "cutover",
            Self::Drop => "drop",
        }
    }

    pub(crate) fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == text)
    }

    /// Whether plaintext is read where there is no token, and written beside it.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Add | Self::Backfill)
    }
}

/// The migration of a column, as its row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrationRecord {
    /// The table's logical name.
    pub table: String,
    /// The column's logical name.
    pub column: String,
    /// The column of the plaintext, by its name in SQL.
    pub plaintext_column: String,
    /// What stands in it: `plaintext`, or the name of another format (`rails`).
    pub source: String,
    /// The last step that was taken; none when the row says something that this version does not know.
    pub step: Option<Step>,
    /// Who took it.
    pub who: String,
    /// When, in Unix seconds by the clock of the database.
    pub since: i64,
    /// Rows that were sealed so far.
    pub sealed: u64,
    /// Rows with plaintext and without a token when the last pass ended; none before.
    pub left: Option<u64>,
    /// Where the backfill is.
    pub(crate) place: String,
}

const COLUMNS: &str = "tbl, col, plain_col, source, step, who, since, sealed, left_over, place";

/// The table, made where it is not there.
pub(crate) async fn create<DB: MigrationDatabase>(pool: &Pool<DB>) -> Result<(), DatabaseError> {
    let mut connection = pool.acquire().await?;
    let [name, long] = DB::TEXT_TYPES;
    let create = format!(
        "CREATE TABLE IF NOT EXISTS phield_migration (tbl {name} NOT NULL, col {name} NOT NULL, plain_col {name} NOT NULL, \
         source {name} NOT NULL, step {name} NOT NULL, who {name} NOT NULL, since BIGINT NOT NULL, sealed BIGINT NOT NULL, \
         left_over BIGINT, place {long} NOT NULL, PRIMARY KEY (tbl, col))"
    );
    DB::execute(sql::<DB>(&create, &[]), Reuse::Unlikely, &mut connection).await?;
    Ok(())
}

/// Every migration; none where the table is not there.
pub(crate) async fn all<DB: MigrationDatabase>(
    connection: &mut DB::Connection,
) -> Result<Vec<MigrationRecord>, DatabaseError> {
    select::<DB>(connection, "ORDER BY tbl, col", &[]).await
}

/// The migration of one column.
pub(crate) async fn of<DB: MigrationDatabase>(
    connection: &mut DB::Connection,
    table: &str,
    column: &str,
) -> Result<Option<MigrationRecord>, DatabaseError> {
    let found = select::<DB>(
        connection,
        "WHERE tbl = ? AND col = ?",
        &[text(table), text(column)],
    )
    .await?;
    Ok(found.into_iter().next())
}

async fn select<DB: MigrationDatabase>(
    connection: &mut DB::Connection,
    rest: &str,
    cells: &[Cell],
) -> Result<Vec<MigrationRecord>, DatabaseError> {
    let select = format!("SELECT {COLUMNS} FROM phield_migration {rest}");
    let rows = DB::fetch(sql::<DB>(&select, cells), Reuse::Likely, usize::MAX, connection).await;
    match rows {
        Ok(rows) => Ok(rows.iter().filter_map(|row| MigrationRecord::read(row)).collect()),
        Err(error) if is_missing_table(&error) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Writes the first row of a migration. False: there is one.
pub(crate) async fn insert<DB: MigrationDatabase>(
    connection: &mut DB::Connection,
    record: &MigrationRecord,
) -> Result<bool, DatabaseError> {
    let insert = format!(
        "INSERT INTO phield_migration ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, {}, 0, NULL, '')",
        DB::NOW
    );
    let step = record.step.map_or("", Step::as_str);
    let cells = [
        &record.table,
        &record.column,
        &record.plaintext_column,
        &record.source,
        step,
        &record.who,
    ]
    .map(text);
    match DB::execute(sql(&insert, &cells), Reuse::Unlikely, connection).await {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Takes a step from the one that was read. False: somebody else took one meanwhile.
pub(crate) async fn take<DB: MigrationDatabase>(
    connection: &mut DB::Connection,
    record: &MigrationRecord,
    step: Step,
    who: &str,
) -> Result<bool, DatabaseError> {
    let update = format!(
        "UPDATE phield_migration SET step = ?, who = ?, since = {} WHERE tbl = ? AND col = ? AND step = ? AND since = ?",
        DB::NOW
    );
    let before = record.step.map_or("", Step::as_str);
    let mut cells = [step.as_str(), who, &record.table, &record.column, before]
        .map(text)
        .to_vec();
    cells.push(Cell::Integer(record.since));
    Ok(DB::execute(sql(&update, &cells), Reuse::Unlikely, connection).await? == 1)
}

/// How far the backfill is: the place of its pass, and rows that were sealed.
pub(crate) async fn checkpoint<DB: MigrationDatabase>(
    connection: &mut DB::Connection,
    record: &MigrationRecord,
    place: &str,
    sealed: u64,
) -> Result<(), DatabaseError> {
    let update = "UPDATE phield_migration SET place = ?, sealed = sealed + ? WHERE tbl = ? AND col = ?";
    let sealed = Cell::Integer(i64::try_from(sealed).unwrap_or(i64::MAX));
    let cells = [text(place), sealed, text(&record.table), text(&record.column)];
    DB::execute(sql(update, &cells), Reuse::Likely, connection).await?;
    Ok(())
}

/// The next pass begins at the first row.
pub(crate) async fn begin_anew<DB: MigrationDatabase>(
    connection: &mut DB::Connection,
    record: &MigrationRecord,
) -> Result<(), DatabaseError> {
    let update = "UPDATE phield_migration SET place = '' WHERE tbl = ? AND col = ?";
    let cells = [text(&record.table), text(&record.column)];
    DB::execute(sql(update, &cells), Reuse::Unlikely, connection).await?;
    Ok(())
}

/// What the last pass has left over.
pub(crate) async fn leave<DB: MigrationDatabase>(
    connection: &mut DB::Connection,
    record: &MigrationRecord,
    left: u64,
) -> Result<(), DatabaseError> {
    let update = "UPDATE phield_migration SET place = '', left_over = ? WHERE tbl = ? AND col = ?";
    let left = Cell::Integer(i64::try_from(left).unwrap_or(i64::MAX));
    let cells = [left, text(&record.table), text(&record.column)];
    DB::execute(sql(update, &cells), Reuse::Likely, connection).await?;
    Ok(())
}

/// Forgets a migration: its column of tokens is gone. False: somebody took a step meanwhile.
pub(crate) async fn forget<DB: MigrationDatabase>(
    connection: &mut DB::Connection,
    record: &MigrationRecord,
) -> Result<bool, DatabaseError> {
    let delete = "DELETE FROM phield_migration WHERE tbl = ? AND col = ? AND step = ? AND since = ?";
    let step = record.step.map_or("", Step::as_str);
    let mut cells = [&record.table, &record.column, step].map(text).to_vec();
    cells.push(Cell::Integer(record.since));
    Ok(DB::execute(sql(delete, &cells), Reuse::Unlikely, connection).await? == 1)
}

impl MigrationRecord {
    fn read(row: &[Cell]) -> Option<Self> {
        let string = |i: usize| match row.get(i) {
            Some(Cell::Text(text)) => Some(text.clone()),
            _ => None,
        };
        let integer = |i: usize| match row.get(i) {
            Some(Cell::Integer(n)) => Some(*n),
            _ => None,
        };
        Some(Self {
            table: string(0)?,
            column: string(1)?,
            plaintext_column: string(2)?,
            source: string(3)?,
            step: Step::of(&string(4)?),
            who: string(5)?,
            since: integer(6)?,
            sealed: u64::try_from(integer(7)?).ok()?,
            left: integer(8).and_then(|n| u64::try_from(n).ok()),
            place: string(9)?,
        })
    }
}

fn is_missing_table(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else {
        return false;
    };
    let code = error.code();
    matches!(code.as_deref(), Some("42P01" | "42S02")) || error.message().starts_with("no such table: ")
}
