//! What can go wrong. Paths and key ids are named; keys, passphrases and values never are.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use phield_core::config::ConfigError;
use phield_core::{InvalidName, OpenError, RingError, SchemaFileError, SchemaSqlError, SealError};

use crate::text::paths;

/// Why a verb did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The ring.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A name on the command line.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A token that cannot be read.
    #[error("this is no token: expected the text form phi1.…, or the bytes in hex")]
    Token(#[source] OpenError),
    /// A file operation.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A schema file.
    #[error("cannot use {}", path.display())]
    SchemaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: SchemaFileError,
    },
    /// The SQL of a schema.
    #[error(transparent)]
    SchemaSql(#[from] SchemaSqlError),
    /// Standard input.
    #[error("cannot read standard input")]
    Input(#[source] io::Error),
    /// Standard output.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    /// There is a ring already.
    #[error("there is a key ring already at {}; nothing was changed", .0.display())]
    RingExists(PathBuf),
    /// Files of another init are in the way.
    #[error(
        "there is no key ring at {}, but these files are in the way; nothing was changed:\n{}\n\
         If an init that did not finish left them, nothing was ever sealed with them: delete them and run it again.\n\
         If a ring stood here before, keep them: they open its backup, which is put back at {0}.",
        ring.display(), paths(found)
    )]
    LeftOvers {
        /// Where the ring would be.
        ring: PathBuf,
        /// What is there.
        found: Vec<PathBuf>,
    },
    /// A step of init failed.
    #[error(
        "could not {step}; no key ring was published, nothing can have been sealed with its keys\n{}",
        if made.is_empty() {
            "Nothing was left behind. Run it again.".to_owned()
        } else {
            format!("Left behind:\n{}\nDelete them and run it again.", paths(made))
        }
    )]
    Init {
        /// What was being done.
        step: &'static str,
        /// The files that were made before.
        made: Vec<PathBuf>,
        /// Why it failed.
        source: Box<Self>,
    },
    /// The last step of init failed, with the ring in its place.
    #[error("the key ring is in its place and backed up, but the last step failed; see `phield keys list`")]
    AfterPublish(#[source] Box<Self>),
    /// The restore did not work in a process of its own.
    #[error("the rehearsal in a new process ended with {status}: {stderr}")]
    Rehearsal {
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said.
        stderr: String,
    },
    /// The backup file is not there.
    #[error("there is no backup at {}", .0.display())]
    NoBackup(PathBuf),
    /// A test token could not be sealed.
    #[error("the ring seals no test token")]
    Seal(#[from] SealError),
    /// The test token could not be opened.
    #[error("the ring does not open the test token")]
    Open(#[source] OpenError),
    /// The test token held something else.
    #[error("the test token opens, but it is not one of a rehearsal")]
    OtherToken,
    /// The ring was changed, and what follows the change failed.
    #[error("the key ring was changed, but {then}; the same command can be run again")]
    AfterChange {
        /// What did not follow.
        then: &'static str,
        /// Why.
        source: Box<Self>,
    },
    /// No backup is named, on the command line or in configuration.
    #[error("where to? Give --backup FILE, or [backup] in phield.toml")]
    NoBackupPath,
    /// A backup could not be rehearsed or written: what stood there stands there still.
    #[error("the backup {} was not replaced", path.display())]
    Backup {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<Self>,
    },
    /// Another manifest of the ring that cannot be verified now.
    #[error(
        "{name} is there and cannot be verified now: nothing was restored. It may be a better ring than the backup: bring its \
         provider back, or put the configuration right. To lose what it alone knows: --ignore-unverified"
    )]
    Unverified {
        /// Which.
        name: String,
        /// Why.
        source: Box<RingError>,
    },
    /// A restore would lose what the ring became after the newest manifest that is here.
    #[error(
        "this restore loses history. Look for a newer manifest, at another instance or in other backups, and give it in \
         --merge. If there is none: --accept-lost-history"
    )]
    HistoryLost(#[source] RingError),
    /// Wraps that configuration has and that do not open, or keys that no wrap opens.
    #[error("{wraps} wraps do not open, and {keys} keys have no wrap that opens")]
    Wraps {
        /// Wraps that do not open.
        wraps: usize,
        /// Keys without a wrap that opens.
        keys: usize,
    },
    /// No database is named.
    #[error(
        "which database? Set PHIELD_DATABASE_URL, or give --database with sqlite:FILE, postgres://… or mysql://… (the URL of an \
         argument shows in the list of processes: no password there)"
    )]
    NoDatabase,
    /// A URL that is none, or of a database that this build does not know.
    #[error(
        "the URL of the database is not understood: sqlite:FILE, postgres://… or mysql://…, in a phield that was built for that \
         database (cargo install … --features sqlx-sqlite, sqlx-postgres or sqlx-mysql)"
    )]
    DatabaseUrl,
    /// No value is under a key of this ring.
    #[error(
        "no value of these tables is under a key of ring {0}: it is probably not theirs (phield.toml), or not their newest. A rotation \
         would write nothing, and put everything into quarantine"
    )]
    OtherRing(String),
    /// The clocks of the database and of this machine differ by so many seconds.
    #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
    #[error(
        "nothing was done: the clocks of the database and of this machine are {0} s apart. Since when the old key seals no more is noted, \
         and its destruction counts from there: set both by NTP, and run it again"
    )]
    ClocksApart(u64),
    /// `--replace-key` would join a rotation that was started without a new key.
    #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
    #[error(
        "no key was replaced: the rotation of mode {mode} that is under way here since {started} was started without a new key. Let it end \
         (the same command without --replace-key), or end it by `phield rotate cancel`, and run this again"
    )]
    WithoutNewKey {
        /// Its mode.
        mode: &'static str,
        /// When it was started.
        started: String,
    },
    /// The rotation has no report.
    #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
    #[error(
        "the last rotation of this database has no report: it is not done, or its process ended before it wrote one. `phield rotate \
             resume`, or `phield scan`, makes one"
    )]
    NoReportYet,
    /// There is no rotation to tell of.
    #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
    #[error(
        "there was no rotation in this database yet: `phield rotate run` starts one, `phield rotate plan` says what it would do"
    )]
    NeverRotated,
    /// The rotation does not go on.
    #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
    #[error(transparent)]
    Rotation(#[from] phield_sqlx::rotate::RotationError),
    /// A migration.
    #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
    #[error(transparent)]
    Migration(#[from] phield_sqlx::migrate::MigrationError),
    /// The credentials of Rails.
    #[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
    #[error("cannot use {}", path.display())]
    Rails {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: phield_import::RailsCredentialsError,
    },
    /// A key was replaced, its rotation has ended, and the same command is given again.
    #[error(
        "nothing was done: key {key_id} is the active one since {at}, and its rotation has ended. To go through the rows once more, without \
         another key: phield rotate run {mode}. To replace this key, too: the same command after {until}, or phield keys activate"
    )]
    ReplacedLately {
        /// The active key.
        key_id: phield_core::KeyId,
        /// When it took the place of the one before it.
        at: String,
        /// From when on it can be replaced by the same command.
        until: String,
        /// What is rotated.
        mode: &'static str,
    },
    /// A successor was published, and is not known to every process yet.
    #[error(
        "key {key_id} is published, and every process knows it from {at} on. Run the same command again then: it activates the key \
         and starts the rotation"
    )]
    Published {
        /// The successor.
        key_id: phield_core::KeyId,
        /// When it can be activated.
        at: String,
    },
    /// A report is evidence: it is not replaced.
    #[error("there is a file at {} already; a report is not replaced. Give another name by --report", .0.display())]
    ReportExists(PathBuf),
    /// Keys that could not be wrapped under another key-encryption key.
    #[error(
        "{keys} keys stay under the old key-encryption key; the others are done. Put right what is said of each, and run it again"
    )]
    KeysLeft {
        /// How many.
        keys: usize,
    },
    /// `phield status` found keys that are to be replaced.
    #[error("{overdue} overdue, {soon} due soon")]
    Due {
        /// By now.
        overdue: usize,
        /// Within the days of warning.
        soon: usize,
    },
    /// `phield doctor` found something.
    #[error("{errors} errors, {warnings} warnings")]
    Findings {
        /// What keeps the application from working, or loses data.
        errors: usize,
        /// What will, or makes it weaker.
        warnings: usize,
    },
    /// A passphrase file, and no key file that it would open.
    #[error("--passphrase-file is for a local key file: add --with-key-file, or leave it out")]
    NoKeyFile,
    /// An alias of AWS KMS, in a build that cannot look it up.
    #[cfg(not(feature = "aws-kms"))]
    #[error(
        "{0:?} is looked up at AWS KMS by the feature aws-kms, which this build does not have: build phield with --features aws-kms"
    )]
    NoAliases(String),
    /// A key of AWS KMS cannot be used.
    #[cfg(feature = "aws-kms")]
    #[error(transparent)]
    Kms(#[from] phield_aws_kms::ResolveError),
    /// The HSM.
    #[cfg(feature = "pkcs11")]
    #[error(transparent)]
    Hsm(#[from] phield_pkcs11::Pkcs11Error),
    /// A key of the HSM does not do its work.
    #[cfg(feature = "pkcs11")]
    #[error("the key is in the HSM, but it does not work: do not put it into phield.toml")]
    HsmTrial(#[from] phield_core::ProviderError),
    /// A coverage report that is no evidence.
    #[error(
        "the report {} was not believed: it has to be of this ring, byte for byte as `phield scan` wrote it; run it again",
        path.display()
    )]
    Report {
        /// The file.
        path: PathBuf,
        /// Why.
        source: RingError,
    },
    /// A path that cannot stand in a configuration file.
    #[error("a path is not UTF-8, so it cannot stand in phield.toml")]
    Path,
}

impl Error {
    /// What a program that prints it exits with: 2 for the errors that `phield doctor` found and for what is overdue, otherwise 1. (2 is what `clap`
    /// exits with for wrong usage, too.)
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Findings { errors: 1.., .. } | Self::Due { overdue: 1.., .. } => 2,
            _ => 1,
        }
    }
}

/// An error and its causes, one a line.
#[must_use]
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = format!("error: {error}\n");
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = writeln!(text, "  caused by: {error}");
        cause = error.source();
    }
    text
}
