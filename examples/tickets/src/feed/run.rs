//! Puts the parts together.

use std::sync::Arc;

use mesh::environment::Environment;
use mesh::file::FileError;
use mesh::inbound::{ServeError, Server};
use mesh::outbound::Dispatch;
use mesh::version::{Description, Version};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::service::Routes;

use super::config::Config;
use super::follow::Follower;
use super::grpc::Service;
use super::hub::Hub;
use crate::proto;
use crate::proto::replyfeed::v1::feed_service_server::FeedServiceServer;

/// The name that callers know the feed by.
const NAME: &str = "reply-feed";
/// The full name of what is served.
const SERVICE_NAME: &str = "replyfeed.v1.FeedService";
/// The name of the service that it follows.
const TICKETS: &str = "tickets";

/// Why the feed could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The instances of the service of tickets cannot be found.
    #[error("the instances of the service of tickets cannot be found: {0}")]
    Discovery(#[from] FileError),
    /// Serving failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl RunError {
    /// Whether whoever starts the feed has to change something.
    #[must_use]
    pub fn is_misconfigured(&self) -> bool {
        matches!(self, Self::Discovery(_))
    }
}

/// Keeps the newest replies and serves them on `listener` until `shutdown` is cancelled.
///
/// # Errors
///
/// When the file of instances cannot be read, or serving fails.
pub async fn run(
    config: Config,
    environment: Environment,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let discovery = config.tickets_source.open(&config.dispatch.discovery, &environment).await?;
    let range = &config.tickets_range;
    let tickets = Dispatch::new(TICKETS, range, &*discovery, &config.dispatch, &environment);
    let description = Description::new(NAME, Version::new(1, 0, 0))
        .requiring(TICKETS, range.clone())
        .serving("replyfeed.v1", Version::new(1, 0, 0));
    let server = Server::new(&[SERVICE_NAME], &config.inbound, &environment).described(description);
    let hub = Arc::new(Hub::new(config.replies, config.follower_events));
    let follower = Follower::new(&tickets, &hub, server.health(), config.resume_max());
    let _following = AbortOnDropHandle::new(tokio::spawn(follower.follow()));
    let routes = FeedServiceServer::new(Service::new(&hub, &config, server.draining()))
        .max_decoding_message_size(config.inbound.max_message_bytes());
    server.serve(listener, Routes::new(routes), &[proto::DESCRIPTORS], shutdown).await?;
    Ok(())
}
