//! What every example shows in the end, and what it waits for before.

use std::time::Duration;

use mesh::outbound::Dispatch;
use mesh::outbound::dispatch::{Condition, InstanceReport};
use serde::Serialize;

use super::load::Tally;
use super::log::Log;
use crate::exit::{Failure, Kind};
use crate::output::{self, Output};

/// How long something may take that has to happen soon.
pub(super) const WAIT: Duration = Duration::from_secs(20);

/// Waits until all of these versions serve, as the mesh sees it.
pub(super) async fn wait_for(service: &Dispatch, versions: &[&str]) -> Result<(), Failure> {
    let serves = |report: &InstanceReport, version: &str| match &report.condition {
        Condition::Serving(description) => description.version.to_string() == version,
        _ => false,
    };
    let all = |reports: &[InstanceReport]| {
        versions.iter().all(|version| reports.iter().any(|report| serves(report, version)))
    };
    if service.wait_for(WAIT, all).await {
        return Ok(());
    }
    let message =
        format!("the mesh does not see {} serve after {} s", versions.join(" and "), WAIT.as_secs());
    let seen = format!("{:?}", service.instances());
    Err(Failure::new(Kind::Unavailable, "NOT_SEEN", message).with("seen", seen))
}

/// The last line.
#[derive(Serialize)]
struct Total {
    queries: u64,
    failed: u64,
    fallbacks: u64,
    events: u64,
}

/// Tells the last line: the queries, and how many events there were.
pub(super) fn total(tally: &Tally, events: u64, log: &Log) -> Result<(), Failure> {
    let Tally { queries, failed, fallbacks, .. } = *tally;
    if log.output() == Output::Json {
        return output::json(&Total { queries, failed, fallbacks, events });
    }
    let mut table =
        output::table(&["queries", "failed", "fallbacks", "events", "asked 1.0.1", "asked 1.0.0"]);
    let row = [queries, failed, fallbacks, events, tally.asked("1.0.1"), tally.asked("1.0.0")];
    table.add_row(row.map(|number| number.to_string()));
    output::text(&output::render(&table))
}

/// Refuses what no caller may see: a query that failed, the one made for another version's meaning.
pub(super) fn judge(queries: &Tally, joined: &Tally, asked_of_next: u64) -> Result<(), Failure> {
    let failed = queries.failed + joined.failed;
    if failed > 0 {
        return Err(not_shown("QUERIES_FAILED", format!("{failed} queries failed, where none may")));
    }
    let asked = asked_of_next + queries.asked("2.0.0") + joined.asked("2.0.0");
    if asked > 0 {
        return Err(not_shown(
            "WRONG_VERSION",
            format!("2.0.0 was asked {asked} times by callers made for 1.0"),
        ));
    }
    Ok(())
}

/// Something was seen that must not be.
pub(super) fn not_shown(reason: &str, message: String) -> Failure {
    Failure::new(Kind::Defect, reason, message)
}
