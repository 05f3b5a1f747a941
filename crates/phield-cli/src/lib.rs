//! The verbs of the command line `phield`, for a command line of your own.
//!
//! ```no_run
//! use clap::Parser;
//! use phield_cli::{Command, Host};
//!
//! #[derive(Parser)]
//! enum MyCli {
//!     /// Key rings.
//!     #[command(subcommand)]
//!     Phield(Command),
//! }
//!
//! # async fn main_() -> Result<(), phield_cli::Error> {
//! let MyCli::Phield(command) = MyCli::parse();
//! let mut out = std::io::stdout();
//! // `init` runs this program again, as `<program> phield keys verify-backup …`.
//! phield_cli::run(&command, &mut Host::new(&mut out).under(["phield"])).await
//! # }
//! ```
#![forbid(unsafe_code)]

mod backup;
mod destroy;
mod doctor;
mod error;
#[cfg(feature = "pkcs11")]
mod hsm;
mod init;
mod inspect;
mod key_file;
mod keys;
mod life;
#[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
mod migrate;
mod rehearsal;
mod restore;
mod rotate;
mod schema;
mod status;
mod text;
mod wraps;

use std::ffi::OsString;
use std::fmt;
use std::io::Write;
#[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
use std::sync::Arc;

#[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
use phield_core::SubjectStore;
use phield_core::{Backends, SchemaFile};
use serde::Serialize;

pub use backup::{BackupArguments, PublishArguments};
pub use destroy::DestroyArguments;
pub use doctor::{DoctorArguments, Severity};
pub use error::{Error, causes};
#[cfg(feature = "pkcs11")]
pub use hsm::{HsmCommand, HsmKeyArguments, HsmKeyKind};
pub use init::{InitArguments, KekArguments, StretchingChoice, SuiteChoice};
pub use inspect::InspectArguments;
pub use key_file::KeyFileArguments;
pub use keys::{KeysCommand, ListArguments, RingArguments};
pub use life::{ActivateArguments, AddArguments, RetireArguments, UseChoice};
#[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
pub use migrate::{
    BackfillArguments, ColumnArguments, CutoverArguments, DropArguments, FromArguments, MigrateCommand,
    UnsealArguments,
};
pub use rehearsal::VerifyBackupArguments;
pub use restore::RestoreArguments;
#[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
pub use rotate::{
    DatabaseArguments, ModeChoice, PageArguments, PlanArguments, QuarantineArguments, ResumeArguments,
    RotateStatusArguments, RunArguments, ScanArguments, WorkArguments,
};
pub use rotate::{RotateCommand, RotateKekArguments, RotateRingArguments};
pub use schema::{DialectChoice, SchemaCommand, SchemaSqlArguments};
pub use status::StatusArguments;
pub use wraps::{CheckArguments, WrapAddArguments, WrapCommand, WrapRemoveArguments};

/// What `phield` does.
#[derive(Debug, clap::Subcommand)]
#[non_exhaustive]
pub enum Command {
    /// Make a key ring, back it up and rehearse the restore
    ///
    /// Its keys are wrapped under a local key file, unless keys of AWS KMS or of an HSM are given. Aliases of KMS are looked
    /// up here, once: what is written are key ARNs. The first key-encryption key generates the keys, every other one wraps
    /// them, too: any one of them opens the ring.
    ///
    ///   phield init … --kms-key alias/clinic --kms-region eu-central-1 --with-key-file
    ///   phield init … --hsm-module /usr/lib/libhsm.so --hsm-pin-file pin --hsm-key clinic/kek
    #[command(verbatim_doc_comment)]
    Init(InitArguments),
    /// List, add, activate, retire, wrap, back up and restore the keys of a ring
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Put other keys in the place of those that are there, bring every row under them, and prove it
    #[command(subcommand)]
    Rotate(RotateCommand),
    /// Say how old keys are, and which are to be replaced
    ///
    /// By the policy in phield.toml: 90 days for data keys, a year for the others and for key-encryption keys, unless configured.
    /// For cron: exits with 0 when nothing is due, 1 when something is due soon (or the ring cannot be opened), 2 when
    /// something is overdue.
    Status(StatusArguments),
    /// Say what is wrong with configuration, files, clock, providers, ring and machine, and what to do
    ///
    /// Changes nothing. Exits with 0 when nothing is wrong, 1 for warnings, 2 for errors.
    Doctor(DoctorArguments),
    /// Make a key in an HSM, or check one
    #[cfg(feature = "pkcs11")]
    #[command(subcommand)]
    Hsm(HsmCommand),
    /// Show what anybody can see in a token: everything visible, nothing more
    Inspect(InspectArguments),
    /// Make a column of tokens of a column of plaintext, in four steps, beside live traffic
    #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
    #[command(subcommand)]
    Migrate(MigrateCommand),
    /// Migration out: write the plaintext of a sealed column into the database
    ///
    /// The database, its backups, replicas and logs hold it from then on. Asks for an acknowledgement.
    #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
    Unseal(UnsealArguments),
    /// Count the keys of all values, and find columns that hold tokens and are not registered, or plaintext where tokens should be
    ///
    /// Reads the starts of all values, and opens none. Exits with 1 for warnings, 2 for plaintext.
    #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
    Scan(ScanArguments),
    /// Print the SQL of the tables that an application seals into
    #[command(subcommand)]
    Schema(SchemaCommand),
}

/// Where a verb runs: what it prints to, and how it starts this program again.
pub struct Host<'a> {
    out: &'a mut dyn Write,
    verbs: Vec<OsString>,
    schema: Option<SchemaFile>,
    #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
    subjects: Option<Arc<dyn SubjectStore>>,
    backends: Backends,
}

impl<'a> Host<'a> {
    /// Prints to `out`.
    #[must_use]
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            verbs: Vec::new(),
            schema: None,
            #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
            subjects: None,
            backends: backends(),
        }
    }

    /// The arguments that stand before these verbs in your own command line.
    #[must_use]
    pub fn under<S: Into<OsString>>(mut self, verbs: impl IntoIterator<Item = S>) -> Self {
        self.verbs = verbs.into_iter().map(Into::into).collect();
        self
    }

    /// The tables of your application, by the constants of its models: no schema file is read unless one is named.
    #[must_use]
    pub fn with_schema(mut self, schema: SchemaFile) -> Self {
        self.schema = Some(schema);
        self
    }

    /// Where the secrets of subjects are, so that tables with subject keys are rotated and verified, too.
    #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
    #[must_use]
    pub fn with_subjects(mut self, subjects: Arc<dyn SubjectStore>) -> Self {
        self.subjects = Some(subjects);
        self
    }

    /// The providers and key stores that configuration can name; those of the features of this crate unless given.
    #[must_use]
    pub fn with_backends(mut self, backends: Backends) -> Self {
        self.backends = backends;
        self
    }

    fn backends(&self) -> &Backends {
        &self.backends
    }

    fn print(&mut self, text: impl fmt::Display) -> Result<(), Error> {
        writeln!(self.out, "{text}")
            .and_then(|()| self.out.flush())
            .map_err(Error::Output)
    }

    fn print_json(&mut self, value: &impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(value).map_err(|error| Error::Output(error.into()))?;
        self.print(text)
    }
}

fn backends() -> Backends {
    let backends = Backends::local();
    #[cfg(feature = "pkcs11")]
    let backends = backends.with_provider(phield_pkcs11::Pkcs11ProviderFactory::new());
    #[cfg(feature = "aws-kms")]
    let backends = backends.with_provider(phield_aws_kms::AwsKmsFactory::new());
    #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
    let backends = backends.with_key_store(phield_sqlx::TableKeyStores::new());
    backends
}

impl fmt::Debug for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("verbs", &self.verbs)
            .finish_non_exhaustive()
    }
}

/// Does what the command line says.
///
/// # Errors
/// See [`Error`]; print it with [`causes`] and exit with [`Error::exit_code`].
pub async fn run(command: &Command, host: &mut Host<'_>) -> Result<(), Error> {
    match command {
        Command::Init(arguments) => init::run(arguments, host).await,
        Command::Keys(command) => run_keys(command, host).await,
        Command::Rotate(command) => rotate::run(command, host).await,
        Command::Status(arguments) => status::run(arguments, host).await,
        Command::Doctor(arguments) => doctor::run(arguments, host).await,
        #[cfg(feature = "pkcs11")]
        Command::Hsm(command) => hsm::run(command, host).await,
        #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
        Command::Migrate(command) => migrate::run(command, host).await,
        #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
        Command::Unseal(arguments) => migrate::unseal(arguments, host).await,
        #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
        Command::Scan(arguments) => rotate::scan(arguments, host).await,
        Command::Inspect(arguments) => inspect::run(arguments, host).await,
        Command::Schema(SchemaCommand::Sql(arguments)) => schema::sql(arguments, host),
    }
}

async fn run_keys(command: &KeysCommand, host: &mut Host<'_>) -> Result<(), Error> {
    match command {
        KeysCommand::List(arguments) => keys::list(arguments, host).await,
        KeysCommand::Add(arguments) => life::add(arguments, host).await,
        KeysCommand::Activate(arguments) => life::activate(arguments, host).await,
        KeysCommand::Retire(arguments) => life::retire(arguments, host).await,
        KeysCommand::Destroy(arguments) => destroy::run(arguments, host).await,
        KeysCommand::Wrap(WrapCommand::Add(arguments)) => wraps::add(arguments, host).await,
        KeysCommand::Wrap(WrapCommand::Remove(arguments)) => wraps::remove(arguments, host).await,
        KeysCommand::KeyFile(arguments) => key_file::run(arguments, host),
        KeysCommand::Check(arguments) => wraps::check(arguments, host).await,
        KeysCommand::Backup(arguments) => backup::run(arguments, host).await,
        KeysCommand::VerifyBackup(arguments) => rehearsal::verify_backup(arguments, host).await,
        KeysCommand::Publish(arguments) => backup::publish(arguments, host).await,
        KeysCommand::Restore(arguments) => restore::run(arguments, host).await,
    }
}
