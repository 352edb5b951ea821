//! Whether anybody is at the other end.

use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{sleep, timeout};

/// Ends when a ping is not answered in time. A partition closes no connection: without pings whoever waits on it would wait for
/// ever.
pub(crate) async fn unanswered(pings: Option<PingPong>, interval: Duration, patience: Duration) {
    let Some(mut pings) = pings else { return std::future::pending().await };
    loop {
        sleep(interval).await;
        if !matches!(timeout(patience, pings.ping(Ping::opaque())).await, Ok(Ok(_))) {
            return;
        }
    }
}
