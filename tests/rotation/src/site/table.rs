//! The table of patients.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use phield::sqlx::insert_batch;
use phield::sqlx::rotate::Rotation;
use phield::{BlindIndex, KeyId, Keyring, SchemaFile, TokenInfo};
use sqlx::pool::PoolOptions;
use sqlx::{Pool, Row as _};

pub use super::Db;
use super::{options, sql};
use crate::Failed;
use crate::model::{INDEXES, Patient, SealedPatient, TOKENS, patient};

/// The tables that rotations and migrations make.
const OF_PHIELD: [&str; 7] = [
    "phield_migration",
    "phield_rotation",
    "phield_rotation_table",
    "phield_rotation_share",
    "phield_rotation_count",
    "phield_rotation_key",
    "phield_quarantine",
];

/// A pool of this many connections at most.
pub async fn connect(url: &str, connections: u32) -> Result<Pool<Db>, Failed> {
    let pool = PoolOptions::new().max_connections(connections);
    Ok(pool.connect_with(options(url)?).await?)
}

/// The table, and its indexes in SQL.
pub const CREATE: [&str; 3] = [
    "CREATE TABLE patients (id {int} PRIMARY KEY, mrn {bytes} NOT NULL, mrn_index {index} NOT NULL, \
     ssn {bytes} NOT NULL, ssn_index {index} NOT NULL, note {text}, born {bytes}, ward {key_text} NOT NULL)",
    "CREATE INDEX by_mrn_index ON patients (mrn_index)",
    "CREATE INDEX by_ssn_index ON patients (ssn_index)",
];

/// Runs statements.
pub async fn execute(pool: &Pool<Db>, statements: &[&str]) -> Result<(), Failed> {
    for statement in statements {
        sqlx::query(sql(statement)).execute(pool).await?;
    }
    Ok(())
}

/// Makes the table and puts rows into it, which it gives.
pub async fn fill(pool: &Pool<Db>, keyring: &Keyring, rows: i64) -> Result<Vec<Patient>, Failed> {
    execute(pool, &CREATE).await?;
    let patients: Vec<_> = (1..=rows).map(patient).collect();
    let sealed = Patient::seal_batch(&patients, keyring)?;
    insert_batch(&mut *pool.acquire().await?, sealed).await?;
    Ok(patients)
}

/// Whether a table has a column.
pub async fn has_column(pool: &Pool<Db>, table: &str, column: &str) -> bool {
    let select = format!("SELECT {column} FROM {table} WHERE 1 = 0");
    sqlx::query(sql(&select)).fetch_all(pool).await.is_ok()
}

/// Nothing is in the quarantine, and `phield scan` finds nothing.
pub async fn check_nothing_left(pool: &Pool<Db>, keyring: &Arc<Keyring>, schema: SchemaFile) -> Result<(), Failed> {
    let rotation = Rotation::new(pool.clone(), Arc::clone(keyring), schema);
    let noted = rotation.quarantine(10).await?;
    let mut found = rotation.unregistered().await?;
    // What the tests keep is not of the application.
    found.columns.retain(|column| !column.table.ends_with("prepared"));
    let is_left = !noted.is_empty() || !found.columns.is_empty() || !found.plaintext.is_empty();
    if is_left {
        return Err(format!("in quarantine: {noted:?}; found by the scan: {found:?}").into());
    }
    Ok(())
}

/// Keeps the rows of a table as they are for [`reset`] and [`rebuild`].
pub async fn keep(pool: &Pool<Db>, table: &str) -> Result<(), Failed> {
    execute(pool, &[&format!("CREATE TABLE prepared AS SELECT * FROM {table}")]).await
}

/// Puts back the rows that were kept, and forgets every rotation.
pub async fn reset(pool: &Pool<Db>) -> Result<(), Failed> {
    forget(pool).await?;
    execute(pool, &["DELETE FROM patients", "INSERT INTO patients SELECT * FROM prepared"]).await
}

/// Makes a table anew, with the rows that were kept, and forgets every rotation and migration.
pub async fn rebuild(pool: &Pool<Db>, table: &str, create: &[&str]) -> Result<(), Failed> {
    forget(pool).await?;
    execute(pool, &[&format!("DROP TABLE {table}")]).await?;
    execute(pool, create).await?;
    execute(pool, &[&format!("INSERT INTO {table} SELECT * FROM prepared")]).await
}

async fn forget(pool: &Pool<Db>) -> Result<(), Failed> {
    for table in OF_PHIELD {
        execute(pool, &[&format!("DROP TABLE IF EXISTS {table}")]).await?;
    }
    Ok(())
}

/// All rows, opened.
pub async fn all(pool: &Pool<Db>, keyring: &Keyring) -> Result<Vec<Patient>, Failed> {
    let rows: Vec<SealedPatient> = sqlx::query_as(sql("SELECT * FROM patients ORDER BY id")).fetch_all(pool).await?;
    Ok(SealedPatient::open_batch(rows, keyring)?)
}

/// Every row opens and is what it should be.
pub async fn check_opens(pool: &Pool<Db>, keyring: &Keyring, expected: &[Patient]) -> Result<(), Failed> {
    if all(pool, keyring).await? == expected {
        return Ok(());
    }
    Err("the rows are not what they were".into())
}

/// Every row opens and is what it should be; every search by every index finds its row, and nothing else.
pub async fn check(pool: &Pool<Db>, keyring: &Keyring, expected: &[Patient]) -> Result<(), Failed> {
    check_opens(pool, keyring, expected).await?;
    for patient in expected {
        let one = std::slice::from_ref(patient);
        if Patient::find_by_mrn(pool, keyring, patient.mrn.expose().as_str()).await? != one {
            return Err(format!("row {} is not found by its medical record number", patient.id).into());
        }
        if Patient::find_by_ssn(pool, keyring, patient.ssn.expose().as_str()).await? != one {
            return Err(format!("row {} is not found by its social security number", patient.id).into());
        }
    }
    Ok(())
}

/// How many tokens, and how many index values, are under which key, counted without phield's rotation.
pub async fn keys(pool: &Pool<Db>) -> Result<[BTreeMap<KeyId, u64>; 2], Failed> {
    count(pool, false).await
}

/// As [`keys`], of a table where some values are no tokens.
pub async fn keys_of_good(pool: &Pool<Db>) -> Result<[BTreeMap<KeyId, u64>; 2], Failed> {
    count(pool, true).await
}

async fn count(pool: &Pool<Db>, is_good_only: bool) -> Result<[BTreeMap<KeyId, u64>; 2], Failed> {
    let columns = TOKENS.iter().chain(&INDEXES).copied().collect::<Vec<_>>().join(", ");
    let rows = sqlx::query(sql(&format!("SELECT {columns} FROM patients"))).fetch_all(pool).await?;
    let mut counts = [BTreeMap::new(), BTreeMap::new()];
    let [tokens, values] = &mut counts;
    for row in &rows {
        for column in TOKENS {
            // The column of text is read as such on every database.
            let value = match column {
                "note" => row.try_get::<Option<String>, _>(column)?.map(String::into_bytes),
                _ => row.try_get::<Option<Vec<u8>>, _>(column)?,
            };
            if let Some(value) = value {
                if is_good_only && TokenInfo::parse(&value).is_err() {
                    continue;
                }
                *tokens.entry(TokenInfo::parse(&value)?.key_id).or_default() += 1;
            }
        }
        for column in INDEXES {
            let value = BlindIndex::from_bytes(&row.try_get::<Vec<u8>, _>(column)?);
            let key = value.and_then(|value| value.key_id()).ok_or("this is no index value")?;
            *values.entry(key).or_default() += 1;
        }
    }
    Ok(counts)
}

/// The keys that anything in the table is under.
pub async fn keys_in_use(pool: &Pool<Db>) -> Result<BTreeSet<KeyId>, Failed> {
    Ok(keys(pool).await?.into_iter().flat_map(BTreeMap::into_keys).collect())
}

/// Whether a statement finds anything; not while the server is down, or before its table is there.
pub async fn finds(url: &str, select: &str) -> bool {
    let Ok(pool) = connect(url, 1).await else { return false };
    let rows = sqlx::query(sql(select)).fetch_all(&pool).await;
    rows.is_ok_and(|rows| !rows.is_empty())
}

/// The workers that have a share of a rotation now.
pub async fn owners(pool: &Pool<Db>) -> BTreeSet<String> {
    let owners = "SELECT owner FROM phield_rotation_share WHERE row_count > 0";
    let owners: Vec<String> = sqlx::query_scalar(owners).fetch_all(pool).await.unwrap_or_default();
    owners.into_iter().collect()
}

/// Every rotation that there was: how many rows it wrote, and in how many passes.
pub async fn rotations(pool: &Pool<Db>) -> Result<Vec<(i64, i64)>, Failed> {
    let rotations = "SELECT t.changed, r.pass FROM phield_rotation r JOIN phield_rotation_table t ON t.rotation = r.id";
    Ok(sqlx::query_as(rotations).fetch_all(pool).await?)
}

/// Sets a column of a row to what an SQL expression says.
pub async fn set(pool: &Pool<Db>, column: &str, expression: &str, id: i64) -> Result<(), Failed> {
    let update = format!("UPDATE patients SET {column} = {expression} WHERE id = {id}");
    sqlx::query(sql(&update)).execute(pool).await?;
    Ok(())
}
