//! `gameshelf stock`: how many copies of a limited edition there are.

use clap::{Arg, ArgGroup, Args};
use gameshelf::ids::GameId;
use gameshelf::proto::arbiter::v1::set_stock_request::Amount;
use gameshelf::proto::arbiter::v1::{GetStockRequest, SetStockRequest};
use serde::Serialize;

use crate::clients::{ClientOptions, Clients};
use crate::commands::change::{Author, Written, explain};
use crate::commands::freshness::{ReadOptions, Shown};
use crate::commands::{Reason, hints};
use crate::exit::{Failure, Kind};
use crate::output::{self, Output};
use crate::ports;

/// The options that say how many copies there are to be.
const AMOUNT: &str = "amount";

/// Shows how many copies of a limited edition there are, or changes that
///
/// A game without a stock has no limit; setting one makes it a limited edition. What was granted before that counts for
/// nothing. A copy that is revoked, or whose time ran out, is for sale again.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new(AMOUNT).args(["set", "add"]))]
pub(crate) struct Options {
    /// The game, by its id
    game: GameId,
    /// All copies there are to be, those that are sold included
    #[arg(long, value_name = "N")]
    set: Option<u64>,
    /// Copies to add to those that there are
    #[arg(long, value_name = "N")]
    add: Option<u64>,
    /// Why
    #[arg(long, value_enum, default_value_t = Reason::Administration)]
    reason: Reason,
    #[command(flatten)]
    author: Author,
    #[command(flatten)]
    read: ReadOptions,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// An option that would have no effect misleads: what belongs to a change needs one, and what belongs to a look excludes it.
pub(crate) fn with_effect(argument: Arg) -> Arg {
    match argument.get_id().as_str() {
        "reason" | "actor" | "order_id" | "request_id" => argument.requires(AMOUNT),
        "freshness" | "at_most_ms" | "token" => argument.conflicts_with(AMOUNT),
        _ => argument,
    }
}

#[derive(Serialize)]
struct Stock {
    game_id: String,
    total: u64,
    sold: u64,
    reserved: u64,
    left: u64,
    #[serde(flatten)]
    shown: Shown,
}

#[derive(Serialize)]
struct StockSet {
    game_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    added: Option<u64>,
    #[serde(flatten)]
    written: Written,
}

/// Shows the stock, or sets it and prints that it is done.
///
/// # Errors
///
/// The refusal, that the game has no stock, or that the arbiter did not answer.
pub(crate) async fn run(options: Options, clients: &Clients, output: Output) -> Result<(), Failure> {
    let amount = options.set.map(Amount::Total).or(options.add.map(Amount::Add));
    match amount {
        Some(amount) => set(options, amount, clients, output).await,
        None => show(options, clients, output).await,
    }
}

async fn show(options: Options, clients: &Clients, output: Output) -> Result<(), Failure> {
    let request =
        GetStockRequest { game_id: options.game.to_string(), freshness: Some(options.read.freshness()) };
    let answer = clients.arbiter()?.get_stock(request).await;
    let answer = answer.map_err(|status| hints::failed(&status, clients))?.into_inner();
    let stock = answer.stock;
    let stock = stock
        .ok_or_else(|| Failure::new(Kind::Defect, "UNEXPECTED", "the arbiter answered without a stock"))?;
    let json = Stock {
        game_id: stock.game_id,
        total: stock.total,
        sold: stock.sold,
        reserved: stock.reserved,
        left: stock.total.saturating_sub(stock.sold.saturating_add(stock.reserved)),
        shown: answer.provenance.unwrap_or_default().into(),
    };
    if output == Output::Json {
        return output::json(&json);
    }
    let mut table = output::table(&["game", "copies", "sold", "reserved", "left"]);
    let numbers = [json.total, json.sold, json.reserved, json.left].map(|number| number.to_string());
    table.add_row([json.game_id].into_iter().chain(numbers));
    output::text(&(output::render(&table) + &json.shown.in_words()))
}

async fn set(options: Options, amount: Amount, clients: &Clients, output: Output) -> Result<(), Failure> {
    let request_id = options.author.request_id(clients);
    let request = SetStockRequest {
        request_id: request_id.to_string(),
        game_id: options.game.to_string(),
        cause: Some(options.author.cause(options.reason)),
        amount: Some(amount),
    };
    let answer = clients.arbiter()?.set_stock(request).await;
    let answer = answer
        .map_err(|status| explain(Failure::from_status(ports::ARBITER.name, &status), request_id, clients))?;
    let answer = answer.into_inner();
    let set = StockSet {
        game_id: options.game.to_string(),
        set: options.set,
        added: options.add,
        written: Written::new(request_id, answer.revision, answer.token, answer.replayed),
    };
    if output == Output::Json {
        return output::json(&set);
    }
    let game_id = &set.game_id;
    let what = match amount {
        Amount::Total(copies) => format!("copies of {game_id}, those that are sold included: {copies}"),
        Amount::Add(copies) => format!("copies added to those of {game_id}: {copies}"),
    };
    output::text(&format!("{what}\n{}", set.written.in_words()))
}
