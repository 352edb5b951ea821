//! How rows are written.

use std::io::{self, BufWriter, Write};

use gameshelf::proto::arbiter::v1::Entitlement;
use serde::Serialize;

use super::Format;
use crate::exit::Failure;

/// How much is gathered before it is written.
const BUFFER_BYTES: usize = 1 << 16;

/// Writes rows in one of the forms.
pub(super) enum RowWriter<W: Write> {
    Csv(Box<csv::Writer<BufWriter<W>>>),
    Jsonl(BufWriter<W>),
}

#[derive(Serialize)]
struct Line<'a> {
    customer_id: &'a str,
    game_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<String>,
}

impl<W: Write> RowWriter<W> {
    pub(super) fn new(writer: W, format: Format) -> Result<Self, Failure> {
        let writer = BufWriter::with_capacity(BUFFER_BYTES, writer);
        Ok(match format {
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(writer);
                writer.write_record(["customer_id", "game_id", "end_time"]).map_err(io::Error::from)?;
                Self::Csv(Box::new(writer))
            }
            Format::Jsonl => Self::Jsonl(writer),
        })
    }

    pub(super) fn write(&mut self, one: &Entitlement) -> Result<(), Failure> {
        let end_time = one.end_time.as_ref().map(ToString::to_string);
        let (customer_id, game_id) = (one.customer_id.as_str(), one.game_id.as_str());
        match self {
            Self::Csv(writer) => writer
                .write_record([customer_id, game_id, end_time.as_deref().unwrap_or_default()])
                .map_err(io::Error::from)?,
            Self::Jsonl(writer) => {
                serde_json::to_writer(&mut *writer, &Line { customer_id, game_id, end_time })
                    .map_err(io::Error::from)?;
                writer.write_all(b"\n")?;
            }
        }
        Ok(())
    }

    /// Everything was written.
    pub(super) fn finish(self) -> Result<W, Failure> {
        let writer = match self {
            Self::Csv(writer) => writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?,
            Self::Jsonl(writer) => writer,
        };
        Ok(writer.into_inner().map_err(io::IntoInnerError::into_error)?)
    }
}
