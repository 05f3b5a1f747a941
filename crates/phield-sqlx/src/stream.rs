//! Many rows, without all of them in memory.

use std::num::NonZero;
use std::sync::LazyLock;
use std::thread;

use futures_util::stream::{self, Stream, StreamExt as _};
use phield_core::ReadModel;

use crate::error::Error;

/// Most rows that are in memory at a time.
const ROWS: usize = 512;
/// Fewer rows than these are opened sooner than a thread is started.
const ROWS_OF_A_THREAD: usize = 128;
/// Most threads that open rows of one stream.
const THREADS: usize = 4;

/// How many threads there is work for.
static CORES: LazyLock<usize> = LazyLock::new(|| thread::available_parallelism().map_or(1, NonZero::get));

/// Opens the rows of a stream as they come: those that are there already together, at most 512 of them, on several cores if
/// there are many. They come out in their order, and a row is not kept back to wait for others.
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
    M: ReadModel<Sealed: Send> + Send,
    S: Stream<Item = Result<M::Sealed, sqlx::Error>>,
{
    rows.ready_chunks(ROWS)
        .flat_map(move |rows| stream::iter(open_all::<M>(rows, keys)))
}

/// A row before it is opened, and after.
enum Row<M: ReadModel> {
    Sealed(Result<M::Sealed, sqlx::Error>),
    Opened(Result<M, Error>),
    /// While it is opened.
    Taken,
}

impl<M: ReadModel> Row<M> {
    fn open(&mut self, keys: &M::Keys<'_>) {
        *self = match std::mem::replace(self, Self::Taken) {
            Self::Sealed(sealed) => Self::Opened(open(sealed, keys)),
            other => other,
        };
    }

    /// The row opened: here, if no thread did it.
    fn opened(self, keys: &M::Keys<'_>) -> Option<Result<M, Error>> {
        match self {
            Self::Opened(opened) => Some(opened),
            Self::Sealed(sealed) => Some(open(sealed, keys)),
            Self::Taken => None,
        }
    }
}

fn open<M: ReadModel>(sealed: Result<M::Sealed, sqlx::Error>, keys: &M::Keys<'_>) -> Result<M, Error> {
    Ok(M::open_reported(sealed?, keys)?.value)
}

/// Opens rows in their order, on as many threads as they are worth. The threads end before it returns: what they had on their
/// stacks goes with them, and nothing outlives the borrow of the keys.
fn open_all<M>(
    rows: Vec<Result<M::Sealed, sqlx::Error>>,
    keys: &M::Keys<'_>,
) -> impl Iterator<Item = Result<M, Error>>
where
    M: ReadModel<Sealed: Send> + Send,
{
    let mut rows: Vec<Row<M>> = rows.into_iter().map(Row::Sealed).collect();
    let threads = (rows.len() / ROWS_OF_A_THREAD).min(*CORES).clamp(1, THREADS);
    let part = rows.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let mut parts = rows.chunks_mut(part);
        let own = parts.next();
        for part in parts {
            // Without another thread these rows are opened below.
            let opener = move || part.iter_mut().for_each(|row| row.open(keys));
            let _ = thread::Builder::new().spawn_scoped(scope, opener);
        }
        own.into_iter().flatten().for_each(|row| row.open(keys));
    });
    rows.into_iter().filter_map(move |row| row.opened(keys))
}
