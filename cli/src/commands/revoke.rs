//! `gameshelf revoke`: takes games from a customer.

use clap::Args;
use gameshelf::ids::RequestId;
use gameshelf::proto::arbiter::v1::revoke_result::Status;
use gameshelf::proto::arbiter::v1::{OnNotOwned, RevokeRequest, RevokeResponse};

use crate::clients::{ClientOptions, Clients};
use crate::commands::change::{Changed, Target, Written, explain};
use crate::commands::{OnNothingToDo, Reason};
use crate::exit::Failure;
use crate::output::Output;
use crate::ports;

/// Takes games from a customer: all of them or none
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// What to do when the customer does not own a game
    #[arg(long, value_enum, default_value_t = OnNothingToDo::Refuse)]
    on_not_owned: OnNothingToDo,
    /// Why
    #[arg(long, value_enum, default_value_t = Reason::Refund)]
    reason: Reason,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// Revokes the games and prints what became of each.
///
/// # Errors
///
/// The refusal, or that the arbiter did not answer.
pub(crate) async fn run(options: Options, clients: &Clients, output: Output) -> Result<(), Failure> {
    let request_id = options.target.author.request_id(clients);
    let answer = clients.arbiter()?.revoke(request(&options, request_id)).await;
    let answer = answer.map_err(|status| {
        let failure = Failure::from_status(ports::ARBITER.name, &status);
        hint(explain(failure, request_id, clients))
    })?;
    changed(answer.into_inner(), &options.target, request_id).print(output)
}

fn hint(failure: Failure) -> Failure {
    match failure.reason() {
        "NOT_OWNED" => failure.hint("to revoke only what is owned: --on-not-owned skip"),
        _ => failure,
    }
}

fn request(options: &Options, request_id: RequestId) -> RevokeRequest {
    RevokeRequest {
        request_id: request_id.to_string(),
        customer_id: options.target.customer.to_string(),
        game_ids: options.target.game_ids(),
        on_not_owned: OnNotOwned::from(options.on_not_owned).into(),
        cause: Some(options.target.author.cause(options.reason)),
    }
}

fn changed(answer: RevokeResponse, target: &Target, request_id: RequestId) -> Changed {
    let results = answer.results.into_iter().map(|result| {
        let status = match result.status() {
            Status::Revoked => "revoked",
            Status::NotOwned => "not_owned",
            Status::Unspecified => "unknown",
        };
        (result.game_id, status)
    });
    let written = Written::new(request_id, answer.revision, answer.token, answer.replayed);
    Changed::new(target, results, written)
}
