//! The closed loop: each caller sends its next request when the one before it is answered.

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::lane::Log;
use super::{Caller, Measured, Slice};

/// Keeps every caller busy, and counts the requests that are sent and answered in the measured time. Any error ends it: a
/// rate of refusals is no rate.
pub(crate) async fn closed<C: Caller>(callers: Vec<C>, slice: Slice) -> anyhow::Result<Measured> {
    let from = Instant::now() + slice.warmup;
    let until = from + slice.measured;
    let mut tasks = JoinSet::new();
    for caller in callers {
        tasks.spawn(one_caller(caller, from, until));
    }
    let mut measured = Measured::new(slice.measured);
    while let Some(task) = tasks.join_next().await {
        measured.add_log(&task??);
    }
    Ok(measured)
}

async fn one_caller<C: Caller>(mut caller: C, from: Instant, until: Instant) -> anyhow::Result<Log> {
    let mut log = Log::default();
    let mut begin = Instant::now();
    while begin < until {
        caller.call().await?;
        log.calls += 1;
        let end = Instant::now();
        if begin >= from && end < until {
            log.latencies_us.push(u32::try_from((end - begin).as_micros()).unwrap_or(u32::MAX));
        }
        begin = end;
    }
    Ok(log)
}
