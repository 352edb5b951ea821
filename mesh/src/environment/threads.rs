//! Threads on which connections are served.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Threads on which a server's connections are served, beside the one that accepts them; by default none. Each has a runtime of its
/// own, and a connection stays on one of them with its requests: those that are ready together are answered by one write, and
/// nothing that a request waits for at its own connection wakes another thread. They end with the last clone.
#[derive(Clone, Debug, Default)]
pub struct Threads {
    started: Option<Arc<Started>>,
}

#[derive(Debug)]
struct Started {
    handles: Vec<Handle>,
    next: AtomicUsize,
    _end: DropGuard,
}

impl Threads {
    /// Starts so many.
    ///
    /// # Errors
    /// When the system gives no more of them.
    pub fn start(count: usize) -> io::Result<Self> {
        if count == 0 {
            return Ok(Self::default());
        }
        let end = CancellationToken::new();
        let handles = (0..count).map(|_| start(end.clone())).collect::<io::Result<_>>()?;
        let started = Started { handles, next: AtomicUsize::new(0), _end: end.drop_guard() };
        Ok(Self { started: Some(Arc::new(started)) })
    }

    /// The thread for the next connection, in turn; none for the one that accepts it.
    pub(crate) fn next(&self) -> Option<&Handle> {
        let started = self.started.as_ref()?;
        let turn = started.next.fetch_add(1, Ordering::Relaxed) % (started.handles.len() + 1);
        turn.checked_sub(1).and_then(|at| started.handles.get(at))
    }
}

fn start(end: CancellationToken) -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let serve = move || {
        runtime.block_on(end.cancelled());
        runtime.shutdown_background();
    };
    std::thread::Builder::new().name("connections".to_owned()).spawn(serve)?;
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_spread_in_turn() {
        let threads = Threads::start(2).unwrap();
        let turns: Vec<_> = (0..6).map(|_| threads.next().map(Handle::id)).collect();
        assert_eq!(turns[0], None);
        assert_ne!(turns[1], turns[2]);
        assert_eq!(turns[..3], turns[3..]);
        assert!(Threads::default().next().is_none());
    }

    #[test]
    fn what_runs_on_them_ends_with_the_last_clone() {
        let threads = Threads::start(1).unwrap();
        threads.next();
        let held = Arc::new(());
        let moved = held.clone();
        threads.next().unwrap().spawn(async move {
            std::future::pending::<()>().await;
            drop(moved);
        });
        drop(threads.clone());
        assert_eq!(Arc::strong_count(&held), 2);
        drop(threads);
        while Arc::strong_count(&held) > 1 {
            std::thread::yield_now();
        }
    }
}
