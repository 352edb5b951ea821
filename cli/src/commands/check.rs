//! `gameshelf check`: whether anything is wrong with the mesh, or with the data.

mod data;
mod findings;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::clients::{ClientOptions, Clients};
use crate::exit::{Failure, Kind};
use crate::output::{self, Output};
use crate::survey::{self, AskOptions};
use data::Checked;
use findings::{Finding, Weight};

/// Tells what is wrong with the mesh and with the data, and what to do about it
///
/// The mesh: every instance is asked how it is, what it is and what it has seen. Told are instances that cannot be reached
/// (`SERVICE_UNREACHABLE`) or do not serve (`NOT_SERVING`), versions that do not fit (`VERSION_INCOMPATIBLE`), instances that their
/// callers cannot use (`INSTANCE_UNUSABLE`) or have ejected (`INSTANCE_EJECTED`), services of whose calls over 10% fail
/// (`EDGE_FAILING`, of at least 100), services between which so many calls are made that they should perhaps be one
/// (`EDGE_CHATTY`, in serving at least 100 requests), and what services find unsafe themselves (`STORE_UNSAFE`).
///
/// The data: every partition of customers is compared with the digests that the arbiter keeps. With --replay it is not what is owned now,
/// but what was owned at the oldest revision that can be resumed after, with every commit since. Either must come to the same rows,
/// revisions included; where it does not, the partitions are named.
///
/// The exit code is 0 when nothing is wrong, 3 when something is, and 4 when a service cannot be reached and nothing worse was
/// found.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Check this alone
    #[arg(long, value_enum)]
    only: Option<Only>,
    /// Fold the log from its oldest revision, instead of reading what is owned now; checks the data alone
    #[arg(long)]
    replay: bool,
    /// About how many rows are held in memory at a time; where there are more, some partitions are checked after the others
    #[arg(long, value_name = "N", default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows_at_once: u64,
    /// Calls of one service to another in serving one request, on average, over which they are told of
    #[arg(long, value_name = "COUNT", env = "GAMESHELF_MAX_CALLS_PER_REQUEST", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    max_calls_per_request: u64,
    #[command(flatten)]
    ask: AskOptions,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// One of the two things that are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Only {
    Mesh,
    Data,
}

#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    data: Option<&'a Checked>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mesh: Option<MeshJson<'a>>,
}

#[derive(Serialize)]
struct MeshJson<'a> {
    findings: &'a [Finding],
}

/// Checks both, or what was asked for, and prints what is wrong.
///
/// # Errors
///
/// What is wrong, and an arbiter that stopped on the way.
pub(crate) async fn run(options: Options, clients: &Clients, output: Output) -> Result<(), Failure> {
    if options.replay && options.only == Some(Only::Mesh) {
        let message = "--replay checks the data, and --only mesh leaves it out";
        return Err(Failure::new(Kind::BadInput, "OPTIONS", message));
    }
    let only = if options.replay { Some(Only::Data) } else { options.only };
    let mut findings = match only {
        Some(Only::Data) => None,
        _ => {
            Some(findings::find(&survey::survey(clients, options.ask).await?, options.max_calls_per_request))
        }
    };
    let data = match only {
        Some(Only::Mesh) => None,
        _ => match data::check_all(options.replay, options.rows_at_once, clients).await {
            Ok(checked) => Some(checked),
            // Told with the rest, which says more.
            Err(failure) if failure.kind() == Kind::Unavailable && findings.is_some() => {
                if let Some(found) = &mut findings {
                    found.push(findings::not_checked(&failure));
                }
                None
            }
            Err(failure) => return Err(failure),
        },
    };
    let findings = findings.as_deref();
    match output {
        Output::Json => {
            output::json(&Told {
                data: data.as_ref(),
                mesh: findings.map(|findings| MeshJson { findings }),
            })?;
        }
        Output::Table => output::text(&in_words(findings, data.as_ref()))?,
    }
    judge(findings.unwrap_or_default(), data.is_none_or(|checked| checked.equal))
}

fn in_words(findings: Option<&[Finding]>, data: Option<&Checked>) -> String {
    let findings = findings.map(findings::in_words).unwrap_or_default();
    findings + &data.map(data::in_words).unwrap_or_default()
}

/// What was found, as the command's end.
fn judge(findings: &[Finding], is_equal: bool) -> Result<(), Failure> {
    let kind = match findings.iter().map(Finding::weight).max() {
        _ if !is_equal => Kind::AnsweredNo,
        Some(Weight::Wrong) => Kind::AnsweredNo,
        Some(Weight::Unreachable) => Kind::AnsweredUnavailable,
        None => return Ok(()),
    };
    Err(Failure::new(kind, "CHECK_FAILED", "something is wrong; it is told above"))
}
