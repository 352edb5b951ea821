//! `gameshelf status`: who is there, and who calls whom.

mod json;

use clap::Args;
use mesh::proto::v1::{DescribeResponse, EdgeInstanceState, ReportResponse};

use crate::clients::{ClientOptions, Clients};
use crate::exit::{Failure, Kind};
use crate::output::{self, Output};
use crate::survey::{self, AskOptions, CallSum, EdgeSum, Health, Instance};

/// Shows the mesh: the instances that run, and who calls whom
///
/// Asks every instance that it knows how it is, what it is, and what it has seen since it started. Errors are calls at which the called
/// service or the way to it failed; what it refused is none. A latency is known to about a fifth. Calls per request are those that one
/// request made, of the requests that made any. The exit code is 0 when somebody answered, and 4 when nobody did.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Show the calls by method
    #[arg(long)]
    methods: bool,
    #[command(flatten)]
    ask: AskOptions,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// Asks everybody and prints what they said.
///
/// # Errors
///
/// When nobody answered.
pub(crate) async fn run(options: Options, clients: &Clients, output: Output) -> Result<(), Failure> {
    let instances = survey::survey(clients, options.ask).await?;
    if instances.iter().all(|instance| instance.health == Health::Unreachable) {
        let failure = Failure::new(Kind::Unavailable, "UNREACHABLE", "no service can be reached");
        return Err(failure.hint(
            "is the mesh running? Start it with `gameshelf up`, or say where it is with --port-base or --arbiter-address and its like",
        ));
    }
    let edges = survey::edges(&instances);
    match output {
        Output::Json => output::json(&json::Status::new(&instances, &edges)),
        Output::Table => output::text(&in_words(&instances, &edges, options.methods)),
    }
}

fn in_words(instances: &[Instance], edges: &[EdgeSum], by_method: bool) -> String {
    let mut text = instances_in_words(instances);
    if edges.is_empty() {
        text.push_str("\nno service tells of calls to others\n");
    } else {
        text.push('\n');
        text.push_str(&edges_in_words(edges, by_method));
    }
    text.extend(instances.iter().flat_map(warnings));
    text
}

fn warnings(instance: &Instance) -> impl Iterator<Item = String> {
    let Instance { service, address, report, .. } = instance;
    let concerns = report.iter().flat_map(|report| &report.concerns);
    concerns.map(move |concern| format!("warning: {service} at {address}: {}\n", concern.message))
}

fn instances_in_words(instances: &[Instance]) -> String {
    let columns = ["service", "address", "version", "health", "up for", "requests", "errors", "API packages"];
    let mut table = output::table(&columns);
    for instance in instances {
        let description = instance.description.as_ref();
        let report = instance.report.as_ref();
        let (requests, errors) = report.map(served).unzip();
        table.add_row([
            instance.service.clone(),
            instance.address.clone(),
            or_dash(description.map(|description| description.version.clone())),
            instance.health.as_str().replace('_', " "),
            or_dash(report.map(|report| duration(report.uptime_ms))),
            or_dash(requests.as_ref().map(u64::to_string)),
            or_dash(errors.as_ref().map(u64::to_string)),
            or_dash(description.map(packages)),
        ]);
    }
    output::render(&table)
}

fn served(report: &ReportResponse) -> (u64, u64) {
    report
        .served
        .iter()
        .fold((0, 0), |(requests, errors), one| (requests + one.requests, errors + one.errors))
}

fn packages(description: &DescribeResponse) -> String {
    let packages = description.packages.iter().map(|package| format!("{} {}", package.name, package.version));
    packages.collect::<Vec<_>>().join(", ")
}

fn edges_in_words(edges: &[EdgeSum], by_method: bool) -> String {
    let mut columns = vec!["calls of", "to", "version"];
    if by_method {
        columns.push("method");
    }
    columns.extend(["calls", "errors", "p50", "p99", "retries", "fallbacks", "per request", "ejected"]);
    let mut table = output::table(&columns);
    for edge in edges {
        let mut rows: Vec<(String, Option<String>, CallSum)> = if by_method {
            let rows = edge.calls.iter();
            rows.map(|((version, method), calls)| (version.clone(), Some(method.clone()), calls.clone()))
                .collect()
        } else {
            let rows = edge.by_version().into_iter();
            rows.map(|(version, calls)| (version.to_owned(), None, calls)).collect()
        };
        if rows.is_empty() {
            rows.push((String::new(), by_method.then(String::new), CallSum::default()));
        }
        for (version, method, calls) in rows {
            table.add_row(edge_row(edge, &version, method, &calls));
        }
    }
    output::render(&table)
}

fn edge_row(edge: &EdgeSum, version: &str, method: Option<String>, calls: &CallSum) -> Vec<String> {
    let text = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let mut row = vec![edge.caller.clone(), edge.callee.clone(), text(version)];
    // The package is that of the callee, and would only make the table wide.
    row.extend(method.map(|method| text(method.rsplit('.').next().unwrap_or(&method))));
    row.extend([
        calls.calls.to_string(),
        or_dash(calls.error_percent().map(|percent| format!("{percent:.1}%"))),
        or_dash(calls.percentile_us(50).map(latency)),
        or_dash(calls.percentile_us(99).map(latency)),
        calls.retries.to_string(),
        calls.fallbacks.to_string(),
        or_dash(edge.calls_per_request().map(|calls| format!("{calls:.1}"))),
        edge.in_state(EdgeInstanceState::Ejected).len().to_string(),
    ]);
    row
}

fn or_dash(text: Option<String>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned())
}

fn latency(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..10_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        10_000..10_000_000 => format!("{} ms", micros / 1_000),
        _ => format!("{} s", micros / 1_000_000),
    }
}

fn duration(ms: u64) -> String {
    match ms / 1_000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use mesh::proto::v1;

    use super::*;

    #[test]
    fn the_tables_show_who_is_there_and_who_calls_whom() {
        let calls = v1::EdgeCalls {
            method: "a.A/Do".to_owned(),
            version: "1.0.0".to_owned(),
            calls: 200,
            failures: vec![v1::EdgeFailures { code: 14, calls: 3 }],
            latencies: vec![v1::LatencyBucket { from_us: 1_000, below_us: 1_200, calls: 200 }],
            ..Default::default()
        };
        let edge = v1::Edge { service: "arbiter".to_owned(), calls: vec![calls], ..Default::default() };
        let report = v1::ReportResponse { uptime_ms: 61_000, edges: vec![edge], ..Default::default() };
        let description = v1::DescribeResponse { version: "0.3.1".to_owned(), ..Default::default() };
        let instances = [
            Instance {
                health: Health::Serving,
                description: Some(description),
                report: Some(report),
                ..Instance::unreachable("purchase", "a:1".to_owned())
            },
            Instance::unreachable("arbiter", "a:2".to_owned()),
        ];
        let text = in_words(&instances, &survey::edges(&instances), false);
        let words =
            |line: usize| text.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(1), "purchase a:1 0.3.1 serving 61 s 0 0 -");
        assert_eq!(words(2), "arbiter a:2 - unreachable - - - -");
        assert_eq!(words(5), "purchase arbiter 1.0.0 200 1.5% 1.1 ms 1.1 ms 0 0 - 0");
        let by_method = in_words(&instances, &survey::edges(&instances), true);
        assert!(by_method.contains(" A/Do "), "{by_method}");
    }

    #[test]
    fn times_are_shown_in_units_that_a_person_reads() {
        assert_eq!([420, 4_200, 42_000, 42_000_000].map(latency), ["420 us", "4.2 ms", "42 ms", "42 s"]);
        let shown = [1_000, 300_000, 10_000_000, 900_000_000].map(duration);
        assert_eq!(shown, ["1 s", "5 min", "2 h", "10 d"]);
    }
}
