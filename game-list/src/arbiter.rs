//! Asks the arbiter for a customer's games, where the copy is not fresh enough.

use std::time::Duration;

use gameshelf::errors::{Reason, reason_of};
use gameshelf::ids::CustomerId;
use gameshelf::proto::arbiter::v1::arbiter_service_client::ArbiterServiceClient;
use gameshelf::proto::arbiter::v1::{Entitlement, ListEntitlementsRequest, ListEntitlementsResponse};
use gameshelf::proto::freshness::v1;
use gameshelf::proto::freshness::v1::freshness::Requirement as WireRequirement;
use gameshelf::tokens::Token;
use mesh::outbound::Calls;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::freshness::Requirement;
use crate::model::OwnedGame;

/// A page from the arbiter.
#[derive(Debug)]
pub(crate) struct ArbiterPage {
    pub(crate) token: Token,
    pub(crate) games: Vec<OwnedGame>,
    /// Whether one that follows the arbiter answered.
    pub(crate) from_follower: bool,
    pub(crate) age: Option<Duration>,
    pub(crate) degraded: bool,
    /// The arbiter's own token of the next page; it keeps all pages at the revision of the first.
    pub(crate) next_page_token: Option<String>,
}

/// Why the arbiter did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ArbiterError {
    /// It cannot be reached, or not in time.
    #[error("the arbiter cannot be reached")]
    Unreachable,
    /// The freshness token is of another store.
    #[error("the token was made by another store")]
    TokenForeign,
    /// The freshness token is from beyond what the store knows.
    #[error("the token is from beyond what the store knows")]
    RevisionUnknown,
    /// It does not know the page token, or no longer.
    #[error("the arbiter does not know the page")]
    Page,
    /// It said something that this version does not expect.
    #[error("the arbiter gave an answer that was not expected")]
    Unexpected,
}

/// A client of the arbiter's lists. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Arbiter {
    client: ArbiterServiceClient<Calls>,
    page_max: u32,
    timeout: Duration,
}

impl Arbiter {
    /// `page_max` is the most games that the arbiter is asked for at once, `timeout` how long it may take to answer.
    pub(crate) fn new(client: ArbiterServiceClient<Calls>, page_max: u32, timeout: Duration) -> Self {
        Self { client, page_max, timeout }
    }

    /// How long to wait now: an eighth of the caller's deadline is left for telling them that it was in vain.
    fn patience(&self) -> Duration {
        let left = mesh::deadline::remaining().map(|left| left / 8 * 7);
        left.map_or(self.timeout, |left| left.min(self.timeout))
    }

    /// Asks for a page: the first one, or the one of `page_token`.
    pub(crate) async fn page(
        &self,
        customer_id: &CustomerId,
        requirement: Requirement,
        page_size: u32,
        page_token: Option<&str>,
    ) -> Result<ArbiterPage, ArbiterError> {
        let request = ListEntitlementsRequest {
            customer_id: customer_id.to_string(),
            page_size: i32::try_from(page_size.min(self.page_max)).unwrap_or(i32::MAX),
            page_token: page_token.unwrap_or_default().to_owned(),
            freshness: Some(freshness(requirement)),
            ..ListEntitlementsRequest::default()
        };
        let mut client = self.client.clone();
        let answer = tokio::time::timeout(self.patience(), client.list_entitlements(request)).await;
        let answer = answer.map_err(|_| ArbiterError::Unreachable)?;
        read(answer.map_err(|status| judge(&status))?.into_inner())
    }
}

/// What the arbiter is asked for: it has nothing older than strong, so every weaker wish is one for strong.
fn freshness(requirement: Requirement) -> v1::Freshness {
    let requirement = match requirement {
        Requirement::AtLeast(token) => WireRequirement::AtLeastAsFreshAs(token.to_string()),
        Requirement::Strong | Requirement::AtMostOld(_) | Requirement::Any => {
            WireRequirement::Strong(v1::Strong {})
        }
    };
    v1::Freshness { requirement: Some(requirement) }
}

fn read(answer: ListEntitlementsResponse) -> Result<ArbiterPage, ArbiterError> {
    let provenance = answer.provenance.ok_or(ArbiterError::Unexpected)?;
    let source = provenance.source();
    Ok(ArbiterPage {
        token: provenance.token.parse().map_err(|_| ArbiterError::Unexpected)?,
        games: answer.entitlements.into_iter().map(owned_game).collect(),
        from_follower: source == v1::Source::Follower,
        age: provenance.age.and_then(|age| age.try_into().ok()),
        degraded: provenance.degraded,
        next_page_token: Some(answer.next_page_token).filter(|token| !token.is_empty()),
    })
}

fn owned_game(row: Entitlement) -> OwnedGame {
    OwnedGame { game_id: row.game_id, since_revision: row.since_revision }
}

fn judge(status: &Status) -> ArbiterError {
    match (reason_of(status), status.code()) {
        (Some(Reason::TokenForeign), _) => ArbiterError::TokenForeign,
        (Some(Reason::RevisionUnknown), _) => ArbiterError::RevisionUnknown,
        (Some(Reason::RevisionCompacted), _) => ArbiterError::Page,
        (_, Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::ResourceExhausted) => {
            ArbiterError::Unreachable
        }
        // It was replaced by another version, and that one is not known yet.
        _ if is_of_another_version(status) => ArbiterError::Unreachable,
        (_, Code::InvalidArgument) if names_page_token(status) => ArbiterError::Page,
        (_, code) => {
            tracing::error!(?code, message = status.message(), "the arbiter's answer was not expected");
            ArbiterError::Unexpected
        }
    }
}

fn is_of_another_version(status: &Status) -> bool {
    mesh::errors::reason_of(status) == Some(mesh::errors::Reason::VersionIncompatible)
}

fn names_page_token(status: &Status) -> bool {
    status.get_details_bad_request().is_some_and(|request| {
        request.field_violations.iter().any(|violation| violation.field == "page_token")
    })
}
