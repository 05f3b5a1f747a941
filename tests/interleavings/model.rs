//! A model of publishing, activating, stale caches, rotating and destroying, of which every interleaving is gone through.
//!
//! A key is published, activated, and in the end destroyed; an instance knows a version of the ring, or has run out of its hard
//! TTL and does nothing until it refreshes. Time is in the guards alone: one hard TTL after a version was published, every
//! instance knows that version or has run out.

use std::collections::{HashSet, VecDeque};

/// Keys of the model: the first is active from the start.
const KEYS: usize = 3;
const INSTANCES: usize = 2;
const ROWS: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Unborn,
    PreActive,
    Active,
    Old,
    Destroyed,
}

type Ring = [Key; KEYS];

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// Every version of the ring, the newest last.
    versions: Vec<Ring>,
    /// The version that an instance knows; none when its time has run out.
    knows: [Option<usize>; INSTANCES],
    /// The key that a row is under.
    rows: [usize; ROWS],
    /// A scan for a key: how many rows it has seen, all without the key.
    scan: Option<(usize, usize)>,
}

/// Which of the rules are kept.
#[derive(Debug, Clone, Copy)]
struct Rules {
    /// I-8: a key becomes active one hard TTL after it was published.
    wait_to_activate: bool,
    /// I-5: a scan counts only if it starts one hard TTL after the key stopped sealing.
    wait_to_scan: bool,
    /// I-5: a key is destroyed only after a complete scan that found nothing.
    scan: bool,
}

const ALL: Rules = Rules {
    wait_to_activate: true,
    wait_to_scan: true,
    scan: true,
};

impl State {
    fn first() -> Self {
        let mut ring = [Key::Unborn; KEYS];
        ring[0] = Key::Active;
        Self {
            versions: vec![ring],
            knows: [Some(0); INSTANCES],
            rows: [0; ROWS],
            scan: None,
        }
    }

    fn ring(&self) -> &Ring {
        self.versions.last().unwrap()
    }

    /// Whether one hard TTL has passed since the ring became so: no instance acts by a version before it.
    fn all_know(&self, so: impl Fn(&Ring) -> bool) -> bool {
        let Some(since) = self.versions.iter().position(so) else {
            return false;
        };
        self.knows.iter().flatten().all(|version| *version >= since)
    }

    fn with_ring(&self, key: usize, state: Key) -> Self {
        let mut next = self.clone();
        let mut ring = *self.ring();
        if state == Key::Active {
            for other in &mut ring {
                if *other == Key::Active {
                    *other = Key::Old;
                }
            }
        }
        ring[key] = state;
        next.versions.push(ring);
        next
    }

    /// Everything that can happen next.
    fn next(&self, rules: Rules) -> Vec<Self> {
        let mut next = Vec::new();
        self.operator(rules, &mut next);
        for i in 0..INSTANCES {
            let newest = self.versions.len() - 1;
            for known in [None, Some(newest)] {
                if self.knows[i] != known {
                    let mut other = self.clone();
                    other.knows[i] = known;
                    next.push(other);
                }
            }
            let Some(version) = self.knows[i] else { continue };
            let sealing = self.versions[version]
                .iter()
                .position(|key| *key == Key::Active)
                .unwrap();
            next.extend((0..ROWS).map(|row| self.written(row, sealing)));
        }
        next
    }

    /// A row is written: by an instance, under the key that it takes for active; or by a rotation.
    fn written(&self, row: usize, key: usize) -> Self {
        let mut next = self.clone();
        next.rows[row] = key;
        next
    }

    fn operator(&self, rules: Rules, next: &mut Vec<Self>) {
        let active = self.ring().iter().position(|key| *key == Key::Active).unwrap();
        for key in 0..KEYS {
            match self.ring()[key] {
                Key::Unborn if key == 0 || self.ring()[key - 1] != Key::Unborn => {
                    next.push(self.with_ring(key, Key::PreActive));
                }
                Key::PreActive
                    if !rules.wait_to_activate || self.all_know(|ring| ring[key] != Key::Unborn) =>
                {
                    next.push(self.with_ring(key, Key::Active));
                }
                Key::Old => self.old(key, rules, next),
                _ => {}
            }
        }
        // A rotation seals row by row, each by a compare-and-swap.
        next.extend(
            (0..ROWS)
                .filter(|row| self.rows[*row] != active)
                .map(|row| self.written(row, active)),
        );
    }

    fn old(&self, key: usize, rules: Rules, next: &mut Vec<Self>) {
        let mut scanned = self.clone();
        match self.scan {
            Some((of, rows)) if of == key && rows < ROWS => {
                scanned.scan = (self.rows[rows] != key).then_some((key, rows + 1));
                next.push(scanned);
            }
            Some((of, _)) if of == key => {}
            _ if !rules.wait_to_scan || self.all_know(|ring| ring[key] == Key::Old) => {
                scanned.scan = Some((key, 0));
                next.push(scanned);
            }
            _ => {}
        }
        if !rules.scan || self.scan == Some((key, ROWS)) {
            next.push(self.with_ring(key, Key::Destroyed));
        }
    }

    /// What must never be.
    fn broken(&self) -> Option<&'static str> {
        for key in self.rows {
            if self.ring()[key] == Key::Destroyed {
                return Some("a row is under a destroyed key");
            }
            let knows = |version: &usize| self.versions[*version][key] != Key::Unborn;
            if !self.knows.iter().flatten().all(knows) {
                return Some("an instance meets a row under a key that it does not have");
            }
        }
        let active = self.ring().iter().filter(|key| **key == Key::Active).count();
        (active != 1).then_some("not one key is active")
    }
}

/// Goes through every state that can be reached: how many there are, or what is broken in the first that is.
fn explore(rules: Rules) -> Result<usize, &'static str> {
    let first = State::first();
    let mut seen = HashSet::from([first.clone()]);
    let mut queue = VecDeque::from([first]);
    while let Some(state) = queue.pop_front() {
        for next in state.next(rules) {
            if let Some(broken) = next.broken() {
                return Err(broken);
            }
            if seen.insert(next.clone()) {
                queue.push_back(next);
            }
        }
    }
    Ok(seen.len())
}

#[test]
fn every_interleaving_of_the_model_holds() {
    let states = explore(ALL).unwrap();
    println!("{states} states, and every one of them holds");
    assert!(states > 1000, "the model is too small to say anything");
}

/// The rules are needed: without any one of them the model finds what goes wrong.
#[test]
fn no_rule_of_the_model_can_be_left_out() {
    let unknown = Err("an instance meets a row under a key that it does not have");
    let destroyed = Err("a row is under a destroyed key");
    assert_eq!(
        explore(Rules {
            wait_to_activate: false,
            ..ALL
        }),
        unknown
    );
    assert_eq!(
        explore(Rules {
            wait_to_scan: false,
            ..ALL
        }),
        destroyed
    );
    assert_eq!(explore(Rules { scan: false, ..ALL }), destroyed);
}
