//! Keyrings that live on: outages, refusals, stampedes, new keys, other processes.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::panic)]

mod fleet;
mod load;
mod memory;
mod outages;
mod stampede;
mod world;
