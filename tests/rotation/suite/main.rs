//! Rotation and migration by force, on SQLite, PostgreSQL and MariaDB: killed at every write, its server killed, beside live traffic, shared by
//! workers that die, over rows that are broken.
//!
//! They run in processes of their own (`src/bin`). To kill one at its n-th write it is started with the library of
//! `killer/`, which `cargo xtask rotation` builds. That runs a spread of the kill points, as CI does; `cargo xtask rotation
//! --every` runs all of them, and prints how many there were.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "clippy allows them in the test functions alone"
)]
#![allow(clippy::duplicate_mod, reason = "that is how a case runs on every database")]

mod key_file;
mod kill_points;
mod lane;
mod outage;
mod process;
mod wal;

macro_rules! on_every_database {
    ($($database:ident)*) => {
        $(
            #[path = "cases"]
            mod $database {
                use crate::lane::$database as lane;
                use phield_rotation_tests::$database::{next, people, table};

                /// As it is printed.
                const DATABASE: &str = stringify!($database);

                pub(crate) mod killed;
                mod broken;
                pub(crate) mod kills;
                pub(crate) mod migrated;
                pub(crate) mod new_index;
                mod traffic;
                mod workers;
            }
        )*
    };
}

on_every_database!(sqlite postgres mariadb);
