//! The task that tells the arbiter how far the copy is. A report that fails harms nothing: the next one says more.

use std::sync::Arc;
use std::time::Duration;

use gameshelf::proto::arbiter::v1::arbiter_service_client::ArbiterServiceClient;
use gameshelf::proto::arbiter::v1::{DigestState as WireState, ReportCopyRequest};
use mesh::outbound::Calls;
use tokio_util::sync::CancellationToken;

use crate::options::Options;
use crate::status::{DigestState, Status};

/// The shortest time between two reports that the arbiter may ask for, so that a mistake there is no storm here.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Tells the arbiter how far the copy is, again and again.
#[derive(Debug)]
pub(crate) struct Reporter {
    pub(crate) status: Arc<Status>,
    pub(crate) arbiter: ArbiterServiceClient<Calls>,
    pub(crate) options: Options,
}

impl Reporter {
    /// Reports until the shutdown: at the interval that the arbiter asks for, and as soon as what is known of the rows changes.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut news = self.status.digest_news();
        let report = async {
            loop {
                news.mark_unchanged();
                let pause = self.report().await;
                tokio::time::sleep(INTERVAL_MIN.min(pause)).await;
                let _ = tokio::time::timeout(pause.saturating_sub(INTERVAL_MIN), news.changed()).await;
            }
        };
        shutdown.run_until_cancelled(report).await;
    }

    /// Reports once. Returns the time until the next report.
    async fn report(&mut self) -> Duration {
        let digest_state = match self.status.digest_state() {
            DigestState::Unknown => WireState::Unspecified,
            DigestState::Equal => WireState::Equal,
            DigestState::Different => WireState::Different,
        };
        let request = ReportCopyRequest {
            name: self.options.name.clone(),
            version: self.options.version.clone(),
            token: self.status.checkpoint().map(|token| token.to_string()).unwrap_or_default(),
            digest_state: digest_state.into(),
            repaired_partitions: self.status.repaired_partitions(),
        };
        let longest = self.options.report_interval;
        match tokio::time::timeout(longest, self.arbiter.report_copy(request)).await {
            Ok(Ok(response)) => {
                let asked = response.into_inner().report_again_after.and_then(|after| after.try_into().ok());
                asked.unwrap_or(longest).clamp(INTERVAL_MIN.min(longest), longest)
            }
            Ok(Err(status)) => {
                tracing::debug!(code = ?status.code(), "the arbiter did not take the copy's report");
                longest
            }
            Err(_) => longest,
        }
    }
}
