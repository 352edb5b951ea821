//! Causal tokens: what a request has seen goes with each call made for it, and what was seen in handling a call comes
//! back with its answer. So a caller reads what it has written, through any chain of services, without a line of code in
//! those between.
//!
//! Who keeps a history records in the handler how far a request has seen it ([`record`]), and asks how far it must have
//! come before it answers ([`required`]). Who is no request being served, a client say, runs its calls in a [`Session`].
//! To the mesh a token is a scope, which are bytes that it does not understand, and a position: of one scope the larger
//! wins, different scopes are kept beside each other.

mod tokens;
mod wire;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use tonic::Status;

pub use tokens::{MAX_SCOPES, Scope, ScopeError, Token};

use crate::deadline::{REQUEST, RequestContext};
use tokens::Tokens;

/// The metadata that carries tokens, both ways.
pub(crate) const HEADER: &str = "mesh-causal-bin";

/// What a request has seen: what it came with, and what was seen since.
#[derive(Default)]
pub(crate) struct Causal {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// What the caller had seen before. It knows that itself.
    before: Tokens,
    /// What was seen in handling the call, which the answer tells.
    since: Tokens,
}

impl fmt::Debug for Causal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Causal")
    }
}

impl Causal {
    /// What a request says that its caller has seen.
    ///
    /// # Errors
    /// When it is not of the format: to answer without heeding it would break what it is for.
    pub(crate) fn of_request(headers: &HeaderMap) -> Result<Self, Status> {
        let before = wire::read(headers)?;
        Ok(Self { seen: Mutex::new(Seen { before, since: Tokens::default() }) })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Seen) -> T) -> T {
        act(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells a callee what was seen.
    pub(crate) fn tell_callee(&self, headers: &mut HeaderMap) {
        let all = self.with(|seen| seen.all());
        wire::write(&all, headers);
    }

    /// Tells the caller what was seen in handling its call.
    pub(crate) fn tell_caller(&self, headers: &mut HeaderMap) {
        self.with(|seen| wire::write(&seen.since, headers));
    }

    /// Notes what an answer tells. What is not of the format is no answer's fault, and tells nothing.
    pub(crate) fn learn(&self, headers: &HeaderMap) {
        match wire::read(headers) {
            Ok(told) => self.with(|seen| seen.since.merge(&told)),
            Err(status) => {
                tracing::warn!(why = status.message(), "the causal tokens of an answer cannot be read");
            }
        }
    }
}

impl Seen {
    fn all(&self) -> Tokens {
        let mut all = self.before.clone();
        all.merge(&self.since);
        all
    }
}

/// Records that the request being served has written or read a history up to a position. Outside of any request and
/// session it does nothing: there is nobody to tell.
pub fn record(scope: &Scope, position: u64) {
    if let Some(causal) = current() {
        causal.with(|seen| seen.since.add(Token { scope: scope.clone(), position }));
    }
}

/// How far a history must have come for the answer to the request being served; none where it has seen nothing of it.
#[must_use]
pub fn required(scope: &Scope) -> Option<u64> {
    current()?.with(|seen| seen.all().position(scope))
}

/// All that the request being served has seen: for who keeps a history that was begun anew, and has to tell the scopes of
/// before from those that are still to come.
#[must_use]
pub fn tokens() -> Vec<Token> {
    current().map(|causal| causal.with(|seen| seen.all()).into_iter().collect()).unwrap_or_default()
}

/// The context of the request being served, or of the session; none outside of both.
pub(crate) fn current() -> Option<Arc<Causal>> {
    REQUEST.try_with(|request| request.causal.clone()).ok()
}

/// Calls that belong together although no request is being served: each is told what those before it have seen. Cheap
/// to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Session {
    causal: Arc<Causal>,
}

impl Session {
    /// A session that has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A session that goes on where another one was, in another process perhaps.
    #[must_use]
    pub fn resumed(tokens: impl IntoIterator<Item = Token>) -> Self {
        let session = Self::new();
        session.causal.with(|seen| tokens.into_iter().for_each(|token| seen.since.add(token)));
        session
    }

    /// Runs calls in the session. The deadline of a request being served, if there is one, goes on to hold.
    pub async fn run<F: Future>(&self, future: F) -> F::Output {
        let request = REQUEST.try_with(Clone::clone).unwrap_or_default();
        REQUEST.scope(RequestContext { causal: self.causal.clone(), ..request }, future).await
    }

    /// What was seen so far.
    #[must_use]
    pub fn tokens(&self) -> Vec<Token> {
        self.causal.with(|seen| seen.all()).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(name: &'static [u8]) -> Scope {
        Scope::new(name).unwrap()
    }

    fn headers_for_callee() -> HeaderMap {
        let mut headers = HeaderMap::new();
        current().unwrap().tell_callee(&mut headers);
        headers
    }

    #[tokio::test]
    async fn an_answer_tells_what_was_seen_in_handling_the_call_and_not_what_its_caller_knew() {
        let mut asked = HeaderMap::new();
        Session::resumed([Token { scope: scope(b"a"), position: 7 }]).causal.tell_callee(&mut asked);
        let session = Session { causal: Arc::new(Causal::of_request(&asked).unwrap()) };
        session
            .run(async {
                assert_eq!(required(&scope(b"a")), Some(7));
                let mut answer = HeaderMap::new();
                current().unwrap().tell_caller(&mut answer);
                assert!(answer.is_empty());
                record(&scope(b"b"), 3);
                assert_eq!((required(&scope(b"a")), required(&scope(b"b"))), (Some(7), Some(3)));
                assert_eq!(tokens().iter().map(|token| token.position).collect::<Vec<_>>(), [7, 3]);
                current().unwrap().tell_caller(&mut answer);
                assert_eq!(
                    wire::read(&answer).unwrap().into_iter().collect::<Vec<_>>(),
                    [Token { scope: scope(b"b"), position: 3 }]
                );
                assert_eq!(wire::read(&headers_for_callee()).unwrap().into_iter().count(), 2);
            })
            .await;
    }

    #[tokio::test]
    async fn one_request_does_not_see_what_another_has_seen() {
        let (one, other) = (Session::new(), Session::new());
        one.run(async { record(&scope(b"a"), 5) }).await;
        assert_eq!(one.run(async { required(&scope(b"a")) }).await, Some(5));
        assert_eq!(other.run(async { required(&scope(b"a")) }).await, None);
        record(&scope(b"a"), 9);
        assert_eq!(required(&scope(b"a")), None);
    }

    #[tokio::test]
    async fn a_task_to_which_the_request_is_carried_over_shares_what_is_seen() {
        let session = Session::new();
        session
            .run(async {
                let carried = crate::deadline::scope(None, async { record(&scope(b"a"), 5) });
                carried.await;
                assert_eq!(required(&scope(b"a")), Some(5));
            })
            .await;
    }
}
