//! Canary tests: marker values, new ones in every run, go through everything that an application does with
//! them, and then are looked for wherever something was written.
//!
//! | test | what it looks through |
//! |---|---|
//! | `memory` | a core dump, and the memory, of a process that sealed, opened and dropped them |
//! | `sqlite`, `postgres`, `mariadb` | data files, WAL and binary log, server logs, dumps, and what the client logged |
//! | `service` | logs, answers and panics of the axum example |
//! | `tracing` | what a subscriber is given |
//!
//! Each has a control: markers that are written in the clear, and have to be found in each of these places.
//!
//! Failures name a marker by what it is, never by its value.
#![forbid(unsafe_code)]

pub mod child;
pub mod database;
pub mod exercise;
mod markers;
pub mod model;

pub use markers::{Markers, Search};
