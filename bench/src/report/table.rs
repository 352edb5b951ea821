//! The tables for people.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use super::{ProcessUse, Report, Row};

/// A table of the ratios, and others in which each row is known by its number.
pub(super) fn text(report: &Report) -> String {
    let mut parts = Vec::new();
    if !report.rows.is_empty() {
        parts.push(ratios(&report.rows).to_string());
        parts.push(latencies(&report.rows).to_string());
        parts.push(costs(&report.rows).to_string());
    }
    if !report.open_loop.is_empty() {
        parts.push(open_loop(report).to_string());
    }
    let remarks = remarks(report);
    if !remarks.is_empty() {
        parts.push(remarks.join("\n"));
    }
    parts.join("\n\n")
}

/// The rows that were measured, each with its number.
fn measured(rows: &[Row]) -> impl Iterator<Item = (String, &Row)> {
    numbered(rows).filter(|(_, row)| row.problem.is_none())
}

fn numbered(rows: &[Row]) -> impl Iterator<Item = (String, &Row)> {
    rows.iter().zip(1..).map(|(row, number): (&Row, u32)| (number.to_string(), row))
}

fn table(header: &[&str], first_number: usize) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    for column in first_number..header.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Nothing where nothing was measured.
fn cell<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(String::new, show)
}

fn rate(value: Option<f64>) -> String {
    cell(value, |value| format!("{value:.0}"))
}

fn share(value: Option<f64>) -> String {
    cell(value, |value| format!("{value:.2}"))
}

fn number(value: Option<u64>) -> String {
    cell(value, |value| value.to_string())
}

fn ratios(rows: &[Row]) -> Table {
    let header = ["", "work\nrival", "ours/s", "rival/s", "ratio", "of turns", "goal", "met", "CPU ratio"];
    let mut table = table(&header, 2);
    for (number, row) in numbered(rows) {
        let met = match row.is_met {
            Some(true) => "yes",
            Some(false) => "no",
            None => "",
        };
        let turns = row.ratio_lowest.zip(row.ratio_highest);
        table.add_row([
            number,
            format!("{}\n{}", row.work, row.rival),
            rate(row.ours_per_s),
            rate(row.rival_per_s),
            share(row.ratio),
            cell(turns, |(lowest, highest)| format!("{lowest:.2} to {highest:.2}")),
            share(row.at_least),
            met.to_owned(),
            share(row.cpu_ratio),
        ]);
    }
    table
}

fn latencies(rows: &[Row]) -> Table {
    let header =
        ["", "p50 µs", "p99 µs", "p99 goal", "rival p50", "rival p99", "pgbench/s", "ratio to pgbench"];
    let mut table = table(&header, 0);
    for (name, row) in measured(rows) {
        table.add_row([
            name,
            number(row.p50_us),
            number(row.p99_us),
            number(row.p99_at_most_us),
            number(row.rival_p50_us),
            number(row.rival_p99_us),
            rate(row.pgbench_per_s),
            share(row.pgbench_ratio),
        ]);
    }
    table
}

/// What the sides cost: processor time for each request, and memory.
fn costs(rows: &[Row]) -> Table {
    let mut table = table(&["", "side", "process", "CPU µs/request", "CPU s", "memory MiB"], 3);
    for (number, row) in measured(rows) {
        let ours = row.ours_processes.iter().map(|process| ("ours", process));
        let rivals = row.rival_processes.iter().map(|process| ("rival", process));
        for (side, process) in ours.chain(rivals) {
            let ProcessUse { name, cpu_seconds, cpu_us_per_request, resident_bytes } = process;
            table.add_row([
                number.clone(),
                side.to_owned(),
                (*name).to_owned(),
                format!("{cpu_us_per_request:.1}"),
                format!("{cpu_seconds:.1}"),
                (resident_bytes >> 20).to_string(),
            ]);
        }
    }
    table
}

fn open_loop(report: &Report) -> Table {
    let header = ["work", "asked/s", "answered/s", "p50 µs", "p99 µs", "p99.9 µs", "max µs", "late p99 µs"];
    let mut table = table(&header, 1);
    for row in &report.open_loop {
        table.add_row([
            row.work.clone(),
            rate(row.asked_per_s),
            rate(row.answered_per_s),
            number(row.p50_us),
            number(row.p99_us),
            number(row.p999_us),
            number(row.max_us),
            number(row.late_p99_us),
        ]);
    }
    table
}

/// What was chosen for a rival, and what could not be measured, a line each.
fn remarks(report: &Report) -> Vec<String> {
    let mut remarks = Vec::new();
    for (number, row) in numbered(&report.rows) {
        if let Some(choice) = &row.rival_choice {
            let pgbench = row.pgbench_connections.map(|connections| format!("; pgbench with {connections}"));
            remarks.push(format!("{number}: the rival with {choice}{}", pgbench.unwrap_or_default()));
        }
        if let Some(note) = &row.note {
            remarks.push(format!("{number}: {note}"));
        }
        if let Some(problem) = &row.problem {
            remarks.push(format!("{number}: not measured: {problem}"));
        }
    }
    for row in &report.open_loop {
        if let Some(problem) = &row.problem {
            remarks.push(format!("not measured: {}: {problem}", row.work));
        }
    }
    remarks
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;
    use crate::settings::Settings;

    #[test]
    fn what_could_not_be_measured_is_said() {
        let mut row = Row::new("grant".to_owned(), "etcd", Some(1.5));
        row.problem = Some("there is no etcd".to_owned());
        let matches = Settings::augment_args(clap::Command::new("bench")).get_matches_from(["bench"]);
        let settings = Settings::from_arg_matches(&matches).unwrap();
        let mut report = Report::new(&settings);
        report.rows.push(row);
        assert!(!report.is_complete());
        assert!(text(&report).contains("1: not measured: there is no etcd"));
    }
}
