//! `phield migrate` and `phield unseal`: a column of plaintext becomes a column of tokens, and back.

mod job;
mod text;

use std::path::{Path, PathBuf};

use phield_core::Keyring;
use phield_core::config::Config;
use phield_import::{RailsError, RailsKeys};
use phield_sqlx::migrate::{MigrationOptions, Source, SourceError};

use crate::rotate::{Database, DatabaseArguments, PageArguments};
use crate::{Error, Host, schema};
use job::{Job, Outcome, Verb};
use text::Listing;

/// The verbs of `phield migrate`.
#[derive(Debug, clap::Subcommand)]
#[non_exhaustive]
pub enum MigrateCommand {
    /// Say what a migration would do, and its SQL; changes nothing
    Plan(FromArguments),
    /// Declare the migration, and add the columns of tokens and index values, NULL in every row
    ///
    /// Then every process that writes the column writes both, and reads through `MixedTime`.
    Add(FromArguments),
    /// Seal the plaintext of every row that has no token
    ///
    /// Killed, it goes on where it was: run the same command again. The application goes on meanwhile, and loses no write. Rows
    /// that cannot be sealed go to the quarantine, and stop nothing; repaired, the next run takes them.
    Backfill(BackfillArguments),
    /// From now on plaintext is neither read nor written
    ///
    /// Opens every token and compares it with the plaintext beside it first; refused while a row has none, or another value.
    Cutover(CutoverArguments),
    /// Drop the column of the plaintext: there is no way back
    ///
    /// Take `MixedTime` out of the application first.
    Drop(DropArguments),
    /// Take the last step back
    ///
    /// From the cutover to the mixed time; from there to plaintext alone, which drops the column of tokens. Opens every token and
    /// compares it with the plaintext beside it first; refused where a row would lose its value, and for 60 seconds after the step
    /// before.
    Revert(ColumnArguments),
    /// Show every migration of this database
    Status(DatabaseArguments),
}

/// Which column, where.
#[derive(Debug, Clone, clap::Args)]
#[non_exhaustive]
pub struct ColumnArguments {
    /// The table, by its logical name
    #[arg(value_name = "TABLE")]
    pub table: String,
    /// The sealed column, by its logical name
    #[arg(value_name = "COLUMN")]
    pub column: String,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub database: DatabaseArguments,
    /// The column holds ciphertext of Rails Active Record encryption, not plaintext: the file of its credentials, TOML
    ///
    /// primary_key (one, or a list), deterministic_key and key_derivation_salt, as `bin/rails credentials:show` has them
    #[arg(long, value_name = "FILE")]
    pub rails: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub pages: PageArguments,
}

/// Arguments of `phield migrate plan` and `phield migrate add`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct FromArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub column: ColumnArguments,
    /// The column that holds the plaintext now, by its name in SQL
    #[arg(long, value_name = "SQL-NAME")]
    pub from: String,
}

/// Arguments of `phield migrate backfill`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct BackfillArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub column: ColumnArguments,
    /// Seal the plaintext again where a token holds something else, in just so many rows: a process wrote the plaintext alone
    ///
    /// Plaintext is not authenticated, the token is. With another number than that of the rows they are listed in the quarantine,
    /// and nothing is written.
    #[arg(long, value_name = "ROWS")]
    pub plaintext_wins: Option<u64>,
}

/// Arguments of `phield migrate cutover`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct CutoverArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub column: ColumnArguments,
    /// Every process that writes the column writes both: none of the old version runs any more
    #[arg(long)]
    pub dual_writes_on: bool,
}

/// Arguments of `phield migrate drop`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct DropArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub column: ColumnArguments,
    /// The text that the refusal without it asks for
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub acknowledge: String,
}

/// Arguments of `phield unseal`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct UnsealArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub column: ColumnArguments,
    /// The column that gets the plaintext, by its name in SQL; it must be there
    #[arg(long, value_name = "SQL-NAME")]
    pub into: String,
    /// The text that the refusal without it asks for
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub acknowledge: String,
}

pub(crate) async fn run(command: &MigrateCommand, host: &mut Host<'_>) -> Result<(), Error> {
    match command {
        MigrateCommand::Plan(arguments) => {
            perform(&arguments.column, Verb::Plan(&arguments.from), host).await
        }
        MigrateCommand::Add(arguments) => perform(&arguments.column, Verb::Add(&arguments.from), host).await,
        MigrateCommand::Backfill(arguments) => {
            perform(&arguments.column, Verb::Backfill(arguments.plaintext_wins), host).await
        }
        MigrateCommand::Cutover(arguments) => {
            perform(&arguments.column, Verb::Cutover(arguments.dual_writes_on), host).await
        }
        MigrateCommand::Drop(arguments) => {
            perform(&arguments.column, Verb::Drop(&arguments.acknowledge), host).await
        }
        MigrateCommand::Revert(column) => perform(column, Verb::Revert, host).await,
        MigrateCommand::Status(database) => status(database, host).await,
    }
}

/// `phield unseal`.
pub(crate) async fn unseal(arguments: &UnsealArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let verb = Verb::Unseal {
        into: &arguments.into,
        acknowledge: &arguments.acknowledge,
    };
    perform(&arguments.column, verb, host).await
}

async fn perform(arguments: &ColumnArguments, verb: Verb<'_>, host: &mut Host<'_>) -> Result<(), Error> {
    let source = arguments.rails.as_deref().map(rails).transpose()?;
    let ring = Config::read(&arguments.database.config)?
        .ring(host.backends())
        .await?;
    let keyring = ring.into_keyring().await?;
    let mut options = MigrationOptions::default();
    let pages = &arguments.pages;
    (options.batch, options.rate, options.who) = (pages.batch, pages.rate, pages.who());
    let job = Job {
        database: Database::of(&arguments.database)?,
        keyring,
        schema: schema::of(arguments.database.schema.as_deref(), host)?,
        source,
        options,
        quiet: pages.quiet || arguments.database.json,
    };
    let is_backfill = matches!(verb, Verb::Backfill(_));
    let outcome = job.run([&arguments.table, &arguments.column], verb).await?;
    print(
        &arguments.database,
        &Listing::new([&arguments.table, &arguments.column], &outcome),
        host,
    )?;
    // A script sees that not every row has its value.
    match outcome {
        Outcome::Unsealed(done) if done.unreadable + done.differing > 0 => Err(Error::Findings {
            errors: usize::from(done.differing > 0),
            warnings: usize::from(done.unreadable > 0),
        }),
        Outcome::Step(record) if is_backfill && record.left.is_some_and(|left| left > 0) => {
            Err(Error::Findings {
                errors: 0,
                warnings: 1,
            })
        }
        _ => Ok(()),
    }
}

/// Needs no keys.
async fn status(arguments: &DatabaseArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let job = Job {
        database: Database::of(arguments)?,
        keyring: Keyring::ephemeral(phield_core::AppName::from_static("none"))?,
        schema: schema::of(arguments.schema.as_deref(), host)?,
        source: None,
        options: MigrationOptions::default(),
        quiet: true,
    };
    let outcome = job.run(["", ""], Verb::Status).await?;
    print(arguments, &Listing::new(["", ""], &outcome), host)
}

fn print(arguments: &DatabaseArguments, listing: &Listing, host: &mut Host<'_>) -> Result<(), Error> {
    if arguments.json {
        host.print_json(listing)
    } else {
        host.print(listing.text())
    }
}

/// The source that opens what Rails encrypted.
fn rails(path: &Path) -> Result<Source, Error> {
    let credentials = std::fs::read_to_string(path)
        .map(Secret)
        .map_err(|source| Error::File {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
    let keys = RailsKeys::from_credentials(&credentials.0).map_err(|source| Error::Rails {
        path: path.to_owned(),
        source,
    })?;
    Ok(Source::new("rails", move |value_type, message| {
        let opened = if value_type == phield_core::ValueType::Bytes {
            keys.decrypt_bytes(message)
        } else {
            keys.decrypt(message)
                .map(|text| text.expose().clone().into_bytes().into())
        };
        opened.map_err(|error| match error {
            RailsError::NoKeyOpens => SourceError::Authentication,
            _ => SourceError::Malformed,
        })
    }))
}

/// The text of a file of keys, erased.
struct Secret(String);

impl Drop for Secret {
    fn drop(&mut self) {
        phield_core::Erase::erase(&mut self.0);
    }
}
