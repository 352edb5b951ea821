use mesh::proto::v1;

use super::*;

fn instance(service: &str, version: &str) -> Instance {
    let description =
        v1::DescribeResponse { name: service.to_owned(), version: version.to_owned(), ..Default::default() };
    Instance {
        health: Health::Serving,
        description: Some(description),
        report: Some(v1::ReportResponse::default()),
        ..Instance::unreachable(service, format!("{service}:{version}"))
    }
}

fn purchase(edge: v1::Edge) -> Instance {
    let mut purchase = instance("purchase", "1.0.0");
    let edge = v1::Edge { service: "arbiter".to_owned(), ..edge };
    purchase.report = Some(v1::ReportResponse { edges: vec![edge], ..Default::default() });
    purchase
}

fn calls(calls: u64, code: i32, failed: u64) -> v1::Edge {
    let failures = vec![v1::EdgeFailures { code, calls: failed }];
    v1::Edge { calls: vec![v1::EdgeCalls { calls, failures, ..Default::default() }], ..Default::default() }
}

fn requests(requests: u64, calls: u64) -> v1::Edge {
    let of_method =
        v1::EdgeRequests { method: "Buy".to_owned(), requests, calls, most_calls: calls / requests + 1 };
    v1::Edge { requests: vec![of_method], ..Default::default() }
}

fn seen(address: &str, version: &str, state: EdgeInstanceState) -> v1::Edge {
    let instance = v1::EdgeInstance {
        address: address.to_owned(),
        version: version.to_owned(),
        state: state.into(),
        ..Default::default()
    };
    v1::Edge { requirement: "^1.2".to_owned(), instances: vec![instance], ..Default::default() }
}

fn reasons(instances: &[Instance]) -> Vec<String> {
    find(instances, 10).into_iter().map(|finding| finding.reason).collect()
}

#[test]
fn a_mesh_that_is_well_has_no_findings() {
    let edge = seen("arbiter:1.2.0", "1.2.0", EdgeInstanceState::Serving);
    assert_eq!(reasons(&[purchase(edge), instance("arbiter", "1.2.0")]), [""; 0]);
    // Another major version beside it is used by others.
    let edge = seen("arbiter:1.2.0", "1.2.0", EdgeInstanceState::Serving);
    assert_eq!(
        reasons(&[purchase(edge), instance("arbiter", "1.2.0"), instance("arbiter", "2.0.0")]),
        [""; 0]
    );
    assert_eq!(in_words(&[]), "the mesh: nothing is wrong\n");
}

#[test]
fn who_does_not_answer_weighs_less_than_who_does_not_serve() {
    let mut silent = instance("arbiter", "1.0.0");
    silent.health = Health::NotServing;
    let away = Instance::unreachable("payment", "127.0.0.1:7403".to_owned());
    let found = find(&[silent, away], 10);
    let told: Vec<_> = found.iter().map(|one| (one.reason.as_str(), one.weight())).collect();
    assert_eq!(told, [("NOT_SERVING", Weight::Wrong), (SERVICE_UNREACHABLE, Weight::Unreachable)]);
    assert_eq!(found[1].address.as_deref(), Some("127.0.0.1:7403"));
}

#[test]
fn a_range_that_nobody_meets_is_told_with_what_runs() {
    let edge = seen("arbiter:1.1.0", "1.1.0", EdgeInstanceState::Serving);
    let found = find(&[purchase(edge), instance("arbiter", "2.0.0")], 10);
    assert_eq!((found.len(), found[0].reason.as_str()), (1, "VERSION_INCOMPATIBLE"));
    assert_eq!(found[0].message, "purchase requires arbiter ^1.2, and what runs is 1.1.0, 2.0.0");
    assert_eq!(found[0].peer.as_deref(), Some("arbiter"));
}

#[test]
fn an_edge_fails_when_over_a_tenth_of_enough_calls_do() {
    assert_eq!(reasons(&[purchase(calls(100, 14, 11))]), ["EDGE_FAILING"]);
    for (number, code, failed) in [(100, 14, 10), (99, 14, 99), (100, 9, 100)] {
        assert_eq!(reasons(&[purchase(calls(number, code, failed))]), [""; 0], "{number} {code} {failed}");
    }
}

#[test]
fn an_edge_is_chatty_when_enough_requests_make_too_many_calls() {
    assert_eq!(reasons(&[purchase(requests(100, 1_001))]), ["EDGE_CHATTY"]);
    for (number, calls) in [(100, 1_000), (99, 9_900)] {
        assert_eq!(reasons(&[purchase(requests(number, calls))]), [""; 0], "{number} {calls}");
    }
    assert_eq!(find(&[purchase(requests(100, 1_001))], 11), []);
}

#[test]
fn instances_that_their_callers_do_not_call_are_told_by_why() {
    for (state, reason) in [
        (EdgeInstanceState::Ejected, "INSTANCE_EJECTED"),
        (EdgeInstanceState::Unusable, "INSTANCE_UNUSABLE"),
        (EdgeInstanceState::Unreachable, SERVICE_UNREACHABLE),
    ] {
        let found = find(&[purchase(seen("a:1", "1.2.0", state))], 10);
        assert_eq!((found.len(), found[0].reason.as_str()), (1, reason));
        assert_eq!(found[0].address.as_deref(), Some("a:1"));
    }
    // What cannot be reached from here either is told once.
    let away = Instance::unreachable("arbiter", "a:1".to_owned());
    let found = find(&[purchase(seen("a:1", "", EdgeInstanceState::Unreachable)), away], 10);
    assert_eq!((found.len(), found[0].service.as_str()), (1, "arbiter"));
}

#[test]
fn what_a_service_finds_unsafe_is_told_with_its_own_reason_and_advice() {
    let mut arbiter = instance("arbiter", "1.0.0");
    let concern = v1::Concern {
        reason: "STORE_UNSAFE".to_owned(),
        message: "fsync is off".to_owned(),
        advice: "turn it on".to_owned(),
    };
    arbiter.report = Some(v1::ReportResponse { concerns: vec![concern], ..Default::default() });
    let found = find(&[arbiter], 10);
    assert_eq!((found[0].reason.as_str(), found[0].weight()), ("STORE_UNSAFE", Weight::Wrong));
    let text = in_words(&found);
    assert!(text.contains("fsync is off\n  turn it on\n"), "{text}");
}
