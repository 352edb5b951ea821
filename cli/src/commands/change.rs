//! What `grant` and `revoke` have in common.

use clap::Args;
use gameshelf::ids::{CustomerId, GameId, RequestId};
use gameshelf::proto::arbiter::v1::{self as arbiter, Cause};
use serde::Serialize;

use crate::clients::{ClientOptions, Clients};
use crate::commands::Reason;
use crate::exit::Failure;
use crate::output::{self, Output};

/// Whose ownership of what changes, and by whom.
#[derive(Args, Debug)]
pub(crate) struct Target {
    /// The customer: 1 to 64 bytes
    pub(super) customer: CustomerId,
    /// The games, by their ids
    #[arg(required = true, value_name = "GAME")]
    pub(super) games: Vec<GameId>,
    /// Who does it; kept with the change
    #[arg(long, default_value = "cli", value_name = "NAME")]
    actor: String,
    /// The id of the request, a UUID. The same id again is the same request [default: a new one]
    #[arg(long, value_name = "UUID")]
    request_id: Option<RequestId>,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

impl Target {
    /// The id that was given, or a new one.
    pub(super) fn request_id(&self, clients: &Clients) -> RequestId {
        self.request_id.unwrap_or_else(|| clients.new_request_id())
    }

    /// The games as they go over the wire.
    pub(super) fn game_ids(&self) -> Vec<String> {
        self.games.iter().map(ToString::to_string).collect()
    }

    /// Who and why, as it goes over the wire.
    pub(super) fn cause(&self, reason: Reason) -> Cause {
        let reason = arbiter::Reason::from(reason).into();
        Cause { reason, actor: self.actor.clone(), order_id: String::new() }
    }
}

/// What a change did; the same form for grant and revoke.
#[derive(Serialize)]
pub(super) struct Changed {
    customer_id: String,
    results: Vec<ResultJson>,
    revision: u64,
    token: String,
    replayed: bool,
    request_id: String,
}

/// What a change did with one game.
#[derive(Serialize)]
struct ResultJson {
    game_id: String,
    status: &'static str,
}

impl Changed {
    /// What became of a change of `target`: each game with its result.
    pub(super) fn new(
        target: &Target,
        request_id: RequestId,
        results: impl Iterator<Item = (String, &'static str)>,
        (revision, token, replayed): (u64, String, bool),
    ) -> Self {
        let results = results.map(|(game_id, status)| ResultJson { game_id, status }).collect();
        let (customer_id, request_id) = (target.customer.to_string(), request_id.to_string());
        Self { customer_id, results, revision, token, replayed, request_id }
    }

    /// Prints it.
    ///
    /// # Errors
    ///
    /// As [`output::text`].
    pub(super) fn print(&self, output: Output) -> Result<(), Failure> {
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
pub(super) fn explain(failure: Failure, request_id: RequestId) -> Failure {
    let again = format!("do it again with --request-id {request_id}");
    failure.with("request_id", request_id).settle("it was done", &again)
}
