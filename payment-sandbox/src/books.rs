//! The books: one task writes them, in the order of the calls, and answers after the commit.

use std::sync::Arc;

use database::Sqlite;
use gameshelf::ids::PaymentId;
use mesh::environment::Clock;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::behavior::Behavior;
use crate::ledger::{self, Authorization, Authorized, Call, Payment, Refusal};
use crate::store::{self, StoreError};

/// What changes the books.
#[derive(Debug)]
pub(crate) enum Command {
    Authorize(Authorization),
    Settle(Call),
}

/// What became of a command. It is durable.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) result: Result<Payment, Refusal>,
    /// Whether this command was known, so that it had no effect now.
    pub(crate) replayed: bool,
    /// How the payment's token asks the sandbox to behave.
    pub(crate) behavior: Behavior,
}

/// Why a command got no outcome.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BooksError {
    /// As many commands wait as may; this one was not enqueued.
    #[error("the queue of the books is full")]
    QueueFull,
    /// The books are closed; this command was not enqueued.
    #[error("the books are closed")]
    Closed,
    /// The books could not be used. Whether the command was kept is not known.
    #[error(transparent)]
    Store(#[from] StoreError),
}

struct Job {
    command: Command,
    reply: oneshot::Sender<Result<Outcome, BooksError>>,
}

/// A handle to the books. Cheap to clone; the writer ends when the last one is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Books {
    jobs: mpsc::Sender<Job>,
    database: Arc<Sqlite>,
}

impl Books {
    /// Starts the writer. `batch_max` commands at most share one commit; `queue_max` at most wait for it.
    pub(crate) fn start(
        database: Sqlite,
        clock: Arc<dyn Clock>,
        queue_max: usize,
        batch_max: usize,
    ) -> (Self, JoinHandle<()>) {
        let database = Arc::new(database);
        let (jobs, receiver) = mpsc::channel(queue_max);
        let writer = tokio::spawn(write(Arc::clone(&database), clock, receiver, batch_max));
        (Self { jobs, database }, writer)
    }

    /// Executes a command. It is executed also when the caller stops waiting.
    pub(crate) async fn execute(&self, command: Command) -> Result<Outcome, BooksError> {
        let (reply, outcome) = oneshot::channel();
        self.jobs.try_send(Job { command, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => BooksError::QueueFull,
            mpsc::error::TrySendError::Closed(_) => BooksError::Closed,
        })?;
        outcome.await.map_err(|_| BooksError::Closed)?
    }

    /// The payment as it stands.
    pub(crate) async fn payment(&self, payment_id: PaymentId) -> Result<Option<Payment>, StoreError> {
        let mut connection = self.database.readers.acquire().await?;
        store::find_payment(&mut connection, payment_id).await
    }
}

async fn write(
    database: Arc<Sqlite>,
    clock: Arc<dyn Clock>,
    mut receiver: mpsc::Receiver<Job>,
    batch_max: usize,
) {
    let mut jobs = Vec::with_capacity(batch_max);
    while receiver.recv_many(&mut jobs, batch_max).await > 0 {
        match commit(&database, clock.as_ref(), &jobs).await {
            Ok(outcomes) => {
                for (job, outcome) in jobs.drain(..).zip(outcomes) {
                    // A caller that went away repeats the call when it wants the outcome.
                    let _ = job.reply.send(Ok(outcome));
                }
            }
            Err(error) => {
                tracing::error!(%error, commands = jobs.len(), "the books were not written");
                for job in jobs.drain(..) {
                    let _ = job.reply.send(Err(BooksError::Store(error.clone())));
                }
            }
        }
    }
}

#[tracing::instrument(name = "books.commit", skip_all, fields(commands = jobs.len()))]
async fn commit(database: &Sqlite, clock: &dyn Clock, jobs: &[Job]) -> Result<Vec<Outcome>, StoreError> {
    let mut connection = database.writer.acquire().await?;
    // IMMEDIATE takes the write lock at once, so that what is read cannot change before it is written.
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut outcomes = Vec::with_capacity(jobs.len());
    for job in jobs {
        outcomes.push(execute(&mut transaction, &job.command, clock.unix_ms()).await?);
    }
    transaction.commit().await?;
    Ok(outcomes)
}

async fn execute(
    connection: &mut SqliteConnection,
    command: &Command,
    unix_ms: u64,
) -> Result<Outcome, StoreError> {
    match command {
        Command::Authorize(request) => authorize(connection, request, unix_ms).await,
        Command::Settle(call) => settle(connection, call, unix_ms).await,
    }
}

async fn authorize(
    connection: &mut SqliteConnection,
    request: &Authorization,
    unix_ms: u64,
) -> Result<Outcome, StoreError> {
    let behavior = Behavior::of_token(&request.payment_token);
    let found = store::find_payment(connection, request.payment_id).await?;
    let (result, replayed) = match ledger::authorize(found, request, unix_ms) {
        Ok(Authorized::First(payment)) => {
            store::save_payment(connection, &payment).await?;
            (Ok(payment), false)
        }
        Ok(Authorized::Repeat(payment)) => (Ok(payment), true),
        Err(refusal) => (Err(refusal), true),
    };
    Ok(Outcome { result, replayed, behavior })
}

async fn settle(connection: &mut SqliteConnection, call: &Call, unix_ms: u64) -> Result<Outcome, StoreError> {
    if let Some(stored) = store::find_call(connection, call.request_id).await? {
        let result = if stored.call == *call { stored.outcome } else { Err(Refusal::Reused) };
        return Ok(Outcome { result, replayed: true, behavior: Behavior::Approve });
    }
    let found = store::find_payment(connection, call.payment_id).await?;
    let asked = found.as_ref().and_then(|payment| payment.asked.as_ref());
    let behavior = asked.map_or(Behavior::Approve, |asked| asked.behavior);
    let result = ledger::settle(found, call, unix_ms);
    if let Ok(payment) = &result {
        store::save_payment(connection, payment).await?;
    }
    store::save_call(connection, call, &result).await?;
    Ok(Outcome { result, replayed: false, behavior })
}
