//! What a process takes from the world: time, randomness and connections. Each is a trait, so that a test or a
//! simulated network can take its place.

mod resolver;
mod threads;

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rand::RngCore;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

pub use resolver::SystemResolver;
pub use threads::Threads;

use crate::seen::Seen;

/// The clocks of the machine.
pub trait Clock: Send + Sync + Debug {
    /// A clock that never goes back; for measuring how long something took.
    fn monotonic(&self) -> Instant;

    /// The time since the machine started, by a clock that never goes back and runs on while the machine sleeps; for leases.
    fn since_boot(&self) -> Duration;

    /// The time of day; it may jump.
    fn wall(&self) -> SystemTime;

    /// The time of day in milliseconds since 1970, 0 when the clock stands before that.
    fn unix_ms(&self) -> u64 {
        let since = self.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// A source of random bytes.
pub trait Random: Send + Sync + Debug {
    /// Fills the bytes.
    fn fill(&self, bytes: &mut [u8]);

    /// Ten random bytes: what a `UUIDv7` takes besides its time.
    fn bytes10(&self) -> [u8; 10] {
        let mut bytes = [0; 10];
        self.fill(&mut bytes);
        bytes
    }

    /// An evenly distributed number below `bound`; 0 when `bound` is 0.
    fn below(&self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        // The widening product keeps the upper half; its bias is below 2^-32 for any bound used here.
        let product = u128::from(u64::from_le_bytes(bytes)) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(0)
    }
}

/// A connection, whatever carries it.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The future of a connection that is being made.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send>>;

/// What makes connections.
pub trait Connector: Send + Sync + Debug {
    /// Connects to a host (a name or an IP address) and port. Dropping the future gives up.
    fn connect(&self, host: String, port: u16) -> Connecting;
}

/// The addresses behind a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The addresses, in no order.
    pub addresses: Vec<IpAddr>,
    /// How long the answer holds; none where the resolver does not know.
    pub ttl: Option<Duration>,
}

/// The future of a name that is being resolved.
pub type Resolving = Pin<Box<dyn Future<Output = io::Result<Resolved>> + Send>>;

/// What resolves names.
pub trait Resolver: Send + Sync + Debug {
    /// Finds all addresses of a host. Dropping the future gives up.
    fn resolve(&self, host: String) -> Resolving;
}

/// What a process takes from the world.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub random: Arc<dyn Random>,
    /// What makes connections.
    pub connector: Arc<dyn Connector>,
    /// What resolves names that stand for several instances.
    pub resolver: Arc<dyn Resolver>,
    /// Threads on which connections are served.
    pub threads: Threads,
    /// What the servers and callers that are given this have seen; another process has its own.
    pub seen: Seen,
}

impl Environment {
    /// The real clocks, the operating system's randomness, TCP, DNS as the machine is configured, and no threads of its own.
    #[must_use]
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            connector: Arc::new(Tcp),
            resolver: Arc::new(SystemResolver::default()),
            threads: Threads::default(),
            seen: Seen::new(),
        }
    }
}

/// The one clock that neither goes back nor stands while the machine sleeps.
const SINCE_BOOT: rustix::time::ClockId = rustix::time::ClockId::Boottime;

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn monotonic(&self) -> Instant {
        // The runtime's clock is the machine's, but stands still where a test has paused the time.
        tokio::time::Instant::now().into_std()
    }

    fn since_boot(&self) -> Duration {
        let time = rustix::time::clock_gettime(SINCE_BOOT);
        let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
        Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place where the machine's clock is read")]
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A generator that is seeded by the operating system.
#[derive(Clone, Copy, Debug)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

/// Plain TCP.
#[derive(Clone, Copy, Debug)]
pub struct Tcp;

impl Connector for Tcp {
    fn connect(&self, host: String, port: u16) -> Connecting {
        Box::pin(async move {
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            // A request is small and is waited for: it must not wait for more bytes to fill a packet.
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fixed(u8);

    impl Random for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn a_number_stays_below_its_bound() {
        for bound in [0, 1, 2, 1000, u64::MAX] {
            assert_eq!(Fixed(0).below(bound), 0);
            assert_eq!(Fixed(255).below(bound), bound.saturating_sub(1));
        }
    }

    /// The time since the machine started, sleep included, as the system tells it in hundredths of a second.
    fn uptime() -> Duration {
        let text = std::fs::read_to_string("/proc/uptime").unwrap();
        Duration::from_secs_f64(text.split(' ').next().unwrap().parse().unwrap())
    }

    #[test]
    fn leases_go_by_a_clock_that_runs_on_while_the_machine_sleeps() {
        let (before, now, after) = (uptime(), SystemClock.since_boot(), uptime());
        let hundredth = Duration::from_millis(10);
        assert!(before <= now + hundredth && now <= after + hundredth, "{before:?} {now:?} {after:?}");
        // A machine that never slept cannot tell the two clocks apart, so the name has to.
        assert_eq!(SINCE_BOOT, rustix::time::ClockId::Boottime);
    }

    #[test]
    fn the_system_gives_a_time_of_this_century() {
        assert!(SystemClock.unix_ms() > 1_700_000_000_000);
        assert_ne!(SystemRandom.bytes10(), SystemRandom.bytes10());
    }
}
