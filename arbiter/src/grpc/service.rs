//! The service: each method parses, asks the sequencer, the store or Watch, and converts the answer.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use futures_util::stream;
use gameshelf::fields::Fields;
use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::proto::arbiter::v1::arbiter_service_server::ArbiterService;
use gameshelf::tokens::Token;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};
use tracing::info_span;

use super::errors::{self, Refused, TokenProblem};
use super::paging::PageStart;
use super::requests::{self, Asked, RequestLimits, WatchStart, Write};
use super::responses;
use crate::domain::{Command, Key, Revision, Verdict};
use crate::sequencer::{Answer, SequencerHandle, Submission};
use crate::store::SharedStore;
use crate::watch::{Hub, Start, Watches};

/// What serves requests once the store is open.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) sequencer: SequencerHandle,
    pub(crate) store: SharedStore,
    pub(crate) hub: Arc<Hub>,
    pub(crate) watches: Watches,
    /// Names the store; its revision is of no meaning.
    pub(crate) identity: Token,
}

/// Empty until the store is open.
pub(crate) type CoreSlot = Arc<OnceLock<Core>>;

/// The service on the wire.
#[derive(Clone, Debug)]
pub(crate) struct ArbiterGrpc {
    core: CoreSlot,
    limits: RequestLimits,
}

impl Core {
    fn token(&self, revision: Revision) -> Token {
        self.identity.at(revision)
    }

    /// The newest acknowledged revision, or why a token from elsewhere cannot be compared with it.
    fn present(&self, asked: Asked) -> Result<Revision, Status> {
        let head = self.hub.head();
        if let Asked::AtLeast(token) = asked {
            self.check_token(token, head)?;
        }
        Ok(head)
    }

    fn check_token(&self, token: Token, head: Revision) -> Result<(), Status> {
        if token.store_id != self.identity.store_id {
            return Err(errors::token_problem(TokenProblem::Foreign));
        }
        if token.incarnation != self.identity.incarnation || token.revision > head {
            let problem = TokenProblem::Unknown { revision: token.revision, head };
            return Err(errors::token_problem(problem));
        }
        Ok(())
    }

    /// Puts a write into the one order and waits for its outcome. A refusal is an error.
    async fn write(&self, write: Write) -> Result<Written, Status> {
        // From queue to commit. It is a child of the call's span, so it belongs to the caller's trace.
        let span =
            info_span!("arbiter.request", request.id = %write.request_id, batch.size = tracing::field::Empty);
        let command = write.command.clone();
        let submission = Submission { request_id: write.request_id, command: write.command, span };
        let Answer { outcome, replayed } =
            self.sequencer.submit(submission).await.map_err(|error| errors::submit(&error))?;
        let token = self.token(outcome.revision).to_string();
        match outcome.verdict {
            Verdict::Accepted { changed } => {
                Ok(Written { command, changed, revision: outcome.revision, token, replayed })
            }
            Verdict::Refused { items } => Err(errors::refused(&Refused {
                command: &command,
                items: &items,
                revision: outcome.revision,
                token,
                replayed,
            })),
        }
    }
}

/// A write that was accepted.
struct Written {
    command: Command,
    changed: Vec<bool>,
    revision: Revision,
    token: String,
    replayed: bool,
}

impl ArbiterGrpc {
    pub(crate) fn new(core: CoreSlot, limits: RequestLimits) -> Self {
        Self { core, limits }
    }

    fn core(&self) -> Result<&Core, Status> {
        self.core.get().ok_or_else(errors::not_open)
    }
}

#[tonic::async_trait]
impl ArbiterService for ArbiterGrpc {
    async fn grant(
        &self,
        request: Request<wire::GrantRequest>,
    ) -> Result<Response<wire::GrantResponse>, Status> {
        let write = requests::grant(request.get_ref(), &self.limits)?;
        let written = self.core()?.write(write).await?;
        let results = match &written.command {
            Command::Grant(grant) => responses::grant_results(&grant.game_ids, &written.changed),
            Command::Revoke(_) => Vec::new(),
        };
        let Written { revision, token, replayed, .. } = written;
        Ok(Response::new(wire::GrantResponse { revision, token, replayed, results }))
    }

    async fn revoke(
        &self,
        request: Request<wire::RevokeRequest>,
    ) -> Result<Response<wire::RevokeResponse>, Status> {
        let write = requests::revoke(request.get_ref(), &self.limits)?;
        let written = self.core()?.write(write).await?;
        let results = match &written.command {
            Command::Revoke(revoke) => responses::revoke_results(&revoke.game_ids, &written.changed),
            Command::Grant(_) => Vec::new(),
        };
        let Written { revision, token, replayed, .. } = written;
        Ok(Response::new(wire::RevokeResponse { revision, token, replayed, results }))
    }

    async fn check_ownership(
        &self,
        request: Request<wire::CheckOwnershipRequest>,
    ) -> Result<Response<wire::CheckOwnershipResponse>, Status> {
        let check = requests::check(request.get_ref(), &self.limits)?;
        let core = self.core()?;
        let at = core.present(check.asked)?;
        let owned = core.store.check(at, &check.keys).await.map_err(|error| errors::store(&error))?;
        let since: HashMap<Key, Revision> = owned
            .into_iter()
            .map(|entitlement| ((entitlement.customer_id, entitlement.game_id), entitlement.valid_from))
            .collect();
        let answers = check.keys.iter().map(|key| since.get(key).copied());
        let answers = answers.map(|since| wire::OwnershipAnswer {
            owned: since.is_some(),
            since_revision: since.unwrap_or_default(),
        });
        let provenance = Some(responses::provenance(core.token(at)));
        Ok(Response::new(wire::CheckOwnershipResponse { answers: answers.collect(), provenance }))
    }

    async fn list_entitlements(
        &self,
        request: Request<wire::ListEntitlementsRequest>,
    ) -> Result<Response<wire::ListEntitlementsResponse>, Status> {
        let request = request.into_inner();
        let list = requests::list(&request, &self.limits)?;
        let core = self.core()?;
        let head = core.present(list.asked)?;
        let start = page_start(core, &request.page_token, &list, head)?;
        let (at, after) = start.map_or((head, None), |start| (start.revision, Some(start.after)));
        // One more than the page tells whether there is another page.
        let mut entitlements = core
            .store
            .list(at, &list.customer_id, after.as_ref(), list.page_size + 1)
            .await
            .map_err(|error| errors::store(&error))?;
        let more = entitlements.len() > list.page_size as usize;
        entitlements.truncate(list.page_size as usize);
        let next_page_token = match entitlements.last() {
            Some(last) if more => {
                let next = PageStart { revision: at, after: last.game_id.clone() };
                next.encode(core.identity, &list.customer_id)
            }
            _ => String::new(),
        };
        Ok(Response::new(wire::ListEntitlementsResponse {
            entitlements: entitlements.iter().map(responses::entitlement).collect(),
            next_page_token,
            provenance: Some(responses::provenance(core.token(at))),
        }))
    }

    async fn get_head(
        &self,
        _request: Request<wire::GetHeadRequest>,
    ) -> Result<Response<wire::GetHeadResponse>, Status> {
        let core = self.core()?;
        let provenance = Some(responses::provenance(core.token(core.hub.head())));
        Ok(Response::new(wire::GetHeadResponse { provenance }))
    }

    async fn watch(
        &self,
        request: Request<wire::WatchRequest>,
    ) -> Result<Response<BoxStream<wire::WatchResponse>>, Status> {
        let start = requests::watch(request.get_ref())?;
        let core = self.core()?;
        let start = match start {
            WatchStart::Snapshot => Start::Snapshot,
            WatchStart::After(token) => {
                core.check_token(token, core.hub.head())?;
                Start::After(token.revision)
            }
        };
        let events = core.watches.open(start).map_err(|error| errors::watch(&error))?;
        let store = core.identity;
        let responses = stream::unfold(events, move |mut events| async move {
            let response = match events.next().await? {
                Ok(event) => Ok(responses::event(event, store)),
                Err(error) => Err(errors::watch(&error)),
            };
            Some((response, events))
        });
        Ok(Response::new(Box::pin(responses)))
    }
}

/// Where the asked page begins; none for the first page.
fn page_start(
    core: &Core,
    page_token: &str,
    list: &requests::List,
    head: Revision,
) -> Result<Option<PageStart>, Status> {
    if page_token.is_empty() {
        return Ok(None);
    }
    let mut fields = Fields::new();
    let start = fields.take("page_token", PageStart::decode(page_token, core.identity, &list.customer_id));
    let start = start.filter(|start| start.revision <= head);
    if start.is_none() && fields.is_ok() {
        fields.wrong("page_token", "is from beyond what the store knows");
    }
    fields.finish(start).map(Some)
}
