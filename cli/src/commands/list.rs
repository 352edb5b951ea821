//! `gameshelf list`: shows a customer's games.

mod as_of;
mod follow;

use std::time::Duration;

use clap::{Args, ValueEnum};
use gameshelf::ids::CustomerId;
use gameshelf::proto::freshness::v1::freshness::Requirement;
use gameshelf::proto::freshness::v1::{Any, Freshness, Strong};
use gameshelf::proto::gamelist::v1::game_list_service_client::GameListServiceClient;
use gameshelf::proto::gamelist::v1::{ListGamesRequest, ListGamesResponse, OwnedGame};
use mesh::outbound::Calls;
use serde::Serialize;
use tonic::{Code, Status};

use crate::clients::{ClientOptions, Clients};
use crate::commands::freshness::{Bounds, Shown};
use crate::commands::hints;
use crate::exit::{Failure, Kind};
use crate::output::{self, Output};
use crate::ports;

/// How long the default freshness waits for a strong answer before it takes one from the copy.
const STRONG_WAIT: Duration = Duration::from_secs(1);
/// How often a list is begun again because it changed between two pages.
const RESTARTS_MAX: u32 = 5;

/// Shows a customer's games
///
/// Says at which revision and how old the answer is, where it came from, and whether it is degraded: weaker than it
/// would be with everything up.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The customer: 1 to 64 bytes
    customer: CustomerId,
    /// How fresh the answer must be
    #[arg(long, value_enum, default_value_t = Wanted::Default)]
    freshness: Wanted,
    #[command(flatten)]
    bounds: Bounds,
    /// As the list was at this revision. The arbiter is asked, which knows no titles
    #[arg(long, value_name = "REVISION", value_parser = clap::value_parser!(u64).range(1..))]
    as_of: Option<u64>,
    /// Go on with every change as it comes, until ctrl-C. The copy answers, from the freshness that is asked for on
    #[arg(long, conflicts_with = "as_of")]
    follow: bool,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// How fresh an answer must be, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wanted {
    /// Strong, and from the copy when a strong answer cannot be had within a second
    Default,
    /// Sees every write that was acknowledged before
    Strong,
    /// Whatever answers first
    Any,
}

#[derive(Serialize)]
struct Listed {
    customer_id: String,
    games: Vec<GameJson>,
    #[serde(flatten)]
    shown: Shown,
    catalog_hash: String,
}

#[derive(Serialize)]
struct GameJson {
    game_id: String,
    title: String,
    since_revision: u64,
}

/// Lists the games and prints them.
///
/// # Errors
///
/// The refusal, or that no answer of the wanted freshness could be had.
pub(crate) async fn run(options: Options, clients: &Clients, output: Output) -> Result<(), Failure> {
    if let Some(revision) = options.as_of {
        return as_of::run(&options, revision, clients, output).await;
    }
    if options.follow {
        return follow::run(&options, clients, output).await;
    }
    let client = clients.game_list()?;
    let customer_id = options.customer.to_string();
    let strong = Requirement::Strong(Strong {});
    let listed = match requirement(&options) {
        Some(requirement) => list(&client, &customer_id, &requirement).await?,
        None => match tokio::time::timeout(STRONG_WAIT, list(&client, &customer_id, &strong)).await {
            Ok(Err(failure)) if failure.kind() != Kind::Unavailable => return Err(failure),
            Ok(Ok(listed)) => listed,
            Ok(Err(_)) | Err(_) => {
                // A person gets an answer with the arbiter down too, and is told that it is weaker.
                let mut listed = list(&client, &customer_id, &Requirement::Any(Any {})).await?;
                listed.shown.degraded = true;
                listed
            }
        },
    };
    match output {
        Output::Json => output::json(&listed),
        Output::Table => output::text(&in_words(&listed)),
    }
}

fn requirement(options: &Options) -> Option<Requirement> {
    options.bounds.requirement().or(match options.freshness {
        Wanted::Default => None,
        Wanted::Strong => Some(Requirement::Strong(Strong {})),
        Wanted::Any => Some(Requirement::Any(Any {})),
    })
}

/// All pages of a list, each of the same revision.
async fn list(
    client: &GameListServiceClient<Calls>,
    customer_id: &str,
    requirement: &Requirement,
) -> Result<Listed, Failure> {
    for _ in 0..=RESTARTS_MAX {
        if let Some(listed) = list_once(client, customer_id, requirement).await? {
            return Ok(listed);
        }
    }
    let message = format!("the list changed while it was read, {} times", RESTARTS_MAX + 1);
    Err(Failure::new(Kind::Unavailable, "LIST_CHANGES", message).hint("try again"))
}

/// All pages, or nothing when the list changed between two of them.
async fn list_once(
    client: &GameListServiceClient<Calls>,
    customer_id: &str,
    requirement: &Requirement,
) -> Result<Option<Listed>, Failure> {
    let mut games = Vec::new();
    let mut first: Option<ListGamesResponse> = None;
    let mut page_token = String::new();
    loop {
        let mut page = match page(client, customer_id, requirement, page_token).await {
            // The pages after the first are of a revision that the copy has left.
            Err(status) if first.is_some() && is_moved_on(&status) => return Ok(None),
            answer => answer
                .map_err(|status| hints::add(Failure::from_status(ports::GAME_LIST.name, &status), ""))?,
        };
        games.append(&mut page.games);
        page_token = std::mem::take(&mut page.next_page_token);
        let begun = first.get_or_insert_with(|| page.clone());
        if revision(begun) != revision(&page) {
            return Ok(None);
        }
        if page_token.is_empty() {
            return Ok(Some(listed(customer_id, games, begun.clone())));
        }
    }
}

async fn page(
    client: &GameListServiceClient<Calls>,
    customer_id: &str,
    requirement: &Requirement,
    page_token: String,
) -> Result<ListGamesResponse, Status> {
    let request = ListGamesRequest {
        customer_id: customer_id.to_owned(),
        page_size: 0,
        page_token,
        freshness: Some(Freshness { requirement: Some(requirement.clone()) }),
    };
    Ok(client.clone().list_games(request).await?.into_inner())
}

fn is_moved_on(status: &Status) -> bool {
    matches!(status.code(), Code::Aborted | Code::OutOfRange)
}

fn revision(page: &ListGamesResponse) -> u64 {
    page.provenance.as_ref().map_or(0, |provenance| provenance.revision)
}

fn listed(customer_id: &str, games: Vec<OwnedGame>, first: ListGamesResponse) -> Listed {
    let games = games.into_iter().map(|game| GameJson {
        game_id: game.game_id,
        title: game.title,
        since_revision: game.since_revision,
    });
    Listed {
        customer_id: customer_id.to_owned(),
        games: games.collect(),
        shown: first.provenance.unwrap_or_default().into(),
        catalog_hash: first.catalog_hash,
    }
}

fn in_words(listed: &Listed) -> String {
    let mut lines = Vec::new();
    if !listed.games.is_empty() {
        let mut table = output::table(&["game", "title", "since revision"]);
        for game in &listed.games {
            table.add_row([game.game_id.clone(), game.title.clone(), game.since_revision.to_string()]);
        }
        lines.push(output::render(&table));
    }
    let count = output::count(listed.games.len(), "game");
    lines.push(format!("{count} of {} {}", listed.customer_id, listed.shown.in_words()));
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gameshelf::proto::freshness::v1::{Provenance, Source};

    fn answer(degraded: bool, age: Option<prost_types::Duration>) -> ListGamesResponse {
        ListGamesResponse {
            provenance: Some(Provenance {
                revision: 9,
                age,
                source: Source::LocalCopy.into(),
                degraded,
                ..Provenance::default()
            }),
            ..ListGamesResponse::default()
        }
    }

    fn tiny_forest() -> OwnedGame {
        OwnedGame { game_id: "tiny-forest".to_owned(), title: "Tiny Forest".to_owned(), since_revision: 7 }
    }

    #[test]
    fn a_list_says_how_fresh_it_is() {
        let age = prost_types::Duration { seconds: 0, nanos: 11_000_001 };
        let text = in_words(&listed("42", vec![tiny_forest()], answer(true, Some(age))));
        assert_eq!(
            text,
            "GAME         TITLE        SINCE REVISION\n\
             tiny-forest  Tiny Forest  7\n\
             1 game of 42 at revision 9, from game-list's copy, at most 12 ms old\n\
             degraded: the arbiter cannot be reached, so later changes may be missing\n"
        );
    }

    #[test]
    fn an_age_that_is_not_known_is_not_made_up() {
        let listed = listed("42", Vec::new(), answer(false, None));
        assert_eq!(listed.shown.age_ms, None);
        assert_eq!(in_words(&listed), "0 games of 42 at revision 9, from game-list's copy, of unknown age\n");
    }
}
