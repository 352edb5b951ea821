//! A place that is open, until it is told to hold what comes.

use tokio::sync::Semaphore;

/// As many as ever pass.
const PLENTY: usize = Semaphore::MAX_PERMITS / 2;

#[derive(Debug)]
pub(super) struct Gate {
    /// A permit lets one go on.
    permits: Semaphore,
    /// A permit for each that has come.
    came: Semaphore,
}

impl Gate {
    pub(super) fn open() -> Self {
        Self { permits: Semaphore::new(PLENTY), came: Semaphore::new(0) }
    }

    /// Lets nothing go on from now on. What came before is not counted any more.
    pub(super) fn hold(&self) {
        self.came.forget_permits(Semaphore::MAX_PERMITS);
        self.permits.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// Lets one go on.
    pub(super) fn release(&self) {
        self.permits.add_permits(1);
    }

    /// Lets everything go on again.
    pub(super) fn release_all(&self) {
        self.permits.add_permits(PLENTY);
    }

    /// Waits until one more has come.
    pub(super) async fn is_held(&self) {
        self.came.acquire().await.expect("the semaphore stays open").forget();
    }

    /// Comes, and goes on when it may.
    pub(super) async fn pass(&self) {
        self.came.add_permits(1);
        self.permits.acquire().await.expect("the semaphore stays open").forget();
    }
}
