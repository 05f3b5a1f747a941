//! Where the patients are: a SQLite database with its key ring beside it.

use std::io;
use std::path::{Path, PathBuf};

use phield::{Keyring, Stretching};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, SqlitePool};
use tempfile::TempDir;
use uuid::Uuid;

use crate::model::{Patient, SealedPatient};
use crate::{Failure, ring};

/// The table as a migration of the application would create it: tokens and index values are BLOBs.
pub(crate) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS patients (
    id                      BLOB NOT NULL PRIMARY KEY,
    fhir_id                 BLOB,
    family_name             BLOB,
    given_names             BLOB,
    titles                  BLOB,
    other_names             BLOB,
    ssn                     BLOB,
    ssn_index               BLOB,
    mrn                     BLOB,
    mrn_index               BLOB,
    licence                 BLOB,
    passport                BLOB,
    other_identifiers       BLOB,
    phone                   BLOB,
    address                 BLOB,
    birth_date              BLOB,
    birth_place             BLOB,
    deceased                BLOB,
    mothers_maiden_name     BLOB,
    family_birth_date_index BLOB,
    gender                  TEXT,
    state                   TEXT,
    marital_status          TEXT
);
CREATE INDEX IF NOT EXISTS patients_ssn ON patients (ssn_index);
CREATE INDEX IF NOT EXISTS patients_mrn ON patients (mrn_index);
CREATE INDEX IF NOT EXISTS patients_family_birth_date ON patients (family_birth_date_index);";

/// Rows that are sealed, written or read at a time.
pub(crate) const BATCH: usize = 500;

/// The files of a database and its ring; temporary ones are removed at the end.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) database: PathBuf,
    pub(crate) ring: PathBuf,
    _temporary: Option<TempDir>,
}

impl Place {
    /// `FILE` and the folder `FILE.ring`.
    pub(crate) fn kept(database: PathBuf) -> Self {
        let mut ring = database.clone().into_os_string();
        ring.push(".ring");
        Self {
            database,
            ring: ring.into(),
            _temporary: None,
        }
    }

    /// The same in a temporary folder.
    pub(crate) fn temporary() -> io::Result<Self> {
        let folder = TempDir::with_prefix("phield-clinic-")?;
        let place = Self::kept(folder.path().join("clinic.db"));
        Ok(Self {
            _temporary: Some(folder),
            ..place
        })
    }

    /// Whether database and ring are there already. One without the other is a mistake that must not go unnoticed.
    fn exists(&self) -> Result<bool, PlaceError> {
        let (database, ring) = (self.database.clone(), self.ring.clone());
        match (database.exists(), ring.exists()) {
            (true, false) => Err(PlaceError::NoRing { database, ring }),
            (false, true) => Err(PlaceError::NoDatabase { database, ring }),
            (both, _) => Ok(both),
        }
    }
}

/// Half of what belongs together is missing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error(
        "{} is there, but its key ring {} is not: restore the ring, nothing else opens this database",
        database.display(), ring.display()
    )]
    NoRing { database: PathBuf, ring: PathBuf },
    #[error(
        "the key ring {} is there, but its database {} is not: restore the database, or move the ring away to start anew",
        ring.display(), database.display()
    )]
    NoDatabase { database: PathBuf, ring: PathBuf },
}

/// An open database and its keys.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) pool: SqlitePool,
    pub(crate) keyring: Keyring,
}

impl Store {
    /// Opens the database and ring in their place, or makes new ones.
    pub(crate) async fn open(place: &Place, stretching: Stretching) -> Result<Self, Failure> {
        if !place.exists()? {
            ring::create(&place.ring, stretching).await?;
        }
        let keyring = ring::load(&place.ring).await?;
        let pool = connect(&place.database).await?;
        sqlx::raw_sql(TABLE).execute(&pool).await?;
        Ok(Self { pool, keyring })
    }

    /// How many patients there are.
    pub(crate) async fn count(&self) -> Result<usize, Failure> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM patients")
            .fetch_one(&self.pool)
            .await?;
        Ok(usize::try_from(count)?)
    }

    /// What anybody can read in the database by design: its schema and the plain columns.
    pub(crate) async fn readable_text(&self) -> Result<String, sqlx::Error> {
        let schema = "SELECT concat_ws(' ', type, name, tbl_name, sql) FROM sqlite_master";
        let plain = "SELECT gender FROM patients UNION SELECT state FROM patients UNION SELECT marital_status FROM patients";
        let schema: Vec<String> = sqlx::query_scalar(schema).fetch_all(&self.pool).await?;
        let plain: Vec<Option<String>> = sqlx::query_scalar(plain).fetch_all(&self.pool).await?;
        let header = "SQLite format 3".to_owned();
        Ok(schema
            .into_iter()
            .chain(plain.into_iter().flatten())
            .chain([header])
            .collect::<Vec<_>>()
            .join("\n"))
    }

    /// Opens every row in the order of their ids, which is that of the input, and hands it on.
    pub(crate) async fn open_all(&self, mut each: impl FnMut(Patient)) -> Result<(), Failure> {
        let columns = SealedPatient::COLUMN_LIST;
        let page = format!("SELECT {columns} FROM patients WHERE id > ? ORDER BY id LIMIT {BATCH}");
        let mut last = Uuid::nil();
        loop {
            let query = sqlx::query_as::<_, SealedPatient>(AssertSqlSafe(page.as_str())).bind(last);
            let rows = query.fetch_all(&self.pool).await?;
            let Some(row) = rows.last() else { return Ok(()) };
            last = row.id;
            for row in rows {
                each(row.open(&self.keyring)?);
            }
        }
    }
}

/// One connection that stays open, in WAL mode: what is written stays in the `-wal` file for the scan.
pub(crate) async fn connect(database: &Path) -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(database)
        .create_if_missing(true);
    let options = options.journal_mode(SqliteJournalMode::Wal);
    SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await
}
