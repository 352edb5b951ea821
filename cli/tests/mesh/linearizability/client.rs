//! A client that does what chance says, and notes what it sees.

use std::sync::Arc;
use std::time::Duration;

use gameshelf::ids::RequestId;
use gameshelf::proto::arbiter::v1::arbiter_service_client::ArbiterServiceClient;
use gameshelf::proto::arbiter::v1::{
    CheckOwnershipRequest, GetStockRequest, ListEntitlementsRequest, OwnershipPair,
};
use gameshelf::proto::freshness::v1::{Freshness, Provenance, freshness::Requirement};
use mesh::environment::Environment;
use mesh::outbound::Calls;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Response, Status};

use super::calls::{Told, is_lost, send};
use super::history::{Change, Fresh, Interval, Outcome, Pair, Said, Shared, Write, read_line, write_line};

/// Customers who are looked at together: they give games to each other, and there is a limited edition for them alone.
const CUSTOMERS_TOGETHER: usize = 2;
const GROUPS: usize = 3;
/// The games of which there is no end.
const GAMES: usize = 3;
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
    pub(super) shared: Arc<Shared>,
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
        if self.number < GROUPS {
            let game = self.limited_edition(self.number);
            self.begin(vec![Change::AddCopies { game, copies: 1 }]).await;
        }
        for _ in 0..OPERATIONS_MAX {
            if self.stop.is_cancelled() {
                break;
            }
            let group = self.random.random_range(0..GROUPS);
            match self.random.random_range(0..100) {
                0..60 => {
                    let changes = self.any_changes(group);
                    self.begin(changes).await;
                }
                // The same request again, told or not, of this life of the arbiter or of an earlier one. Its token is as
                // old as the first attempt, so it is not the newest.
                60..65 => {
                    if let Some(write) = self.sent.choose(&mut self.random).cloned() {
                        let _ = self.write(write).await;
                    }
                }
                65..80 => self.check(group).await,
                80..95 => self.list(group).await,
                _ => self.stock(group).await,
            }
        }
        self.lines
    }

    /// Sends a write of which nobody has heard yet.
    async fn begin(&mut self, changes: Vec<Change>) {
        let mut bytes = [0; 10];
        self.random.fill_bytes(&mut bytes);
        let request_id = RequestId::new_v7(self.environment.clock.unix_ms(), bytes).to_string();
        if let Some(Change::Reserve { pair }) = changes.first() {
            self.shared.add_reservation(request_id.clone(), pair.clone());
        }
        let write = Write { request_id, changes };
        self.sent.push(write.clone());
        let call_ns = self.shared.now_ns();
        if let Some((revision, token)) = self.write(write).await {
            self.newest = Some(Fresh { token, revision, call_ns });
        }
    }

    /// Sends a write until it is told what became of it, or once. Returns its revision and token when it was told.
    async fn write(&mut self, write: Write) -> Option<(u64, String)> {
        loop {
            let call_ns = self.shared.now_ns();
            let (outcome, token) = self.attempt(&write).await;
            let interval = Interval { call_ns, return_ns: self.shared.now_ns() };
            self.lines.push(write_line(self.number, interval, &write, &outcome));
            if let Outcome::Done { revision, .. } | Outcome::Refused { revision, .. } = outcome {
                self.shared.count_answer();
                return Some((revision, token));
            }
            tokio::time::sleep(PAUSE).await;
            if self.when_unknown == WhenUnknown::Leave {
                return None;
            }
        }
    }

    async fn attempt(&mut self, write: &Write) -> Told {
        let patience = match self.when_unknown {
            WhenUnknown::Leave if self.random.random_bool(0.2) => {
                Duration::from_micros(self.random.random_range(0..8_000))
            }
            _ => Duration::MAX,
        };
        let sent = send(self.stub.clone(), write.clone());
        let told = tokio::time::timeout(patience, sent).await;
        told.unwrap_or((Outcome::Unknown, String::new()))
    }

    fn any_changes(&mut self, group: usize) -> Vec<Change> {
        match self.random.random_range(0..60) {
            kind @ 0..40 => {
                let first = self.any_change(group, kind);
                let mut changes = vec![first.clone()];
                // Sometimes a second game, in the same way.
                if self.random.random_bool(0.3) {
                    changes.extend(self.with_another_game(group, first));
                }
                changes
            }
            // A commit of whatever comes.
            40..46 => (0..3)
                .map(|_| {
                    let kind = self.random.random_range(0..40);
                    self.any_change(group, kind)
                })
                .collect(),
            46..52 => vec![Change::Reserve { pair: self.any_pair(group) }],
            kind => {
                let reservations = self.shared.reservations();
                let Some((reservation, pair)) = reservations.choose(&mut self.random).cloned() else {
                    return vec![Change::Reserve { pair: self.any_pair(group) }];
                };
                if kind % 2 == 0 {
                    vec![Change::Confirm { pair, reservation }]
                } else {
                    vec![Change::Release { pair, reservation }]
                }
            }
        }
    }

    /// A change of ownership; `kind` is below 40.
    fn any_change(&mut self, group: usize, kind: u32) -> Change {
        let (pair, skip) = (self.any_pair(group), self.random.random_bool(0.4));
        match kind {
            0..16 => Change::Give { pair, skip },
            16..32 => Change::Take { pair, skip },
            _ => {
                let others = (0..CUSTOMERS_TOGETHER).map(|place| self.customer(group, place));
                let to = others.filter(|other| *other != pair.customer).collect::<Vec<_>>();
                let to = to.choose(&mut self.random).expect("there is another customer").clone();
                Change::Move { pair, to }
            }
        }
    }

    fn with_another_game(&mut self, group: usize, mut change: Change) -> Option<Change> {
        let another = self.any_game(group);
        let (Change::Give { pair, .. } | Change::Take { pair, .. } | Change::Move { pair, .. }) = &mut change
        else {
            return None;
        };
        if pair.game == another {
            return None;
        }
        pair.game = another;
        Some(change)
    }

    fn customer(&self, group: usize, place: usize) -> String {
        format!("{}-c{}", self.round, group * CUSTOMERS_TOGETHER + place)
    }

    fn any_customer(&mut self, group: usize) -> String {
        let place = self.random.random_range(0..CUSTOMERS_TOGETHER);
        self.customer(group, place)
    }

    fn limited_edition(&self, group: usize) -> String {
        format!("{}-limited-{group}", self.round)
    }

    fn any_game(&mut self, group: usize) -> String {
        match self.random.random_range(0..=GAMES) {
            GAMES => self.limited_edition(group),
            number => format!("g{number}"),
        }
    }

    fn any_pair(&mut self, group: usize) -> Pair {
        Pair { customer: self.any_customer(group), game: self.any_game(group) }
    }

    async fn check(&mut self, group: usize) {
        let count = self.random.random_range(1..=4);
        let pairs: Vec<Pair> = (0..count).map(|_| self.any_pair(group)).collect();
        let (freshness, fresh) = self.any_freshness();
        let call_ns = self.shared.now_ns();
        let wanted = pairs
            .iter()
            .map(|pair| OwnershipPair { customer_id: pair.customer.clone(), game_id: pair.game.clone() });
        let request = CheckOwnershipRequest { pairs: wanted.collect(), freshness };
        let answer = self.stub.check_ownership(request).await;
        let Some(answer) = self.answered(answer).await else { return };
        let since = answer.answers.iter().map(|answer| {
            assert_eq!(answer.owned, answer.since_revision > 0, "{answer:?}");
            answer.since_revision
        });
        let shown: Vec<(Pair, u64)> = pairs.into_iter().zip(since).collect();
        assert_eq!(shown.len(), count, "an answer for each pair");
        self.note_read(call_ns, fresh, answer.provenance, &Said::Owned { shown, all_of: None });
    }

    async fn list(&mut self, group: usize) {
        let customer = self.any_customer(group);
        let (freshness, fresh) = self.any_freshness();
        let call_ns = self.shared.now_ns();
        let request =
            ListEntitlementsRequest { customer_id: customer.clone(), freshness, ..Default::default() };
        let answer = self.stub.list_entitlements(request).await;
        let Some(answer) = self.answered(answer).await else { return };
        assert_eq!(answer.next_page_token, "", "a few games fit on one page");
        let shown = answer
            .entitlements
            .into_iter()
            .map(|one| (Pair { customer: one.customer_id, game: one.game_id }, one.since_revision));
        let said = Said::Owned { shown: shown.collect(), all_of: Some(customer) };
        self.note_read(call_ns, fresh, answer.provenance, &said);
    }

    async fn stock(&mut self, group: usize) {
        let (freshness, fresh) = self.any_freshness();
        let call_ns = self.shared.now_ns();
        let request = GetStockRequest { game_id: self.limited_edition(group), freshness };
        let answer = self.stub.get_stock(request).await;
        let Some(answer) = self.answered(answer).await else { return };
        let stock = answer.stock.expect("it is found");
        let said = Said::Stock {
            game: stock.game_id,
            total: stock.total,
            sold: stock.sold,
            reserved: stock.reserved,
        };
        self.note_read(call_ns, fresh, answer.provenance, &said);
    }

    /// The answer of a read; none when it was lost, or when there is no stock yet, which is nothing to note.
    async fn answered<T>(&mut self, answer: Result<Response<T>, Status>) -> Option<T> {
        match answer {
            Ok(answer) => Some(answer.into_inner()),
            Err(status) => {
                assert!(
                    is_lost(&status) || status.code() == Code::NotFound,
                    "a read was refused: {status:?}"
                );
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

    fn note_read(&mut self, call_ns: u64, fresh: Option<Fresh>, provenance: Option<Provenance>, said: &Said) {
        let Provenance { revision, token, .. } = provenance.expect("every answer says where it comes from");
        let interval = Interval { call_ns, return_ns: self.shared.now_ns() };
        self.lines.push(read_line(self.number, interval, fresh.as_ref(), revision, said));
        // A read that may be old has a token that may be old: it took effect when the other one did, at the earliest.
        let call_ns = fresh.map_or(call_ns, |fresh| fresh.call_ns);
        self.newest = Some(Fresh { token, revision, call_ns });
        self.shared.count_answer();
    }
}
