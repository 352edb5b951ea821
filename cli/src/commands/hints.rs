//! What a person can do about a refusal, by its reason.

use gameshelf::errors::Reason;
use tonic::Status;

use crate::clients::Clients;
use crate::exit::Failure;
use crate::ports;

/// What the arbiter refused or did not answer, where nothing has to be settled.
pub(super) fn failed(status: &Status, clients: &Clients) -> Failure {
    add(Failure::from_status(ports::ARBITER.name, status), &clients.mesh_flags())
}

/// Adds what can be done next, where there is something. `mesh_flags` lead another command to the same mesh.
pub(super) fn add(failure: Failure, mesh_flags: &str) -> Failure {
    match hint(&failure, mesh_flags) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn hint(failure: &Failure, mesh_flags: &str) -> Option<String> {
    let value = |key, otherwise| failure.value(key).filter(|value| !value.is_empty()).unwrap_or(otherwise);
    let customer = value("customer_id", "CUSTOMER");
    // A refusal of several games names them all; one is enough to show how to ask.
    let game = value("game_ids", value("game_id", "GAME")).split(',').next().unwrap_or("GAME");
    let reservation = value("reservation_id", "RESERVATION");
    let reason = Reason::ALL.iter().copied().find(|reason| reason.as_str() == failure.reason())?;
    Some(match reason {
        Reason::AlreadyOwned => {
            format!("see since when and why: gameshelf why {customer} {game}{mesh_flags}")
        }
        Reason::NotOwned => {
            format!("see what they had, and why it ended: gameshelf history {customer}{mesh_flags}")
        }
        Reason::ChangedSince => format!(
            "see what changed: gameshelf history {customer}{mesh_flags}; then do it again with a newer revision"
        ),
        Reason::RequestIdReused => "for another request leave --request-id out, or give a new one".to_owned(),
        Reason::RequestIdExpired => format!(
            "what became of it is no longer kept: see gameshelf history {customer}{mesh_flags} before you do it with a new id"
        ),
        Reason::OutOfStock => {
            format!("see how many copies are sold and reserved: gameshelf stock {game}{mesh_flags}")
        }
        Reason::EndTimePassed => "give an end that is to come, such as --until 7d".to_owned(),
        Reason::AlreadyReserved => {
            "confirm or release the reservation that is open, or wait until its time runs out".to_owned()
        }
        Reason::ReservationLimit => "confirm or release others, or wait until their time runs out".to_owned(),
        Reason::ReservationUnknown => {
            "its id is what gameshelf reserve told; closed ones are forgotten after a while".to_owned()
        }
        Reason::ReservationClosed => {
            format!("see what became of it: gameshelf reservation {reservation}{mesh_flags}")
        }
        Reason::ReservationExpired => {
            "reserve it again: gameshelf reserve CUSTOMER GAME; --hold says for how long".to_owned()
        }
        Reason::StockBelowSold => {
            format!("see how many are sold and reserved: gameshelf stock {game}{mesh_flags}")
        }
        Reason::StockLimit => "the arbiter's limit is set with --limited-editions".to_owned(),
        Reason::StockUnknown => {
            format!("to make it a limited edition: gameshelf stock {game} --set N{mesh_flags}")
        }
        Reason::RevisionUnknown => match failure.value("head") {
            Some(head) => format!("the newest revision is {head}"),
            None => "ask without the revision or token, for what is newest".to_owned(),
        },
        Reason::TokenForeign => "a token is of use only where it was made: leave it out".to_owned(),
        Reason::RevisionCompacted => {
            format!("begin with what is owned now: gameshelf watch --snapshot{mesh_flags}")
        }
        Reason::FreshnessUnavailable => "take what there is, however old it is: --freshness any".to_owned(),
        Reason::GameUnknown => "a game's id is the slug of its title, such as tiny-forest".to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gameshelf::errors::ErrorBuilder;

    fn told(builder: ErrorBuilder) -> Option<String> {
        hint(&Failure::from_status("arbiter", &builder.build()), " --port-base 7500")
    }

    #[test]
    fn a_hint_names_what_was_refused() {
        let owned = ErrorBuilder::new(Reason::AlreadyOwned, "no").with("customer_id", "42");
        let hint = told(owned.with("game_ids", "tiny-forest,marrow-vale")).unwrap();
        assert_eq!(hint, "see since when and why: gameshelf why 42 tiny-forest --port-base 7500");
        let unknown = ErrorBuilder::new(Reason::RevisionUnknown, "no").with("head", 7);
        assert_eq!(told(unknown).as_deref(), Some("the newest revision is 7"));
    }

    #[test]
    fn what_is_not_known_is_shown_as_what_to_give() {
        let hint = told(ErrorBuilder::new(Reason::OutOfStock, "no")).unwrap();
        assert!(hint.ends_with("gameshelf stock GAME --port-base 7500"), "{hint}");
    }

    #[test]
    fn only_what_nobody_can_act_on_has_no_hint() {
        let without: Vec<Reason> =
            Reason::ALL.iter().copied().filter(|one| told(ErrorBuilder::new(*one, "no")).is_none()).collect();
        assert_eq!(
            without,
            [
                // The fields are named already.
                Reason::InvalidFields,
                // These pass, and the same request may be sent again, which the failure of a write says.
                Reason::SlowReader,
                Reason::TooManyWatchers,
                // No command reports a copy.
                Reason::TooManyCopies,
                Reason::QueueFull,
                Reason::StoreUnavailable,
                Reason::OutcomeUnknown,
                Reason::NotLeader,
                Reason::ShuttingDown,
                // There is nothing to do but to leave it.
                Reason::GameDelisted,
                // `buy` tells these with what it knows of the purchase.
                Reason::PriceChanged,
                Reason::PaymentDeclined,
                // No command asks for these.
                Reason::CatalogChanged,
                Reason::OrderUnknown,
                Reason::PaymentUnknown,
                Reason::PaymentState,
                // The log of the service says more.
                Reason::Internal,
            ]
        );
    }
}
