//! Sealing and opening, each beside the same work written by hand on the bare primitives in the same run.
//!
//! `cargo bench -p phield-benches` prints criterion's statistics and then the ratios, measured in turns so that a noisy
//! machine disturbs both sides alike. No ratio ever fails a run; the targets are printed beside them.
#![allow(
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark prints; criterion's macros have no docs"
)]

mod by_hand;
mod models;
mod ratios;
mod work;

use criterion::{Criterion, criterion_group};

fn row(c: &mut Criterion) {
    let work = work::Work::new();
    let mut group = c.benchmark_group("row of eight 24-byte fields, three indexes");
    group.bench_function("seal, phield", |b| b.iter(|| work.seal_row()));
    group.bench_function("seal, by hand", |b| b.iter(|| work.hand.seal_row()));
    let (sealed, by_hand) = (work.seal_row(), work.hand.seal_row());
    group.bench_function("open, phield", |b| {
        b.iter_batched(
            || sealed.clone(),
            |row| work.open_row(row),
            criterion::BatchSize::SmallInput,
        );
    });
    group.bench_function("open, by hand", |b| {
        b.iter_batched(
            || by_hand.clone(),
            |row| work.hand.open_row(row),
            criterion::BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn field(c: &mut Criterion) {
    let work = work::Work::new();
    for (size, value) in [("24 B", &work.short), ("4 KiB", &work.long)] {
        let mut group = c.benchmark_group(format!("one field of {size}"));
        group.bench_function("seal, phield", |b| b.iter(|| work.seal_field(value)));
        group.bench_function("seal, by hand", |b| {
            b.iter(|| work.hand.seal_field(value.expose()));
        });
        let (sealed, by_hand) = (work.seal_field(value), work.hand.seal_field(value.expose()));
        group.bench_function("open, phield", |b| {
            b.iter(|| work.open_field(&sealed));
        });
        group.bench_function("open, by hand", |b| {
            b.iter(|| work.hand.open_field(&by_hand));
        });
        group.finish();
    }
}

criterion_group!(benches, row, field);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    ratios::report(std::env::args().any(|arg| arg == "--test"));
}
