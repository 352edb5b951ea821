//! Watch on the wire. What many readers are told is made into bytes once: a message is put together of bytes that they share.

use std::sync::Arc;

use bytes::{BufMut, Bytes};
use futures_util::stream;
use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::proto::arbiter::v1::arbiter_service_server::{ArbiterServiceServer, SERVICE_NAME};
use gameshelf::tokens::Token;
use prost::Message;
use tonic::body::Body;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http;
use tonic::codegen::{BoxFuture, BoxStream, Context, Poll, Service};
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::{Request, Response, Status};

use super::service::ArbiterGrpc;
use super::{errors, requests, responses};
use crate::domain::Commit;
use crate::watch::{Event, Part, Wire};

/// The keys of the fields, as `watch.proto` numbers them: each is a field of bytes or of a message.
const COMMITS_OF_RESPONSE: u8 = 3 << 3 | 2;
const COMMIT_OF_COMMITS: u8 = 1 << 3 | 2;
const TOKEN_OF_COMMITS: u8 = 2 << 3 | 2;

const WATCH: &str = "/gameshelf.arbiter.v1.ArbiterService/Watch";

/// The bytes that a stream has at first, and those from which on they are sent. Most streams are idle, and each has its own.
const BUFFER_BYTES: usize = 512;
const SEND_BYTES: usize = 32 << 10;

/// One message of a stream.
#[derive(Debug)]
enum Frame {
    Message(wire::WatchResponse),
    Commits { commits: Vec<Bytes>, token: String },
}

impl Frame {
    /// `store` is any token of the store.
    fn new(event: Event, store: Token) -> Self {
        match event {
            Event::Commits(parts) => Self::Commits {
                token: store.at(parts.last().map_or(store.revision, Part::last)).to_string(),
                commits: parts.iter().map(|part| part.wire(encode_commits)).collect(),
            },
            event => Self::Message(responses::event(event, store)),
        }
    }

    fn encode(&self, buffer: &mut impl BufMut) -> Result<(), prost::EncodeError> {
        let (commits, token) = match self {
            Self::Message(message) => return message.encode(buffer),
            Self::Commits { commits, token } => (commits, token),
        };
        let token_bytes = 1 + prost::length_delimiter_len(token.len()) + token.len();
        buffer.put_u8(COMMITS_OF_RESPONSE);
        let commits_bytes: usize = commits.iter().map(Bytes::len).sum();
        prost::encode_length_delimiter(commits_bytes + token_bytes, buffer)?;
        for shared in commits {
            buffer.put_slice(shared);
        }
        buffer.put_u8(TOKEN_OF_COMMITS);
        prost::encode_length_delimiter(token.len(), buffer)?;
        buffer.put_slice(token.as_bytes());
        Ok(())
    }
}

/// Commits as they stand in a message, one after the other.
fn encode_commits(commits: &[Arc<Commit>]) -> Wire {
    let mut bytes = Vec::new();
    let mut ends = Vec::with_capacity(commits.len());
    for commit in commits {
        bytes.put_u8(COMMIT_OF_COMMITS);
        let message = responses::commit(commit);
        bytes.reserve(message.encoded_len() + 8);
        // A vector has room for whatever there is.
        let _ = message.encode_length_delimited(&mut bytes);
        ends.push(bytes.len());
    }
    Wire { bytes: bytes.into(), ends }
}

/// Requests of Watch in, frames out.
#[derive(Clone, Copy, Debug, Default)]
struct Frames;

impl Codec for Frames {
    type Encode = Frame;
    type Decode = wire::WatchRequest;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Frames {
    type Item = Frame;
    type Error = Status;

    fn encode(&mut self, frame: Frame, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        frame.encode(buffer).map_err(|error| errors::encoding(&error))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, SEND_BYTES)
    }
}

impl Decoder for Frames {
    type Item = wire::WatchRequest;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<wire::WatchRequest>, Status> {
        // As tonic says it for the other methods: the mesh makes the same error of it for all.
        wire::WatchRequest::decode(buffer).map(Some).map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, SEND_BYTES)
    }
}

/// The service with a Watch of its own.
#[derive(Clone, Debug)]
pub(crate) struct ArbiterServer {
    grpc: ArbiterGrpc,
    others: ArbiterServiceServer<ArbiterGrpc>,
    max_message_bytes: usize,
}

impl ArbiterServer {
    /// A server that takes messages of at most `max_message_bytes`.
    pub(crate) fn new(grpc: ArbiterGrpc, max_message_bytes: usize) -> Self {
        let others = ArbiterServiceServer::new(grpc.clone()).max_decoding_message_size(max_message_bytes);
        Self { grpc, others, max_message_bytes }
    }
}

impl NamedService for ArbiterServer {
    const NAME: &'static str = SERVICE_NAME;
}

impl Service<http::Request<Body>> for ArbiterServer {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<http::Request<Body>>::poll_ready(&mut self.others, context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != WATCH {
            return self.others.call(request);
        }
        let grpc = self.grpc.clone();
        let mut server = Grpc::new(Frames).apply_max_message_size_config(Some(self.max_message_bytes), None);
        Box::pin(async move { Ok(server.server_streaming(WatchMethod(grpc), request).await) })
    }
}

/// The method itself.
struct WatchMethod(ArbiterGrpc);

impl ServerStreamingService<wire::WatchRequest> for WatchMethod {
    type Response = Frame;
    type ResponseStream = BoxStream<Frame>;
    type Future = std::future::Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<wire::WatchRequest>) -> Self::Future {
        std::future::ready(self.0.frames(request.get_ref()))
    }
}

impl ArbiterGrpc {
    fn frames(&self, request: &wire::WatchRequest) -> Result<Response<BoxStream<Frame>>, Status> {
        let watch = requests::watch(request, self.limits())?;
        let core = self.core()?;
        let opened = core.watch(watch)?;
        let store = core.identity;
        let frames = stream::unfold(opened, move |(mut events, connected)| async move {
            let frame = match events.next().await? {
                Ok(event) => Ok(Frame::new(event, store)),
                Err(error) => Err(errors::watch(&error)),
            };
            Some((frame, (events, connected)))
        });
        Ok(Response::new(Box::pin(frames)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Cause, Change, Reason, RequestId, Revision};
    use crate::watch::Hub;

    fn commit(revision: Revision) -> Commit {
        let key = (format!("customer-{revision}").parse().unwrap(), "g".parse().unwrap());
        Commit {
            revision,
            request_id: RequestId::new_v7(revision, [1; 10]),
            committed_at_ms: revision,
            cause: Arc::new(Cause { reason: Reason::Gift, actor: "a".to_owned(), order_id: String::new() }),
            changes: vec![Change::Granted { key, ends_at_ms: Some(7), reservation_id: None }],
            traceparent: String::new(),
        }
    }

    #[test]
    fn shared_bytes_are_what_the_message_would_be() {
        let store = Token { store_id: uuid::Uuid::from_u128(7), incarnation: 1, revision: 0 };
        let hub = Hub::new(0, 1 << 20);
        hub.publish((1..=5).map(commit).collect());
        hub.publish((6..=9).map(commit).collect());
        let bytes_of_commit = commit(1).bytes();
        for after in 0..9 {
            for commits in 1..=9 {
                let parts = hub.after(after, commits * bytes_of_commit).unwrap();
                let event = Event::Commits(parts);
                let mut bytes = Vec::new();
                Frame::new(event.clone(), store).encode(&mut bytes).unwrap();
                assert_eq!(bytes, responses::event(event, store).encode_to_vec(), "{commits} after {after}");
            }
        }
    }

    #[test]
    fn the_path_is_that_of_the_contract() {
        assert_eq!(WATCH, format!("/{SERVICE_NAME}/Watch"));
    }
}
