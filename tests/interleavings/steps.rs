//! What can happen next.

use proptest::prelude::*;

/// What an operator, an instance of the application, or chance does.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A successor is published: of the data key, or of the pepper.
    Publish { pepper: bool },
    /// The newest pre-active key is activated; either the operator says that every instance has it, and sees to it, or claims
    /// that the time has passed, which it has not.
    Activate { pepper: bool, acknowledged: bool },
    /// The active data key is compromised; every instance is told.
    Compromise,
    /// An instance writes a row, by the keys that it knows.
    Write { instance: usize, row: i64, value: u32 },
    /// An instance reads a row and searches for it, by the keys that it knows.
    Read { instance: usize, row: i64 },
    /// A rotation runs, and is killed after so many steps of its future, or ends.
    Rotate {
        pepper: bool,
        polls: u32,
        acknowledged: bool,
    },
    /// An instance loads its keys anew.
    Reload { instance: usize },
    /// Somebody tries to destroy a key of the ring.
    Destroy { key: usize },
    /// An instance stops; another one starts.
    Restart { instance: usize },
}

pub(crate) const INSTANCES: usize = 2;
pub(crate) const ROWS: i64 = 5;

fn step() -> impl Strategy<Value = Step> {
    let pepper = any::<bool>();
    let instance = 0..INSTANCES;
    let row = 1..=ROWS;
    prop_oneof![
        2 => pepper.prop_map(|pepper| Step::Publish { pepper }),
        3 => (any::<bool>(), prop::bool::weighted(0.8)).prop_map(|(pepper, acknowledged)| Step::Activate { pepper, acknowledged }),
        1 => Just(Step::Compromise),
        4 => (instance.clone(), row.clone(), any::<u32>()).prop_map(|(instance, row, value)| Step::Write { instance, row, value }),
        2 => (instance.clone(), row).prop_map(|(instance, row)| Step::Read { instance, row }),
        // Most are killed.
        5 => (any::<bool>(), prop_oneof![3 => 0_u32..100, 1 => Just(u32::MAX)], prop::bool::weighted(0.8))
            .prop_map(|(pepper, polls, acknowledged)| Step::Rotate { pepper, polls, acknowledged }),
        2 => instance.clone().prop_map(|instance| Step::Reload { instance }),
        1 => (0_usize..8).prop_map(|key| Step::Destroy { key }),
        1 => instance.prop_map(|instance| Step::Restart { instance }),
    ]
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 5..40)
}
