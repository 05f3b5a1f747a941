//! Two clocks: that of the database, and that of this machine.

use super::{fetch, integer};
use crate::rotate::database::RotationDatabase;
use crate::rotate::error::RotationError;

/// Unix seconds by the clock of the database.
pub(crate) async fn now<DB: RotationDatabase>(connection: &mut DB::Connection) -> Result<i64, RotationError> {
    let rows = fetch::<DB>(connection, &format!("SELECT {}", DB::NOW), &[]).await?;
    let now = rows.first().and_then(|row| integer(row.first()));
    now.ok_or(RotationError::Checkpoint("(clock)"))
}

/// The clocks of the database and of this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clocks {
    /// What the one says that is behind, in Unix seconds.
    pub(crate) earlier: i64,
    /// How many seconds they are apart.
    pub(crate) apart: i64,
}

/// Compares the clock of the database with one that is so many seconds ahead of this machine's.
pub(crate) async fn clocks<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    ahead: i64,
) -> Result<Clocks, RotationError> {
    let machine = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        now.saturating_add(ahead)
    };
    let asked = machine();
    let database = now::<DB>(connection).await?;
    // The time that the answer took is no difference.
    let answered = machine().max(asked);
    Ok(Clocks {
        earlier: database.min(asked),
        apart: (asked - database).max(database - answered).max(0),
    })
}
