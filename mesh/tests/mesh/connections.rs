//! The connections of both ends: made once for all who call, given up when nobody is there, and what goes over them.

use std::collections::HashSet;
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
use mesh::environment::{Environment, Threads};
use mesh::inbound::InboundConfig;
use mesh::outbound::{Outbound, OutboundConfig};
use mesh::version::{Description, Version};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic_prost::ProstCodec;

use crate::support::{Counting, Echo, FOLLOW, Peer, SAY, Text, follow, say, soon, text};

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

/// A window that is soon full.
const WINDOW_BYTES: u32 = 4_000;

/// Reads a body to its end, and at first nothing but what the window allows: by then the sender may have taken less than half of its
/// messages. The bytes that were read.
async fn read_late(body: &mut RecvStream, taken: &AtomicUsize, messages: usize) -> usize {
    let mut received = 0;
    while received < WINDOW_BYTES as usize {
        received += soon(body.data()).await.unwrap().unwrap().len();
    }
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    // tonic puts messages together up to 32 KiB before it hands them over.
    assert!(taken.load(Ordering::SeqCst) < messages / 2, "{taken:?} were taken");
    body.flow_control().release_capacity(received).unwrap();
    while let Some(data) = soon(body.data()).await {
        let length = data.unwrap().len();
        body.flow_control().release_capacity(length).unwrap();
        received += length;
    }
    received
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
    let peer = Bare::start(WINDOW_BYTES).await;
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
    let received = read_late(&mut body, &taken, MESSAGES).await;
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

/// A service that never answers, and streams nothing: entered, left.
fn silent() -> (Echo, CancellationToken, CancellationToken) {
    let (entered, left) = (CancellationToken::new(), CancellationToken::new());
    let handles = (entered.clone(), left.clone());
    let wait = move || {
        let (entered, left) = (entered.clone(), left.clone().drop_guard());
        async move {
            entered.cancel();
            let _left = left;
            std::future::pending().await
        }
    };
    let streamed = wait.clone();
    let echo = Echo::new(move |_| wait()).following(move || stream::once(streamed()));
    (echo, handles.0, handles.1)
}

#[tokio::test]
async fn what_was_begun_for_a_caller_who_gives_up_is_dropped() {
    let (echo, entered, left) = silent();
    let peer = Peer::start(&InboundConfig::default(), echo).await;
    // Its deadline, which would end it too, is far.
    let config =
        OutboundConfig { timeout_ms: 600_000, attempt_timeout_ms: 600_000, ..OutboundConfig::default() };
    let call = tokio::spawn(say(peer.outbound(&config).calls(), text("")));
    soon(entered.cancelled()).await;
    assert!(!left.is_cancelled());
    call.abort();
    soon(left.cancelled()).await;
}

#[tokio::test]
async fn a_stream_that_its_reader_leaves_is_dropped_though_it_has_nothing_to_tell() {
    let (echo, entered, left) = silent();
    let peer = Peer::start(&InboundConfig::default(), echo).await;
    let stream = soon(follow(&peer.outbound(&OutboundConfig::default()))).await.unwrap();
    soon(entered.cancelled()).await;
    assert!(!left.is_cancelled());
    drop(stream);
    soon(left.cancelled()).await;
}

/// A connection of which the test drives each step: nothing goes over it that the test does not let go.
async fn by_hand(
    peer: &Peer,
    window_bytes: u32,
) -> (h2::client::SendRequest<Bytes>, h2::client::Connection<TcpStream, Bytes>) {
    let stream = TcpStream::connect((peer.address.host(), peer.address.port())).await.unwrap();
    h2::client::Builder::new().initial_window_size(window_bytes).handshake(stream).await.unwrap()
}

/// Asks for the stream, and gives the answer that is waited for.
fn ask(peer: &Peer, sender: &mut h2::client::SendRequest<Bytes>) -> h2::client::ResponseFuture {
    let request = http::Request::post(format!("{}{FOLLOW}", peer.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let (answer, mut body) = sender.send_request(request.body(()).unwrap(), false).unwrap();
    body.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
    answer
}

#[tokio::test]
async fn a_caller_who_is_gone_without_a_word_is_noticed() {
    let (echo, entered, left) = silent();
    let config =
        InboundConfig { keepalive_interval_ms: 100, keepalive_timeout_ms: 100, ..InboundConfig::default() };
    let peer = Peer::start(&config, echo).await;
    let (mut sender, mut connection) = by_hand(&peer, 1 << 16).await;
    let _answer = ask(&peer, &mut sender);
    tokio::select! {
        _ = &mut connection => panic!("the server has ended it"),
        () = soon(entered.cancelled()) => {}
    }
    // The connection stays open, but nobody reads or writes there any more.
    soon(left.cancelled()).await;
    drop(connection);
}

#[tokio::test]
async fn who_connects_and_says_nothing_is_let_go() {
    let config =
        InboundConfig { keepalive_interval_ms: 100, keepalive_timeout_ms: 100, ..InboundConfig::default() };
    let peer = Peer::start(&config, Echo::plain()).await;
    let mut stream = TcpStream::connect((peer.address.host(), peer.address.port())).await.unwrap();
    let mut received = Vec::new();
    // It ends, in whatever way.
    let _ = soon(stream.read_to_end(&mut received)).await;
}

#[tokio::test]
async fn a_slow_reader_holds_no_more_than_it_has_room_for_and_misses_nothing() {
    const MESSAGES: usize = 500;
    let told = Arc::new(AtomicUsize::new(0));
    let counted = told.clone();
    let echo = Echo::plain().following(move || {
        let counted = counted.clone();
        stream::iter(0..MESSAGES).map(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(text("x".repeat(1_000)))
        })
    });
    let peer = Peer::start(&InboundConfig::default(), echo).await;
    let (mut sender, connection) = by_hand(&peer, WINDOW_BYTES).await;
    tokio::spawn(connection);
    let mut body = soon(ask(&peer, &mut sender)).await.unwrap().into_body();
    let received = read_late(&mut body, &told, MESSAGES).await;
    assert!(received > MESSAGES * 1_000);
    assert_eq!(told.load(Ordering::SeqCst), MESSAGES);
    let trailers = soon(body.trailers()).await.unwrap().unwrap();
    assert_eq!(trailers.get("grpc-status").unwrap(), "0");
}

#[tokio::test]
async fn connections_are_spread_over_the_threads_and_each_request_stays_on_that_of_its_connection() {
    let environment = Environment { threads: Threads::start(2).unwrap(), ..Environment::system() };
    let echo = Echo::new(|_| async {
        let asked_on = std::thread::current().id();
        tokio::task::yield_now().await;
        assert_eq!(asked_on, std::thread::current().id());
        Ok(text(format!("{asked_on:?}")))
    });
    let peer = Peer::start_in(&environment, Description::new("echo", Version::new(1, 0, 0)), echo).await;
    let mut threads = HashSet::new();
    let outbounds: Vec<_> = (0..6).map(|_| peer.outbound(&OutboundConfig::default())).collect();
    for outbound in &outbounds {
        let first = soon(say(outbound.calls(), text(""))).await.unwrap().text;
        assert_eq!(soon(say(outbound.calls(), text(""))).await.unwrap().text, first);
        threads.insert(first);
    }
    assert_eq!(threads.len(), 3);
    // The drain waits for all of them.
    peer.shutdown.cancel();
    soon(peer.served).await.unwrap().unwrap();
}
