//! The key store as a table of a database: one row a ring, replaced by compare-and-swap.

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod databases;

use std::fmt;
use std::pin::Pin;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use phield_core::config::ConfigError;
use phield_core::{KeyStore, KeyStoreFactory, RingError, RingFuture, RingName};
use sqlx::pool::PoolOptions;
use sqlx::{Connection, Database, Pool};

use crate::backend::Backend;
use crate::error::DatabaseError;

/// The table unless configured.
const TABLE: &str = "phield_key_store";
/// How long a call waits for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest name of a table: PostgreSQL has 63 bytes, MariaDB 64.
const MAX_NAME: usize = 63;
/// Largest manifest that is read, as from a file.
const MAX_MANIFEST: u64 = 16 << 20;
/// SQLSTATE of a transaction that lost to another one.
const SERIALIZATION_FAILURE: &str = "40001";

type Options<DB> = <<DB as Database>::Connection as Connection>::Options;
type DbFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, sqlx::Error>> + Send + 'a>>;

/// A database that a key store can be a table of. Not for users to implement.
pub trait KeyStoreDatabase: Backend {
    /// The columns of the table.
    #[doc(hidden)]
    const COLUMNS: &'static str;
    /// How it writes the first, second and third value of a statement.
    #[doc(hidden)]
    const VALUES: [&'static str; 3];
    /// The manifest in bytes, without reading it.
    #[doc(hidden)]
    const LENGTH: &'static str;

    /// The database in words, without user and password.
    #[doc(hidden)]
    fn place(options: &Options<Self>) -> String;

    #[doc(hidden)]
    fn create(pool: &Pool<Self>, sql: String) -> DbFuture<'_, ()>;

    /// The row, and in it the manifest, if the statement gives it.
    #[doc(hidden)]
    fn read<'a>(pool: &'a Pool<Self>, sql: String, ring: &'a str) -> DbFuture<'a, Option<Option<Vec<u8>>>>;

    /// `INSERT`: the number of rows.
    #[doc(hidden)]
    fn insert<'a>(pool: &'a Pool<Self>, sql: String, ring: &'a str, manifest: &'a [u8]) -> DbFuture<'a, u64>;

    /// `UPDATE`: the number of rows that were found.
    #[doc(hidden)]
    fn swap<'a>(
        pool: &'a Pool<Self>,
        sql: String,
        manifest: &'a [u8],
        ring: &'a str,
        previous: &'a [u8],
    ) -> DbFuture<'a, u64>;
}

/// A key store in a table of a database, the application's own or another: one row a ring.
///
/// | | SQLite | PostgreSQL | MariaDB, MySQL |
/// |---|---|---|---|
/// | `ring` | `TEXT PRIMARY KEY` | `TEXT PRIMARY KEY` | `VARCHAR(128)`, `ascii_bin` |
/// | `manifest` | `BLOB NOT NULL` | `BYTEA NOT NULL` | `LONGBLOB NOT NULL` |
///
/// A ring is replaced in one statement that names the bytes it replaces: of two writers, one finds no row and is told so.
/// Every call makes a connection of its own, in the runtime that it is called from: a ring is read every few minutes, and
/// by a thread that has its own runtime. A database that is out of reach is an error of the call, after ten seconds at most
/// for the connection.
///
/// # Security
/// Connect to the primary: a replica gives an old manifest, which the epoch witness refuses. Services that only seal and
/// open need `SELECT` on this table, and nothing else. Writing it is durable as the database's own settings say: leave
/// `synchronous_commit` and its likes as they are by default.
pub struct TableKeyStore<DB: KeyStoreDatabase> {
    options: Options<DB>,
    table: String,
    ring: RingName,
    place: String,
}

impl<DB: KeyStoreDatabase> TableKeyStore<DB> {
    /// The key store of `ring` in the table `phield_key_store`.
    #[must_use]
    pub fn new(options: Options<DB>, ring: RingName) -> Self {
        let place = DB::place(&options);
        Self {
            place: format!("table {TABLE} of {place}"),
            table: quoted::<DB>(TABLE),
            options,
            ring,
        }
    }

    /// In another table: a name, or a schema, a dot and a name.
    ///
    /// # Errors
    /// [`ConfigError::KeyStoreTable`] when it is none.
    pub fn with_table(self, table: &str) -> Result<Self, ConfigError> {
        let is_name = |name: &str| {
            let mut bytes = name.bytes();
            (1..=MAX_NAME).contains(&name.len()) && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        if !table.split('.').all(is_name) || table.split('.').count() > 2 {
            return Err(ConfigError::KeyStoreTable);
        }
        Ok(Self {
            place: format!("table {table} of {}", DB::place(&self.options)),
            table: quoted::<DB>(table),
            ..self
        })
    }

    /// By the URL of the database. It may hold a password: it stands in no error.
    ///
    /// # Errors
    /// [`ConfigError::KeyStoreUrl`] when it is none.
    pub fn from_url(url: &str, ring: RingName) -> Result<Self, ConfigError> {
        let options = Options::<DB>::from_str(url).map_err(|_| ConfigError::KeyStoreUrl)?;
        Ok(Self::new(options, ring))
    }

    /// The statement that creates the table, if it is not there.
    #[must_use]
    pub fn create_table_sql(&self) -> String {
        format!("CREATE TABLE IF NOT EXISTS {} ({})", self.table, DB::COLUMNS)
    }

    /// Creates the table, if it is not there.
    ///
    /// # Errors
    /// [`RingError::Store`].
    pub async fn create_table(&self) -> Result<(), RingError> {
        let pool = self.connect().await?;
        let created = DB::create(&pool, self.create_table_sql()).await;
        self.done(pool, created).await
    }

    async fn read_now(&self) -> Result<Option<Vec<u8>>, RingError> {
        let pool = self.connect().await?;
        let found = self.read_from(&pool).await;
        match self.done(pool, found).await? {
            Some(None) => Err(RingError::Malformed(
                "the manifest: it is larger than 16 MiB, or no bytes",
            )),
            found => Ok(found.flatten()),
        }
    }

    async fn replace_now(&self, previous: Option<&[u8]>, manifest: &[u8]) -> Result<(), RingError> {
        let pool = self.connect().await?;
        let written = match previous {
            Some(previous) => self.swap(&pool, previous, manifest).await,
            None => self.insert(&pool, manifest).await,
        };
        // The database tells the loser under the isolation levels that do.
        let written = match written {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(SERIALIZATION_FAILURE) => {
                Ok(false)
            }
            written => written,
        };
        if self.done(pool, written).await? {
            Ok(())
        } else {
            Err(RingError::Conflict)
        }
    }

    /// Whoever writes the table writes what they like: nothing is taken into memory that no manifest is as large as.
    async fn read_from(&self, pool: &Pool<DB>) -> Result<Option<Option<Vec<u8>>>, sqlx::Error> {
        let [first, ..] = DB::VALUES;
        let sql = format!(
            "SELECT CASE WHEN {} <= {MAX_MANIFEST} THEN manifest END FROM {} WHERE ring = {first}",
            DB::LENGTH,
            self.table
        );
        DB::read(pool, sql, self.ring.as_str()).await
    }

    /// Whether the row still held `previous`.
    async fn swap(&self, pool: &Pool<DB>, previous: &[u8], manifest: &[u8]) -> Result<bool, sqlx::Error> {
        let [first, second, third] = DB::VALUES;
        let sql = format!(
            "UPDATE {} SET manifest = {first} WHERE ring = {second} AND manifest = {third}",
            self.table
        );
        let rows = DB::swap(pool, sql, manifest, self.ring.as_str(), previous).await?;
        Ok(rows == 1)
    }

    /// Whether there was no row, or this very one: a first write whose answer was lost is made whole by writing it again.
    async fn insert(&self, pool: &Pool<DB>, manifest: &[u8]) -> Result<bool, sqlx::Error> {
        let [first, second, _] = DB::VALUES;
        let sql = format!(
            "INSERT INTO {} (ring, manifest) VALUES ({first}, {second})",
            self.table
        );
        match DB::insert(pool, sql, self.ring.as_str(), manifest).await {
            Ok(_) => Ok(true),
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                Ok(self.read_from(pool).await?.flatten().as_deref() == Some(manifest))
            }
            Err(error) => Err(error),
        }
    }

    /// A pool of one connection, for its time-out.
    async fn connect(&self) -> Result<Pool<DB>, RingError> {
        let pool = PoolOptions::<DB>::new()
            .max_connections(1)
            .acquire_timeout(CONNECT_TIMEOUT);
        let pool = pool.connect_with(self.options.clone()).await;
        pool.map_err(|error| self.failed(error))
    }

    async fn done<T>(&self, pool: Pool<DB>, result: Result<T, sqlx::Error>) -> Result<T, RingError> {
        if result.is_ok() {
            pool.close().await;
        }
        result.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: sqlx::Error) -> RingError {
        RingError::Store {
            place: self.place.clone(),
            source: Box::new(DatabaseError::from(error)),
        }
    }
}

impl<DB: KeyStoreDatabase> KeyStore for TableKeyStore<DB>
where
    Options<DB>: Send + Sync,
{
    fn place(&self) -> String {
        self.place.clone()
    }

    fn create(&self) -> RingFuture<'_, ()> {
        Box::pin(self.create_table())
    }

    fn read(&self) -> RingFuture<'_, Option<Vec<u8>>> {
        Box::pin(self.read_now())
    }

    fn replace<'a>(&'a self, previous: Option<&'a [u8]>, manifest: &'a [u8]) -> RingFuture<'a, ()> {
        Box::pin(async move {
            self.check_manifest(manifest)?;
            self.replace_now(previous, manifest).await
        })
    }
}

// The options hold a password.
impl<DB: KeyStoreDatabase> fmt::Debug for TableKeyStore<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TableKeyStore(ring {}, {})", self.ring, self.place)
    }
}

fn quoted<DB: Backend>(table: &str) -> String {
    let quote = DB::QUOTE;
    let parts: Vec<_> = table
        .split('.')
        .map(|part| format!("{quote}{part}{quote}"))
        .collect();
    parts.join(".")
}

/// Key stores in tables, for the URLs of the databases that are switched on: `sqlite:`, `postgres:`, `mysql:`.
///
/// A path in the URL of an SQLite database is relative to the folder that the program runs in, not to `phield.toml`.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct TableKeyStores;

impl TableKeyStores {
    /// Key stores in tables.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl KeyStoreFactory for TableKeyStores {
    fn schemes(&self) -> &'static [&'static str] {
        &[
            #[cfg(feature = "sqlite")]
            "sqlite",
            #[cfg(feature = "postgres")]
            "postgres",
            #[cfg(feature = "postgres")]
            "postgresql",
            #[cfg(feature = "mysql")]
            "mysql",
            #[cfg(feature = "mysql")]
            "mariadb",
        ]
    }

    fn open<'a>(
        &'a self,
        url: &'a str,
        table: &'a str,
        ring: &'a RingName,
    ) -> RingFuture<'a, Arc<dyn KeyStore>> {
        let opened = open(url, table, ring.clone()).map_err(RingError::from);
        Box::pin(std::future::ready(opened))
    }
}

#[cfg_attr(
    not(any(feature = "sqlite", feature = "postgres", feature = "mysql")),
    allow(unused_variables, reason = "without a database")
)]
fn open(url: &str, table: &str, ring: RingName) -> Result<Arc<dyn KeyStore>, ConfigError> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        #[cfg(feature = "sqlite")]
        Some("sqlite") => Ok(Arc::new(
            TableKeyStore::<sqlx::Sqlite>::from_url(url, ring)?.with_table(table)?,
        )),
        #[cfg(feature = "postgres")]
        Some("postgres" | "postgresql") => Ok(Arc::new(
            TableKeyStore::<sqlx::Postgres>::from_url(url, ring)?.with_table(table)?,
        )),
        #[cfg(feature = "mysql")]
        Some("mysql" | "mariadb") => Ok(Arc::new(
            TableKeyStore::<sqlx::MySql>::from_url(url, ring)?.with_table(table)?,
        )),
        _ => Err(ConfigError::KeyStoreUrl),
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use sqlx::AssertSqlSafe;

    use super::*;

    /// Whoever writes the table writes what they like: what no manifest is as large as is not read.
    #[tokio::test]
    async fn a_manifest_that_is_none() {
        let folder = std::env::temp_dir().join(format!("phield-key-store-{}.db", std::process::id()));
        let _ = std::fs::remove_file(&folder);
        let url = format!("sqlite:{}?mode=rwc", folder.display());
        let store = TableKeyStore::<sqlx::Sqlite>::from_url(&url, RingName::from_static("r")).unwrap();
        store.create_table().await.unwrap();
        let pool = Pool::<sqlx::Sqlite>::connect(&url).await.unwrap();
        let write = async |value: &str| {
            let sql = format!("INSERT OR REPLACE INTO phield_key_store VALUES ('r', {value})");
            sqlx::query(AssertSqlSafe(sql)).execute(&pool).await.unwrap();
            store.read().await
        };
        assert_eq!(
            write("zeroblob(16777216)").await.unwrap().unwrap().len(),
            16 << 20
        );
        for value in ["zeroblob(16777217)", "zeroblob(100000000)", "'a text'", "7"] {
            let error = write(value).await.unwrap_err();
            assert!(matches!(error, RingError::Malformed(_)), "{value}: {error:?}");
        }
        pool.close().await;
        std::fs::remove_file(folder).unwrap();
    }
}
