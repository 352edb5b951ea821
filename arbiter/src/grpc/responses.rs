//! From the domain to the wire.

use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::proto::freshness::v1::{Provenance, Source};
use gameshelf::tokens::Token;

use crate::domain::{Change, ChangeKind, Commit, Entitlement, GameId, Reason};
use crate::watch::Event;

/// An answer of the arbiter that writes shows the newest state: its age is zero.
pub(super) fn provenance(token: Token) -> Provenance {
    Provenance {
        revision: token.revision,
        token: token.to_string(),
        age: Some(prost_types::Duration::default()),
        source: Source::Arbiter.into(),
        degraded: false,
    }
}

pub(super) fn grant_results(game_ids: &[GameId], changed: &[bool]) -> Vec<wire::GrantResult> {
    use wire::grant_result::Status;
    let status = |changed: bool| if changed { Status::Granted } else { Status::AlreadyOwned };
    let results = game_ids.iter().zip(changed).map(|(game_id, changed)| wire::GrantResult {
        game_id: game_id.to_string(),
        status: status(*changed).into(),
    });
    results.collect()
}

pub(super) fn revoke_results(game_ids: &[GameId], changed: &[bool]) -> Vec<wire::RevokeResult> {
    use wire::revoke_result::Status;
    let status = |changed: bool| if changed { Status::Revoked } else { Status::NotOwned };
    let results = game_ids.iter().zip(changed).map(|(game_id, changed)| wire::RevokeResult {
        game_id: game_id.to_string(),
        status: status(*changed).into(),
    });
    results.collect()
}

pub(super) fn entitlement(entitlement: &Entitlement) -> wire::Entitlement {
    wire::Entitlement {
        customer_id: entitlement.customer_id.to_string(),
        game_id: entitlement.game_id.to_string(),
        since_revision: entitlement.valid_from,
        end_time: None,
    }
}

/// An event of a watch. `store` is any token of the store.
pub(super) fn event(event: Event, store: Token) -> wire::WatchResponse {
    use wire::watch_response::Event as WireEvent;
    let token = |revision| store.at(revision).to_string();
    let event = match event {
        Event::SnapshotChunk { revision, entitlements } => WireEvent::SnapshotChunk(wire::SnapshotChunk {
            entitlements: entitlements.iter().map(entitlement).collect(),
            revision,
        }),
        Event::SnapshotEnd { revision } => {
            WireEvent::SnapshotEnd(wire::SnapshotEnd { revision, token: token(revision) })
        }
        Event::Commits(commits) => WireEvent::Commits(wire::Commits {
            token: token(commits.last().map_or(store.revision, |commit| commit.revision)),
            commits: commits.iter().map(|commit_| commit(commit_)).collect(),
        }),
        Event::Bookmark { revision } => {
            WireEvent::Bookmark(wire::Bookmark { revision, token: token(revision) })
        }
    };
    wire::WatchResponse { event: Some(event) }
}

fn commit(commit: &Commit) -> wire::Commit {
    let reason = match commit.cause.reason {
        Reason::Purchase => wire::Reason::Purchase,
        Reason::Gift => wire::Reason::Gift,
        Reason::Refund => wire::Reason::Refund,
        Reason::Chargeback => wire::Reason::Chargeback,
        Reason::Promotion => wire::Reason::Promotion,
        Reason::Migration => wire::Reason::Migration,
    };
    wire::Commit {
        revision: commit.revision,
        commit_time: Some(timestamp(commit.committed_at_ms)),
        request_id: commit.request_id.to_string(),
        cause: Some(wire::Cause {
            reason: reason.into(),
            actor: commit.cause.actor.clone(),
            order_id: commit.cause.order_id.clone(),
        }),
        changes: commit.changes.iter().map(change).collect(),
        traceparent: commit.traceparent.clone(),
    }
}

fn change(change: &Change) -> wire::Change {
    use wire::change::Kind;
    wire::Change {
        kind: match change.kind {
            ChangeKind::Granted => Kind::Granted,
            ChangeKind::Revoked => Kind::Revoked,
        }
        .into(),
        customer_id: change.customer_id.to_string(),
        game_id: change.game_id.to_string(),
        ..wire::Change::default()
    }
}

fn timestamp(unix_ms: u64) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: i64::try_from(unix_ms / 1000).unwrap_or(i64::MAX),
        nanos: i32::try_from(unix_ms % 1000 * 1_000_000).unwrap_or(0),
    }
}
