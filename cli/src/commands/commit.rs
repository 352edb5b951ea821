//! `gameshelf commit`: several changes at once, for one or more customers, under preconditions.

mod form;

use std::path::PathBuf;

use clap::Args;
use gameshelf::proto::arbiter::v1::operation::Change;
use gameshelf::proto::arbiter::v1::{CommitRequest, CommitResponse, Operation};
use serde::Serialize;

use crate::clients::{ClientOptions, Clients};
use crate::commands::change::{Author, Written, explain};
use crate::commands::{Reason, file};
use crate::exit::Failure;
use crate::output::{self, Output};
use crate::ports;

/// Commits several changes at once, for one or more customers: all of them or none
#[derive(Args, Debug)]
#[command(after_help = form::HELP)]
pub(crate) struct Options {
    /// A JSON file with the changes and what must hold before them, or - for standard input
    file: PathBuf,
    /// Why
    #[arg(long, value_enum)]
    reason: Reason,
    /// The most bytes of the file
    #[arg(long, value_name = "N", default_value_t = 4 << 20)]
    max_file_bytes: u64,
    #[command(flatten)]
    author: Author,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Serialize)]
struct Committed {
    results: Vec<ResultJson>,
    #[serde(flatten)]
    written: Written,
}

/// What one operation did.
#[derive(Serialize)]
struct ResultJson {
    operation: &'static str,
    customer_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_customer_id: Option<String>,
    game_id: String,
    changed: bool,
}

/// Commits the changes of the file and prints what became of each.
///
/// # Errors
///
/// A file that is wrong, the refusal, or that the arbiter did not answer.
pub(crate) async fn run(options: Options, clients: &Clients, output: Output) -> Result<(), Failure> {
    let bytes = file::read_or_stdin(&options.file, options.max_file_bytes)?;
    let (preconditions, operations) =
        form::parse(&bytes).map_err(|error| file::wrong(&options.file, &error.to_string()))?;
    let request_id = options.author.request_id(clients);
    let request = CommitRequest {
        request_id: request_id.to_string(),
        preconditions,
        operations,
        cause: Some(options.author.cause(options.reason)),
    };
    let answer = clients.arbiter()?.commit(request.clone()).await;
    let answer = answer
        .map_err(|status| explain(Failure::from_status(ports::ARBITER.name, &status), request_id, clients))?;
    let CommitResponse { revision, token, replayed, results } = answer.into_inner();
    let results = request.operations.into_iter().zip(results);
    let committed = Committed {
        results: results.filter_map(|(operation, result)| told(operation, result.changed)).collect(),
        written: Written::new(request_id, revision, token, replayed),
    };
    print(&committed, output)
}

/// What an operation did; nothing of one without a change, which the arbiter refuses.
fn told(operation: Operation, changed: bool) -> Option<ResultJson> {
    let (operation, customer_id, to_customer_id, game_id) = match operation.change? {
        Change::Grant(grant) => ("grant", grant.customer_id, None, grant.game_id),
        Change::Revoke(revoke) => ("revoke", revoke.customer_id, None, revoke.game_id),
        Change::Transfer(transfer) => {
            ("transfer", transfer.from_customer_id, Some(transfer.to_customer_id), transfer.game_id)
        }
    };
    Some(ResultJson { operation, customer_id, to_customer_id, game_id, changed })
}

fn print(committed: &Committed, output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        return output::json(committed);
    }
    let mut table = output::table(&["operation", "customer", "to", "game", "result"]);
    for result in &committed.results {
        let to = result.to_customer_id.as_deref().unwrap_or("-");
        let changed = if result.changed { "changed" } else { "unchanged" };
        table.add_row([result.operation, &result.customer_id, to, &result.game_id, changed]);
    }
    output::text(&(output::render(&table) + &committed.written.in_words()))
}
