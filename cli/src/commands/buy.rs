//! `gameshelf buy`: buys a game.

use clap::Args;
use gameshelf::ids::{CustomerId, GameId, RequestId};
use gameshelf::proto::purchase::v1::{BuyRequest, BuyResponse, Order, OrderState, Price};
use serde::Serialize;

use crate::clients::{ClientOptions, Clients};
use crate::commands::hints;
use crate::exit::{Failure, Kind};
use crate::output::{self, Output};
use crate::ports;

/// Buys a game for a customer
///
/// Answers `pending` when the order could not be brought to its end in time, for example because the arbiter is
/// down: it is accepted, and completed later.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The customer: 1 to 64 bytes
    customer: CustomerId,
    /// The game, by its id in the catalogue (the slug of its title)
    game: GameId,
    /// What stands for the means of payment. The sandbox reads from it how to behave: approve…, decline…, slow…, lose…
    #[arg(long, default_value = "approve", value_name = "TOKEN")]
    payment_token: String,
    /// The price that you were shown: another one is refused
    #[arg(long, value_name = "N", requires = "currency", value_parser = clap::value_parser!(i64).range(0..))]
    expected_price_minor_units: Option<i64>,
    /// The currency of the expected price
    #[arg(long, value_name = "CODE", requires = "expected_price_minor_units")]
    currency: Option<String>,
    /// The id of the request, a UUID. The same id again is the same purchase [default: a new one]
    #[arg(long, value_name = "UUID")]
    request_id: Option<RequestId>,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Serialize)]
struct Bought<'a> {
    order_id: &'a str,
    customer_id: &'a str,
    game_id: &'a str,
    state: &'static str,
    price: Option<PriceJson<'a>>,
    catalog_hash: &'a str,
    revision: u64,
    token: &'a str,
    replayed: bool,
    request_id: String,
}

#[derive(Serialize)]
struct PriceJson<'a> {
    currency: &'a str,
    minor_units: i64,
}

/// Buys the game and prints the order.
///
/// # Errors
///
/// The refusal, or that purchase did not answer. Whether the purchase happened is then not known; the same request
/// id settles it, and the failure names it.
pub(crate) async fn run(options: Options, clients: &Clients, output: Output) -> Result<(), Failure> {
    let request_id = options.request_id.unwrap_or_else(|| clients.new_request_id());
    let request = request(options, request_id);
    let answer = clients.purchase()?.buy(request).await;
    let answer = answer
        .map_err(|status| {
            let failure = Failure::from_status(ports::PURCHASE.name, &status);
            explain(failure, request_id, &clients.mesh_flags())
        })?
        .into_inner();
    print(&answer, request_id, output)
}

fn request(options: Options, request_id: RequestId) -> BuyRequest {
    let price = options.expected_price_minor_units.zip(options.currency);
    BuyRequest {
        request_id: request_id.to_string(),
        customer_id: options.customer.to_string(),
        game_id: options.game.to_string(),
        payment_token: options.payment_token,
        expected_price: price.map(|(minor_units, currency)| Price { currency, minor_units }),
    }
}

fn explain(failure: Failure, request_id: RequestId, mesh_flags: &str) -> Failure {
    let again = format!("buy again with --request-id {request_id}");
    let failure = failure.with("request_id", request_id).settle("the order was taken", &again);
    match failure.reason() {
        "PAYMENT_DECLINED" => failure.hint("no money was taken; try another --payment-token"),
        "PRICE_CHANGED" => {
            let price = current_price(&failure);
            failure.hint(format!("no money was taken; buy again with the price of the catalogue{price}"))
        }
        "OUT_OF_STOCK" => hints::add(failure.hint("no money was taken"), mesh_flags),
        _ => hints::add(failure, mesh_flags),
    }
}

/// `: 4.99 USD`, where the refusal says it.
fn current_price(failure: &Failure) -> String {
    let minor_units = failure.value("price_minor_units").and_then(|units| units.parse().ok());
    let price = failure.value("currency").zip(minor_units);
    price.map_or_else(String::new, |(currency, minor_units)| {
        let price = Price { currency: currency.to_owned(), minor_units };
        format!(
            ": {} (--expected-price-minor-units {minor_units} --currency {currency})",
            price_in_words(&price)
        )
    })
}

fn state_name(order: &Order) -> &'static str {
    match order.state() {
        OrderState::Pending => "pending",
        OrderState::Completed => "completed",
        OrderState::Refused => "refused",
        OrderState::Unspecified => "unknown",
    }
}

fn print(answer: &BuyResponse, request_id: RequestId, output: Output) -> Result<(), Failure> {
    let order = answer.order.as_ref();
    let order = order
        .ok_or_else(|| Failure::new(Kind::Defect, "UNEXPECTED", "purchase answered without an order"))?;
    match output {
        Output::Json => output::json(&Bought {
            order_id: &order.order_id,
            customer_id: &order.customer_id,
            game_id: &order.game_id,
            state: state_name(order),
            price: order
                .price
                .as_ref()
                .map(|price| PriceJson { currency: &price.currency, minor_units: price.minor_units }),
            catalog_hash: &order.catalog_hash,
            revision: order.revision,
            token: &order.token,
            replayed: answer.replayed,
            request_id: request_id.to_string(),
        }),
        Output::Table => output::text(&in_words(order, answer.replayed, request_id)),
    }
}

fn in_words(order: &Order, replayed: bool, request_id: RequestId) -> String {
    let mut table = output::table(&["order", "customer", "game", "state", "price", "revision"]);
    let revision = if order.revision == 0 { "-".to_owned() } else { order.revision.to_string() };
    table.add_row([
        order.order_id.clone(),
        order.customer_id.clone(),
        order.game_id.clone(),
        state_name(order).to_owned(),
        order.price.as_ref().map_or_else(|| "-".to_owned(), price_in_words),
        revision,
    ]);
    let mut text = output::render(&table);
    if order.state() == OrderState::Pending {
        let again = format!(
            "The order is accepted and will be completed as soon as possible.\n\
             To see how it stands, ask again with the same request id: gameshelf buy … --request-id {request_id}\n"
        );
        text.push_str(&again);
    }
    if replayed {
        text.push_str("This request was made before: the order is the one of that time.\n");
    }
    text
}

/// `4.99 USD`; a currency without hundredths is shown in its minor units as well as a file of prices would.
fn price_in_words(price: &Price) -> String {
    let (major, minor) = (price.minor_units / 100, price.minor_units % 100);
    format!("{major}.{minor:02} {}", price.currency)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gameshelf::errors::{ErrorBuilder, Reason};

    fn order(state: OrderState) -> Order {
        Order {
            order_id: "o-1".to_owned(),
            customer_id: "42".to_owned(),
            game_id: "tiny-forest".to_owned(),
            state: state.into(),
            price: Some(Price { currency: "USD".to_owned(), minor_units: 499 }),
            ..Order::default()
        }
    }

    fn request_id() -> RequestId {
        "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap()
    }

    #[test]
    fn a_refusal_says_what_to_do_next() {
        let hints = |status: tonic::Status| {
            let failure = Failure::from_status("purchase", &status);
            format!("{:?}", explain(failure, request_id(), " --port-base 7500"))
        };
        let changed = ErrorBuilder::new(Reason::PriceChanged, "no").with("currency", "USD");
        let text = hints(changed.with("price_minor_units", 499).build());
        assert!(text.contains("4.99 USD (--expected-price-minor-units 499 --currency USD)"), "{text}");
        let owned = ErrorBuilder::new(Reason::AlreadyOwned, "no").with("customer_id", "42");
        let text = hints(owned.with("game_id", "tiny-forest").build());
        assert!(text.contains("gameshelf why 42 tiny-forest --port-base 7500"), "{text}");
    }

    #[test]
    fn an_order_is_shown_as_a_table() {
        let completed = Order { revision: 7, ..order(OrderState::Completed) };
        assert_eq!(
            in_words(&completed, false, request_id()),
            "ORDER  CUSTOMER  GAME         STATE      PRICE     REVISION\n\
             o-1    42        tiny-forest  completed  4.99 USD  7\n"
        );
    }

    #[test]
    fn a_pending_order_is_called_so() {
        let text = in_words(&order(OrderState::Pending), false, request_id());
        assert!(text.contains("pending") && text.contains("will be completed"), "{text}");
        assert!(text.contains(&format!("gameshelf buy … --request-id {}\n", request_id())), "{text}");
    }

    #[test]
    fn an_unknown_outcome_is_called_unknown() {
        let status = tonic::Status::unavailable("gone");
        let failure = explain(Failure::from_status("purchase", &status), request_id(), "");
        assert_eq!(failure.kind(), Kind::Unavailable);
        assert!(format!("{failure:?}").contains("--request-id 01890a5d-ac96-774b-bcce-b302099a8057"));
    }
}
