//! A reader of Watch that costs little: it looks only for what is counted.

use bytes::{Buf, Bytes, BytesMut};
use gameshelf::proto::arbiter::v1 as wire;
use h2::RecvStream;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::load::{Connection, Method, PREFIX_BYTES, framed};

const WATCH: &str = "/gameshelf.arbiter.v1.ArbiterService/Watch";

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Rows(u64),
    SnapshotEnd(u64),
    /// How many, and the revision of the last.
    Commits(u64, u64),
    Bookmark(u64),
}

/// One stream.
pub(super) struct Watcher {
    body: RecvStream,
    buffer: BytesMut,
}

/// Asks for everything after a start.
pub(super) fn everything(start: wire::watch_request::Start) -> wire::WatchRequest {
    wire::WatchRequest { start: Some(start), ..wire::WatchRequest::default() }
}

/// Asks for what is committed from now on for one customer.
pub(super) fn of_customer(customer_id: String) -> wire::WatchRequest {
    let filter = wire::Filter { customer_ids: vec![customer_id], ..wire::Filter::default() };
    let start = wire::watch_request::Start::Snapshot(wire::SnapshotStart::default());
    wire::WatchRequest { filter: Some(filter), ..everything(start) }
}

impl Watcher {
    pub(super) async fn open(
        connection: &mut Connection,
        request: &wire::WatchRequest,
    ) -> anyhow::Result<Self> {
        let method = Method::new(connection.address(), WATCH)?;
        let body = connection.open_stream(&method, Bytes::from(framed(request))).await?;
        Ok(Self { body, buffer: BytesMut::new() })
    }

    /// The next message; none at the end of the stream.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Seen>> {
        loop {
            if let Some(message) = self.take() {
                return see(message).map(Some);
            }
            let Some(data) = self.body.data().await.transpose()? else {
                return match self
                    .body
                    .trailers()
                    .await?
                    .and_then(|trailers| tonic::Status::from_header_map(&trailers))
                {
                    Some(status) if status.code() != tonic::Code::Ok => Err(status.into()),
                    _ => Ok(None),
                };
            };
            self.body.flow_control().release_capacity(data.len())?;
            self.buffer.extend_from_slice(&data);
        }
    }

    /// A whole message of what was received.
    fn take(&mut self) -> Option<Bytes> {
        let length = self.buffer.get(1..PREFIX_BYTES)?;
        let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
        if self.buffer.len() < PREFIX_BYTES + length {
            return None;
        }
        self.buffer.advance(PREFIX_BYTES);
        Some(self.buffer.split_to(length).freeze())
    }
}

/// Looks at a message.
fn see(mut message: Bytes) -> anyhow::Result<Seen> {
    let (tag, _) = decode_key(&mut message)?;
    let length = decode_varint(&mut message)?;
    let mut event = message.split_to(usize::try_from(length)?);
    Ok(match tag {
        1 => Seen::Rows(count(&mut event)?.0),
        3 => {
            let (commits, last) = count(&mut event)?;
            Seen::Commits(commits, first_number(last)?)
        }
        2 => Seen::SnapshotEnd(first_number(event)?),
        _ => Seen::Bookmark(first_number(event)?),
    })
}

/// How often the first field stands there, and the last of them.
fn count(event: &mut Bytes) -> anyhow::Result<(u64, Bytes)> {
    let (mut found, mut last) = (0, Bytes::new());
    while event.has_remaining() {
        let (tag, wire_type) = decode_key(event)?;
        if tag == 1 && wire_type == WireType::LengthDelimited {
            let length = decode_varint(event)?;
            last = event.split_to(usize::try_from(length)?);
            found += 1;
        } else {
            skip_field(wire_type, tag, event, DecodeContext::default())?;
        }
    }
    Ok((found, last))
}

/// The number in the first field: the revision; 0 is not sent.
fn first_number(mut message: Bytes) -> anyhow::Result<u64> {
    while message.has_remaining() {
        let (tag, wire_type) = decode_key(&mut message)?;
        if tag == 1 && wire_type == WireType::Varint {
            return Ok(decode_varint(&mut message)?);
        }
        skip_field(wire_type, tag, &mut message, DecodeContext::default())?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn commits_are_counted_without_being_decoded() {
        let commit =
            |revision| wire::Commit { revision, traceparent: "t".to_owned(), ..wire::Commit::default() };
        let commits = wire::Commits { commits: (5..=7).map(commit).collect(), token: "token".to_owned() };
        let event = wire::watch_response::Event::Commits(commits);
        let message = wire::WatchResponse { event: Some(event) }.encode_to_vec();
        assert_eq!(see(message.into()).unwrap(), Seen::Commits(3, 7));
        let bookmark = wire::Bookmark { revision: 9, ..wire::Bookmark::default() };
        let event = wire::watch_response::Event::Bookmark(bookmark);
        let message = wire::WatchResponse { event: Some(event) }.encode_to_vec();
        assert_eq!(see(message.into()).unwrap(), Seen::Bookmark(9));
    }
}
