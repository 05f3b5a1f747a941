//! Progress bars: one a table, on the terminal alone.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use phield_core::clean;
use phield_sqlx::rotate::RotationStatus;

/// The bars of a rotation.
pub(crate) struct Bars {
    all: MultiProgress,
    by_table: Mutex<HashMap<(String, String), ProgressBar>>,
}

impl Bars {
    /// Drawn on standard error where that is a terminal, unless hidden.
    pub(crate) fn new(hidden: bool) -> Self {
        let target = if hidden {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        Self {
            all: MultiProgress::with_draw_target(target),
            by_table: Mutex::default(),
        }
    }

    pub(crate) fn show(&self, status: &RotationStatus) {
        let mut bars = self.by_table.lock().unwrap_or_else(PoisonError::into_inner);
        for table in &status.tables {
            // A pass that begins anew has a bar of its own: its rate is another.
            let name = format!("{} {}", status.state, status.pass);
            let bar = bars.entry((table.table.clone(), name)).or_insert_with(|| {
                let bar = self.all.add(ProgressBar::new(table.total));
                bar.set_style(style());
                bar.set_prefix(clean(&table.table));
                bar.set_message(status.state);
                bar
            });
            bar.set_length(table.total.max(table.rows));
            bar.set_position(table.rows);
        }
    }

    pub(crate) fn finish(&self) {
        let _ = self.all.clear();
    }
}

fn style() -> ProgressStyle {
    let style =
        ProgressStyle::with_template("{prefix:20} {msg:10} {bar:24} {pos}/{len} rows, {per_sec}, {eta} left");
    style.unwrap_or_else(|_| ProgressStyle::default_bar())
}
