//! What makes two requests the same purchase.

use sha2::{Digest, Sha256};

use super::Purchase;

/// Grows when the canonical form changes. A hash of another version never equals one of this.
const VERSION: u8 = 1;

/// A hash of what a purchase asks for, without its request id. It is of a canonical form of our own, not of
/// the bytes on the wire: those may differ between encoders for the same request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContentHash(Vec<u8>);

impl ContentHash {
    /// The hash of a purchase.
    pub(crate) fn of(purchase: &Purchase) -> Self {
        let mut hash = Sha256::new();
        hash.update([VERSION]);
        let mut text = |text: &str| {
            // With its length first, so that no two lists of texts have the same form.
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        };
        text(purchase.customer_id.as_str());
        text(purchase.game_id.as_str());
        text(purchase.payment_token.as_ref().map_or("", |token| token.reveal()));
        // Without a price nothing is added, and with one always something.
        if let Some(price) = &purchase.expected_price {
            text(&price.currency);
            hash.update(price.minor_units.to_be_bytes());
        }
        Self(hash.finalize().to_vec())
    }

    /// A hash that was stored.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The hash, for the store.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::PaymentToken;
    use gameshelf::catalog::Price;

    fn purchase() -> Purchase {
        Purchase {
            request_id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
            customer_id: "ann".parse().unwrap(),
            game_id: "tiny-forest".parse().unwrap(),
            payment_token: Some(PaymentToken::new("approve".into())),
            expected_price: Some(Price { currency: "USD".into(), minor_units: 499 }),
        }
    }

    #[test]
    fn every_part_of_the_content_counts_and_the_request_id_does_not() {
        let same =
            Purchase { request_id: "01890a5d-ac96-774b-bcce-b302099a8058".parse().unwrap(), ..purchase() };
        assert_eq!(ContentHash::of(&same), ContentHash::of(&purchase()));
        let euros = Price { currency: "EUR".into(), minor_units: 499 };
        let others = [
            Purchase { customer_id: "bob".parse().unwrap(), ..purchase() },
            Purchase { game_id: "tiny-fores".parse().unwrap(), ..purchase() },
            Purchase { payment_token: None, ..purchase() },
            Purchase { expected_price: None, ..purchase() },
            Purchase { expected_price: Some(euros), ..purchase() },
        ];
        for other in others {
            assert_ne!(ContentHash::of(&other), ContentHash::of(&purchase()), "{other:?}");
        }
    }

    /// A hash that changes without a new version would take every stored request for one with other content.
    #[test]
    fn the_canonical_form_stays() {
        let hash = ContentHash::of(&purchase());
        let hash = u128::from_be_bytes(hash.as_bytes()[..16].try_into().unwrap());
        assert_eq!(hash, 0x0c81_249e_c1af_a5b1_d41f_8d99_c6e7_6cb3);
    }
}
