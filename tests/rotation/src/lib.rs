//! What the processes of these tests share: a model, its table in every database, a ring in a folder; and what the processes do.
#![forbid(unsafe_code)]
#![allow(
    missing_docs,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::exhaustive_structs,
    clippy::exhaustive_enums,
    reason = "helpers of tests"
)]
#![allow(clippy::duplicate_mod, reason = "that is how a case runs on every database")]

pub mod arguments;
pub mod model;
pub mod next;
mod options;
pub mod person;
pub mod ring;

/// Any error, in words.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

macro_rules! on_every_database {
    ($($database:ident)*) => {
        $(
            #[path = "site"]
            pub mod $database {
                pub use phield_database_tests::$database::{Db, sql};

                use crate::options::$database as options;

                pub mod migrator;
                pub mod next;
                pub mod people;
                pub mod rotator;
                pub mod table;
                pub mod traffic;
            }
        )*
    };
}

on_every_database!(sqlite postgres mariadb);
