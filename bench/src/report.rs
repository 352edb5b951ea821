//! What was measured, for people and for programs.

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use serde::Serialize;

use crate::load::Measured;

/// One work on one server.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) work: &'static str,
    server: String,
    pub(crate) per_second: f64,
    /// The rate as a share of the no-op server's in this run.
    of_noop: Option<f64>,
    p50_us: u64,
    p99_us: u64,
    resident_bytes: u64,
}

impl Row {
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
    pub(crate) fn new(
        work: &'static str,
        server: &str,
        measured: &Measured,
        noop_per_second: Option<f64>,
        resident_bytes: u64,
    ) -> Self {
        let per_second = measured.requests as f64 / measured.seconds;
        Self {
            work,
            server: server.to_owned(),
            per_second,
            of_noop: noop_per_second.map(|noop| per_second / noop),
            p50_us: measured.latency_us.value_at_quantile(0.5),
            p99_us: measured.latency_us.value_at_quantile(0.99),
            resident_bytes,
        }
    }
}

/// The rows as a table.
pub(crate) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table.set_header(["work", "server", "requests/s", "of no-op", "p50 µs", "p99 µs", "memory MiB"]);
    for row in rows {
        table.add_row([
            row.work.to_owned(),
            row.server.clone(),
            format!("{:.0}", row.per_second),
            row.of_noop.map_or_else(String::new, |share| format!("{share:.2}")),
            row.p50_us.to_string(),
            row.p99_us.to_string(),
            (row.resident_bytes >> 20).to_string(),
        ]);
    }
    for column in 2..7 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
