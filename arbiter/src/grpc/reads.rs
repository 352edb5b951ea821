//! How reads are answered: from the cache where it knows the customer, otherwise from the store as of a revision.

use std::collections::HashMap;
use std::sync::Arc;

use gameshelf::fields::Fields;
use gameshelf::proto::arbiter::v1 as wire;
use tonic::Status;

use super::core::Core;
use super::errors;
use super::paging::{PageStart, Scope};
use super::requests::{Asked, Check, Explain, History, List};
use super::responses;
use crate::cache::CustomerGames;
use crate::domain::{CustomerId, Entitlement, GameId, Key, ReservationId, Revision};
use crate::store::{HistoryPlace, StoreError};

/// A customer with more games than this is read page by page and never kept in memory.
const CACHED_GAMES_MAX: u32 = 10_000;

/// Some of the games of a customer, in order.
enum Games {
    Cached(Arc<CustomerGames>),
    Read(Vec<Arc<Entitlement>>),
}

impl Games {
    fn read(games: Vec<Entitlement>) -> Self {
        Self::Read(games.into_iter().map(Arc::new).collect())
    }
}

impl Core {
    pub(super) async fn check(&self, check: Check) -> Result<wire::CheckOwnershipResponse, Status> {
        self.check_asked(check.asked)?;
        let (at, cached) = self.cache.customers(check.keys.iter().map(|(customer_id, _)| customer_id));
        let unknown = check.keys.iter().filter(|key| !cached.contains_key(&key.0));
        let unknown: Vec<Key> = unknown.cloned().collect();
        let mut since: HashMap<Key, Revision> = HashMap::new();
        if !unknown.is_empty() {
            let owned = self.store.check(at, &unknown).await.map_err(|error| errors::store(&error))?;
            since.extend(owned.into_iter().map(|one| (one.key(), one.valid_from)));
        }
        let answers = check.keys.iter().map(|key| {
            let since = match cached.get(&key.0) {
                Some(games) => games.get(&key.1).map(|one| one.valid_from),
                None => since.get(key).copied(),
            };
            wire::OwnershipAnswer { owned: since.is_some(), since_revision: since.unwrap_or_default() }
        });
        let answers = answers.collect();
        let provenance = Some(self.provenance(at, check.asked)?);
        Ok(wire::CheckOwnershipResponse { answers, provenance })
    }

    pub(super) async fn list(
        &self,
        list: List,
        page_token: &str,
    ) -> Result<wire::ListEntitlementsResponse, Status> {
        self.check_asked(list.asked)?;
        let scope = Scope::list(self.identity, &list.customer_id, list.as_of);
        let start = self.page_start(page_token, &scope)?;
        let (pinned, after) = match start {
            Some(start) => (Some(start.revision), Some(start.after)),
            None => (self.as_of(list.as_of)?, None),
        };
        let size = list.page_size as usize;
        let (at, games) = self
            .games(&list.customer_id, pinned, after.as_ref(), list.page_size)
            .await
            .map_err(|error| errors::store(&error))?;
        let rest = match &games {
            Games::Cached(games) => games.after(after.as_ref()),
            Games::Read(games) => games,
        };
        let page = &rest[..rest.len().min(size)];
        let (more, last) = (rest.len() > size, page.last().map(|one| one.game_id.clone()));
        let entitlements = page.iter().map(|one| responses::entitlement(one)).collect();
        let next = last.filter(|_| more).map(|after| PageStart { revision: at, after_revision: 0, after });
        let next_page_token = next.map(|next| next.encode(&scope)).unwrap_or_default();
        let provenance = Some(self.provenance(at, list.asked)?);
        Ok(wire::ListEntitlementsResponse { entitlements, next_page_token, provenance })
    }

    /// The games of a customer after one, at a revision or at the newest one, and that revision: all of them, or one more than
    /// the page has, which tells whether there is another page.
    async fn games(
        &self,
        customer_id: &CustomerId,
        pinned: Option<Revision>,
        after: Option<&GameId>,
        page_size: u32,
    ) -> Result<(Revision, Games), StoreError> {
        let (head, cached) = self.cache.customer(customer_id);
        let at = pinned.unwrap_or(head);
        if let Some(games) = cached.filter(|games| games.was_same_at(at)) {
            return Ok((at, Games::Cached(games)));
        }
        // A revision that was asked for must be shown, even if it is the newest one by now: a load begins at what is newest then.
        if pinned.is_some() || after.is_some() {
            let games = self.store.list(at, customer_id, after, page_size + 1).await?;
            return Ok((at, Games::read(games)));
        }
        let load = self.cache.begin_load(customer_id);
        let at = load.at;
        let games = self.store.list(at, customer_id, None, CACHED_GAMES_MAX + 1).await?;
        if games.len() > CACHED_GAMES_MAX as usize {
            return Ok((at, Games::read(games)));
        }
        Ok((at, Games::Cached(load.finish(games))))
    }

    /// The revision that was asked for by its number; none for the newest.
    fn as_of(&self, revision: Revision) -> Result<Option<Revision>, Status> {
        let head = self.cache.head();
        if revision > head {
            return Err(errors::revision_unknown(revision, head));
        }
        Ok(Some(revision).filter(|revision| *revision > 0))
    }

    /// Where the asked page begins; none for the first page.
    fn page_start(&self, page_token: &str, scope: &Scope) -> Result<Option<PageStart>, Status> {
        if page_token.is_empty() {
            return Ok(None);
        }
        let mut fields = Fields::new();
        let start = fields.take("page_token", PageStart::decode(page_token, scope));
        let head = self.cache.head();
        let start = start.filter(|start| start.revision <= head);
        if start.is_none() && fields.is_ok() {
            fields.wrong("page_token", "is from beyond what the store knows");
        }
        fields.finish(start).map(Some)
    }

    pub(super) async fn history(
        &self,
        history: History,
        page_token: &str,
    ) -> Result<wire::ListHistoryResponse, Status> {
        self.check_asked(history.asked)?;
        let scope = Scope::history(self.identity, &history.subject);
        let start = self.page_start(page_token, &scope)?;
        let at = start.as_ref().map_or_else(|| self.cache.head(), |start| start.revision);
        let after = start.map(|start| HistoryPlace { began: start.after_revision, game_id: start.after });
        let size = history.page_size as usize;
        let mut ownerships = self
            .store
            .history(at, &history.subject, after.as_ref(), history.page_size + 1)
            .await
            .map_err(|error| errors::store(&error))?;
        let more = ownerships.len() > size;
        ownerships.truncate(size);
        let next = ownerships.last().filter(|_| more).map(|last| PageStart {
            revision: at,
            after_revision: last.entitlement.valid_from,
            after: last.entitlement.game_id.clone(),
        });
        let next_page_token = next.map(|next| next.encode(&scope)).unwrap_or_default();
        let ownerships = ownerships.iter().map(|one| responses::ownership(one, at)).collect();
        let provenance = Some(self.provenance(at, history.asked)?);
        Ok(wire::ListHistoryResponse { ownerships, next_page_token, provenance })
    }

    pub(super) async fn explain(&self, explain: Explain) -> Result<wire::ExplainOwnershipResponse, Status> {
        self.check_asked(explain.asked)?;
        let at = self.as_of(explain.as_of)?.unwrap_or_else(|| self.cache.head());
        let ownership = self.store.explain(at, &explain.key).await.map_err(|error| errors::store(&error))?;
        let ownership = ownership.map(|one| responses::ownership(&one, at));
        let owned = ownership.as_ref().is_some_and(|one| one.ended.is_none());
        let provenance = Some(self.provenance(at, explain.asked)?);
        Ok(wire::ExplainOwnershipResponse { owned, ownership, provenance })
    }

    /// The digests of everything, of the newest revision.
    pub(super) async fn digests(&self) -> Result<wire::GetDigestsResponse, Status> {
        let sums = self.digests.sums();
        // They may be a moment ahead of what is acknowledged: then that is waited for. It fails only when the arbiter ends.
        let _ = self.hub.subscribe().wait_for(|head| *head >= sums.revision).await;
        let provenance = Some(self.provenance(sums.revision, Asked::Strong)?);
        Ok(wire::GetDigestsResponse {
            provenance,
            row_digests: sums.rows.to_bytes(),
            content_digests: sums.contents.to_bytes(),
            rows: sums.counts.to_vec(),
        })
    }

    pub(super) async fn reservation(
        &self,
        reservation_id: ReservationId,
        asked: Asked,
    ) -> Result<wire::GetReservationResponse, Status> {
        self.check_asked(asked)?;
        let head = self.cache.head();
        let found = self.store.reservations(&[reservation_id], &[]).await;
        let found = found.map_err(|error| errors::store(&error))?.into_iter().next();
        let reservation = found.ok_or_else(|| errors::reservation_unknown(reservation_id))?;
        // A reservation is kept as it is now, which may be newer than what is acknowledged: then that is waited for.
        let at = head.max(reservation.changed_at);
        let mut known = self.hub.subscribe();
        // It fails only when the arbiter ends, and the call with it.
        let _ = known.wait_for(|head| *head >= at).await;
        let provenance = Some(self.provenance(at, asked)?);
        Ok(wire::GetReservationResponse {
            reservation: Some(responses::reservation(&reservation)),
            provenance,
        })
    }

    pub(super) fn stock(&self, game_id: &GameId, asked: Asked) -> Result<wire::GetStockResponse, Status> {
        self.check_asked(asked)?;
        let (at, stock) = self.cache.stock(game_id);
        let stock = stock.ok_or_else(|| errors::stock_unknown(game_id))?;
        let provenance = Some(self.provenance(at, asked)?);
        Ok(wire::GetStockResponse { stock: Some(responses::stock(&stock)), provenance })
    }
}
