//! The services that an order's steps ask, and what their answers mean for an order.

mod arbiter;
mod payment;

use gameshelf::proto::arbiter::v1::arbiter_service_server as arbiter_service;
use gameshelf::proto::payment::v1::payment_service_server as payment_service;
use gameshelf::services;
use mesh::environment::Environment;
use mesh::file::FileError;
use mesh::outbound::Dispatch;
use mesh::outbound::discovery::Source;
use mesh::version::Requirement;
use tonic::{Code, Status};

use crate::Config;

pub(crate) use arbiter::ArbiterClient;
pub(crate) use payment::PaymentClient;

/// Everybody whom the steps ask. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    pub(crate) arbiter: ArbiterClient,
    pub(crate) payments: PaymentClient,
}

impl Clients {
    /// Begins to find and to follow them.
    ///
    /// # Errors
    ///
    /// When a file of addresses cannot be used.
    pub(crate) async fn new(config: &Config, environment: &Environment) -> Result<Self, FileError> {
        let follow = async |name, source: &Source, requirement: &Requirement| {
            let dispatch = &config.dispatch;
            let discovery = source.open(&dispatch.discovery, environment).await?;
            Ok::<_, FileError>(Dispatch::new(name, requirement, &*discovery, dispatch, environment))
        };
        let policy = config.step_policy();
        let arbiter = follow(services::ARBITER, &config.arbiter_address, &config.arbiter_requires)
            .await?
            .with_policy(format!("/{}/Grant", arbiter_service::SERVICE_NAME), policy);
        let mut payments =
            follow(services::PAYMENT, &config.payment_address, &config.payment_requires).await?;
        for method in ["Authorize", "Capture", "Void"] {
            payments = payments.with_policy(format!("/{}/{method}", payment_service::SERVICE_NAME), policy);
        }
        let limit_bytes = config.dispatch.outbound.max_message_bytes();
        Ok(Self {
            arbiter: ArbiterClient::new(arbiter.calls(), limit_bytes),
            payments: PaymentClient::new(payments.calls(), limit_bytes),
        })
    }
}

/// Why a step has no outcome that is known. It is repeated under the same ids, which settles it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The other side was not there, or its answer was lost.
    #[error("{0}")]
    Transient(String),
    /// The other side answered what no repetition is likely to mend: a defect, or a wrong configuration.
    #[error("{0}")]
    Unexpected(String),
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        let text = format!("{:?}: {}", status.code(), status.message());
        let lost = matches!(
            status.code(),
            Code::Cancelled | Code::Unknown | Code::Aborted | Code::ResourceExhausted | Code::Internal
        );
        if lost || mesh::outbound::is_transient(&status) {
            Self::Transient(text)
        } else {
            Self::Unexpected(text)
        }
    }
}
