//! What clients saw, as lines of JSON that the checker reads. What each field means stands there.

use std::sync::atomic::{AtomicU64, Ordering};

use gameshelf::proto::arbiter::v1::change::Kind;
use gameshelf::proto::arbiter::v1::{Change, Commit};
use serde_json::{Value, json};
use tokio::time::Instant;

/// One clock for all clients, and how much they were answered.
#[derive(Debug)]
pub(super) struct Watch {
    began: Instant,
    answered: AtomicU64,
}

impl Watch {
    pub(super) fn start() -> Self {
        Self { began: Instant::now(), answered: AtomicU64::new(0) }
    }

    /// Nanoseconds since the beginning; never 0, which stands for no time.
    pub(super) fn now_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    pub(super) fn count_answer(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// How many operations were answered so far.
    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

/// What a client was told about an attempt of a write.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Done {
        revision: u64,
        changed: Vec<bool>,
    },
    Refused {
        revision: u64,
        blocked: Vec<Pair>,
    },
    /// Nothing was written by this attempt, the arbiter said.
    Nothing,
    Unknown,
}

/// A customer and a game.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) customer: String,
    pub(super) game: String,
}

impl Pair {
    fn json(&self) -> Value {
        json!({ "customer": self.customer, "game": self.game })
    }
}

/// One change of a write: from then on the customer owns the game, or does not.
#[derive(Clone, Debug)]
pub(super) struct WantedChange {
    pub(super) pair: Pair,
    pub(super) owned: bool,
    /// Whether it is skipped when it is so already.
    pub(super) skip: bool,
}

/// What a write is sent as.
#[derive(Clone, Copy, Debug)]
pub(super) enum Method {
    Grant,
    Revoke,
}

/// A write, in the checker's words and in ours: its changes are all that the checker needs to know.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) request_id: String,
    pub(super) method: Method,
    /// In the order in which they are decided; at least one.
    pub(super) changes: Vec<WantedChange>,
}

/// When something was called, and when it returned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval {
    pub(super) call_ns: u64,
    pub(super) return_ns: u64,
}

pub(super) fn write_line(client: usize, interval: Interval, write: &Write, outcome: &Outcome) -> Value {
    let changes = write.changes.iter().map(|change| {
        let mut line = change.pair.json();
        add(&mut line, json!({ "owned": change.owned, "skip": change.skip }));
        line
    });
    let mut line = json!({
        "kind": "write",
        "client": client,
        "call_ns": interval.call_ns,
        "request_id": write.request_id,
        "changes": changes.collect::<Vec<_>>(),
    });
    let outcome = match outcome {
        Outcome::Done { revision, changed } => {
            json!({ "outcome": "done", "revision": revision, "changed": changed, "return_ns": interval.return_ns })
        }
        Outcome::Refused { revision, blocked } => json!({
            "outcome": "refused",
            "revision": revision,
            "blocked": blocked.iter().map(Pair::json).collect::<Vec<_>>(),
            "return_ns": interval.return_ns,
        }),
        Outcome::Nothing => json!({ "outcome": "nothing" }),
        Outcome::Unknown => json!({ "outcome": "unknown" }),
    };
    add(&mut line, outcome);
    line
}

/// What a read was told of a customer's game: the revision since which it is owned, or 0.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) pair: Pair,
    pub(super) since: u64,
}

/// An answer of a read.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) revision: u64,
    pub(super) shown: Vec<Shown>,
    /// The customer of whom that is all.
    pub(super) complete: Option<String>,
}

/// A token, with what the checker has to know of it.
#[derive(Clone, Debug)]
pub(super) struct Fresh {
    pub(super) token: String,
    pub(super) revision: u64,
    /// When the operation was called that returned it.
    pub(super) call_ns: u64,
}

pub(super) fn read_line(client: usize, interval: Interval, at_least: Option<&Fresh>, read: &Read) -> Value {
    let shown = read.shown.iter().map(|shown| {
        let mut line = shown.pair.json();
        add(&mut line, json!({ "since": shown.since }));
        line
    });
    let mut line = json!({
        "kind": "read",
        "client": client,
        "call_ns": interval.call_ns,
        "return_ns": interval.return_ns,
        "revision": read.revision,
        "shown": shown.collect::<Vec<_>>(),
        "complete": read.complete.iter().collect::<Vec<_>>(),
    });
    if let Some(fresh) = at_least {
        add(&mut line, json!({ "at_least": fresh.revision, "fresh_from_ns": fresh.call_ns }));
    }
    line
}

pub(super) fn commit_line(commit: &Commit) -> Value {
    let change = |change: &Change| {
        let owned = match change.kind() {
            Kind::Granted => true,
            Kind::Revoked => false,
            other => panic!("no client asked for {other:?}"),
        };
        json!({ "customer": change.customer_id, "game": change.game_id, "owned": owned })
    };
    json!({
        "kind": "commit",
        "revision": commit.revision,
        "request_id": commit.request_id,
        "changes": commit.changes.iter().map(change).collect::<Vec<_>>(),
    })
}

fn add(line: &mut Value, more: Value) {
    if let (Value::Object(line), Value::Object(more)) = (line, more) {
        line.extend(more);
    }
}
