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

use proptest::prelude::*;

use crate::steps::steps;
use crate::world::World;

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// After every step I-1 to I-8 hold, as far as they can be seen: see `invariants.rs`.
    #[test]
    fn random(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in &steps {
                world.take(step).await;
                world.holds(step).await;
            }
        });
    }
}
