//! `gameshelf grant`: gives games to a customer.

use clap::Args;
use gameshelf::ids::RequestId;
use gameshelf::proto::arbiter::v1::grant_result::Status;
use gameshelf::proto::arbiter::v1::{GrantRequest, GrantResponse, OnOwned};

use crate::clients::Clients;
use crate::commands::change::{Changed, Target, explain};
use crate::commands::{OnNothingToDo, Reason};
use crate::exit::Failure;
use crate::output::Output;
use crate::ports;

/// Gives games to a customer: all of them or none
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) target: Target,
    /// What to do when the customer owns a game already
    #[arg(long, value_enum, default_value_t = OnNothingToDo::Refuse)]
    on_owned: OnNothingToDo,
    /// Why
    #[arg(long, value_enum, default_value_t = Reason::Promotion)]
    reason: Reason,
}

/// Grants the games and prints what became of each.
///
/// # Errors
///
/// The refusal, or that the arbiter did not answer.
pub(crate) async fn run(options: Options, clients: &Clients, output: Output) -> Result<(), Failure> {
    let request_id = options.target.request_id(clients);
    let answer = clients.arbiter()?.grant(request(&options, request_id)).await;
    let answer = answer
        .map_err(|status| hint(explain(Failure::from_status(ports::ARBITER.name, &status), request_id)))?
        .into_inner();
    changed(answer, &options.target, request_id).print(output)
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
        customer_id: options.target.customer.to_string(),
        game_ids: options.target.game_ids(),
        on_owned: on_owned.into(),
        cause: Some(options.target.cause(options.reason)),
        ..GrantRequest::default()
    }
}

fn changed(answer: GrantResponse, target: &Target, request_id: RequestId) -> Changed {
    let results = answer.results.into_iter().map(|result| {
        let status = match result.status() {
            Status::Granted => "granted",
            Status::AlreadyOwned => "already_owned",
            Status::Unspecified => "unknown",
        };
        (result.game_id, status)
    });
    Changed::new(target, request_id, results, (answer.revision, answer.token, answer.replayed))
}
