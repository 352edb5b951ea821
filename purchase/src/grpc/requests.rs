//! From the wire: every field is checked, and all that are wrong are named at once.

use gameshelf::catalog::{self, Catalog, Offer, Price};
use gameshelf::fields::{self, Fields};
use gameshelf::ids::{self, GameId, OrderId};
use gameshelf::proto::purchase::v1 as wire;
use tonic::Status;

use super::catalog::{CatalogQuery, PageLimits};
use super::page_token::PageStart;
use crate::order::{PaymentToken, Purchase};

/// The most bytes of a payment token.
const PAYMENT_TOKEN_MAX_BYTES: usize = 128;

/// Reads a purchase. Whether a payment token is needed depends on what else is decided, so that a missing one is named
/// here only beside other wrong fields.
pub(super) fn buy(request: wire::BuyRequest, catalog: &Catalog) -> Result<Purchase, Status> {
    let mut fields = Fields::new();
    let request_id = fields.take("request_id", request.request_id.parse());
    let customer_id = fields.take("customer_id", request.customer_id.parse());
    let game_id: Option<GameId> = fields.take("game_id", request.game_id.parse());
    fields.take("payment_token", ids::check_text(&request.payment_token, PAYMENT_TOKEN_MAX_BYTES));
    let expected_price = request.expected_price.map(|price| expected_price(price, &mut fields));
    let token_is_empty = request.payment_token.is_empty();
    if !fields.is_ok() && token_is_empty && game_id.as_ref().is_some_and(|game| has_price(catalog, game)) {
        missing_payment_token(&mut fields);
    }
    let purchase = (|| {
        Some(Purchase {
            request_id: request_id?,
            customer_id: customer_id?,
            game_id: game_id?,
            payment_token: (!token_is_empty).then(|| PaymentToken::new(request.payment_token)),
            expected_price,
        })
    })();
    fields.finish(purchase)
}

/// Reads the id of an order.
pub(super) fn get_order(request: &wire::GetOrderRequest) -> Result<OrderId, Status> {
    let mut fields = Fields::new();
    let order_id = fields.take("order_id", request.order_id.parse());
    fields.finish(order_id)
}

/// Reads what is asked of the catalogue.
pub(super) fn get_catalog(
    request: wire::GetCatalogRequest,
    limits: &PageLimits,
) -> Result<CatalogQuery, Status> {
    let mut fields = Fields::new();
    if !request.known_hash.is_empty() {
        fields.take("known_hash", catalog::check_hash(&request.known_hash));
    }
    let page_size = fields::page_size(request.page_size, limits.games_default, limits.games_max);
    let page_size = fields.take("page_size", page_size);
    let start = match request.page_token.as_str() {
        "" => None,
        token => fields.take("page_token", PageStart::decode(token)),
    };
    let query = page_size.map(|page_size| CatalogQuery { known_hash: request.known_hash, page_size, start });
    fields.finish(query)
}

/// Notes that a game with a price needs a token.
pub(super) fn missing_payment_token(fields: &mut Fields) {
    fields.wrong("payment_token", "must not be empty for a game with a price");
}

fn has_price(catalog: &Catalog, game_id: &GameId) -> bool {
    let offer = catalog.get(game_id).map(|game| &game.offer);
    matches!(offer, Some(Offer::Listed(price)) if price.minor_units > 0)
}

fn expected_price(price: wire::Price, fields: &mut Fields) -> Price {
    if price.currency.len() != 3 || !price.currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        fields.wrong("expected_price.currency", "must be three capital letters, such as USD");
    }
    if price.minor_units < 0 {
        fields.wrong("expected_price.minor_units", "must not be negative");
    }
    Price { currency: price.currency, minor_units: price.minor_units }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tonic_types::StatusExt;

    fn catalog() -> Catalog {
        let file = "game_id,title,status,release_year,price_minor_units,currency,required_age\n\
            paid,Paid,listed,2019,499,USD,0\nfree,Free,listed,2019,0,USD,0\n";
        Catalog::parse(file.as_bytes()).unwrap()
    }

    fn wrong_fields(status: &Status) -> Vec<String> {
        let request = status.get_details_bad_request().expect("details");
        request.field_violations.into_iter().map(|violation| violation.field).collect()
    }

    #[test]
    fn every_wrong_field_is_named() {
        let request = wire::BuyRequest {
            request_id: "7".into(),
            customer_id: String::new(),
            game_id: "Not A Slug".into(),
            payment_token: "x".repeat(129),
            expected_price: Some(wire::Price { currency: "usd".into(), minor_units: -1 }),
        };
        let status = buy(request, &catalog()).unwrap_err();
        let all = [
            "request_id",
            "customer_id",
            "game_id",
            "payment_token",
            "expected_price.currency",
            "expected_price.minor_units",
        ];
        assert_eq!(wrong_fields(&status), all);
        let request = wire::BuyRequest { game_id: "paid".into(), ..wire::BuyRequest::default() };
        let status = buy(request, &catalog()).unwrap_err();
        assert_eq!(wrong_fields(&status), ["request_id", "customer_id", "payment_token"]);
    }

    #[test]
    fn every_wrong_field_of_a_question_for_the_catalogue_is_named() {
        let limits = PageLimits { games_default: 10, games_max: 20, message_bytes: 4096 };
        let asked = |known_hash: &str, page_size, page_token: &str| {
            let (known_hash, page_token) = (known_hash.to_owned(), page_token.to_owned());
            get_catalog(wire::GetCatalogRequest { known_hash, page_size, page_token }, &limits)
        };
        let status = asked("x", 21, "y").unwrap_err();
        assert_eq!(wrong_fields(&status), ["known_hash", "page_size", "page_token"]);
        let told = status.get_details_bad_request().unwrap().field_violations.remove(1).description;
        assert_eq!(told, "page_size must be at most 20, and is 21");
        assert_eq!(wrong_fields(&asked("", -1, "").unwrap_err()), ["page_size"]);
        let known_hash = "0".repeat(64);
        assert_eq!(
            asked(&known_hash, 0, "").unwrap(),
            CatalogQuery { known_hash, page_size: 10, start: None }
        );
    }

    proptest! {
        #[test]
        fn any_request_is_read_or_refused_with_its_fields(
            request_id in any::<String>(),
            customer_id in any::<String>(),
            game_id in prop_oneof!["[a-z0-9-]{1,12}", any::<String>()],
            payment_token in any::<String>(),
            price in prop::option::of((any::<String>(), any::<i64>())),
            good_id: bool,
        ) {
            let request_id =
                if good_id { "01890a5d-ac96-774b-bcce-b302099a8057".to_owned() } else { request_id };
            let expected_price = price.map(|(currency, minor_units)| wire::Price { currency, minor_units });
            let request = wire::BuyRequest { request_id, customer_id, game_id, payment_token, expected_price };
            match buy(request.clone(), &catalog()) {
                Ok(purchase) => {
                    prop_assert_eq!(purchase.customer_id.as_str(), request.customer_id);
                    prop_assert_eq!(purchase.game_id.as_str(), request.game_id);
                    prop_assert!(request.payment_token.len() <= PAYMENT_TOKEN_MAX_BYTES);
                }
                Err(status) => prop_assert!(!wrong_fields(&status).is_empty()),
            }
            let _ = get_order(&wire::GetOrderRequest { order_id: request.request_id });
        }
    }
}
