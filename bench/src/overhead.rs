//! What the layers of the mesh cost: a caller with `Dispatch` and a server with all inbound layers, beside a bare channel and a
//! bare server of tonic. Both sides use the same generated code, messages, runtimes and number of connections: one.

mod caller;

use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

pub(crate) use caller::{Answered, CallerArguments, call};

use crate::compare::{Bench, median};
use crate::load::Slice;
use crate::report::{Figures, Goal, explain};
use crate::servers::{Noop, Runtime, Stack, Telemetry};

/// One comparison: how many calls are in flight, and whether telemetry is on at both ends of the mesh.
struct Case {
    name: &'static str,
    in_flight: usize,
    telemetry: Telemetry,
    goal: Wanted,
}

/// What is to be reached.
#[derive(Clone, Copy)]
enum Wanted {
    /// At least this share of the bare channel's calls a second.
    Share(f64),
    /// Less than this much added to the median latency; none where it is only told.
    AddedUs(Option<f64>),
}

const CASES: [Case; 4] = [
    Case {
        name: "64 in flight, without telemetry",
        in_flight: 64,
        telemetry: Telemetry::Off,
        goal: Wanted::Share(0.90),
    },
    Case {
        name: "64 in flight, metrics and traces of 1%",
        in_flight: 64,
        telemetry: Telemetry::On,
        goal: Wanted::Share(0.75),
    },
    Case {
        name: "1 in flight, without telemetry",
        in_flight: 1,
        telemetry: Telemetry::Off,
        goal: Wanted::AddedUs(Some(30.0)),
    },
    Case {
        name: "1 in flight, metrics and traces of 1%",
        in_flight: 1,
        telemetry: Telemetry::On,
        goal: Wanted::AddedUs(None),
    },
];

/// Measures all cases. What cannot be measured says why.
pub(crate) fn overhead(bench: &Bench) -> Figures {
    bench.progress.begin(CASES.len());
    let mut figures = Figures::default();
    for case in &CASES {
        bench.progress.next(case.name);
        if let Err(error) = measure(bench, case, &mut figures) {
            figures.problem(case.name, &explain(&error));
        }
    }
    bench.progress.end();
    figures
}

/// What one side answered in all its turns.
#[derive(Default)]
struct Turns {
    rates: Vec<f64>,
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
    cpu_us: Vec<f64>,
}

impl Turns {
    /// A turn, of which the processor time of both processes counts.
    fn add(&mut self, server: &Noop, stack: Stack, case: &Case, slice: Slice) -> anyhow::Result<()> {
        let before = server.process().usage()?;
        let answered = turn(server, stack, case, slice)?;
        let used = server.process().usage()? - before;
        self.rates.push(answered.per_second);
        self.p50_us.push(answered.p50_us);
        self.p99_us.push(answered.p99_us);
        self.cpu_us.push((used.cpu_seconds + answered.cpu_seconds) * 1e6 / answered.calls);
        Ok(())
    }
}

fn measure(bench: &Bench, case: &Case, figures: &mut Figures) -> anyhow::Result<()> {
    let runtime = Runtime::CurrentThread;
    let bare_server = Noop::start_with(runtime, Stack::Bare, Telemetry::Off)?;
    let mesh_server = Noop::start_with(runtime, Stack::Inbound, case.telemetry)?;
    let turns = bench.settings.turns();
    let (mut bare, mut mesh) = (Turns::default(), Turns::default());
    for round in 1..=turns.rounds {
        mesh.add(&mesh_server, Stack::Inbound, case, turns.slice)?;
        bare.add(&bare_server, Stack::Bare, case, turns.slice)?;
        bench.progress.round(round);
    }
    let middle = |values: &[f64]| median(values).unwrap_or(f64::NAN);
    let note = format!(
        "mesh {:.0}/s, p50 {:.0} µs, p99 {:.0} µs, CPU {:.1} µs a call\nbare {:.0}/s, p50 {:.0} µs, p99 {:.0} µs, CPU {:.1} µs",
        middle(&mesh.rates),
        middle(&mesh.p50_us),
        middle(&mesh.p99_us),
        middle(&mesh.cpu_us),
        middle(&bare.rates),
        middle(&bare.p50_us),
        middle(&bare.p99_us),
        middle(&bare.cpu_us),
    );
    let (value, unit, goal) = match case.goal {
        Wanted::Share(share) => {
            (middle(&mesh.rates) / middle(&bare.rates), "of a bare channel", Goal::AtLeast(share))
        }
        Wanted::AddedUs(limit) => (
            middle(&mesh.p50_us) - middle(&bare.p50_us),
            "µs added at p50",
            limit.map_or(Goal::Reported, Goal::Below),
        ),
    };
    figures.push(case.name, (value, unit), goal, note, Vec::new());
    Ok(())
}

/// One turn of a caller, which is a process of its own: telemetry is a matter of a whole process.
fn turn(server: &Noop, stack: Stack, case: &Case, slice: Slice) -> anyhow::Result<Answered> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("caller").args(["--address", &server.address().to_string(), "--stack", stack.name()]);
    command.args(["--in-flight", &case.in_flight.to_string()]);
    command.args(["--warmup-ms", &slice.warmup.as_millis().to_string()]);
    command.args(["--measured-ms", &slice.measured.as_millis().to_string()]);
    command.env("RUST_LOG", "warn").stdin(Stdio::null()).stderr(Stdio::inherit());
    if stack == Stack::Inbound {
        case.telemetry.tell(&mut command)?;
    }
    let output = command.output().context("the caller did not start")?;
    ensure!(output.status.success(), "the caller ended with {}", output.status);
    serde_json::from_slice(&output.stdout).context("what the caller said")
}
