//! A simulated network for the mesh: connections, names and randomness that come from a seed.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use mesh::environment::{
    Connecting, Connector, Environment, Io, Random, Resolved, Resolver, Resolving, SystemClock, Threads,
};
use mesh::inbound::{InboundConfig, Server};
use mesh::seen::Seen;
use mesh::version::Description;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use turmoil::net::{TcpListener, TcpStream};

use crate::support::{Echo, SERVICE, Text, text};

pub(crate) const PORT: u16 = 7000;

/// Connects through the simulated network.
#[derive(Debug)]
struct Network;

impl Connector for Network {
    fn connect(&self, host: String, port: u16) -> Connecting {
        Box::pin(async move {
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}

/// Randomness that a seed determines.
#[derive(Debug)]
struct Seeded(Mutex<StdRng>);

impl Random for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap().fill_bytes(bytes);
    }
}

/// The addresses of the one name that there is, as the test has set them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Arc<Mutex<Vec<IpAddr>>>);

impl Names {
    pub(crate) fn set(&self, hosts: &[&str]) {
        *self.0.lock().unwrap() = hosts.iter().map(|host| turmoil::lookup(*host)).collect();
    }
}

impl Resolver for Names {
    fn resolve(&self, _: String) -> Resolving {
        let addresses = self.0.lock().unwrap().clone();
        let found = if addresses.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(addresses) };
        Box::pin(async move { found.map(|addresses| Resolved { addresses, ttl: None }) })
    }
}

/// What a process takes from the simulated world. The clock is the runtime's, which the simulation moves.
pub(crate) fn environment(seed: u64, names: &Names) -> Environment {
    Environment {
        clock: Arc::new(SystemClock),
        random: Arc::new(Seeded(Mutex::new(StdRng::seed_from_u64(seed)))),
        connector: Arc::new(Network),
        resolver: Arc::new(names.clone()),
        threads: Threads::default(),
        seen: Seen::new(),
    }
}

/// Serves a version until the host is crashed: each call is answered with `name`.
pub(crate) async fn serve(name: &'static str, version: &'static str, seed: u64) -> turmoil::Result {
    let listener = TcpListener::bind((IpAddr::from(Ipv4Addr::UNSPECIFIED), PORT)).await?;
    let incoming = futures_util::stream::unfold(listener, |listener| async move {
        let accepted = listener.accept().await.map(|(stream, _)| stream);
        Some((accepted, listener))
    });
    let environment = environment(seed, &Names::default());
    let server = Server::new(&[SERVICE], &InboundConfig::default(), &environment)
        .described(Description::new("echo", version.parse()?));
    server.health().set_serving(true);
    let echo = Echo::new(move |_: tonic::Request<Text>| async move { Ok(text(name)) });
    server.serve_incoming(incoming, Routes::new(echo), &[], CancellationToken::new()).await?;
    Ok(())
}
