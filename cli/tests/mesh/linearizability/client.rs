//! A client that does what chance says, and notes what it sees.

use std::sync::Arc;
use std::time::Duration;

use gameshelf::errors::{Reason, metadata_of, reason_of};
use gameshelf::ids::RequestId;
use gameshelf::proto::arbiter::v1::arbiter_service_client::ArbiterServiceClient;
use gameshelf::proto::arbiter::v1::{
    Cause, CheckOwnershipRequest, GrantRequest, ListEntitlementsRequest, OnNotOwned, OnOwned, OwnershipPair,
    Reason as CauseReason, RevokeRequest, grant_result, revoke_result,
};
use gameshelf::proto::freshness::v1::{Freshness, Provenance, freshness::Requirement};
use mesh::environment::Environment;
use mesh::outbound::Calls;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::history::{
    Fresh, Interval, Method, Outcome, Pair, Read, Shown, WantedChange, Watch, Write, read_line, write_line,
};

/// Customers who are looked at together; a read may ask for both.
const CUSTOMERS_TOGETHER: usize = 2;
const GROUPS: usize = 3;
const GAMES: usize = 4;
/// The most operations of one client: what is searched grows with the square of them.
const OPERATIONS_MAX: usize = 2_000;
/// What is lost on the way is not asked for again at once.
const PAUSE: Duration = Duration::from_millis(5);

/// What a client does when it is not told what became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhenUnknown {
    /// It sends the same request until it is told.
    Repeat,
    /// It does something else, and never learns. It is impatient too, and sometimes does not wait for an answer.
    Leave,
}

pub(super) struct Client {
    pub(super) number: usize,
    pub(super) stub: ArbiterServiceClient<Calls>,
    pub(super) random: StdRng,
    pub(super) when_unknown: WhenUnknown,
    pub(super) watch: Arc<Watch>,
    pub(super) stop: CancellationToken,
    /// What the names of this round's customers begin with.
    pub(super) round: String,
    pub(super) environment: Environment,
    pub(super) newest: Option<Fresh>,
    /// What it has sent so far.
    pub(super) sent: Vec<Write>,
    pub(super) lines: Vec<Value>,
}

impl Client {
    /// Does one thing after another until it is stopped, and returns what it saw.
    pub(super) async fn run(mut self) -> Vec<Value> {
        for _ in 0..OPERATIONS_MAX {
            if self.stop.is_cancelled() {
                break;
            }
            match self.random.random_range(0..100) {
                0..60 => {
                    let write = self.any_write();
                    self.sent.push(write.clone());
                    let called_ns = self.watch.now_ns();
                    if let Some((revision, token)) = self.write(write).await {
                        self.newest = Some(Fresh { token, revision, call_ns: called_ns });
                    }
                }
                // The same request again, told or not, of this life of the arbiter or of an earlier one. Its token is as
                // old as the first attempt, so it is not the newest.
                60..65 => {
                    if let Some(write) = self.sent.choose(&mut self.random).cloned() {
                        let _ = self.write(write).await;
                    }
                }
                65..80 => self.check().await,
                _ => self.list().await,
            }
        }
        self.lines
    }

    /// Sends a write until it is told what became of it, or once. Returns its revision and token when it was told.
    async fn write(&mut self, write: Write) -> Option<(u64, String)> {
        loop {
            let call_ns = self.watch.now_ns();
            let (outcome, token) = self.attempt(&write).await;
            let interval = Interval { call_ns, return_ns: self.watch.now_ns() };
            self.lines.push(write_line(self.number, interval, &write, &outcome));
            if let Outcome::Done { revision, .. } | Outcome::Refused { revision, .. } = outcome {
                self.watch.count_answer();
                return Some((revision, token));
            }
            tokio::time::sleep(PAUSE).await;
            if self.when_unknown == WhenUnknown::Leave {
                return None;
            }
        }
    }

    fn any_write(&mut self) -> Write {
        let now_ms = self.environment.clock.unix_ms();
        let mut bytes = [0; 10];
        self.random.fill_bytes(&mut bytes);
        let group = self.random.random_range(0..GROUPS);
        let customer = self.any_customer(group);
        let count = self.random.random_range(1..=2);
        let games: Vec<usize> = (0..GAMES).collect();
        let (owned, skip) = (self.random.random_bool(0.5), self.random.random_bool(0.4));
        let changes = games.choose_multiple(&mut self.random, count).map(|game| {
            let pair = Pair { customer: customer.clone(), game: format!("g{game}") };
            WantedChange { pair, owned, skip }
        });
        let method = if owned { Method::Grant } else { Method::Revoke };
        let request_id = RequestId::new_v7(now_ms, bytes).to_string();
        Write { request_id, method, changes: changes.collect() }
    }

    fn any_customer(&mut self, group: usize) -> String {
        let number = group * CUSTOMERS_TOGETHER + self.random.random_range(0..CUSTOMERS_TOGETHER);
        format!("{}-c{number}", self.round)
    }

    /// Sends a write once. With an outcome that is told comes its token.
    async fn attempt(&mut self, write: &Write) -> (Outcome, String) {
        let patience = match self.when_unknown {
            WhenUnknown::Leave if self.random.random_bool(0.2) => {
                Duration::from_micros(self.random.random_range(0..8_000))
            }
            _ => Duration::MAX,
        };
        let sent = send(self.stub.clone(), write.clone());
        match tokio::time::timeout(patience, sent).await {
            Ok(Ok(told)) => told,
            Ok(Err(status)) => what_failed(&status),
            Err(_) => (Outcome::Unknown, String::new()),
        }
    }

    async fn check(&mut self) {
        let group = self.random.random_range(0..GROUPS);
        let count = self.random.random_range(1..=4);
        let pairs: Vec<OwnershipPair> = (0..count)
            .map(|_| OwnershipPair {
                customer_id: self.any_customer(group),
                game_id: format!("g{}", self.random.random_range(0..GAMES)),
            })
            .collect();
        let (freshness, fresh) = self.any_freshness();
        let call_ns = self.watch.now_ns();
        let request = CheckOwnershipRequest { pairs: pairs.clone(), freshness };
        let answer = self.stub.check_ownership(request).await;
        let Some(answer) = self.answered(answer).await else { return };
        let shown = pairs.into_iter().zip(&answer.answers).map(|(pair, answer)| {
            assert_eq!(answer.owned, answer.since_revision > 0, "{answer:?}");
            let pair = Pair { customer: pair.customer_id, game: pair.game_id };
            Shown { pair, since: answer.since_revision }
        });
        let shown: Vec<Shown> = shown.collect();
        assert_eq!(shown.len(), count, "an answer for each pair");
        self.note_read(call_ns, fresh, answer.provenance, shown, None);
    }

    async fn list(&mut self) {
        let group = self.random.random_range(0..GROUPS);
        let customer = self.any_customer(group);
        let (freshness, fresh) = self.any_freshness();
        let call_ns = self.watch.now_ns();
        let request =
            ListEntitlementsRequest { customer_id: customer.clone(), freshness, ..Default::default() };
        let answer = self.stub.list_entitlements(request).await;
        let Some(answer) = self.answered(answer).await else { return };
        assert_eq!(answer.next_page_token, "", "a few games fit on one page");
        let shown = answer.entitlements.into_iter().map(|one| Shown {
            pair: Pair { customer: one.customer_id, game: one.game_id },
            since: one.since_revision,
        });
        self.note_read(call_ns, fresh, answer.provenance, shown.collect(), Some(customer));
    }

    /// The answer of a read; none when it was lost, which is nothing to note.
    async fn answered<T>(&mut self, answer: Result<tonic::Response<T>, Status>) -> Option<T> {
        match answer {
            Ok(answer) => Some(answer.into_inner()),
            Err(status) => {
                assert!(is_lost(&status), "a read was refused: {status:?}");
                tokio::time::sleep(PAUSE).await;
                None
            }
        }
    }

    /// Strong, or at least as fresh as the newest that this client has seen.
    fn any_freshness(&mut self) -> (Option<Freshness>, Option<Fresh>) {
        match self.newest.clone() {
            Some(fresh) if self.random.random_bool(0.5) => {
                let requirement = Some(Requirement::AtLeastAsFreshAs(fresh.token.clone()));
                (Some(Freshness { requirement }), Some(fresh))
            }
            _ => (None, None),
        }
    }

    fn note_read(
        &mut self,
        call_ns: u64,
        fresh: Option<Fresh>,
        provenance: Option<Provenance>,
        shown: Vec<Shown>,
        complete: Option<String>,
    ) {
        let Provenance { revision, token, .. } = provenance.expect("every answer says where it comes from");
        let interval = Interval { call_ns, return_ns: self.watch.now_ns() };
        let read = Read { revision, shown, complete };
        self.lines.push(read_line(self.number, interval, fresh.as_ref(), &read));
        // A read that may be old has a token that may be old: it took effect when the other one did, at the earliest.
        let call_ns = fresh.map_or(call_ns, |fresh| fresh.call_ns);
        self.newest = Some(Fresh { token, revision, call_ns });
        self.watch.count_answer();
    }
}

async fn send(mut stub: ArbiterServiceClient<Calls>, write: Write) -> Result<(Outcome, String), Status> {
    let Write { request_id, method, changes } = write;
    let WantedChange { pair: Pair { customer: customer_id, .. }, skip, .. } = changes[0].clone();
    let game_ids: Vec<String> = changes.into_iter().map(|change| change.pair.game).collect();
    let cause = Some(Cause { reason: CauseReason::Promotion.into(), ..Cause::default() });
    match method {
        Method::Grant => {
            let on_owned = if skip { OnOwned::Skip } else { OnOwned::Refuse }.into();
            let request =
                GrantRequest { request_id, customer_id, game_ids, on_owned, cause, ..Default::default() };
            let done = stub.grant(request).await?.into_inner();
            let changed = done.results.iter().map(|result| result.status() == grant_result::Status::Granted);
            Ok((Outcome::Done { revision: done.revision, changed: changed.collect() }, done.token))
        }
        Method::Revoke => {
            let on_not_owned = if skip { OnNotOwned::Skip } else { OnNotOwned::Refuse }.into();
            let request = RevokeRequest { request_id, customer_id, game_ids, on_not_owned, cause };
            let done = stub.revoke(request).await?.into_inner();
            let changed = done.results.iter().map(|result| result.status() == revoke_result::Status::Revoked);
            Ok((Outcome::Done { revision: done.revision, changed: changed.collect() }, done.token))
        }
    }
}

/// What a failure says of a write. Anything but a refusal and a loss on the way fails the test.
fn what_failed(status: &Status) -> (Outcome, String) {
    let value = |key| metadata_of(status, key).unwrap_or_default();
    match reason_of(status) {
        Some(Reason::AlreadyOwned | Reason::NotOwned) => {
            let revision = value("revision").parse().expect("a refusal names its revision");
            let (customer, games) = (value("customer_id"), value("game_ids"));
            let blocked =
                games.split(',').map(|game| Pair { customer: customer.clone(), game: game.to_owned() });
            (Outcome::Refused { revision, blocked: blocked.collect() }, value("token"))
        }
        Some(Reason::StoreUnavailable | Reason::QueueFull | Reason::NotLeader | Reason::ShuttingDown) => {
            (Outcome::Nothing, String::new())
        }
        _ => {
            assert!(is_lost(status), "a write failed: {status:?}");
            (Outcome::Unknown, String::new())
        }
    }
}

/// Whether the answer was lost on the way, or nobody was there.
fn is_lost(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
}
