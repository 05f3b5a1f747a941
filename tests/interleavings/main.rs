//! Rotation in every order: random interleavings over a real ring and table, and all interleavings of a small model.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests"
)]

mod invariants;
mod model;
mod steps;
mod world;

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::steps::steps;
use crate::world::World;

/// After every step I-1 to I-8 hold, as far as they can be seen: see `invariants.rs`.
#[test]
fn random_interleavings() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let config = ProptestConfig {
        cases: 24,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let (killed, ended) = (Cell::new(0), Cell::new(0));
    let ran = TestRunner::new(config).run(&steps(), |steps| {
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in &steps {
                world.take(step).await;
                world.holds(step).await;
            }
            killed.set(killed.get() + world.killed);
            ended.set(ended.get() + world.ended);
        });
        Ok(())
    });
    ran.unwrap();
    println!(
        "{} rotations were killed on their way, {} came to their end",
        killed.get(),
        ended.get()
    );
    assert!(killed.get() > 10 && ended.get() > 10, "they show nothing");
}
