//! What the scripted arbiter has, how it behaves, and what it was asked.

use std::collections::{BTreeMap, VecDeque};

use gameshelf::digest::{self, Digest, Digests};
use gameshelf::proto::arbiter::v1::change::Kind;
use gameshelf::proto::arbiter::v1::watch_request::Start;
use gameshelf::proto::arbiter::v1::watch_response::Event;
use gameshelf::proto::arbiter::v1::{
    Bookmark, Commit, Commits, Entitlement, ReportCopyRequest, RowDigests, SnapshotChunk, SnapshotEnd,
};
use gameshelf::tokens::Token;
use uuid::Uuid;

/// Who owns what since when: customer and game to revision.
pub(crate) type State = BTreeMap<(String, String), u64>;

/// What the arbiter has, and how it behaves.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch that a test throws")]
pub(crate) struct World {
    pub(crate) store: u128,
    pub(crate) incarnation: u64,
    pub(crate) commits: Vec<Commit>,
    /// Streams may begin after this revision or later ones.
    pub(crate) compacted: u64,
    /// Streams leave this revision out.
    pub(crate) left_out: Option<u64>,
    /// Streams that resume begin this many commits early.
    pub(crate) repeats: u64,
    /// Streams say nothing of new commits.
    pub(crate) holds_commits: bool,
    /// Snapshots stop before their last part.
    pub(crate) holds_snapshot: bool,
    /// Streams say nothing at all.
    pub(crate) silent: bool,
    /// Commits in one message.
    pub(crate) message_commits: usize,
    /// The next streams end after so many messages.
    pub(crate) cuts: VecDeque<usize>,
    /// How streams of everything were asked to begin.
    pub(crate) watched: Vec<Start>,
    /// How many of them were polled.
    pub(crate) polled: usize,
    /// Polls without news wait as long as they are asked to.
    pub(crate) waits: bool,
    /// How many polls waited in vain.
    pub(crate) waited: usize,
    /// Which parts were asked for: the revision, and the partitions.
    pub(crate) parts: Vec<(u64, Vec<u32>)>,
    /// Parts are refused.
    pub(crate) refuses_parts: bool,
    /// What copies told of themselves.
    pub(crate) reports: Vec<ReportCopyRequest>,
    /// Reports are refused.
    pub(crate) refuses_reports: bool,
    /// How many lists were asked for.
    pub(crate) listed: usize,
}

/// Where a stream stands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Position {
    /// In a snapshot, so many rows of which were told.
    Snapshot { at: Token, told: usize },
    /// Behind a commit.
    After(Token),
}

/// What a stream tells of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) partitions: Vec<u32>,
    pub(crate) with_digests: bool,
}

impl Asked {
    fn tells_of(&self, customer_id: &str) -> bool {
        self.partitions.is_empty() || self.partitions.contains(&digest::partition(customer_id).into())
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            store: 1,
            incarnation: 1,
            commits: vec![],
            compacted: 0,
            left_out: None,
            repeats: 0,
            holds_commits: false,
            holds_snapshot: false,
            silent: false,
            message_commits: 2,
            cuts: VecDeque::new(),
            watched: vec![],
            polled: 0,
            waits: false,
            waited: 0,
            parts: vec![],
            refuses_parts: false,
            reports: vec![],
            refuses_reports: false,
            listed: 0,
        }
    }

    pub(crate) fn head(&self) -> Token {
        let revision = self.commits.len() as u64;
        Token { store_id: Uuid::from_u128(self.store), incarnation: self.incarnation, revision }
    }

    /// The state at a revision.
    pub(crate) fn state(&self, revision: u64) -> State {
        let mut state = State::new();
        for commit in self.commits.iter().take_while(|commit| commit.revision <= revision) {
            for change in &commit.changes {
                let key = (change.customer_id.clone(), change.game_id.clone());
                match change.kind() {
                    Kind::Granted => state.insert(key, commit.revision),
                    _ => state.remove(&key),
                };
            }
        }
        state
    }

    /// How often a snapshot was asked for.
    pub(crate) fn snapshots(&self) -> usize {
        self.watched.iter().filter(|start| matches!(start, Start::Snapshot(_))).count()
    }

    /// What a stream tells next, and where it stands then; none while it is held.
    pub(crate) fn next(&self, position: Position, asked: &Asked) -> Option<(Event, Position)> {
        match position {
            Position::Snapshot { at, told } => self.next_of_snapshot(at, told, asked),
            Position::After(sent) => Some(self.next_of_tail(sent, asked)),
        }
    }

    fn next_of_snapshot(&self, at: Token, told: usize, asked: &Asked) -> Option<(Event, Position)> {
        let rows = self.state(at.revision).into_iter();
        let rows = rows.filter(|((customer_id, _), _)| asked.tells_of(customer_id));
        let entitlements: Vec<_> = rows
            .skip(told)
            .take(2)
            .map(|((customer_id, game_id), since_revision)| Entitlement {
                customer_id,
                game_id,
                since_revision,
                ..Entitlement::default()
            })
            .collect();
        if !entitlements.is_empty() {
            let told = told + entitlements.len();
            let chunk = SnapshotChunk { entitlements, revision: at.revision };
            return Some((Event::SnapshotChunk(chunk), Position::Snapshot { at, told }));
        }
        let end = SnapshotEnd { revision: at.revision, token: at.to_string() };
        (!self.holds_snapshot).then_some((Event::SnapshotEnd(end), Position::After(at)))
    }

    fn next_of_tail(&self, sent: Token, asked: &Asked) -> (Event, Position) {
        let head = if self.holds_commits { sent } else { self.head() };
        let new = self.commits.iter().filter(|commit| commit.revision > sent.revision);
        let new: Vec<_> =
            new.take_while(|commit| commit.revision <= head.revision).take(self.message_commits).collect();
        let Some(last) = new.last() else {
            return (self.bookmark(sent, asked), Position::After(sent));
        };
        let to = sent.at(last.revision);
        let kept = new.into_iter().filter(|commit| Some(commit.revision) != self.left_out);
        let commits: Vec<_> = kept.cloned().collect();
        let event = match commits.last() {
            None => self.bookmark(to, asked),
            Some(last) => {
                let token = to.at(last.revision).to_string();
                Event::Commits(Commits { commits, token })
            }
        };
        (event, Position::After(to))
    }

    fn bookmark(&self, at: Token, asked: &Asked) -> Event {
        let digests = asked.with_digests.then(|| {
            let mut digests = Digests::default();
            for ((customer_id, game_id), since) in self.state(at.revision) {
                let sum = &mut digests[digest::partition(&customer_id)];
                *sum = sum.plus(Digest::of_row(&customer_id, &game_id, since));
            }
            RowDigests { partitions: vec![], digests: digests.to_bytes() }
        });
        Event::Bookmark(Bookmark { revision: at.revision, token: at.to_string(), digests })
    }
}
