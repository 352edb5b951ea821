//! The closed loop: each caller sends its next request when the one before it is answered.

use tokio::task::JoinSet;
use tokio::time::Instant;

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
        let log = task??;
        measured.requests += log.latencies_us.len() as u64;
        measured.calls += log.calls;
        for latency_us in log.latencies_us {
            measured.latency_us.saturating_record(u64::from(latency_us));
        }
    }
    Ok(measured)
}

/// What one caller saw. Latencies are only noted here: a histogram for each caller would fill the processor's cache.
struct Log {
    latencies_us: Vec<u32>,
    calls: u64,
}

async fn one_caller<C: Caller>(mut caller: C, from: Instant, until: Instant) -> anyhow::Result<Log> {
    let mut log = Log { latencies_us: Vec::new(), calls: 0 };
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
