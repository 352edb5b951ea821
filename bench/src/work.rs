//! What is asked of a server, the same of ours and of its rival.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mesh::environment::{Clock, Random, SystemClock, SystemRandom};
use uuid::Uuid;

/// Customers who are granted games, each a new one each time.
const GRANTED_CUSTOMERS: u64 = 10_000;
/// Customers whose lists are read.
pub(crate) const LISTED_CUSTOMERS: u64 = 1_000;
/// Games of each of them.
pub(crate) const LISTED_GAMES: u64 = 10;
/// The game of which there is a limited number of copies.
pub(crate) const LIMITED_GAME: &str = "limited-edition";
/// Its copies: the most that the contract allows, far more than any run sells.
pub(crate) const LIMITED_COPIES: u64 = 1_000_000_000;
/// Who did it, as the log says.
pub(crate) const ACTOR: &str = "bench";

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Grants one game that the customer does not own.
    Grant,
    /// Grants a copy of a limited edition to a customer who has none.
    GrantFromStock,
    /// Lists a customer's ten games, strongly.
    StrongList,
}

impl Work {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::GrantFromStock => "last copies of a limited edition",
            Self::StrongList => "strong list",
        }
    }

    /// Threads on which the arbiter serves it, as many as is best for it: what is decided by one writer is best served beside it.
    pub(crate) fn arbiter_threads(self) -> u32 {
        match self {
            Self::Grant | Self::GrantFromStock => 1,
            Self::StrongList => 2,
        }
    }

    /// What the names of its customers begin with; a number of twelve digits follows.
    pub(crate) fn customer_prefix(self) -> &'static str {
        match self {
            Self::Grant => "granted-",
            Self::GrantFromStock => "collector-",
            Self::StrongList => "listed-",
        }
    }
}

/// A kind of request, and how many of them are made at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) work: Work,
    pub(crate) in_flight: usize,
    /// Customers among whom the requests are spread.
    pub(crate) customers: u64,
}

impl Job {
    pub(crate) fn new(work: Work, in_flight: usize) -> Self {
        let customers = match work {
            Work::Grant => GRANTED_CUSTOMERS,
            // Each collector gets one copy.
            Work::GrantFromStock => u64::MAX,
            Work::StrongList => LISTED_CUSTOMERS,
        };
        Self { work, in_flight, customers }
    }
}

/// One request of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) id: Uuid,
    pub(crate) customer: u64,
    pub(crate) game: u64,
}

/// The name of the customer with this number.
pub(crate) fn customer_name(prefix: &str, customer: u64) -> String {
    format!("{prefix}{customer:012}")
}

/// The name of the game with this number.
pub(crate) fn game_name(game: u64) -> String {
    format!("game-{game:012}")
}

/// Where the callers of one server get their requests: no two are the same, however many threads take them.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    job: Job,
    numbers: Arc<AtomicU64>,
    ids: Ids,
}

impl Requests {
    pub(crate) fn new(job: Job) -> Self {
        Self { job, numbers: Arc::default(), ids: Ids::new() }
    }

    /// The same requests for one more caller, with ids of its own.
    pub(crate) fn another(&self) -> Self {
        Self { job: self.job, numbers: Arc::clone(&self.numbers), ids: Ids::new() }
    }

    /// Requests of another job that go on where these end, from this number at least.
    pub(crate) fn of_job(&self, job: Job, from: u64) -> Self {
        self.numbers.fetch_max(from, Ordering::Relaxed);
        Self { job, ..self.another() }
    }

    pub(crate) fn job(&self) -> Job {
        self.job
    }

    pub(crate) fn next(&mut self) -> Request {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        // A step that shares no factor with the number of customers visits all of them.
        let customer = match self.job.work {
            Work::GrantFromStock => number,
            Work::Grant | Work::StrongList => number.wrapping_mul(7_919) % self.job.customers,
        };
        Request { id: self.ids.next(), customer, game: number }
    }
}

/// Request ids of version 7, made without asking the system for randomness each time: the load must cost little.
#[derive(Clone, Debug)]
struct Ids {
    state: u64,
}

impl Ids {
    fn new() -> Self {
        let mut seed = [0; 8];
        SystemRandom.fill(&mut seed);
        Self { state: u64::from_le_bytes(seed) }
    }

    fn next(&mut self) -> Uuid {
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&self.scrambled().to_le_bytes());
        bytes[8..].copy_from_slice(&self.scrambled().to_le_bytes()[..2]);
        uuid::Builder::from_unix_timestamp_millis(SystemClock.unix_ms(), &bytes).into_uuid()
    }

    /// The next number of the generator "splitmix64", which is even enough and costs a few nanoseconds.
    fn scrambled(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_requests_are_the_same() {
        let mut first = Requests::new(Job::new(Work::Grant, 2));
        let mut second = first.another();
        let requests: Vec<Request> = (0..100).flat_map(|_| [first.next(), second.next()]).collect();
        assert_eq!(requests.iter().map(|request| request.id).collect::<HashSet<_>>().len(), 200);
        assert_eq!(requests.iter().map(|request| request.game).collect::<HashSet<_>>().len(), 200);
        assert!(requests.iter().all(|request| request.id.get_version_num() == 7));
    }

    #[test]
    fn all_customers_are_visited() {
        let mut requests = Requests::new(Job::new(Work::StrongList, 1));
        let customers: HashSet<u64> = (0..LISTED_CUSTOMERS).map(|_| requests.next().customer).collect();
        assert_eq!(customers.len() as u64, LISTED_CUSTOMERS);
    }
}
