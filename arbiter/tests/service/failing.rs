//! What an arbiter does when its disk fails it.

use gameshelf::errors::{Reason as ErrorReason, reason_of};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tonic::Code;
use tonic_types::StatusExt;

use crate::{grant, serving, url_in};

/// Lets every COMMIT of a request fail: it refuses a child without a parent.
const SPOIL: &str = "
    CREATE TABLE parent (id INTEGER PRIMARY KEY);
    CREATE TABLE child (parent INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
    CREATE TRIGGER spoil AFTER INSERT ON request BEGIN INSERT INTO child VALUES (7); END;";

#[tokio::test]
async fn a_commit_that_fails_on_sqlite_is_called_unknown_and_ends_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let url = url_in(directory.path());
    let options = ["--outbound-attempts", "1"];
    let mut arbiter = serving(&url, &options).await;
    let file = SqliteConnectOptions::new().filename(directory.path().join("store.sqlite"));
    let mut beside = file.connect().await.unwrap();
    sqlx::raw_sql(SPOIL).execute(&mut beside).await.unwrap();
    let request = grant("c", &["g"]);
    let status = arbiter.client.grant(request.clone()).await.unwrap_err();
    let told = (status.code(), reason_of(&status));
    assert_eq!(told, (Code::Unavailable, Some(ErrorReason::OutcomeUnknown)), "{status}");
    assert!(status.get_details_retry_info().is_some());
    assert!(!format!("{status:?}").contains("FOREIGN KEY"), "the driver's words stay inside: {status:?}");
    let ended = arbiter.task.await.unwrap().unwrap_err();
    assert!(!ended.is_misconfigured() && ended.to_string().contains("start again"), "{ended}");

    // A new process finds out, and the same request settles it.
    sqlx::raw_sql("DROP TRIGGER spoil").execute(&mut beside).await.unwrap();
    beside.close().await.unwrap();
    let mut arbiter = serving(&url, &options).await;
    let granted = arbiter.client.grant(request).await.unwrap().into_inner();
    assert_eq!((granted.revision, granted.replayed), (1, false));
    arbiter.stop().await;
}
