//! `phield schema`: what the tables of an application are, from `phield.schema.json`.

use std::fs;
use std::path::{Path, PathBuf};

use phield_core::{Dialect, SchemaFile};

use crate::{Error, Host};

/// The verbs of `phield schema`.
#[derive(Debug, clap::Subcommand)]
#[non_exhaustive]
pub enum SchemaCommand {
    /// Print the statements that create the tables and their indexes
    ///
    /// From phield.schema.json, which the test macro `phield::schema_test!` writes. Comments tell how long tokens get.
    Sql(SchemaSqlArguments),
}

/// Arguments of `phield schema sql`.
#[derive(Debug, clap::Args)]
#[non_exhaustive]
pub struct SchemaSqlArguments {
    /// The database
    #[arg(long)]
    pub dialect: DialectChoice,
    /// The schema file [default: phield.schema.json]
    #[arg(long, value_name = "FILE")]
    pub schema: Option<PathBuf>,
}

/// The databases by the names of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[non_exhaustive]
pub enum DialectChoice {
    /// SQLite 3
    Sqlite,
    /// PostgreSQL
    Postgres,
    /// MariaDB and MySQL
    Mariadb,
}

impl From<DialectChoice> for Dialect {
    fn from(choice: DialectChoice) -> Self {
        match choice {
            DialectChoice::Sqlite => Self::Sqlite,
            DialectChoice::Postgres => Self::Postgres,
            DialectChoice::Mariadb => Self::MariaDb,
        }
    }
}

pub(crate) fn sql(arguments: &SchemaSqlArguments, host: &mut Host<'_>) -> Result<(), Error> {
    let schema = of(arguments.schema.as_deref(), host)?;
    let sql = schema.create_tables(arguments.dialect.into())?;
    host.print(sql.trim_end())
}

/// The schema of a file, of the application's own models, or of the file that is usual.
pub(crate) fn of(path: Option<&Path>, host: &Host<'_>) -> Result<SchemaFile, Error> {
    match (path, &host.schema) {
        (None, Some(schema)) => Ok(schema.clone()),
        (path, _) => read(path.unwrap_or(Path::new("phield.schema.json"))),
    }
}

fn read(path: &Path) -> Result<SchemaFile, Error> {
    let json = fs::read_to_string(path).map_err(|source| Error::File {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    SchemaFile::from_json(&json).map_err(|source| Error::SchemaFile {
        path: path.to_owned(),
        source,
    })
}
