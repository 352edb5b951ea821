//! Waits for a database that is not there yet.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::OpenError;

/// How long to wait between the attempts to open a database.
#[derive(Clone, Copy, Debug)]
pub struct RetryOptions {
    /// The pause between two attempts, in milliseconds.
    pub pause_ms: u64,
    /// How long a database file may be in use by another process that is perhaps ending, in milliseconds; then it is an error.
    pub locked_wait_ms: u64,
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self { pause_ms: 500, locked_wait_ms: 0 }
    }
}

/// Opens a database, and tries again for as long as it is unreachable; for [`RetryOptions::locked_wait_ms`] when it is in use.
///
/// It waits without end, so that a service can start before its database: the caller drops the future to give up. Failures
/// are logged, ever more rarely.
///
/// # Errors
///
/// The first error that waiting does not mend.
pub async fn open_with_retry<T, F>(options: RetryOptions, mut open: impl FnMut() -> F) -> Result<T, OpenError>
where
    F: Future<Output = Result<T, OpenError>>,
{
    let locked_until = Instant::now() + Duration::from_millis(options.locked_wait_ms);
    let mut attempts: u32 = 0;
    loop {
        let error = match open().await {
            Ok(database) => return Ok(database),
            Err(error) => error,
        };
        let worth_a_wait = match error {
            OpenError::Unreachable(_) => true,
            OpenError::Locked(_) => Instant::now() < locked_until,
            _ => false,
        };
        if !worth_a_wait {
            return Err(error);
        }
        attempts = attempts.saturating_add(1);
        // Said at once, and then ever more rarely: a long outage must not fill the log.
        if attempts.is_power_of_two() {
            tracing::warn!(%error, attempts, "waiting for the database");
        }
        sleep(Duration::from_millis(if error.is_transient() { options.pause_ms } else { 50 })).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_unreachable_database_is_waited_for_and_a_refusal_is_not() {
        let mut attempts = 0;
        let opened = open_with_retry(RetryOptions::default(), || {
            attempts += 1;
            std::future::ready(if attempts < 5 {
                Err(OpenError::Unreachable("no".into()))
            } else {
                Ok(attempts)
            })
        });
        assert_eq!(opened.await.unwrap(), 5);
        let refused = open_with_retry::<(), _>(RetryOptions::default(), || {
            std::future::ready(Err(OpenError::NewerSchema { found: 2, known: 1 }))
        });
        assert!(matches!(refused.await, Err(OpenError::NewerSchema { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_in_use_is_waited_for_within_bounds() {
        let options = RetryOptions { pause_ms: 10, locked_wait_ms: 1_000 };
        let begin = Instant::now();
        let refused =
            open_with_retry::<(), _>(options, || std::future::ready(Err(OpenError::Locked("data".into()))));
        assert!(matches!(refused.await, Err(OpenError::Locked(_))));
        assert!((1_000..2_000).contains(&begin.elapsed().as_millis()));
    }
}
