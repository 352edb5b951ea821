use super::*;
use crate::domain::{Cause, End, Key, PastEntitlement, Reason};

fn entitlement(customer_id: &str, game_id: &str, valid_from: Revision) -> Entitlement {
    Entitlement {
        customer_id: customer_id.parse().unwrap(),
        game_id: game_id.parse().unwrap(),
        valid_from,
        granted_at_ms: 0,
        cause: Arc::new(Cause { reason: Reason::Gift, actor: String::new(), order_id: String::new() }),
        ends_at_ms: None,
        from_stock: false,
    }
}

fn cache(limit_bytes: u64) -> Cache {
    Cache::new(0, HashMap::new(), limit_bytes)
}

fn inserted(customer_id: &str, game_id: &str, at: Revision) -> Effects {
    Effects { inserted: vec![Arc::new(entitlement(customer_id, game_id, at))], ..Effects::default() }
}

fn known(cache: &Cache, customer_id: &str) -> Option<Vec<(String, Revision)>> {
    let (_, games) = cache.customer(&customer_id.parse().unwrap());
    let games = games?;
    Some(games.after(None).iter().map(|one| (one.game_id.to_string(), one.valid_from)).collect())
}

fn load(cache: &Cache, customer_id: &str, games: &[&str]) {
    let load = cache.begin_load(&customer_id.parse().unwrap());
    let at = load.at;
    load.finish(games.iter().map(|game_id| entitlement(customer_id, game_id, at)).collect());
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with what is known")]
fn named(games: &[(&str, Revision)]) -> Option<Vec<(String, Revision)>> {
    Some(games.iter().map(|(game_id, since)| ((*game_id).to_owned(), *since)).collect())
}

#[test]
fn a_customer_that_was_loaded_follows_every_commit() {
    let cache = cache(1 << 20);
    assert_eq!(known(&cache, "c"), None);
    load(&cache, "c", &["b"]);
    assert_eq!(known(&cache, "c"), named(&[("b", 0)]));
    cache.publish(1, &inserted("c", "a", 1));
    assert_eq!((known(&cache, "c"), cache.head()), (named(&[("a", 1), ("b", 0)]), 1));
    let key: Key = ("c".parse().unwrap(), "b".parse().unwrap());
    cache.publish(2, &Effects { removed: vec![key], ..Effects::default() });
    assert_eq!(known(&cache, "c"), named(&[("a", 1)]));
    let replaced = vec![Arc::new(entitlement("c", "a", 3))];
    cache.publish(3, &Effects { replaced, ..Effects::default() });
    assert_eq!(known(&cache, "c"), named(&[("a", 3)]));
}

#[test]
fn a_commit_to_a_customer_that_is_not_known_makes_it_no_more_known() {
    let cache = cache(1 << 20);
    cache.publish(1, &inserted("c", "a", 1));
    assert_eq!(known(&cache, "c"), None, "what else it owns was never read");
}

#[test]
fn what_changed_while_it_was_loaded_is_not_kept() {
    let cache = cache(1 << 20);
    let load = cache.begin_load(&"c".parse().unwrap());
    cache.publish(1, &inserted("c", "a", 1));
    let games = load.finish(Vec::new());
    assert!(games.after(None).is_empty(), "at the load's revision it was so");
    assert_eq!(known(&cache, "c"), None);
    load_again_keeps(&cache);
}

fn load_again_keeps(cache: &Cache) {
    load(cache, "c", &["a"]);
    assert_eq!(known(cache, "c"), named(&[("a", 1)]));
    assert!(cache.inner().loading.is_empty(), "nothing is left of loads that ended");
}

#[test]
fn a_list_knows_since_when_it_is_the_same() {
    let cache = cache(1 << 20);
    cache.publish(1, &inserted("d", "a", 1));
    load(&cache, "c", &["b"]);
    cache.publish(2, &inserted("d", "b", 2));
    let games = cache.customer(&"c".parse().unwrap()).1.unwrap();
    assert!(games.was_same_at(1) && games.was_same_at(2) && !games.was_same_at(0));
}

#[test]
fn what_was_owned_only_between_two_revisions_of_a_batch_is_not_overlooked() {
    let cache = cache(1 << 20);
    load(&cache, "c", &["b"]);
    let brief = Arc::new(entitlement("c", "a", 1));
    let end = End { valid_to: 2, ended_at_ms: 0, cause: Arc::clone(&brief.cause) };
    let past = vec![PastEntitlement { entitlement: brief, end }];
    cache.publish(2, &Effects { past, ..Effects::default() });
    let games = cache.customer(&"c".parse().unwrap()).1.unwrap();
    assert!(games.was_same_at(2) && !games.was_same_at(1), "at 1 there was another game");
}

#[test]
fn memory_is_bounded_by_bytes() {
    let cache = cache(64 << 10);
    for number in 0..1_000 {
        load(&cache, &format!("c{number}"), &["a", "b", "c"]);
    }
    let inner = cache.inner();
    assert!(inner.customers.weight() <= 64 << 10, "{}", inner.customers.weight());
    assert!(inner.customers.len() > 10, "{}", inner.customers.len());
}

#[test]
fn a_restart_forgets() {
    let cache = cache(1 << 20);
    load(&cache, "c", &["a"]);
    let load = cache.begin_load(&"d".parse().unwrap());
    cache.restart(5, HashMap::new());
    load.finish(Vec::new());
    assert_eq!((known(&cache, "c"), known(&cache, "d"), cache.head()), (None, None, 5));
}
