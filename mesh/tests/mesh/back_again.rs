//! An instance that comes back after a long time.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mesh::environment::{Environment, Random};
use mesh::outbound::discovery::StaticList;
use mesh::outbound::{Dispatch, DispatchConfig, OutboundConfig};

use crate::cluster::{ask, is_serving, quick, until};
use crate::process::Process;
use crate::support::soon;

/// The shortest of all waits so many times, and then the longest.
#[derive(Debug)]
struct LongAfter {
    short: usize,
    drawn: AtomicUsize,
}

impl Random for LongAfter {
    fn fill(&self, bytes: &mut [u8]) {
        let is_short = self.drawn.fetch_add(1, Ordering::SeqCst) < self.short;
        bytes.fill(if is_short { 0 } else { u8::MAX });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_instance_is_called_as_soon_as_it_is_back_however_long_it_was_gone() {
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let list = StaticList::new([listen.parse().unwrap()]);
    // It was looked for so often that the next look is a day from now.
    let day = DispatchConfig {
        health_backoff_max_ms: 24 * 60 * 60 * 1000,
        outbound: OutboundConfig { backoff_base_ms: 1, backoff_max_ms: 20, ..quick().outbound },
        ..quick()
    };
    let random = Arc::new(LongAfter { short: 200, drawn: AtomicUsize::new(0) });
    let environment = Environment { random: random.clone(), ..Environment::system() };
    let dispatch = Dispatch::new("echo", &"^1.0".parse().unwrap(), &list, &day, &environment);
    soon(async {
        while random.drawn.load(Ordering::SeqCst) <= random.short {
            tokio::task::yield_now().await;
        }
    })
    .await;

    let arguments = format!("--listen {listen} --bind-wait-ms 10000 --exit-on-stdin-close --described 1.0.0");
    let mut process = Process::start(&arguments, &[]);
    process.address();
    assert!(!dispatch.instances().iter().any(is_serving), "nobody has asked for it");
    soon(async { while ask(&dispatch).await.is_err() {} }).await;
    until(&dispatch, |all| all.iter().all(is_serving)).await;
}
