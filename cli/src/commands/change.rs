//! What the commands that change something have in common.

use clap::Args;
use gameshelf::ids::{CustomerId, GameId, RequestId};
use gameshelf::proto::arbiter::v1::{self as arbiter, Cause};
use serde::Serialize;

use crate::clients::Clients;
use crate::commands::{Reason, hints};
use crate::exit::Failure;
use crate::output::{self, Output};

/// Who changes something, for which order, and as which request.
#[derive(Args, Debug)]
pub(crate) struct Author {
    /// Who does it; kept with the change
    #[arg(long, default_value = "cli", value_name = "NAME")]
    actor: String,
    /// The order that led to it; kept with the change
    #[arg(long, value_name = "ID")]
    order_id: Option<String>,
    /// The id of the request, a UUID. The same id again is the same request [default: a new one]
    #[arg(long, value_name = "UUID")]
    pub(super) request_id: Option<RequestId>,
}

impl Author {
    /// The id that was given, or a new one.
    pub(super) fn request_id(&self, clients: &Clients) -> RequestId {
        self.request_id.unwrap_or_else(|| clients.new_request_id())
    }

    /// Who and why, as it goes over the wire.
    pub(super) fn cause(&self, reason: Reason) -> Cause {
        let reason = arbiter::Reason::from(reason).into();
        Cause { reason, actor: self.actor.clone(), order_id: self.order_id.clone().unwrap_or_default() }
    }
}

/// Whose ownership of what changes.
#[derive(Args, Debug)]
pub(crate) struct Target {
    /// The customer: 1 to 64 bytes
    pub(super) customer: CustomerId,
    /// The games, by their ids
    #[arg(required = true, value_name = "GAME")]
    games: Vec<GameId>,
    #[command(flatten)]
    pub(super) author: Author,
}

impl Target {
    /// The games as they go over the wire.
    pub(super) fn game_ids(&self) -> Vec<String> {
        game_ids(&self.games)
    }
}

/// Games as they go over the wire.
pub(super) fn game_ids(games: &[GameId]) -> Vec<String> {
    games.iter().map(ToString::to_string).collect()
}

/// What the arbiter says of each write that it took.
#[derive(Debug, Serialize)]
pub(super) struct Written {
    pub(super) revision: u64,
    token: String,
    replayed: bool,
    request_id: String,
}

impl Written {
    /// Of an answer's revision, token, and whether it was replayed.
    pub(super) fn new(request_id: RequestId, revision: u64, token: String, replayed: bool) -> Self {
        Self { revision, token, replayed, request_id: request_id.to_string() }
    }

    /// The last line of what is told: `at revision 7`.
    pub(super) fn in_words(&self) -> String {
        let replayed = if self.replayed { ", as an earlier request with the same id said" } else { "" };
        format!("at revision {}{replayed}\n", self.revision)
    }
}

/// What a change did; the same form for grant and revoke.
#[derive(Serialize)]
pub(super) struct Changed {
    customer_id: String,
    results: Vec<ResultJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<String>,
    #[serde(flatten)]
    written: Written,
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
        results: impl Iterator<Item = (String, &'static str)>,
        written: Written,
    ) -> Self {
        let results = results.map(|(game_id, status)| ResultJson { game_id, status }).collect();
        Self { customer_id: target.customer.to_string(), results, end_time: None, written }
    }

    /// What was granted ends by itself then.
    pub(super) fn until(self, end_time: Option<String>) -> Self {
        Self { end_time, ..self }
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
        let until = self.end_time.as_ref();
        let until = until.map_or_else(String::new, |time| format!("what was granted ends at {time}\n"));
        output::text(&format!("{}{until}{}", output::render(&table), self.written.in_words()))
    }
}

/// Adds to a failure of a write what settles it, and what can be done about a refusal.
pub(super) fn explain(failure: Failure, request_id: RequestId, clients: &Clients) -> Failure {
    let again = format!("do it again with --request-id {request_id}");
    let failure = failure.with("request_id", request_id).settle("it was done", &again);
    hints::add(failure, &clients.mesh_flags())
}
