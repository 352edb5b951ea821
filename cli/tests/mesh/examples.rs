//! The examples, run as a person runs them.

use serde_json::{Value, json};

use crate::harness::{Mesh, Process, run, wait_until};

/// Runs an example to its end: every line that it told.
fn example(arguments: &[&str]) -> Vec<Value> {
    let done = run(&[&["example", "--output", "json"], arguments].concat());
    let failures = done.stdout.lines().filter(|line| line.contains("failure")).collect::<Vec<_>>().join("\n");
    assert_eq!(done.code, 0, "{}\n{failures}", done.stderr);
    done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// No query failed, and what was told adds up. Gives the events.
fn all_succeed(name: &str, queries: u64, fault_percent: &str, more: &[&str]) -> Vec<Value> {
    let count = queries.to_string();
    let arguments = [name, "--queries", &count, "--fault-percent", fault_percent];
    let lines = example(&[&arguments, more].concat());
    let all = |kind: &str| lines.iter().filter_map(|line| line.get(kind).cloned()).collect::<Vec<_>>();
    let (fallbacks, events) = (all("fallback"), all("event"));
    let total =
        json!({ "queries": queries, "failed": 0, "fallbacks": fallbacks.len(), "events": events.len() });
    assert_eq!(lines.last().unwrap(), &total);
    // Where many answers of game-list's newer version fail, the reads before the queries may have ejected it already, and it may stay so.
    assert!((name == "game-list" && fault_percent != "5") || !fallbacks.is_empty());
    for fallback in fallbacks {
        let tried = json!([
            { "version": "1.0.1", "outcome": "UNAVAILABLE" },
            { "version": "1.0.0", "outcome": "OK" },
        ]);
        assert_eq!(fallback["tried"], tried);
    }
    let joined = &all("joined")[0];
    assert_eq!((joined["version"].as_str().unwrap(), joined["asked"].as_u64().unwrap()), ("2.0.0", 0));
    assert_eq!((joined["failed"].as_u64().unwrap(), joined["queries"].as_u64().unwrap()), (0, queries / 10));
    events
}

fn tickets_succeed(queries: u64, fault_percent: &str) {
    let events = all_succeed("tickets", queries, fault_percent, &["--seed-data", "5", "--replies", "40"]);
    let positions: Vec<_> = events.iter().map(|event| event["position"].as_u64().unwrap()).collect();
    assert_eq!(positions, (1..=45).collect::<Vec<_>>(), "in order, without gap or double");
}

#[test]
fn no_query_fails_while_a_twentieth_of_the_newer_versions_answers_do() {
    tickets_succeed(2_000, "5");
}

#[test]
fn no_query_fails_while_half_of_the_newer_versions_answers_do() {
    tickets_succeed(2_000, "50");
}

#[test]
fn no_query_fails_while_all_of_the_newer_versions_answers_do() {
    tickets_succeed(2_000, "100");
}

#[test]
fn ten_thousand_queries_all_succeed() {
    tickets_succeed(10_000, "20");
}

#[test]
fn no_query_of_game_list_fails_while_its_newer_version_does() {
    for (fault_percent, queries) in [("5", 1_000), ("50", 1_000), ("100", 1_000)] {
        let events = all_succeed("game-list", queries, fault_percent, &[]);
        assert_eq!(events.len(), 12, "each game of the sample is given once");
    }
}

#[test]
fn an_example_that_is_ended_early_says_so_and_leaves_its_logs() {
    let data_dir = tempfile::tempdir().unwrap();
    let mut command = crate::harness::gameshelf();
    command.args(["example", "tickets", "--queries", "1000000", "--data-dir"]).arg(data_dir.path());
    let mut example = Process::start(&mut command);
    wait_until("queries fall back", || example.stderr().contains(": 1.0.1 UNAVAILABLE, 1.0.0 OK"));
    crate::harness::signal(example.pid(), "INT");
    assert_eq!(example.end().code(), Some(1), "{}", example.stderr());
    assert!(
        example.stderr().contains("error: the example was ended before it was done"),
        "{}",
        example.stderr()
    );
    let log = std::fs::read_to_string(data_dir.path().join("logs/tickets-1.0.1.log")).unwrap();
    assert!(log.contains("FAULTS ARE INJECTED"), "{log}");
    // What is there from before would be counted too: it says so instead.
    let again =
        run(&["example", "tickets", "--output", "json", "--data-dir", data_dir.path().to_str().unwrap()]);
    assert_eq!(again.error(5)["reason"], "DATA_DIR_USED");
}

#[test]
fn the_latest_purchases_are_those_of_watch_and_no_others() {
    let mesh = Mesh::start();
    let latest = |more: &[&str]| {
        let done = mesh.run(&[&["example", "latest"], more].concat());
        assert_eq!(done.code, 0, "{}", done.stderr);
        let games = done.stdout.lines().map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["customer_id"].as_str().unwrap().to_owned()
        });
        games.collect::<Vec<_>>()
    };
    assert_eq!(latest(&[]), [""; 0]);
    let customers: Vec<_> = (1..=12).map(|number| format!("customer-{number}")).collect();
    for customer in &customers {
        mesh.run(&["grant", customer, "tiny-forest", "--reason", "purchase"]).json();
        mesh.run(&["grant", customer, "hollow-comet", "--reason", "gift"]).json();
    }
    assert_eq!(latest(&[]), customers[2..]);
    assert_eq!(latest(&["--limit", "3"]), customers[9..]);

    let follow = Process::start(&mut mesh.command(&["example", "latest", "--limit", "1", "--follow"]));
    assert_eq!(follow.json_line()["customer_id"], "customer-12");
    // It goes on after the arbiter was away.
    crate::harness::signal(mesh.pid("arbiter"), "KILL");
    mesh.run(&["grant", "anna", "tiny-forest", "--reason", "purchase"]);
    wait_until("anna has it", || {
        mesh.games("anna") == ["tiny-forest"] || {
            mesh.run(&["grant", "anna", "tiny-forest", "--reason", "purchase"]);
            false
        }
    });
    assert_eq!(follow.json_line()["customer_id"], "anna");
}
