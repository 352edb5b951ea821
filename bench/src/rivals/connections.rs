//! How callers of a shared database get a connection.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{Connection, PgPool, Postgres};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections for all callers of a process.
#[derive(Clone, Debug)]
pub(super) enum Connections {
    /// The pool of sqlx. It asks the server for a sign of life each time a connection comes back.
    Pool(PgPool),
    /// The same without that crossing.
    Plain { idle: Arc<Mutex<Vec<PgConnection>>>, permits: Arc<Semaphore> },
}

impl Connections {
    pub(super) async fn pool(options: &PgConnectOptions, size: u32) -> anyhow::Result<Self> {
        let pool = PgPoolOptions::new()
            .min_connections(size)
            .max_connections(size)
            .test_before_acquire(false)
            .max_lifetime(None)
            .idle_timeout(None);
        Ok(Self::Pool(pool.connect_with(options.clone()).await?))
    }

    pub(super) async fn plain(options: &PgConnectOptions, size: u32) -> anyhow::Result<Self> {
        let mut idle = Vec::new();
        for _ in 0..size {
            idle.push(PgConnection::connect_with(options).await?);
        }
        let permits = Arc::new(Semaphore::new(idle.len()));
        Ok(Self::Plain { idle: Arc::new(Mutex::new(idle)), permits })
    }

    /// A connection for one request.
    pub(super) async fn take(&self) -> anyhow::Result<Taken> {
        match self {
            Self::Pool(pool) => Ok(Taken::OfPool(pool.acquire().await?)),
            Self::Plain { idle, permits } => {
                let permit = Arc::clone(permits).acquire_owned().await?;
                let connection = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let connection = connection.context("there are fewer connections than permits")?;
                Ok(Taken::Plain { connection: Some(connection), idle: Arc::clone(idle), _permit: permit })
            }
        }
    }
}

/// A connection that is somebody's; it goes back when this is dropped.
pub(super) enum Taken {
    OfPool(PoolConnection<Postgres>),
    Plain {
        /// Always there until the drop.
        connection: Option<PgConnection>,
        idle: Arc<Mutex<Vec<PgConnection>>>,
        /// Given back after the connection is.
        _permit: OwnedSemaphorePermit,
    },
}

impl Deref for Taken {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        match self {
            Self::OfPool(connection) => connection,
            Self::Plain { connection, .. } => connection.as_ref().expect("it is there until the drop"),
        }
    }
}

impl DerefMut for Taken {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match self {
            Self::OfPool(connection) => connection,
            Self::Plain { connection, .. } => connection.as_mut().expect("it is there until the drop"),
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Self::Plain { connection, idle, .. } = self
            && let Some(connection) = connection.take()
        {
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}
