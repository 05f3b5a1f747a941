//! New indexes that are filled, killed at every write. Until that is done the application searches by the old index.

use std::sync::Arc;

use phield::{Keyring, SchemaFile};
use phield_rotation_tests::Failed;
use phield_rotation_tests::model::{Patient, patient};
use phield_rotation_tests::next::NextPatient;
use sqlx::Pool;

use super::DATABASE;
use super::kills::{Command, Site, at_every_write};
use super::table::{self, Db};
use super::next;
use crate::lane::Start;

const ROWS: i64 = 12;

pub(crate) struct NewIndex {
    start: Start,
    keyring: Arc<Keyring>,
    patients: Vec<Patient>,
}

impl NewIndex {
    pub(crate) fn new(rows: i64) -> Self {
        let start = Start::new();
        let keyring = Arc::new(start.ring.keyring());
        Self { start, keyring, patients: (1..=rows).map(patient).collect() }
    }
}

impl Command for NewIndex {
    type Written = ();

    fn mode(&self) -> &'static str {
        "index"
    }

    fn spread(&self) -> usize {
        12
    }

    fn start(&self) -> &Start {
        &self.start
    }

    async fn fill(&self, pool: &Pool<Db>) -> Result<(), Failed> {
        let rows = i64::try_from(self.patients.len())?;
        table::fill(pool, &self.keyring, rows).await?;
        table::keep(pool, "patients").await
    }

    async fn reset(&self, pool: &Pool<Db>) -> Result<(), Failed> {
        table::rebuild(pool, "patients", &table::CREATE).await
    }

    /// Every row opens and is found by the old index, and by the new ones once the report says that they are filled.
    async fn killed(&self, site: &Site) -> Result<(), Failed> {
        table::check(&site.pool, &self.keyring, &self.patients).await?;
        let is_filled = site.report().is_ok();
        next::check(&site.pool, &self.keyring, &self.patients, is_filled).await
    }

    async fn ended(&self, site: &Site, (): ()) -> Result<String, Failed> {
        site.report()?;
        self.killed(site).await?;
        if next::unchanged(&site.pool).await? != i64::try_from(self.patients.len())? {
            return Err("a token or an old index value has changed".into());
        }
        table::check_nothing_left(&site.pool, &self.keyring, SchemaFile::of(&[NextPatient::SCHEMA])?).await?;
        let values = next::values(&site.pool).await?;
        for ((id, values), patient) in values.iter().zip(&self.patients) {
            let [mrn, note] = values.as_slice() else { return Err("there are two new indexes".into()) };
            if mrn.is_none() || note.is_some() != patient.note.is_some() {
                return Err(format!("row {id} is indexed where it has no value, or not where it has one").into());
            }
        }
        Ok(format!("{values:02x?}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn index() {
    at_every_write(NewIndex::new(ROWS), None, DATABASE).await;
}
