//! `gameshelf grant`: gives games to a customer.

use clap::Args;
use gameshelf::ids::{CustomerId, GameId, RequestId};
use gameshelf::proto::arbiter::v1::grant_result::Status;
use gameshelf::proto::arbiter::v1::{self as arbiter, Cause, GrantRequest, GrantResponse, OnOwned};
use serde::Serialize;

use crate::clients::{ClientOptions, Clients};
use crate::commands::{OnNothingToDo, Reason};
use crate::exit::Failure;
use crate::output::{self, Output};
use crate::ports;

/// Gives games to a customer: all of them or none
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The customer: 1 to 64 bytes
    customer: CustomerId,
    /// The games, by their ids
    #[arg(required = true, value_name = "GAME")]
    games: Vec<GameId>,
    /// What to do when the customer owns a game already
    #[arg(long, value_enum, default_value_t = OnNothingToDo::Refuse)]
    on_owned: OnNothingToDo,
    /// Why
    #[arg(long, value_enum, default_value_t = Reason::Promotion)]
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

/// What a change did; the same form for grant and revoke.
#[derive(Serialize)]
pub(crate) struct Changed {
    pub(crate) customer_id: String,
    pub(crate) results: Vec<ResultJson>,
    pub(crate) revision: u64,
    pub(crate) token: String,
    pub(crate) replayed: bool,
    pub(crate) request_id: String,
}

/// What a change did with one game.
#[derive(Serialize)]
pub(crate) struct ResultJson {
    pub(crate) game_id: String,
    pub(crate) status: &'static str,
}

impl Changed {
    /// Prints it.
    ///
    /// # Errors
    ///
    /// As [`output::text`].
    pub(crate) fn print(&self, output: Output) -> Result<(), Failure> {
        if output == Output::Json {
            return output::json(self);
        }
        let mut table = output::table(&["game", "result"]);
        for result in &self.results {
            table.add_row([result.game_id.as_str(), result.status]);
        }
        let replayed = if self.replayed { ", as an earlier request with the same id said" } else { "" };
        output::text(&format!("{}at revision {}{replayed}\n", output::render(&table), self.revision))
    }
}

/// Adds to a failure of a write what settles it.
pub(crate) fn explain(failure: Failure, request_id: RequestId) -> Failure {
    let again = format!("do it again with --request-id {request_id}");
    failure.with("request_id", request_id).settle("it was done", &again)
}

/// Grants the games and prints what became of each.
///
/// # Errors
///
/// The refusal, or that the arbiter did not answer.
pub(crate) async fn run(options: Options, clients: &Clients, output: Output) -> Result<(), Failure> {
    let request_id = options.request_id.unwrap_or_else(|| clients.new_request_id());
    let customer_id = options.customer.to_string();
    let answer = clients.arbiter()?.grant(request(&options, request_id)).await;
    let answer = answer
        .map_err(|status| hint(explain(Failure::from_status(ports::ARBITER.name, &status), request_id)))?
        .into_inner();
    changed(answer, customer_id, request_id).print(output)
}

fn hint(failure: Failure) -> Failure {
    match failure.reason() {
        "ALREADY_OWNED" => failure.hint("to grant only what is not owned yet: --on-owned skip"),
        _ => failure,
    }
}

fn request(options: &Options, request_id: RequestId) -> GrantRequest {
    let on_owned = match options.on_owned {
        OnNothingToDo::Refuse => OnOwned::Refuse,
        OnNothingToDo::Skip => OnOwned::Skip,
    };
    GrantRequest {
        request_id: request_id.to_string(),
        customer_id: options.customer.to_string(),
        game_ids: options.games.iter().map(ToString::to_string).collect(),
        on_owned: on_owned.into(),
        cause: Some(Cause {
            reason: arbiter::Reason::from(options.reason).into(),
            actor: options.actor.clone(),
            order_id: String::new(),
        }),
    }
}

fn changed(answer: GrantResponse, customer_id: String, request_id: RequestId) -> Changed {
    let results = answer.results.into_iter().map(|result| ResultJson {
        status: match result.status() {
            Status::Granted => "granted",
            Status::AlreadyOwned => "already_owned",
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
