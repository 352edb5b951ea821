//! The quick search for what serves a shared database best, so that it is compared at its best.

use std::iter;
use std::rc::Rc;

use anyhow::Context;

use super::shared::{Arrangement, Checkout, Shared, Tuning, prepare};
use crate::load::Slice;
use crate::servers::{Database, Postgres, Runtime};
use crate::settings::SEARCH_PASSES;
use crate::work::{Job, Requests, Work};

/// Sizes of a pool that are tried.
const SIZES: [u32; 4] = [8, 16, 32, 64];
/// And where callers wait for one row, fewer connections do better.
const SIZES_FOR_ONE_ROW: [u32; 7] = [1, 2, 4, 8, 16, 32, 64];

/// How many connections a rival has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// As many as are best for it.
    Best,
    /// One for each caller.
    PerCaller,
}

/// The tuning with the highest rate: the size first, then the runtime and the kind of pool at that size.
pub(crate) fn best(
    server: &Rc<Postgres>,
    job: Job,
    arrangement: Arrangement,
    size: Size,
    slice: Slice,
) -> anyhow::Result<Tuning> {
    let database = server.create_database()?;
    prepare(&database, job.work)?;
    let search = Search { database, requests: Requests::new(job), arrangement, slice };
    let in_flight = u32::try_from(job.in_flight)?;
    let sizes: &[u32] = if job.work == Work::GrantFromStock { &SIZES_FOR_ONE_ROW } else { &SIZES };
    let sizes: Vec<u32> = match size {
        Size::Best if in_flight > SIZES[0] => {
            sizes.iter().copied().filter(|size| *size <= in_flight).collect()
        }
        Size::Best | Size::PerCaller => vec![in_flight],
    };
    let plain =
        |connections| Tuning { runtime: Runtime::CurrentThread, checkout: Checkout::Plain, connections };
    let (sized, rate) = search.fastest(sizes.into_iter().map(plain))?;
    let workers = [Runtime::OneWorker, Runtime::TwoWorkers].map(|runtime| Tuning { runtime, ..sized });
    let pool = Tuning { checkout: Checkout::Pool, ..sized };
    let (other, other_rate) = search.fastest(workers.into_iter().chain([pool]))?;
    Ok(if other_rate > rate { other } else { sized })
}

struct Search {
    database: Database,
    /// Each candidate goes on where the one before it ended.
    requests: Requests,
    arrangement: Arrangement,
    slice: Slice,
}

impl Search {
    fn fastest(&self, tunings: impl Iterator<Item = Tuning> + Clone) -> anyhow::Result<(Tuning, f64)> {
        let mut fastest = None;
        for tuning in iter::repeat_n(tunings, SEARCH_PASSES).flatten() {
            let shared = Shared::start(&self.database, self.requests.another(), self.arrangement, tuning)?;
            let rate = shared.closed(self.slice)?.per_second();
            if fastest.is_none_or(|(_, highest)| rate > highest) {
                fastest = Some((tuning, rate));
            }
        }
        fastest.context("there is nothing to choose from")
    }
}
