//! What was measured: a figure, its goal, and what the processes used for it.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use serde::Serialize;

use crate::servers::{Process, Usage};

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    AtLeast(f64),
    Below(f64),
    /// It is only told.
    Reported,
}

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) work: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) goal: Goal,
    pub(crate) is_met: Option<bool>,
    /// More that belongs to it, in words.
    pub(crate) note: String,
    pub(crate) processes: Vec<Used>,
}

/// What a process used meanwhile.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Used {
    pub(crate) name: &'static str,
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_bytes: u64,
}

/// All figures of a run, and what could not be measured.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Figures {
    pub(crate) rows: Vec<Figure>,
    pub(crate) problems: Vec<String>,
}

/// Processes that are watched from a moment on.
pub(crate) struct Watched {
    before: Vec<(Process, Usage)>,
}

impl Watched {
    pub(crate) fn begin(processes: Vec<Process>) -> anyhow::Result<Self> {
        let usage = |process: Process| process.usage().map(|usage| (process, usage));
        Ok(Self { before: processes.into_iter().map(usage).collect::<anyhow::Result<_>>()? })
    }

    /// What each used since then; the memory is that of now.
    pub(crate) fn end(self) -> anyhow::Result<Vec<Used>> {
        let used = |(process, before): (Process, Usage)| {
            let Usage { cpu_seconds, resident_bytes } = process.usage()? - before;
            Ok(Used { name: process.name, cpu_seconds, resident_bytes })
        };
        self.before.into_iter().map(used).collect()
    }
}

impl Figures {
    pub(crate) fn push(
        &mut self,
        work: impl Into<String>,
        (value, unit): (f64, &'static str),
        goal: Goal,
        note: impl Into<String>,
        processes: Vec<Used>,
    ) {
        let is_met = match goal {
            Goal::AtLeast(least) => Some(value >= least),
            Goal::Below(most) => Some(value < most),
            Goal::Reported => None,
        };
        self.rows.push(Figure { work: work.into(), value, unit, goal, is_met, note: note.into(), processes });
    }

    pub(crate) fn problem(&mut self, name: &str, problem: &str) {
        self.problems.push(format!("{name}: not measured: {problem}"));
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.problems.is_empty()
    }

    /// The figures for people.
    pub(crate) fn text(&self) -> String {
        let mut table = Table::new();
        table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(["work", "measured", "goal", "met", "CPU s and memory MiB", "more"]);
        for column in [1, 2] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for row in &self.rows {
            let goal = match row.goal {
                Goal::AtLeast(least) => format!("≥ {least}"),
                Goal::Below(most) => format!("< {most}"),
                Goal::Reported => String::new(),
            };
            let met = row.is_met.map_or("", |is_met| if is_met { "yes" } else { "no" });
            let used = |used: &Used| {
                format!("{}: {:.1} s, {} MiB", used.name, used.cpu_seconds, used.resident_bytes >> 20)
            };
            let used: Vec<String> = row.processes.iter().map(used).collect();
            let measured = format!("{} {}", shown(row.value), row.unit);
            table.add_row([
                row.work.clone(),
                measured,
                goal,
                met.to_owned(),
                used.join("\n"),
                row.note.clone(),
            ]);
        }
        let mut parts = vec![table.to_string()];
        parts.extend(self.problems.iter().cloned());
        parts.join("\n")
    }
}

/// A large figure without decimals.
fn shown(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
