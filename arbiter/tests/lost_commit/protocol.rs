//! Just enough of PostgreSQL's protocol to see which statement a client executes, and when the server has answered.

use std::collections::HashMap;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The largest message that is passed on; far more than any of the tests needs.
const FRAME_BYTES_MAX: usize = 16 << 20;
const READ_BYTES: usize = 16 << 10;
/// What a client sends instead of a protocol version when it asks for encryption.
const ENCRYPTION_REQUEST: u32 = 80_877_103;

/// A message. One of a connection's startup has no type, any other begins with it.
#[derive(Debug)]
pub(crate) struct Frame {
    bytes: Vec<u8>,
    header_bytes: usize,
}

impl Frame {
    /// Asks the server to end the transaction of the messages before it, and to say so.
    pub(crate) fn sync() -> Self {
        Self { bytes: vec![b'S', 0, 0, 0, 4], header_bytes: 5 }
    }

    /// Asks the server to send what it has answered so far.
    pub(crate) fn flush() -> Self {
        Self { bytes: vec![b'H', 0, 0, 0, 4], header_bytes: 5 }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn kind(&self) -> u8 {
        self.bytes[0]
    }

    /// Whether the first message of a connection asks for encryption.
    pub(crate) fn asks_for_encryption(&self) -> bool {
        self.content().starts_with(&ENCRYPTION_REQUEST.to_be_bytes())
    }

    /// The server has answered everything up to a sync, and its transaction has ended.
    pub(crate) fn is_ready_for_query(&self) -> bool {
        self.kind() == b'Z'
    }

    /// A statement was executed.
    pub(crate) fn is_command_complete(&self) -> bool {
        self.kind() == b'C'
    }

    /// A statement failed.
    pub(crate) fn is_error(&self) -> bool {
        self.kind() == b'E'
    }

    fn content(&self) -> &[u8] {
        &self.bytes[self.header_bytes..]
    }

    /// The text of this number in the content; each ends with a zero.
    fn text(&self, index: usize) -> &[u8] {
        self.content().split(|byte| *byte == 0).nth(index).unwrap_or_default()
    }
}

/// The messages of one direction of a connection.
#[derive(Debug)]
pub(crate) struct Frames<R> {
    reader: R,
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new() }
    }

    /// The next message; an error at the end of the connection. When the future is dropped, nothing is lost.
    pub(crate) async fn next(&mut self) -> io::Result<Frame> {
        self.read(1).await
    }

    /// The next message of the startup, which has no type.
    pub(crate) async fn next_of_startup(&mut self) -> io::Result<Frame> {
        self.read(0).await
    }

    async fn read(&mut self, type_bytes: usize) -> io::Result<Frame> {
        loop {
            if let Some(frame) = self.take(type_bytes)? {
                return Ok(frame);
            }
            self.buffer.reserve(READ_BYTES);
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn take(&mut self, type_bytes: usize) -> io::Result<Option<Frame>> {
        let header_bytes = type_bytes + 4;
        let Some(length) = self.buffer.get(type_bytes..header_bytes) else { return Ok(None) };
        let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        if length > FRAME_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let frame_bytes = type_bytes + length;
        if self.buffer.len() < frame_bytes {
            return Ok(None);
        }
        let rest = self.buffer.split_off(frame_bytes);
        Ok(Some(Frame { bytes: std::mem::replace(&mut self.buffer, rest), header_bytes }))
    }
}

/// What a client has a statement for, as its text tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Statement {
    /// The arbiter's whole transaction: it advances the head and inserts what goes with that.
    Commit,
    /// A new epoch on the head.
    Epoch,
    Other,
}

impl Statement {
    fn of_text(sql: &[u8]) -> Self {
        let sql = String::from_utf8_lossy(sql);
        let advances =
            ["UPDATE head SET revision", "UPDATE head SET epoch"].iter().any(|text| sql.contains(text));
        match (advances, sql.contains("INSERT INTO")) {
            (true, true) => Self::Commit,
            (true, false) => Self::Epoch,
            (false, _) => Self::Other,
        }
    }
}

/// Messages that a client means to be taken together.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) frames: Vec<Frame>,
    /// What they execute.
    pub(crate) statement: Statement,
}

/// Puts the messages of a client together to requests.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    prepared: HashMap<Vec<u8>, Statement>,
    gathered: Vec<Frame>,
    executed: Option<Statement>,
}

impl Requests {
    /// Takes a message, and returns the request that it completes: those of the extended protocol end with a sync, any
    /// other message stands alone.
    pub(crate) fn push(&mut self, frame: Frame) -> Option<Request> {
        let goes_on = match frame.kind() {
            b'P' => {
                self.prepared.insert(frame.text(0).to_vec(), Statement::of_text(frame.text(1)));
                true
            }
            b'B' => {
                // The portal's name comes first, then the statement's.
                self.executed = self.prepared.get(frame.text(1)).copied();
                true
            }
            b'D' | b'E' | b'C' => true,
            _ => false,
        };
        self.gathered.push(frame);
        (!goes_on).then(|| Request {
            frames: std::mem::take(&mut self.gathered),
            statement: self.executed.take().unwrap_or(Statement::Other),
        })
    }
}
