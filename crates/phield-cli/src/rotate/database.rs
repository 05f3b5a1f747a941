//! The database of a rotation, by its URL.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use phield_core::{AppName, KeyId, Keyring, SchemaFile, SubjectStore};
use phield_sqlx::KeyStoreDatabase as _;
use phield_sqlx::rotate::{
    Mode, Quarantined, Rotation, RotationError, RotationOptions, RotationPlan, RotationStatus, Unregistered,
};
use sqlx::ConnectOptions as _;
use sqlx::pool::PoolOptions;

use crate::Error;

/// How long a connection may take: a server that is being restarted comes back within it.
const CONNECT: Duration = Duration::from_secs(30);

/// A database that is not connected to yet.
#[derive(Debug)]
pub(crate) enum Database {
    #[cfg(feature = "sqlx-sqlite")]
    Sqlite(Box<sqlx::sqlite::SqliteConnectOptions>),
    #[cfg(feature = "sqlx-postgres")]
    Postgres(Box<sqlx::postgres::PgConnectOptions>),
    #[cfg(feature = "sqlx-mysql")]
    MySql(Box<sqlx::mysql::MySqlConnectOptions>),
}

/// A rotation in some database.
pub(crate) enum Job {
    #[cfg(feature = "sqlx-sqlite")]
    Sqlite(Rotation<sqlx::Sqlite>),
    #[cfg(feature = "sqlx-postgres")]
    Postgres(Rotation<sqlx::Postgres>),
    #[cfg(feature = "sqlx-mysql")]
    MySql(Rotation<sqlx::MySql>),
}

/// The same for each database.
macro_rules! each {
    ($of:ident, $value:expr, $it:ident => $do:expr) => {
        match $value {
            #[cfg(feature = "sqlx-sqlite")]
            $of::Sqlite($it) => $do,
            #[cfg(feature = "sqlx-postgres")]
            $of::Postgres($it) => $do,
            #[cfg(feature = "sqlx-mysql")]
            $of::MySql($it) => $do,
        }
    };
}

/// A pool of so many connections.
pub(crate) async fn connect<O: sqlx::ConnectOptions>(
    options: &O,
    connections: u32,
) -> Result<sqlx::Pool<<O::Connection as sqlx::Connection>::Database>, Error>
where
    <O::Connection as sqlx::Connection>::Database: sqlx::Database<Connection = O::Connection>,
    O::Connection: sqlx::Connection<Options = O>,
{
    let pool = PoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(CONNECT);
    let pool = pool.connect_with(options.clone()).await;
    Ok(pool.map_err(RotationError::from)?)
}

impl Database {
    /// By the command line, or the environment.
    pub(crate) fn of(arguments: &super::DatabaseArguments) -> Result<Self, Error> {
        match &arguments.database {
            Some(url) => Self::new(url),
            None => Self::new(&std::env::var("PHIELD_DATABASE_URL").map_err(|_| Error::NoDatabase)?),
        }
    }

    fn new(url: &str) -> Result<Self, Error> {
        // What is wrong with a URL can repeat its password.
        match url.split_once(':').map(|(scheme, _)| scheme) {
            #[cfg(feature = "sqlx-sqlite")]
            Some("sqlite") => {
                let options =
                    sqlx::sqlite::SqliteConnectOptions::from_str(url).map_err(|_| Error::DatabaseUrl)?;
                // A writer waits for others, which a rotation gives way to.
                Ok(Self::Sqlite(Box::new(
                    options.busy_timeout(CONNECT).disable_statement_logging(),
                )))
            }
            #[cfg(feature = "sqlx-postgres")]
            Some("postgres" | "postgresql") => {
                let options =
                    sqlx::postgres::PgConnectOptions::from_str(url).map_err(|_| Error::DatabaseUrl)?;
                Ok(Self::Postgres(Box::new(options.disable_statement_logging())))
            }
            #[cfg(feature = "sqlx-mysql")]
            Some("mysql" | "mariadb") => {
                let options =
                    sqlx::mysql::MySqlConnectOptions::from_str(url).map_err(|_| Error::DatabaseUrl)?;
                Ok(Self::MySql(Box::new(options.disable_statement_logging())))
            }
            _ => Err(Error::DatabaseUrl),
        }
    }

    /// Where it is, without user and password.
    pub(crate) fn place(&self) -> String {
        match self {
            #[cfg(feature = "sqlx-sqlite")]
            Self::Sqlite(options) => sqlx::Sqlite::place(options),
            #[cfg(feature = "sqlx-postgres")]
            Self::Postgres(options) => sqlx::Postgres::place(options),
            #[cfg(feature = "sqlx-mysql")]
            Self::MySql(options) => sqlx::MySql::place(options),
        }
    }

    /// A rotation of it.
    pub(crate) async fn job(
        &self,
        keyring: Arc<Keyring>,
        schema: SchemaFile,
        options: RotationOptions,
        subjects: Option<Arc<dyn SubjectStore>>,
    ) -> Result<Job, Error> {
        // Two a worker, one for the progress, one that renews leases.
        let connections = options.workers.saturating_mul(2).saturating_add(2);
        macro_rules! rotation {
            ($database:ident, $connect:expr) => {{
                let pool = PoolOptions::new()
                    .max_connections(connections)
                    .acquire_timeout(CONNECT);
                let pool = pool
                    .connect_with((**$connect).clone())
                    .await
                    .map_err(RotationError::from)?;
                let rotation = Rotation::new(pool, keyring, schema).with_options(options);
                Job::$database(match subjects {
                    Some(subjects) => rotation.with_subjects(subjects),
                    None => rotation,
                })
            }};
        }
        Ok(match self {
            #[cfg(feature = "sqlx-sqlite")]
            Self::Sqlite(connect) => rotation!(Sqlite, connect),
            #[cfg(feature = "sqlx-postgres")]
            Self::Postgres(connect) => rotation!(Postgres, connect),
            #[cfg(feature = "sqlx-mysql")]
            Self::MySql(connect) => rotation!(MySql, connect),
        })
    }

    /// For what needs no keys.
    async fn without_keys(&self, schema: &SchemaFile) -> Result<Job, Error> {
        let keyring = Keyring::ephemeral(AppName::from_static("none"))?;
        self.job(
            Arc::new(keyring),
            schema.clone(),
            RotationOptions::default(),
            None,
        )
        .await
    }

    pub(crate) async fn status(&self, schema: &SchemaFile) -> Result<Option<RotationStatus>, Error> {
        let job = self.without_keys(schema).await?;
        Ok(each!(Job, job, it => it.status().await)?)
    }

    pub(crate) async fn pause(&self, schema: &SchemaFile) -> Result<(), Error> {
        let job = self.without_keys(schema).await?;
        Ok(each!(Job, job, it => it.pause().await)?)
    }

    pub(crate) async fn cancel(&self, schema: &SchemaFile) -> Result<(), Error> {
        let job = self.without_keys(schema).await?;
        Ok(each!(Job, job, it => it.cancel().await)?)
    }

    pub(crate) async fn quarantine(
        &self,
        schema: &SchemaFile,
        limit: u32,
    ) -> Result<Vec<Quarantined>, Error> {
        let job = self.without_keys(schema).await?;
        Ok(each!(Job, job, it => it.quarantine(limit).await)?)
    }
}

impl Job {
    pub(crate) async fn plan(&self, mode: Mode) -> Result<RotationPlan, Error> {
        Ok(each!(Self, self, it => it.plan(mode).await)?)
    }

    pub(crate) async fn run(
        &self,
        mode: Mode,
        report: impl Fn(&RotationStatus) + Send + Sync,
    ) -> Result<RotationStatus, Error> {
        Ok(each!(Self, self, it => it.run(mode, report).await)?)
    }

    pub(crate) async fn status(&self) -> Result<Option<RotationStatus>, Error> {
        Ok(each!(Self, self, it => it.status().await)?)
    }

    pub(crate) async fn clocks_apart(&self) -> Result<u64, Error> {
        Ok(each!(Self, self, it => it.clocks_apart().await)?)
    }

    pub(crate) async fn end_pause(&self) -> Result<Mode, Error> {
        Ok(each!(Self, self, it => it.end_pause().await)?)
    }

    pub(crate) async fn unregistered(&self) -> Result<Unregistered, Error> {
        Ok(each!(Self, self, it => it.unregistered().await)?)
    }

    pub(crate) async fn first_seen(&self, key: KeyId) -> Result<Option<i64>, Error> {
        Ok(each!(Self, self, it => it.first_seen(key).await)?)
    }

    pub(crate) async fn has_seen(&self, key: KeyId) -> Result<bool, Error> {
        Ok(each!(Self, self, it => it.has_seen(key).await)?)
    }

    pub(crate) async fn keep_report(&self, id: &str, report: &str) -> Result<(), Error> {
        Ok(each!(Self, self, it => it.keep_report(id, report).await)?)
    }
}
