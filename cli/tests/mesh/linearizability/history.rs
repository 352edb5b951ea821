//! What clients saw, as lines of JSON that the checker reads. What each field means stands there.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use gameshelf::proto::arbiter::v1::Commit;
use gameshelf::proto::arbiter::v1::change::Kind;
use serde_json::{Value, json};
use tokio::time::Instant;

/// What all clients have in common: one clock, how much they were answered, and the reservations that they tried to open.
#[derive(Debug)]
pub(super) struct Shared {
    began: Instant,
    answered: AtomicU64,
    reservations: Mutex<Vec<(String, Pair)>>,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), answered: AtomicU64::new(0), reservations: Mutex::default() }
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

    pub(super) fn add_reservation(&self, reservation_id: String, pair: Pair) {
        self.reservations.lock().unwrap_or_else(PoisonError::into_inner).push((reservation_id, pair));
    }

    /// The newest reservations, any of which anybody may confirm or release.
    pub(super) fn reservations(&self) -> Vec<(String, Pair)> {
        let all = self.reservations.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().rev().take(6).cloned().collect()
    }
}

/// A customer and a game.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) customer: String,
    pub(super) game: String,
}

impl Pair {
    fn json(&self, more: Value) -> Value {
        let mut line = json!({ "customer": self.customer, "game": self.game });
        add(&mut line, more);
        line
    }
}

/// One change of a write.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Give { pair: Pair, skip: bool },
    Take { pair: Pair, skip: bool },
    Move { pair: Pair, to: String },
    Reserve { pair: Pair },
    Confirm { pair: Pair, reservation: String },
    Release { pair: Pair, reservation: String },
    AddCopies { game: String, copies: u64 },
}

impl Change {
    fn json(&self, request_id: &str) -> Value {
        match self {
            Self::Give { pair, skip } => pair.json(json!({ "kind": "give", "skip": skip })),
            Self::Take { pair, skip } => pair.json(json!({ "kind": "take", "skip": skip })),
            Self::Move { pair, to } => pair.json(json!({ "kind": "move", "to": to })),
            // A reservation is known by the request that opened it.
            Self::Reserve { pair } => pair.json(json!({ "kind": "reserve", "reservation": request_id })),
            Self::Confirm { pair, reservation } => {
                pair.json(json!({ "kind": "confirm", "reservation": reservation }))
            }
            Self::Release { pair, reservation } => {
                pair.json(json!({ "kind": "release", "reservation": reservation }))
            }
            Self::AddCopies { game, copies } => {
                json!({ "kind": "stock", "game": game, "copies": copies })
            }
        }
    }
}

/// A write: its changes are all that the checker needs to know, in the order in which they are decided.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) request_id: String,
    /// At least one.
    pub(super) changes: Vec<Change>,
}

/// What stands against a write: the type of a precondition, and what it is about.
#[derive(Clone, Debug)]
pub(super) struct Violation {
    pub(super) kind: String,
    pub(super) subject: String,
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
        blocked: Vec<Violation>,
    },
    /// Nothing was written by this attempt, the arbiter said.
    Nothing,
    Unknown,
}

/// When something was called, and when it returned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval {
    pub(super) call_ns: u64,
    pub(super) return_ns: u64,
}

pub(super) fn write_line(client: usize, interval: Interval, write: &Write, outcome: &Outcome) -> Value {
    let changes = write.changes.iter().map(|change| change.json(&write.request_id));
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
        Outcome::Refused { revision, blocked } => {
            let blocked = blocked.iter().map(|one| json!({ "type": one.kind, "subject": one.subject }));
            json!({
                "outcome": "refused",
                "revision": revision,
                "blocked": blocked.collect::<Vec<_>>(),
                "return_ns": interval.return_ns,
            })
        }
        Outcome::Nothing => json!({ "outcome": "nothing" }),
        Outcome::Unknown => json!({ "outcome": "unknown" }),
    };
    add(&mut line, outcome);
    line
}

/// What a read says.
#[derive(Clone, Debug)]
pub(super) enum Said {
    /// The revision since which each pair is owned, or 0; of one customer perhaps all.
    Owned {
        shown: Vec<(Pair, u64)>,
        all_of: Option<String>,
    },
    Stock {
        game: String,
        total: u64,
        sold: u64,
        reserved: u64,
    },
}

/// A token, with what the checker has to know of it.
#[derive(Clone, Debug)]
pub(super) struct Fresh {
    pub(super) token: String,
    pub(super) revision: u64,
    /// When the operation was called that returned it.
    pub(super) call_ns: u64,
}

pub(super) fn read_line(
    client: usize,
    interval: Interval,
    at_least: Option<&Fresh>,
    revision: u64,
    said: &Said,
) -> Value {
    let mut line = json!({
        "kind": "read",
        "client": client,
        "call_ns": interval.call_ns,
        "return_ns": interval.return_ns,
        "revision": revision,
    });
    let said = match said {
        Said::Owned { shown, all_of } => {
            let shown = shown.iter().map(|(pair, since)| pair.json(json!({ "since": since })));
            json!({ "shown": shown.collect::<Vec<_>>(), "complete": all_of.iter().collect::<Vec<_>>() })
        }
        Said::Stock { game, total, sold, reserved } => {
            json!({ "stock": { "game": game, "total": total, "sold": sold, "reserved": reserved } })
        }
    };
    add(&mut line, said);
    if let Some(fresh) = at_least {
        add(&mut line, json!({ "at_least": fresh.revision, "fresh_from_ns": fresh.call_ns }));
    }
    line
}

pub(super) fn commit_line(commit: &Commit) -> Value {
    let effects = commit.changes.iter().map(|change| {
        let kind = match change.kind() {
            Kind::Granted => "granted",
            Kind::Revoked => "revoked",
            Kind::Reserved => "reserved",
            Kind::Released => "released",
            Kind::StockSet => "stocked",
            Kind::Unspecified => panic!("it is never sent"),
        };
        let pair = Pair { customer: change.customer_id.clone(), game: change.game_id.clone() };
        pair.json(json!({ "kind": kind, "reservation": change.reservation_id }))
    });
    json!({
        "kind": "commit",
        "revision": commit.revision,
        "request_id": commit.request_id,
        "effects": effects.collect::<Vec<_>>(),
    })
}

fn add(line: &mut Value, more: Value) {
    if let (Value::Object(line), Value::Object(more)) = (line, more) {
        line.extend(more);
    }
}
