//! What reads see, and what they cost.

use gameshelf::errors::{Reason as ErrorReason, metadata_of, reason_of};
use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::proto::arbiter::v1::arbiter_service_server::ArbiterService;
use gameshelf::proto::freshness::v1::{Any, Freshness, Strong, freshness::Requirement};
use tonic::{Request, Response, Status};

use super::harness::*;

on_both_stores!(
    a_strong_read_of_a_warm_customer_touches_no_database,
    never_sees_what_is_not_committed,
    every_kind_of_freshness_is_met,
    an_older_revision_is_shown_as_it_was,
    a_history_is_paged_at_one_revision,
    a_check_of_as_many_pairs_as_may_be_answers_each,
);

fn list(customer_id: &str) -> wire::ListEntitlementsRequest {
    wire::ListEntitlementsRequest { customer_id: customer_id.to_owned(), ..Default::default() }
}

fn pair(customer_id: &str, game_id: &str) -> wire::CheckOwnershipRequest {
    let pair = wire::OwnershipPair { customer_id: customer_id.to_owned(), game_id: game_id.to_owned() };
    wire::CheckOwnershipRequest { pairs: vec![pair], freshness: None }
}

fn history(page_size: i32, page_token: String) -> wire::ListHistoryRequest {
    wire::ListHistoryRequest { customer_id: "c".to_owned(), page_size, page_token, ..Default::default() }
}

fn explain(as_of_revision: u64) -> wire::ExplainOwnershipRequest {
    let (customer_id, game_id) = ("c".to_owned(), "g".to_owned());
    wire::ExplainOwnershipRequest { customer_id, game_id, freshness: None, as_of_revision }
}

fn refused<T: std::fmt::Debug>(answer: Result<Response<T>, Status>) -> Option<ErrorReason> {
    reason_of(&answer.expect_err("it must be refused"))
}

impl Running {
    async fn games(&self, request: wire::ListEntitlementsRequest) -> Vec<String> {
        let listed = self.service.list_entitlements(Request::new(request)).await.unwrap().into_inner();
        listed.entitlements.into_iter().map(|one| one.game_id).collect()
    }

    async fn owns(&self, customer_id: &str, game_id: &str) -> bool {
        let request = Request::new(pair(customer_id, game_id));
        self.service.check_ownership(request).await.unwrap().into_inner().answers[0].owned
    }
}

async fn a_strong_read_of_a_warm_customer_touches_no_database(test: TestStore) {
    let (store, shared) = faulty(&test, &[]);
    let running = start(&shared).await;
    running.ask(id(1), set_stock("g", 10)).await.unwrap();
    running.ask(id(2), grant("c", &["g"], Refuse)).await.unwrap();
    let calls = store.calls();
    assert_eq!(running.games(list("c")).await, ["g"]);
    assert_eq!(store.calls(), calls + 1, "the first read makes it known");
    for number in 3..10 {
        let game = format!("h{number}");
        running.ask(id(number), grant("c", &[&game], Refuse)).await.unwrap();
        let (calls, commits) = (store.calls(), store.commits());
        assert!(running.games(list("c")).await.contains(&game), "it follows every commit");
        assert!(running.owns("c", &game).await && !running.owns("c", "x").await);
        running.service.get_head(Request::new(wire::GetHeadRequest {})).await.unwrap();
        let stock = wire::GetStockRequest { game_id: "g".to_owned(), freshness: None };
        let stock = running.service.get_stock(Request::new(stock)).await.unwrap().into_inner().stock;
        assert_eq!(stock.unwrap().sold, 1);
        assert_eq!((store.calls(), store.commits()), (calls, commits));
    }
    running.stop().await.unwrap();
}

async fn never_sees_what_is_not_committed(test: TestStore) {
    let (store, shared) = faulty(&test, &[]);
    let running = start(&shared).await;
    running.ask(id(1), set_stock("g", 1)).await.unwrap();
    assert_eq!(running.games(list("warm")).await, [""; 0]);
    store.hold_commits();
    let pending = [("warm", 2), ("cold", 3)].map(|(customer, number)| {
        let operations = vec![
            Operation::Grant { key: key(customer, "h"), on_owned: Refuse, ends_at_ms: None },
            Operation::Grant { key: key(customer, "i"), on_owned: Refuse, ends_at_ms: None },
        ];
        running.submit(id(number), command(operations))
    });
    let reserving = running.submit(id(4), reserve("warm", "g", 60_000));
    // The first commit of these is held; whatever it decided is nowhere to be seen.
    while store.commits() < 2 {
        tokio::task::yield_now().await;
    }
    for customer in ["warm", "cold", "cold"] {
        assert_eq!(running.games(list(customer)).await, [""; 0]);
        assert!(!running.owns(customer, "h").await);
    }
    let stock = wire::GetStockRequest { game_id: "g".to_owned(), freshness: None };
    let stock = running.service.get_stock(Request::new(stock)).await.unwrap().into_inner().stock;
    assert_eq!(stock.unwrap().reserved, 0);
    let reservation = wire::GetReservationRequest { reservation_id: id(4).to_string(), freshness: None };
    let reservation = running.service.get_reservation(Request::new(reservation)).await;
    assert_eq!(refused(reservation), Some(ErrorReason::ReservationUnknown));
    assert_eq!(running.hub.head(), 1);
    (0..3).for_each(|_| store.release_commit());
    for request in pending.into_iter().chain([reserving]) {
        request.await.unwrap().unwrap();
    }
    for customer in ["warm", "cold"] {
        assert_eq!(running.games(list(customer)).await, ["h", "i"]);
        assert!(running.owns(customer, "h").await);
    }
    running.stop().await.unwrap();
}

async fn every_kind_of_freshness_is_met(test: TestStore) {
    let running = start(&test.store).await;
    running.ask(id(1), grant("c", &["g"], Refuse)).await.unwrap();
    let head = running.service.get_head(Request::new(wire::GetHeadRequest {})).await.unwrap();
    let token = head.into_inner().provenance.unwrap().token;
    let kinds = [
        None,
        Some(Requirement::Strong(Strong {})),
        Some(Requirement::AtLeastAsFreshAs(token)),
        Some(Requirement::AtMostOld(prost_types::Duration::default())),
        Some(Requirement::Any(Any {})),
    ];
    for requirement in kinds {
        let freshness = Some(Freshness { requirement });
        let request = wire::ListEntitlementsRequest { freshness, ..list("c") };
        let listed = running.service.list_entitlements(Request::new(request)).await.unwrap().into_inner();
        let provenance = listed.provenance.unwrap();
        assert_eq!((listed.entitlements.len(), provenance.revision, provenance.degraded), (1, 1, false));
        assert_eq!(provenance.age, Some(prost_types::Duration::default()));
    }
    running.stop().await.unwrap();
}

async fn an_older_revision_is_shown_as_it_was(test: TestStore) {
    let running = start(&test.store).await;
    running.ask(id(1), grant("c", &["g"], Refuse)).await.unwrap();
    running.ask(id(2), grant("c", &["h"], Refuse)).await.unwrap();
    running.ask(id(3), revoke("c", &["g"], Refuse)).await.unwrap();
    for (as_of_revision, expected) in [(1, &["g"][..]), (2, &["g", "h"]), (3, &["h"]), (0, &["h"])] {
        let request = wire::ListEntitlementsRequest { as_of_revision, ..list("c") };
        assert_eq!(running.games(request).await, expected, "as of {as_of_revision}");
        let told = running.service.explain_ownership(Request::new(explain(as_of_revision))).await;
        assert_eq!(told.unwrap().into_inner().owned, expected.contains(&"g"), "as of {as_of_revision}");
    }
    let beyond = wire::ListEntitlementsRequest { as_of_revision: 4, ..list("c") };
    let status = running.service.list_entitlements(Request::new(beyond)).await.unwrap_err();
    assert_eq!(reason_of(&status), Some(ErrorReason::RevisionUnknown));
    assert_eq!(metadata_of(&status, "head").as_deref(), Some("3"));
    let beyond = running.service.explain_ownership(Request::new(explain(4))).await;
    assert_eq!(refused(beyond), Some(ErrorReason::RevisionUnknown));
    let since = |revision| Precondition::UnchangedSince {
        customer_id: "c".parse().unwrap(),
        game_id: None,
        revision,
    };
    let unchanged = |revision| Command { preconditions: vec![since(revision)], ..grant("c", &["x"], Refuse) };
    let verdict = |answer: Result<Answer, SubmitError>| answer.unwrap().outcome.verdict;
    let refused = |kind| Verdict::Refused { items: vec![(0, kind)] };
    assert_eq!(verdict(running.ask(id(4), unchanged(4)).await), refused(RefusalKind::RevisionUnknown));
    assert_eq!(verdict(running.ask(id(5), unchanged(2)).await), refused(RefusalKind::ChangedSince));
    assert!(matches!(verdict(running.ask(id(6), unchanged(3)).await), Verdict::Accepted { .. }));
    running.stop().await.unwrap();
}

async fn a_history_is_paged_at_one_revision(test: TestStore) {
    let running = start(&test.store).await;
    running.ask(id(1), grant("c", &["a", "b", "g"], Refuse)).await.unwrap();
    running.ask(id(2), revoke("c", &["b"], Refuse)).await.unwrap();
    running.ask(id(3), grant("c", &["b"], Refuse)).await.unwrap();
    let (mut lives, mut page_token, mut number) = (Vec::new(), String::new(), 4);
    loop {
        let request = Request::new(history(1, page_token.clone()));
        let page = running.service.list_history(request).await.unwrap().into_inner();
        assert_eq!(page.provenance.unwrap().revision, 3, "every page shows the first one's revision");
        lives.extend(
            page.ownerships
                .into_iter()
                .map(|one| (one.game_id, one.began.unwrap().revision, one.ended.map(|ended| ended.revision))),
        );
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
        // What is changed between the pages is not shown.
        running.ask(id(number), revoke("c", &["b", "g", "a"], Skip)).await.unwrap();
        running.ask(id(number + 1), grant("c", &["z"], Skip)).await.unwrap();
        number += 2;
    }
    let expected = [("a", 1, None), ("b", 1, Some(2)), ("g", 1, None), ("b", 3, None)];
    assert_eq!(lives, expected.map(|(game, began, ended)| (game.to_owned(), began, ended)));
    let list_with_it = wire::ListEntitlementsRequest { page_token: page_token.clone(), ..list("c") };
    let foreign = running.service.list_entitlements(Request::new(list_with_it)).await;
    assert_eq!(refused(foreign), Some(ErrorReason::InvalidFields), "it is of another list");
    let of_a_game = wire::ListHistoryRequest { game_id: "g".to_owned(), ..history(1, page_token) };
    let foreign = running.service.list_history(Request::new(of_a_game)).await;
    assert_eq!(refused(foreign), Some(ErrorReason::InvalidFields));
    running.stop().await.unwrap();
}

async fn a_check_of_as_many_pairs_as_may_be_answers_each(test: TestStore) {
    let running = start(&test.store).await;
    // Every second one of 500 customers owns one game, and nobody the other.
    let granted = (0..250).map(|number| (id(number), grant(&format!("c{}", 2 * number), &["g"], Refuse)));
    for answer in running.ask_together(granted.collect()).await {
        answer.unwrap();
    }
    let pair = |customer_id: &str, game_id: &str| pair(customer_id, game_id).pairs.remove(0);
    let customers = (0..500).map(|number| format!("c{number}"));
    let pairs = customers.flat_map(|customer_id| [pair(&customer_id, "g"), pair(&customer_id, "x")]);
    let request = wire::CheckOwnershipRequest { pairs: pairs.collect(), freshness: None };
    assert_eq!(request.pairs.len(), REQUEST_LIMITS.pairs_per_check);
    let expected: Vec<(bool, u64)> = (0..500)
        .flat_map(|number| [if number % 2 == 0 { (true, number / 2 + 1) } else { (false, 0) }, (false, 0)])
        .collect();
    // Nobody is in memory at first, and a few are then.
    for warm in [0, 30] {
        for number in 0..warm {
            running.games(list(&format!("c{}", 7 * number))).await;
        }
        let checked = running.service.check_ownership(Request::new(request.clone())).await.unwrap();
        let answers = checked.into_inner().answers.into_iter();
        assert_eq!(answers.map(|one| (one.owned, one.since_revision)).collect::<Vec<_>>(), expected);
    }
    running.stop().await.unwrap();
}
