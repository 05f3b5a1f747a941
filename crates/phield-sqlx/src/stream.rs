//! Rows one after the other, without all of them in memory.

use futures_util::{Stream, StreamExt as _};
use phield_core::ReadModel;

use crate::error::Error;

/// Opens the rows of a stream as they come: one is in memory at a time.
///
/// ```
/// # use phield_core::{Keyring, ReadModel};
/// # use phield_sqlx::{Error, open_stream};
/// # use sqlx::{FromRow, SqlitePool, sqlite::SqliteRow};
/// use futures_util::TryStreamExt as _; // or `tokio_stream::StreamExt`
///
/// # async fn report<Patient>(pool: &SqlitePool, keyring: &Patient::Keys<'_>) -> Result<(), Error>
/// # where Patient: ReadModel, Patient::Sealed: for<'r> FromRow<'r, SqliteRow> + Send + Unpin {
/// # type SealedPatient<Patient> = <Patient as ReadModel>::Sealed;
/// let rows = sqlx::query_as::<_, SealedPatient<Patient>>("SELECT * FROM patients").fetch(pool);
/// let mut patients = std::pin::pin!(open_stream::<Patient, _>(rows, keyring));
/// while let Some(patient) = patients.try_next().await? {
///     // …
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// An item is an error when its row was not read or does not open; the stream goes on after a row that does not open.
pub fn open_stream<M, S>(rows: S, keys: &M::Keys<'_>) -> impl Stream<Item = Result<M, Error>>
where
    M: ReadModel,
    S: Stream<Item = Result<M::Sealed, sqlx::Error>>,
{
    rows.map(move |row| Ok(M::open_reported(row?, keys)?.value))
}
