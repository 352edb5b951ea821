//! A name that stands for all instances of a service, as a headless service of Kubernetes does, resolved again and
//! again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;

use super::{Discovery, EndpointStream, Endpoints};
use crate::environment::{Environment, Resolver};
use crate::outbound::Address;

/// How often a name is resolved.
#[derive(Clone, Copy, Debug)]
pub struct DnsConfig {
    /// Time between two resolutions, in milliseconds, where the resolver does not tell how long its answer holds; and
    /// after one that failed.
    pub interval_ms: u64,
    /// The shortest time between two resolutions, in milliseconds, whatever an answer says.
    pub min_interval_ms: u64,
    /// The longest time between two resolutions, in milliseconds, whatever an answer says: a name in a file of hosts holds
    /// for ever.
    pub max_interval_ms: u64,
    /// Time for one resolution, in milliseconds.
    pub timeout_ms: u64,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self { interval_ms: 5_000, min_interval_ms: 1_000, max_interval_ms: 60_000, timeout_ms: 5_000 }
    }
}

/// A name whose addresses are the instances, all on one port. A resolution that fails keeps the addresses that were
/// found before: the instances themselves tell whether they are still there.
#[derive(Clone, Debug)]
pub struct Dns {
    host: String,
    port: u16,
    config: DnsConfig,
    resolver: Arc<dyn Resolver>,
}

impl Dns {
    /// The instances behind a name.
    #[must_use]
    pub fn new(address: &Address, config: DnsConfig, environment: &Environment) -> Self {
        let (host, port) = (address.host().to_owned(), address.port());
        Self { host, port, config, resolver: environment.resolver.clone() }
    }

    /// The addresses, where they could be found, and the time until the next resolution.
    async fn resolve(&self) -> (Option<Endpoints>, Duration) {
        let interval = Duration::from_millis(self.config.interval_ms);
        let resolving = self.resolver.resolve(self.host.clone());
        match tokio::time::timeout(Duration::from_millis(self.config.timeout_ms), resolving).await {
            Ok(Ok(resolved)) => {
                let addresses = resolved.addresses.into_iter().map(|ip| Address::from((ip, self.port)));
                // The shortest time goes first, where it was set above the longest.
                let wait = resolved
                    .ttl
                    .unwrap_or(interval)
                    .min(Duration::from_millis(self.config.max_interval_ms))
                    .max(Duration::from_millis(self.config.min_interval_ms));
                (Some(Arc::new(addresses.collect())), wait)
            }
            Ok(Err(error)) => {
                tracing::warn!(host = self.host, %error, "the name cannot be resolved, what was found before is kept");
                (None, interval)
            }
            Err(_) => {
                let timeout_ms = self.config.timeout_ms;
                tracing::warn!(host = self.host, timeout_ms, "the name was not resolved in time");
                (None, interval)
            }
        }
    }
}

impl Discovery for Dns {
    fn endpoints(&self) -> EndpointStream {
        let begin = (self.clone(), None::<Endpoints>, Duration::ZERO);
        let sets = futures_util::stream::unfold(begin, |(dns, known, wait)| async move {
            tokio::time::sleep(wait).await;
            let (found, wait) = dns.resolve().await;
            let new = found.filter(|found| known.as_ref() != Some(found));
            let known = new.clone().or(known);
            Some((new, (dns, known, wait)))
        });
        Box::pin(sets.filter_map(std::future::ready))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::IpAddr;
    use std::sync::Mutex;

    use tokio::time::Instant;

    use super::*;
    use crate::environment::{Resolved, Resolving};

    /// Answers one after the other, and the last one for ever.
    #[derive(Debug)]
    struct Script(Mutex<Vec<io::Result<Resolved>>>);

    impl Resolver for Script {
        fn resolve(&self, host: String) -> Resolving {
            assert_eq!(host, "tickets");
            let mut answers = self.0.lock().unwrap();
            let answer =
                if answers.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { answers.remove(0) };
            Box::pin(std::future::ready(answer))
        }
    }

    fn found(addresses: &[[u8; 4]], ttl_ms: Option<u64>) -> Resolved {
        let addresses = addresses.iter().map(|ip| IpAddr::from(*ip)).collect();
        Resolved { addresses, ttl: ttl_ms.map(Duration::from_millis) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_resolved_again_when_its_answer_no_longer_holds() {
        let script = vec![
            Ok(found(&[[10, 0, 0, 1]], Some(30_000))),
            Err(io::ErrorKind::TimedOut.into()),
            Ok(found(&[[10, 0, 0, 1]], None)),
            Ok(found(&[[10, 0, 0, 2], [10, 0, 0, 1]], Some(0))),
            Ok(found(&[], None)),
        ];
        let environment =
            Environment { resolver: Arc::new(Script(Mutex::new(script))), ..Environment::system() };
        let config = DnsConfig::default();
        let mut sets = Dns::new(&"tickets:70".parse().unwrap(), config, &environment).endpoints();
        let began = Instant::now();
        let mut next = async || {
            let set = sets.next().await.unwrap();
            let set: Vec<_> = set.iter().map(ToString::to_string).collect();
            (set.join(" "), began.elapsed().as_secs())
        };
        assert_eq!(next().await, ("http://10.0.0.1:70".to_owned(), 0));
        // The failure and the same answer again are no new set: 30 s of TTL, 5 s after the failure, 5 s without TTL.
        assert_eq!(next().await, ("http://10.0.0.1:70 http://10.0.0.2:70".to_owned(), 40));
        assert_eq!(next().await, (String::new(), 41));
    }
}
