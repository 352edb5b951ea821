//! What was measured, for people and for programs.

mod figures;
mod svg;
mod table;

use std::num::NonZero;
use std::thread;

use serde::Serialize;

pub(crate) use figures::{Figures, Goal, Used, Watched};

use crate::compare::{Pair, Side, median};
use crate::load::Opened;
use crate::servers::Usage;
use crate::settings::Settings;

/// Everything that was measured in a run.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) settings: Conditions,
    pub(crate) rows: Vec<Row>,
    pub(crate) open_loop: Vec<OpenRow>,
}

/// Under what it was measured.
#[derive(Serialize)]
pub(crate) struct Conditions {
    seconds: u64,
    rounds: u32,
    load_threads: u32,
    connections: u32,
    /// Processors that everything shared.
    processors: Option<usize>,
}

/// One work, ours beside a rival's.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Row {
    pub(crate) work: String,
    pub(crate) rival: String,
    /// Medians of the rounds, and their ratio.
    pub(crate) ours_per_s: Option<f64>,
    pub(crate) rival_per_s: Option<f64>,
    pub(crate) ratio: Option<f64>,
    /// The goal of the ratio.
    pub(crate) at_least: Option<f64>,
    /// The lowest and the highest ratio of a round: how far the noise reaches.
    pub(crate) ratio_lowest: Option<f64>,
    pub(crate) ratio_highest: Option<f64>,
    pub(crate) p50_us: Option<u64>,
    pub(crate) p99_us: Option<u64>,
    /// The goal of our 99th percentile.
    pub(crate) p99_at_most_us: Option<u64>,
    pub(crate) rival_p50_us: Option<u64>,
    pub(crate) rival_p99_us: Option<u64>,
    /// Whether all goals of the row are met.
    pub(crate) is_met: Option<bool>,
    /// How many times the processor time of our request the rival's takes, all processes together: where the processors are
    /// what is scarce this is what the ratio tends to, and what else runs on the machine hardly touches it.
    pub(crate) cpu_ratio: Option<f64>,
    pub(crate) ours_processes: Vec<ProcessUse>,
    pub(crate) rival_processes: Vec<ProcessUse>,
    /// What was found to be best for the rival.
    pub(crate) rival_choice: Option<String>,
    /// The same work by pgbench, and our ratio to it. The rival's own figure is the one that counts.
    pub(crate) pgbench_per_s: Option<f64>,
    pub(crate) pgbench_ratio: Option<f64>,
    pub(crate) pgbench_connections: Option<u32>,
    pub(crate) note: Option<String>,
    /// Why the row could not be measured.
    pub(crate) problem: Option<String>,
}

/// What a process used in the turns of its side.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ProcessUse {
    pub(crate) name: &'static str,
    pub(crate) cpu_seconds: f64,
    pub(crate) cpu_us_per_request: f64,
    pub(crate) resident_bytes: u64,
}

/// A store under an open loop.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct OpenRow {
    pub(crate) work: String,
    pub(crate) asked_per_s: Option<f64>,
    pub(crate) answered_per_s: Option<f64>,
    /// From when a request was due to its answer.
    pub(crate) p50_us: Option<u64>,
    pub(crate) p99_us: Option<u64>,
    pub(crate) p999_us: Option<u64>,
    pub(crate) max_us: Option<u64>,
    /// How much of it passed before the request was sent.
    pub(crate) late_p99_us: Option<u64>,
    pub(crate) problem: Option<String>,
}

impl Report {
    pub(crate) fn new(settings: &Settings) -> Self {
        let conditions = Conditions {
            seconds: settings.seconds,
            rounds: settings.rounds,
            load_threads: settings.load_threads,
            connections: settings.connections,
            processors: thread::available_parallelism().ok().map(NonZero::get),
        };
        Self { settings: conditions, rows: Vec::new(), open_loop: Vec::new() }
    }

    /// Whether everything that was wanted was measured.
    pub(crate) fn is_complete(&self) -> bool {
        let problems = self.rows.iter().map(|row| &row.problem);
        problems.chain(self.open_loop.iter().map(|row| &row.problem)).all(Option::is_none)
    }

    /// The report for people.
    pub(crate) fn text(&self) -> String {
        table::text(self)
    }

    /// Each ratio beside its goal, as a picture.
    pub(crate) fn svg(&self) -> String {
        svg::picture(&self.rows)
    }
}

impl Row {
    pub(crate) fn new(work: String, rival: &str, at_least: Option<f64>) -> Self {
        Self { work, rival: rival.to_owned(), at_least, ..Self::default() }
    }

    pub(crate) fn fill(&mut self, pair: &Pair) {
        let (ours, rival) = (&pair.ours, &pair.rival);
        self.ours_per_s = median(&ours.rates);
        self.rival_per_s = median(&rival.rates);
        self.ratio = ratio(self.ours_per_s, self.rival_per_s);
        let ratios = ours.rates.iter().zip(&rival.rates).map(|(ours, rival)| ours / rival);
        self.ratio_lowest = ratios.clone().reduce(f64::min);
        self.ratio_highest = ratios.reduce(f64::max);
        (self.p50_us, self.p99_us) = percentiles(ours);
        (self.rival_p50_us, self.rival_p99_us) = percentiles(rival);
        self.ours_processes = processes(ours);
        self.rival_processes = processes(rival);
        self.cpu_ratio = ratio(Some(cpu_us(&self.rival_processes)), Some(cpu_us(&self.ours_processes)));
        self.pgbench_per_s = median(&pair.pgbench_rates);
        self.pgbench_ratio = ratio(self.ours_per_s, self.pgbench_per_s);
        let is_fast = self.ratio.zip(self.at_least).map(|(ratio, at_least)| ratio >= at_least);
        let is_quick = self.p99_us.zip(self.p99_at_most_us).is_none_or(|(p99, at_most)| p99 < at_most);
        self.is_met = is_fast.map(|is_fast| is_fast && is_quick);
    }
}

/// An error with what led to it. What an error says of its cause by itself is not said again.
pub(crate) fn explain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn ratio(value: Option<f64>, of: Option<f64>) -> Option<f64> {
    value.zip(of).map(|(value, of)| value / of)
}

fn cpu_us(processes: &[ProcessUse]) -> f64 {
    processes.iter().map(|process| process.cpu_us_per_request).sum()
}

fn percentiles(side: &Side) -> (Option<u64>, Option<u64>) {
    let latency = &side.measured.latency_us;
    (Some(latency.value_at_quantile(0.5)), Some(latency.value_at_quantile(0.99)))
}

fn processes(side: &Side) -> Vec<ProcessUse> {
    #[expect(clippy::cast_precision_loss, reason = "a count of requests needs no more than 52 bits")]
    let calls = side.measured.calls as f64;
    let used = |(name, usage): &(&'static str, Usage)| ProcessUse {
        name,
        cpu_seconds: usage.cpu_seconds,
        cpu_us_per_request: usage.cpu_seconds * 1e6 / calls,
        resident_bytes: usage.resident_bytes,
    };
    side.usage.iter().map(used).collect()
}

impl OpenRow {
    pub(crate) fn fill(&mut self, opened: &Opened) {
        let latency = &opened.measured.latency_us;
        self.answered_per_s = Some(opened.measured.per_second());
        self.p50_us = Some(latency.value_at_quantile(0.5));
        self.p99_us = Some(latency.value_at_quantile(0.99));
        self.p999_us = Some(latency.value_at_quantile(0.999));
        self.max_us = Some(latency.max());
        self.late_p99_us = Some(opened.late_us.value_at_quantile(0.99));
    }
}
