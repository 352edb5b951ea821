//! Imports.

use anyhow::{Context, ensure};
use futures_util::stream::{self, StreamExt};
use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::proto::arbiter::v1::arbiter_service_client::ArbiterServiceClient;
use gameshelf::proto::arbiter::v1::import_response::Outcome;
use mesh::environment::Environment;
use mesh::outbound::{Outbound, OutboundConfig, Streams};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Setting, block_on};
use crate::report::{Figures, Goal, Watched};
use crate::servers::{Process, cause};
use crate::work::{customer_name, game_name};

const ROWS_PER_REQUEST: u64 = 1_000;
/// Games of each customer.
const GAMES: u64 = 100;

/// In which order the rows come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    ByCustomer,
    Shuffled,
}

pub(super) fn measure(setting: &Setting<'_>, figures: &mut Figures) -> anyhow::Result<()> {
    let rows = setting.settings.rows / ROWS_PER_REQUEST * ROWS_PER_REQUEST;
    for (order, name, goal) in [
        (Order::ByCustomer, "grouped by customer", Goal::AtLeast(100_000.0)),
        (Order::Shuffled, "shuffled", Goal::Reported),
    ] {
        let served = setting.arbiter()?;
        let mut processes = served.processes();
        processes.push(Process::this("importer"));
        let watched = Watched::begin(processes)?;
        let begin = Instant::now();
        block_on(async {
            let address = served.arbiter.address().to_string().parse()?;
            let outbound =
                Outbound::new("arbiter", &address, &OutboundConfig::default(), &Environment::system());
            import(ArbiterServiceClient::new(outbound.streams()), rows, order).await
        })?;
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
        let rate = rows as f64 / begin.elapsed().as_secs_f64();
        let used = watched.end()?;
        let memory = used.first().map_or(0, |arbiter| arbiter.resident_bytes >> 20);
        let work = format!("import of {rows} rows, {name}, {}", setting.settings.store.name());
        figures.push(work.clone(), (rate, "rows/s"), goal, "", used);
        if order == Order::ByCustomer {
            #[expect(clippy::cast_precision_loss, reason = "it is small")]
            figures.push(
                format!("{work}: memory of the arbiter"),
                (memory as f64, "MiB"),
                Goal::Below(300.0),
                "",
                Vec::new(),
            );
        }
    }
    Ok(())
}

async fn import(mut client: ArbiterServiceClient<Streams>, rows: u64, order: Order) -> anyhow::Result<()> {
    let requests = (0..rows / ROWS_PER_REQUEST).map(move |request| wire::ImportRequest {
        request_id: Uuid::now_v7().to_string(),
        rows: (0..ROWS_PER_REQUEST)
            .map(|row| self::row(request * ROWS_PER_REQUEST + row, rows, order))
            .collect(),
        cause: Some(cause(wire::Reason::Migration)),
    });
    let mut answers = client.import(stream::iter(requests)).await?.into_inner();
    let mut answered = 0;
    while let Some(answer) = answers.next().await {
        let outcome = answer?.outcome.context("an answer says nothing")?;
        ensure!(matches!(outcome, Outcome::Done(_)), "rows were refused: {outcome:?}");
        answered += ROWS_PER_REQUEST;
    }
    ensure!(answered == rows, "{answered} of {rows} rows were answered");
    Ok(())
}

/// One of the rows: shuffled by a step that shares no factor with their number, which visits all of them.
fn row(number: u64, rows: u64, order: Order) -> wire::ImportRow {
    let number = match order {
        Order::ByCustomer => number,
        Order::Shuffled => number.wrapping_mul(611_953) % rows,
    };
    wire::ImportRow {
        customer_id: customer_name("imported-", number / GAMES),
        game_id: game_name(number % GAMES),
        end_time: None,
    }
}
