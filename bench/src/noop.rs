//! The rival that does nothing: tonic alone, answering as many bytes as the arbiter would.

use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::proto::arbiter::v1::arbiter_service_server::{ArbiterService, ArbiterServiceServer};
use gameshelf::proto::freshness::v1::Provenance;
use gameshelf::tokens::Token;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::work::LISTED_GAMES;

/// Serves until it is told to stop.
pub(crate) async fn run(
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    tonic::transport::Server::builder()
        .add_service(ArbiterServiceServer::new(Noop))
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            shutdown.cancelled_owned(),
        )
        .await
}

struct Noop;

fn token() -> String {
    Token { store_id: uuid::Uuid::max(), incarnation: 1, revision: 1_000_000 }.to_string()
}

fn provenance() -> Provenance {
    Provenance { revision: 1_000_000, token: token(), source: 1, ..Provenance::default() }
}

#[tonic::async_trait]
impl ArbiterService for Noop {
    async fn grant(
        &self,
        request: Request<wire::GrantRequest>,
    ) -> Result<Response<wire::GrantResponse>, Status> {
        let results = request.into_inner().game_ids.into_iter();
        let results = results.map(|game_id| wire::GrantResult { game_id, status: 1 }).collect();
        Ok(Response::new(wire::GrantResponse {
            revision: 1_000_000,
            token: token(),
            replayed: false,
            results,
        }))
    }

    async fn list_entitlements(
        &self,
        request: Request<wire::ListEntitlementsRequest>,
    ) -> Result<Response<wire::ListEntitlementsResponse>, Status> {
        let customer_id = request.into_inner().customer_id;
        let entitlement = |game| wire::Entitlement {
            customer_id: customer_id.clone(),
            game_id: format!("listed-game-{game}"),
            since_revision: 1_000_000,
            ..wire::Entitlement::default()
        };
        Ok(Response::new(wire::ListEntitlementsResponse {
            entitlements: (0..LISTED_GAMES).map(entitlement).collect(),
            next_page_token: String::new(),
            provenance: Some(provenance()),
        }))
    }

    async fn get_head(
        &self,
        _: Request<wire::GetHeadRequest>,
    ) -> Result<Response<wire::GetHeadResponse>, Status> {
        Ok(Response::new(wire::GetHeadResponse { provenance: Some(provenance()) }))
    }
}
