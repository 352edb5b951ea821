//! Sends what a client means to do, and says what it was told.

use std::collections::HashSet;
use std::time::Duration;

use gameshelf::errors::{Reason, metadata_of, reason_of};
use gameshelf::proto::arbiter::v1::arbiter_service_client::ArbiterServiceClient;
use gameshelf::proto::arbiter::v1::operation::Change as Operate;
use gameshelf::proto::arbiter::v1::set_stock_request::Amount;
use gameshelf::proto::arbiter::v1::{
    Cause, CommitRequest, ConfirmReservationRequest, GrantOperation, GrantRequest, OnNotOwned, OnOwned,
    Operation, Reason as CauseReason, ReleaseReservationRequest, ReserveRequest, RevokeOperation,
    RevokeRequest, SetStockRequest, TransferOperation, TransferRequest, grant_result, revoke_result,
};
use mesh::outbound::Calls;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::history::{Change, Outcome, Pair, Violation, Write};

/// A reservation that outlives every test.
const HOLD: Duration = Duration::from_hours(1);

/// What was told of a write, and the token that came with it.
pub(super) type Told = (Outcome, String);

/// Sends a write once.
pub(super) async fn send(stub: ArbiterServiceClient<Calls>, write: Write) -> Told {
    let sent = match write.changes[0].clone() {
        Change::Reserve { .. } | Change::Confirm { .. } | Change::Release { .. } => {
            send_reservation(stub, write).await
        }
        Change::AddCopies { game, copies } => send_stock(stub, write.request_id, game, copies).await,
        first => match of_one_method(&first, &write.changes) {
            Some(games) => send_games(stub, write.request_id, first, games).await,
            None => send_commit(stub, write).await,
        },
    };
    sent.unwrap_or_else(|status| what_failed(&status))
}

/// The games of changes that are all alike but for the game: those have a method of their own, to which each is told once.
fn of_one_method(first: &Change, changes: &[Change]) -> Option<Vec<String>> {
    let game = |change: &Change| match (first, change) {
        (Change::Give { pair: one, skip: first }, Change::Give { pair, skip })
        | (Change::Take { pair: one, skip: first }, Change::Take { pair, skip })
            if first == skip && one.customer == pair.customer =>
        {
            Some(pair.game.clone())
        }
        (Change::Move { pair: one, to: first }, Change::Move { pair, to })
            if first == to && one.customer == pair.customer =>
        {
            Some(pair.game.clone())
        }
        _ => None,
    };
    let games: Option<Vec<String>> = changes.iter().map(game).collect();
    games.filter(|games| games.iter().collect::<HashSet<_>>().len() == games.len())
}

fn cause() -> Cause {
    Cause { reason: CauseReason::Promotion.into(), ..Cause::default() }
}

fn done(revision: u64, token: String, changed: Vec<bool>) -> Told {
    (Outcome::Done { revision, changed }, token)
}

fn on_owned(skip: bool) -> i32 {
    if skip { OnOwned::Skip } else { OnOwned::Refuse }.into()
}

fn on_not_owned(skip: bool) -> i32 {
    if skip { OnNotOwned::Skip } else { OnNotOwned::Refuse }.into()
}

async fn send_games(
    mut stub: ArbiterServiceClient<Calls>,
    request_id: String,
    first: Change,
    game_ids: Vec<String>,
) -> Result<Told, Status> {
    let (count, cause) = (game_ids.len(), Some(cause()));
    match first {
        Change::Give { pair: Pair { customer: customer_id, .. }, skip } => {
            let on_owned = on_owned(skip);
            let request =
                GrantRequest { request_id, customer_id, game_ids, on_owned, cause, ..Default::default() };
            let told = stub.grant(request).await?.into_inner();
            let changed = told.results.iter().map(|one| one.status() == grant_result::Status::Granted);
            Ok(done(told.revision, told.token, changed.collect()))
        }
        Change::Take { pair: Pair { customer: customer_id, .. }, skip } => {
            let on_not_owned = on_not_owned(skip);
            let request = RevokeRequest { request_id, customer_id, game_ids, on_not_owned, cause };
            let told = stub.revoke(request).await?.into_inner();
            let changed = told.results.iter().map(|one| one.status() == revoke_result::Status::Revoked);
            Ok(done(told.revision, told.token, changed.collect()))
        }
        Change::Move { pair: Pair { customer: from_customer_id, .. }, to: to_customer_id } => {
            let request = TransferRequest { request_id, from_customer_id, to_customer_id, game_ids, cause };
            let told = stub.transfer(request).await?.into_inner();
            Ok(done(told.revision, told.token, vec![true; count]))
        }
        other => panic!("no method takes several of {other:?}"),
    }
}

async fn send_commit(mut stub: ArbiterServiceClient<Calls>, write: Write) -> Result<Told, Status> {
    let operations = write.changes.into_iter().map(|change| {
        let change = match change {
            Change::Give { pair: Pair { customer: customer_id, game: game_id }, skip } => {
                let on_owned = on_owned(skip);
                Operate::Grant(GrantOperation { customer_id, game_id, on_owned, ..Default::default() })
            }
            Change::Take { pair: Pair { customer: customer_id, game: game_id }, skip } => {
                Operate::Revoke(RevokeOperation { customer_id, game_id, on_not_owned: on_not_owned(skip) })
            }
            Change::Move { pair: Pair { customer: from_customer_id, game: game_id }, to: to_customer_id } => {
                Operate::Transfer(TransferOperation { from_customer_id, to_customer_id, game_id })
            }
            other => panic!("a commit has no {other:?}"),
        };
        Operation { change: Some(change) }
    });
    let operations = operations.collect();
    let request = CommitRequest {
        request_id: write.request_id,
        operations,
        cause: Some(cause()),
        ..Default::default()
    };
    let told = stub.commit(request).await?.into_inner();
    Ok(done(told.revision, told.token, told.results.iter().map(|one| one.changed).collect()))
}

async fn send_reservation(mut stub: ArbiterServiceClient<Calls>, write: Write) -> Result<Told, Status> {
    let Write { request_id, mut changes } = write;
    let cause = Some(cause());
    match changes.remove(0) {
        Change::Reserve { pair: Pair { customer: customer_id, game: game_id } } => {
            let hold = HOLD.try_into().ok();
            let request = ReserveRequest { request_id, customer_id, game_id, hold, cause };
            let told = stub.reserve(request).await?.into_inner();
            Ok(done(told.revision, told.token, vec![true]))
        }
        Change::Confirm { reservation: reservation_id, .. } => {
            let request = ConfirmReservationRequest { request_id, reservation_id, cause };
            let told = stub.confirm_reservation(request).await?.into_inner();
            Ok(done(told.revision, told.token, vec![true]))
        }
        Change::Release { reservation: reservation_id, .. } => {
            let request = ReleaseReservationRequest { request_id, reservation_id, cause };
            let told = stub.release_reservation(request).await?.into_inner();
            Ok(done(told.revision, told.token, vec![true]))
        }
        other => panic!("{other:?} is about no reservation"),
    }
}

async fn send_stock(
    mut stub: ArbiterServiceClient<Calls>,
    request_id: String,
    game_id: String,
    copies: u64,
) -> Result<Told, Status> {
    let request =
        SetStockRequest { request_id, game_id, amount: Some(Amount::Add(copies)), cause: Some(cause()) };
    let told = stub.set_stock(request).await?.into_inner();
    Ok(done(told.revision, told.token, vec![true]))
}

/// What a failure says of a write. Anything but a refusal and a loss on the way fails the test.
fn what_failed(status: &Status) -> Told {
    if let Some(failure) = status.get_details_precondition_failure() {
        let value = |key| metadata_of(status, key).unwrap_or_default();
        let revision = value("revision").parse().expect("a refusal names its revision");
        let blocked = failure.violations.into_iter();
        let blocked = blocked.map(|one| Violation { kind: one.r#type, subject: one.subject });
        return (Outcome::Refused { revision, blocked: blocked.collect() }, value("token"));
    }
    let nothing = [Reason::StoreUnavailable, Reason::QueueFull, Reason::NotLeader, Reason::ShuttingDown];
    let outcome = if reason_of(status).is_some_and(|reason| nothing.contains(&reason)) {
        Outcome::Nothing
    } else {
        assert!(is_lost(status), "a write failed: {status:?}");
        Outcome::Unknown
    };
    (outcome, String::new())
}

/// Whether the answer was lost on the way, or nobody was there.
pub(super) fn is_lost(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
}
