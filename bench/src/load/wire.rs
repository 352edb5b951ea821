//! The state of a connection of the load, without the connection: what was sent, what is awaited, and what is to be sent.
//!
//! A general client keeps a task, buffers and wakers for each call, which costs as much as half a server. This one only
//! knows calls of one small message there and one back, all with the same headers.

use std::collections::VecDeque;

use anyhow::{bail, ensure};
use tokio::time::Instant;

use super::frames::{self, Frame};
use super::template::PREFIX_BYTES;

/// Windows that no answer fills.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;
/// How much is received before the server is told that there is room for it again.
const WINDOW_UPDATE_BYTES: u32 = 16 << 20;
/// Calls that a server takes at once, where it does not say.
const STREAMS_BY_DEFAULT: u32 = 100;

/// A connection's state.
#[derive(Debug)]
pub(super) struct Wire {
    /// What is to be sent.
    pub(super) output: Vec<u8>,
    first_head: Option<Vec<u8>>,
    later_head: Vec<u8>,
    next_stream: u32,
    /// The calls that wait, by their streams: the first is that of `oldest_stream`, and each is two further.
    waiting: VecDeque<Option<Call>>,
    oldest_stream: u32,
    in_flight: usize,
    streams_at_most: usize,
    is_settled: bool,
    send_window: i64,
    received_bytes: u32,
}

/// A call that waits for its answer.
#[derive(Debug)]
struct Call {
    begin: Instant,
    received_bytes: usize,
    /// The answer, where it is to be looked at.
    answer: Option<Vec<u8>>,
}

/// A call that was answered.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) begin: Instant,
    /// Its message, where it is to be looked at.
    pub(super) message: Option<Vec<u8>>,
}

/// The server answered without a message: with an error.
#[derive(Debug, thiserror::Error)]
#[error("the server refused a request")]
pub(super) struct Refused;

impl Wire {
    pub(super) fn new(authority: &str, path: &str) -> Self {
        let mut output = frames::PREFACE.to_vec();
        let settings =
            [(frames::SETTING_ENABLE_PUSH, 0), (frames::SETTING_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES)];
        frames::put_settings(&mut output, &settings);
        frames::put_window_update(&mut output, 0, CONNECTION_WINDOW_BYTES - frames::DEFAULT_WINDOW_BYTES);
        let (first_head, later_head) = frames::compressed_heads(authority, path);
        Self {
            output,
            first_head: Some(first_head),
            later_head,
            next_stream: 1,
            waiting: VecDeque::new(),
            oldest_stream: 1,
            in_flight: 0,
            streams_at_most: STREAMS_BY_DEFAULT as usize,
            is_settled: false,
            send_window: i64::from(frames::DEFAULT_WINDOW_BYTES),
            received_bytes: 0,
        }
    }

    /// Whether the server has told its limits.
    pub(super) fn is_settled(&self) -> bool {
        self.is_settled
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether the server takes one more call with a message of this length now.
    pub(super) fn has_room(&self, message_bytes: usize) -> bool {
        self.is_settled
            && self.in_flight < self.streams_at_most
            && i64::try_from(message_bytes).is_ok_and(|bytes| bytes <= self.send_window)
    }

    /// Begins a call, where there is room. `write` appends a message of this length, with its prefix.
    pub(super) fn send(
        &mut self,
        begin: Instant,
        look_at_answer: bool,
        message_bytes: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let stream = self.next_stream;
        self.next_stream += 2;
        let first_head = self.first_head.take();
        let head = first_head.as_ref().unwrap_or(&self.later_head);
        frames::put(&mut self.output, frames::HEADERS, frames::END_HEADERS, stream, head);
        frames::put_head(&mut self.output, frames::DATA, frames::END_STREAM, stream, message_bytes);
        write(&mut self.output);
        self.send_window -= i64::try_from(message_bytes).unwrap_or(i64::MAX);
        let answer = look_at_answer.then(Vec::new);
        self.waiting.push_back(Some(Call { begin, received_bytes: 0, answer }));
        self.in_flight += 1;
    }

    /// Takes in what was received, and tells how much of it was whole frames.
    pub(super) fn receive(
        &mut self,
        input: &[u8],
        mut answered: impl FnMut(Answered) -> anyhow::Result<()>,
    ) -> anyhow::Result<usize> {
        let mut taken = 0;
        while let Some((frame, length)) = Frame::parse(&input[taken..])? {
            taken += length;
            if let Some(call) = self.take(&frame)? {
                answered(call)?;
            }
        }
        Ok(taken)
    }

    /// The call that a frame completes, if it does.
    fn take(&mut self, frame: &Frame) -> anyhow::Result<Option<Answered>> {
        match frame.kind {
            frames::DATA => self.take_data(frame)?,
            frames::HEADERS if frame.flags & frames::END_STREAM != 0 => {
                return self.finish(frame.stream).map(Some);
            }
            frames::RST_STREAM => bail!("the server reset a call with code {}", frame.number()?),
            frames::SETTINGS if frame.flags & frames::ACK == 0 => self.settle(frame),
            frames::PING if frame.flags & frames::ACK == 0 => {
                frames::put(&mut self.output, frames::PING, frames::ACK, 0, frame.payload);
            }
            frames::GOAWAY => bail!("the server closes the connection"),
            // The windows of single calls do not matter: a request is smaller than the smallest.
            frames::WINDOW_UPDATE if frame.stream == 0 => self.send_window += i64::from(frame.number()?),
            // The headers say nothing that is not known: an error comes without a message.
            _ => {}
        }
        Ok(None)
    }

    fn settle(&mut self, frame: &Frame) {
        let streams = frame.settings().find(|(id, _)| *id == frames::SETTING_MAX_CONCURRENT_STREAMS);
        // A server without a limit says nothing of one.
        self.streams_at_most = streams.map_or(usize::MAX, |(_, streams)| streams as usize);
        self.is_settled = true;
        frames::put(&mut self.output, frames::SETTINGS, frames::ACK, 0, &[]);
    }

    fn call(&mut self, stream: u32) -> anyhow::Result<&mut Option<Call>> {
        let place = stream.checked_sub(self.oldest_stream).map(|beyond| beyond as usize / 2);
        match place.and_then(|place| self.waiting.get_mut(place)) {
            Some(call) if call.is_some() => Ok(call),
            _ => bail!("the server answers a call that does not wait"),
        }
    }

    fn take_data(&mut self, frame: &Frame) -> anyhow::Result<()> {
        ensure!(frame.flags & frames::PADDED == 0, "an answer is padded");
        if let Some(call) = self.call(frame.stream)? {
            call.received_bytes += frame.payload.len();
            if let Some(answer) = &mut call.answer {
                answer.extend_from_slice(frame.payload);
            }
        }
        self.received_bytes += u32::try_from(frame.payload.len())?;
        if self.received_bytes >= WINDOW_UPDATE_BYTES {
            frames::put_window_update(&mut self.output, 0, self.received_bytes);
            self.received_bytes = 0;
        }
        // A message that is also the end would be followed by no status.
        ensure!(frame.flags & frames::END_STREAM == 0, "an answer ends without a status");
        Ok(())
    }

    fn finish(&mut self, stream: u32) -> anyhow::Result<Answered> {
        let call = self.call(stream)?.take();
        self.in_flight -= 1;
        while let Some(None) = self.waiting.front() {
            self.waiting.pop_front();
            self.oldest_stream += 2;
        }
        match call {
            Some(call) if call.received_bytes >= PREFIX_BYTES => {
                let message = call.answer.map(|answer| answer[PREFIX_BYTES..].to_vec());
                Ok(Answered { begin: call.begin, message })
            }
            _ => Err(Refused.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAILERS: u8 = frames::END_HEADERS | frames::END_STREAM;

    fn settled() -> Wire {
        let mut wire = Wire::new("127.0.0.1:1", "/package.Service/Method");
        let mut input = Vec::new();
        frames::put_settings(&mut input, &[(frames::SETTING_MAX_CONCURRENT_STREAMS, 2)]);
        wire.receive(&input, |_| Ok(())).unwrap();
        wire
    }

    fn send(wire: &mut Wire) {
        wire.send(Instant::now(), true, 3, |output| output.extend_from_slice(b"abc"));
    }

    fn answer(stream: u32) -> Vec<u8> {
        let mut input = Vec::new();
        frames::put(&mut input, frames::HEADERS, frames::END_HEADERS, stream, &[]);
        frames::put(&mut input, frames::DATA, 0, stream, b"\0\0\0\0\x01m");
        frames::put(&mut input, frames::HEADERS, TRAILERS, stream, &[]);
        input
    }

    #[test]
    fn nothing_is_sent_beyond_the_limits_of_the_server() {
        assert!(!Wire::new("127.0.0.1:1", "/p.S/M").has_room(3), "before the server has told its limits");
        let mut wire = settled();
        assert!(!wire.has_room(frames::DEFAULT_WINDOW_BYTES as usize + 1), "the window");
        send(&mut wire);
        send(&mut wire);
        assert!(!wire.has_room(3), "two calls at once");
        wire.receive(&answer(1), |_| Ok(())).unwrap();
        assert!(wire.has_room(3));
    }

    #[test]
    fn answers_are_taken_in_any_order_and_in_any_pieces() {
        let mut wire = settled();
        send(&mut wire);
        send(&mut wire);
        let input = [answer(3), answer(1)].concat();
        let (mut messages, mut taken) = (Vec::new(), 0);
        for end in 0..=input.len() {
            let note = |answered: Answered| {
                messages.push(answered.message.unwrap_or_default());
                Ok(())
            };
            taken += wire.receive(&input[taken..end], note).unwrap();
        }
        assert_eq!((messages, wire.in_flight()), (vec![b"m".to_vec(), b"m".to_vec()], 0));
    }

    #[test]
    fn an_answer_without_a_message_is_a_refusal() {
        let mut wire = settled();
        send(&mut wire);
        let mut input = Vec::new();
        frames::put(&mut input, frames::HEADERS, TRAILERS, 1, &[]);
        assert!(wire.receive(&input, |_| Ok(())).unwrap_err().is::<Refused>());
        assert!(wire.receive(&input, |_| Ok(())).is_err(), "nobody waits for a second answer");
    }
}
