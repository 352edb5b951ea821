//! What a random history is made of. Everything is named by small numbers, so that a history that shows a defect can be
//! made shorter and still mean something.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::harness::{Fault, OnNothingToDo, Refuse, Skip};

pub(super) const CUSTOMERS: [&str; 3] = ["ann", "bob", "cy"];
pub(super) const GAMES: [&str; 3] = ["aqua", "brick", "cave"];

pub(super) type Pair = (usize, usize);

#[derive(Clone, Debug)]
pub(super) enum Step {
    Ask(Draft),
    /// These share a batch.
    Together(Vec<Draft>),
    /// Reads what a customer owns as a caller does, which makes it known to the cache.
    Read(usize),
    /// Time passes; what is due ends before the next request, or by itself.
    Pass {
        seconds: u64,
    },
    /// The next commit that there is goes wrong.
    Fail(Fault),
    /// The process stops and another one goes on.
    Restart,
}

#[derive(Clone, Debug)]
pub(super) enum Draft {
    New {
        conditions: Vec<Condition>,
        changes: Vec<Change>,
    },
    /// The request so many before is asked again, or something else under its id.
    Again {
        back: usize,
        other: bool,
    },
    /// An id from so many milliseconds before the present, or ahead of it.
    OfAnotherTime {
        back_ms: i64,
    },
}

#[derive(Clone, Debug)]
pub(super) enum Condition {
    NotOwned(Pair),
    Owned(Pair),
    /// Since the revision so many before the next one: 0 is not there yet.
    UnchangedSince {
        customer: usize,
        game: Option<usize>,
        back: u64,
    },
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Grant { pair: Pair, on_owned: OnNothingToDo, lasts_seconds: Option<u64> },
    Revoke { pair: Pair, on_not_owned: OnNothingToDo },
    Transfer { pair: Pair, to: usize },
    Reserve { pair: Pair, hold_seconds: u64 },
    Confirm { back: usize },
    Release { back: usize },
    SetStock { game: usize, add: bool, copies: u64 },
}

fn pair() -> impl Strategy<Value = Pair> {
    (0..CUSTOMERS.len(), 0..GAMES.len())
}

fn choice() -> impl Strategy<Value = OnNothingToDo> {
    prop_oneof![Just(Refuse), Just(Skip)]
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        1 => pair().prop_map(Condition::NotOwned),
        1 => pair().prop_map(Condition::Owned),
        3 => (0..CUSTOMERS.len(), proptest::option::of(0..GAMES.len()), 0..4_u64)
            .prop_map(|(customer, game, back)| Condition::UnchangedSince { customer, game, back }),
    ]
}

/// A change that may stand beside others in one request.
fn change() -> impl Strategy<Value = Change> {
    let lasts = proptest::option::weighted(0.3, 0..20_u64);
    prop_oneof![
        4 => (pair(), choice(), lasts)
            .prop_map(|(pair, on_owned, lasts_seconds)| Change::Grant { pair, on_owned, lasts_seconds }),
        3 => (pair(), choice()).prop_map(|(pair, on_not_owned)| Change::Revoke { pair, on_not_owned }),
        2 => (pair(), 1..CUSTOMERS.len())
            .prop_map(|(pair, on)| Change::Transfer { pair, to: (pair.0 + on) % CUSTOMERS.len() }),
    ]
}

fn draft() -> impl Strategy<Value = Draft> {
    let alone = |change: Change| Draft::New { conditions: Vec::new(), changes: vec![change] };
    prop_oneof![
        4 => change().prop_map(alone),
        6 => (vec(condition(), 0..3), vec(change(), 1..5))
            .prop_map(|(conditions, changes)| Draft::New { conditions, changes }),
        3 => (pair(), 1..20_u64)
            .prop_map(move |(pair, hold_seconds)| alone(Change::Reserve { pair, hold_seconds })),
        2 => (0..4_usize).prop_map(move |back| alone(Change::Confirm { back })),
        1 => (0..4_usize).prop_map(move |back| alone(Change::Release { back })),
        2 => (0..GAMES.len(), any::<bool>(), 0..4_u64)
            .prop_map(move |(game, add, copies)| alone(Change::SetStock { game, add, copies })),
        2 => (0..8_usize, proptest::bool::weighted(0.2))
            .prop_map(|(back, other)| Draft::Again { back, other }),
        1 => prop_oneof![Just(-300_001), Just(-300_000), Just(2_592_000_000), Just(2_592_000_001)]
            .prop_map(|back_ms| Draft::OfAnotherTime { back_ms }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![
        Just(Fault::LostAfter),
        Just(Fault::LostBefore),
        Just(Fault::RefusedTogether),
        Just(Fault::ConflictTogether)
    ];
    prop_oneof![
        8 => draft().prop_map(Step::Ask),
        6 => vec(draft(), 2..8).prop_map(Step::Together),
        3 => (0..CUSTOMERS.len()).prop_map(Step::Read),
        2 => (1..15_u64).prop_map(|seconds| Step::Pass { seconds }),
        2 => fault.prop_map(Step::Fail),
        1 => Just(Step::Restart),
    ]
}

/// A history: how much the cache may hold, and what happens.
pub(super) fn history() -> impl Strategy<Value = (u64, Vec<Step>)> {
    (prop_oneof![Just(1 << 20), Just(0), Just(700)], vec(step(), 1..60))
}
