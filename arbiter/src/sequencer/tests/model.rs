//! Random histories: whatever happens, an arbiter on either store and the model say the same, outcome by outcome, and have
//! the same state at every revision in the end. So both stores agree with each other too.

mod agree;
mod steps;
mod world;

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::harness::*;
use steps::{CUSTOMERS, Change, Condition, Draft, GAMES, Pair, Step, history};
use world::{Model, RETENTION_MS};

/// Few by default, since everyone waits for them; `PROPTEST_CASES` says how many.
fn config(cases: u32) -> Config {
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { Config::default().cases } else { cases };
    Config { cases, max_shrink_time: 20_000, failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn any_history_on_sqlite_agrees_with_the_model((cache_bytes, steps) in history()) {
        block_on(async move { run(TestStore::sqlite().await, cache_bytes, steps).await });
    }
}

proptest! {
    // Each has a database of its own, which takes the server a while.
    #![proptest_config(config(8))]

    #[test]
    fn any_history_on_postgres_agrees_with_the_model((cache_bytes, steps) in history()) {
        block_on(async move { run(TestStore::postgres().await, cache_bytes, steps).await });
    }
}

fn block_on(history: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(history);
}

async fn run(test: TestStore, cache_bytes: u64, steps: Vec<Step>) {
    let clock = TestClock::new();
    let mut history = History::new(test, clock, cache_bytes).await;
    for step in steps {
        history = match step {
            Step::Restart => history.restart().await,
            step => {
                history.take(step).await;
                history
            }
        };
    }
    history.end_what_is_due().await;
    history.agree(1).await;
    let History { arbiter, .. } = history;
    arbiter.stop().await.unwrap();
}

/// An arbiter and the model, side by side.
struct History {
    test: TestStore,
    store: Arc<FaultyStore>,
    clock: Arc<TestClock>,
    cache_bytes: u64,
    arbiter: Running,
    model: Model,
    asked: Vec<(RequestId, Command)>,
    /// Makes ids and times unlike each other.
    counter: u64,
    /// Time passed since the last request.
    passed: bool,
}

async fn start_arbiter(store: &Arc<FaultyStore>, clock: &Arc<TestClock>, cache_bytes: u64) -> Running {
    let limits = SequencerLimits { request_retention_ms: RETENTION_MS, ..LIMITS };
    let setup = Setup { limits, cache_bytes, ..Setup::with_clock(clock) };
    start_with(&(Arc::clone(store) as SharedStore), setup).await
}

fn pair((customer, game): Pair) -> Key {
    key(CUSTOMERS[customer], GAMES[game])
}

impl History {
    async fn new(test: TestStore, clock: Arc<TestClock>, cache_bytes: u64) -> Self {
        let (store, _) = faulty(&test, &[]);
        let arbiter = start_arbiter(&store, &clock, cache_bytes).await;
        let (model, asked) = (Model::new(), Vec::new());
        Self { test, store, clock, cache_bytes, arbiter, model, asked, counter: 0, passed: false }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Ask(draft) => self.ask(vec![draft]).await,
            Step::Together(drafts) => self.ask(drafts).await,
            Step::Read(customer) => {
                self.end_what_is_due().await;
                agree::with_reads(&self.model, &self.arbiter, CUSTOMERS[customer]).await;
            }
            Step::Pass { seconds } => {
                self.end_what_is_due().await;
                self.clock.advance(seconds * 1_000);
                self.passed = true;
            }
            Step::Fail(fault) => self.store.push_fault(fault),
            Step::Restart => unreachable!("it takes another arbiter"),
        }
    }

    /// Waits until what is due has ended: a request that changes nothing comes after it.
    async fn end_what_is_due(&mut self) {
        if self.passed {
            let change = Change::Revoke { pair: (0, 0), on_not_owned: Skip };
            let condition = Condition::UnchangedSince { customer: 0, game: None, back: 0 };
            self.ask(vec![Draft::New { conditions: vec![condition], changes: vec![change] }]).await;
        }
    }

    async fn agree(&self, one_of: usize) {
        agree::with_all(&self.model, &self.test, &self.arbiter, one_of).await;
    }

    /// Stops or kills the process and starts another one, which finds everything as it was.
    async fn restart(mut self) -> Self {
        self.end_what_is_due().await;
        let Self { mut test, store, clock, arbiter, .. } = self;
        arbiter.stop().await.unwrap();
        // The file's lock goes with the last owner of the store.
        drop(store);
        if self.counter.is_multiple_of(2) {
            test.reopen().await;
        } else {
            test.crash().await;
        }
        let (store, _) = faulty(&test, &[]);
        let arbiter = start_arbiter(&store, &clock, self.cache_bytes).await;
        let restarted = Self { test, store, clock, arbiter, ..self };
        restarted.agree(5).await;
        restarted
    }

    async fn ask(&mut self, drafts: Vec<Draft>) {
        // A request that comes again does not come in the same millisecond: what it wrote itself is told apart by that.
        self.clock.advance(1);
        let now_ms = self.clock.now_ms();
        self.passed = false;
        let requests: Vec<_> = drafts.into_iter().map(|draft| self.request(draft, now_ms)).collect();
        self.model.end_what_is_due(now_ms);
        let expected: Vec<_> =
            requests.iter().map(|(id, command)| self.model.ask(*id, command, now_ms)).collect();
        let answers = self.arbiter.ask_together(requests.clone()).await;
        for ((answer, expected), request) in answers.into_iter().zip(expected).zip(&requests) {
            assert_eq!(answer, expected, "{request:?}");
        }
    }

    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn new_id(&mut self, made_at_ms: u64) -> RequestId {
        let number = self.next();
        let mut random = [0; 10];
        random[2..].copy_from_slice(&number.to_be_bytes());
        RequestId::new_v7(made_at_ms, random)
    }

    fn request(&mut self, draft: Draft, now_ms: u64) -> (RequestId, Command) {
        let asked = match draft {
            Draft::New { conditions, changes } => {
                let preconditions = conditions.iter().map(|one| self.condition(one)).collect();
                let operations = changes.iter().map(|one| self.operation(one, now_ms)).collect();
                (self.new_id(now_ms), Command { preconditions, operations, cause: cause() })
            }
            Draft::Again { back, other } => {
                let Some((id, mut command)) = self.asked.iter().rev().nth(back).cloned() else {
                    return self.request(Draft::OfAnotherTime { back_ms: 0 }, now_ms);
                };
                if other {
                    command.cause = Arc::new(Cause { order_id: "other".to_owned(), ..(*cause()).clone() });
                }
                (id, command)
            }
            Draft::OfAnotherTime { back_ms } => {
                let made_at_ms = now_ms.saturating_add_signed(-back_ms);
                (self.new_id(made_at_ms), grant(CUSTOMERS[0], &[GAMES[0]], Skip))
            }
        };
        self.asked.push(asked.clone());
        asked
    }

    fn condition(&self, condition: &Condition) -> Precondition {
        match *condition {
            Condition::NotOwned(one) => Precondition::NotOwned(pair(one)),
            Condition::Owned(one) => Precondition::Owned(pair(one)),
            Condition::UnchangedSince { customer, game, back } => Precondition::UnchangedSince {
                customer_id: CUSTOMERS[customer].parse().unwrap(),
                game_id: game.map(|game| GAMES[game].parse().unwrap()),
                revision: (self.model.revision() + 1).saturating_sub(back),
            },
        }
    }

    /// Times differ from each other by their milliseconds, so that what ends first is certain.
    fn operation(&mut self, change: &Change, now_ms: u64) -> Operation {
        let in_seconds = |seconds: u64, number: u64| seconds * 1_000 + number % 1_000;
        match *change {
            Change::Grant { pair: one, on_owned, lasts_seconds } => {
                let ends_at_ms = lasts_seconds.map(|seconds| now_ms + in_seconds(seconds, self.next()));
                // Now and then the end is past already.
                let ends_at_ms = ends_at_ms.map(|at| if at < now_ms + 1_000 { at - 1_000 } else { at });
                Operation::Grant { key: pair(one), on_owned, ends_at_ms }
            }
            Change::Revoke { pair: one, on_not_owned } => Operation::Revoke { key: pair(one), on_not_owned },
            Change::Transfer { pair: (from, game), to } => Operation::Transfer {
                from: CUSTOMERS[from].parse().unwrap(),
                to: CUSTOMERS[to].parse().unwrap(),
                game_id: GAMES[game].parse().unwrap(),
            },
            Change::Reserve { pair: one, hold_seconds } => {
                Operation::Reserve { key: pair(one), hold_ms: in_seconds(hold_seconds, self.next()) }
            }
            Change::Confirm { back } => Operation::Confirm { reservation_id: self.reservation(back) },
            Change::Release { back } => Operation::Release { reservation_id: self.reservation(back) },
            Change::SetStock { game, add, copies } => {
                let amount = if add { StockAmount::Add(copies) } else { StockAmount::Total(copies) };
                Operation::SetStock { game_id: GAMES[game].parse().unwrap(), amount }
            }
        }
    }

    /// The reservation that was asked for so many before, whatever became of it; none is known by nobody's id.
    fn reservation(&self, back: usize) -> RequestId {
        let reserves = |command: &Command| matches!(command.operations[0], Operation::Reserve { .. });
        let mut asked = self.asked.iter().rev().filter(|(_, command)| reserves(command));
        asked.nth(back).map_or(id(1), |(id, _)| *id)
    }
}
