//! `gameshelf history`: shows every ownership that a customer has or had.

use clap::Args;
use gameshelf::ids::{CustomerId, GameId};
use gameshelf::proto::arbiter::v1::{ListHistoryRequest, ListHistoryResponse};
use serde::Serialize;

use crate::clients::{ClientOptions, Clients};
use crate::commands::freshness::{ReadOptions, Shown};
use crate::commands::hints;
use crate::commands::ownership::{Event, Owned};
use crate::exit::Failure;
use crate::output::{self, Output};

/// Shows every ownership that a customer has or had, with who began and ended it and why
///
/// In the order in which they began. A game that was lost and got again is there twice.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The customer: 1 to 64 bytes
    customer: CustomerId,
    /// Only of this game
    game: Option<GameId>,
    /// Show at most this many, the oldest ones
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    #[command(flatten)]
    read: ReadOptions,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Serialize)]
struct History {
    customer_id: String,
    ownerships: Vec<Owned>,
    /// Whether there are more than were asked for.
    more: bool,
    #[serde(flatten)]
    shown: Shown,
}

/// Reads the history and prints it.
///
/// # Errors
///
/// The refusal, or that no answer of the wanted freshness could be had.
pub(crate) async fn run(options: Options, clients: &Clients, output: Output) -> Result<(), Failure> {
    let history = read(&options, clients).await?;
    match output {
        Output::Json => output::json(&history),
        Output::Table => output::text(&in_words(&history)),
    }
}

/// All pages, each of the same revision, up to the limit.
async fn read(options: &Options, clients: &Clients) -> Result<History, Failure> {
    let limit = usize::try_from(options.limit).unwrap_or(usize::MAX);
    let mut request = ListHistoryRequest {
        customer_id: options.customer.to_string(),
        game_id: options.game.as_ref().map(ToString::to_string).unwrap_or_default(),
        freshness: Some(options.read.freshness()),
        ..ListHistoryRequest::default()
    };
    let mut client = clients.arbiter()?;
    let mut ownerships: Vec<Owned> = Vec::new();
    loop {
        let page = client.list_history(request.clone()).await;
        let page = page.map_err(|status| hints::failed(&status, clients))?.into_inner();
        let ListHistoryResponse { ownerships: next, next_page_token, provenance } = page;
        ownerships.extend(next.into_iter().map(Owned::from));
        if next_page_token.is_empty() || ownerships.len() >= limit {
            let more = !next_page_token.is_empty() || ownerships.len() > limit;
            ownerships.truncate(limit);
            let shown = provenance.unwrap_or_default().into();
            return Ok(History { customer_id: request.customer_id, ownerships, more, shown });
        }
        request.page_token = next_page_token;
    }
}

fn in_words(history: &History) -> String {
    let mut lines = Vec::new();
    if !history.ownerships.is_empty() {
        lines.push(output::render(&table(&history.ownerships)));
    }
    if history.more {
        lines.push("there are more; to see them: --limit N\n".to_owned());
    }
    let count = output::count(history.ownerships.len(), "ownership");
    lines.push(format!("{count} of {} {}", history.customer_id, history.shown.in_words()));
    lines.concat()
}

fn table(ownerships: &[Owned]) -> comfy_table::Table {
    let mut columns = vec!["game", "since", "time", "why", "by", "order", "until", "time", "why", "by"];
    // Most end without an order, such as that of a refund.
    let end_order = |owned: &Owned| owned.ended.as_ref().map_or("", |ended| &ended.order_id).to_owned();
    let some_end_by_order = ownerships.iter().any(|owned| !end_order(owned).is_empty());
    if some_end_by_order {
        columns.push("order");
    }
    // Most end only when somebody ends them.
    let some_end = ownerships.iter().any(|owned| owned.end_time.is_some());
    if some_end {
        columns.push("end time");
    }
    let mut table = output::table(&columns);
    for owned in ownerships {
        let mut row = vec![owned.game_id.clone()];
        row.extend(cells(Some(&owned.began)));
        row.push(or_dash(&owned.began.order_id));
        row.extend(cells(owned.ended.as_ref()));
        if some_end_by_order {
            row.push(or_dash(&end_order(owned)));
        }
        if some_end {
            row.push(or_dash(owned.end_time.as_deref().unwrap_or_default()));
        }
        table.add_row(row);
    }
    table
}

/// Revision, time, why and by; dashes for an end that is not there.
fn cells(event: Option<&Event>) -> [String; 4] {
    let Some(event) = event else { return std::array::from_fn(|_| or_dash("")) };
    [event.revision.to_string(), or_dash(&event.commit_time), event.reason.to_owned(), or_dash(&event.actor)]
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gameshelf::proto::arbiter::v1::{Cause, Ownership, OwnershipEvent, Reason};
    use gameshelf::proto::freshness::v1::{Provenance, Source};

    fn event(revision: u64, reason: Reason, order_id: &str) -> OwnershipEvent {
        let seconds = 1_700_000_000 + i64::try_from(revision).unwrap();
        OwnershipEvent {
            revision,
            commit_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            cause: Some(Cause {
                reason: reason.into(),
                actor: "shop".to_owned(),
                order_id: order_id.to_owned(),
            }),
        }
    }

    fn history(ownership: Ownership, more: bool) -> History {
        let source = Source::Arbiter.into();
        let shown = Provenance { revision: 9, source, ..Provenance::default() }.into();
        History { customer_id: "42".to_owned(), ownerships: vec![ownership.into()], more, shown }
    }

    #[test]
    fn an_ownership_is_shown_from_its_beginning_to_its_end() {
        let ownership = Ownership {
            game_id: "tiny-forest".to_owned(),
            began: Some(event(7, Reason::Purchase, "o-1")),
            ended: Some(event(9, Reason::Refund, "o-2")),
            end_time: None,
        };
        assert_eq!(
            in_words(&history(ownership, false)),
            "GAME         SINCE  TIME                  WHY       BY    ORDER  UNTIL  TIME                  WHY     BY    ORDER\n\
             tiny-forest  7      2023-11-14T22:13:27Z  purchase  shop  o-1    9      2023-11-14T22:13:29Z  refund  shop  o-2\n\
             1 ownership of 42 at revision 9, from the arbiter\n"
        );
    }

    #[test]
    fn one_that_lasts_and_will_end_says_when() {
        let end_time = Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 });
        let ownership = Ownership {
            game_id: "trial".to_owned(),
            began: Some(event(7, Reason::Promotion, "")),
            end_time,
            ..Ownership::default()
        };
        let text = in_words(&history(ownership, true));
        assert!(text.contains("BY  END TIME\n"), "{text}");
        assert!(text.contains("-      -     -    -   2027-01-15T08:00:00Z\n"), "{text}");
        assert!(text.contains("there are more; to see them: --limit N\n"), "{text}");
    }
}
