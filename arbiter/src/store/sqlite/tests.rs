use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

use crate::domain::Revision;
use crate::store::CommitError;
use crate::store::suite::{batch_of, commit, write};
use crate::store::testing::TestStore;

/// What a statement says of the file of a store that is closed.
async fn ask(test: &TestStore, statement: &'static str) -> Vec<i64> {
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
    let mut test = with_three_grants().await;
    test.store.close().await;
    ask(&test, "UPDATE head SET flushed_to = 1").await;
    ask(&test, "DELETE FROM change_log WHERE last_revision > 1").await;
    let error = test.try_reopen().await.unwrap_err();
    assert!(error.to_string().contains("the log lacks revision 2"), "{error}");
}

#[tokio::test]
async fn nothing_is_written_after_a_commit_that_failed() {
    let mut test = with_three_grants().await;
    let (_, head) = test.lead().await;
    // COMMIT refuses a child without a parent.
    ask(&test, "CREATE TABLE parent (id INTEGER PRIMARY KEY)").await;
    ask(&test, "CREATE TABLE child (parent INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)").await;
    ask(&test, "CREATE TRIGGER spoil AFTER INSERT ON change_log BEGIN INSERT INTO child VALUES (7); END")
        .await;
    let batch = batch_of(&test, vec![commit(4, &[(false, "a", "g"), (true, "d", "g")])]).await;
    assert!(matches!(test.store.commit(&head, &batch).await, Err(CommitError::Fatal(_))));
    // What became of it only the next start can tell; until then nothing is written on what was known before.
    assert!(matches!(test.store.commit(&head, &batch).await, Err(CommitError::Before(_))));
    let waiting = ask(&test, "SELECT flushed_to FROM head").await;
    test.store.close().await;
    assert_eq!(ask(&test, "SELECT flushed_to FROM head").await, waiting, "nothing was carried over");
    ask(&test, "DROP TRIGGER spoil").await;
    test.reopen().await;
    assert_eq!(test.store.snapshot(3, None, 9).await.unwrap().len(), 3);
}
