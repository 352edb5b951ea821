//! `gameshelf export`: what everybody owns at one revision, as a file that can be imported.

mod rows;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use gameshelf::proto::arbiter::v1::watch_request::Start;
use gameshelf::proto::arbiter::v1::watch_response::Event;
use gameshelf::proto::arbiter::v1::{
    GetDigestsRequest, GetHeadRequest, SnapshotEnd, SnapshotStart, WatchRequest,
};
use gameshelf::tokens::Token;
use serde::Serialize;
use tonic::Status;

use rows::RowWriter;

use crate::clients::{ClientOptions, Clients};
use crate::commands::{file, hints, progress};
use crate::exit::{Failure, Kind};
use crate::output::{self, Output};

/// What stands for standard output.
const STDOUT: &str = "-";

/// The form of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A customer, a game and an end time in each line.
    Csv,
    /// One object in each line.
    Jsonl,
}

/// Writes what everybody owns at one revision to a file
///
/// Writes go on meanwhile, and none of them shows. `gameshelf import` reads the file, end times included. The file has
/// all rows, or is not there.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Where the rows go; - for standard output
    file: PathBuf,
    /// The form of the rows
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// The revision to show, or its token [default: the newest]
    #[arg(long, value_name = "REVISION|TOKEN")]
    as_of: Option<AsOf>,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
}

/// A revision of this store.
#[derive(Clone, Debug)]
pub(crate) enum AsOf {
    Revision(u64),
    Token(Token),
}

impl std::str::FromStr for AsOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(revision) = text.parse() {
            return Ok(Self::Revision(revision));
        }
        text.parse().map(Self::Token).map_err(|_| "must be a revision or a token".to_owned())
    }
}

#[derive(Serialize)]
struct Exported {
    rows: u64,
    revision: u64,
    token: String,
    file: String,
}

/// Exports everything and prints what was done.
///
/// # Errors
///
/// A file that cannot be written, a revision that is not known or no longer kept, or an arbiter that stopped on the way.
pub(crate) async fn run(options: Options, clients: &Clients, output: Output) -> Result<(), Failure> {
    let as_of = match &options.as_of {
        None => None,
        Some(AsOf::Token(token)) => Some(*token),
        Some(AsOf::Revision(revision)) => Some(token_at(*revision, clients).await?),
    };
    let is_stdout = options.file.as_os_str() == STDOUT;
    let exported = if is_stdout {
        let mut writer = RowWriter::new(io::stdout().lock(), options.format)?;
        let (end, rows) = write_rows(&mut writer, as_of, clients).await?;
        drop(writer.finish()?);
        (end, rows)
    } else {
        write_file(&options, as_of, clients).await?
    };
    let (SnapshotEnd { revision, token }, rows) = exported;
    let file = options.file.display().to_string();
    match output {
        // Standard output has the rows.
        _ if is_stdout => Ok(()),
        Output::Json => output::json(&Exported { rows, revision, token, file }),
        Output::Table => output::text(&format!("{rows} rows at revision {revision}: {file}\n")),
    }
}

/// Writes a file that has all rows, or stays as it was.
async fn write_file(
    options: &Options,
    as_of: Option<Token>,
    clients: &Clients,
) -> Result<(SnapshotEnd, u64), Failure> {
    let wrong = |error: &io::Error| file::wrong(&options.file, &error.to_string());
    let mut partial = options.file.clone().into_os_string();
    partial.push(format!(".{}.partial", std::process::id()));
    let partial = PathBuf::from(partial);
    let written = async {
        let file = File::create(&partial).map_err(|error| wrong(&error))?;
        let mut writer = RowWriter::new(file, options.format)?;
        let exported = write_rows(&mut writer, as_of, clients).await?;
        let file = writer.finish()?;
        file.sync_all().map_err(|error| wrong(&error))?;
        std::fs::rename(&partial, &options.file).map_err(|error| wrong(&error))?;
        Ok(exported)
    };
    let written = written.await;
    if written.is_err() {
        remove(&partial);
    }
    written
}

/// What is left of a file is of no use; that it may not even exist is no further failure.
fn remove(partial: &Path) {
    let _ = std::fs::remove_file(partial);
}

/// The token of a revision: the newest one, moved.
async fn token_at(revision: u64, clients: &Clients) -> Result<Token, Failure> {
    let head = clients.arbiter()?.get_head(GetHeadRequest {}).await;
    let head = head.map_err(|status| hints::failed(&status, clients))?.into_inner();
    let token: Token = head.provenance.unwrap_or_default().token.parse().map_err(|_| {
        Failure::new(Kind::Defect, "ANSWER", "the arbiter answered with a token that is none")
    })?;
    Ok(token.at(revision))
}

/// Writes every row of a snapshot.
async fn write_rows(
    writer: &mut RowWriter<impl Write>,
    as_of: Option<Token>,
    clients: &Clients,
) -> Result<(SnapshotEnd, u64), Failure> {
    let failed = |status: Status| hints::failed(&status, clients).hint("nothing was exported; do it again");
    let digests = clients.arbiter()?.get_digests(GetDigestsRequest {}).await.map_err(failed)?.into_inner();
    // There are as many rows about now as there were a moment ago.
    let progress = progress::bar(digests.rows.iter().sum());
    let as_of_token = as_of.map(|token| token.to_string()).unwrap_or_default();
    let start = Some(Start::Snapshot(SnapshotStart { as_of_token }));
    let request = WatchRequest { start, ..WatchRequest::default() };
    let mut stream = clients.arbiter_streams()?.watch(request).await.map_err(failed)?.into_inner();
    let mut rows = 0;
    loop {
        let message = stream.message().await.map_err(failed)?;
        let message = message.ok_or_else(|| failed(Status::unavailable("the stream ended")))?;
        match message.event {
            Some(Event::SnapshotChunk(chunk)) => {
                for one in &chunk.entitlements {
                    writer.write(one)?;
                    rows += 1;
                }
                progress.inc(u64::try_from(chunk.entitlements.len()).unwrap_or(0));
            }
            Some(Event::SnapshotEnd(end)) => {
                progress.finish_and_clear();
                // An arbiter of an older version shows the newest revision, whatever it is asked for.
                return match as_of {
                    Some(token) if token.revision != end.revision => {
                        let told =
                            format!("asked for revision {}, it showed {}", token.revision, end.revision);
                        Err(Failure::new(Kind::Defect, "REVISION", told))
                    }
                    _ => Ok((end, rows)),
                };
            }
            Some(Event::Commits(_) | Event::Bookmark(_)) | None => {}
        }
    }
}
