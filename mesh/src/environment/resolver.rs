//! Names are asked of DNS itself, whose answers say how long they hold; what it does not know, of the operating system, which
//! may have other means.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ProtocolConfig, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{ResolverBuilder, TokioResolver};

use super::{Clock, Resolved, Resolver, Resolving, SystemClock};

/// Resolves names as the machine is configured (`/etc/resolv.conf`, `/etc/hosts`), and tells the TTL of DNS answers (RFC 1035).
/// Where a name has addresses of version 4 those are found, and else those of version 6: an instance that has both is still
/// one. The configuration is read anew each time, so that a change of it is followed too.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver {
    server: Option<SocketAddr>,
}

impl SystemResolver {
    /// Asks this DNS server over UDP, and nobody else.
    #[must_use]
    pub fn asking(server: SocketAddr) -> Self {
        Self { server: Some(server) }
    }
}

impl Resolver for SystemResolver {
    fn resolve(&self, host: String) -> Resolving {
        let server = self.server;
        Box::pin(async move {
            match ask(server, &host).await {
                Ok(resolved) if !resolved.addresses.is_empty() => Ok(resolved),
                _ if server.is_none() => ask_system(&host).await,
                Ok(_) => Err(io::ErrorKind::NotFound.into()),
                Err(error) => Err(io::Error::other(error)),
            }
        })
    }
}

async fn ask(server: Option<SocketAddr>, host: &str) -> Result<Resolved, NetError> {
    let mut builder = match server {
        Some(server) => of_server(server),
        None => TokioResolver::builder_tokio()?,
    };
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4thenIpv6;
    // Whoever asks again wants to know what is true now.
    options.cache_size = 0;
    let found = builder.build()?.lookup_ip(host).await?;
    let ttl = found.valid_until().saturating_duration_since(SystemClock.monotonic());
    let addresses: Vec<IpAddr> = found.iter().collect();
    Ok(Resolved { addresses, ttl: Some(ttl.max(Duration::from_secs(1))) })
}

fn of_server(server: SocketAddr) -> ResolverBuilder<TokioRuntimeProvider> {
    let mut connection = ConnectionConfig::new(ProtocolConfig::Udp);
    connection.port = server.port();
    let name_server = NameServerConfig::new(server.ip(), true, vec![connection]);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![name_server]);
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
}

async fn ask_system(host: &str) -> io::Result<Resolved> {
    let found = tokio::net::lookup_host((host, 0)).await?;
    Ok(Resolved { addresses: found.map(|address| address.ip()).collect(), ttl: None })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::{Arc, Mutex};

    use hickory_resolver::proto::op::{Message, ResponseCode};
    use hickory_resolver::proto::rr::{RData, Record, RecordType};
    use tokio::net::UdpSocket;
    use tokio_util::task::AbortOnDropHandle;

    use super::*;

    /// A DNS server that knows the addresses of `tickets.` and no other name.
    struct Server {
        address: SocketAddr,
        known: Arc<Mutex<(Vec<Ipv4Addr>, u32)>>,
        _task: AbortOnDropHandle<()>,
    }

    impl Server {
        async fn start(addresses: &[Ipv4Addr], ttl_seconds: u32) -> Self {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let address = socket.local_addr().unwrap();
            let known = Arc::new(Mutex::new((addresses.to_vec(), ttl_seconds)));
            let shared = known.clone();
            let task = tokio::spawn(async move {
                let mut bytes = [0; 512];
                while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
                    let answer =
                        answer(&Message::from_vec(&bytes[..length]).unwrap(), &shared.lock().unwrap());
                    socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
                }
            });
            Self { address, known, _task: AbortOnDropHandle::new(task) }
        }
    }

    fn answer(request: &Message, (addresses, ttl_seconds): &(Vec<Ipv4Addr>, u32)) -> Message {
        let query = request.queries.first().unwrap().clone();
        let mut answer = request.clone().into_response();
        if query.name().to_string() != "tickets." {
            answer.metadata.response_code = ResponseCode::NXDomain;
        } else if query.query_type() == RecordType::A {
            for address in addresses {
                let data = RData::A((*address).into());
                answer.add_answer(Record::from_rdata(query.name().clone(), *ttl_seconds, data));
            }
        }
        answer
    }

    #[tokio::test]
    async fn addresses_are_found_with_the_time_for_which_they_hold_and_found_anew() {
        let (one, other) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let server = Server::start(&[one, other], 30).await;
        let resolver = SystemResolver::asking(server.address);
        let mut found = resolver.resolve("tickets".to_owned()).await.unwrap();
        found.addresses.sort();
        assert_eq!(found.addresses, [IpAddr::from(one), IpAddr::from(other)]);
        let ttl = found.ttl.unwrap();
        assert!(ttl > Duration::from_secs(25) && ttl <= Duration::from_secs(30), "{ttl:?}");

        *server.known.lock().unwrap() = (vec![other], 5);
        let found = resolver.resolve("tickets".to_owned()).await.unwrap();
        assert_eq!(found.addresses, [IpAddr::from(other)]);
        assert!(found.ttl.unwrap() <= Duration::from_secs(5));
        assert!(resolver.resolve("nobody".to_owned()).await.is_err());
    }

    #[tokio::test]
    async fn the_machine_itself_and_an_address_are_found_without_any_server() {
        for host in ["localhost", "127.0.0.1"] {
            let found = SystemResolver::default().resolve(host.to_owned()).await.unwrap();
            assert!(found.addresses.iter().all(IpAddr::is_loopback) && !found.addresses.is_empty(), "{host}");
        }
    }
}
