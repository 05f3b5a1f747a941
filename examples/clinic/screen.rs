//! What the example prints: one screen.

use std::fmt::{self, Write as _};
use std::time::Duration;

use sqlx::sqlite::SqliteRow;
use sqlx::{Column as _, Row as _, TypeInfo as _, ValueRef as _};
use uuid::Uuid;

use crate::import::Timing;
use crate::model::Patient;
use crate::scan::{Found, Scan};
use crate::{Arguments, Failure, Match, Reading};

/// Widths of the table of a patient, in characters.
const NAME: usize = 23;
const DISCLOSED: usize = 38;
const HELD: usize = 36;
/// How many bytes of a token or index value are shown at its start and at its end.
const SHOWN: usize = 5;

/// Where the patients come from, how fast they went in and out, and where they stay.
pub(crate) fn summary(
    out: &mut String,
    arguments: &Arguments,
    timing: Option<&Timing>,
    reading: &Reading,
) -> fmt::Result {
    let rows = reading.rows;
    let patients = grouped(rows as u64);
    match (timing, &arguments.input, &arguments.db) {
        (None, _, Some(database)) => {
            writeln!(
                out,
                "{patients} patients found in {}, nothing imported",
                database.display()
            )?;
        }
        (_, Some(input), _) => writeln!(out, "{patients} patients of {}", input.display())?,
        (_, None, _) => writeln!(out, "{patients} patients of the bundled file")?,
    }
    if let Some(timing) = timing {
        writeln!(
            out,
            "  sealed             {:>9} rows/s",
            rate(rows, timing.sealing)
        )?;
        writeln!(
            out,
            "  sealed and stored  {:>9} rows/s",
            rate(rows, timing.storing)
        )?;
    }
    let equal = if reading.equal_to_input {
        ", each equal to its record in the input"
    } else {
        ""
    };
    writeln!(
        out,
        "  read and opened    {:>9} rows/s{equal}",
        rate(rows, reading.duration)
    )?;
    if let Some(database) = &arguments.db {
        writeln!(
            out,
            "  kept in {0}, its key ring in {0}.ring/ (for a trial: in production never beside each other)",
            database.display()
        )?;
    }
    Ok(())
}

/// A patient as somebody sees who may, and the same row as a thief of the file sees it, side by side.
pub(crate) fn patient(out: &mut String, found: &Match, stolen: &SqliteRow) -> Result<(), Failure> {
    let others = if found.matches > 1 {
        format!(" (the first of {})", found.matches)
    } else {
        String::new()
    };
    let took = 1e3 * found.took.as_secs_f64();
    writeln!(
        out,
        "\nA patient{others}, found by SSN through its blind index and opened in {took:.1} ms"
    )?;
    let [name, disclosed, held] = ["column", "an authorised user sees", "a thief of the file sees"];
    writeln!(out, "  {name:NAME$} {disclosed:DISCLOSED$} {held}")?;
    writeln!(out, "  {:-<NAME$} {:-<DISCLOSED$} {:-<HELD$}", "", "", "")?;
    for (index, column) in stolen.columns().iter().enumerate() {
        let disclosed = cell(&disclosed_to_authorised_user(&found.patient, column.name()));
        let held = cell(&held_by_thief(stolen, index)?);
        writeln!(out, "  {:NAME$} {disclosed:DISCLOSED$} {held}", column.name())?;
    }
    writeln!(
        out,
        "  (a token shows its key and padded length; equal index values show which rows are equal)"
    )?;
    Ok(())
}

/// The one place where health data leaves its protected type for the screen.
fn disclosed_to_authorised_user(patient: &Patient, column: &str) -> String {
    let sealed = patient
        .sealed_columns()
        .into_iter()
        .find(|(name, _)| *name == column);
    let plain = patient
        .plain_columns()
        .into_iter()
        .find(|(name, _)| *name == column);
    match (sealed, plain) {
        (Some((_, value)), _) => value.map_or_else(|| "-".to_owned(), |value| value.expose().clone()),
        (_, Some((_, value))) => value.unwrap_or("-").to_owned(),
        _ if column == "id" => patient.id.to_string(),
        _ => "(for searching)".to_owned(),
    }
}

/// What a column of the file holds, read without any key.
fn held_by_thief(row: &SqliteRow, index: usize) -> Result<String, sqlx::Error> {
    let value = row.try_get_raw(index)?;
    if value.is_null() {
        return Ok("NULL".to_owned());
    }
    if value.type_info().name() == "TEXT" {
        return row.try_get(index);
    }
    let bytes: Vec<u8> = row.try_get(index)?;
    if let Ok(id) = Uuid::from_slice(&bytes) {
        return Ok(id.to_string());
    }
    let (start, end) = (
        bytes.iter().take(SHOWN),
        bytes.iter().skip(bytes.len().saturating_sub(SHOWN)),
    );
    let [start, end] = [start.map(hex).collect::<String>(), end.map(hex).collect()];
    Ok(format!("{start}..{end} {:>4} bytes", bytes.len()))
}

fn hex(byte: &u8) -> String {
    format!("{byte:02x}")
}

/// What the scans found.
pub(crate) fn scan(out: &mut String, scan: &Scan, sealed: &Found, control: &Found) -> fmt::Result {
    let (searched, left_out) = (grouped(scan.searched() as u64), grouped(scan.left_out() as u64));
    writeln!(
        out,
        "\nScan for every sealed value of the input of 5 bytes and more: {searched} values"
    )?;
    writeln!(
        out,
        "  ({left_out} more also stand in plain columns or the schema and are left out)"
    )?;
    for (database, found) in [("sealed database", sealed), ("plaintext control", control)] {
        let (values, bytes) = (grouped(found.values as u64), grouped(found.bytes));
        writeln!(
            out,
            "  {database:17}  {values:>9} of {searched} found in {bytes} bytes of file and WAL"
        )?;
    }
    if sealed.by_chance >= 0.01 {
        writeln!(
            out,
            "  (by chance, {:.2} are to be expected in so many random bytes)",
            sealed.by_chance
        )?;
    }
    if control.values < scan.searched() {
        writeln!(
            out,
            "  (what the control lacks, SQLite has split over several pages)"
        )?;
    }
    Ok(())
}

/// A value that fits into a cell: one line, nothing that steers a terminal.
fn cell(value: &str) -> String {
    let line = value.replace('\n', " / ");
    let line = line.chars().map(|c| if c.is_control() { '?' } else { c });
    let (shown, rest): (Vec<_>, Vec<_>) = line.enumerate().partition(|(position, _)| *position < DISCLOSED);
    let shown = shown.into_iter().map(|(_, c)| c);
    if rest.is_empty() {
        shown.collect()
    } else {
        shown.take(DISCLOSED - 2).chain("..".chars()).collect()
    }
}

/// Rows in a second.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a positive number far below 2^53"
)]
fn rate(rows: usize, took: Duration) -> String {
    grouped((rows as f64 / took.as_secs_f64().max(1e-9)) as u64)
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| str::from_utf8(group).ok())
        .collect();
    groups.join(",")
}
