//! What is asked of a server.

use gameshelf::proto::arbiter::v1::arbiter_service_client::ArbiterServiceClient;
use gameshelf::proto::arbiter::v1::{Cause, GrantRequest, ListEntitlementsRequest, OnOwned, Reason};
use tonic::Status;
use tonic::transport::Channel;
use uuid::Uuid;

/// Customers whose lists are read.
const LISTED_CUSTOMERS: u64 = 1_000;
/// Games of each of them.
pub(crate) const LISTED_GAMES: usize = 10;
/// Customers who are granted games, each a new one each time.
const GRANTED_CUSTOMERS: u64 = 10_000;

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Grants one game that the customer does not own.
    Grant,
    /// Lists a customer's ten games, strongly.
    StrongList,
}

impl Work {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::StrongList => "strong list",
        }
    }

    /// Makes what the work needs.
    pub(crate) async fn prepare(self, channel: &Channel) -> Result<(), Status> {
        if self == Self::StrongList {
            let games: Vec<String> = (0..LISTED_GAMES).map(|game| format!("listed-game-{game}")).collect();
            for customer in 0..LISTED_CUSTOMERS {
                grant(channel, format!("listed-{customer}"), games.clone(), OnOwned::Skip).await?;
            }
        }
        Ok(())
    }

    /// One request; `task` and `number` together are never the same twice.
    pub(crate) async fn call(self, channel: &Channel, task: u64, number: u64) -> Result<(), Status> {
        // A step that shares no factor with the number of customers visits all of them.
        let spread = number.wrapping_mul(7_919).wrapping_add(task * 104_729);
        match self {
            Self::Grant => {
                let customer = format!("granted-{}", spread % GRANTED_CUSTOMERS);
                grant(channel, customer, vec![format!("game-{task}-{number}")], OnOwned::Refuse).await
            }
            Self::StrongList => {
                let request = ListEntitlementsRequest {
                    customer_id: format!("listed-{}", spread % LISTED_CUSTOMERS),
                    ..ListEntitlementsRequest::default()
                };
                let answer = ArbiterServiceClient::new(channel.clone()).list_entitlements(request).await?;
                if answer.get_ref().entitlements.len() == LISTED_GAMES {
                    Ok(())
                } else {
                    Err(Status::internal("the list is not the one that was made"))
                }
            }
        }
    }
}

async fn grant(
    channel: &Channel,
    customer_id: String,
    game_ids: Vec<String>,
    on_owned: OnOwned,
) -> Result<(), Status> {
    let request = GrantRequest {
        request_id: Uuid::now_v7().to_string(),
        customer_id,
        game_ids,
        on_owned: on_owned.into(),
        cause: Some(Cause {
            reason: Reason::Purchase.into(),
            actor: "bench".to_owned(),
            order_id: String::new(),
        }),
        ..GrantRequest::default()
    };
    ArbiterServiceClient::new(channel.clone()).grant(request).await.map(|_| ())
}
