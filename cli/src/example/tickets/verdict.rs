//! What was seen, told in one line at the end, and whether it is what must be seen.

use serde::Serialize;
use serde_json::json;
use tickets::proto::replyfeed::v1::LatestResponse;

use crate::example::load::Tally;
use crate::example::log::Log;
use crate::exit::{Failure, Kind};
use crate::output::{self, Output};

/// All that was seen.
#[derive(Debug)]
pub(super) struct Seen {
    /// The queries.
    pub(super) tally: Tally,
    /// Those made after the next major version had joined.
    pub(super) joined: Tally,
    /// How often that one was asked, by its own count.
    pub(super) asked_of_next: u64,
    /// Replies that were added.
    pub(super) replies: u64,
    /// Events that were told here.
    pub(super) told: u64,
    /// What the feed says of itself.
    pub(super) latest: LatestResponse,
}

/// The last line.
#[derive(Serialize)]
struct Total {
    queries: u64,
    failed: u64,
    fallbacks: u64,
    events: u64,
}

/// Tells what was seen.
pub(super) fn tell(seen: &Seen, log: &Log) -> Result<(), Failure> {
    let Seen { tally, joined, asked_of_next, latest, .. } = seen;
    let joined_line = json!({ "joined": {
        "version": "2.0.0",
        "asked": asked_of_next,
        "queries": joined.queries,
        "failed": joined.failed,
        "fallbacks": joined.fallbacks,
    } });
    log.tell(&joined_line, || {
        format!(
            "2.0.0 was asked {asked_of_next} times while {} more queries were made for ^1.0",
            joined.queries
        )
    })?;
    let texts: Vec<_> = latest.replies.iter().map(|reply| reply.text.as_str()).collect();
    log.tell(&json!({ "latest": texts }), || {
        format!("the latest replies by the feed: {}", texts.join(", "))
    })?;
    let (queries, failed, fallbacks) = (tally.queries, tally.failed, tally.fallbacks);
    if log.output() == Output::Json {
        return output::json(&Total { queries, failed, fallbacks, events: latest.events });
    }
    let mut table =
        output::table(&["queries", "failed", "fallbacks", "events", "asked 1.0.1", "asked 1.0.0"]);
    let asked = ["1.0.1", "1.0.0"].map(|version| tally.asked(version));
    let row = [queries, failed, fallbacks, latest.events, asked[0], asked[1]];
    table.add_row(row.map(|number| number.to_string()));
    output::text(&output::render(&table))
}

/// Whether it is what must be seen.
pub(super) fn judge(seen: &Seen) -> Result<(), Failure> {
    let Seen { tally, joined, asked_of_next, replies, told, latest } = seen;
    let failed = tally.failed + joined.failed;
    if failed > 0 {
        return Err(not_shown("QUERIES_FAILED", format!("{failed} queries failed, where none may")));
    }
    let asked = asked_of_next + tally.asked("2.0.0") + joined.asked("2.0.0");
    if asked > 0 {
        return Err(not_shown(
            "WRONG_VERSION",
            format!("2.0.0 was asked {asked} times by callers made for 1.0"),
        ));
    }
    let is_each = |events: u64| events == *replies;
    if !is_each(latest.events) || !is_each(*told) || latest.out_of_order > 0 {
        let message = format!(
            "{replies} replies were added, and the feed was told of {} of them, {} out of order; {told} were seen here",
            latest.events, latest.out_of_order
        );
        return Err(not_shown("EVENTS", message));
    }
    Ok(())
}

fn not_shown(reason: &str, message: String) -> Failure {
    Failure::new(Kind::Defect, reason, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Seen {
        let latest = LatestResponse { events: 7, position: 7, ..LatestResponse::default() };
        let tally = Tally { queries: 10, fallbacks: 3, ..Tally::default() };
        Seen { joined: tally.clone(), tally, asked_of_next: 0, replies: 7, told: 7, latest }
    }

    #[test]
    fn what_must_not_be_seen_is_a_failure() {
        let reason = |seen: &Seen| judge(seen).err().map(|failure| failure.reason().to_owned());
        assert_eq!(reason(&good()), None);
        let failed = Tally { failed: 1, ..good().tally };
        assert_eq!(reason(&Seen { tally: failed.clone(), ..good() }).unwrap(), "QUERIES_FAILED");
        assert_eq!(reason(&Seen { joined: failed, ..good() }).unwrap(), "QUERIES_FAILED");
        assert_eq!(reason(&Seen { asked_of_next: 1, ..good() }).unwrap(), "WRONG_VERSION");
        let asked = Tally { asked: [("2.0.0".to_owned(), 1)].into(), ..good().tally };
        assert_eq!(reason(&Seen { joined: asked, ..good() }).unwrap(), "WRONG_VERSION");
        for seen in [
            Seen { told: 6, ..good() },
            Seen { replies: 8, ..good() },
            Seen { latest: LatestResponse { events: 8, ..good().latest }, ..good() },
            Seen { latest: LatestResponse { out_of_order: 1, ..good().latest }, ..good() },
        ] {
            assert_eq!(reason(&seen).unwrap(), "EVENTS", "{seen:?}");
        }
    }
}
