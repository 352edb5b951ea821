//! Services that share one PostgreSQL: each has connections of its own to the tables, and no arbiter between.

use std::ops::Range;

use anyhow::{Context, ensure};
use mesh::environment::{Clock, SystemClock};
use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Row};
use tokio::runtime;

use super::connections::{Connections, Taken};
use super::sql;
use crate::load::{Caller, Measured, Slice, closed};
use crate::servers::{Database, Runtime};
use crate::work::{
    ACTOR, LIMITED_COPIES, LIMITED_GAME, LISTED_CUSTOMERS, LISTED_GAMES, Request, Requests, Work,
    customer_name, game_name,
};

/// A purchase, as the arbiter numbers reasons.
const REASON: i16 = 1;
/// What the arbiter stores for a grant of one game: that it changed something.
const OUTCOME: &[u8] = &[0x12, 1, 1];

/// How a service does its work on the shared database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrangement {
    /// `BEGIN`, a statement for each step, `COMMIT`.
    Transaction,
    /// Everything folded into one statement.
    Folded,
}

/// How its callers get connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checkout {
    Pool,
    Plain,
}

/// What a team would tune.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tuning {
    pub(crate) runtime: Runtime,
    pub(crate) checkout: Checkout,
    pub(crate) connections: u32,
}

impl Tuning {
    pub(crate) fn describe(self) -> String {
        let checkout = match self.checkout {
            Checkout::Pool => "the pool of sqlx",
            Checkout::Plain => "a pool without pings",
        };
        format!("{} connections, {checkout}, the {} runtime", self.connections, self.runtime.name())
    }
}

/// A service that runs in the load's own process: to share a database is to have no server of one's own in between.
#[derive(Debug)]
pub(crate) struct Shared {
    connections: Connections,
    requests: Requests,
    arrangement: Arrangement,
    /// Dropped last: the connections belong to it.
    runtime: runtime::Runtime,
}

/// Makes the tables, and the rows that a work needs.
pub(crate) fn prepare(database: &Database, work: Work) -> anyhow::Result<()> {
    database.run(sql::SCHEMA)?;
    match work {
        Work::Grant => Ok(()),
        Work::GrantFromStock => database.run(&sql::set_stock(LIMITED_GAME, LIMITED_COPIES)),
        Work::StrongList => fill(database, work.customer_prefix(), &(0..LISTED_CUSTOMERS), LISTED_GAMES),
    }
}

/// Gives each of the customers the same games.
pub(crate) fn fill(
    database: &Database,
    prefix: &str,
    customers: &Range<u64>,
    games: u64,
) -> anyhow::Result<()> {
    database.run(&sql::fill(prefix, customers, games))
}

impl Shared {
    pub(crate) fn start(
        database: &Database,
        requests: Requests,
        arrangement: Arrangement,
        tuning: Tuning,
    ) -> anyhow::Result<Self> {
        let runtime = tuning.runtime.build()?;
        let options = database.options();
        let connections = runtime.block_on(async {
            match tuning.checkout {
                Checkout::Pool => Connections::pool(options, tuning.connections).await,
                Checkout::Plain => Connections::plain(options, tuning.connections).await,
            }
        })?;
        Ok(Self { connections, requests, arrangement, runtime })
    }

    pub(crate) fn closed(&self, slice: Slice) -> anyhow::Result<Measured> {
        let caller = |_| SharedCaller {
            connections: self.connections.clone(),
            requests: self.requests.another(),
            arrangement: self.arrangement,
        };
        let callers: Vec<_> = (0..self.requests.job().in_flight).map(caller).collect();
        // On a worker, where there are any, beside the connections.
        self.runtime.block_on(async { tokio::spawn(closed(callers, slice)).await? })
    }
}

struct SharedCaller {
    connections: Connections,
    requests: Requests,
    arrangement: Arrangement,
}

impl Caller for SharedCaller {
    async fn call(&mut self) -> anyhow::Result<()> {
        let work = self.requests.job().work;
        let request = self.requests.next();
        let mut connection = self.connections.take().await?;
        let done = match (work, self.arrangement) {
            (Work::StrongList, _) => list(&mut connection, work, request).await,
            (_, Arrangement::Folded) => grant_folded(&mut connection, &Grant::new(work, &request)).await,
            (_, Arrangement::Transaction) => grant(&mut connection, &Grant::new(work, &request)).await,
        };
        done.with_context(|| format!("a {} failed", work.name()))
    }
}

/// What a grant writes.
struct Grant {
    request: Request,
    customer_id: String,
    game_id: String,
    content_hash: [u8; 32],
    commit: Vec<u8>,
    now_ms: i64,
    from_stock: bool,
}

impl Grant {
    fn new(work: Work, request: &Request) -> Self {
        let customer_id = customer_name(work.customer_prefix(), request.customer);
        let game_id = match work {
            Work::GrantFromStock => LIMITED_GAME.to_owned(),
            Work::Grant | Work::StrongList => game_name(request.game),
        };
        let mut hash = Sha256::new();
        let mut commit = Vec::with_capacity(96);
        commit.extend_from_slice(request.id.as_bytes());
        for text in [customer_id.as_str(), &game_id, ACTOR] {
            // Lengths keep the fields apart.
            let length = u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes();
            hash.update(length);
            hash.update(text);
            commit.extend_from_slice(&length);
            commit.extend_from_slice(text.as_bytes());
        }
        let now_ms = i64::try_from(SystemClock.unix_ms()).unwrap_or(i64::MAX);
        commit.extend_from_slice(&now_ms.to_be_bytes());
        Self {
            request: *request,
            customer_id,
            game_id,
            content_hash: hash.finalize().into(),
            commit,
            now_ms,
            from_stock: work == Work::GrantFromStock,
        }
    }
}

async fn grant(connection: &mut PgConnection, grant: &Grant) -> anyhow::Result<()> {
    let mut transaction = connection.begin().await?;
    if grant.from_stock {
        let taken = sqlx::query(sql::TAKE_COPY).bind(&grant.game_id).execute(&mut *transaction).await?;
        ensure!(taken.rows_affected() == 1, "no copy is left");
    }
    let revision: i64 = sqlx::query_scalar(sql::INSERT_ENTITLEMENT)
        .bind(&grant.customer_id)
        .bind(&grant.game_id)
        .bind(grant.now_ms)
        .bind(REASON)
        .bind(ACTOR)
        .bind("")
        .bind(None::<i64>)
        .bind(grant.from_stock)
        .fetch_one(&mut *transaction)
        .await?;
    sqlx::query(sql::INSERT_REQUEST)
        .bind(revision)
        .bind(grant.request.id)
        .bind(&grant.content_hash[..])
        .bind(OUTCOME)
        .bind(grant.now_ms)
        .execute(&mut *transaction)
        .await?;
    sqlx::query(sql::INSERT_LOG).bind(revision).bind(&grant.commit).execute(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}

async fn grant_folded(connection: &mut PgConnection, grant: &Grant) -> anyhow::Result<()> {
    let _revision: i64 = sqlx::query_scalar(sql::GRANT_FOLDED)
        .bind(&grant.customer_id)
        .bind(&grant.game_id)
        .bind(grant.now_ms)
        .bind(REASON)
        .bind(ACTOR)
        .bind("")
        .bind(None::<i64>)
        .bind(grant.from_stock)
        .bind(grant.request.id)
        .bind(&grant.content_hash[..])
        .bind(OUTCOME)
        .bind(grant.now_ms)
        .bind(&grant.commit)
        .fetch_one(connection)
        .await?;
    Ok(())
}

/// An entitlement, as a service would hand it on.
#[expect(dead_code, reason = "the cost of reading a row is part of the work")]
struct Listed {
    game_id: String,
    valid_from: i64,
    granted_at_ms: i64,
    reason: i16,
    actor: String,
    order_id: String,
    ends_at_ms: Option<i64>,
}

impl Listed {
    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            game_id: row.try_get(0)?,
            valid_from: row.try_get(1)?,
            granted_at_ms: row.try_get(2)?,
            reason: row.try_get(3)?,
            actor: row.try_get(4)?,
            order_id: row.try_get(5)?,
            ends_at_ms: row.try_get(6)?,
        })
    }
}

async fn list(connection: &mut Taken, work: Work, request: Request) -> anyhow::Result<()> {
    let customer_id = customer_name(work.customer_prefix(), request.customer);
    let rows = sqlx::query(sql::SELECT_LIST).bind(customer_id).fetch_all(&mut **connection).await?;
    let listed = rows.iter().map(Listed::read).collect::<Result<Vec<_>, _>>()?;
    ensure!(
        listed.len() as u64 == LISTED_GAMES,
        "a list has {} games instead of {LISTED_GAMES}",
        listed.len()
    );
    Ok(())
}
