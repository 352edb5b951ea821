//! The feed as a process of its own, beside versions that are killed.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use mesh::environment::Environment;
use mesh::outbound::{DispatchConfig, Outbound, OutboundConfig};
use tickets::proto::replyfeed::v1::feed_service_client::FeedServiceClient;
use tickets::proto::replyfeed::v1::{LatestRequest, LatestResponse};
use tickets::proto::tickets::v1::ticket_service_client::TicketServiceClient;
use tickets::proto::tickets::v1::{AddReplyRequest, GetServedRequest};

use crate::harness::{Process, free_port_base, gameshelf};
use crate::instances::{Cluster, PATIENCE};

/// What the feed says, once it has come so far.
async fn at(address: SocketAddr, position: u64) -> LatestResponse {
    let config = OutboundConfig { timeout_ms: 20_000, attempts: 20, ..OutboundConfig::default() };
    let outbound = Outbound::new("reply-feed", &address.into(), &config, &Environment::system());
    let mut client = FeedServiceClient::new(outbound.calls());
    let there = tokio::time::timeout(PATIENCE, async {
        loop {
            let latest = client.latest(LatestRequest {}).await.unwrap().into_inner();
            if latest.position >= position {
                return latest;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    there.await.expect("the feed goes on")
}

/// The instance that the feed streams from: the newest that it knew when it began.
async fn subscribed(cluster: &Cluster) -> usize {
    for (at, address) in cluster.addresses().into_iter().enumerate() {
        let config = OutboundConfig::default();
        let outbound = Outbound::new("tickets", &address.into(), &config, &Environment::system());
        let served = TicketServiceClient::new(outbound.calls()).get_served(GetServedRequest {}).await;
        if served.unwrap().into_inner().subscriptions > 0 {
            return at;
        }
    }
    panic!("the feed has subscribed nowhere");
}

#[tokio::test]
async fn the_feed_resumes_without_gap_or_double_after_the_instance_it_streams_from_is_killed() {
    let mut cluster = Cluster::start(&["1.0.1", "1.0.0"], &DispatchConfig::default()).await;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port_base()));
    let mut command = gameshelf();
    command.args(["example", "tickets-feed", "--bind-wait-ms", "10000", "--listen", &address.to_string()]);
    let addresses: Vec<_> = cluster.addresses().iter().map(ToString::to_string).collect();
    command.args(["--tickets-source", &addresses.join(",")]);
    let _feed = Process::start(&mut command);
    let mut client = cluster.client();
    let mut reply = async |number: u64| {
        let request = AddReplyRequest {
            request_id: format!("01900000-0000-7000-8000-{number:012}"),
            ticket_id: cluster.ticket_id,
            author: "ada".to_owned(),
            text: format!("answer {number}"),
        };
        let added = client.add_reply(request).await.unwrap().into_inner();
        assert_eq!(added.reply.unwrap().position, number, "a reply that fell back is still one");
    };
    for number in 1..=50 {
        reply(number).await;
    }
    let latest = at(address, 50).await;
    assert_eq!(latest.subscriptions, 1);
    let source = subscribed(&cluster).await;
    // Replies go on being added while it dies, and one after another arrives over the other version.
    for number in 51..=150 {
        if number == 75 {
            cluster.signal(source, "KILL");
        }
        reply(number).await;
    }
    let latest = at(address, 150).await;
    assert_eq!((latest.events, latest.out_of_order, latest.subscriptions), (150, 0, 2));
    let texts: Vec<_> = latest.replies.iter().map(|reply| reply.text.clone()).collect();
    assert_eq!(texts, (141..=150).map(|number| format!("answer {number}")).collect::<Vec<_>>());
    cluster.start_again(source).await;
}
