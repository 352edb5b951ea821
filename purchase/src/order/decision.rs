//! What the catalogue says to a purchase.

use gameshelf::catalog::{Catalog, Offer, Price};

use super::{Purchase, Refusal};

/// What the catalogue says to a purchase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is sold, for this price.
    Sell(Price),
    /// It is sold, but the purchase has nothing to pay with.
    TokenMissing,
    /// It is not sold. The price is that of the catalogue, where there is one.
    Refuse(Refusal, Option<Price>),
}

/// Decides a purchase by the catalogue alone; whether the customer owns the game already is the arbiter's to say.
pub(crate) fn decide(catalog: &Catalog, purchase: &Purchase) -> Decision {
    let price = match catalog.get(&purchase.game_id).map(|game| &game.offer) {
        None => return Decision::Refuse(Refusal::GameUnknown, None),
        Some(Offer::Delisted) => return Decision::Refuse(Refusal::GameDelisted, None),
        Some(Offer::Listed(price)) => price.clone(),
    };
    if purchase.expected_price.as_ref().is_some_and(|expected| *expected != price) {
        return Decision::Refuse(Refusal::PriceChanged, Some(price));
    }
    if price.minor_units > 0 && purchase.payment_token.is_none() {
        return Decision::TokenMissing;
    }
    Decision::Sell(price)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::PaymentToken;

    const CATALOG: &[u8] = b"game_id,title,status,release_year,price_minor_units,currency,required_age\n\
        paid,Paid,listed,2019,499,USD,0\n\
        free,Free,listed,2019,0,USD,0\n\
        gone,Gone,delisted,,,,\n";

    fn decided(game: &str, token: &str, expected: Option<i64>) -> Decision {
        let purchase = Purchase {
            request_id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
            customer_id: "ann".parse().unwrap(),
            game_id: game.parse().unwrap(),
            payment_token: Some(token)
                .filter(|token| !token.is_empty())
                .map(|token| PaymentToken::new(token.to_owned())),
            expected_price: expected.map(|minor_units| Price { currency: "USD".into(), minor_units }),
        };
        decide(&Catalog::parse(CATALOG).unwrap(), &purchase)
    }

    #[test]
    fn the_catalogue_decides() {
        let price = |minor_units| Price { currency: "USD".into(), minor_units };
        assert_eq!(decided("paid", "approve", None), Decision::Sell(price(499)));
        assert_eq!(decided("paid", "approve", Some(499)), Decision::Sell(price(499)));
        assert_eq!(decided("paid", "", None), Decision::TokenMissing);
        assert_eq!(decided("free", "", None), Decision::Sell(price(0)));
        assert_eq!(
            decided("paid", "approve", Some(498)),
            Decision::Refuse(Refusal::PriceChanged, Some(price(499)))
        );
        assert_eq!(decided("none", "approve", None), Decision::Refuse(Refusal::GameUnknown, None));
        assert_eq!(decided("gone", "approve", None), Decision::Refuse(Refusal::GameDelisted, None));
    }
}
