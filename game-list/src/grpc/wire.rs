//! Requests into queries, with every wrong field named; answers into messages.

use gameshelf::catalog::Catalog;
use gameshelf::fields::{self, Fields};
use gameshelf::ids::CustomerId;
use gameshelf::proto::freshness::v1::freshness::Requirement as WireRequirement;
use gameshelf::proto::freshness::v1::{Freshness, Provenance, Source as WireSource};
use gameshelf::proto::gamelist::v1::watch_games_response::Event as WireEvent;
use gameshelf::proto::gamelist::v1::{
    GameChanges, ListGamesRequest, ListGamesResponse, OwnedGame, OwnedGames, Unchanged, WatchGamesRequest,
    WatchGamesResponse,
};
use gameshelf::tokens::Token;
use mesh::causal;
use tonic::Status;

use super::page_token;
use crate::freshness::{Requirement, Seen};
use crate::list::{Answer, Query, Source};
use crate::model;
use crate::watch::{Event, Message};

/// How many games a page may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageSizes {
    pub(crate) default: u32,
    pub(crate) max: u32,
}

pub(super) fn query(request: &ListGamesRequest, sizes: PageSizes) -> Result<Query, Status> {
    let mut fields = Fields::new();
    let customer_id = fields.take("customer_id", request.customer_id.parse::<CustomerId>());
    let page_size = fields.take("page_size", fields::page_size(request.page_size, sizes.default, sizes.max));
    let requirement = requirement(&mut fields, request.freshness.as_ref());
    if customer_id.is_none() {
        // Whose list it goes on with is not known, but its form can be judged.
        fields.take("page_token", page_token::check_form(&request.page_token));
    }
    let query = customer_id.and_then(|customer_id| {
        let cursor = fields.take("page_token", page_token::decode(&customer_id, &request.page_token))?;
        let (page_size, requirement) = (page_size?, requirement?);
        Some(Query { customer_id, page_size, cursor, requirement, seen: seen() })
    });
    fields.finish(query)
}

/// What the caller has seen, as the request carries it.
pub(super) fn seen() -> Seen {
    let tokens = causal::tokens().into_iter();
    Seen(tokens.filter_map(|token| Token::in_scope(token.scope.as_bytes(), token.position)).collect())
}

/// Notes that the caller has seen a store at a revision by now.
pub(super) fn shown(token: Token) {
    causal::record(&token.scope().into(), token.revision);
}

pub(super) fn watch(request: &WatchGamesRequest) -> Result<(CustomerId, Requirement), Status> {
    let mut fields = Fields::new();
    let customer_id = fields.take("customer_id", request.customer_id.parse::<CustomerId>());
    let requirement = requirement(&mut fields, request.freshness.as_ref());
    fields.finish(customer_id.zip(requirement))
}

pub(super) fn message(message: Message, catalog: &Catalog) -> WatchGamesResponse {
    let titled = |games: Vec<model::OwnedGame>| games.into_iter().map(|game| titled(game, catalog)).collect();
    let event = match message.event {
        Event::Games { games, complete } => WireEvent::Games(OwnedGames { games: titled(games), complete }),
        Event::Changes { granted, revoked } => {
            WireEvent::Changes(GameChanges { granted: titled(granted), revoked_game_ids: revoked })
        }
        Event::Unchanged => WireEvent::Unchanged(Unchanged {}),
    };
    let provenance = Provenance {
        revision: message.token.revision,
        token: message.token.to_string(),
        age: message.age.and_then(|age| age.try_into().ok()),
        source: WireSource::LocalCopy.into(),
        degraded: message.degraded,
    };
    WatchGamesResponse { event: Some(event), provenance: Some(provenance) }
}

fn requirement(fields: &mut Fields, freshness: Option<&Freshness>) -> Option<Requirement> {
    match freshness.and_then(|freshness| freshness.requirement.as_ref()) {
        None | Some(WireRequirement::Any(_)) => Some(Requirement::Any),
        Some(WireRequirement::Strong(_)) => Some(Requirement::Strong),
        Some(WireRequirement::AtLeastAsFreshAs(token)) => {
            fields.take("freshness.at_least_as_fresh_as", token.parse()).map(Requirement::AtLeast)
        }
        Some(WireRequirement::AtMostOld(limit)) => {
            fields.take("freshness.at_most_old", fields::duration(*limit)).map(Requirement::AtMostOld)
        }
    }
}

pub(super) fn response(customer_id: &CustomerId, answer: Answer, catalog: &Catalog) -> ListGamesResponse {
    let source = match answer.source {
        Source::Arbiter => WireSource::Arbiter,
        Source::Follower => WireSource::Follower,
        Source::LocalCopy => WireSource::LocalCopy,
    };
    let next = answer.next.map(|cursor| page_token::encode(customer_id, &cursor));
    ListGamesResponse {
        games: answer.games.into_iter().map(|game| titled(game, catalog)).collect(),
        next_page_token: next.unwrap_or_default(),
        provenance: Some(Provenance {
            revision: answer.token.revision,
            token: answer.token.to_string(),
            // An age of more than 292 billion years does not fit; it is told as not known.
            age: answer.age.and_then(|age| age.try_into().ok()),
            source: source.into(),
            degraded: answer.degraded,
        }),
        catalog_hash: catalog.hash().to_owned(),
    }
}

fn titled(game: model::OwnedGame, catalog: &Catalog) -> OwnedGame {
    let listed = game.game_id.parse().ok().and_then(|game_id| catalog.get(&game_id));
    let title = listed.map_or_else(|| game.game_id.clone(), |listed| listed.title.clone());
    OwnedGame { game_id: game.game_id, title, since_revision: game.since_revision }
}
