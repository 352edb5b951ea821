//! Requests that write.

use std::sync::Arc;

use gameshelf::fields::{self, Fields, Limit};
use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::proto::arbiter::v1::operation::Change;
use gameshelf::proto::arbiter::v1::precondition::Condition;
use tonic::Status;

use super::parts::{cause, games, key, on_not_owned, on_owned, optional_game, parse, time_ms};
use super::{Items, RequestLimits, Write};
use crate::domain::{Cause, Command, CustomerId, Operation, Precondition, RequestId, StockAmount};

/// The most copies that one request sets or adds.
const COPIES_MAX: u64 = 1_000_000_000;

/// A command without preconditions.
fn write(
    fields: Fields,
    request_id: Option<RequestId>,
    (items, operations): (Items, Option<Vec<Operation>>),
    cause: Option<Arc<Cause>>,
) -> Result<Write, Status> {
    let write = (|| {
        let command = Command { preconditions: Vec::new(), operations: operations?, cause: cause? };
        Some(Write { request_id: request_id?, items, command })
    })();
    fields.finish(write)
}

pub(in super::super) fn grant(request: &wire::GrantRequest, limits: &RequestLimits) -> Result<Write, Status> {
    let mut fields = Fields::new();
    let request_id = parse(&mut fields, "request_id", &request.request_id);
    let customer_id: Option<CustomerId> = parse(&mut fields, "customer_id", &request.customer_id);
    let game_ids = games(&mut fields, &request.game_ids, limits);
    let on_owned = on_owned(&mut fields, "on_owned", request.on_owned);
    let cause = cause(&mut fields, request.cause.as_ref());
    let ends_at_ms = time_ms(&mut fields, "end_time", request.end_time.as_ref());
    let operations = (|| {
        let (customer_id, on_owned, ends_at_ms) = (customer_id?, on_owned?, ends_at_ms.ok()?);
        let grant = |game_id| Operation::Grant { key: (customer_id.clone(), game_id), on_owned, ends_at_ms };
        Some(game_ids?.into_iter().map(grant).collect())
    })();
    write(fields, request_id, (Items::GameIds, operations), cause)
}

pub(in super::super) fn revoke(
    request: &wire::RevokeRequest,
    limits: &RequestLimits,
) -> Result<Write, Status> {
    let mut fields = Fields::new();
    let request_id = parse(&mut fields, "request_id", &request.request_id);
    let customer_id: Option<CustomerId> = parse(&mut fields, "customer_id", &request.customer_id);
    let game_ids = games(&mut fields, &request.game_ids, limits);
    let on_not_owned = on_not_owned(&mut fields, "on_not_owned", request.on_not_owned);
    let cause = cause(&mut fields, request.cause.as_ref());
    let operations = (|| {
        let (customer_id, on_not_owned) = (customer_id?, on_not_owned?);
        let revoke = |game_id| Operation::Revoke { key: (customer_id.clone(), game_id), on_not_owned };
        Some(game_ids?.into_iter().map(revoke).collect())
    })();
    write(fields, request_id, (Items::GameIds, operations), cause)
}

pub(in super::super) fn transfer(
    request: &wire::TransferRequest,
    limits: &RequestLimits,
) -> Result<Write, Status> {
    let mut fields = Fields::new();
    let request_id = parse(&mut fields, "request_id", &request.request_id);
    let customers = two_customers(&mut fields, "", [&request.from_customer_id, &request.to_customer_id]);
    let game_ids = games(&mut fields, &request.game_ids, limits);
    let cause = cause(&mut fields, request.cause.as_ref());
    let operations = (|| {
        let [from, to] = customers?;
        let transfer = |game_id| Operation::Transfer { from: from.clone(), to: to.clone(), game_id };
        Some(game_ids?.into_iter().map(transfer).collect())
    })();
    write(fields, request_id, (Items::GameIds, operations), cause)
}

/// Two different customers.
fn two_customers(fields: &mut Fields, prefix: &str, texts: [&str; 2]) -> Option<[CustomerId; 2]> {
    let from: Option<CustomerId> = parse(fields, &format!("{prefix}from_customer_id"), texts[0]);
    let to: Option<CustomerId> = parse(fields, &format!("{prefix}to_customer_id"), texts[1]);
    let (from, to) = from.zip(to)?;
    if from == to {
        fields.wrong(format!("{prefix}to_customer_id"), "must be another customer than from_customer_id");
        return None;
    }
    Some([from, to])
}

pub(in super::super) fn reserve(
    request: &wire::ReserveRequest,
    limits: &RequestLimits,
) -> Result<Write, Status> {
    let mut fields = Fields::new();
    let request_id = parse(&mut fields, "request_id", &request.request_id);
    let key = key(&mut fields, "", &request.customer_id, &request.game_id);
    let hold_ms = hold_ms(&mut fields, request.hold, limits.reservation_hold_max_ms);
    let cause = cause(&mut fields, request.cause.as_ref());
    let operations = key.zip(hold_ms).map(|(key, hold_ms)| vec![Operation::Reserve { key, hold_ms }]);
    write(fields, request_id, (Items::GameId, operations), cause)
}

fn hold_ms(fields: &mut Fields, hold: Option<prost_types::Duration>, limit_ms: u64) -> Option<u64> {
    let Some(hold) = hold else {
        fields.wrong("hold", "must be set");
        return None;
    };
    let hold = fields.take("hold", fields::duration(hold))?;
    let hold_ms = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX);
    if hold_ms == 0 || hold_ms > limit_ms {
        let told = format!("must be from 1 to {limit_ms} ms, and is {hold_ms} ms");
        fields.beyond("hold", Limit::milliseconds(hold_ms, limit_ms), told);
        return None;
    }
    Some(hold_ms)
}

pub(in super::super) fn confirm(request: &wire::ConfirmReservationRequest) -> Result<Write, Status> {
    let mut fields = Fields::new();
    let request_id = parse(&mut fields, "request_id", &request.request_id);
    let reservation_id = reservation_id(&mut fields, request_id, &request.reservation_id);
    let cause = cause(&mut fields, request.cause.as_ref());
    let operations = reservation_id.map(|reservation_id| vec![Operation::Confirm { reservation_id }]);
    write(fields, request_id, (Items::ReservationId, operations), cause)
}

pub(in super::super) fn release(request: &wire::ReleaseReservationRequest) -> Result<Write, Status> {
    let mut fields = Fields::new();
    let request_id = parse(&mut fields, "request_id", &request.request_id);
    let reservation_id = reservation_id(&mut fields, request_id, &request.reservation_id);
    let cause = cause(&mut fields, request.cause.as_ref());
    let operations = reservation_id.map(|reservation_id| vec![Operation::Release { reservation_id }]);
    write(fields, request_id, (Items::ReservationId, operations), cause)
}

/// A reservation, which is known by the id of another request.
fn reservation_id(fields: &mut Fields, request_id: Option<RequestId>, text: &str) -> Option<RequestId> {
    let reservation_id = parse(fields, "reservation_id", text)?;
    if request_id == Some(reservation_id) {
        fields.wrong("request_id", "must not be the id of the reservation: this is a request of its own");
        return None;
    }
    Some(reservation_id)
}

pub(in super::super) fn set_stock(request: &wire::SetStockRequest) -> Result<Write, Status> {
    use wire::set_stock_request::Amount;
    let mut fields = Fields::new();
    let request_id = parse(&mut fields, "request_id", &request.request_id);
    let game_id = parse(&mut fields, "game_id", &request.game_id);
    let amount = match request.amount {
        Some(Amount::Total(total)) if total <= COPIES_MAX => Some(StockAmount::Total(total)),
        Some(Amount::Add(copies)) if (1..=COPIES_MAX).contains(&copies) => Some(StockAmount::Add(copies)),
        Some(Amount::Total(total)) => {
            let told = format!("must be at most {COPIES_MAX}, and is {total}");
            fields.beyond("total", Limit::number(total, COPIES_MAX), told);
            None
        }
        Some(Amount::Add(copies)) => {
            let told = format!("must be from 1 to {COPIES_MAX}, and is {copies}");
            fields.beyond("add", Limit::number(copies, COPIES_MAX), told);
            None
        }
        None => {
            fields.wrong("amount", "must be set: all copies, or copies to add");
            None
        }
    };
    let cause = cause(&mut fields, request.cause.as_ref());
    let operations =
        game_id.zip(amount).map(|(game_id, amount)| vec![Operation::SetStock { game_id, amount }]);
    write(fields, request_id, (Items::GameId, operations), cause)
}

pub(in super::super) fn commit(
    request: &wire::CommitRequest,
    limits: &RequestLimits,
) -> Result<Write, Status> {
    let mut fields = Fields::new();
    let request_id = parse(&mut fields, "request_id", &request.request_id);
    let cause = cause(&mut fields, request.cause.as_ref());
    let (number, limit) =
        (request.preconditions.len() + request.operations.len(), limits.changes_per_request);
    if request.operations.is_empty() {
        fields.wrong("operations", "must hold at least one operation");
    }
    if number > limit {
        let told = format!("must hold at most {limit} together with preconditions, and both hold {number}");
        fields.beyond("operations", Limit::number(number, limit), told);
        return fields.finish(None);
    }
    let preconditions = request.preconditions.iter().enumerate();
    let preconditions: Vec<Precondition> = preconditions
        .filter_map(|(index, one)| precondition(&mut fields, &format!("preconditions[{index}]."), one))
        .collect();
    let operations = request.operations.iter().enumerate();
    let operations: Vec<Operation> = operations
        .filter_map(|(index, one)| operation(&mut fields, &format!("operations[{index}]."), one))
        .collect();
    let write = request_id.zip(cause).map(|(request_id, cause)| Write {
        request_id,
        items: Items::Operations,
        command: Command { preconditions, operations, cause },
    });
    // Whatever was left out above is named, so that it is not finished here.
    fields.finish(write)
}

fn precondition(
    fields: &mut Fields,
    prefix: &str,
    precondition: &wire::Precondition,
) -> Option<Precondition> {
    let pair = |fields: &mut Fields, name: &str, pair: &wire::OwnershipPair| {
        key(fields, &format!("{prefix}{name}."), &pair.customer_id, &pair.game_id)
    };
    match &precondition.condition {
        Some(Condition::NotOwned(one)) => pair(fields, "not_owned", one).map(Precondition::NotOwned),
        Some(Condition::Owned(one)) => pair(fields, "owned", one).map(Precondition::Owned),
        Some(Condition::UnchangedSince(unchanged)) => {
            let prefix = format!("{prefix}unchanged_since.");
            let customer_id = parse(fields, &format!("{prefix}customer_id"), &unchanged.customer_id);
            let game_id = optional_game(fields, &format!("{prefix}game_id"), &unchanged.game_id);
            let (customer_id, game_id) = customer_id.zip(game_id.ok())?;
            Some(Precondition::UnchangedSince { customer_id, game_id, revision: unchanged.revision })
        }
        None => {
            fields.wrong(format!("{prefix}condition"), "must be set");
            None
        }
    }
}

fn operation(fields: &mut Fields, prefix: &str, operation: &wire::Operation) -> Option<Operation> {
    match &operation.change {
        Some(Change::Grant(grant)) => {
            let prefix = format!("{prefix}grant.");
            let key = key(fields, &prefix, &grant.customer_id, &grant.game_id);
            let on_owned = on_owned(fields, &format!("{prefix}on_owned"), grant.on_owned);
            let ends_at_ms = time_ms(fields, &format!("{prefix}end_time"), grant.end_time.as_ref());
            Some(Operation::Grant { key: key?, on_owned: on_owned?, ends_at_ms: ends_at_ms.ok()? })
        }
        Some(Change::Revoke(revoke)) => {
            let prefix = format!("{prefix}revoke.");
            let key = key(fields, &prefix, &revoke.customer_id, &revoke.game_id);
            let on_not_owned = on_not_owned(fields, &format!("{prefix}on_not_owned"), revoke.on_not_owned);
            Some(Operation::Revoke { key: key?, on_not_owned: on_not_owned? })
        }
        Some(Change::Transfer(transfer)) => {
            let prefix = format!("{prefix}transfer.");
            let texts = [transfer.from_customer_id.as_str(), transfer.to_customer_id.as_str()];
            let customers = two_customers(fields, &prefix, texts);
            let game_id = parse(fields, &format!("{prefix}game_id"), &transfer.game_id);
            let [from, to] = customers?;
            Some(Operation::Transfer { from, to, game_id: game_id? })
        }
        None => {
            fields.wrong(format!("{prefix}change"), "must be set");
            None
        }
    }
}
