//! Whether an arbiter and the model agree on everything that can be read.

use std::collections::BTreeMap;

use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::proto::arbiter::v1::arbiter_service_server::ArbiterService;
use tonic::{Code, Request};

use super::super::harness::{Key, RequestId, Running, TestStore, key};
use super::steps::{CUSTOMERS, GAMES};
use super::world::Model;
use crate::domain::{Change, Commit, End, Entitlement, Ownership, Revision, Subject, Sums};
use crate::store::{HistoryPlace, SharedStore};

fn pairs() -> impl Iterator<Item = Key> {
    CUSTOMERS.iter().flat_map(|customer| GAMES.iter().map(|game| key(customer, game)))
}

/// The ownerships of a customer as they were known at a revision: by the revision at which they began, then by game.
fn history(model: &Model, at: Revision, (customer_id, game_id): &Subject) -> Vec<Ownership> {
    let known = |end: &End| Some(end.clone()).filter(|end| end.valid_to <= at);
    let past = model.world.past.iter();
    let past = past.map(|one| Ownership { entitlement: (*one.entitlement).clone(), end: known(&one.end) });
    let present = model.world.owned.values().map(|one| Ownership { entitlement: one.clone(), end: None });
    let asked = |one: &Entitlement| {
        one.customer_id == *customer_id && game_id.as_ref().is_none_or(|game_id| *game_id == one.game_id)
    };
    let all = past.chain(present).filter(|one| asked(&one.entitlement) && one.entitlement.valid_from <= at);
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|one| (one.entitlement.valid_from, one.entitlement.game_id.clone()));
    all
}

fn masked(at: Revision, ownership: Ownership) -> Ownership {
    Ownership { end: ownership.end.filter(|end| end.valid_to <= at), ..ownership }
}

/// Everything that the store keeps, at every revision or at one of so many.
async fn with_store(model: &Model, store: &SharedStore, one_of: usize) {
    let mut stocks = store.stocks().await.unwrap();
    stocks.sort_by(|one, other| one.game_id.cmp(&other.game_id));
    assert_eq!(stocks, model.world.stocks(), "stocks");
    assert_eq!(store.next_due_ms().await.unwrap(), model.next_due_ms(), "what is due next");
    log_agrees(model, store).await;
    for at in (0..=model.revision()).rev().step_by(one_of) {
        let present: Vec<_> = model.presents[usize::try_from(at).unwrap()].values().cloned().collect();
        assert_eq!(snapshot(store, at, 9).await, present, "snapshot at {at}");
        for customer in CUSTOMERS {
            let listed = store.list(at, &customer.parse().unwrap(), None, 10).await.unwrap();
            let owned: Vec<_> =
                present.iter().filter(|one| one.customer_id.as_str() == customer).cloned().collect();
            assert_eq!(listed, owned, "list of {customer} at {at}");
        }
        let explained = pairs().nth(usize::try_from(at).unwrap() % (CUSTOMERS.len() * GAMES.len())).unwrap();
        let subject = (explained.0.clone(), Some(explained.1.clone()));
        let last = history(model, at, &subject).pop();
        let explanation = store.explain(at, &explained).await.unwrap().map(|one| masked(at, one));
        assert_eq!(explanation, last, "explanation of {explained:?} at {at}");
    }
    subjects_agree(model, store).await;
    requests_agree(model, store).await;
}

async fn snapshot(store: &SharedStore, at: Revision, page_size: u32) -> Vec<Entitlement> {
    let mut all: Vec<Entitlement> = Vec::new();
    loop {
        let after = all.last().map(Entitlement::key);
        let page = store.snapshot(at, after.as_ref(), page_size).await.unwrap();
        let is_last = page.len() < page_size as usize;
        all.extend(page);
        if is_last {
            return all;
        }
    }
}

/// The log is that of the model, has no gap, and what it adds up to is the state.
async fn log_agrees(model: &Model, store: &SharedStore) {
    let log = store.log(0, 10_000).await.unwrap();
    assert!(log.iter().map(|commit| commit.revision).eq(1..=model.revision()), "revisions have no gap");
    let mut sum: BTreeMap<Key, (Revision, Option<u64>)> = BTreeMap::new();
    for (commit, expected) in log.iter().zip(&model.commits) {
        // What the arbiter does by itself has an id that nobody else knows.
        let own = commit.cause.reason == crate::domain::Reason::Expiry;
        let request_id = if own { expected.request_id } else { commit.request_id };
        assert_eq!(Commit { request_id, ..commit.clone() }, *expected);
        for change in &commit.changes {
            match change {
                Change::Granted { key, ends_at_ms, .. } => {
                    let before = sum.insert(key.clone(), (commit.revision, *ends_at_ms));
                    assert_eq!(before, None, "granted what was owned: {commit:?}");
                }
                Change::Revoked { key, valid_from, ends_at_ms } => {
                    let ended = Some((*valid_from, *ends_at_ms));
                    assert_eq!(sum.remove(key), ended, "revoked what was not owned: {commit:?}");
                }
                Change::Reserved { .. } | Change::Released { .. } | Change::StockSet { .. } => {}
            }
        }
    }
    let state = snapshot(store, model.revision(), 2).await;
    let state: BTreeMap<_, _> =
        state.into_iter().map(|one| (one.key(), (one.valid_from, one.ends_at_ms))).collect();
    assert_eq!(sum, state, "the log folded up");
}

async fn subjects_agree(model: &Model, store: &SharedStore) {
    let whole = CUSTOMERS.iter().map(|customer| (customer.parse().unwrap(), None));
    let games = pairs().map(|(customer_id, game_id)| (customer_id, Some(game_id)));
    for subject in whole.chain(games) {
        let last = model.last_change(subject.0.as_str(), subject.1.as_ref());
        assert_eq!(store.last_change(&subject).await.unwrap(), last, "last change of {subject:?}");
        for at in [model.revision(), model.revision() / 2] {
            let mut all: Vec<Ownership> = Vec::new();
            loop {
                let after = all.last().map(|one| HistoryPlace {
                    began: one.entitlement.valid_from,
                    game_id: one.entitlement.game_id.clone(),
                });
                let page = store.history(at, &subject, after.as_ref(), 2).await.unwrap();
                let is_last = page.len() < 2;
                all.extend(page.into_iter().map(|one| masked(at, one)));
                if is_last {
                    break;
                }
            }
            assert_eq!(all, history(model, at, &subject), "history of {subject:?} at {at}");
        }
    }
}

/// Every outcome is kept, and so is every reservation.
async fn requests_agree(model: &Model, store: &SharedStore) {
    let ids: Vec<RequestId> = model.outcomes.keys().copied().collect();
    let loaded = store.load(&ids, &[]).await.unwrap().requests;
    assert_eq!(loaded.len(), ids.len());
    for request in loaded {
        let (command, outcome) = &model.outcomes[&request.request_id];
        assert_eq!((&request.outcome, request.content_hash), (outcome, command.content_hash()));
    }
    let customers: Vec<_> = CUSTOMERS.iter().map(|customer| customer.parse().unwrap()).collect();
    for (asked, open) in [((&ids[..], &[][..]), false), ((&[], &customers[..]), true)] {
        let mut reservations = store.reservations(asked.0, asked.1).await.unwrap();
        reservations.sort_by_key(|one| one.reservation_id);
        let expected = model.world.reservations.values().filter(|one| !open || one.is_open());
        assert_eq!(reservations, expected.cloned().collect::<Vec<_>>(), "reservations");
    }
}

/// What callers see of one customer, at first perhaps from the store, then from the cache if it has room.
pub(super) async fn with_reads(model: &Model, arbiter: &Running, customer: &str) {
    let head = model.revision();
    for _ in 0..2 {
        let request = wire::ListEntitlementsRequest {
            customer_id: customer.to_owned(),
            ..wire::ListEntitlementsRequest::default()
        };
        let listed = arbiter.service.list_entitlements(Request::new(request)).await.unwrap().into_inner();
        let listed: Vec<_> = listed.entitlements.iter().map(shown).collect();
        assert_eq!(listed, owned(model, head, customer), "a strong list of {customer}");
    }
    let as_of_revision = head / 2;
    if as_of_revision > 0 {
        let request = wire::ListEntitlementsRequest {
            customer_id: customer.to_owned(),
            as_of_revision,
            ..wire::ListEntitlementsRequest::default()
        };
        let listed = arbiter.service.list_entitlements(Request::new(request)).await.unwrap().into_inner();
        assert_eq!(listed.provenance.unwrap().revision, as_of_revision);
        let listed: Vec<_> = listed.entitlements.iter().map(shown).collect();
        assert_eq!(listed, owned(model, as_of_revision, customer), "as of {as_of_revision}");
    }
    checks_agree(model, arbiter).await;
    stocks_agree(model, arbiter).await;
}

type Shown = (String, Revision, Option<i64>);

fn shown(one: &wire::Entitlement) -> Shown {
    let millis = |time: &prost_types::Timestamp| time.seconds * 1_000 + i64::from(time.nanos / 1_000_000);
    (one.game_id.clone(), one.since_revision, one.end_time.as_ref().map(millis))
}

fn owned(model: &Model, at: Revision, customer: &str) -> Vec<Shown> {
    let present = model.presents[usize::try_from(at).unwrap()].values();
    let shown = |one: &Entitlement| {
        let ends_at_ms = one.ends_at_ms.map(|at| i64::try_from(at).unwrap());
        (one.game_id.to_string(), one.valid_from, ends_at_ms)
    };
    present.filter(|one| one.customer_id.as_str() == customer).map(shown).collect()
}

async fn checks_agree(model: &Model, arbiter: &Running) {
    let pair = |(customer_id, game_id): Key| wire::OwnershipPair {
        customer_id: customer_id.to_string(),
        game_id: game_id.to_string(),
    };
    let request = wire::CheckOwnershipRequest { pairs: pairs().map(pair).collect(), ..Default::default() };
    let checked = arbiter.service.check_ownership(Request::new(request)).await.unwrap().into_inner();
    let since = pairs().map(|key| model.world.owned.get(&key).map_or(0, |one| one.valid_from));
    assert!(checked.answers.iter().map(|answer| answer.since_revision).eq(since), "{checked:?}");
}

async fn stocks_agree(model: &Model, arbiter: &Running) {
    let stocks = model.world.stocks();
    for game in GAMES {
        let request = wire::GetStockRequest { game_id: game.to_owned(), ..Default::default() };
        let told = arbiter.service.get_stock(Request::new(request)).await;
        match stocks.iter().find(|stock| stock.game_id.as_str() == game) {
            Some(stock) => {
                let told = told.unwrap().into_inner().stock.unwrap();
                assert_eq!((told.total, told.sold, told.reserved), (stock.total, stock.sold, stock.reserved));
            }
            None => assert_eq!(told.unwrap_err().code(), Code::NotFound),
        }
    }
}

/// The digests in memory are those of the table of what is present, and of what the checkpoint and the log add up to.
async fn digests_agree(model: &Model, test: &TestStore, arbiter: &Running) {
    let mut sums = Sums { revision: model.revision(), ..Sums::default() };
    for one in snapshot(&test.store, model.revision(), 100).await {
        sums.add_present(&one);
    }
    assert_eq!(arbiter.digests.sums(), sums, "the digests in memory");
    assert_eq!(arbiter.digests.rows_at(model.revision()).as_ref(), Some(&sums.rows));
    let told =
        arbiter.service.get_digests(Request::new(wire::GetDigestsRequest {})).await.unwrap().into_inner();
    let expected = (sums.rows.to_bytes(), sums.contents.to_bytes(), sums.counts.to_vec());
    assert_eq!((told.row_digests, told.content_digests, told.rows), expected, "the digests that are told");
    assert_eq!(told.provenance.unwrap().revision, model.revision());
    let recovered = crate::digests::recover(&*test.store, model.revision()).await.unwrap();
    assert_eq!(recovered.sums, sums, "the digests after a start");
}

/// Everything there is, as of every revision or as of one of so many.
pub(super) async fn with_all(model: &Model, test: &TestStore, arbiter: &Running, one_of: usize) {
    assert_eq!(arbiter.hub.head(), model.revision());
    digests_agree(model, test, arbiter).await;
    for customer in CUSTOMERS {
        with_reads(model, arbiter, customer).await;
    }
    with_store(model, &test.store, one_of).await;
}
