//! What an application does with a database, and what goes wrong there: once with sealed markers, and once, for the
//! control, with markers in the clear. Each step says its name before it begins.

use std::error::Error as StdError;
use std::fmt::Write as _;

use phield::sqlx::{DatabaseError, Error, insert, insert_batch};
use phield::{AppName, BlindIndex, Keyring, Sealed};
use sqlx::error::ErrorKind;
use sqlx::{AssertSqlSafe, Encode, Executor, IntoArguments, Type};
use tokio::time::{Duration, sleep};
use uuid::Uuid;

use crate::Markers;
use crate::database::{Database, on};
use crate::model::{Patient, SealedPatient};

/// Done, with every failure that was wanted; or what was not as it should be.
pub type Outcome<T = ()> = Result<T, Box<dyn StdError + Send + Sync>>;

/// The steps of both runs.
pub const STEPS: [&str; 8] = [
    "insert",
    "update",
    "unique violation",
    "check violation",
    "null violation",
    "deadlock",
    "slow query",
    "dropped connection",
];

const UPDATE: &str = "UPDATE patients SET ssn = $1, ssn_index = $2 WHERE id = $3";

/// The columns of a patient whose SSN is written again.
struct NewSsn {
    id: Uuid,
    ssn: Sealed<String>,
    ssn_index: BlindIndex,
}

/// Seals the markers of two people, and does everything with them.
///
/// # Errors
/// When something fails that should not, or does not fail as it should.
pub async fn sealed(database: &Database, [markers, other]: [&Markers; 2]) -> Outcome {
    let keyring = Keyring::ephemeral(AppName::from_static("emr"))?;
    let (ada, bob) = (Patient::new(markers), Patient::new(other));
    tracing::info!(?ada, ssn = ?ada.ssn, "a patient");
    step("insert");
    let row = ada.seal_async(&keyring).await?;
    tracing::debug!(?row, ssn = ?row.ssn, index = ?row.ssn_index, "a sealed patient");
    on!(database, pool => insert(pool, &row).await?);
    let rows = Patient::seal_batch_async(std::slice::from_ref(&bob), &keyring).await?;
    on!(database, pool => insert_batch(&mut *pool.acquire().await?, rows).await?);
    found(database, &keyring, &ada).await?;

    step("update");
    let [a, b] = [new_ssn(&keyring, &ada)?, new_ssn(&keyring, &bob)?];
    on!(database, pool => update(pool, database, &a).await?);

    step("unique violation");
    let mut again = Patient::new(markers);
    let sealed = again.seal_async(&keyring).await?;
    let refused = on!(database, pool => insert(pool, &sealed).await);
    expect(refused, ErrorKind::UniqueViolation)?;
    step("check violation");
    (again.clinic, again.ssn) = (-1, "000-00-0001".into());
    let sealed = again.seal_async(&keyring).await?;
    let refused = on!(database, pool => insert(pool, &sealed).await);
    expect(refused, ErrorKind::CheckViolation)?;
    step("null violation");
    let sql = "UPDATE patients SET ssn = $1, name = NULL WHERE id = $2";
    let refused = on!(database, pool => {
        sqlx::query(database.sql(sql)).bind(a.ssn.clone()).bind(a.id).execute(pool).await.map(drop)
    });
    expect(refused.map_err(Error::from), ErrorKind::NotNullViolation)?;

    step("deadlock");
    expect(
        deadlock(database, &a, &b).await.map_err(Error::from),
        ErrorKind::Other,
    )?;
    step("slow query");
    slow(database, &a, 0.4).await?;
    step("dropped connection");
    dropped(database, &a, &again.seal_async(&keyring).await?).await?;

    step("a row that does not open");
    let moved = SealedPatient {
        id: Uuid::nil(),
        ..row
    };
    report(&moved.open(&keyring).err().ok_or("a moved row opened")?);
    Ok(())
}

async fn found(database: &Database, keyring: &Keyring, ada: &Patient) -> Outcome {
    let by_ssn = on!(database, pool => Patient::find_by_ssn(pool, keyring, &ada.ssn).await?);
    let by_licence = on!(database, pool => Patient::find_by_licence(pool, keyring, &ada.licence).await?);
    let fetched = on!(database, pool => Patient::fetch(pool, keyring, &ada.id).await?);
    tracing::info!(?by_ssn, ?fetched, "found");
    if by_ssn == [ada.clone()] && by_licence == by_ssn && fetched.as_ref() == Some(ada) {
        Ok(())
    } else {
        Err("what was found is not what was sealed".into())
    }
}

fn new_ssn(keyring: &Keyring, patient: &Patient) -> Result<NewSsn, Error> {
    let (ssn, ssn_index) = Patient::seal_ssn(keyring, &patient.id, &patient.ssn)?;
    let id = patient.id;
    Ok(NewSsn { id, ssn, ssn_index })
}

async fn update<'c, E>(executor: E, database: &Database, new: &NewSsn) -> Result<(), sqlx::Error>
where
    E: Executor<'c>,
    <E::Database as sqlx::Database>::Arguments: IntoArguments<E::Database>,
    Sealed<String>: for<'q> Encode<'q, E::Database> + Type<E::Database>,
    BlindIndex: for<'q> Encode<'q, E::Database> + Type<E::Database>,
    Uuid: for<'q> Encode<'q, E::Database> + Type<E::Database>,
{
    let update = sqlx::query(database.sql(UPDATE))
        .bind(new.ssn.clone())
        .bind(new.ssn_index);
    update.bind(new.id).execute(executor).await.map(drop)
}

/// Two transactions, each of which wants the row that the other one has. SQLite has one writer, and refuses the second
/// at once.
async fn deadlock(database: &Database, a: &NewSsn, b: &NewSsn) -> Result<(), sqlx::Error> {
    on!(database, pool => {
        let (mut one, mut other) = (pool.begin().await?, pool.begin().await?);
        update(&mut *one, database, a).await?;
        update(&mut *other, database, b).await?;
        let (first, second) = tokio::join!(update(&mut *one, database, b), update(&mut *other, database, a));
        first.and(second)
    })
}

/// A query that takes `seconds`, with an index value bound to it.
async fn slow(database: &Database, new: &NewSsn, seconds: f32) -> Result<(), sqlx::Error> {
    let sql = format!(
        "SELECT clinic, {} FROM patients WHERE ssn_index IN ($1, $2)",
        database.sleep(seconds)
    );
    let (first, second) = (new.ssn_index, new.ssn_index);
    on!(database, pool => {
        sqlx::query(database.sql(&sql)).bind(first).bind(second).execute(pool).await.map(drop)
    })
}

/// The server ends the connection while a statement runs. In SQLite, which has none to end, a transaction is dropped.
async fn dropped(database: &Database, new: &NewSsn, row: &SealedPatient) -> Outcome {
    if let Database::Sqlite(pool) = database {
        let mut transaction = pool.begin().await?;
        let valid = SealedPatient {
            clinic: 7,
            ..row.clone()
        };
        insert(&mut *transaction, &valid).await?;
        drop(transaction);
        return Ok(());
    }
    let (cut, ended) = tokio::join!(slow(database, new, 30.0), end_sleeper(database));
    ended?;
    report_both(&Error::from(cut.err().ok_or("the connection was not cut")?));
    Ok(())
}

/// Ends the connection that sleeps, as soon as there is one.
async fn end_sleeper(database: &Database) -> Outcome {
    for _ in 0..100 {
        sleep(Duration::from_millis(100)).await;
        let ended = match database {
            Database::Sqlite(_) => return Err("there is no connection to end".into()),
            Database::Postgres(pool) => {
                let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                           WHERE query LIKE '%pg_sleep(30)%' AND pid <> pg_backend_pid()";
                sqlx::query(sql).execute(pool).await?.rows_affected() == 1
            }
            Database::MySql(pool) => {
                let sql = "SELECT id FROM information_schema.processlist WHERE state = 'User sleep'";
                let sleeping: Option<i64> = sqlx::query_scalar(sql).fetch_optional(pool).await?;
                if let Some(id) = sleeping {
                    let kill = format!("KILL CONNECTION {id}");
                    sqlx::raw_sql(AssertSqlSafe(kill)).execute(pool).await?;
                }
                sleeping.is_some()
            }
        };
        if ended {
            return Ok(());
        }
    }
    Err("no connection sleeps".into())
}

/// The same with values in the clear: what must be found. Returns what phield's errors say of it all the same, in which
/// nothing may be found.
///
/// # Errors
/// When something fails that should not, or does not fail as it should.
pub async fn in_the_clear(database: &Database, [markers, other]: [&Markers; 2]) -> Outcome<String> {
    tracing::info!(
        markers.text,
        markers.ssn,
        markers.name,
        markers.email,
        "a patient in the clear"
    );
    let mut wrapped = String::new();
    step("insert");
    in_clear(database, markers, 1, 7).await?;
    in_clear(database, other, 2, 7).await?;
    step("update");
    let sql = "UPDATE in_the_clear SET ssn = $1, note = $2 WHERE id = $3";
    on!(database, pool => {
        let update = sqlx::query(database.sql(sql)).bind(&markers.ssn).bind(&markers.text);
        update.bind(1_i64).execute(pool).await?;
    });
    let mut third = markers.clone();
    third.ssn = markers.ssn.replace('-', "/");
    let refused = [
        ("unique violation", in_clear(database, markers, 3, 7).await),
        ("check violation", in_clear(database, &third, 3, -1).await),
    ];
    for (name, refused) in refused {
        step(name);
        let error = Error::from(refused.err().ok_or("it was not refused")?);
        report_both(&error);
        writeln!(wrapped, "{error} {error:?}")?;
    }
    step("slow query");
    let sql = format!(
        "SELECT clinic, {} FROM in_the_clear WHERE ssn = $1",
        database.sleep(0.4)
    );
    on!(database, pool => { sqlx::query(database.sql(&sql)).bind(&markers.ssn).execute(pool).await?; });
    Ok(wrapped)
}

async fn in_clear(database: &Database, markers: &Markers, id: i64, clinic: i64) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO in_the_clear (id, name, ssn, email, note, clinic) VALUES ($1, $2, $3, $4, $5, $6)";
    on!(database, pool => {
        let insert = sqlx::query(database.sql(sql)).bind(id).bind(&markers.name).bind(&markers.ssn);
        insert.bind(&markers.email).bind(&markers.text).bind(clinic).execute(pool).await.map(drop)
    })
}

fn step(name: &str) {
    tracing::info!("step: {name}");
}

/// Reports the error of what has to fail.
fn expect(refused: Result<(), Error>, expected: ErrorKind) -> Outcome {
    let error = refused.err().ok_or("it was not refused")?;
    report_both(&error);
    let Error::Database(database) = &error else {
        return Err("it was not the database that refused".into());
    };
    let kind = database
        .expose_sqlx_error()
        .as_database_error()
        .map(sqlx::error::DatabaseError::kind);
    if kind
        .as_ref()
        .is_some_and(|kind| std::mem::discriminant(kind) == std::mem::discriminant(&expected))
    {
        Ok(())
    } else {
        Err(format!("refused as {kind:?} in the place of {expected:?}").into())
    }
}

/// Reports an error of phield, and the error of sqlx in it.
fn report_both(error: &Error) {
    report(error);
    if let Error::Database(database) = error {
        report::<DatabaseError>(database);
        report(database.expose_sqlx_error());
    }
}

/// All that an error can be made to say.
fn report<E: StdError + 'static>(error: &E) {
    tracing::error!(%error, debug = ?error, value = error as &(dyn StdError + 'static), "failed");
    tracing::error!("{error} {error:?} {error:#?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        tracing::error!("because {error} {error:?}");
        cause = error.source();
    }
}
