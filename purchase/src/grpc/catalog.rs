//! The catalogue on the wire, in pages that are limited by count and by bytes.

use gameshelf::catalog::{Catalog, Game, Offer};
use gameshelf::proto::purchase::v1 as wire;
use gameshelf::proto::purchase::v1::get_catalog_response::Content;
use prost::Message;
use prost::encoding::encoded_len_varint;
use tonic::Status;

use super::errors;
use super::page_token::PageStart;

/// What a page has besides its games: two hashes, the token of the next page, and what frames them.
const FRAME_MAX_BYTES: usize = 384;

/// How much a page may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageLimits {
    /// Games where the caller does not say.
    pub(crate) games_default: usize,
    /// Games at most.
    pub(crate) games_max: usize,
    /// Bytes of the whole message.
    pub(crate) message_bytes: usize,
}

/// What is asked of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CatalogQuery {
    /// The catalogue that the caller has; empty for none.
    pub(super) known_hash: String,
    pub(super) page_size: usize,
    /// Where the page begins; none for the first.
    pub(super) start: Option<PageStart>,
}

/// A page, or that the caller has it all. A page of another catalogue than the current one is refused.
pub(super) fn answer(
    catalog: &Catalog,
    query: &CatalogQuery,
    limits: &PageLimits,
) -> Result<wire::GetCatalogResponse, Status> {
    let content = if query.known_hash == catalog.hash() {
        Content::Unchanged(wire::CatalogUnchanged {})
    } else if query.start.as_ref().is_some_and(|start| start.catalog_hash != catalog.hash()) {
        return Err(errors::catalog_changed(catalog.hash()));
    } else {
        Content::Page(page(catalog, query, limits))
    };
    Ok(wire::GetCatalogResponse { catalog_hash: catalog.hash().to_owned(), content: Some(content) })
}

fn page(catalog: &Catalog, query: &CatalogQuery, limits: &PageLimits) -> wire::CatalogPage {
    let room = limits.message_bytes.saturating_sub(FRAME_MAX_BYTES);
    let mut left = catalog.after(query.start.as_ref().map(|start| &start.after)).peekable();
    let (mut games, mut bytes, mut last) = (Vec::new(), 0, None);
    while let Some(next) = left.peek().filter(|_| games.len() < query.page_size) {
        let game = game(next);
        bytes += framed_len(&game);
        // A page without a game would never come to the end.
        if bytes > room && !games.is_empty() {
            break;
        }
        games.push(game);
        last = left.next();
    }
    let next = last.filter(|_| left.peek().is_some()).map(|last| {
        PageStart { catalog_hash: catalog.hash().to_owned(), after: last.game_id.clone() }.encode()
    });
    wire::CatalogPage { games, next_page_token: next.unwrap_or_default() }
}

/// The bytes of a game within its page: with its tag and its length.
fn framed_len(game: &wire::CatalogGame) -> usize {
    let bytes = game.encoded_len();
    1 + encoded_len_varint(bytes as u64) + bytes
}

fn game(game: &Game) -> wire::CatalogGame {
    let offer = match &game.offer {
        Offer::Listed(price) => wire::catalog_game::Offer::Listed(wire::Price {
            currency: price.currency.clone(),
            minor_units: price.minor_units,
        }),
        Offer::Delisted => wire::catalog_game::Offer::Delisted(wire::Delisted {}),
    };
    wire::CatalogGame {
        game_id: game.game_id.to_string(),
        title: game.title.clone(),
        offer: Some(offer),
        release_year: game.release_year.map(u32::from),
        required_age: game.required_age.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gameshelf::errors::{Reason, metadata_of, reason_of};
    use proptest::prelude::*;

    fn catalog(titles: &[String]) -> Catalog {
        let games = titles.iter().enumerate().map(|(number, title)| {
            let offer = Offer::listed(Some(i64::MAX), "USD").unwrap();
            Game::new(&format!("{}{number}", "g".repeat(120)), title, offer, Some(u16::MAX), 255).unwrap()
        });
        Catalog::from_games(&"a".repeat(64), games).unwrap()
    }

    fn query(page_size: usize, start: Option<PageStart>) -> CatalogQuery {
        CatalogQuery { known_hash: String::new(), page_size, start }
    }

    proptest! {
        #[test]
        fn pages_have_every_game_once_and_none_is_over_a_limit(
            titles in prop::collection::vec("[a-z]{1,512}", 1..60),
            page_size in 1_usize..20,
            message_bytes in 1024_usize..8000,
        ) {
            let catalog = catalog(&titles);
            let limits = PageLimits { games_default: 1, games_max: 20, message_bytes };
            let (mut seen, mut start) = (vec![], None);
            loop {
                let answer = answer(&catalog, &query(page_size, start), &limits).unwrap();
                prop_assert!(answer.encoded_len() <= message_bytes, "{} bytes", answer.encoded_len());
                let Some(Content::Page(page)) = answer.content else { panic!("no page") };
                prop_assert!((1..=page_size).contains(&page.games.len()));
                seen.extend(page.games.into_iter().map(|game| game.game_id));
                if page.next_page_token.is_empty() {
                    break;
                }
                start = Some(PageStart::decode(&page.next_page_token).unwrap());
            }
            let all: Vec<_> = catalog.after(None).map(|game| game.game_id.to_string()).collect();
            prop_assert_eq!(seen, all);
        }
    }

    #[test]
    fn a_page_of_another_catalogue_is_refused_unless_the_caller_has_the_current_one() {
        let catalog = catalog(&["One".to_owned()]);
        let limits = PageLimits { games_default: 1, games_max: 1, message_bytes: 4096 };
        let start = PageStart { catalog_hash: "b".repeat(64), after: "a".parse().unwrap() };
        let asked = query(1, Some(start));
        let status = answer(&catalog, &asked, &limits).unwrap_err();
        assert_eq!(reason_of(&status), Some(Reason::CatalogChanged));
        assert_eq!(metadata_of(&status, "catalog_hash").as_deref(), Some(catalog.hash()));
        let known = CatalogQuery { known_hash: catalog.hash().to_owned(), ..asked };
        let answer = answer(&catalog, &known, &limits).unwrap();
        assert_eq!(answer.content, Some(Content::Unchanged(wire::CatalogUnchanged {})));
    }
}
