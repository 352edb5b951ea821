//! The service: each method parses, asks, and converts the answer.

#[cfg(test)]
use futures_util::Stream;
use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::proto::arbiter::v1::arbiter_service_server::ArbiterService;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::core::{Core, CoreSlot, Written};
use super::import;
use super::requests::{self, Asked, RequestLimits};
use super::{errors, responses};

/// The service on the wire.
#[derive(Clone, Debug)]
pub(crate) struct ArbiterGrpc {
    core: CoreSlot,
    limits: RequestLimits,
}

impl ArbiterGrpc {
    pub(crate) fn new(core: CoreSlot, limits: RequestLimits) -> Self {
        Self { core, limits }
    }

    /// An import without a network.
    #[cfg(test)]
    pub(crate) fn import_of(
        &self,
        requests: impl Stream<Item = Result<wire::ImportRequest, Status>> + Send + 'static,
    ) -> Result<BoxStream<wire::ImportResponse>, Status> {
        Ok(Box::pin(import::import(&self.core, self.limits, requests)?))
    }

    /// What serves the request, once it is known not to have seen more than that knows.
    pub(super) fn core(&self) -> Result<&Core, Status> {
        let core = self.core.get().ok_or_else(errors::not_open)?;
        core.check_seen()?;
        Ok(core)
    }

    pub(super) fn limits(&self) -> &RequestLimits {
        &self.limits
    }
}

type Answer<T> = Result<Response<T>, Status>;

/// Watch is not among the methods: it has bytes that readers share, see [`super::frames`].
#[tonic::async_trait]
impl ArbiterService for ArbiterGrpc {
    async fn grant(&self, request: Request<wire::GrantRequest>) -> Answer<wire::GrantResponse> {
        let write = requests::grant(request.get_ref(), &self.limits)?;
        let Written { command, changed, revision, token, replayed, .. } = self.core()?.write(write).await?;
        let results = responses::grant_results(&command, &changed);
        Ok(Response::new(wire::GrantResponse { revision, token, replayed, results }))
    }

    async fn revoke(&self, request: Request<wire::RevokeRequest>) -> Answer<wire::RevokeResponse> {
        let write = requests::revoke(request.get_ref(), &self.limits)?;
        let Written { command, changed, revision, token, replayed, .. } = self.core()?.write(write).await?;
        let results = responses::revoke_results(&command, &changed);
        Ok(Response::new(wire::RevokeResponse { revision, token, replayed, results }))
    }

    async fn commit(&self, request: Request<wire::CommitRequest>) -> Answer<wire::CommitResponse> {
        let write = requests::commit(request.get_ref(), &self.limits)?;
        let Written { changed, revision, token, replayed, .. } = self.core()?.write(write).await?;
        let results = changed.into_iter().map(|changed| wire::OperationResult { changed }).collect();
        Ok(Response::new(wire::CommitResponse { revision, token, replayed, results }))
    }

    async fn transfer(&self, request: Request<wire::TransferRequest>) -> Answer<wire::TransferResponse> {
        let write = requests::transfer(request.get_ref(), &self.limits)?;
        let Written { revision, token, replayed, .. } = self.core()?.write(write).await?;
        Ok(Response::new(wire::TransferResponse { revision, token, replayed }))
    }

    async fn reserve(&self, request: Request<wire::ReserveRequest>) -> Answer<wire::ReserveResponse> {
        let write = requests::reserve(request.get_ref(), &self.limits)?;
        let Written { request_id, expires_at_ms, revision, token, replayed, .. } =
            self.core()?.write(write).await?;
        let expire_time = expires_at_ms.map(responses::timestamp);
        let reservation_id = request_id.to_string();
        Ok(Response::new(wire::ReserveResponse { revision, token, replayed, reservation_id, expire_time }))
    }

    async fn confirm_reservation(
        &self,
        request: Request<wire::ConfirmReservationRequest>,
    ) -> Answer<wire::ConfirmReservationResponse> {
        let write = requests::confirm(request.get_ref())?;
        let Written { revision, token, replayed, .. } = self.core()?.write(write).await?;
        Ok(Response::new(wire::ConfirmReservationResponse { revision, token, replayed }))
    }

    async fn release_reservation(
        &self,
        request: Request<wire::ReleaseReservationRequest>,
    ) -> Answer<wire::ReleaseReservationResponse> {
        let write = requests::release(request.get_ref())?;
        let Written { revision, token, replayed, .. } = self.core()?.write(write).await?;
        Ok(Response::new(wire::ReleaseReservationResponse { revision, token, replayed }))
    }

    async fn get_reservation(
        &self,
        request: Request<wire::GetReservationRequest>,
    ) -> Answer<wire::GetReservationResponse> {
        let (reservation_id, asked) = requests::reservation(request.get_ref())?;
        Ok(Response::new(self.core()?.reservation(reservation_id, asked).await?))
    }

    async fn set_stock(&self, request: Request<wire::SetStockRequest>) -> Answer<wire::SetStockResponse> {
        let write = requests::set_stock(request.get_ref())?;
        let Written { revision, token, replayed, .. } = self.core()?.write(write).await?;
        Ok(Response::new(wire::SetStockResponse { revision, token, replayed }))
    }

    async fn get_stock(&self, request: Request<wire::GetStockRequest>) -> Answer<wire::GetStockResponse> {
        let (game_id, asked) = requests::stock(request.get_ref())?;
        Ok(Response::new(self.core()?.stock(&game_id, asked)?))
    }

    async fn check_ownership(
        &self,
        request: Request<wire::CheckOwnershipRequest>,
    ) -> Answer<wire::CheckOwnershipResponse> {
        let check = requests::check(request.get_ref(), &self.limits)?;
        Ok(Response::new(self.core()?.check(check).await?))
    }

    async fn list_entitlements(
        &self,
        request: Request<wire::ListEntitlementsRequest>,
    ) -> Answer<wire::ListEntitlementsResponse> {
        let list = requests::list(request.get_ref(), &self.limits)?;
        Ok(Response::new(self.core()?.list(list, &request.get_ref().page_token).await?))
    }

    async fn list_history(
        &self,
        request: Request<wire::ListHistoryRequest>,
    ) -> Answer<wire::ListHistoryResponse> {
        let history = requests::history(request.get_ref(), &self.limits)?;
        Ok(Response::new(self.core()?.history(history, &request.get_ref().page_token).await?))
    }

    async fn explain_ownership(
        &self,
        request: Request<wire::ExplainOwnershipRequest>,
    ) -> Answer<wire::ExplainOwnershipResponse> {
        let explain = requests::explain(request.get_ref())?;
        Ok(Response::new(self.core()?.explain(explain).await?))
    }

    async fn get_head(&self, _request: Request<wire::GetHeadRequest>) -> Answer<wire::GetHeadResponse> {
        let core = self.core()?;
        let provenance = Some(core.provenance(core.cache.head(), Asked::Strong)?);
        Ok(Response::new(wire::GetHeadResponse { provenance }))
    }

    async fn poll_changes(
        &self,
        request: Request<wire::PollChangesRequest>,
    ) -> Answer<wire::PollChangesResponse> {
        let poll = requests::poll_changes(request.get_ref(), &self.limits)?;
        Ok(Response::new(self.core()?.poll_changes(poll).await?))
    }

    async fn get_digests(
        &self,
        _request: Request<wire::GetDigestsRequest>,
    ) -> Answer<wire::GetDigestsResponse> {
        Ok(Response::new(self.core()?.digests().await?))
    }

    async fn report_copy(
        &self,
        request: Request<wire::ReportCopyRequest>,
    ) -> Answer<wire::ReportCopyResponse> {
        let report = requests::report_copy(request.get_ref())?;
        Ok(Response::new(self.core()?.report_copy(report)?))
    }

    async fn list_copies(
        &self,
        _request: Request<wire::ListCopiesRequest>,
    ) -> Answer<wire::ListCopiesResponse> {
        Ok(Response::new(self.core()?.list_copies().await?))
    }

    async fn import(
        &self,
        request: Request<Streaming<wire::ImportRequest>>,
    ) -> Answer<BoxStream<wire::ImportResponse>> {
        let answers = import::import(&self.core, self.limits, request.into_inner())?;
        Ok(Response::new(Box::pin(answers)))
    }
}
