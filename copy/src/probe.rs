//! The task that asks the arbiter for its head revision, by which the copy knows its age.

use std::sync::Arc;

use gameshelf::proto::arbiter::v1::GetHeadRequest;
use gameshelf::proto::arbiter::v1::arbiter_service_client::ArbiterServiceClient;
use gameshelf::tokens::Token;
use mesh::environment::{Environment, Random};
use mesh::outbound::Calls;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::age::Heard;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::status::Status;

/// Asks the arbiter for its head revision again and again.
#[derive(Debug)]
pub(crate) struct Prober {
    pub(crate) status: Arc<Status>,
    pub(crate) metrics: Metrics,
    pub(crate) arbiter: ArbiterServiceClient<Calls>,
    pub(crate) options: Options,
    pub(crate) environment: Environment,
}

impl Prober {
    /// Asks until the shutdown. An arbiter that does not answer is asked again: at the next interval, and as soon as the
    /// stream from it comes up.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let probe = async {
            loop {
                self.probe().await;
                self.metrics.figures(&self.status.figures(self.environment.clock.monotonic()));
                let _ = tokio::time::timeout(self.options.probe_interval, self.status.linked()).await;
            }
        };
        shutdown.run_until_cancelled(probe).await;
    }

    async fn probe(&mut self) {
        // Noted before the question is sent: whatever was committed by then is in the answer.
        let asked = self.environment.clock.monotonic();
        let answer = {
            let question = self.arbiter.get_head(GetHeadRequest {});
            let span = untraced(self.environment.random.as_ref());
            tokio::time::timeout(self.options.probe_timeout, question).instrument(span).await
        };
        let head = match answer {
            Err(_) => return tracing::debug!("the arbiter did not say its head in time"),
            Ok(Err(status)) => {
                return tracing::debug!(code = ?status.code(), "the arbiter did not say its head");
            }
            Ok(Ok(response)) => {
                response.into_inner().provenance.and_then(|head| head.token.parse::<Token>().ok())
            }
        };
        let Some(head) = head else { return tracing::warn!("the arbiter's head has no token") };
        self.status.heard(Heard { head, asked });
    }
}

/// A span that belongs to a trace which nobody records, here or at the arbiter: a question every few hundred
/// milliseconds would drown the traces that people look for.
fn untraced(random: &dyn Random) -> Span {
    let span = tracing::info_span!("copy.probe");
    let [trace_id, span_id] = [(); 2].map(|()| {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        // An id of zeros means none.
        u64::from_ne_bytes(bytes) | 1
    });
    // The last field says that the parent is not sampled, which a sampler by default goes by.
    let parent = mesh::trace::parent_from(&format!("00-{trace_id:032x}-{span_id:016x}-00"));
    mesh::trace::set_parent(&span, parent);
    span
}
