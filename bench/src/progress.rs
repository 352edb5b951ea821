//! What is being measured, on standard error; nothing where that is no terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often the bar moves while nothing happens.
const TICK: Duration = Duration::from_millis(200);

/// A bar with a step for each row.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template("{pos}/{len} {elapsed_precise} {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar }
    }

    pub(crate) fn begin(&self, rows: usize) {
        self.bar.set_length(rows as u64);
        self.bar.enable_steady_tick(TICK);
    }

    /// The next row begins.
    pub(crate) fn next(&self, row: &str) {
        if !self.bar.message().is_empty() {
            self.bar.inc(1);
        }
        self.bar.set_prefix(row.to_owned());
        self.bar.set_message(row.to_owned());
    }

    /// A round of the row is done.
    pub(crate) fn round(&self, round: u32) {
        self.bar.set_message(format!("{} (round {round} done)", self.bar.prefix()));
    }

    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
