//! An ownership from its beginning to its end, as it is shown.

use gameshelf::proto::arbiter::v1::{Ownership, OwnershipEvent};
use serde::Serialize;

use crate::commands::{cause_in_words, reason_name};

/// An ownership.
#[derive(Debug, Serialize)]
pub(super) struct Owned {
    pub(super) game_id: String,
    pub(super) began: Event,
    /// None while it lasts.
    pub(super) ended: Option<Event>,
    /// When it ends by itself, or would have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) end_time: Option<String>,
}

/// The beginning or the end of an ownership.
#[derive(Debug, Default, Serialize)]
pub(super) struct Event {
    pub(super) revision: u64,
    pub(super) commit_time: String,
    pub(super) reason: &'static str,
    pub(super) actor: String,
    pub(super) order_id: String,
}

impl From<Ownership> for Owned {
    fn from(ownership: Ownership) -> Self {
        Self {
            game_id: ownership.game_id,
            began: ownership.began.map(Event::from).unwrap_or_default(),
            ended: ownership.ended.map(Event::from),
            end_time: ownership.end_time.as_ref().map(ToString::to_string),
        }
    }
}

impl From<OwnershipEvent> for Event {
    fn from(event: OwnershipEvent) -> Self {
        let cause = event.cause.unwrap_or_default();
        Self {
            revision: event.revision,
            commit_time: event.commit_time.unwrap_or_default().to_string(),
            reason: reason_name(cause.reason),
            actor: cause.actor,
            order_id: cause.order_id,
        }
    }
}

impl Event {
    /// `revision 7 (2026-11-22T03:40:00Z): purchase by purchase, order 01a2…`.
    pub(super) fn in_words(&self) -> String {
        let Self { revision, commit_time, reason, actor, order_id } = self;
        let order = if order_id.is_empty() { String::new() } else { format!(", order {order_id}") };
        format!("revision {revision} ({commit_time}): {}{order}", cause_in_words(reason, actor))
    }
}
