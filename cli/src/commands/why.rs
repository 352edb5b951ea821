//! `gameshelf why`: says why a customer owns a game, or why not.

use clap::Args;
use gameshelf::ids::{CustomerId, GameId};
use gameshelf::proto::arbiter::v1::ExplainOwnershipRequest;
use serde::Serialize;

use crate::clients::{ClientOptions, Clients};
use crate::commands::freshness::{ReadOptions, Shown};
use crate::commands::hints;
use crate::commands::ownership::Owned;
use crate::exit::{Failure, Kind};
use crate::output::{self, Output};

/// Says why a customer owns a game, or why not
///
/// Ends with 0 when the customer owns it, and with 3 when not, so that a script can ask; the answer is printed
/// in both cases.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The customer: 1 to 64 bytes
    customer: CustomerId,
    /// The game, by its id
    game: GameId,
    /// As it was at this revision
    #[arg(long, value_name = "REVISION", value_parser = clap::value_parser!(u64).range(1..))]
    as_of: Option<u64>,
    #[command(flatten)]
    read: ReadOptions,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Serialize)]
struct Explained {
    customer_id: String,
    game_id: String,
    owned: bool,
    /// What makes it so; where it is not owned, the last one that ended.
    ownership: Option<Owned>,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of_revision: Option<u64>,
    #[serde(flatten)]
    shown: Shown,
}

/// Asks and prints the answer.
///
/// # Errors
///
/// That the customer does not own it, once that was printed; the refusal, or that no answer of the wanted freshness could be had.
pub(crate) async fn run(options: Options, clients: &Clients, output: Output) -> Result<(), Failure> {
    let request = ExplainOwnershipRequest {
        customer_id: options.customer.to_string(),
        game_id: options.game.to_string(),
        freshness: Some(options.read.freshness()),
        as_of_revision: options.as_of.unwrap_or_default(),
    };
    let answer = clients.arbiter()?.explain_ownership(request).await;
    let answer = answer.map_err(|status| hints::failed(&status, clients))?.into_inner();
    let explained = Explained {
        customer_id: options.customer.to_string(),
        game_id: options.game.to_string(),
        owned: answer.owned,
        ownership: answer.ownership.map(Owned::from),
        as_of_revision: options.as_of,
        shown: answer.provenance.unwrap_or_default().into(),
    };
    match output {
        Output::Json => output::json(&explained)?,
        Output::Table => output::text(&in_words(&explained))?,
    }
    if explained.owned {
        return Ok(());
    }
    Err(Failure::new(Kind::AnsweredNo, "NOT_OWNED", "the customer does not own the game"))
}

fn in_words(explained: &Explained) -> String {
    let Explained { customer_id: customer, game_id: game, ownership, .. } = explained;
    let end_time = ownership.as_ref().and_then(|owned| owned.end_time.as_ref());
    let what = match (ownership, ownership.as_ref().and_then(|owned| owned.ended.as_ref())) {
        (None, _) => format!("{customer} never owned {game}\n"),
        (Some(owned), None) => {
            let will_end = end_time.map_or_else(String::new, |time| format!("it ends by itself at {time}\n"));
            format!("{customer} owns {game} since {}\n{will_end}", owned.began.in_words())
        }
        (Some(owned), Some(ended)) => format!(
            "{customer} does not own {game}: it ended at {}\nit had begun at {}\n",
            ended.in_words(),
            owned.began.in_words()
        ),
    };
    let shown = &explained.shown;
    let fresh = if explained.as_of_revision.is_some() { shown.as_of_in_words() } else { shown.in_words() };
    what + &fresh
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::ownership::Event;
    use gameshelf::proto::freshness::v1::{Provenance, Source};

    fn event(revision: u64, reason: &'static str) -> Event {
        let commit_time = "2023-11-14T22:13:20Z".to_owned();
        let (actor, order_id) = ("shop".to_owned(), "o-1".to_owned());
        Event { revision, commit_time, reason, actor, order_id }
    }

    fn explained(ended: Option<Event>, end_time: Option<&str>) -> Explained {
        let owned = ended.is_none();
        let ownership = Some(Owned {
            game_id: "tiny-forest".to_owned(),
            began: event(7, "purchase"),
            ended,
            end_time: end_time.map(str::to_owned),
        });
        Explained {
            customer_id: "42".to_owned(),
            game_id: "tiny-forest".to_owned(),
            owned,
            ownership,
            as_of_revision: None,
            shown: Provenance { revision: 12, source: Source::Arbiter.into(), ..Provenance::default() }
                .into(),
        }
    }

    #[test]
    fn it_is_told_why_it_is_owned() {
        assert_eq!(
            in_words(&explained(None, Some("2027-01-15T08:00:00Z"))),
            "42 owns tiny-forest since revision 7 (2023-11-14T22:13:20Z): purchase by shop, order o-1\n\
             it ends by itself at 2027-01-15T08:00:00Z\n\
             at revision 12, from the arbiter\n"
        );
    }

    #[test]
    fn it_is_told_why_it_is_not_owned() {
        assert_eq!(
            in_words(&explained(Some(event(9, "refund")), None)),
            "42 does not own tiny-forest: it ended at revision 9 (2023-11-14T22:13:20Z): refund by shop, order o-1\n\
             it had begun at revision 7 (2023-11-14T22:13:20Z): purchase by shop, order o-1\n\
             at revision 12, from the arbiter\n"
        );
        let never = Explained { ownership: None, as_of_revision: Some(5), ..explained(None, None) };
        assert_eq!(in_words(&never), "42 never owned tiny-forest\nas of revision 12, from the arbiter\n");
    }
}
