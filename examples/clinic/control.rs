//! The control: the same table, rows and journal mode, with every value in the clear. It shows that the scan finds what
//! is there to be found. Always temporary.

use sqlx::{AssertSqlSafe, QueryBuilder, Sqlite, SqlitePool};

use crate::Failure;
use crate::model::Patient;
use crate::store::{self, BATCH, Place};

/// The plaintext database; its files are removed at the end.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) place: Place,
    pub(crate) pool: SqlitePool,
}

impl Control {
    pub(crate) async fn create(patients: &[Patient]) -> Result<Self, Failure> {
        let place = Place::temporary()?;
        let pool = store::connect(&place.database).await?;
        sqlx::raw_sql(AssertSqlSafe(store::TABLE.replace("BLOB,", "TEXT,")))
            .execute(&pool)
            .await?;
        let mut transaction = pool.begin().await?;
        for batch in patients.chunks(BATCH) {
            insert(batch).build().execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(Self { place, pool })
    }
}

/// The statement that writes rows in the clear, search columns included: what phield is there to prevent.
fn insert(batch: &[Patient]) -> QueryBuilder<Sqlite> {
    let mut insert = QueryBuilder::new("INSERT INTO patients (id");
    if let Some(patient) = batch.first() {
        let sealed = patient.sealed_columns().map(|(name, _)| name);
        for name in sealed
            .into_iter()
            .chain(patient.plain_columns().map(|(name, _)| name))
        {
            insert.push(", ").push(name);
        }
    }
    insert.push(", ssn_index, mrn_index, family_birth_date_index) ");
    insert.push_values(batch, |mut row, patient| {
        row.push_bind(patient.id);
        for (_, value) in patient.sealed_columns() {
            row.push_bind(value.map(|value| value.expose().clone()));
        }
        for (_, value) in patient.plain_columns() {
            row.push_bind(value.map(str::to_owned));
        }
        for value in search_columns(patient) {
            row.push_bind(value);
        }
    });
    insert
}

/// What the columns for searching would hold: normalised values.
fn search_columns(patient: &Patient) -> [Option<String>; 3] {
    let Patient {
        ssn,
        mrn,
        family_name,
        birth_date,
        ..
    } = patient;
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect();
    let both = family_name.as_ref().zip(birth_date.as_ref());
    [
        ssn.as_ref().map(|ssn| digits(ssn.expose())),
        mrn.as_ref().map(|mrn| mrn.expose().clone()),
        both.map(|(family, born)| format!("{} {}", family.expose().to_lowercase(), born.expose())),
    ]
}
