//! A migration, and the way back, as an operator runs them: command by command.

use std::path::Path;
use std::sync::Arc;

use phield::SchemaFile;
use phield::sqlx::migrate::{Acknowledgement, Migration, MigrationOptions};

use super::table::{self, Db, execute};
use crate::arguments::Arguments;
use crate::person::{COLUMNS, Person};
use crate::{Failed, ring};

/// `folder=` of the ring, `url=`, `report=` a file, `batch=`, `rate=`. The report names the commands that are done: those are not run again.
pub async fn run(arguments: &Arguments, commands: &[&str]) -> Result<(), Failed> {
    let ring = ring::open(Path::new(arguments.text("folder")?)).await?;
    let pool = table::connect(arguments.text("url")?, 2).await?;
    let mut options = MigrationOptions::default();
    options.batch = arguments.number("batch")?.unwrap_or(options.batch);
    options.rate = arguments.number("rate")?;
    let migration = Migration::new(pool.clone(), Arc::new(ring.keyring().await?), SchemaFile::of(&[Person::SCHEMA])?);
    let migration = migration.with_options(options);
    let report = Path::new(arguments.text("report")?);
    let mut done = if report.exists() { std::fs::read_to_string(report)? } else { String::new() };
    for command in commands {
        for column in COLUMNS {
            let line = format!("{command} {column}");
            if done.lines().any(|other| other == line) {
                continue;
            }
            if *command == "drop" {
                // The time that the processes of before have goes by.
                execute(&pool, &["UPDATE phield_migration SET since = since - 3600 WHERE step = 'cutover'"]).await?;
            }
            one(&migration, command, column).await?;
            done += &format!("{line}\n");
            ring::write_whole(report, &done)?;
        }
    }
    Ok(())
}

async fn one(migration: &Migration<Db>, command: &str, column: &str) -> Result<(), Failed> {
    let table = "people";
    match command {
        "add" => drop(migration.add(table, column, column).await?),
        "backfill" => {
            let record = migration.backfill(table, column, None, |_| {}).await?;
            if record.left != Some(0) {
                return Err(format!("{:?} rows are left", record.left).into());
            }
        }
        "cutover" => drop(migration.cutover(table, column, true).await?),
        "drop" => {
            let text = format!("backups still hold the plaintext of {table}.{column}");
            drop(migration.drop_plaintext(table, column, &Acknowledgement::backups(&text)).await?);
        }
        "unseal" => {
            let text = format!("write the plaintext of {table}.{column} into the column {column} of the database");
            let acknowledged = Acknowledgement::plaintext_phi(&text);
            let done = migration.unseal(table, column, column, &acknowledged, |_| {}).await?;
            if done.unreadable > 0 {
                return Err(format!("{} rows do not open", done.unreadable).into());
            }
        }
        _ => return Err(format!("no command `{command}`").into()),
    }
    Ok(())
}
