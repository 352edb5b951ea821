//! Two arbiters on one PostgreSQL: one order, no stale strong read, and no second one without being asked for by name.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gameshelf::errors::{Reason, reason_of};
use gameshelf::proto::arbiter::v1::ListEntitlementsRequest;
use gameshelf::proto::arbiter::v1::arbiter_service_client::ArbiterServiceClient;
use gameshelf::proto::freshness::v1::freshness::Requirement;
use gameshelf::proto::freshness::v1::{Any, Freshness, Provenance};
use mesh::outbound::Calls;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::Status;

use crate::arbiter::{Database, Running, grant, start};
use crate::proxy::{Fate, Proxy};

const LEASE: [&str; 2] = ["--lease-ms", "1000"];
/// For what must happen inside it, also on a machine that has much to do.
const LONG_LEASE: [&str; 2] = ["--lease-ms", "3000"];

/// What all clients know together.
#[derive(Debug, Default)]
struct Books {
    /// The newest revision of an acknowledged write.
    acknowledged: AtomicU64,
    /// Which request was acknowledged at which revision.
    requests: Mutex<BTreeMap<u64, String>>,
}

/// Clients of one arbiter, who write and read strongly until they are told to stop.
struct Clients {
    writes: Arc<AtomicUsize>,
    reads: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<()>>,
}

impl Clients {
    fn start(
        name: &'static str,
        client: &ArbiterServiceClient<Calls>,
        books: &Arc<Books>,
        stop: &watch::Receiver<bool>,
    ) -> Self {
        let (writes, reads) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = Vec::new();
        for number in 0..3 {
            let (client, books, stop, writes) =
                (client.clone(), Arc::clone(books), stop.clone(), Arc::clone(&writes));
            tasks.push(tokio::spawn(write(format!("{name}-{number}"), client, books, stop, writes)));
        }
        for _ in 0..3 {
            let (client, books, stop, reads) =
                (client.clone(), Arc::clone(books), stop.clone(), Arc::clone(&reads));
            tasks.push(tokio::spawn(read(client, books, stop, reads)));
        }
        Self { writes, reads, tasks }
    }

    async fn until_they_did(&self, writes: usize, reads: usize) {
        while self.writes.load(Ordering::SeqCst) < writes || self.reads.load(Ordering::SeqCst) < reads {
            tokio::task::yield_now().await;
        }
    }

    async fn end(self) {
        for task in self.tasks {
            task.await.expect("no client found anything wrong");
        }
    }
}

async fn write(
    customer_id: String,
    mut client: ArbiterServiceClient<Calls>,
    books: Arc<Books>,
    stop: watch::Receiver<bool>,
    writes: Arc<AtomicUsize>,
) {
    for number in 0_u64.. {
        if *stop.borrow() {
            return;
        }
        let request = grant(&customer_id, &format!("game-{number}"));
        let request_id = request.request_id.clone();
        if let Ok(granted) = client.grant(request).await {
            let revision = granted.into_inner().revision;
            let before = books.requests.lock().unwrap().insert(revision, request_id);
            assert_eq!(before, None, "revision {revision} was given twice");
            books.acknowledged.fetch_max(revision, Ordering::SeqCst);
            writes.fetch_add(1, Ordering::SeqCst);
        }
        tokio::task::yield_now().await;
    }
}

async fn read(
    mut client: ArbiterServiceClient<Calls>,
    books: Arc<Books>,
    stop: watch::Receiver<bool>,
    reads: Arc<AtomicUsize>,
) {
    while !*stop.borrow() {
        let before = books.acknowledged.load(Ordering::SeqCst);
        if let Ok(answer) = list(&mut client, None).await {
            let shown = answer.revision;
            assert!(
                shown >= before,
                "a strong read shows {shown}, and {before} was acknowledged before it began"
            );
            reads.fetch_add(1, Ordering::SeqCst);
        }
        tokio::task::yield_now().await;
    }
}

/// Lists a customer, and returns how fresh the answer is.
async fn list(
    client: &mut ArbiterServiceClient<Calls>,
    requirement: Option<Requirement>,
) -> Result<Provenance, Status> {
    let request = ListEntitlementsRequest {
        customer_id: "first-0".to_owned(),
        freshness: requirement.map(|requirement| Freshness { requirement: Some(requirement) }),
        ..ListEntitlementsRequest::default()
    };
    Ok(client
        .list_entitlements(request)
        .await?
        .into_inner()
        .provenance
        .expect("every answer says how fresh it is"))
}

#[tokio::test]
async fn a_second_arbiter_refuses_to_start_while_the_first_one_lives() {
    let database = Database::new().await;
    let first = Running::serving(&database.url(), &LEASE).await;
    let refused = start(&database.url(), &LEASE).task.await.unwrap().unwrap_err();
    assert!(refused.is_misconfigured(), "{refused}");
    assert!(refused.to_string().contains("--take-over"), "it says what to do: {refused}");
    assert!(first.ask(&grant("c", "game")).await.is_ok(), "the first one goes on");
    first.stop().await;
    Running::serving(&database.url(), &LEASE).await.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_arbiters_that_both_write_make_one_order_and_no_stale_read() {
    let database = Database::new().await;
    let first = Running::serving(&database.url(), &LEASE).await;
    let (stop, stopped) = watch::channel(false);
    let books = Arc::new(Books::default());
    let of_first = Clients::start("first", &first.client, &books, &stopped);
    of_first.until_they_did(20, 20).await;
    let second = Running::serving(&database.url(), &[&LEASE[..], &["--take-over"]].concat()).await;
    let of_second = Clients::start("second", &second.client, &books, &stopped);
    of_second.until_they_did(20, 20).await;
    assert!(first.task.await.unwrap().is_err(), "the first one ends, since it can commit nothing more");
    stop.send_replace(true);
    of_first.end().await;
    of_second.end().await;
    second.stop().await;
    assert_one_order(&database, &books).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_loses_the_lease_in_a_commit_does_not_say_that_nothing_was_written() {
    let database = Database::new().await;
    let proxy = Proxy::start(database.server());
    let first = Running::serving(&database.url_by(proxy.address()), &LEASE).await;
    proxy.next_commits([Fate::Withheld]);
    let request = grant("c", "game");
    let answer = first.send(&request);
    proxy.until(|seen| seen.withheld == 1).await;
    let queued = first.send(&grant("d", "game"));
    let second = Running::serving(&database.url(), &[&LEASE[..], &["--take-over"]].concat()).await;
    let status = answer.await.unwrap().unwrap_err();
    assert_eq!(reason_of(&status), Some(Reason::OutcomeUnknown), "{status}");
    let status = queued.await.unwrap().unwrap_err();
    assert_eq!(reason_of(&status), Some(Reason::NotLeader), "{status}");
    assert!(first.task.await.unwrap().is_err(), "it ends, since it can commit nothing more");
    let again = second.ask(&request).await.unwrap();
    assert_eq!((again.revision, again.replayed), (1, true), "it was written");
    second.stop().await;
}

/// What was acknowledged is in the log, each request at the revision that was told, and the log has no gaps.
async fn assert_one_order(database: &Database, books: &Books) {
    let log = database.committed().await;
    assert!(log.iter().map(|commit| commit.revision).eq(1..=log.len() as u64), "revisions without gaps");
    let logged: BTreeMap<u64, String> =
        log.into_iter().map(|commit| (commit.revision, commit.request_id)).collect();
    for (revision, request_id) in &*books.requests.lock().unwrap() {
        assert_eq!(logged.get(revision), Some(request_id), "acknowledged at revision {revision}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_arbiter_that_cannot_renew_its_lease_reads_strongly_only_inside_it() {
    let database = Database::new().await;
    let proxy = Proxy::start(database.server());
    let first = Running::serving(&database.url_by(proxy.address()), &LONG_LEASE).await;
    let (stop, stopped) = watch::channel(false);
    let books = Arc::new(Books::default());
    let of_first = Clients::start("first", &first.client, &books, &stopped);
    of_first.until_they_did(20, 20).await;
    let mut client = first.client.clone();
    list(&mut client, None).await.unwrap();
    // From now on the first one cannot know that it is replaced; what it reads is warm in its memory.
    proxy.outage();
    assert!(list(&mut client, None).await.is_ok(), "it answers strongly inside its lease");
    let second = Running::serving(&database.url(), &[&LONG_LEASE[..], &["--take-over"]].concat()).await;
    let of_second = Clients::start("second", &second.client, &books, &stopped);
    of_second.until_they_did(20, 20).await;

    let refused = list(&mut client, None).await.unwrap_err();
    assert_eq!(reason_of(&refused), Some(Reason::NotLeader), "{refused}");
    assert_eq!(refused.metadata().get("grpc-retry-pushback-ms").unwrap(), "500", "and when to come again");
    let any = list(&mut client, Some(Requirement::Any(Any {}))).await.unwrap();
    let age = Duration::try_from(any.age.expect("its age is told")).unwrap();
    assert!(any.degraded && age >= Duration::from_secs(3), "{age:?}");

    stop.send_replace(true);
    of_first.end().await;
    of_second.end().await;
    second.stop().await;
    first.task.abort();
    assert_one_order(&database, &books).await;
}
