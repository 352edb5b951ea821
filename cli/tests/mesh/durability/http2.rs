//! Just enough of HTTP/2 to see which bytes of a connection are a request and which are its answer.

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADER_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;

/// A frame, and the calls that carried its first and its last byte.
#[derive(Debug)]
pub(super) struct Frame<'a, C> {
    kind: u8,
    pub(super) stream: u32,
    pub(super) payload: &'a [u8],
    pub(super) first: C,
    pub(super) last: C,
}

impl<C> Frame<'_, C> {
    /// A part of a message.
    pub(super) fn is_data(&self) -> bool {
        self.kind == DATA
    }

    /// The beginning of a request or an answer.
    pub(super) fn is_headers(&self) -> bool {
        self.kind == HEADERS
    }
}

/// One direction of a connection, put together from what each call carried.
#[derive(Debug)]
pub(super) struct Bytes<C> {
    bytes: Vec<u8>,
    /// Where the bytes of each call end.
    ends: Vec<(usize, C)>,
}

impl<C: Copy> Bytes<C> {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), ends: Vec::new() }
    }

    pub(super) fn push(&mut self, data: &[u8], call: C) {
        self.bytes.extend_from_slice(data);
        self.ends.push((self.bytes.len(), call));
    }

    /// The call that carried the byte at this place.
    fn carrier(&self, place: usize) -> C {
        self.ends.iter().find(|(end, _)| place < *end).expect("every byte came by a call").1
    }

    /// Every whole frame.
    pub(super) fn frames(&self) -> Vec<Frame<'_, C>> {
        let mut begin = if self.bytes.starts_with(PREFACE) { PREFACE.len() } else { 0 };
        let mut frames = Vec::new();
        while let Some(header) = self.bytes.get(begin..begin + HEADER_BYTES) {
            let length = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
            let payload = begin + HEADER_BYTES;
            let end = payload + length;
            let Some(payload) = self.bytes.get(payload..end) else { break };
            let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
            let (first, last) = (self.carrier(begin), self.carrier(end - 1));
            frames.push(Frame { kind: header[3], stream, payload, first, last });
            begin = end;
        }
        frames
    }
}
