//! `gameshelf.mesh.v1`: what this server is and what it has seen, told to whoever asks.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tonic::{Request, Response, Status};

use super::concerns::Concerns;
use crate::environment::{Clock, Environment};
use crate::proto::v1::mesh_service_server::MeshService;
use crate::proto::v1::{DescribeRequest, DescribeResponse, ReportRequest, ReportResponse};
use crate::seen::Seen;
use crate::version::Description;

/// The full name of the service, for reflection.
pub(super) const SERVICE_NAME: &str = "gameshelf.mesh.v1.MeshService";

/// The service that answers for a [`Description`] and for what was seen.
pub(super) struct DescribeService {
    answer: DescribeResponse,
    seen: Seen,
    concerns: Concerns,
    clock: Arc<dyn Clock>,
    began: Instant,
}

impl DescribeService {
    pub(super) fn new(description: &Description, concerns: &Concerns, environment: &Environment) -> Self {
        Self {
            answer: description.into(),
            seen: environment.seen.clone(),
            concerns: concerns.clone(),
            clock: environment.clock.clone(),
            began: environment.clock.monotonic(),
        }
    }
}

impl fmt::Debug for DescribeService {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DescribeService").field("answer", &self.answer).finish_non_exhaustive()
    }
}

#[tonic::async_trait]
impl MeshService for DescribeService {
    async fn describe(&self, _: Request<DescribeRequest>) -> Result<Response<DescribeResponse>, Status> {
        Ok(Response::new(self.answer.clone()))
    }

    async fn report(&self, _: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        let uptime = self.clock.monotonic().saturating_duration_since(self.began);
        Ok(Response::new(ReportResponse {
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            concerns: self.concerns.report(),
            ..self.seen.report()
        }))
    }
}
