//! The list as it was at an older revision: the arbiter keeps what was, and game-list's copy only what is.

use gameshelf::proto::arbiter::v1::{Entitlement, ListEntitlementsRequest};
use gameshelf::proto::freshness::v1::Freshness;
use serde::Serialize;

use super::{Options, requirement};
use crate::clients::Clients;
use crate::commands::freshness::Shown;
use crate::commands::hints;
use crate::exit::Failure;
use crate::output::{self, Output};

#[derive(Serialize)]
struct Listed {
    customer_id: String,
    games: Vec<GameJson>,
    as_of_revision: u64,
    #[serde(flatten)]
    shown: Shown,
}

#[derive(Serialize)]
struct GameJson {
    game_id: String,
    since_revision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<String>,
}

/// Lists the games as of a revision and prints them.
///
/// # Errors
///
/// The refusal, or that no answer of the wanted freshness could be had.
pub(super) async fn run(
    options: &Options,
    revision: u64,
    clients: &Clients,
    output: Output,
) -> Result<(), Failure> {
    let listed = list(options, revision, clients).await?;
    match output {
        Output::Json => output::json(&listed),
        Output::Table => output::text(&in_words(&listed)),
    }
}

/// All pages; the arbiter shows the same revision on each.
async fn list(options: &Options, revision: u64, clients: &Clients) -> Result<Listed, Failure> {
    let mut request = ListEntitlementsRequest {
        customer_id: options.customer.to_string(),
        freshness: requirement(options).map(|requirement| Freshness { requirement: Some(requirement) }),
        as_of_revision: revision,
        ..ListEntitlementsRequest::default()
    };
    let mut client = clients.arbiter()?;
    let mut games = Vec::new();
    loop {
        let page = client.list_entitlements(request.clone()).await;
        let page = page.map_err(|status| hints::failed(&status, clients))?.into_inner();
        games.extend(page.entitlements.into_iter().map(GameJson::from));
        if page.next_page_token.is_empty() {
            let shown = page.provenance.unwrap_or_default().into();
            return Ok(Listed { customer_id: request.customer_id, games, as_of_revision: revision, shown });
        }
        request.page_token = page.next_page_token;
    }
}

impl From<Entitlement> for GameJson {
    fn from(entitlement: Entitlement) -> Self {
        Self {
            game_id: entitlement.game_id,
            since_revision: entitlement.since_revision,
            end_time: entitlement.end_time.as_ref().map(ToString::to_string),
        }
    }
}

fn in_words(listed: &Listed) -> String {
    let mut lines = Vec::new();
    if !listed.games.is_empty() {
        // Most are owned for good.
        let some_end = listed.games.iter().any(|game| game.end_time.is_some());
        let columns = ["game", "since revision", "end time"];
        let shown = if some_end { columns.len() } else { columns.len() - 1 };
        let mut table = output::table(&columns[..shown]);
        for game in &listed.games {
            let end_time = game.end_time.as_deref().unwrap_or("-");
            let since = game.since_revision.to_string();
            table.add_row([game.game_id.as_str(), &since, end_time].into_iter().take(shown));
        }
        lines.push(output::render(&table));
    }
    let count = output::count(listed.games.len(), "game");
    lines.push(format!("{count} of {} {}", listed.customer_id, listed.shown.as_of_in_words()));
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gameshelf::proto::freshness::v1::{Provenance, Source};

    fn told(end_time: Option<&str>) -> String {
        let end_time = end_time.map(str::to_owned);
        let source = Source::Arbiter.into();
        in_words(&Listed {
            customer_id: "42".to_owned(),
            games: vec![GameJson { game_id: "tiny-forest".to_owned(), since_revision: 3, end_time }],
            as_of_revision: 5,
            shown: Provenance { revision: 5, source, ..Provenance::default() }.into(),
        })
    }

    #[test]
    fn an_end_is_shown_only_where_there_is_one() {
        assert_eq!(
            told(None),
            "GAME         SINCE REVISION\n\
             tiny-forest  3\n\
             1 game of 42 as of revision 5, from the arbiter\n"
        );
        let text = told(Some("2027-01-15T08:00:00Z"));
        assert!(text.contains("SINCE REVISION  END TIME\n"), "{text}");
        assert!(text.contains("3               2027-01-15T08:00:00Z\n"), "{text}");
    }
}
