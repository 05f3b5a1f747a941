//! The table of patients with the indexes of the next version.

use phield::Keyring;
use sqlx::{Pool, Row as _};

use super::table::{Db, execute, has_column};
use super::sql;
use crate::Failed;
use crate::model::Patient;
use crate::next::{NEW_INDEXES, NextPatient};

/// Adds the columns that the new indexes need, and their indexes in SQL, where they are not there.
pub async fn add_indexes(pool: &Pool<Db>) -> Result<(), Failed> {
    for (column, index) in NEW_INDEXES {
        if !has_column(pool, "patients", column).await {
            execute(pool, &[&format!("ALTER TABLE patients ADD COLUMN {column} {{index}}")]).await?;
        }
        execute(pool, &[&format!("CREATE {index} IF NOT EXISTS by_{column} ON patients ({column})")]).await?;
    }
    Ok(())
}

/// By a new index a search finds its row, or nothing as long as the index is being filled; and never another row.
pub async fn check(pool: &Pool<Db>, keyring: &Keyring, expected: &[Patient], is_filled: bool) -> Result<(), Failed> {
    for (column, _) in NEW_INDEXES {
        if !has_column(pool, "patients", column).await {
            return if is_filled { Err(format!("there is no column {column}").into()) } else { Ok(()) };
        }
    }
    for patient in expected.iter().map(NextPatient::from) {
        let is_right = |found: &[NextPatient]| found == [patient.clone()] || (!is_filled && found.is_empty());
        let mrn = patient.mrn.expose().as_str();
        if !is_right(&NextPatient::find_by_mrn(pool, keyring, mrn).await?) {
            return Err(format!("row {} is not found by the digits of its medical record number", patient.id).into());
        }
        let Some(note) = &patient.note else { continue };
        if !is_right(&NextPatient::find_by_note(pool, keyring, note.expose().as_str()).await?) {
            return Err(format!("row {} is not found by its note", patient.id).into());
        }
    }
    Ok(())
}

/// How many rows have the tokens and the index values that they had before the new indexes.
pub async fn unchanged(pool: &Pool<Db>) -> Result<i64, Failed> {
    let columns = ["mrn", "mrn_index", "ssn", "ssn_index", "note", "born", "ward"];
    let same = columns.map(|column| {
        format!("(patients.{column} = prepared.{column} OR (patients.{column} IS NULL AND prepared.{column} IS NULL))")
    });
    let count = "SELECT count(*) FROM patients JOIN prepared ON patients.id = prepared.id WHERE";
    Ok(sqlx::query_scalar(sql(&format!("{count} {}", same.join(" AND ")))).fetch_one(pool).await?)
}

/// The values of the new indexes, row by row. They are the same for the same patients.
pub async fn values(pool: &Pool<Db>) -> Result<Vec<(i64, Vec<Option<Vec<u8>>>)>, Failed> {
    let columns = NEW_INDEXES.map(|(column, _)| column);
    let select = format!("SELECT id, {} FROM patients ORDER BY id", columns.join(", "));
    let mut values = Vec::new();
    for row in sqlx::query(sql(&select)).fetch_all(pool).await? {
        let of_row = columns.iter().map(|column| row.try_get(*column)).collect::<Result<_, _>>()?;
        values.push((row.try_get("id")?, of_row));
    }
    Ok(values)
}
