//! Progress bars, one a table, on the terminal alone; and what is waited for.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use phield_core::clean;
use phield_sqlx::rotate::RotationStatus;

use super::text;

/// So many times it is said, half a second apart, that others are waited for, before a person is told: between two shares a worker
/// has none for a moment.
const WAITS: u32 = 3;

/// The bars of a rotation.
pub(crate) struct Bars {
    all: MultiProgress,
    by_table: Mutex<HashMap<(String, String), ProgressBar>>,
    /// Below the bars, where there is something to say.
    wait: ProgressBar,
    waits: AtomicU32,
    is_hidden: bool,
}

impl Bars {
    /// Drawn on standard error where that is a terminal, unless hidden.
    pub(crate) fn new(hidden: bool) -> Self {
        let target = if hidden {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let all = MultiProgress::with_draw_target(target);
        Self {
            wait: all.add(ProgressBar::no_length().with_style(template("{msg}"))),
            all,
            by_table: Mutex::default(),
            waits: AtomicU32::new(0),
            is_hidden: hidden,
        }
    }

    /// Why nothing moves: on a terminal as long as it is so, elsewhere once.
    fn show_wait(&self, status: &RotationStatus) {
        let Some(seconds) = status.waits_for_others else {
            self.waits.store(0, Ordering::Relaxed);
            self.wait.set_message("");
            return;
        };
        let waits = self.waits.fetch_add(1, Ordering::Relaxed) + 1;
        if waits < WAITS {
            return;
        }
        let text = text::waits(status.workers, seconds);
        if waits == WAITS && !self.is_hidden && !io::stderr().is_terminal() {
            // Nothing depends on it.
            let _ = writeln!(io::stderr(), "{text}");
        }
        self.wait.set_message(text);
    }

    pub(crate) fn show(&self, status: &RotationStatus) {
        let mut bars = self.by_table.lock().unwrap_or_else(PoisonError::into_inner);
        for table in &status.tables {
            // A pass that begins anew has a bar of its own: its rate is another.
            let name = format!("{} {}", status.state, status.pass);
            let bar = bars.entry((table.table.clone(), name)).or_insert_with(|| {
                let bar = self.all.insert_before(&self.wait, ProgressBar::new(table.total));
                bar.set_style(style());
                bar.set_prefix(clean(&table.table));
                bar.set_message(status.state);
                bar
            });
            bar.set_length(table.total.max(table.rows));
            bar.set_position(table.rows);
        }
        drop(bars);
        self.show_wait(status);
    }

    pub(crate) fn finish(&self) {
        let _ = self.all.clear();
    }
}

fn style() -> ProgressStyle {
    template("{prefix:20} {msg:10} {bar:24} {pos}/{len} rows, {per_sec}, {eta} left")
}

fn template(text: &str) -> ProgressStyle {
    ProgressStyle::with_template(text).unwrap_or_else(|_| ProgressStyle::default_bar())
}
