//! Requests are encoded once; each one sent is a copy in which the names are written over.

use prost::Message;

use crate::work::Request;

/// What stands in a template where a request has its own text: of the same length, and nowhere else in it.
pub(crate) mod placeholder {
    pub(crate) const REQUEST_ID: &str = "IIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIII";
    /// The number of a customer.
    pub(crate) const CUSTOMER: &str = "CCCCCCCCCCCC";
    /// The number of a game.
    pub(crate) const GAME: &str = "GGGGGGGGGGGG";
}

/// Before each message of gRPC: whether it is compressed, and its length.
pub(crate) const PREFIX_BYTES: usize = 5;

/// An encoded message with places to write in.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    request_ids: Vec<usize>,
    customers: Vec<usize>,
    games: Vec<usize>,
}

impl Template {
    /// A template of a message with placeholders in it.
    pub(crate) fn new(message: &impl Message) -> Self {
        let bytes = framed(message);
        let places = |text: &str| {
            let windows = bytes.windows(text.len()).enumerate();
            windows.filter(|(_, window)| *window == text.as_bytes()).map(|(place, _)| place).collect()
        };
        Self {
            request_ids: places(placeholder::REQUEST_ID),
            customers: places(placeholder::CUSTOMER),
            games: places(placeholder::GAME),
            bytes,
        }
    }

    /// The length of each message, with its prefix.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends the message of one request, with its prefix.
    pub(crate) fn fill(&self, request: &Request, output: &mut Vec<u8>) {
        let from = output.len();
        output.extend_from_slice(&self.bytes);
        let bytes = &mut output[from..];
        for place in &self.request_ids {
            let place = &mut bytes[*place..*place + placeholder::REQUEST_ID.len()];
            request.id.as_hyphenated().encode_lower(place);
        }
        for place in &self.customers {
            write_digits(&mut bytes[*place..*place + placeholder::CUSTOMER.len()], request.customer);
        }
        for place in &self.games {
            write_digits(&mut bytes[*place..*place + placeholder::GAME.len()], request.game);
        }
    }
}

/// A message as gRPC sends it.
pub(crate) fn framed(message: &impl Message) -> Vec<u8> {
    let length = u32::try_from(message.encoded_len()).expect("a request is small");
    let mut bytes = vec![0; PREFIX_BYTES];
    bytes[1..].copy_from_slice(&length.to_be_bytes());
    message.encode(&mut bytes).expect("a vector grows");
    bytes
}

/// Writes a number in decimal digits over all of the text.
fn write_digits(text: &mut [u8], mut number: u64) {
    for digit in text.iter_mut().rev() {
        // A remainder of ten is one digit.
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use gameshelf::proto::arbiter::v1::GrantRequest;
    use uuid::Uuid;

    use super::*;
    use crate::work::{customer_name, game_name};

    #[test]
    fn a_filled_template_is_the_message_with_the_names_of_the_request() {
        let template = Template::new(&GrantRequest {
            request_id: placeholder::REQUEST_ID.to_owned(),
            customer_id: format!("granted-{}", placeholder::CUSTOMER),
            game_ids: vec![format!("game-{}", placeholder::GAME)],
            ..GrantRequest::default()
        });
        let request = Request { id: Uuid::max(), customer: 42, game: 123_456_789_012 };
        let mut bytes = Vec::new();
        template.fill(&request, &mut bytes);
        assert_eq!(usize::from(bytes[4]), bytes.len() - PREFIX_BYTES, "the prefix tells the length");
        let message = GrantRequest::decode(&bytes[PREFIX_BYTES..]).unwrap();
        assert_eq!(message.request_id, request.id.to_string());
        assert_eq!(message.customer_id, customer_name("granted-", 42));
        assert_eq!(message.game_ids, [game_name(123_456_789_012)]);
    }
}
