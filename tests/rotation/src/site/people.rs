//! The table of people, and how each version of the application reads and writes it.

use phield::sqlx::migrate::{self, Migration, MixedTime, Plaintext, Step};
use phield::{Keyring, Phi, Sealed, SealedText};
use sqlx::Pool;

use super::sql;
use super::table::{Db, has_column};
use crate::Failed;
use crate::person::{COLUMNS, Person, SealedPerson};

/// The table of the version that knows plaintext alone.
pub const PLAIN: &str =
    "CREATE TABLE people (id {int} PRIMARY KEY NOT NULL, ssn {text}, note {text}, ward {key_text} NOT NULL)";
/// The table of tokens, with columns that plaintext is written into by an unseal.
pub const SEALED: &str = "CREATE TABLE people (id {int} PRIMARY KEY NOT NULL, ssn {text}, note {text}, ward {key_text} NOT NULL, \
     ssn_sealed {bytes} NOT NULL, ssn_index {index} NOT NULL, note_sealed {text}, note_index {index})";

/// A version of the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// It knows plaintext alone.
    Plain,
    /// It reads tokens or plaintext, and writes both.
    Mixed,
    /// It knows tokens alone.
    Sealed,
}

/// The versions that run at a moment of the migration, of which the last is the new one.
pub async fn versions(pool: &Pool<Db>, migration: &Migration<Db>) -> Result<Vec<Version>, Failed> {
    let records = migration.status().await?;
    let step = |column: &str| records.iter().find(|record| record.column == column).and_then(|record| record.step);
    let steps = COLUMNS.map(step);
    let mut versions = Vec::new();
    if steps.iter().all(|step| step.is_none_or(Step::is_open)) {
        versions.push(Version::Plain);
    }
    let mut is_mixed = steps.iter().all(Option::is_some);
    for column in COLUMNS {
        is_mixed &= has_column(pool, "people", column).await;
    }
    if is_mixed {
        versions.push(Version::Mixed);
    }
    if steps.iter().all(|step| *step >= Some(Step::Cutover)) {
        versions.push(Version::Sealed);
    }
    Ok(versions)
}

/// Every row, as a version reads it.
pub async fn all(pool: &Pool<Db>, keyring: &Keyring, version: Version) -> Result<Vec<Person>, Failed> {
    match version {
        Version::Plain => all_plain(pool).await,
        Version::Mixed => all_mixed(pool, keyring).await,
        Version::Sealed => {
            let select = format!("SELECT {} FROM people ORDER BY id", SealedPerson::COLUMN_LIST);
            let rows: Vec<SealedPerson> = sqlx::query_as(sql(&select)).fetch_all(pool).await?;
            Ok(SealedPerson::open_batch(rows, keyring)?)
        }
    }
}

async fn all_plain(pool: &Pool<Db>) -> Result<Vec<Person>, Failed> {
    type Row = (i64, String, Option<String>, String);
    let rows: Vec<Row> = sqlx::query_as(sql("SELECT id, ssn, note, ward FROM people ORDER BY id")).fetch_all(pool).await?;
    let person = |(id, ssn, note, ward): Row| Person { id, ssn: Phi::new(ssn), note: note.map(Phi::new), ward };
    Ok(rows.into_iter().map(person).collect())
}

async fn all_mixed(pool: &Pool<Db>, keyring: &Keyring) -> Result<Vec<Person>, Failed> {
    type Row = (
        i64,
        Plaintext<String>,
        Option<Sealed<String>>,
        Plaintext<String>,
        Option<SealedText<String>>,
        String,
    );
    let (ssn, note) = (MixedTime::of(pool, Person::SSN).await?, MixedTime::of(pool, Person::NOTE).await?);
    let select = "SELECT id, ssn, ssn_sealed, note, note_sealed, ward FROM people ORDER BY id";
    let rows: Vec<Row> = sqlx::query_as(sql(select)).fetch_all(pool).await?;
    let person = |(id, plain_ssn, sealed_ssn, plain_note, sealed_note, ward): Row| {
        Ok(Person {
            id,
            ssn: ssn.read(keyring, &id, plain_ssn, sealed_ssn)?.ok_or("a row has no social security number")?,
            note: note.read(keyring, &id, plain_note, sealed_note)?,
            ward,
        })
    };
    rows.into_iter().map(person).collect()
}

/// Writes a row as a version does.
pub async fn write(pool: &Pool<Db>, keyring: &Keyring, person: &Person, version: Version) -> Result<(), Failed> {
    let rows = match version {
        Version::Plain => {
            let update = sqlx::query(sql("UPDATE people SET ssn = ?, note = ?, ward = ? WHERE id = ?"));
            let note = person.note.as_ref().map(|note| note.expose().clone());
            let update = update.bind(person.ssn.expose().clone()).bind(note).bind(person.ward.clone()).bind(person.id);
            update.execute(pool).await?.rows_affected()
        }
        Version::Mixed => {
            let ssn = MixedTime::of(pool, Person::SSN).await?;
            let note = MixedTime::of(pool, Person::NOTE).await?;
            let (ssn, note) = (ssn.dual_write(Some(&person.ssn))?, note.dual_write(person.note.as_ref())?);
            migrate::update(pool, &person.seal(keyring)?, &[&ssn, &note]).await?
        }
        Version::Sealed => phield::sqlx::update(pool, &person.seal(keyring)?).await?,
    };
    if rows == 1 { Ok(()) } else { Err(format!("{rows} rows were written").into()) }
}

/// By an index a search finds its row, or nothing as long as its column is being sealed; and never another row. Until every column
/// is sealed, the other fields of a row that is found may not be.
pub async fn check_found(pool: &Pool<Db>, keyring: &Keyring, expected: &[Person], is_sealed: bool) -> Result<(), Failed> {
    for person in expected {
        let found = Person::find_by_ssn(pool, keyring, person.ssn.expose().as_str()).await?;
        let is_it = |found: &Person| if is_sealed { found == person } else { (found.id, &found.ssn) == (person.id, &person.ssn) };
        if !is_right(&found, is_it, is_sealed) {
            return Err(format!("row {} is not found by its social security number", person.id).into());
        }
        let Some(note) = &person.note else { continue };
        let found = Person::find_by_note(pool, keyring, note.expose().as_str()).await?;
        let is_it = |found: &Person| if is_sealed { found == person } else { (found.id, &found.note) == (person.id, &person.note) };
        if !is_right(&found, is_it, is_sealed) {
            return Err(format!("row {} is not found by its note", person.id).into());
        }
    }
    Ok(())
}

fn is_right(found: &[Person], is_it: impl Fn(&Person) -> bool, is_sealed: bool) -> bool {
    match found {
        [one] => is_it(one),
        [] => !is_sealed,
        _ => false,
    }
}

/// Where there is no value, there is neither a token nor an index value.
pub async fn check_nulls(pool: &Pool<Db>, expected: &[Person]) -> Result<(), Failed> {
    let select = "SELECT CASE WHEN ssn_sealed IS NULL THEN 0 ELSE 1 END, CASE WHEN ssn_index IS NULL THEN 0 ELSE 1 END, \
                  CASE WHEN note_sealed IS NULL THEN 0 ELSE 1 END, CASE WHEN note_index IS NULL THEN 0 ELSE 1 END \
                  FROM people ORDER BY id";
    let found: Vec<(i32, i32, i32, i32)> = sqlx::query_as(sql(select)).fetch_all(pool).await?;
    let is_there = |person: &Person| {
        let note = i32::from(person.note.is_some());
        (1, 1, note, note)
    };
    if found.into_iter().eq(expected.iter().map(is_there)) {
        return Ok(());
    }
    Err("a token or an index value is missing, or is there without a value".into())
}

/// What is in the columns of plaintext is the value of the row, or nothing yet.
pub async fn check_unsealed(pool: &Pool<Db>, expected: &[Person]) -> Result<(), Failed> {
    let select = sqlx::query_as(sql("SELECT ssn, note FROM people ORDER BY id"));
    let found: Vec<(Option<String>, Option<String>)> = select.fetch_all(pool).await?;
    let is_right = |found: &Option<String>, value: Option<&Phi<String>>| {
        found.as_ref().is_none_or(|found| value.is_some_and(|value| value.expose() == found))
    };
    for ((ssn, note), person) in found.iter().zip(expected) {
        if !is_right(ssn, Some(&person.ssn)) || !is_right(note, person.note.as_ref()) {
            return Err(format!("row {} was unsealed to another value", person.id).into());
        }
    }
    Ok(())
}
