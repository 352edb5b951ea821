//! Queries, so many at once, and what came of them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use futures_util::{StreamExt, stream};
use tonic::{Response, Status};

use super::log::Log;
use super::tried::{self, Try};
use crate::exit::Failure;

/// What came of one query.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) tries: Vec<Try>,
    /// Why it failed; none where it was answered, and rightly.
    pub(super) failure: Option<String>,
}

impl Answer {
    /// The answer of a call; `wrong` says what is wrong with what it brought.
    pub(super) fn of<T>(
        answer: Result<Response<T>, Status>,
        wrong: impl FnOnce(&T) -> Option<String>,
    ) -> Self {
        match answer {
            Ok(response) => {
                Self { tries: tried::read(response.metadata()), failure: wrong(response.get_ref()) }
            }
            Err(status) => {
                let why = format!("{}: {}", mesh::errors::code_name(status.code()), status.message());
                Self { tries: tried::read(status.metadata()), failure: Some(why) }
            }
        }
    }
}

/// What came of all queries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) queries: u64,
    pub(super) failed: u64,
    /// Queries for which more than one instance was asked, or one more than once.
    pub(super) fallbacks: u64,
    /// How often each version was asked, as the caller saw it.
    pub(super) asked: BTreeMap<String, u64>,
}

impl Tally {
    fn count(&mut self, answer: &Answer) {
        self.queries += 1;
        self.failed += u64::from(answer.failure.is_some());
        self.fallbacks += u64::from(answer.tries.len() > 1);
        for version in answer.tries.iter().filter_map(|one| one.version.as_ref()) {
            *self.asked.entry(version.clone()).or_default() += 1;
        }
    }

    /// How often a version was asked.
    pub(super) fn asked(&self, version: &str) -> u64 {
        self.asked.get(version).copied().unwrap_or_default()
    }
}

/// Makes the queries with these numbers, at most so many at once, and tells each that fell back or failed.
pub(super) async fn load<Fut: Future<Output = Answer>>(
    numbers: RangeInclusive<u64>,
    in_flight: u32,
    log: &Log,
    query: impl Fn(u64) -> Fut,
) -> Result<Tally, Failure> {
    let in_flight = usize::try_from(in_flight).unwrap_or(usize::MAX);
    let mut answers = stream::iter(numbers)
        .map(|number| {
            let answer = query(number);
            async move { (number, answer.await) }
        })
        .buffer_unordered(in_flight);
    let mut tally = Tally::default();
    while let Some((number, answer)) = answers.next().await {
        tally.count(&answer);
        log.answered();
        if let Some(why) = &answer.failure {
            log.failed(number, why, &answer.tries)?;
        } else if answer.tries.len() > 1 {
            log.fallback(number, &answer.tries)?;
        }
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Output;

    #[tokio::test]
    async fn what_came_of_queries_is_counted() {
        let asked = |version: &str, outcome: &str| Try {
            version: Some(version.to_owned()),
            outcome: outcome.to_owned(),
        };
        let query = |number: u64| {
            let (first, second) = (asked("1.0.1", "UNAVAILABLE"), asked("1.0.0", "OK"));
            let answer = match number {
                1 => Answer { tries: vec![first, second], failure: None },
                2 => Answer { tries: vec![first], failure: Some("UNAVAILABLE: no".to_owned()) },
                _ => Answer { tries: vec![asked("1.0.1", "OK")], failure: None },
            };
            std::future::ready(answer)
        };
        let tally = load(1..=10, 3, &Log::new(Output::Table, 10), query).await.unwrap();
        assert_eq!((tally.queries, tally.failed, tally.fallbacks), (10, 1, 1));
        assert_eq!((tally.asked("1.0.1"), tally.asked("1.0.0"), tally.asked("2.0.0")), (10, 1, 0));
    }
}
