//! The feed is told, never asks, and goes on where it was.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use mesh::environment::Environment;
use mesh::outbound::{Outbound, OutboundConfig};
use tickets::feed;
use tickets::proto::replyfeed::v1::feed_service_client::FeedServiceClient;
use tickets::proto::replyfeed::v1::{LatestRequest, LatestResponse};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::support::{Instance, Shared, soon};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    config: feed::Config,
}

struct Feed(SocketAddr);

impl Feed {
    async fn start(instances: &[&Instance]) -> Self {
        let addresses: Vec<_> = instances.iter().map(|instance| instance.address.to_string()).collect();
        let config = Arguments::parse_from(["feed", "--tickets-source", &addresses.join(",")]).config;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(feed::run(config, Environment::system(), listener, CancellationToken::new()));
        Self(address)
    }

    async fn latest(&self) -> LatestResponse {
        let config = OutboundConfig { timeout_ms: 15_000, attempts: 20, ..OutboundConfig::default() };
        let outbound = Outbound::new("reply-feed", &self.0.into(), &config, &Environment::system());
        soon(FeedServiceClient::new(outbound.calls()).latest(LatestRequest {})).await.unwrap().into_inner()
    }

    /// Waits until the feed has come so far.
    async fn at(&self, position: u64) -> LatestResponse {
        soon(async {
            loop {
                let latest = self.latest().await;
                if latest.position >= position {
                    return latest;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }
}

#[tokio::test]
async fn the_feed_keeps_the_latest_ten_by_events_and_resumes_without_gap_or_double_when_its_instance_goes() {
    let shared = Shared::new();
    let (older, newer) = (shared.start("1.0.0").await, shared.start("1.0.1").await);
    let ticket_id = older.add("it does not start").await;
    for number in 1..=12 {
        older.reply(ticket_id, &format!("reply {number}")).await;
    }
    let feed = Feed::start(&[&older, &newer]).await;
    feed.at(12).await;
    // It streams from the newest version that it knew when it began; that one goes.
    let from_newer = newer.served().await.subscriptions == 1;
    let (source, other) = if from_newer { (newer, older) } else { (older, newer) };
    assert_eq!((source.served().await.subscriptions, other.served().await.subscriptions), (1, 0));
    source.shutdown.cancel();
    for number in 13..=25 {
        other.reply(ticket_id, &format!("reply {number}")).await;
    }
    let latest = feed.at(25).await;
    let texts: Vec<_> = latest.replies.iter().map(|reply| reply.text.clone()).collect();
    assert_eq!(texts, (16..=25).map(|number| format!("reply {number}")).collect::<Vec<_>>());
    assert_eq!((latest.events, latest.out_of_order, latest.subscriptions), (25, 0, 2));
    // It never asked.
    assert_eq!(other.served().await.queries, 0);
}
