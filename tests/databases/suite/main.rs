//! Models on every database that phield supports: each case is written once, and runs on SQLite, PostgreSQL and MariaDB.
//!
//! The servers are started by the first test that needs them and end with the process; a missing one fails the tests. Every
//! test has an empty database of its own.
//!
//! To add a case, write a test into a file of `cases/`; a new file is named in the macro below. It has its database from
//! its parent module: `fresh().await` gives a pool, `Db` is the driver's type, and `sql("…")` takes SQL with `?` for values,
//! `"…"` around reserved names and `{int}`, `{uuid}`, `{bytes}`, `{text}` and so on for types (`src/lib.rs` has all of them).
//! What one database alone has goes to its own file beside this one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "clippy allows them in the test functions alone"
)]
#![allow(clippy::duplicate_mod, reason = "that is how a case runs on every database")]

mod futures;
mod key_store_outage;
mod postgres_only;
mod rotation_elsewhere;

macro_rules! on_every_database {
    ($($database:ident)*) => {
        $(
            #[path = "cases"]
            mod $database {
                use phield_database_tests::Fresh;
                use phield_database_tests::$database::{Db, fresh, sql};

                mod bad_input;
                mod indexes;
                mod key_store;
                mod migration;
                mod migration_values;
                mod refusals;
                mod rotation;
                mod rotation_coverage;
                mod rotation_meanwhile;
                mod row_ids;
                mod rows;
                mod schema_sql;
                mod shapes;
                mod streams;
                mod subjects;
                mod updates;
            }
        )*
    };
}

on_every_database!(sqlite postgres mariadb);

/// A keyring of an application that the tests of this package share.
fn keyring() -> phield::Keyring {
    phield::Keyring::ephemeral(phield::AppName::from_static("emr")).unwrap()
}
