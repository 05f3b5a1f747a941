//! Shares of a table: given out, renewed, written down, given back.

use sqlx::Transaction;

use super::counts::{Done, add_counts, note};
use super::{Record, begin, by_id, cursor, execute, fetch, integer, string, text, written};
use crate::backend::Reuse;
use crate::rotate::cell::{Cell, Cursor};
use crate::rotate::database::RotationDatabase;
use crate::rotate::error::RotationError;
use crate::statement::Statement;

/// A share of a table.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    pub(crate) table: String,
    pub(crate) number: i64,
    /// The last key that is done.
    pub(crate) after: Option<Cursor>,
    /// The last key that belongs to it; none of a table without rows.
    pub(crate) until: Option<Cursor>,
    pub(crate) owner: String,
    /// How long it stays with a worker that does not write, in seconds.
    pub(crate) lease: i64,
}

/// Finds a share as long as it is its worker's. Binds [`of_owner`].
const OF_OWNER: &str = "WHERE rotation = ? AND tbl = ? AND share_no = ? AND owner = ?";

fn of_owner(record: &Record, share: &Share) -> [Cell; 4] {
    [
        text(&record.id),
        text(&share.table),
        Cell::Integer(share.number),
        text(&share.owner),
    ]
}

/// What there is to do for a worker.
#[derive(Debug)]
pub(crate) enum Claim {
    Share(Share),
    /// All is given out; other workers have shares.
    Wait,
    /// The pass is through.
    Through,
}

/// Whether the rotation is still in the phase and pass that a worker works for: another process may have ended it.
pub(super) async fn is_current<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    record: &Record,
) -> Result<bool, RotationError> {
    let now = by_id::<DB>(connection, &record.id).await?;
    Ok((now.phase, now.pass) == (record.phase, record.pass))
}

/// Takes the next share for a worker: one whose worker has died, else the next rows of a table.
///
/// A worker that asks has none: what is written down as its own it does not know of, because the answer was lost, or has given up on.
pub(crate) async fn claim<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    record: &Record,
    (owner, lease): (&str, i64),
    ends: impl Fn(&str, Option<&Cursor>) -> Option<[Statement<DB>; 2]> + Send + Sync,
) -> Result<Claim, RotationError> {
    let mut transaction = begin::<DB>(connection).await?;
    let id = text(&record.id);
    let abandoned = format!(
        "SELECT tbl, share_no, place, until FROM phield_rotation_share WHERE rotation = ? AND (lease < {} OR owner = ?) \
         ORDER BY tbl, share_no LIMIT 1{}",
        DB::NOW,
        DB::SKIP_LOCKED
    );
    let found = fetch::<DB>(&mut transaction, &abandoned, &[id.clone(), text(owner)]).await?;
    if let Some(row) = found.first() {
        if !is_current::<DB>(&mut transaction, record).await? {
            transaction.commit().await?;
            return Ok(Claim::Through);
        }
        let share =
            share(row, (owner, lease)).ok_or(RotationError::Checkpoint("phield_rotation_share"))??;
        let text = format!(
            "UPDATE phield_rotation_share SET owner = ?, lease = {} + {lease} WHERE rotation = ? AND tbl = ? AND share_no = ?",
            DB::NOW
        );
        let cells = [
            self::text(owner),
            id,
            self::text(&share.table),
            Cell::Integer(share.number),
        ];
        execute::<DB>(&mut transaction, &text, &cells).await?;
        transaction.commit().await?;
        return Ok(Claim::Share(share));
    }
    let next = format!(
        "SELECT tbl, place, shares FROM phield_rotation_table WHERE rotation = ? AND exhausted = 0 ORDER BY tbl LIMIT 1{}",
        DB::SKIP_LOCKED
    );
    let found = fetch::<DB>(&mut transaction, &next, std::slice::from_ref(&id)).await?;
    // After the row is locked: what is read now is not older than it.
    if !is_current::<DB>(&mut transaction, record).await? {
        transaction.commit().await?;
        return Ok(Claim::Through);
    }
    let Some(row) = found.first() else {
        let text = "SELECT tbl FROM phield_rotation_table WHERE rotation = ? AND exhausted = 0 \
             UNION ALL SELECT tbl FROM phield_rotation_share WHERE rotation = ? LIMIT 1";
        let open = fetch::<DB>(&mut transaction, text, &[id.clone(), id]).await?;
        transaction.commit().await?;
        return Ok(if open.is_empty() {
            Claim::Through
        } else {
            Claim::Wait
        });
    };
    let read = || Some((string(row.first())?, string(row.get(1))?, integer(row.get(2))?));
    let (table, place, number) = read().ok_or(RotationError::Checkpoint("phield_rotation_table"))?;
    let after = cursor(&place)?;
    let ends = ends(&table, after.as_ref());
    let [end, last] = ends.ok_or_else(|| RotationError::NoSuchTable(table.clone()))?;
    let mut until = DB::fetch(end, Reuse::Likely, usize::MAX, &mut transaction).await?;
    let is_last = until.is_empty();
    if is_last {
        until = DB::fetch(last, Reuse::Likely, usize::MAX, &mut transaction).await?;
    }
    let until = until.into_iter().next().map(Cursor);
    if until
        .iter()
        .flat_map(|until| &until.0)
        .any(|cell| !cell.is_place())
    {
        return Err(RotationError::Table {
            table,
            why: "a row has NULL, or a value of another type, in the key that its rows are gone through by"
                .to_owned(),
        });
    }
    let cells = [
        id.clone(),
        text(&table),
        Cell::Integer(number),
        written(after.as_ref()),
        written(until.as_ref()),
        text(owner),
    ];
    let insert = format!(
        "INSERT INTO phield_rotation_share (rotation, tbl, share_no, place, until, owner, lease, row_count, changed) \
         VALUES (?, ?, ?, ?, ?, ?, {} + {lease}, 0, 0)",
        DB::NOW
    );
    execute::<DB>(&mut transaction, &insert, &cells).await?;
    execute::<DB>(
        &mut transaction,
        "UPDATE phield_rotation_table SET place = ?, exhausted = ?, shares = shares + 1 WHERE rotation = ? AND tbl = ?",
        &[
            written(until.as_ref().or(after.as_ref())),
            Cell::Integer(i64::from(is_last)),
            id,
            text(&table),
        ],
    )
    .await?;
    transaction.commit().await?;
    Ok(Claim::Share(Share {
        table,
        number,
        after,
        until,
        owner: owner.to_owned(),
        lease,
    }))
}

pub(super) fn share(row: &[Cell], (owner, lease): (&str, i64)) -> Option<Result<Share, RotationError>> {
    let (after, until) = (string(row.get(2))?, string(row.get(3))?);
    let (table, number) = (string(row.first())?, integer(row.get(1))?);
    Some(cursor(&after).and_then(|after| {
        Ok(Share {
            table,
            number,
            after,
            until: cursor(&until)?,
            owner: owner.to_owned(),
            lease,
        })
    }))
}

/// The share as its checkpoint has it; none when it is finished, or somebody else's.
pub(crate) async fn reload<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    record: &Record,
    share: &Share,
) -> Result<Option<Share>, RotationError> {
    let rows = fetch::<DB>(
        connection,
        &format!("SELECT tbl, share_no, place, until FROM phield_rotation_share {OF_OWNER}"),
        &of_owner(record, share),
    )
    .await?;
    let again = rows
        .first()
        .map(|row| self::share(row, (&share.owner, share.lease)));
    let again = again.map(|again| again.ok_or(RotationError::Checkpoint("phield_rotation_share")));
    again.transpose()?.transpose()
}

/// The workers that have shares, and for how many seconds those stay theirs when they do not write any more.
pub(crate) async fn holders<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    rotation: &str,
) -> Result<Vec<(String, u64)>, RotationError> {
    let select = format!(
        "SELECT owner, max(lease) - {now} FROM phield_rotation_share WHERE rotation = ? AND lease >= {now} GROUP BY owner",
        now = DB::NOW
    );
    let rows = fetch::<DB>(connection, &select, &[text(rotation)]).await?;
    let read = |row: &Vec<Cell>| {
        let seconds = integer(row.get(1))?;
        Some((string(row.first())?, u64::try_from(seconds).unwrap_or(0)))
    };
    let holders = rows.iter().map(read).collect::<Option<_>>();
    holders.ok_or(RotationError::Checkpoint("phield_rotation_share"))
}

/// When the last worker wrote, or will have written: its lease, which a live one renews. None where no share is given out.
pub(crate) async fn last_lease<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    rotation: &str,
) -> Result<Option<i64>, RotationError> {
    let select = "SELECT max(lease) FROM phield_rotation_share WHERE rotation = ?";
    let rows = fetch::<DB>(connection, select, &[text(rotation)]).await?;
    Ok(rows.first().and_then(|row| integer(row.first())))
}

/// Gives shares back: those of one worker, or of all. What stands there then is when that was.
pub(crate) async fn end_leases<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    rotation: &str,
    owner: Option<&str>,
) -> Result<(), RotationError> {
    let update = format!(
        "UPDATE phield_rotation_share SET lease = {} - 1, owner = '' WHERE rotation = ?",
        DB::NOW
    );
    match owner {
        None => execute::<DB>(connection, &update, &[text(rotation)]).await?,
        Some(owner) => {
            let update = format!("{update} AND owner = ?");
            execute::<DB>(connection, &update, &[text(rotation), text(owner)]).await?
        }
    };
    Ok(())
}

/// Keeps the shares of a worker that is busy with one page for long.
pub(crate) async fn renew_leases<DB: RotationDatabase>(
    connection: &mut DB::Connection,
    rotation: &str,
    (owner, lease): (&str, i64),
) -> Result<(), RotationError> {
    let update = format!(
        "UPDATE phield_rotation_share SET lease = {} + {lease} WHERE rotation = ? AND owner = ?",
        DB::NOW
    );
    execute::<DB>(connection, &update, &[text(rotation), text(owner)])
        .await
        .map(drop)
}

/// Keeps a share at the beginning of a transaction that writes into its rows. False: it is somebody else's by now.
pub(crate) async fn renew<DB: RotationDatabase>(
    transaction: &mut Transaction<'_, DB>,
    record: &Record,
    share: &Share,
) -> Result<bool, RotationError> {
    let update = format!(
        "UPDATE phield_rotation_share SET lease = {} + {} {OF_OWNER}",
        DB::NOW,
        share.lease
    );
    Ok(execute::<DB>(transaction, &update, &of_owner(record, share)).await? == 1)
}

/// Writes the checkpoint of a page into its transaction, or the end of the share. False: the share is somebody else's by now, or the page
/// is done.
pub(crate) async fn checkpoint<DB: RotationDatabase>(
    transaction: &mut Transaction<'_, DB>,
    record: &Record,
    share: &Share,
    done: &Done,
    place: Option<&Cursor>,
    is_last: bool,
) -> Result<bool, RotationError> {
    let [id, table, number, owner] = of_owner(record, share);
    let key = [id, table, number];
    let count = |n: u64| Cell::Integer(i64::try_from(n).unwrap_or(i64::MAX));
    let cells = [
        &[written(place), count(done.rows), count(done.changed)][..],
        &key,
        &[owner, written(share.after.as_ref())],
    ]
    .concat();
    // From the place that the page began at: a commit that was given up on may come to its end after all.
    let update = format!(
        "UPDATE phield_rotation_share SET place = ?, row_count = row_count + ?, changed = changed + ?, lease = {} + {} {OF_OWNER} \
         AND place = ?",
        DB::NOW,
        share.lease
    );
    if execute::<DB>(transaction, &update, &cells).await? != 1 {
        return Ok(false);
    }
    add_counts::<DB>(transaction, record, &share.table, &done.counts).await?;
    add_counts::<DB>(transaction, record, &share.table, &done.resealed).await?;
    let stamp = record.stamp();
    let of_pass = (record.mode.as_str(), stamp.as_str());
    note::<DB>(transaction, of_pass, &share.table, &done.notes).await?;
    if is_last {
        let totals = fetch::<DB>(
            transaction,
            "SELECT row_count, changed FROM phield_rotation_share WHERE rotation = ? AND tbl = ? AND share_no = ?",
            &key,
        )
        .await?;
        let [id, table, _] = &key;
        let [rows, changed] = [0, 1].map(|i| {
            totals
                .first()
                .and_then(|row| row.get(i))
                .cloned()
                .unwrap_or(Cell::Integer(0))
        });
        execute::<DB>(
            transaction,
            "UPDATE phield_rotation_table SET row_count = row_count + ?, changed = changed + ? WHERE rotation = ? AND tbl = ?",
            &[rows, changed, id.clone(), table.clone()],
        )
        .await?;
        execute::<DB>(
            transaction,
            "DELETE FROM phield_rotation_share WHERE rotation = ? AND tbl = ? AND share_no = ?",
            &key,
        )
        .await?;
    }
    Ok(true)
}
