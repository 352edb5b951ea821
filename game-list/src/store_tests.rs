use super::*;
use copy::{Batch, Change, Commit, Row as CopyRow};
use database::SqliteOptions;
use gameshelf::catalog::Catalog;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn at(revision: u64) -> Token {
    Token { store_id: Uuid::from_u128(1), incarnation: u64::MAX, revision }
}

fn entitlement(customer_id: &str, game_id: &str, since_revision: u64) -> CopyRow {
    CopyRow::new(customer_id.to_owned(), game_id.to_owned(), since_revision)
}

fn commit(revision: u64, changes: &[(&str, &str, bool)]) -> Commit {
    let changes = changes
        .iter()
        .map(|(customer_id, game_id, granted)| Change {
            partition: digest::partition(customer_id),
            customer_id: (*customer_id).to_owned(),
            game_id: (*game_id).to_owned(),
            granted: *granted,
        })
        .collect();
    Commit { revision, changes, traceparent: String::new() }
}

async fn open(path: &Path) -> Store {
    Store::over(database::open_sqlite(path, &SqliteOptions::default(), MIGRATIONS).await.unwrap())
}

async fn built(path: &Path, rows: &[CopyRow], revision: u64) -> Store {
    let store = open(path).await;
    store.begin_build().await.unwrap();
    store.gather(rows).await.unwrap();
    store.swap(at(revision)).await.unwrap();
    store
}

async fn games(store: &Store, customer_id: &str) -> Vec<(String, u64)> {
    let page = store.page(customer_id, "", 100).await.unwrap().unwrap();
    page.games.into_iter().map(|game| (game.game_id, game.since_revision)).collect()
}

#[tokio::test]
async fn there_is_no_copy_before_the_first_snapshot_is_complete() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory.path().join("copy.sqlite")).await;
    store.begin_build().await.unwrap();
    store.gather(&[entitlement("a", "x", 1)]).await.unwrap();
    assert_eq!(store.page("a", "", 9).await.unwrap(), None);
    assert_eq!(store.checkpoint().await.unwrap(), None);
    store.swap(at(7)).await.unwrap();
    assert_eq!(games(&store, "a").await, [("x".to_owned(), 1)]);
    let nobody = store.page("b", "", 9).await.unwrap().unwrap();
    assert_eq!(nobody, Page { token: at(7), games: vec![] });
}

#[tokio::test]
async fn a_snapshot_that_was_cut_off_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let store = built(&directory.path().join("copy.sqlite"), &[entitlement("a", "old", 1)], 3).await;
    store.begin_build().await.unwrap();
    store.gather(&[entitlement("a", "half", 1)]).await.unwrap();
    assert_eq!(games(&store, "a").await, [("old".to_owned(), 1)], "the copy goes on serving");
    store.begin_build().await.unwrap();
    store.gather(&[entitlement("a", "new", 2)]).await.unwrap();
    store.swap(at(5)).await.unwrap();
    assert_eq!(games(&store, "a").await, [("new".to_owned(), 2)]);
    while store.sweep().await.unwrap() {}
    let rows = sqlx::query("SELECT count(*) FROM owned").fetch_one(&store.database.readers).await;
    assert_eq!(rows.unwrap().get::<i64, _>(0), 1);
}

#[tokio::test]
async fn commits_belong_to_the_revision_that_they_begin_at() {
    let directory = tempfile::tempdir().unwrap();
    let store = built(&directory.path().join("copy.sqlite"), &[], 3).await;
    let next = [commit(4, &[("a", "x", true)])];
    store.apply(&Batch::new(at(3), at(4), &next)).await.unwrap();
    for from in [at(3), at(5), Token { incarnation: 1, ..at(4) }] {
        let commits = [commit(6, &[("a", "y", true)])];
        let refused = store.apply(&Batch::new(from, at(6), &commits)).await;
        assert!(matches!(refused, Err(StoreError::Moved)));
    }
    assert_eq!(games(&store, "a").await, [("x".to_owned(), 4)], "a refused transaction leaves nothing");
    assert_eq!(store.checkpoint().await.unwrap(), Some(at(4)));
}

/// Before there were partitions the rows stood in another table. Their copy goes on being served after an upgrade.
#[tokio::test]
async fn a_copy_of_the_version_before_is_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("copy.sqlite");
    let store = open(&path).await;
    for statement in [
        "INSERT INTO entitlement VALUES (4, 'a', 'x', 1), (4, 'a', 'y', 2), (4, 'b', 'x', 3), (5, 'c', 'left', 3)",
        "INSERT INTO copy_state VALUES (1, 4, x'00000000000000000000000000000001', -1, 3)",
    ] {
        sqlx::query(statement).execute(&store.database.writer).await.unwrap();
    }
    store.take_over().await.unwrap();
    assert_eq!(store.checkpoint().await.unwrap(), Some(at(3)));
    assert_eq!(games(&store, "a").await, [("x".to_owned(), 1), ("y".to_owned(), 2)]);
    assert_eq!(games(&store, "b").await, [("x".to_owned(), 3)]);
    assert_eq!(games(&store, "c").await, []);
    let commits = [commit(4, &[("a", "x", false)])];
    let before = store.apply(&Batch::new(at(3), at(4), &commits)).await.unwrap();
    assert_eq!(before, [entitlement("a", "x", 1)], "what was changed is told as it was");
    store.take_over().await.unwrap();
    assert_eq!(store.checkpoint().await.unwrap(), Some(at(4)), "it is taken over once");
    assert_eq!(store.rows(digest::partition("a")).await.unwrap(), [entitlement("a", "y", 2)]);
}

#[tokio::test]
async fn a_page_begins_after_a_game() {
    let directory = tempfile::tempdir().unwrap();
    let rows = ["a", "b", "c"].map(|game| entitlement("me", game, 1));
    let store = built(&directory.path().join("copy.sqlite"), &rows, 3).await;
    let page = store.page("me", "a", 1).await.unwrap().unwrap();
    assert_eq!(page.games, [OwnedGame { game_id: "b".to_owned(), since_revision: 1 }]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Commits applied in batches of any size leave what they leave one by one.
    #[test]
    fn batches_do_not_change_the_outcome(
        steps in prop::collection::vec((0_usize..3, 0_usize..3, any::<bool>()), 1..40),
        batch in 1_usize..10,
    ) {
        let names = ["a", "b", "c"];
        let commits: Vec<_> = (1..).zip(&steps)
            .map(|(revision, (customer, game, granted))| commit(revision, &[(names[*customer], names[*game], *granted)]))
            .collect();
        let mut model = BTreeMap::new();
        for (revision, (customer, game, granted)) in (1..).zip(&steps) {
            if *granted { model.insert((*customer, *game), revision); } else { model.remove(&(*customer, *game)); }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let store = built(&directory.path().join("copy.sqlite"), &[], 0).await;
            let mut from = at(0);
            for commits in commits.chunks(batch) {
                let to = at(commits.last().unwrap().revision);
                store.apply(&Batch::new(from, to, commits)).await.unwrap();
                from = to;
            }
            for (number, customer) in names.iter().enumerate() {
                let expected: Vec<_> = model.iter().filter(|((customer, _), _)| *customer == number)
                    .map(|((_, game), since)| (names[*game].to_owned(), *since)).collect();
                assert_eq!(games(&store, customer).await, expected);
            }
        });
    }
}

#[tokio::test]
async fn the_catalogue_is_kept_whole_or_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("copy.sqlite");
    let store = open(&path).await;
    assert!(store.catalog().await.unwrap().is_none());
    let header = "game_id,title,status,release_year,price_minor_units,currency,required_age";
    let many = (0..25_000).map(|number| format!("g{number},G,listed,,{number},USD,"));
    let many = many.collect::<Vec<_>>().join("\n");
    for lines in [many.as_str(), "a,\"A, \"\"b\"\"\",listed,2019,499,USD,18\nb,B,delisted,,,,\n"] {
        let catalog = Catalog::parse(format!("{header}\n{lines}").as_bytes()).unwrap();
        store.keep_catalog(&catalog, 7).await.unwrap();
        let kept = store.catalog().await.unwrap().unwrap();
        assert_eq!((kept.catalog.hash(), kept.confirmed_unix_ms), (catalog.hash(), 7));
        assert!(kept.catalog.after(None).eq(catalog.after(None)));
    }
    store.confirm_catalog(9).await.unwrap();
    drop(store);
    let store = open(&path).await;
    assert_eq!(store.catalog().await.unwrap().unwrap().confirmed_unix_ms, 9);
    sqlx::query("UPDATE catalog_game SET currency = 'usd'").execute(&store.database.writer).await.unwrap();
    assert!(matches!(store.catalog().await, Err(StoreError::Corrupt)));
}
