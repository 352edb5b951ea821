//! `gameshelf import`: takes over who owns what from an export of another store.

mod rejects;
mod rows;
mod send;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use gameshelf::catalog::{self, Catalog};
use gameshelf::proto::arbiter::v1::GetHeadRequest;
use serde::Serialize;

use crate::clients::{ClientOptions, Clients};
use crate::commands::file;
use crate::exit::{Failure, Kind};
use crate::output::{self, Output};
use crate::ports;

/// What a person wants to know of an import that failed at its files.
const NOTHING_DONE: &str = "nothing was imported";

/// Takes over who owns what from a file of another store, or from an export
///
/// A CSV file of another store has the columns customer_id and game_title; a game's id is the slug of its title, which must be in
/// the catalogue. What `gameshelf export` writes, as CSV or as JSON lines, is read as well, end times included. Rows that cannot be
/// imported are rejected, each with its line and reason, into a file of their own, and the others go on. What is owned already
/// is left alone. Requests are known by their rows, so an import that was interrupted is simply run again: what it did
/// by then is not done a second time, also where a game was taken from its customer since.
#[derive(Args, Debug)]
#[expect(clippy::doc_markdown, reason = "the text is shown as help, where backticks would be noise")]
pub(crate) struct Options {
    /// CSV with the columns customer_id,game_title or customer_id,game_id,end_time, or JSON lines; - for standard input
    file: PathBuf,
    /// The catalogue; needed where the file names games by their titles, and otherwise every game must be in it
    #[arg(long, value_name = "FILE")]
    catalog: Option<PathBuf>,
    /// Where the rejected rows go [default: NAME.rejects.csv in the current directory]
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// The most rows in one request, which is one commit; no more than the arbiter's limit of changes per request
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    changes_per_request: u32,
    /// The most requests in flight
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    in_flight: u32,
    /// How long a request is tried again while the arbiter cannot be reached, in milliseconds
    #[arg(long, value_name = "N", default_value_t = 30_000)]
    give_up_after_ms: u64,
    /// Makes it another import than an earlier one of the same rows
    #[arg(long, value_name = "TEXT", default_value = "")]
    import_id: String,
    /// The most bytes of the file
    #[arg(long, value_name = "N", default_value_t = 256 << 20)]
    max_file_bytes: u64,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// What an import did.
#[derive(Serialize)]
struct Imported {
    granted: u64,
    already_owned: u64,
    rejected: usize,
    customers: usize,
    elapsed_ms: u64,
    revision: u64,
    rejects_file: String,
}

/// Imports the file and prints what was done.
///
/// # Errors
///
/// A file that is wrong or cannot be read, a refusal, or an arbiter that could not be reached for too long. What was
/// granted by then stays granted.
pub(crate) async fn run(options: Options, clients: &Clients, output: Output) -> Result<(), Failure> {
    let clock = &clients.environment().clock;
    let begun = clock.monotonic();
    let catalog = options.catalog.as_deref().map(read_catalog).transpose()?;
    let file = file::read_or_stdin(&options.file, options.max_file_bytes);
    let file = file.map_err(|failure| failure.hint(NOTHING_DONE))?;
    let rows =
        rows::read(&file, catalog.as_ref()).map_err(|error| wrong_file(&options.file, &error.to_string()))?;
    drop(file);

    let rejects_path = options.rejects.clone().unwrap_or_else(|| rejects::default_path(&options.file));
    refuse_to_overwrite(&options, &rejects_path)?;
    // Before anything is sent: a path that cannot be written is told while nothing has happened yet.
    write_rejects(&rejects_path, &rows.rejected)?;

    let limits = send::Limits {
        changes_per_request: usize::try_from(options.changes_per_request).unwrap_or(usize::MAX),
        in_flight: usize::try_from(options.in_flight).unwrap_or(usize::MAX),
        give_up_after: Duration::from_millis(options.give_up_after_ms),
        import_id: options.import_id,
    };
    let mut rejected = rows.rejected;
    let already_owned_in_file = rows.repeated;
    let sent = send::send(&rows.good, clients, &limits).await?;
    let revision = if sent.revision == 0 { head(clients).await? } else { sent.revision };
    if !sent.rejected.is_empty() {
        rejected.extend(sent.rejected);
        rejected.sort_by_key(|row| row.line);
        write_rejects(&rejects_path, &rejected)?;
    }
    let elapsed = clock.monotonic().saturating_duration_since(begun);
    print(
        &Imported {
            granted: sent.granted,
            already_owned: sent.already_owned + already_owned_in_file,
            rejected: rejected.len(),
            customers: sent.customers,
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            revision,
            rejects_file: rejects_path.display().to_string(),
        },
        output,
    )
}

fn write_rejects(path: &Path, rejected: &[rows::Rejected]) -> Result<(), Failure> {
    rejects::write(path, rejected).map_err(|error| {
        Failure::new(Kind::BadInput, "REJECTS_FILE", format!("{}: {error}", path.display()))
            .hint("say where the rejected rows go with --rejects FILE")
    })
}

/// The rejects must not replace what they are the rejects of.
fn refuse_to_overwrite(options: &Options, rejects_path: &Path) -> Result<(), Failure> {
    for (role, path) in [("file to import", Some(&options.file)), ("catalogue", options.catalog.as_ref())] {
        if path.is_some_and(|path| rejects::is_same_file(rejects_path, path)) {
            let message = format!(
                "{}: the rejected rows would overwrite the {role}; nothing was imported",
                rejects_path.display()
            );
            return Err(Failure::new(Kind::BadInput, "REJECTS_FILE", message)
                .with("file", rejects_path.display())
                .hint("say where the rejected rows go with --rejects FILE"));
        }
    }
    Ok(())
}

/// The newest revision, for an import that had nothing to send.
async fn head(clients: &Clients) -> Result<u64, Failure> {
    let head = clients.arbiter()?.get_head(GetHeadRequest {}).await;
    let head = head.map_err(|status| Failure::from_status(ports::ARBITER.name, &status))?.into_inner();
    Ok(head.provenance.map_or(0, |provenance| provenance.revision))
}

fn read_catalog(path: &Path) -> Result<Catalog, Failure> {
    let bytes = read_file(path, u64::try_from(catalog::FILE_MAX_BYTES).unwrap_or(u64::MAX))?;
    Catalog::parse(&bytes).map_err(|error| wrong_file(path, &error.to_string()))
}

fn read_file(path: &Path, max_bytes: u64) -> Result<Vec<u8>, Failure> {
    file::read(path, max_bytes).map_err(|failure| failure.hint(NOTHING_DONE))
}

fn wrong_file(path: &Path, what: &str) -> Failure {
    file::wrong(path, what).hint(NOTHING_DONE)
}

fn print(imported: &Imported, output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        return output::json(imported);
    }
    let mut table = output::table(&["granted", "already owned", "rejected", "customers", "revision", "time"]);
    table.add_row([
        imported.granted.to_string(),
        imported.already_owned.to_string(),
        imported.rejected.to_string(),
        imported.customers.to_string(),
        imported.revision.to_string(),
        format!("{} ms", imported.elapsed_ms),
    ]);
    let mut lines = vec![output::render(&table)];
    if imported.rejected > 0 {
        lines.push(format!("each rejected row, with its line and reason: {}\n", imported.rejects_file));
    }
    output::text(&lines.concat())
}
