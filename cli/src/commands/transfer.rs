//! `gameshelf transfer`: moves games from one customer to another.

use clap::Args;
use gameshelf::ids::{CustomerId, GameId};
use gameshelf::proto::arbiter::v1::TransferRequest;
use serde::Serialize;

use crate::clients::{ClientOptions, Clients};
use crate::commands::Reason;
use crate::commands::change::{Author, Written, explain, game_ids};
use crate::exit::Failure;
use crate::output::{self, Output};
use crate::ports;

/// Moves games from one customer to another: all of them or none
///
/// The one must own them, and the other must not. The end of a trial or a rental moves with it.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The customer who owns the games
    from: CustomerId,
    /// The customer who gets them
    to: CustomerId,
    /// The games, by their ids
    #[arg(required = true, value_name = "GAME")]
    games: Vec<GameId>,
    /// Why
    #[arg(long, value_enum, default_value_t = Reason::Gift)]
    reason: Reason,
    #[command(flatten)]
    author: Author,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Serialize)]
struct Transferred {
    from_customer_id: String,
    to_customer_id: String,
    game_ids: Vec<String>,
    #[serde(flatten)]
    written: Written,
}

/// Transfers the games and prints what was moved.
///
/// # Errors
///
/// The refusal, or that the arbiter did not answer.
pub(crate) async fn run(options: Options, clients: &Clients, output: Output) -> Result<(), Failure> {
    let request_id = options.author.request_id(clients);
    let request = TransferRequest {
        request_id: request_id.to_string(),
        from_customer_id: options.from.to_string(),
        to_customer_id: options.to.to_string(),
        game_ids: game_ids(&options.games),
        cause: Some(options.author.cause(options.reason)),
    };
    let answer = clients.arbiter()?.transfer(request.clone()).await;
    let answer = answer
        .map_err(|status| explain(Failure::from_status(ports::ARBITER.name, &status), request_id, clients))?;
    let answer = answer.into_inner();
    let transferred = Transferred {
        from_customer_id: request.from_customer_id,
        to_customer_id: request.to_customer_id,
        game_ids: request.game_ids,
        written: Written::new(request_id, answer.revision, answer.token, answer.replayed),
    };
    print(&transferred, output)
}

fn print(transferred: &Transferred, output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        return output::json(transferred);
    }
    let mut table = output::table(&["game", "from", "to"]);
    for game_id in &transferred.game_ids {
        table.add_row([game_id, &transferred.from_customer_id, &transferred.to_customer_id]);
    }
    output::text(&(output::render(&table) + &transferred.written.in_words()))
}
