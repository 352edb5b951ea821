//! What the load itself can do: a server that does nothing, under every shape of load.

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;

use crate::load::{Remote, Shape};
use crate::servers::{Noop, Process, Runtime, Stack, Usage, protocol};
use crate::settings::Settings;
use crate::work::{Job, Requests, Work};

const IN_FLIGHT: [usize; 2] = [64, 256];
const THREADS: [usize; 2] = [1, 2];
const CONNECTIONS: [usize; 4] = [1, 2, 4, 8];

/// Prints the rate of each shape, and what a request costs the load and the server.
pub(crate) fn tune(settings: &Settings) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table.set_header([
        "in flight",
        "server",
        "load threads",
        "connections",
        "requests/s",
        "load CPU µs",
        "server CPU µs",
    ]);
    for in_flight in IN_FLIGHT {
        for runtime in Runtime::ALL {
            for threads in THREADS {
                for connections in CONNECTIONS {
                    let shape = Shape { threads, connections };
                    table.add_row(row(settings, in_flight, runtime, shape)?);
                }
            }
        }
    }
    println!("{table}");
    Ok(())
}

fn row(settings: &Settings, in_flight: usize, runtime: Runtime, shape: Shape) -> anyhow::Result<Vec<String>> {
    let noop = Noop::start(runtime, Stack::Bare)?;
    let job = Job::new(Work::Grant, in_flight);
    let remote = Remote::new(noop.address(), protocol(job.work), Requests::new(job), shape);
    let (load, server) = (Process::this("load"), noop.process());
    let before = (load.usage()?, server.usage()?);
    let measured = remote.closed(settings.search_slice())?;
    #[expect(clippy::cast_precision_loss, reason = "a count of requests needs no more than 52 bits")]
    let calls = measured.calls as f64;
    let cost = |used: Usage| format!("{:.1}", used.cpu_seconds * 1e6 / calls);
    Ok(vec![
        in_flight.to_string(),
        runtime.name().to_owned(),
        shape.threads.to_string(),
        shape.connections.to_string(),
        format!("{:.0}", measured.per_second()),
        cost(load.usage()? - before.0),
        cost(server.usage()? - before.1),
    ])
}
