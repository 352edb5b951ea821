//! `gameshelf reserve`: holds a game for a customer for a while.

use std::time::Duration;

use clap::Args;
use gameshelf::ids::{CustomerId, GameId};
use gameshelf::proto::arbiter::v1::ReserveRequest;
use serde::Serialize;

use crate::clients::{ClientOptions, Clients};
use crate::commands::change::{Author, Written, explain};
use crate::commands::{Reason, time};
use crate::exit::Failure;
use crate::output::{self, Output};
use crate::ports;

/// Holds a game for a customer for a while; of a limited edition it holds a copy
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The customer: 1 to 64 bytes
    customer: CustomerId,
    /// The game, by its id
    game: GameId,
    /// For how long, such as 90s, 15m or 12h; then it ends by itself
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = time::duration)]
    hold: Duration,
    /// Why
    #[arg(long, value_enum, default_value_t = Reason::Purchase)]
    reason: Reason,
    #[command(flatten)]
    author: Author,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Serialize)]
struct Reserved {
    reservation_id: String,
    customer_id: String,
    game_id: String,
    expire_time: String,
    #[serde(flatten)]
    written: Written,
}

/// Reserves the game and prints the reservation.
///
/// # Errors
///
/// The refusal, or that the arbiter did not answer.
pub(crate) async fn run(options: Options, clients: &Clients, output: Output) -> Result<(), Failure> {
    let request_id = options.author.request_id(clients);
    let request = ReserveRequest {
        request_id: request_id.to_string(),
        customer_id: options.customer.to_string(),
        game_id: options.game.to_string(),
        // The longest that can be given fits.
        hold: Some(prost_types::Duration::try_from(options.hold).unwrap_or_default()),
        cause: Some(options.author.cause(options.reason)),
    };
    let answer = clients.arbiter()?.reserve(request.clone()).await;
    let answer = answer
        .map_err(|status| explain(Failure::from_status(ports::ARBITER.name, &status), request_id, clients))?;
    let answer = answer.into_inner();
    let reserved = Reserved {
        reservation_id: answer.reservation_id,
        customer_id: request.customer_id,
        game_id: request.game_id,
        expire_time: answer.expire_time.unwrap_or_default().to_string(),
        written: Written::new(request_id, answer.revision, answer.token, answer.replayed),
    };
    match output {
        Output::Json => output::json(&reserved),
        Output::Table => output::text(&in_words(&reserved, &clients.mesh_flags())),
    }
}

fn in_words(reserved: &Reserved, mesh_flags: &str) -> String {
    let Reserved { reservation_id, customer_id, game_id, expire_time, written } = reserved;
    let mut table = output::table(&["reservation", "customer", "game", "until"]);
    table.add_row([reservation_id, customer_id, game_id, expire_time]);
    format!(
        "{}{}To make it theirs before that: gameshelf confirm {reservation_id}{mesh_flags}\n",
        output::render(&table),
        written.in_words()
    )
}
