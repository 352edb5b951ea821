use std::future::Future;
use std::task::Poll;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

use uuid::Uuid;

use crate::domain::Revision;
use crate::store::suite::{batch_of, commit, write};
use crate::store::testing::TestStore;
use crate::store::{CommitError, CopyRow};

/// What a statement says of the file of a store that is closed.
async fn ask(test: &TestStore, statement: &str) -> Vec<i64> {
    let mut connection = SqliteConnectOptions::new().filename(test.file()).connect().await.unwrap();
    let rows = sqlx::query(AssertSqlSafe(statement)).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn with_three_grants() -> TestStore {
    let test = TestStore::sqlite().await;
    let (_, mut head) = test.lead().await;
    let batches = [(1, "a"), (2, "b"), (3, "c")]
        .map(|(number, customer)| vec![commit(number, &[(true, customer, "g")])]);
    write(&test, &mut head, batches.into()).await;
    test
}

#[tokio::test]
async fn the_tables_of_a_closed_store_are_whole() {
    let test = with_three_grants().await;
    assert!(ask(&test, "SELECT valid_from FROM entitlement").await.len() < 3, "something waits");
    test.store.close().await;
    assert_eq!(ask(&test, "SELECT valid_from FROM entitlement ORDER BY customer_id").await, [1, 2, 3]);
    assert_eq!(ask(&test, "SELECT flushed_to FROM head").await, [3]);
}

#[tokio::test]
async fn a_store_of_before_is_taken_over() {
    let mut test = with_three_grants().await;
    test.store.close().await;
    // As the version before left it, and with a log that is trimmed.
    ask(&test, "ALTER TABLE head DROP COLUMN flushed_to").await;
    ask(&test, "DELETE FROM _sqlx_migrations WHERE version = 3").await;
    ask(&test, "DELETE FROM change_log WHERE last_revision < 3").await;
    test.reopen().await;
    assert_eq!(test.store.snapshot(Revision::MAX >> 1, None, 9).await.unwrap().len(), 3);
    test.store.close().await;
    assert_eq!(ask(&test, "SELECT flushed_to FROM head").await, [3]);
}

#[tokio::test]
async fn a_log_that_lacks_what_waits_is_told() {
    for lacking in 1..=3 {
        let mut test = with_three_grants().await;
        test.store.close().await;
        ask(&test, "UPDATE head SET flushed_to = 0").await;
        ask(&test, "DELETE FROM entitlement").await;
        ask(&test, &format!("DELETE FROM change_log WHERE last_revision = {lacking}")).await;
        let error = test.try_reopen().await.unwrap_err();
        assert!(error.to_string().contains(&format!("the log lacks revision {lacking}")), "{error}");
    }
}

#[tokio::test]
async fn a_process_that_was_superseded_carries_nothing_over() {
    let test = with_three_grants().await;
    let mut other = test.beside_the_lock().await;
    let (_, mut head) = other.lead().await;
    let revoked = [(false, "a", "g"), (false, "b", "g"), (false, "c", "g")];
    write(&other, &mut head, vec![vec![commit(4, &revoked)]]).await;
    assert!(!test.store.raise_log_mark(Uuid::now_v7(), 3).await.unwrap());
    test.store.close().await;
    assert_eq!(other.store.snapshot(4, None, 9).await.unwrap(), []);
    write(&other, &mut head, vec![vec![commit(5, &[(true, "c", "g")])]]).await;
    other.reopen().await;
    assert_eq!(other.store.snapshot(5, None, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn whoever_carries_over_may_be_dropped_half_way() {
    for polls in 1..12 {
        let test = TestStore::sqlite().await;
        let (leader_id, mut head) = test.lead().await;
        let customers = ["a", "b", "c", "d", "e"];
        let batches =
            (1..).zip(customers).map(|(number, customer)| vec![commit(number, &[(true, customer, "g")])]);
        write(&test, &mut head, batches.collect()).await;
        drop_after_polls(test.store.raise_log_mark(leader_id, 5), polls).await;
        let (name, version) = ("copy".parse().unwrap(), "1".to_owned());
        let copy =
            CopyRow { name, version, revision: 5, digest_state: 0, repaired_partitions: 0, last_seen_ms: 7 };
        test.store.put_copies(leader_id, &[copy], 0).await.unwrap();
        test.store.close().await;
        assert_eq!(ask(&test, "SELECT flushed_to FROM head").await, [5], "dropped after {polls} polls");
        assert_eq!(ask(&test, "SELECT revision FROM copy").await, [5], "dropped after {polls} polls");
    }
}

#[tokio::test]
async fn a_backup_that_is_put_back_is_noticed() {
    let mut test = TestStore::sqlite().await;
    assert_eq!(test.incarnation(false).await, 1);
    let (_, mut head) = test.lead().await;
    write(&test, &mut head, vec![vec![commit(1, &[(true, "a", "g")])]]).await;
    test.store.close().await;
    let backup = std::fs::read(test.file()).unwrap();
    test.reopen().await;
    assert_eq!(test.incarnation(false).await, 1);
    test.store.close().await;
    std::fs::write(test.file(), &backup).unwrap();
    test.reopen().await;
    assert_eq!(test.incarnation(false).await, 2);
}

/// Polls a future so many times, each time that it is woken, and drops it.
async fn drop_after_polls(future: impl Future, mut polls: u32) {
    let mut future = Box::pin(future);
    std::future::poll_fn(|context| {
        polls -= 1;
        let is_ready = future.as_mut().poll(context).is_ready();
        if is_ready || polls == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Lets the COMMIT fail of every transaction that does something.
async fn let_commit_fail(test: &TestStore, of: &str) {
    // COMMIT refuses a child without a parent.
    ask(test, "CREATE TABLE parent (id INTEGER PRIMARY KEY)").await;
    ask(test, "CREATE TABLE child (parent INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)").await;
    ask(test, &format!("CREATE TRIGGER spoil AFTER {of} BEGIN INSERT INTO child VALUES (7); END")).await;
}

#[tokio::test]
async fn nothing_is_written_after_carrying_over_failed_at_its_commit() {
    let mut test = with_three_grants().await;
    let (leader_id, head) = test.lead().await;
    let_commit_fail(&test, "UPDATE OF flushed_to ON head").await;
    test.store.raise_log_mark(leader_id, 3).await.unwrap_err();
    ask(&test, "DROP TRIGGER spoil").await;
    let batch = batch_of(&test, vec![commit(4, &[(true, "d", "g")])]).await;
    assert!(matches!(test.store.commit(&head, &batch).await, Err(CommitError::Fatal(_))));
    test.reopen().await;
    assert_eq!(test.store.snapshot(4, None, 9).await.unwrap().len(), 3);
    let (leader_id, head) = test.lead().await;
    test.store.commit(&head, &batch).await.unwrap();
    assert!(test.store.raise_log_mark(leader_id, 4).await.unwrap());
}

#[tokio::test]
async fn nothing_is_written_after_a_commit_that_failed() {
    let mut test = with_three_grants().await;
    let (_, head) = test.lead().await;
    let_commit_fail(&test, "INSERT ON change_log").await;
    let batch = batch_of(&test, vec![commit(4, &[(false, "a", "g"), (true, "d", "g")])]).await;
    assert!(matches!(test.store.commit(&head, &batch).await, Err(CommitError::Fatal(_))));
    // What became of it only the next start can tell; until then nothing is written on what was known before.
    assert!(matches!(test.store.commit(&head, &batch).await, Err(CommitError::Fatal(_))));
    let waiting = ask(&test, "SELECT flushed_to FROM head").await;
    test.store.close().await;
    assert_eq!(ask(&test, "SELECT flushed_to FROM head").await, waiting, "nothing was carried over");
    ask(&test, "DROP TRIGGER spoil").await;
    test.reopen().await;
    assert_eq!(test.store.snapshot(3, None, 9).await.unwrap().len(), 3);
}
