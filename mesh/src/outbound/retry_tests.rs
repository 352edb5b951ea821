use std::sync::Mutex;

use super::*;
use crate::environment::SystemRandom;
use crate::errors::Reason;

/// What a peer was sent, attempt by attempt.
type Seen = Arc<Mutex<Vec<Bytes>>>;

async fn call(
    layer: &RetryLayer,
    body: &'static [u8],
    deadline: Option<Duration>,
    answer: impl Fn(usize) -> Result<Response<Body>, Status> + Clone + Send + 'static,
) -> (Result<Response<Body>, Status>, Vec<Bytes>, Duration) {
    let seen = Seen::default();
    let peer = {
        let seen = seen.clone();
        tower::service_fn(move |request: Request<Body>| {
            let (seen, answer) = (seen.clone(), answer.clone());
            async move {
                let body = request.into_body().collect().await?.to_bytes();
                let attempt = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(body);
                    seen.len()
                };
                answer(attempt)
            }
        })
    };
    let mut request = Request::new(Body::new(Full::new(Bytes::from_static(body))));
    let began = Instant::now();
    if let Some(deadline) = deadline {
        request.extensions_mut().insert(CallDeadline { at: began + deadline, timeout: deadline });
    }
    let answer = layer.layer(peer).oneshot(request).await;
    let seen = seen.lock().unwrap().clone();
    (answer, seen, began.elapsed())
}

fn layer(attempts: u32) -> RetryLayer {
    RetryLayer::new(
        attempts,
        16,
        Backoff::new(50, 1000, Arc::new(SystemRandom)),
        crate::seen::Seen::new().edge("peer"),
    )
}

fn ok() -> Response<Body> {
    Response::new(Body::empty())
}

#[tokio::test(start_paused = true)]
async fn the_same_bytes_come_again_until_the_peer_answers() {
    let (answer, seen, _) = call(&layer(3), b"\0\0\0\0\x03abc", None, |attempt| match attempt {
        1 => Err(Status::unavailable("the connection is lost")),
        2 => Ok(Status::unavailable("the peer says so").into_http()),
        _ => Ok(ok()),
    })
    .await;
    assert!(answer.is_ok_and(|response| rpc::code_of(response.headers()).is_none()));
    assert_eq!(seen, vec![Bytes::from_static(b"\0\0\0\0\x03abc"); 3]);
}

#[tokio::test(start_paused = true)]
async fn it_gives_up_after_the_last_attempt() {
    let (answer, seen, _) = call(&layer(4), b"x", None, |_| Err(Status::unavailable("gone"))).await;
    assert_eq!(answer.unwrap_err().code(), Code::Unavailable);
    assert_eq!(seen.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_the_earlier_attempts_came_to_is_told() {
    let fail = |attempt| match attempt {
        1 => Err(Status::unavailable("gone")),
        2 => Ok(errors::retryable(Reason::Overloaded, "full", &[], Duration::ZERO).into_http()),
        _ => Err(Status::unavailable("nothing was written")),
    };
    let (answer, ..) = call(&layer(3), b"x", None, fail).await;
    let status = answer.unwrap_err();
    assert_eq!(status.metadata().get(EARLIER_ATTEMPTS).unwrap(), "UNAVAILABLE, OVERLOADED");
    let (answer, ..) = call(&layer(1), b"x", None, fail).await;
    assert_eq!(answer.unwrap_err().metadata().get(EARLIER_ATTEMPTS), None);
}

#[tokio::test(start_paused = true)]
async fn no_other_code_is_repeated() {
    for code in (1..=16).map(Code::from).filter(|code| *code != Code::Unavailable) {
        let refuse = move |_| Ok(Status::new(code, "no").into_http());
        let (_, seen, _) = call(&layer(3), b"x", None, refuse).await;
        assert_eq!(seen.len(), 1, "{code:?}");
        let fail = move |_| Err(Status::new(code, "no"));
        let (_, seen, _) = call(&layer(3), b"x", None, fail).await;
        assert_eq!(seen.len(), 1, "{code:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_attempt_begins_after_the_deadline() {
    let wait = || errors::retryable(Reason::Overloaded, "full", &[], Duration::from_millis(400));
    let deadline = Duration::from_secs(1);
    let (answer, seen, took) = call(&layer(20), b"x", Some(deadline), move |_| Err(wait())).await;
    assert_eq!(errors::reason_of(&answer.unwrap_err()), Some(Reason::Overloaded));
    assert!((2..=3).contains(&seen.len()), "{}", seen.len());
    assert!(took < deadline);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_asks_for_time_is_given_it_up_to_the_limit() {
    let wait = || errors::retryable(Reason::Overloaded, "full", &[], Duration::from_hours(1));
    let (_, seen, took) = call(&layer(2), b"x", None, move |_| Err(wait())).await;
    assert_eq!(seen.len(), 2);
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(2));
}

#[tokio::test]
async fn a_message_over_the_limit_is_not_sent() {
    let (answer, seen, _) = call(&layer(3), &[7; 22], None, |_| Ok(ok())).await;
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let info = status.get_details_error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("MESSAGE_TOO_LARGE", "mesh"));
    assert_eq!((info.metadata["bytes"].as_str(), info.metadata["limit_bytes"].as_str()), ("17", "16"));
    assert!(seen.is_empty());
    let (answer, ..) = call(&layer(3), &[7; 21], None, |_| Ok(ok())).await;
    assert!(answer.is_ok());
}
