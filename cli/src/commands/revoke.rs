//! `gameshelf revoke`: takes games from a customer.

use clap::Args;
use gameshelf::ids::{CustomerId, GameId, RequestId};
use gameshelf::proto::arbiter::v1::revoke_result::Status;
use gameshelf::proto::arbiter::v1::{self as arbiter, Cause, OnNotOwned, RevokeRequest, RevokeResponse};

use crate::clients::{ClientOptions, Clients};
use crate::commands::grant::{Changed, ResultJson, explain};
use crate::commands::{OnNothingToDo, Reason};
use crate::exit::Failure;
use crate::output::Output;
use crate::ports;

/// Takes games from a customer: all of them or none
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The customer: 1 to 64 bytes
    customer: CustomerId,
    /// The games, by their ids
    #[arg(required = true, value_name = "GAME")]
    games: Vec<GameId>,
    /// What to do when the customer does not own a game
    #[arg(long, value_enum, default_value_t = OnNothingToDo::Refuse)]
    on_not_owned: OnNothingToDo,
    /// Why
    #[arg(long, value_enum, default_value_t = Reason::Refund)]
    reason: Reason,
    /// Who does it; kept with the change
    #[arg(long, default_value = "cli", value_name = "NAME")]
    actor: String,
    /// The id of the request, a UUID. The same id again is the same request [default: a new one]
    #[arg(long, value_name = "UUID")]
    request_id: Option<RequestId>,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// Revokes the games and prints what became of each.
///
/// # Errors
///
/// The refusal, or that the arbiter did not answer.
pub(crate) async fn run(options: Options, clients: &Clients, output: Output) -> Result<(), Failure> {
    let request_id = options.request_id.unwrap_or_else(|| clients.new_request_id());
    let customer_id = options.customer.to_string();
    let answer = clients.arbiter()?.revoke(request(&options, request_id)).await;
    let answer = answer
        .map_err(|status| hint(explain(Failure::from_status(ports::ARBITER.name, &status), request_id)))?
        .into_inner();
    changed(answer, customer_id, request_id).print(output)
}

fn hint(failure: Failure) -> Failure {
    match failure.reason() {
        "NOT_OWNED" => failure.hint("to revoke only what is owned: --on-not-owned skip"),
        _ => failure,
    }
}

fn request(options: &Options, request_id: RequestId) -> RevokeRequest {
    let on_not_owned = match options.on_not_owned {
        OnNothingToDo::Refuse => OnNotOwned::Refuse,
        OnNothingToDo::Skip => OnNotOwned::Skip,
    };
    RevokeRequest {
        request_id: request_id.to_string(),
        customer_id: options.customer.to_string(),
        game_ids: options.games.iter().map(ToString::to_string).collect(),
        on_not_owned: on_not_owned.into(),
        cause: Some(Cause {
            reason: arbiter::Reason::from(options.reason).into(),
            actor: options.actor.clone(),
            order_id: String::new(),
        }),
    }
}

fn changed(answer: RevokeResponse, customer_id: String, request_id: RequestId) -> Changed {
    let results = answer.results.into_iter().map(|result| ResultJson {
        status: match result.status() {
            Status::Revoked => "revoked",
            Status::NotOwned => "not_owned",
            Status::Unspecified => "unknown",
        },
        game_id: result.game_id,
    });
    Changed {
        customer_id,
        results: results.collect(),
        revision: answer.revision,
        token: answer.token,
        replayed: answer.replayed,
        request_id: request_id.to_string(),
    }
}
