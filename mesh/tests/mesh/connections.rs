//! The connection to a peer: made once for all who call, given up when nobody does, and what goes over it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join_all, poll_fn};
use futures_util::stream::{self, StreamExt};
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::uri::PathAndQuery;
use mesh::environment::{Connecting, Connector, Environment, Tcp};
use mesh::inbound::InboundConfig;
use mesh::outbound::{Outbound, OutboundConfig};
use tokio::net::{TcpListener, TcpStream};
use tonic::Request;
use tonic_prost::ProstCodec;

use crate::support::{Echo, Peer, SAY, Text, follow, say, soon, text};

/// Counts the connections that are made.
#[derive(Debug, Default)]
struct Counting(AtomicUsize);

impl Connector for Counting {
    fn connect(&self, host: String, port: u16) -> Connecting {
        self.0.fetch_add(1, Ordering::SeqCst);
        Tcp.connect(host, port)
    }
}

/// A peer of which the test sees every frame: HTTP/2, and no gRPC.
struct Bare {
    listener: TcpListener,
    window_bytes: u32,
}

type Asked = (http::Request<RecvStream>, SendResponse<Bytes>);

impl Bare {
    async fn start(window_bytes: u32) -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), window_bytes }
    }

    fn outbound(&self) -> Outbound {
        let address: SocketAddr = self.listener.local_addr().unwrap();
        Outbound::new("bare", &address.into(), &OutboundConfig::default(), &Environment::system())
    }

    async fn accept(&self) -> Connection<TcpStream, Bytes> {
        let (stream, _) = soon(self.listener.accept()).await.unwrap();
        soon(h2::server::Builder::new().initial_window_size(self.window_bytes).handshake(stream))
            .await
            .unwrap()
    }
}

/// The next request on a connection, which goes on meanwhile.
async fn next(connection: &mut Connection<TcpStream, Bytes>) -> Asked {
    soon(connection.accept()).await.unwrap().unwrap()
}

/// Answers with one message.
fn answer(respond: &mut SendResponse<Bytes>, message: &Text) {
    let head = http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut body = respond.send_response(head, false).unwrap();
    let message = prost::Message::encode_to_vec(message);
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(&message);
    body.send_data(frame.into(), false).unwrap();
    body.send_trailers([("grpc-status".parse().unwrap(), "0".parse().unwrap())].into_iter().collect())
        .unwrap();
}

/// Lets the connection go on until it is over.
fn drive(mut connection: Connection<TcpStream, Bytes>) {
    tokio::spawn(async move { while connection.accept().await.is_some() {} });
}

#[tokio::test]
async fn callers_who_come_together_share_one_connection() {
    let peer = Peer::start(&InboundConfig::default(), Echo::plain()).await;
    let connector = Arc::new(Counting::default());
    let environment = Environment { connector: connector.clone(), ..Environment::system() };
    let outbound = Outbound::new("echo", &peer.address, &OutboundConfig::default(), &environment);
    let calls = (0..50).map(|number| say(outbound.calls(), text(number.to_string())));
    let answers = soon(join_all(calls)).await;
    for (number, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.unwrap().text, number.to_string());
    }
    assert_eq!(connector.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_connection_that_nobody_can_use_any_more_is_closed() {
    let peer = Bare::start(1 << 16).await;
    let outbound = peer.outbound();
    let call = tokio::spawn(say(outbound.calls(), text("hello")));
    let mut connection = peer.accept().await;
    let (_, mut respond) = next(&mut connection).await;
    drop(outbound);
    // The call that is on it still gets its answer.
    answer(&mut respond, &text("bye"));
    let over = tokio::spawn(async move { while connection.accept().await.is_some() {} });
    assert_eq!(soon(call).await.unwrap().unwrap().text, "bye");
    soon(over).await.unwrap();
}

#[tokio::test]
async fn a_call_that_is_given_up_is_cancelled_at_the_peer() {
    let peer = Bare::start(1 << 16).await;
    let outbound = peer.outbound();
    let call = tokio::spawn(say(outbound.calls(), text("hello")));
    let mut connection = peer.accept().await;
    let (_request, mut respond) = next(&mut connection).await;
    drive(connection);
    call.abort();
    assert_eq!(soon(poll_fn(|context| respond.poll_reset(context))).await.unwrap(), Reason::CANCEL);
}

#[tokio::test]
async fn a_stream_that_is_dropped_is_cancelled_at_the_peer() {
    let peer = Bare::start(1 << 16).await;
    let outbound = peer.outbound();
    let opening = tokio::spawn(async move { follow(&outbound).await });
    let mut connection = peer.accept().await;
    let (_request, mut respond) = next(&mut connection).await;
    let head = http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut body = respond.send_response(head, false).unwrap();
    drive(connection);
    drop(soon(opening).await.unwrap().unwrap());
    assert_eq!(soon(poll_fn(|context| body.poll_reset(context))).await.unwrap(), Reason::CANCEL);
}

#[tokio::test]
async fn a_peer_that_says_goodbye_answers_what_it_has_and_is_called_over_a_new_connection() {
    let peer = Bare::start(1 << 16).await;
    let outbound = peer.outbound();
    let first = tokio::spawn(say(outbound.calls(), text("one")));
    let mut old = peer.accept().await;
    let (_, mut respond) = next(&mut old).await;
    old.graceful_shutdown();
    // What comes before the goodbye has arrived is not answered.
    let over = tokio::spawn(async move { while old.accept().await.is_some() {} });
    let again = outbound.calls();
    let second = tokio::spawn(async move {
        loop {
            let call = tokio::time::timeout(Duration::from_millis(100), say(again.clone(), text("two")));
            if let Ok(Ok(answer)) = call.await {
                return answer.text;
            }
        }
    });
    let mut new = peer.accept().await;
    let (_, mut respond_again) = next(&mut new).await;
    answer(&mut respond_again, &text("from the new one"));
    drive(new);
    assert_eq!(soon(second).await.unwrap(), "from the new one");
    answer(&mut respond, &text("from the old one"));
    assert_eq!(soon(first).await.unwrap().unwrap().text, "from the old one");
    soon(over).await.unwrap();
}

#[tokio::test]
async fn what_a_caller_streams_goes_at_the_peers_pace_and_arrives_whole() {
    const MESSAGES: usize = 200;
    const BYTES: usize = 1_000;
    let peer = Bare::start(4_000).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = taken.clone();
    let messages = stream::iter(0..MESSAGES).map(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        text("x".repeat(BYTES))
    });
    let outbound = peer.outbound();
    let call = tokio::spawn(async move {
        let mut grpc = tonic::client::Grpc::new(outbound.streams());
        grpc.ready().await?;
        let codec = ProstCodec::<Text, Text>::default();
        grpc.client_streaming(Request::new(messages), PathAndQuery::from_static(SAY), codec).await
    });
    let mut connection = peer.accept().await;
    let (request, mut respond) = next(&mut connection).await;
    drive(connection);
    let mut body = request.into_body();
    let mut received = soon(body.data()).await.unwrap().unwrap().len();
    // What the window allows has come; nobody has made room for more.
    while received < 4_000 {
        received += soon(body.data()).await.unwrap().unwrap().len();
    }
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    // tonic puts messages together up to 32 KiB before it hands them over.
    assert!(taken.load(Ordering::SeqCst) < MESSAGES / 2, "{taken:?} were taken");
    body.flow_control().release_capacity(received).unwrap();
    while let Some(data) = soon(body.data()).await {
        let length = data.unwrap().len();
        body.flow_control().release_capacity(length).unwrap();
        received += length;
    }
    assert!(received > MESSAGES * BYTES);
    assert_eq!(taken.load(Ordering::SeqCst), MESSAGES);
    answer(&mut respond, &text("whole"));
    assert_eq!(soon(call).await.unwrap().unwrap().into_inner().text, "whole");
}

#[tokio::test]
async fn a_message_larger_than_any_window_goes_there_and_back() {
    let config = InboundConfig { max_message_bytes: 16 << 20, ..InboundConfig::default() };
    let peer = Peer::start(&config, Echo::plain()).await;
    let config = OutboundConfig { max_message_bytes: 16 << 20, ..OutboundConfig::default() };
    let large = "x".repeat(12 << 20);
    let mut grpc =
        tonic::client::Grpc::new(peer.outbound(&config).calls()).max_decoding_message_size(16 << 20);
    grpc.ready().await.unwrap();
    let codec = ProstCodec::<Text, Text>::default();
    let call = grpc.unary(Request::new(text(&*large)), PathAndQuery::from_static(SAY), codec);
    assert!(soon(call).await.unwrap().into_inner().text == large);
}
