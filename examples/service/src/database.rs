//! Where the patients are. Every statement that is not generated stands here, and only ciphertext is bound to it.

use phield::sqlx::{Error, insert};
use phield::{BlindIndex, Keyring, Phi, Sealed};
use serde::Serialize;
use sqlx::postgres::PgPool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use uuid::Uuid;

use crate::model::{Patient, SealedPatient};

/// The table as a migration would create it: tokens and index values are bytes.
const SQLITE: &str = "
CREATE TABLE IF NOT EXISTS patients (
    id        BLOB PRIMARY KEY NOT NULL,
    name      BLOB NOT NULL,
    ssn       BLOB NOT NULL,
    ssn_index BLOB NOT NULL UNIQUE,
    phone     BLOB,
    clinic    INTEGER NOT NULL
)";

const POSTGRES: &str = "
CREATE TABLE IF NOT EXISTS patients (
    id        UUID PRIMARY KEY,
    name      BYTEA NOT NULL,
    ssn       BYTEA NOT NULL,
    ssn_index BYTEA NOT NULL UNIQUE,
    phone     BYTEA,
    clinic    BIGINT NOT NULL
)";

/// How many patients a list shows.
const LISTED: i64 = 100;

/// One of the databases that the service runs on.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Database {
    /// A file.
    Sqlite(SqlitePool),
    /// A server.
    Postgres(PgPool),
}

/// Runs the same code on whichever pool it is.
macro_rules! on {
    ($database:expr, $pool:ident => $run:expr) => {
        match $database {
            Database::Sqlite($pool) => $run,
            Database::Postgres($pool) => $run,
        }
    };
}

/// The plain columns of a patient.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub(crate) struct Listed {
    id: Uuid,
    clinic: i64,
}

impl Database {
    /// Connects, and creates the table if it is not there. A SQLite file is created too.
    ///
    /// # Errors
    /// When the URL is of another database, or the database cannot be reached.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let pool = PgPool::connect(url).await?;
            sqlx::query(POSTGRES).execute(&pool).await?;
            return Ok(Self::Postgres(pool));
        }
        let options: SqliteConnectOptions = url.parse()?;
        let pool = SqlitePool::connect_with(options.create_if_missing(true)).await?;
        sqlx::query(SQLITE).execute(&pool).await?;
        Ok(Self::Sqlite(pool))
    }

    pub(crate) async fn insert(&self, patient: &SealedPatient) -> Result<(), Error> {
        on!(self, pool => insert(pool, patient).await)
    }

    pub(crate) async fn fetch(&self, keyring: &Keyring, id: Uuid) -> Result<Option<Patient>, Error> {
        on!(self, pool => Patient::fetch(pool, keyring, &id).await)
    }

    pub(crate) async fn find_by_ssn(
        &self,
        keyring: &Keyring,
        ssn: &Phi<String>,
    ) -> Result<Vec<Patient>, Error> {
        on!(self, pool => Patient::find_by_ssn(pool, keyring, ssn).await)
    }

    /// Whether there was such a patient. The field and its index are written together.
    pub(crate) async fn update_ssn(
        &self,
        id: Uuid,
        ssn: Sealed<String>,
        ssn_index: BlindIndex,
    ) -> Result<bool, Error> {
        const UPDATE: &str = "UPDATE patients SET ssn = $1, ssn_index = $2 WHERE id = $3";
        let updated = on!(self, pool => {
            let update = sqlx::query(UPDATE).bind(ssn).bind(ssn_index).bind(id);
            update.execute(pool).await?.rows_affected()
        });
        Ok(updated > 0)
    }

    pub(crate) async fn update_phone(&self, id: Uuid, phone: Option<Sealed<String>>) -> Result<bool, Error> {
        const UPDATE: &str = "UPDATE patients SET phone = $1 WHERE id = $2";
        let updated = on!(self, pool => {
            sqlx::query(UPDATE).bind(phone).bind(id).execute(pool).await?.rows_affected()
        });
        Ok(updated > 0)
    }

    /// The latest patients: plain columns, so no key.
    pub(crate) async fn list(&self) -> Result<Vec<Listed>, Error> {
        const SELECT: &str = "SELECT id, clinic FROM patients ORDER BY id DESC LIMIT $1";
        Ok(on!(self, pool => sqlx::query_as(SELECT).bind(LISTED).fetch_all(pool).await?))
    }
}
