//! What a collector of traces sees of a purchase.

mod collector;

use std::collections::BTreeSet;

use collector::{Collector, Span};

use crate::harness::{Mesh, signal, wait_for, wait_until};

const BUY: &str = "gameshelf.purchase.v1.PurchaseService/Buy";
const REQUEST_ID: &str = "01890a5d-ac96-474b-8cce-b302099a8057";

fn find(collector: &Collector, name: &str, service: &str) -> Option<Span> {
    collector.spans().into_iter().find(|span| span.name == name && span.service == service)
}

/// The spans of a trace, once what it is made of has all come: every parent, and the capture at the provider.
fn whole_trace(collector: &Collector, trace_id: &[u8]) -> Vec<Span> {
    wait_for("the whole trace", || {
        let spans: Vec<Span> =
            collector.spans().into_iter().filter(|span| span.trace_id == trace_id).collect();
        let ids: BTreeSet<&[u8]> = spans.iter().map(|span| span.id.as_slice()).collect();
        let has_parents =
            spans.iter().all(|span| span.parent_id.is_empty() || ids.contains(span.parent_id.as_slice()));
        let has = |service: &str, name: &str| {
            spans.iter().any(|span| span.service == service && span.name.ends_with(name))
        };
        let is_captured = has("payment-sandbox", "/Capture") && has("purchase", "/Capture");
        let is_granted = has("arbiter", "/Grant") && has("arbiter", "arbiter.request");
        let is_listed = has("game-list", "copy.commit");
        (has_parents && is_granted && is_captured && is_listed && has("purchase", BUY)).then_some(spans)
    })
}

#[test]
fn a_purchase_is_one_trace_through_all_services_down_to_the_commit() {
    let collector = Collector::start();
    let mesh = Mesh::start_with(&[], &collector.environment());
    mesh.run(&["buy", "anna", "tiny-forest"]).json();
    let buy = wait_for("the purchase", || find(&collector, BUY, "purchase"));
    let spans = whole_trace(&collector, &buy.trace_id);
    let roots: Vec<&str> =
        spans.iter().filter(|span| span.parent_id.is_empty()).map(|span| span.name.as_str()).collect();
    assert_eq!(roots, [BUY]);
    for (service, method) in
        [("payment-sandbox", "/Authorize"), ("arbiter", "/Grant"), ("payment-sandbox", "/Capture")]
    {
        let called =
            spans.iter().find(|span| span.service == service && span.name.ends_with(method)).unwrap();
        let caller = spans.iter().find(|span| span.id == called.parent_id).unwrap();
        assert_eq!((caller.service.as_str(), &caller.name), ("purchase", &called.name));
    }
    let request = spans.iter().find(|span| span.name == "arbiter.request").unwrap();
    let grant = spans.iter().find(|span| span.id == request.parent_id).unwrap();
    assert_eq!((grant.service.as_str(), grant.name.ends_with("/Grant")), ("arbiter", true));
    let listed = spans.iter().find(|span| span.name == "copy.commit").unwrap();
    assert_eq!((listed.service.as_str(), &listed.parent_id), ("game-list", &request.id));
}

#[test]
fn a_request_has_a_span_from_queue_to_commit_linked_with_its_batch() {
    let collector = Collector::start();
    let mesh = Mesh::start_with(&[], &collector.environment());
    mesh.run(&["grant", "anna", "tiny-forest"]).json();
    let request = wait_for("the request", || find(&collector, "arbiter.request", "arbiter"));
    assert_eq!(request.events, ["queued", "decided", "committed"]);
    assert_eq!(request.attributes["batch.size"], "1");

    let batch = wait_for("the batch", || find(&collector, "arbiter.batch", "arbiter"));
    assert_eq!(request.links, std::slice::from_ref(&batch.id));
    assert_ne!(batch.trace_id, request.trace_id, "the batch is a trace of its own");
    assert!(batch.parent_id.is_empty(), "and its root");
    assert_eq!(batch.attributes["batch.size"], "1");
    let commit = wait_for("the commit", || find(&collector, "arbiter.store.commit", "arbiter"));
    assert_eq!((&commit.parent_id, &commit.trace_id), (&batch.id, &batch.trace_id));
}

#[test]
fn a_purchase_that_is_finished_after_a_restart_is_still_one_trace() {
    let collector = Collector::start();
    let mesh = Mesh::start_with(&[], &collector.environment());
    signal(mesh.pid("arbiter"), "STOP");
    let buy = ["buy", "anna", "tiny-forest", "--request-id", REQUEST_ID];
    assert_eq!(mesh.run(&buy).json()["state"], "pending");
    let first = wait_for("the purchase", || find(&collector, BUY, "purchase"));
    let before = collector.spans().len();

    signal(mesh.pid("purchase"), "KILL");
    wait_until("purchase is back", || mesh.up.stderr().contains("purchase serves again"));
    signal(mesh.pid("arbiter"), "CONT");
    // Spans that the killed process had not sent yet are lost, so it is not asked for every parent.
    for (service, name) in
        [("arbiter", "arbiter.request"), ("purchase", "/Capture"), ("payment-sandbox", "/Capture")]
    {
        let span = wait_for("what was done after the restart", || {
            let after = collector.spans().split_off(before);
            after.into_iter().find(|span| span.service == service && span.name.ends_with(name))
        });
        assert_eq!(span.trace_id, first.trace_id, "{service} {name}");
    }
    assert_eq!(mesh.run(&buy).json()["state"], "completed");
}
