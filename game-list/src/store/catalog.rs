//! The catalogue that purchase gave, on disk.

use gameshelf::catalog::{Catalog, Game, Offer};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::write::{STATEMENT_MAX_ROWS, json};
use super::{Store, StoreError};

/// A catalogue, and when purchase said that it is the current one.
#[derive(Clone, Debug)]
pub(crate) struct KeptCatalog {
    pub(crate) catalog: Catalog,
    pub(crate) confirmed_unix_ms: u64,
}

impl Store {
    /// The catalogue that was kept; none where none was.
    pub(crate) async fn catalog(&self) -> Result<Option<KeptCatalog>, StoreError> {
        let kept = sqlx::query("SELECT hash, confirmed_unix_ms FROM catalog")
            .fetch_optional(&self.database.readers)
            .await?;
        let Some(kept) = kept else { return Ok(None) };
        let games = sqlx::query(
            "SELECT game_id, title, price_minor_units, currency, release_year, required_age FROM catalog_game",
        )
        .fetch_all(&self.database.readers)
        .await?;
        let games: Vec<Game> = games.iter().map(game_of).collect::<Result<_, _>>()?;
        let catalog = Catalog::from_games(kept.try_get("hash")?, games).map_err(|_| StoreError::Corrupt)?;
        let confirmed_unix_ms = kept.try_get::<i64, _>("confirmed_unix_ms")?.cast_unsigned();
        Ok(Some(KeptCatalog { catalog, confirmed_unix_ms }))
    }

    /// Puts a catalogue in the place of the one that was kept, in one transaction.
    pub(crate) async fn keep_catalog(
        &self,
        catalog: &Catalog,
        confirmed_unix_ms: u64,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query("DELETE FROM catalog_game").execute(&mut *transaction).await?;
        let mut games = catalog.after(None).peekable();
        while games.peek().is_some() {
            let rows = games.by_ref().take(STATEMENT_MAX_ROWS).map(|game| {
                let price = match &game.offer {
                    Offer::Listed(price) => Some((price.minor_units, price.currency.as_str())),
                    Offer::Delisted => None,
                };
                let (minor_units, currency) = price.unzip();
                let (year, age) = (game.release_year, game.required_age);
                (game.game_id.as_str(), game.title.as_str(), minor_units, currency, year, age)
            });
            sqlx::query(
                "INSERT INTO catalog_game (game_id, title, price_minor_units, currency, release_year, required_age)
                 SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
                 FROM json_each($1)",
            )
            .bind(json(rows)?)
            .execute(&mut *transaction)
            .await?;
        }
        sqlx::query("INSERT OR REPLACE INTO catalog (one, hash, confirmed_unix_ms) VALUES (1, $1, $2)")
            .bind(catalog.hash())
            .bind(confirmed_unix_ms.cast_signed())
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Notes that the catalogue that is kept is still the current one.
    pub(crate) async fn confirm_catalog(&self, at_unix_ms: u64) -> Result<(), StoreError> {
        sqlx::query("UPDATE catalog SET confirmed_unix_ms = $1")
            .bind(at_unix_ms.cast_signed())
            .execute(&self.database.writer)
            .await?;
        Ok(())
    }
}

/// A row is held to what a file is held to: what this program never writes is not shown either.
fn game_of(row: &SqliteRow) -> Result<Game, StoreError> {
    let offer = match row.try_get::<Option<i64>, _>("price_minor_units")? {
        Some(minor_units) => {
            let currency = row.try_get::<Option<&str>, _>("currency")?.ok_or(StoreError::Corrupt)?;
            Offer::listed(Some(minor_units), currency).map_err(|_| StoreError::Corrupt)?
        }
        None => Offer::Delisted,
    };
    let (game_id, title) = (row.try_get("game_id")?, row.try_get("title")?);
    let year = row.try_get::<Option<i64>, _>("release_year")?.map(u16::try_from).transpose();
    let age = u8::try_from(row.try_get::<i64, _>("required_age")?);
    let (Ok(year), Ok(age)) = (year, age) else { return Err(StoreError::Corrupt) };
    Game::new(game_id, title, offer, year, age).map_err(|_| StoreError::Corrupt)
}
