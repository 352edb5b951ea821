//! `gameshelf.mesh.v1`: what this server is, told to whoever asks.

use tonic::{Request, Response, Status};

use crate::proto::v1::mesh_service_server::MeshService;
use crate::proto::v1::{DescribeRequest, DescribeResponse};
use crate::version::Description;

/// The full name of the service, for reflection.
pub(super) const SERVICE_NAME: &str = "gameshelf.mesh.v1.MeshService";

/// The service that answers for a [`Description`].
#[derive(Debug)]
pub(super) struct DescribeService {
    answer: DescribeResponse,
}

impl DescribeService {
    pub(super) fn new(description: &Description) -> Self {
        Self { answer: description.into() }
    }
}

#[tonic::async_trait]
impl MeshService for DescribeService {
    async fn describe(&self, _: Request<DescribeRequest>) -> Result<Response<DescribeResponse>, Status> {
        Ok(Response::new(self.answer.clone()))
    }
}
