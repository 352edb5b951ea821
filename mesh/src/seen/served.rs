//! What was served, by method.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use opentelemetry::{KeyValue, StringValue};

use super::{MAX_SERVED, OTHER};
use crate::proto::v1::ServedMethod;
use crate::rpc;

/// The methods that were asked for.
#[derive(Default)]
pub(crate) struct Served {
    methods: RwLock<HashMap<Box<str>, Arc<Incoming>>>,
    other: Arc<Incoming>,
}

/// One method that is served.
pub(crate) struct Incoming {
    /// `package.Service/Method`.
    name: Box<str>,
    service: StringValue,
    method: StringValue,
    requests: AtomicU64,
    errors: AtomicU64,
}

impl Default for Incoming {
    /// What is not told apart.
    fn default() -> Self {
        Self {
            name: OTHER.into(),
            service: OTHER.into(),
            method: OTHER.into(),
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        }
    }
}

impl Served {
    /// The method of a path. Anybody can ask for methods that are not there: those are no names to keep.
    pub(crate) fn method(&self, path: &str, is_there: bool) -> Arc<Incoming> {
        let methods = self.methods.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(method) = methods.get(path) {
            return method.clone();
        }
        drop(methods);
        if !is_there {
            return self.other.clone();
        }
        let mut methods = self.methods.write().unwrap_or_else(PoisonError::into_inner);
        if methods.len() >= MAX_SERVED {
            return methods.get(path).unwrap_or(&self.other).clone();
        }
        let (service, method) = rpc::split(path);
        let new = || Incoming {
            name: path.trim_start_matches('/').into(),
            service: service.to_owned().into(),
            method: method.to_owned().into(),
            ..Incoming::default()
        };
        methods.entry(path.into()).or_insert_with(|| Arc::new(new())).clone()
    }

    /// What was served so far, by name.
    pub(super) fn report(&self) -> Vec<ServedMethod> {
        let methods = self.methods.read().unwrap_or_else(PoisonError::into_inner);
        let told = methods.values().chain([&self.other]).map(|method| ServedMethod {
            method: method.name.to_string(),
            requests: method.requests.load(Ordering::Relaxed),
            errors: method.errors.load(Ordering::Relaxed),
        });
        let mut told: Vec<_> = told.filter(|method| method.requests > 0).collect();
        told.sort_by(|a, b| a.method.cmp(&b.method));
        told
    }
}

impl Incoming {
    pub(crate) fn record(&self, is_error: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.errors.fetch_add(u64::from(is_error), Ordering::Relaxed);
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What tells the method in metrics.
    pub(crate) fn attributes(&self) -> [KeyValue; 2] {
        [KeyValue::new("rpc.service", self.service.clone()), KeyValue::new("rpc.method", self.method.clone())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_that_are_not_there_take_no_place() {
        let served = Served::default();
        for number in 0..MAX_SERVED * 2 {
            served.method(&format!("/guessed.Service/{number}"), false).record(true);
        }
        served.method("/real.Service/Do", true).record(false);
        let told: Vec<_> =
            served.report().into_iter().map(|one| (one.method, one.requests, one.errors)).collect();
        let guessed = u64::try_from(MAX_SERVED * 2).unwrap();
        assert_eq!(told, [(OTHER.to_owned(), guessed, guessed), ("real.Service/Do".to_owned(), 1, 0)]);
    }

    #[test]
    fn methods_beyond_the_limit_are_counted_together() {
        let served = Served::default();
        for number in 0..MAX_SERVED + 5 {
            served.method(&format!("/real.Service/{number:03}"), true).record(false);
        }
        let told = served.report();
        assert_eq!((told.len(), told[0].method.as_str(), told[0].requests), (MAX_SERVED + 1, OTHER, 5));
    }
}
