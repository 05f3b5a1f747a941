//! Rows that nobody can count yet: those of transactions that are open when a count begins.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::database::RotationDatabase;
use super::error::RotationError;
use super::state;
use super::table::Table;

/// How often it is looked whether they have ended.
const POLL: Duration = Duration::from_millis(250);

/// Waits until the transactions have ended that have written into these tables and are open now: what they wrote under an old key is
/// seen from then on. True: one of them is open still, after so long.
///
/// Where the database does not tell (MariaDB, to a role without the privilege PROCESS), there are none.
pub(crate) async fn are_open<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    tables: &[Arc<Table>],
    patience: Duration,
) -> Result<bool, RotationError> {
    let mut open = all::<DB>(connection, tables).await?;
    let begun = Instant::now();
    while !open.is_empty() && begun.elapsed() < patience {
        tokio::time::sleep(POLL).await;
        let still = all::<DB>(connection, tables).await?;
        open.retain(|writer| still.contains(writer));
    }
    Ok(!open.is_empty())
}

/// The transactions that have written into these tables and are open.
async fn all<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    tables: &[Arc<Table>],
) -> Result<Vec<String>, RotationError> {
    // Where it is not told into which table they have written, it is asked once.
    let asked = if DB::OPEN_WRITERS_NAMES.is_empty() {
        1
    } else {
        tables.len()
    };
    let mut found = Vec::new();
    for table in tables.iter().take(asked) {
        match state::open_writers::<DB>(connection, &table.sql_table).await {
            Ok(writers) => found.extend(writers),
            Err(error) if error.is_not_allowed() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}
