//! What was seen, told in one line at the end, and whether it is what must be seen.

use serde_json::json;
use tickets::proto::replyfeed::v1::LatestResponse;

use crate::example::load::Tally;
use crate::example::log::Log;
use crate::example::seen;
use crate::exit::Failure;

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
    seen::total(tally, latest.events, log)
}

/// Whether it is what must be seen.
pub(super) fn judge(seen: &Seen) -> Result<(), Failure> {
    let Seen { tally, joined, asked_of_next, replies, told, latest } = seen;
    seen::judge(tally, joined, *asked_of_next)?;
    let is_each = |events: u64| events == *replies;
    if !is_each(latest.events) || !is_each(*told) || latest.out_of_order > 0 {
        let message = format!(
            "{replies} replies were added, and the feed was told of {} of them, {} out of order; {told} were seen here",
            latest.events, latest.out_of_order
        );
        return Err(seen::not_shown("EVENTS", message));
    }
    Ok(())
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
