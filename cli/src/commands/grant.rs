//! `gameshelf grant`: gives games to a customer.

use clap::Args;
use gameshelf::ids::RequestId;
use gameshelf::proto::arbiter::v1::grant_result::Status;
use gameshelf::proto::arbiter::v1::{GrantRequest, GrantResponse, OnOwned};
use prost_types::Timestamp;

use crate::clients::{ClientOptions, Clients};
use crate::commands::change::{Changed, Target, Written, explain};
use crate::commands::time::Until;
use crate::commands::{OnNothingToDo, Reason};
use crate::exit::{Failure, Kind};
use crate::output::Output;
use crate::ports;

/// Gives games to a customer: all of them or none
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// What to do when the customer owns a game already
    #[arg(long, value_enum, default_value_t = OnNothingToDo::Refuse)]
    on_owned: OnNothingToDo,
    /// When the ownership ends by itself, as that of a trial or a rental does: a time (RFC 3339), or a duration from
    /// now such as 7d
    #[arg(long, value_name = "TIME")]
    until: Option<Until>,
    /// Why
    #[arg(long, value_enum, default_value_t = Reason::Promotion)]
    reason: Reason,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// Grants the games and prints what became of each.
///
/// # Errors
///
/// The refusal, or that the arbiter did not answer.
pub(crate) async fn run(options: Options, clients: &Clients, output: Output) -> Result<(), Failure> {
    let request_id = options.target.author.request_id(clients);
    let end_time = end_time(&options, clients.environment().clock.unix_ms())?;
    let answer = clients.arbiter()?.grant(request(&options, request_id, end_time)).await;
    let answer = answer.map_err(|status| {
        let failure = Failure::from_status(ports::ARBITER.name, &status);
        hint(explain(failure, request_id, clients), end_time)
    })?;
    let end_time = end_time.as_ref().map(ToString::to_string);
    changed(answer.into_inner(), &options.target, request_id).until(end_time).print(output)
}

/// The end as a time. A request that is sent again must be the same, which a duration from now would not be.
fn end_time(options: &Options, now_ms: u64) -> Result<Option<Timestamp>, Failure> {
    let Some(until) = options.until else { return Ok(None) };
    let time = until.at(now_ms);
    if matches!(until, Until::After(_)) && options.target.author.request_id.is_some() {
        let message = "--until with a duration is another time whenever the request is sent again";
        return Err(Failure::new(Kind::BadInput, "UNTIL", message)
            .hint(format!("with --request-id give the time itself: --until {time}")));
    }
    Ok(Some(time))
}

fn hint(failure: Failure, end_time: Option<Timestamp>) -> Failure {
    match (failure.reason(), failure.kind(), end_time) {
        ("ALREADY_OWNED", ..) => failure.hint("to grant only what is not owned yet: --on-owned skip"),
        (_, Kind::Unavailable, Some(time)) => failure.hint(format!("and with the same end: --until {time}")),
        _ => failure,
    }
}

fn request(options: &Options, request_id: RequestId, end_time: Option<Timestamp>) -> GrantRequest {
    GrantRequest {
        request_id: request_id.to_string(),
        customer_id: options.target.customer.to_string(),
        game_ids: options.target.game_ids(),
        on_owned: OnOwned::from(options.on_owned).into(),
        cause: Some(options.target.author.cause(options.reason)),
        end_time,
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
    let written = Written::new(request_id, answer.revision, answer.token, answer.replayed);
    Changed::new(target, results, written)
}
