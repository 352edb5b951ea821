//! Several instances of one service, and a caller of all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::uri::PathAndQuery;
use mesh::environment::Environment;
use mesh::inbound::InboundConfig;
use mesh::outbound::discovery::StaticList;
use mesh::outbound::dispatch::{Condition, InstanceReport};
use mesh::outbound::{Dispatch, DispatchConfig, OutboundConfig};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::support::{Echo, Peer, SAY, Text, text};

/// One instance, and how often it was asked.
pub(crate) struct Member {
    pub(crate) peer: Peer,
    asked: Arc<AtomicUsize>,
}

impl Member {
    /// An instance that answers as told by the number of the request to it, from 1.
    pub(crate) async fn start<F, Fut>(version: &str, answer: F) -> Self
    where
        F: Fn(usize) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Text, Status>> + Send + 'static,
    {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let echo = Echo::new(move |_| answer(counted.fetch_add(1, Ordering::SeqCst) + 1));
        Self { peer: Peer::start_as(version, &InboundConfig::default(), echo).await, asked }
    }

    /// An instance that answers with its version.
    pub(crate) async fn well(version: &'static str) -> Self {
        Self::start(version, move |_| async move { Ok(text(version)) }).await
    }

    /// An instance that answers every call with this status.
    pub(crate) async fn failing(version: &str, status: Status) -> Self {
        Self::start(version, move |_| std::future::ready(Err(status.clone()))).await
    }

    /// An instance that answers no call.
    pub(crate) async fn hanging(version: &str) -> Self {
        Self::start(version, |_| std::future::pending()).await
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.peer.address.host(), self.peer.address.port())
    }
}

/// Quick, and patient with what is not under test.
pub(crate) fn quick() -> DispatchConfig {
    DispatchConfig {
        attempt_timeout_ms: 5_000,
        outbound: OutboundConfig {
            timeout_ms: 15_000,
            backoff_base_ms: 1,
            backoff_max_ms: 5,
            ..OutboundConfig::default()
        },
        ..DispatchConfig::default()
    }
}

/// A caller of these instances, which knows of all of them what they are.
pub(crate) async fn dispatch(members: &[&Member], requirement: &str, config: &DispatchConfig) -> Dispatch {
    dispatch_in(&Environment::system(), members, requirement, config).await
}

/// As [`dispatch`]; what is seen of the calls is seen in this environment.
pub(crate) async fn dispatch_in(
    environment: &Environment,
    members: &[&Member],
    requirement: &str,
    config: &DispatchConfig,
) -> Dispatch {
    let list = StaticList::new(members.iter().map(|member| member.peer.address.clone()));
    let dispatch = Dispatch::new("echo", &requirement.parse().unwrap(), &list, config, environment);
    until(&dispatch, |all| all.len() == members.len() && all.iter().all(is_serving)).await;
    dispatch
}

pub(crate) fn is_serving(report: &InstanceReport) -> bool {
    matches!(report.condition, Condition::Serving(_))
}

/// Waits for what must come to be known of the instances.
pub(crate) async fn until(dispatch: &Dispatch, holds: impl Fn(&[InstanceReport]) -> bool) {
    let wait = Duration::from_secs(20);
    assert!(dispatch.wait_for(wait, holds).await, "{:?}", dispatch.instances());
}

/// Calls the unary method: the whole answer.
pub(crate) async fn ask(dispatch: &Dispatch) -> Result<Response<Text>, Status> {
    let mut grpc = tonic::client::Grpc::new(dispatch.calls());
    grpc.ready().await?;
    let codec = ProstCodec::<Text, Text>::default();
    grpc.unary(Request::new(text("")), PathAndQuery::from_static(SAY), codec).await
}

/// Who was tried for an answer, as it tells.
pub(crate) fn tried(answer: &Result<Response<Text>, Status>) -> String {
    let metadata = match answer {
        Ok(response) => response.metadata(),
        Err(status) => status.metadata(),
    };
    metadata.get("mesh-tried").unwrap().to_str().unwrap().to_owned()
}
