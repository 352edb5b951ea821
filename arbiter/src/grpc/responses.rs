//! From the domain to the wire.

use std::time::Duration;

use gameshelf::digest::Digests;
use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::proto::freshness::v1::{Provenance, Source};
use gameshelf::tokens::Token;

use crate::domain::{
    Cause, Change, Command, Commit, End, Entitlement, Key, Operation, Ownership, Reason, Reservation,
    ReservationStatus, Stock,
};
use crate::watch::{Event, Part};

/// An answer of the arbiter that writes shows the newest state: its age is zero. One that can no longer prove that it is the
/// one that writes tells how old its answer may be.
pub(super) fn provenance(token: Token, age: Option<Duration>) -> Provenance {
    Provenance {
        revision: token.revision,
        token: token.to_string(),
        age: Some(prost_types::Duration::try_from(age.unwrap_or_default()).unwrap_or_default()),
        source: Source::Arbiter.into(),
        degraded: age.is_some(),
    }
}

/// The games of a command that has one operation for each.
fn games(command: &Command) -> impl Iterator<Item = String> {
    command.operations.iter().filter_map(|operation| match operation {
        Operation::Grant { key, .. } | Operation::Revoke { key, .. } => Some(key.1.as_str().to_owned()),
        _ => None,
    })
}

pub(super) fn grant_results(command: &Command, changed: &[bool]) -> Vec<wire::GrantResult> {
    use wire::grant_result::Status;
    let status = |changed: bool| if changed { Status::Granted } else { Status::AlreadyOwned };
    let results = games(command).zip(changed);
    results.map(|(game_id, changed)| wire::GrantResult { game_id, status: status(*changed).into() }).collect()
}

pub(super) fn revoke_results(command: &Command, changed: &[bool]) -> Vec<wire::RevokeResult> {
    use wire::revoke_result::Status;
    let status = |changed: bool| if changed { Status::Revoked } else { Status::NotOwned };
    let results = games(command).zip(changed);
    results
        .map(|(game_id, changed)| wire::RevokeResult { game_id, status: status(*changed).into() })
        .collect()
}

pub(super) fn entitlement(entitlement: &Entitlement) -> wire::Entitlement {
    wire::Entitlement {
        customer_id: entitlement.customer_id.as_str().to_owned(),
        game_id: entitlement.game_id.as_str().to_owned(),
        since_revision: entitlement.valid_from,
        end_time: entitlement.ends_at_ms.map(timestamp),
    }
}

pub(super) fn reservation(reservation: &Reservation) -> wire::Reservation {
    use wire::reservation::Status;
    let status = match reservation.status {
        ReservationStatus::Open => Status::Open,
        ReservationStatus::Confirmed => Status::Confirmed,
        ReservationStatus::Released => Status::Released,
        ReservationStatus::Expired => Status::Expired,
    };
    wire::Reservation {
        reservation_id: reservation.reservation_id.to_string(),
        customer_id: reservation.customer_id.as_str().to_owned(),
        game_id: reservation.game_id.as_str().to_owned(),
        status: status.into(),
        expire_time: Some(timestamp(reservation.expires_at_ms)),
    }
}

pub(super) fn stock(stock: &Stock) -> wire::Stock {
    wire::Stock {
        game_id: stock.game_id.as_str().to_owned(),
        total: stock.total,
        sold: stock.sold,
        reserved: stock.reserved,
    }
}

/// An ownership as it was known at a revision: an end after it was still to come.
pub(super) fn ownership(ownership: &Ownership, at: u64) -> wire::Ownership {
    let entitlement = &ownership.entitlement;
    let ended = ownership.end.as_ref().filter(|end| end.valid_to <= at);
    wire::Ownership {
        game_id: entitlement.game_id.as_str().to_owned(),
        began: Some(wire::OwnershipEvent {
            revision: entitlement.valid_from,
            commit_time: Some(timestamp(entitlement.granted_at_ms)),
            cause: Some(cause(&entitlement.cause)),
        }),
        ended: ended.map(|end: &End| wire::OwnershipEvent {
            revision: end.valid_to,
            commit_time: Some(timestamp(end.ended_at_ms)),
            cause: Some(cause(&end.cause)),
        }),
        end_time: entitlement.ends_at_ms.map(timestamp),
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
        Event::Commits(parts) => WireEvent::Commits(wire::Commits {
            token: token(parts.last().map_or(store.revision, Part::last)),
            commits: parts.iter().flat_map(Part::commits).map(|commit_| commit(commit_)).collect(),
        }),
        Event::Digests { revision, partitions, digests } => {
            let digests = row_digests(&partitions, &digests);
            WireEvent::Bookmark(wire::Bookmark { revision, token: token(revision), digests: Some(digests) })
        }
        Event::Bookmark { revision } => {
            WireEvent::Bookmark(wire::Bookmark { revision, token: token(revision), digests: None })
        }
    };
    wire::WatchResponse { event: Some(event) }
}

fn cause(cause: &Cause) -> wire::Cause {
    let reason = match cause.reason {
        Reason::Purchase => wire::Reason::Purchase,
        Reason::Gift => wire::Reason::Gift,
        Reason::Refund => wire::Reason::Refund,
        Reason::Chargeback => wire::Reason::Chargeback,
        Reason::Promotion => wire::Reason::Promotion,
        Reason::Migration => wire::Reason::Migration,
        Reason::Expiry => wire::Reason::Expiry,
        Reason::Administration => wire::Reason::Administration,
    };
    wire::Cause { reason: reason.into(), actor: cause.actor.clone(), order_id: cause.order_id.clone() }
}

pub(super) fn commit(commit: &Commit) -> wire::Commit {
    wire::Commit {
        revision: commit.revision,
        commit_time: Some(timestamp(commit.committed_at_ms)),
        request_id: commit.request_id.to_string(),
        cause: Some(cause(&commit.cause)),
        changes: commit.changes.iter().map(change).collect(),
        traceparent: commit.traceparent.clone(),
    }
}

fn change(change: &Change) -> wire::Change {
    use wire::change::Kind;
    let of_key = |kind: Kind, (customer_id, game_id): &Key| wire::Change {
        kind: kind.into(),
        customer_id: customer_id.as_str().to_owned(),
        game_id: game_id.as_str().to_owned(),
        ..wire::Change::default()
    };
    match change {
        Change::Granted { key, ends_at_ms, reservation_id } => wire::Change {
            end_time: ends_at_ms.map(timestamp),
            reservation_id: reservation_id.map(|id| id.to_string()).unwrap_or_default(),
            ..of_key(Kind::Granted, key)
        },
        Change::Revoked { key, .. } => of_key(Kind::Revoked, key),
        Change::Reserved { key, reservation_id, expires_at_ms } => wire::Change {
            end_time: Some(timestamp(*expires_at_ms)),
            reservation_id: reservation_id.to_string(),
            ..of_key(Kind::Reserved, key)
        },
        Change::Released { key, reservation_id } => {
            wire::Change { reservation_id: reservation_id.to_string(), ..of_key(Kind::Released, key) }
        }
        Change::StockSet { game_id, total } => wire::Change {
            kind: Kind::StockSet.into(),
            game_id: game_id.as_str().to_owned(),
            stock_total: *total,
            ..wire::Change::default()
        },
    }
}

pub(super) fn timestamp(unix_ms: u64) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: i64::try_from(unix_ms / 1000).unwrap_or(i64::MAX),
        nanos: i32::try_from(unix_ms % 1000 * 1_000_000).unwrap_or(0),
    }
}

/// The digests of some partitions; of all of them where none is named.
fn row_digests(partitions: &[u8], digests: &Digests) -> wire::RowDigests {
    let bytes = if partitions.is_empty() {
        digests.to_bytes()
    } else {
        partitions.iter().flat_map(|partition| digests[*partition].to_bytes()).collect()
    };
    wire::RowDigests { partitions: partitions.iter().copied().map(u32::from).collect(), digests: bytes }
}
