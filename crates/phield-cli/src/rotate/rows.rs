//! Rotations of rows, and scans: the rows of an application's tables under the active keys, and the proof of it.

use std::path::PathBuf;
use std::sync::Arc;

use phield_core::config::Config;
use phield_core::{KeyUse, Ring, SchemaFile};
use phield_sqlx::rotate::{Mode, RotationOptions, RotationStatus};

use super::database::{Database, Job};
use super::{progress, replace, report, text};
use crate::{Error, Host, schema};

/// What a rotation is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[non_exhaustive]
pub enum ModeChoice {
    /// Rows are sealed again under the active data key; blind indexes stay
    Data,
    /// Blind indexes are computed again under the active pepper; tokens stay
    Pepper,
    /// Blind indexes are computed where there are none: for a new index with a column of its own. Duplicates of a unique one go into
    /// quarantine
    Index,
}

impl ModeChoice {
    pub(super) const fn mode(self) -> Mode {
        match self {
            Self::Data => Mode::Data,
            Self::Pepper => Mode::Pepper,
            Self::Index => Mode::Index,
        }
    }

    pub(super) const fn key_use(self) -> KeyUse {
        match self {
            Self::Data => KeyUse::Data,
            Self::Pepper | Self::Index => KeyUse::Index,
        }
    }
}

/// Which database, and how to print.
#[derive(Debug, Clone, clap::Args)]
#[non_exhaustive]
pub struct DatabaseArguments {
    /// The configuration of the ring
    #[arg(long, value_name = "FILE", default_value = "phield.toml")]
    pub config: PathBuf,
    /// The schema of the application's tables [default: phield.schema.json]
    #[arg(long, value_name = "FILE")]
    pub schema: Option<PathBuf>,
    /// The database: sqlite:, postgres: or mysql: [default: the variable PHIELD_DATABASE_URL, the place for a URL with a password]
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// How rows are gone through.
#[derive(Debug, Clone, clap::Args)]
#[non_exhaustive]
pub struct PageArguments {
    /// At most so many rows a second
    #[arg(long, value_name = "ROWS")]
    pub rate: Option<u32>,
    /// Rows of a page, which is read, sealed and written at once
    #[arg(long, value_name = "ROWS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub batch: u32,
    /// Who does this, for the record [default: the user, at this machine]
    #[arg(long, value_name = "NAME")]
    pub who: Option<String>,
    /// No progress bars
    #[arg(long, short)]
    pub quiet: bool,
}

impl PageArguments {
    /// Who does this.
    pub(crate) fn who(&self) -> String {
        self.who.clone().unwrap_or_else(text::whoami)
    }
}

/// How to work.
#[derive(Debug, Clone, clap::Args)]
#[non_exhaustive]
pub struct WorkArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub database: DatabaseArguments,
    /// Only these tables, by their logical names, comma between
    #[arg(long, value_name = "TABLES", value_delimiter = ',')]
    pub tables: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub pages: PageArguments,
    /// Workers of this process
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub workers: u32,
    /// No other process works at this rotation: what a killed one had is taken over at once, not after 30 seconds
    #[arg(long)]
    pub alone: bool,
    /// Where the signed report goes; a file of that name is not replaced [default: printed, and kept in the database]
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// Arguments of `phield rotate plan`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct PlanArguments {
    /// What is to rotate
    #[arg(value_enum)]
    pub mode: ModeChoice,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub work: WorkArguments,
}

/// Arguments of `phield rotate run`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct RunArguments {
    /// What is to rotate
    #[arg(value_enum)]
    pub mode: ModeChoice,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub work: WorkArguments,
    /// Replace the active key first: publish a successor, and activate it once every process can know it
    ///
    /// The first run publishes, and says when to come back; the next one activates, and starts. Repeating it while the rotation is
    /// under way replaces nothing again; once it has ended, a key that was replaced less than an hour ago is not replaced again.
    #[arg(long)]
    pub replace_key: bool,
    /// Do not wait: every instance that uses the ring was seen to have the active key
    #[arg(long)]
    pub acknowledged_by_every_instance: bool,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `phield rotate resume`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct ResumeArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub work: WorkArguments,
    /// Do not wait: every instance that uses the ring was seen to have the active key
    #[arg(long)]
    pub acknowledged_by_every_instance: bool,
}

/// Arguments of `phield rotate status`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct RotateStatusArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub database: DatabaseArguments,
    /// Write the signed report of the last rotation, as the database keeps it, into this file; one that is there is not replaced
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// Arguments of `phield rotate quarantine`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct QuarantineArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub database: DatabaseArguments,
    /// Print the keys of the rows, which may be MRNs
    #[arg(long)]
    pub rows: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

/// Arguments of `phield scan`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct ScanArguments {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would take it for help")]
    pub work: WorkArguments,
}

/// Everything that a verb works with.
pub(super) struct Context {
    pub(super) ring: Ring,
    pub(super) config: Config,
    pub(super) database: Database,
    pub(super) schema: SchemaFile,
}

impl DatabaseArguments {
    async fn open(&self, host: &Host<'_>) -> Result<Context, Error> {
        let config = Config::read(&self.config)?;
        let ring = config.ring(host.backends()).await?;
        Ok(Context {
            ring,
            config,
            database: Database::of(self)?,
            schema: schema::of(self.schema.as_deref(), host)?,
        })
    }
}

impl WorkArguments {
    fn options(&self, context: &Context, acknowledged: bool) -> RotationOptions {
        let mut options = RotationOptions::default();
        (options.batch, options.rate, options.workers) = (self.pages.batch, self.pages.rate, self.workers);
        options.tables.clone_from(&self.tables);
        options.who = self.pages.who();
        options.acknowledged_by_every_instance = acknowledged;
        options.alone = self.alone;
        options.hard_ttl = context.ring.settings.cache.hard_ttl();
        options
    }

    /// The rotation, with a keyring that stays in step with the ring however long it takes.
    async fn job(&self, context: &Context, acknowledged: bool, host: &Host<'_>) -> Result<Job, Error> {
        let live = context.config.ring(host.backends()).await?;
        let keyring = Arc::new(live.into_keyring().await?);
        let options = self.options(context, acknowledged);
        context
            .database
            .job(keyring, context.schema.clone(), options, host.subjects.clone())
            .await
    }
}

pub(super) async fn plan(mode: ModeChoice, work: &WorkArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let context = work.database.open(host).await?;
    let job = work.job(&context, false, host).await?;
    let plan = job.plan(mode.mode()).await?;
    let verified = context.ring.load().await?;
    let plan = text::Plan::new(mode, &plan, verified.manifest());
    if work.database.json {
        host.print_json(&plan)?;
    } else {
        host.print(plan.text())?;
    }
    if plan.is_of_another_ring() {
        return Err(Error::OtherRing(verified.manifest().ring.to_string()));
    }
    Ok(())
}

pub(super) async fn start(arguments: &RunArguments, host: &mut Host<'_>) -> Result<(), Error> {
    if arguments.dry_run {
        return plan(arguments.mode, &arguments.work, host).await;
    }
    let work = &arguments.work;
    let context = work.database.open(host).await?;
    if let Some(path) = &work.report {
        report::check_free(path)?;
    }
    let acknowledged = arguments.acknowledged_by_every_instance;
    if arguments.replace_key && arguments.mode != ModeChoice::Index {
        let job = work.job(&context, acknowledged, host).await?;
        replace::key(&context, &job, arguments, host).await?;
    }
    go(arguments.mode.mode(), work, &context, acknowledged, host).await
}

pub(super) async fn resume(arguments: &ResumeArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let work = &arguments.work;
    let context = work.database.open(host).await?;
    let acknowledged = arguments.acknowledged_by_every_instance;
    let job = work.job(&context, acknowledged, host).await?;
    let mode = job.end_pause().await?;
    go(mode, work, &context, acknowledged, host).await
}

pub(super) async fn verify(work: &WorkArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let context = work.database.open(host).await?;
    go(Mode::Verify, work, &context, true, host).await
}

/// Counts the keys of every value, and looks for what nobody registered.
pub(crate) async fn scan(arguments: &ScanArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let work = &arguments.work;
    let context = work.database.open(host).await?;
    go(Mode::Scan, work, &context, true, host).await
}

/// Runs to the end, and proves it.
async fn go(
    mode: Mode,
    work: &WorkArguments,
    context: &Context,
    acknowledged: bool,
    host: &mut Host<'_>,
) -> Result<(), Error> {
    if let Some(path) = &work.report {
        report::check_free(path)?;
    }
    let job = work.job(context, acknowledged, host).await?;
    let bars = progress::Bars::new(work.pages.quiet || work.database.json);
    let status = job.run(mode, |status: &RotationStatus| bars.show(status)).await;
    bars.finish();
    let status = status?;
    let unregistered = job.unregistered().await?;
    let signed = report::sign(context, &status, &unregistered).await?;
    let json = signed.to_json()?;
    job.keep_report(&status.id, &json).await?;
    if let Some(path) = &work.report {
        report::write(path, &json)?;
    }
    let end = report::End {
        context,
        status: &status,
        signed: &signed,
        unregistered: &unregistered,
        path: work.report.as_deref(),
    };
    if work.database.json {
        host.print(json.trim_end())?;
    } else {
        host.print(end.text())?;
    }
    end.findings()
}

pub(super) async fn status(arguments: &RotateStatusArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let context = arguments.database.open(host).await?;
    let status = context.database.status(&context.schema).await?;
    let status = status.ok_or(Error::NeverRotated)?;
    if let Some(path) = &arguments.report {
        if status.report.is_empty() {
            return Err(Error::NoReportYet);
        }
        report::check_free(path)?;
        report::write(path, &status.report)?;
    }
    let status = text::Status::new(status);
    if arguments.database.json {
        host.print_json(&status)
    } else {
        host.print(status.text())
    }
}

pub(super) async fn pause(arguments: &DatabaseArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let context = arguments.open(host).await?;
    context.database.pause(&context.schema).await?;
    host.print("The rotation is paused: its workers end after the pages that they are at. Go on with it by: phield rotate resume")
}

pub(super) async fn cancel(arguments: &DatabaseArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let context = arguments.open(host).await?;
    context.database.cancel(&context.schema).await?;
    host.print(
        "The rotation is cancelled: its workers end after the pages that they are at, and what it wrote stays as it is. It has no \
         report. What is left is found by the next one: phield rotate run",
    )
}

pub(super) async fn quarantine(arguments: &QuarantineArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let context = arguments.database.open(host).await?;
    let values = context
        .database
        .quarantine(&context.schema, arguments.limit)
        .await?;
    let is_all = u32::try_from(values.len()).is_ok_and(|values| values < arguments.limit);
    let list = text::Quarantine::new(&values, arguments.rows, is_all);
    if arguments.database.json {
        host.print_json(&list)
    } else {
        host.print(list.text())
    }
}
