//! The frames of HTTP/2, as far as a load needs them.

use anyhow::{Context, ensure};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;

pub(super) const END_STREAM: u8 = 1;
/// The same bit where it stands for an acknowledgement.
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;

pub(super) const SETTING_ENABLE_PUSH: u16 = 2;
pub(super) const SETTING_MAX_CONCURRENT_STREAMS: u16 = 3;
pub(super) const SETTING_INITIAL_WINDOW_SIZE: u16 = 4;

/// What a client sends first.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The window of a connection before anybody has said anything.
pub(super) const DEFAULT_WINDOW_BYTES: u32 = 65_535;
/// No frame that we send or receive is longer.
pub(super) const MAX_PAYLOAD_BYTES: usize = 16_384;

const HEAD_BYTES: usize = 9;

/// One frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The first frame of what was received, and how long it is; nothing when it is not there as a whole.
    pub(super) fn parse(input: &'a [u8]) -> anyhow::Result<Option<(Self, usize)>> {
        let Some((head, rest)) = input.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *head;
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        ensure!(length <= MAX_PAYLOAD_BYTES, "a frame of {length} bytes was not asked for");
        // The first bit is reserved.
        let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
        let frame =
            rest.get(..length).map(|payload| (Self { kind, flags, stream, payload }, HEAD_BYTES + length));
        Ok(frame)
    }

    /// The settings in a frame of them.
    pub(super) fn settings(&self) -> impl Iterator<Item = (u16, u32)> {
        let settings = self.payload.as_chunks::<6>().0.iter();
        settings.map(|[i0, i1, v0, v1, v2, v3]| {
            (u16::from_be_bytes([*i0, *i1]), u32::from_be_bytes([*v0, *v1, *v2, *v3]))
        })
    }

    /// The number in a frame that begins with one.
    pub(super) fn number(&self) -> anyhow::Result<u32> {
        let number = self.payload.first_chunk::<4>().context("a frame is too short")?;
        Ok(u32::from_be_bytes(*number) & 0x7fff_ffff)
    }
}

/// Writes the head of a frame; its payload follows.
pub(super) fn put_head(output: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, length: usize) {
    // No payload of ours needs more than two bytes for its length.
    let [.., l1, l2] = length.to_be_bytes();
    output.extend_from_slice(&[0, l1, l2, kind, flags]);
    output.extend_from_slice(&stream.to_be_bytes());
}

pub(super) fn put(output: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    put_head(output, kind, flags, stream, payload.len());
    output.extend_from_slice(payload);
}

pub(super) fn put_settings(output: &mut Vec<u8>, settings: &[(u16, u32)]) {
    let payload: Vec<u8> = settings
        .iter()
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    put(output, SETTINGS, 0, 0, &payload);
}

pub(super) fn put_window_update(output: &mut Vec<u8>, stream: u32, bytes: u32) {
    put(output, WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
}

/// The headers of a call, compressed: as they are sent first, which makes the server remember them, and as they are
/// sent from then on, as references to what it remembers.
pub(super) fn compressed_heads(authority: &str, path: &str) -> (Vec<u8>, Vec<u8>) {
    const METHOD_POST: u8 = 0x83;
    const SCHEME_HTTP: u8 = 0x86;
    /// "Remember this": with a name of the table that everybody has, or with one that follows.
    const WITH_INDEXING: u8 = 0x40;
    const NAME_AUTHORITY: u8 = 1;
    const NAME_PATH: u8 = 4;
    const NAME_CONTENT_TYPE: u8 = 31;
    /// The newest of what is remembered has this number, and the older ones those above it.
    const NEWEST: u8 = 0x80 + 62;

    let mut first = vec![METHOD_POST, SCHEME_HTTP];
    for (name, value) in
        [(NAME_PATH, path), (NAME_AUTHORITY, authority), (NAME_CONTENT_TYPE, "application/grpc")]
    {
        first.push(WITH_INDEXING + name);
        put_text(&mut first, value);
    }
    first.push(WITH_INDEXING);
    put_text(&mut first, "te");
    put_text(&mut first, "trailers");
    (first, vec![METHOD_POST, SCHEME_HTTP, NEWEST + 3, NEWEST + 2, NEWEST + 1, NEWEST])
}

fn put_text(output: &mut Vec<u8>, text: &str) {
    // A length below 127 is one byte; paths and addresses are.
    output.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("the text is short"));
    output.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let mut output = Vec::new();
        put_window_update(&mut output, 7, 1_000);
        let (frame, length) = Frame::parse(&output).unwrap().unwrap();
        assert_eq!((frame.kind, frame.stream, length), (WINDOW_UPDATE, 7, output.len()));
        assert_eq!(frame.number().unwrap(), 1_000);
        assert_eq!(Frame::parse(&output[..output.len() - 1]).unwrap(), None, "not there as a whole");
    }

    #[test]
    fn settings_are_read_as_they_were_written() {
        let mut output = Vec::new();
        put_settings(&mut output, &[(SETTING_ENABLE_PUSH, 0), (SETTING_INITIAL_WINDOW_SIZE, 1 << 20)]);
        let (frame, _) = Frame::parse(&output).unwrap().unwrap();
        assert_eq!(
            frame.settings().collect::<Vec<_>>(),
            [(SETTING_ENABLE_PUSH, 0), (SETTING_INITIAL_WINDOW_SIZE, 1 << 20)]
        );
    }
}
