//! Asks purchase for the catalogue.

use gameshelf::catalog::{Catalog, FILE_MAX_BYTES, Game, Offer};
use gameshelf::errors::{Reason, reason_of};
use gameshelf::proto::purchase::v1::catalog_game::Offer as WireOffer;
use gameshelf::proto::purchase::v1::get_catalog_response::Content;
use gameshelf::proto::purchase::v1::purchase_service_client::PurchaseServiceClient;
use gameshelf::proto::purchase::v1::{CatalogGame, CatalogPage, GetCatalogRequest};
use mesh::outbound::Calls;
use tonic::{Code, Status};

/// How often the first page is asked for at once, where the catalogue changes while its pages are read.
const BEGINNINGS_MAX: u32 = 3;

/// What purchase says of its catalogue.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It is the one that is known.
    Unchanged,
    /// It is another one, which is here whole.
    Changed(Catalog),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// Purchase cannot be reached, or refuses.
    #[error("purchase did not answer: {code:?}: {message}")]
    Refused { code: Code, message: String },
    /// It changed again and again while its pages were read.
    #[error("the catalogue of purchase changed {BEGINNINGS_MAX} times while its pages were read")]
    Changing,
    /// It is not what a catalogue's file could hold.
    #[error("the catalogue of purchase is wrong: {0}")]
    Wrong(String),
}

/// A client of purchase's catalogue. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Purchase {
    client: PurchaseServiceClient<Calls>,
}

impl Purchase {
    pub(crate) fn new(client: PurchaseServiceClient<Calls>) -> Self {
        Self { client }
    }

    /// The catalogue, unless it is the one with this hash; an empty hash stands for none.
    pub(crate) async fn catalog(&self, known_hash: &str) -> Result<Answer, FetchError> {
        for _ in 0..BEGINNINGS_MAX {
            if let Some(answer) = self.pages(known_hash).await? {
                return Ok(answer);
            }
        }
        Err(FetchError::Changing)
    }

    /// All pages of one catalogue; none where it changed between two of them.
    async fn pages(&self, known_hash: &str) -> Result<Option<Answer>, FetchError> {
        let mut gathered = Gathered::default();
        let mut page_token = String::new();
        loop {
            let request = GetCatalogRequest { known_hash: known_hash.to_owned(), page_size: 0, page_token };
            let answer = match self.client.clone().get_catalog(request).await {
                Ok(answer) => answer.into_inner(),
                Err(status) if reason_of(&status) == Some(Reason::CatalogChanged) => return Ok(None),
                Err(status) => return Err(refused(&status)),
            };
            let page = match answer.content {
                Some(Content::Unchanged(_)) if answer.catalog_hash == known_hash => {
                    return Ok(Some(Answer::Unchanged));
                }
                Some(Content::Page(page)) => page,
                _ => return Err(FetchError::Wrong("an answer without games".to_owned())),
            };
            if !gathered.is_of(&answer.catalog_hash) {
                // Another instance answered, which has another catalogue.
                return Ok(None);
            }
            page_token = gathered.add(page).map_err(FetchError::Wrong)?;
            if page_token.is_empty() {
                return gathered.finish().map(Some).map_err(FetchError::Wrong);
            }
        }
    }
}

/// The pages so far.
#[derive(Default)]
struct Gathered {
    hash: String,
    games: Vec<Game>,
    bytes: usize,
}

impl Gathered {
    /// Whether a page belongs to the pages before.
    fn is_of(&mut self, hash: &str) -> bool {
        if self.games.is_empty() {
            hash.clone_into(&mut self.hash);
        }
        self.hash == hash
    }

    /// Adds a page, and returns what to ask the next one with.
    fn add(&mut self, page: CatalogPage) -> Result<String, String> {
        if page.games.is_empty() {
            return Err("a page without games".to_owned());
        }
        for wire in page.games {
            let game_id = wire.game_id.clone();
            // A line of a file has at least these.
            self.bytes += wire.game_id.len() + wire.title.len();
            if self.bytes > FILE_MAX_BYTES {
                return Err(format!("it has over {FILE_MAX_BYTES} bytes"));
            }
            self.games.push(game(wire).map_err(|why| format!("game {game_id:?}: {why}"))?);
        }
        Ok(page.next_page_token)
    }

    fn finish(self) -> Result<Answer, String> {
        Catalog::from_games(&self.hash, self.games).map(Answer::Changed)
    }
}

fn game(wire: CatalogGame) -> Result<Game, String> {
    let offer = match wire.offer {
        Some(WireOffer::Listed(price)) => Offer::listed(Some(price.minor_units), &price.currency)?,
        Some(WireOffer::Delisted(_)) => Offer::Delisted,
        None => return Err("it is neither listed nor delisted".to_owned()),
    };
    let year = wire.release_year.map(u16::try_from).transpose();
    let year = year.map_err(|_| "release_year must be a year")?;
    let age = u8::try_from(wire.required_age);
    let age = age.map_err(|_| "required_age must be a number from 0 to 255")?;
    Game::new(&wire.game_id, &wire.title, offer, year, age)
}

fn refused(status: &Status) -> FetchError {
    FetchError::Refused { code: status.code(), message: status.message().to_owned() }
}
