//! What an example tells while it runs: lines of JSON on standard output for programs; for people text on standard error, above a
//! bar where somebody looks at it.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use super::tried::{self, Try};
use crate::exit::Failure;
use crate::output::{self, Output};

/// Tells what happens. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Log {
    output: Output,
    /// Whether single queries are told to people alone.
    sums_up: bool,
    bar: ProgressBar,
}

impl Log {
    /// A log of so many queries.
    pub(super) fn new(output: Output, queries: u64) -> Self {
        let bar = if output == Output::Table && std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{bar:40} {pos}/{len} queries, {per_sec}, {eta} left");
            ProgressBar::new(queries).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        } else {
            ProgressBar::hidden()
        };
        Self { output, sums_up: false, bar }
    }

    /// The same log for queries that programs are told of in sum.
    pub(super) fn for_people(&self) -> Self {
        Self { sums_up: true, ..self.clone() }
    }

    /// A query was answered.
    pub(super) fn answered(&self) {
        self.bar.inc(1);
    }

    /// No more queries follow.
    pub(super) fn done(&self) {
        self.bar.finish_and_clear();
    }

    /// A query fell back from one instance to another.
    pub(super) fn fallback(&self, query: u64, tries: &[Try]) -> Result<(), Failure> {
        let text = || format!("query {query}: {}", tried::in_words(tries));
        if self.sums_up {
            self.say(&text());
            return Ok(());
        }
        self.tell(&json!({ "fallback": { "query": query, "tried": tries } }), text)
    }

    /// A query failed.
    pub(super) fn failed(&self, query: u64, why: &str, tries: &[Try]) -> Result<(), Failure> {
        let text = || format!("query {query} FAILED: {why} ({})", tried::in_words(tries));
        self.tell(&json!({ "failure": { "query": query, "why": why, "tried": tries } }), text)
    }

    /// Tells a line: for programs as it stands, for people in words.
    pub(super) fn tell(&self, line: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.output == Output::Json {
            return output::json(line);
        }
        if self.bar.is_hidden() {
            eprintln!("{}", text());
        } else {
            self.bar.println(text());
        }
        Ok(())
    }

    /// Tells something that is for people alone.
    pub(super) fn say(&self, text: &str) {
        if self.output == Output::Table {
            // People's text does not fail.
            let _ = self.tell(&(), || text.to_owned());
        }
    }

    pub(super) fn output(&self) -> Output {
        self.output
    }
}
