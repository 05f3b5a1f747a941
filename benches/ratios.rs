//! Ratios to the work by hand: both sides in turns, medians of many short runs.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::work::Work;

/// Runs of each side; odd, so that there is a median.
const RUNS: usize = 201;

pub(crate) fn report(smoke: bool) {
    let (runs, length) = if smoke { (1, 1) } else { (RUNS, 400) };
    let work = Work::new();
    println!(
        "\n{:<44}{:>10}{:>10}{:>8}{:>9}",
        "ratio to the same work by hand", "phield", "by hand", "ratio", "target"
    );
    let print = |what: &str, [ours, bare]: [f64; 2], target: f64| {
        println!(
            "{what:<44}{ours:>7.0} ns{bare:>7.0} ns{:>8.2}{:>9}",
            ours / bare,
            format!("<= {target}")
        );
    };
    let seal = turns(
        runs,
        length,
        || (),
        |()| work.seal_row(),
        || (),
        |()| work.hand.seal_row(),
    );
    print("row, 8 fields of 24 B, 3 indexes: seal", seal, 1.5);
    let (row, by_hand) = (work.seal_row(), work.hand.seal_row());
    let open = turns(
        runs,
        length,
        || row.clone(),
        |r| work.open_row(r),
        || by_hand.clone(),
        |r| work.hand.open_row(r),
    );
    print("row, 8 fields of 24 B: open", open, 1.5);
    for (size, value) in [("24 B", &work.short), ("4 KiB", &work.long)] {
        let hand = &work.hand;
        let seal = turns(
            runs,
            length,
            || (),
            |()| work.seal_field(value),
            || (),
            |()| hand.seal_field(value.expose()),
        );
        print(&format!("one field of {size}: seal"), seal, 1.4);
        let (token, by_hand) = (work.seal_field(value), hand.seal_field(value.expose()));
        let open = turns(
            runs,
            length,
            || token.clone(),
            |t| work.open_field(&t),
            || by_hand.clone(),
            |t| hand.open_field(&t),
        );
        print(&format!("one field of {size}: open"), open, 1.4);
    }
}

/// Nanoseconds of one call, for both sides. Dropping the results is timed, preparing the inputs is not.
fn turns<A, B, R, S>(
    runs: usize,
    length: usize,
    input: impl Fn() -> A,
    ours: impl Fn(A) -> R,
    bare_input: impl Fn() -> B,
    bare: impl Fn(B) -> S,
) -> [f64; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..runs {
        times[0].push(time(length, &input, &ours));
        times[1].push(time(length, &bare_input, &bare));
    }
    times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e9 / f64::from(u32::try_from(length).expect("short runs"))
    })
}

fn time<A, R>(length: usize, input: &impl Fn() -> A, f: &impl Fn(A) -> R) -> Duration {
    let inputs: Vec<A> = (0..length).map(|_| input()).collect();
    let start = Instant::now();
    for input in inputs {
        drop(black_box(f(black_box(input))));
    }
    start.elapsed()
}
