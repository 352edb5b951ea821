//! `gameshelf copies`: who holds copies, and how old they are.

use clap::Args;
use gameshelf::proto::arbiter::v1::copy::TrimRisk;
use gameshelf::proto::arbiter::v1::{Copy, DigestState, ListCopiesRequest, ListCopiesResponse};
use serde::Serialize;

use crate::clients::{ClientOptions, Clients};
use crate::commands::hints;
use crate::exit::Failure;
use crate::output::{self, Output};

/// Lists the copies that services keep, and how far each is behind
///
/// Warns of copies that trimming the log cuts off, or is about to: such a copy has to be rebuilt from a snapshot.
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

#[derive(Serialize)]
struct Listed {
    /// The newest revision.
    revision: u64,
    oldest_resumable_revision: u64,
    copies: Vec<CopyJson>,
}

#[derive(Serialize)]
struct CopyJson {
    name: String,
    version: String,
    revision: u64,
    revisions_behind: u64,
    /// Null where it is not known.
    behind_ms: Option<i64>,
    digests: &'static str,
    repaired_partitions: u64,
    unseen_ms: i64,
    last_seen_time: String,
    connected: bool,
    trim_risk: &'static str,
}

impl From<&Copy> for CopyJson {
    fn from(copy: &Copy) -> Self {
        Self {
            name: copy.name.clone(),
            version: copy.version.clone(),
            revision: copy.revision,
            revisions_behind: copy.revisions_behind,
            behind_ms: copy.behind.map(millis),
            digests: match copy.digest_state() {
                DigestState::Unspecified => "not_compared",
                DigestState::Equal => "equal",
                DigestState::Different => "different",
            },
            repaired_partitions: copy.repaired_partitions,
            unseen_ms: copy.unseen.map(millis).unwrap_or_default(),
            last_seen_time: copy.last_seen_time.unwrap_or_default().to_string(),
            connected: copy.connected,
            trim_risk: match copy.trim_risk() {
                TrimRisk::Unspecified => "unknown",
                TrimRisk::None => "none",
                TrimRisk::Soon => "soon",
                TrimRisk::CutOff => "cut_off",
            },
        }
    }
}

fn millis(duration: prost_types::Duration) -> i64 {
    duration.seconds.saturating_mul(1_000).saturating_add(i64::from(duration.nanos / 1_000_000))
}

/// Asks for the copies and prints them.
///
/// # Errors
///
/// An arbiter that cannot be reached.
pub(crate) async fn run(_options: Options, clients: &Clients, output: Output) -> Result<(), Failure> {
    let listed = clients.arbiter()?.list_copies(ListCopiesRequest {}).await;
    let listed = listed.map_err(|status| hints::failed(&status, clients))?.into_inner();
    match output {
        Output::Json => output::json(&Listed {
            revision: listed.provenance.as_ref().map_or(0, |provenance| provenance.revision),
            oldest_resumable_revision: listed.oldest_resumable_revision,
            copies: listed.copies.iter().map(CopyJson::from).collect(),
        }),
        Output::Table => output::text(&in_words(&listed)),
    }
}

fn in_words(listed: &ListCopiesResponse) -> String {
    if listed.copies.is_empty() {
        return "no service told of a copy\n".to_owned();
    }
    let columns = ["copy", "version", "revision", "behind", "for at most", "digests", "repaired", "seen"];
    let mut table = output::table(&columns);
    for copy in &listed.copies {
        let shown = CopyJson::from(copy);
        let behind = match (shown.revisions_behind, shown.behind_ms) {
            (0, _) => "-".to_owned(),
            (_, None) => "not known".to_owned(),
            (_, Some(behind_ms)) => seconds(behind_ms),
        };
        let seen = if shown.connected {
            "connected".to_owned()
        } else {
            format!("{} ago", seconds(shown.unseen_ms))
        };
        table.add_row([
            shown.name,
            shown.version,
            shown.revision.to_string(),
            shown.revisions_behind.to_string(),
            behind,
            shown.digests.replace('_', " "),
            shown.repaired_partitions.to_string(),
            seen,
        ]);
    }
    let warnings = listed.copies.iter().filter_map(warning);
    std::iter::once(output::render(&table)).chain(warnings).collect()
}

fn warning(copy: &Copy) -> Option<String> {
    let what = match copy.trim_risk() {
        TrimRisk::Soon => "soon; is it still running?",
        TrimRisk::CutOff => "already; it has to be rebuilt from a snapshot",
        TrimRisk::None | TrimRisk::Unspecified => return None,
    };
    Some(format!("warning: what {} needs next is trimmed {what}\n", copy.name))
}

fn seconds(millis: i64) -> String {
    format!("{}.{} s", millis / 1_000, millis % 1_000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_trimming_cuts_off_is_warned_of() {
        let copy = |name: &str, risk: TrimRisk| Copy {
            name: name.to_owned(),
            revision: 7,
            revisions_behind: 3,
            behind: Some(prost_types::Duration { seconds: 4, nanos: 250_000_000 }),
            trim_risk: risk.into(),
            ..Copy::default()
        };
        let copies = vec![copy("a", TrimRisk::None), copy("b", TrimRisk::Soon), copy("c", TrimRisk::CutOff)];
        let text = in_words(&ListCopiesResponse { copies, ..ListCopiesResponse::default() });
        let warnings: Vec<_> = text.lines().filter(|line| line.starts_with("warning: ")).collect();
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].contains("what b needs next is trimmed soon"), "{text}");
        assert!(warnings[1].contains("what c needs next is trimmed already"), "{text}");
        assert!(text.contains("4.2 s"), "{text}");
    }
}
