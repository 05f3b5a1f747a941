//! Columns of plaintext that become columns of tokens, and tokens that are unsealed, killed at every write. At any moment every
//! version of the application that can run then reads every row, and what it writes is not lost.

use std::sync::Arc;

use phield::sqlx::insert_batch;
use phield::sqlx::migrate::{Migration, Step};
use phield::{Keyring, SchemaFile};
use phield_rotation_tests::Failed;
use phield_rotation_tests::person::{COLUMNS, Person, person, written};
use sqlx::Pool;

use super::kills::{Command, Site, at_every_write};
use super::people::{self, Version};
use super::table::{self, Db};
use super::DATABASE;
use crate::lane::Start;

const ROWS: i64 = 12;

pub(crate) struct People {
    start: Start,
    keyring: Arc<Keyring>,
    people: Vec<Person>,
}

impl People {
    pub(crate) fn new(rows: i64) -> Self {
        let start = Start::new();
        let keyring = Arc::new(start.ring.keyring());
        Self { start, keyring, people: (1..=rows).map(person).collect() }
    }

    fn migration(&self, site: &Site) -> Result<Migration<Db>, Failed> {
        let schema = SchemaFile::of(&[Person::SCHEMA])?;
        Ok(Migration::new(site.pool.clone(), Arc::clone(&self.keyring), schema))
    }

    /// Every row is what it should be, as a version reads it.
    async fn reads(&self, site: &Site, version: Version, expected: &[Person]) -> Result<(), Failed> {
        let read = people::all(&site.pool, &self.keyring, version).await.map_err(|error| format!("{version:?}: {error}"))?;
        if read == expected {
            return Ok(());
        }
        Err(format!("the rows are not what they were, as the version {version:?} reads them").into())
    }

    async fn check_nothing_left(&self, site: &Site) -> Result<(), Failed> {
        table::check_nothing_left(&site.pool, &self.keyring, SchemaFile::of(&[Person::SCHEMA])?).await
    }
}

/// `add`, `backfill`, `cutover` and `drop`.
pub(crate) struct Migrate(pub(crate) People);

impl Migrate {
    /// The versions that run now read every row, and find it by its index once it is sealed.
    async fn holds(&self, site: &Site, expected: &[Person]) -> Result<Vec<Version>, Failed> {
        let migration = self.0.migration(site)?;
        let versions = people::versions(&site.pool, &migration).await?;
        if versions.is_empty() {
            return Err("no version of the application reads the rows".into());
        }
        for version in &versions {
            self.0.reads(site, *version, expected).await?;
        }
        let records = migration.status().await?;
        if records.len() == COLUMNS.len() {
            let is_sealed = records.iter().all(|record| record.step >= Some(Step::Cutover));
            people::check_found(&site.pool, &self.0.keyring, expected, is_sealed).await?;
        }
        Ok(versions)
    }
}

impl Command for Migrate {
    /// The rows.
    type Written = Vec<i64>;

    fn mode(&self) -> &'static str {
        "migrate"
    }

    fn spread(&self) -> usize {
        16
    }

    fn start(&self) -> &Start {
        &self.0.start
    }

    async fn fill(&self, pool: &Pool<Db>) -> Result<(), Failed> {
        table::execute(pool, &[people::PLAIN]).await?;
        for person in &self.0.people {
            let insert = format!("INSERT INTO people (id, ward) VALUES ({}, '')", person.id);
            table::execute(pool, &[&insert]).await?;
            people::write(pool, &self.0.keyring, person, Version::Plain).await?;
        }
        table::keep(pool, "people").await
    }

    async fn reset(&self, pool: &Pool<Db>) -> Result<(), Failed> {
        table::rebuild(pool, "people", &[people::PLAIN]).await
    }

    async fn killed(&self, site: &Site) -> Result<Vec<i64>, Failed> {
        let mut expected = self.0.people.clone();
        let versions = self.holds(site, &expected).await?;
        let mut is_plain_left = false;
        for column in COLUMNS {
            is_plain_left |= table::has_column(&site.pool, "people", column).await;
        }
        // A note goes, and another one comes.
        let writes: &[(Version, [i64; 2])] = match versions.as_slice() {
            [Version::Plain] => &[(Version::Plain, [1, 9])],
            // Over plaintext that is still there, the version that knows tokens alone writes no NULL (see `phield::sqlx::migrate`).
            [Version::Mixed, Version::Sealed] => &[(Version::Mixed, [1, 9]), (Version::Sealed, [6, 12])],
            [Version::Sealed] if is_plain_left => &[(Version::Sealed, [6, 12])],
            [Version::Sealed] => &[(Version::Sealed, [1, 9])],
            // The version before may still read, and writes nothing any more.
            _ => &[(Version::Mixed, [1, 9])],
        };
        let mut rows = Vec::new();
        for (version, ids) in writes {
            for id in ids {
                people::write(&site.pool, &self.0.keyring, &written(*id), *version).await?;
                rows.push(*id);
            }
        }
        for person in expected.iter_mut().filter(|person| rows.contains(&person.id)) {
            *person = written(person.id);
        }
        let versions = people::versions(&site.pool, &self.0.migration(site)?).await?;
        if let Some(newest) = versions.last() {
            self.0.reads(site, *newest, &expected).await?;
        }
        Ok(rows)
    }

    async fn ended(&self, site: &Site, rows: Vec<i64>) -> Result<String, Failed> {
        let expected = |id| if rows.contains(&id) { written(id) } else { person(id) };
        let expected: Vec<_> = self.0.people.iter().map(|person| expected(person.id)).collect();
        let versions = self.holds(site, &expected).await?;
        if versions != [Version::Sealed] {
            return Err(format!("the versions {versions:?} read the rows").into());
        }
        for column in COLUMNS {
            if table::has_column(&site.pool, "people", column).await {
                return Err(format!("the column {column} is there").into());
            }
        }
        people::check_nulls(&site.pool, &expected).await?;
        self.0.check_nothing_left(site).await?;
        let records = self.0.migration(site)?.status().await?;
        let steps: Vec<_> = records.iter().map(|record| (&record.column, record.step, record.left)).collect();
        Ok(format!("{steps:?}\n{}", site.report()?))
    }
}

/// Plaintext is written beside the tokens.
pub(crate) struct Unseal(pub(crate) People);

impl Command for Unseal {
    type Written = ();

    fn mode(&self) -> &'static str {
        "unseal"
    }

    fn spread(&self) -> usize {
        10
    }

    fn start(&self) -> &Start {
        &self.0.start
    }

    async fn fill(&self, pool: &Pool<Db>) -> Result<(), Failed> {
        table::execute(pool, &[people::SEALED]).await?;
        let sealed = Person::seal_batch(&self.0.people, &self.0.keyring)?;
        insert_batch(&mut *pool.acquire().await?, sealed).await?;
        table::keep(pool, "people").await
    }

    async fn reset(&self, pool: &Pool<Db>) -> Result<(), Failed> {
        table::rebuild(pool, "people", &[people::SEALED]).await
    }

    async fn killed(&self, site: &Site) -> Result<(), Failed> {
        self.0.reads(site, Version::Sealed, &self.0.people).await?;
        people::check_found(&site.pool, &self.0.keyring, &self.0.people, true).await?;
        people::check_nulls(&site.pool, &self.0.people).await?;
        people::check_unsealed(&site.pool, &self.0.people).await
    }

    async fn ended(&self, site: &Site, (): ()) -> Result<String, Failed> {
        self.killed(site).await?;
        self.0.reads(site, Version::Plain, &self.0.people).await?;
        self.0.check_nothing_left(site).await?;
        site.report()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate() {
    at_every_write(Migrate(People::new(ROWS)), None, DATABASE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unseal() {
    at_every_write(Unseal(People::new(ROWS)), None, DATABASE).await;
}
