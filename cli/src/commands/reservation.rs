//! `gameshelf reservation`, `confirm` and `release`: what becomes of a game that is held.

use clap::Args;
use gameshelf::ids::RequestId;
use gameshelf::proto::arbiter::v1::reservation::Status;
use gameshelf::proto::arbiter::v1::{
    ConfirmReservationRequest, GetReservationRequest, ReleaseReservationRequest,
};
use serde::Serialize;

use crate::clients::{ClientOptions, Clients};
use crate::commands::change::{Author, Written, explain};
use crate::commands::freshness::{ReadOptions, Shown};
use crate::commands::{Reason, hints};
use crate::exit::{Failure, Kind};
use crate::output::{self, Output};
use crate::ports;

/// Shows what became of a reservation
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The reservation, by the id that reserve told
    reservation: RequestId,
    #[command(flatten)]
    read: ReadOptions,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// Turns a reservation into ownership
#[derive(Args, Debug)]
pub(crate) struct Confirm {
    /// The reservation, by the id that reserve told
    reservation: RequestId,
    /// Why
    #[arg(long, value_enum, default_value_t = Reason::Purchase)]
    reason: Reason,
    #[command(flatten)]
    author: Author,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// Gives a reservation up; of a limited edition the copy is for sale again
#[derive(Args, Debug)]
pub(crate) struct Release {
    /// The reservation, by the id that reserve told
    reservation: RequestId,
    /// Why
    #[arg(long, value_enum, default_value_t = Reason::Administration)]
    reason: Reason,
    #[command(flatten)]
    author: Author,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Serialize)]
struct ReservationJson {
    reservation_id: String,
    customer_id: String,
    game_id: String,
    status: &'static str,
    expire_time: String,
    #[serde(flatten)]
    shown: Shown,
}

#[derive(Serialize)]
struct Closed {
    reservation_id: String,
    status: &'static str,
    #[serde(flatten)]
    written: Written,
}

/// Reads a reservation and prints it.
///
/// # Errors
///
/// That there is none, or that no answer of the wanted freshness could be had.
pub(crate) async fn run(options: Options, clients: &Clients, output: Output) -> Result<(), Failure> {
    let request = GetReservationRequest {
        reservation_id: options.reservation.to_string(),
        freshness: Some(options.read.freshness()),
    };
    let answer = clients.arbiter()?.get_reservation(request).await;
    let answer = answer.map_err(|status| hints::failed(&status, clients))?.into_inner();
    let reservation = answer.reservation.ok_or_else(|| {
        Failure::new(Kind::Defect, "UNEXPECTED", "the arbiter answered without a reservation")
    })?;
    let json = ReservationJson {
        status: status_name(reservation.status()),
        reservation_id: reservation.reservation_id,
        customer_id: reservation.customer_id,
        game_id: reservation.game_id,
        expire_time: reservation.expire_time.unwrap_or_default().to_string(),
        shown: answer.provenance.unwrap_or_default().into(),
    };
    if output == Output::Json {
        return output::json(&json);
    }
    let ReservationJson { reservation_id, customer_id, game_id, status, expire_time, shown } = &json;
    let mut table = output::table(&["reservation", "customer", "game", "status", "until"]);
    table.add_row([reservation_id.as_str(), customer_id, game_id, status, expire_time]);
    output::text(&(output::render(&table) + &shown.in_words()))
}

fn status_name(status: Status) -> &'static str {
    match status {
        Status::Open => "open",
        Status::Confirmed => "confirmed",
        Status::Released => "released",
        Status::Expired => "expired",
        Status::Unspecified => "unknown",
    }
}

/// Confirms a reservation and prints that it is done.
///
/// # Errors
///
/// The refusal, or that the arbiter did not answer.
pub(crate) async fn confirm(options: Confirm, clients: &Clients, output: Output) -> Result<(), Failure> {
    let request_id = options.author.request_id(clients);
    let request = ConfirmReservationRequest {
        request_id: request_id.to_string(),
        reservation_id: options.reservation.to_string(),
        cause: Some(options.author.cause(options.reason)),
    };
    let answer = clients.arbiter()?.confirm_reservation(request).await;
    let answer =
        answer.map_err(|status| not_closed(&status, options.reservation, request_id, clients))?.into_inner();
    let written = Written::new(request_id, answer.revision, answer.token, answer.replayed);
    print(options.reservation, Status::Confirmed, written, output)
}

/// Releases a reservation and prints that it is done.
///
/// # Errors
///
/// The refusal, or that the arbiter did not answer.
pub(crate) async fn release(options: Release, clients: &Clients, output: Output) -> Result<(), Failure> {
    let request_id = options.author.request_id(clients);
    let request = ReleaseReservationRequest {
        request_id: request_id.to_string(),
        reservation_id: options.reservation.to_string(),
        cause: Some(options.author.cause(options.reason)),
    };
    let answer = clients.arbiter()?.release_reservation(request).await;
    let answer =
        answer.map_err(|status| not_closed(&status, options.reservation, request_id, clients))?.into_inner();
    let written = Written::new(request_id, answer.revision, answer.token, answer.replayed);
    print(options.reservation, Status::Released, written, output)
}

fn not_closed(
    status: &tonic::Status,
    reservation: RequestId,
    request_id: RequestId,
    clients: &Clients,
) -> Failure {
    let failure = Failure::from_status(ports::ARBITER.name, status).with("reservation_id", reservation);
    explain(failure, request_id, clients)
}

fn print(reservation: RequestId, status: Status, written: Written, output: Output) -> Result<(), Failure> {
    let what =
        if status == Status::Confirmed { "the customer owns the game" } else { "it holds nothing more" };
    let closed = Closed { reservation_id: reservation.to_string(), status: status_name(status), written };
    match output {
        Output::Json => output::json(&closed),
        Output::Table => output::text(&format!(
            "reservation {} is {}: {what}\n{}",
            closed.reservation_id,
            closed.status,
            closed.written.in_words()
        )),
    }
}
