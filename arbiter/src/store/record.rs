//! How commits and outcomes are kept as bytes.
//!
//! The records are protobuf messages of the store's own, apart from the wire's, so that the contract and what is stored
//! can change independently. Tags are never used again for something else.

use std::sync::Arc;

use gameshelf::digest::Digests;
use prost::Message;

use crate::domain::{
    Cause, Change, Commit, CustomerId, Key, Outcome, Reason, RefusalKind, RequestId, Revision, Sums, Verdict,
};
use crate::store::StoreError;

/// The commits of one batch.
#[derive(Clone, PartialEq, Message)]
struct CommitsRecord {
    #[prost(message, repeated, tag = "1")]
    commits: Vec<CommitRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct CommitRecord {
    #[prost(uint64, tag = "1")]
    revision: u64,
    #[prost(bytes = "vec", tag = "2")]
    request_id: Vec<u8>,
    #[prost(uint64, tag = "3")]
    committed_at_ms: u64,
    #[prost(int32, tag = "4")]
    reason: i32,
    #[prost(string, tag = "5")]
    actor: String,
    #[prost(string, tag = "6")]
    order_id: String,
    #[prost(message, repeated, tag = "7")]
    changes: Vec<ChangeRecord>,
    #[prost(string, tag = "8")]
    traceparent: String,
}

#[derive(Clone, PartialEq, Message)]
struct ChangeRecord {
    /// 1 granted, 2 revoked, 3 reserved, 4 released, 5 stock set.
    #[prost(uint32, tag = "1")]
    kind: u32,
    /// Empty when it is the customer of the change before it.
    #[prost(string, tag = "2")]
    customer_id: String,
    #[prost(string, tag = "3")]
    game_id: String,
    #[prost(uint64, optional, tag = "4")]
    ends_at_ms: Option<u64>,
    /// Empty without a reservation.
    #[prost(bytes = "vec", tag = "5")]
    reservation_id: Vec<u8>,
    #[prost(uint64, tag = "6")]
    stock_total: u64,
    /// Since when what was revoked was owned.
    #[prost(uint64, tag = "7")]
    valid_from: u64,
}

#[derive(Clone, PartialEq, Message)]
struct OutcomeRecord {
    /// Whether it was refused.
    #[prost(bool, tag = "1")]
    refused: bool,
    /// For each item whether it changed anything.
    #[prost(bool, repeated, tag = "2")]
    changed: Vec<bool>,
    /// The items that stand against it, and why.
    #[prost(uint32, repeated, tag = "3")]
    refused_items: Vec<u32>,
    #[prost(int32, repeated, tag = "4")]
    refusal_kinds: Vec<i32>,
    #[prost(uint64, optional, tag = "5")]
    expires_at_ms: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct SumsRecord {
    /// 16 bytes for each partition.
    #[prost(bytes = "vec", tag = "1")]
    rows: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    contents: Vec<u8>,
    #[prost(uint64, repeated, tag = "3")]
    counts: Vec<u64>,
}

/// What everything adds up to, without its revision, as bytes.
pub(super) fn encode_sums(sums: &Sums) -> Vec<u8> {
    let (rows, contents) = (sums.rows.to_bytes(), sums.contents.to_bytes());
    SumsRecord { rows, contents, counts: sums.counts.to_vec() }.encode_to_vec()
}

/// What everything adds up to, of bytes and its revision.
pub(super) fn decode_sums(bytes: &[u8], revision: Revision) -> Result<Sums, StoreError> {
    let record = SumsRecord::decode(bytes).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let sums = (|| {
        let (rows, contents) = (Digests::from_bytes(&record.rows)?, Digests::from_bytes(&record.contents)?);
        let counts = record.counts.into_boxed_slice().try_into().ok()?;
        Some(Sums { revision, rows, contents, counts })
    })();
    sums.ok_or_else(|| StoreError::Corrupt("the checkpoint of the digests".to_owned()))
}

/// The commits of a batch as bytes.
pub(super) fn encode_commits(commits: &[Commit]) -> Vec<u8> {
    CommitsRecord { commits: commits.iter().map(commit_to_record).collect() }.encode_to_vec()
}

/// The commits of a batch, those after a revision.
pub(super) fn decode_commits(bytes: &[u8], after: Revision) -> Result<Vec<Commit>, StoreError> {
    let record = CommitsRecord::decode(bytes).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    record.commits.into_iter().filter(|commit| commit.revision > after).map(commit_from_record).collect()
}

/// An outcome without its revision as bytes.
pub(super) fn encode_verdict(verdict: &Verdict) -> Vec<u8> {
    let record = match verdict {
        Verdict::Accepted { changed, expires_at_ms } => OutcomeRecord {
            changed: changed.clone(),
            expires_at_ms: *expires_at_ms,
            ..OutcomeRecord::default()
        },
        Verdict::Refused { items } => OutcomeRecord {
            refused: true,
            refused_items: items.iter().map(|(item, _)| *item).collect(),
            refusal_kinds: items.iter().map(|(_, kind)| kind.number()).collect(),
            ..OutcomeRecord::default()
        },
    };
    record.encode_to_vec()
}

/// An outcome of bytes and its revision.
pub(super) fn decode_outcome(bytes: &[u8], revision: Revision) -> Result<Outcome, StoreError> {
    let record = OutcomeRecord::decode(bytes).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let verdict = if record.refused {
        let kinds = record.refusal_kinds.iter().map(|kind| refusal_kind(*kind));
        let items = record.refused_items.iter().zip(kinds).map(|(item, kind)| Ok((*item, kind?)));
        Verdict::Refused { items: items.collect::<Result<_, StoreError>>()? }
    } else {
        Verdict::Accepted { changed: record.changed, expires_at_ms: record.expires_at_ms }
    };
    Ok(Outcome { revision, verdict })
}

fn refusal_kind(number: i32) -> Result<RefusalKind, StoreError> {
    RefusalKind::from_number(number)
        .ok_or_else(|| StoreError::Corrupt(format!("unknown kind of refusal {number}")))
}

/// Who and why of stored columns.
pub(super) fn cause(reason: i16, actor: String, order_id: String) -> Result<Arc<Cause>, StoreError> {
    let reason =
        Reason::from_number(reason).ok_or_else(|| StoreError::Corrupt(format!("unknown reason {reason}")))?;
    Ok(Arc::new(Cause { reason, actor, order_id }))
}

/// The integers of both stores are signed; a revision never comes near the end of them.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number of a stored column.
pub(super) fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Corrupt(format!("a number below zero: {number}")))
}

/// An id of a stored column.
pub(super) fn id<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|error| StoreError::Corrupt(format!("a stored id {error}")))
}

fn commit_to_record(commit: &Commit) -> CommitRecord {
    let mut last: Option<&CustomerId> = None;
    let changes = commit.changes.iter().map(|change| change_to_record(change, &mut last)).collect();
    CommitRecord {
        revision: commit.revision,
        request_id: commit.request_id.as_uuid().as_bytes().to_vec(),
        committed_at_ms: commit.committed_at_ms,
        reason: i32::from(commit.cause.reason.number()),
        actor: commit.cause.actor.clone(),
        order_id: commit.cause.order_id.clone(),
        changes,
        traceparent: commit.traceparent.clone(),
    }
}

/// `last` is the customer of the change before, and becomes that of this one.
fn change_to_record<'a>(change: &'a Change, last: &mut Option<&'a CustomerId>) -> ChangeRecord {
    let mut of_key = |kind, (customer_id, game_id): &'a Key| {
        let repeated = last.replace(customer_id) == Some(customer_id);
        let customer_id = if repeated { String::new() } else { customer_id.as_str().to_owned() };
        ChangeRecord { kind, customer_id, game_id: game_id.as_str().to_owned(), ..ChangeRecord::default() }
    };
    let bytes = |reservation_id: &RequestId| reservation_id.as_uuid().as_bytes().to_vec();
    match change {
        Change::Granted { key, ends_at_ms, reservation_id } => ChangeRecord {
            ends_at_ms: *ends_at_ms,
            reservation_id: reservation_id.as_ref().map(bytes).unwrap_or_default(),
            ..of_key(1, key)
        },
        Change::Revoked { key, valid_from, ends_at_ms } => {
            ChangeRecord { valid_from: *valid_from, ends_at_ms: *ends_at_ms, ..of_key(2, key) }
        }
        Change::Reserved { key, reservation_id, expires_at_ms } => ChangeRecord {
            ends_at_ms: Some(*expires_at_ms),
            reservation_id: bytes(reservation_id),
            ..of_key(3, key)
        },
        Change::Released { key, reservation_id } => {
            ChangeRecord { reservation_id: bytes(reservation_id), ..of_key(4, key) }
        }
        Change::StockSet { game_id, total } => {
            let game_id = game_id.as_str().to_owned();
            ChangeRecord { kind: 5, game_id, stock_total: *total, ..ChangeRecord::default() }
        }
    }
}

fn commit_from_record(record: CommitRecord) -> Result<Commit, StoreError> {
    let corrupt = |what: &str| StoreError::Corrupt(format!("commit {}: {what}", record.revision));
    let request_id = request_id(&record.request_id).ok_or_else(|| corrupt("its request id"))?;
    let mut last: Option<CustomerId> = None;
    let mut changes: Vec<Change> = Vec::with_capacity(record.changes.len());
    for change in &record.changes {
        changes.push(change_from_record(change, &mut last).ok_or_else(|| corrupt("a change"))?);
    }
    let reason = i16::try_from(record.reason).map_err(|_| corrupt("its reason"))?;
    Ok(Commit {
        revision: record.revision,
        request_id,
        committed_at_ms: record.committed_at_ms,
        cause: cause(reason, record.actor, record.order_id)?,
        changes,
        traceparent: record.traceparent,
    })
}

fn change_from_record(record: &ChangeRecord, last: &mut Option<CustomerId>) -> Option<Change> {
    let game_id = record.game_id.parse().ok()?;
    if record.kind == 5 {
        return Some(Change::StockSet { game_id, total: record.stock_total });
    }
    if !record.customer_id.is_empty() {
        *last = Some(record.customer_id.parse().ok()?);
    }
    let key = (last.clone()?, game_id);
    let reservation_id = match record.reservation_id.as_slice() {
        [] => None,
        bytes => Some(request_id(bytes)?),
    };
    Some(match record.kind {
        1 => Change::Granted { key, ends_at_ms: record.ends_at_ms, reservation_id },
        2 => Change::Revoked { key, valid_from: record.valid_from, ends_at_ms: record.ends_at_ms },
        3 => Change::Reserved { key, reservation_id: reservation_id?, expires_at_ms: record.ends_at_ms? },
        4 => Change::Released { key, reservation_id: reservation_id? },
        _ => return None,
    })
}

fn request_id(bytes: &[u8]) -> Option<RequestId> {
    uuid::Uuid::from_slice(bytes).ok().map(RequestId::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn change() -> impl Strategy<Value = Change> {
        let key = ("[a-c]{1,3}", "[a-c]{1,3}").prop_map(|(customer_id, game_id)| -> Key {
            (customer_id.parse().unwrap(), game_id.parse().unwrap())
        });
        (0..5, key, any::<u64>(), any::<bool>()).prop_map(|(kind, key, number, some)| {
            let reservation_id = RequestId::new_v7(number >> 16, [3; 10]);
            match kind {
                0 => Change::Granted {
                    key,
                    ends_at_ms: some.then_some(number),
                    reservation_id: some.then_some(reservation_id),
                },
                1 => Change::Revoked { key, valid_from: number >> 1, ends_at_ms: some.then_some(number) },
                2 => Change::Reserved { key, reservation_id, expires_at_ms: number },
                3 => Change::Released { key, reservation_id },
                _ => Change::StockSet { game_id: key.1, total: number },
            }
        })
    }

    fn commit() -> impl Strategy<Value = Commit> {
        (1..u64::MAX, any::<u64>(), ".{0,8}", proptest::collection::vec(change(), 1..9)).prop_map(
            |(revision, committed_at_ms, actor, changes)| Commit {
                revision,
                request_id: RequestId::new_v7(7, [7; 10]),
                committed_at_ms,
                cause: Arc::new(Cause { reason: Reason::Refund, actor, order_id: "o".to_owned() }),
                changes,
                traceparent: "t".to_owned(),
            },
        )
    }

    proptest! {
        #[test]
        fn commits_are_read_back(commits in proptest::collection::vec(commit(), 0..5)) {
            prop_assert_eq!(decode_commits(&encode_commits(&commits), 0).unwrap(), commits);
        }

        #[test]
        fn outcomes_are_read_back(
            revision in any::<u64>(),
            changed in proptest::collection::vec(any::<bool>(), 0..9),
            expires_at_ms in any::<Option<u64>>(),
            items in proptest::collection::vec((any::<u32>(), 1..=13), 1..9),
        ) {
            let kind = |number| RefusalKind::from_number(number).unwrap();
            let refused = items.into_iter().map(|(item, number)| (item, kind(number))).collect();
            for verdict in [Verdict::Accepted { changed, expires_at_ms }, Verdict::Refused { items: refused }] {
                let outcome = decode_outcome(&encode_verdict(&verdict), revision).unwrap();
                prop_assert_eq!(outcome, Outcome { revision, verdict });
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..99)) {
            let _ = decode_commits(&bytes, 0);
            let _ = decode_outcome(&bytes, 0);
        }
    }
}
