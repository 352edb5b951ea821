//! The sandbox over gRPC: what it promises to a caller.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helpers too")]

mod support;

use gameshelf::errors::{Reason, metadata_of, reason_of};
use gameshelf::proto::payment::v1::{
    AuthorizeRequest, CaptureRequest, GetPaymentRequest, Money, Payment, State,
};
use support::{Sandbox, authorize, capture, id, refund, void};
use tempfile::tempdir;
use tonic::{Code, Status};
use tonic_types::StatusExt;

fn state(payment: Option<Payment>) -> State {
    payment.expect("every answer has the payment").state()
}

fn reason<T: std::fmt::Debug>(answer: Result<T, Status>) -> Option<Reason> {
    reason_of(&answer.expect_err("the call is refused"))
}

async fn get(sandbox: &mut Sandbox, payment: u128) -> Result<Payment, Status> {
    let request = GetPaymentRequest { payment_id: id(payment) };
    sandbox.client.get_payment(request).await.map(|answer| answer.into_inner().payment.unwrap())
}

#[tokio::test]
async fn money_is_authorized_captured_and_refunded() {
    let directory = tempdir().unwrap();
    let mut sandbox = Sandbox::start(directory.path(), &[]).await;
    let authorized =
        sandbox.client.authorize(authorize(1, "approve-me")).await.unwrap().into_inner().payment.unwrap();
    assert_eq!(authorized.state(), State::Authorized);
    assert_eq!(authorized.amount, Some(Money { currency: "USD".to_owned(), minor_units: 499 }));
    assert_eq!((authorized.payment_id, authorized.order_id.as_str()), (id(1), "order-1"));
    assert!(authorized.update_time.unwrap().seconds > 1_700_000_000);
    let captured = sandbox.client.capture(capture(10, 1)).await.unwrap().into_inner();
    assert_eq!(state(captured.payment), State::Captured);
    let refunded = sandbox.client.refund(refund(11, 1)).await.unwrap().into_inner();
    assert_eq!(state(refunded.payment), State::Refunded);
    assert_eq!(get(&mut sandbox, 1).await.unwrap().state(), State::Refunded);
    sandbox.stop().await;
}

#[tokio::test]
async fn a_decline_is_an_answer() {
    let directory = tempdir().unwrap();
    let mut sandbox = Sandbox::start(directory.path(), &[]).await;
    let declined =
        sandbox.client.authorize(authorize(1, "decline-me")).await.unwrap().into_inner().payment.unwrap();
    assert_eq!(declined.state(), State::Declined);
    assert!(!declined.decline_message.is_empty());
    let refused = sandbox.client.capture(capture(10, 1)).await.unwrap_err();
    assert_eq!((refused.code(), reason_of(&refused)), (Code::FailedPrecondition, Some(Reason::PaymentState)));
    assert_eq!(metadata_of(&refused, "state").as_deref(), Some("declined"));
    let voided = sandbox.client.void(void(11, 1)).await.unwrap().into_inner();
    assert_eq!(state(voided.payment), State::Declined);
    sandbox.stop().await;
}

#[tokio::test]
async fn a_repeat_returns_the_first_outcome() {
    let directory = tempdir().unwrap();
    let mut sandbox = Sandbox::start(directory.path(), &[]).await;
    assert_eq!(reason(sandbox.client.capture(capture(10, 1)).await), Some(Reason::PaymentUnknown));
    sandbox.client.authorize(authorize(1, "approve")).await.unwrap();
    assert_eq!(reason(sandbox.client.capture(capture(10, 1)).await), Some(Reason::PaymentUnknown));
    let first = sandbox.client.capture(capture(11, 1)).await.unwrap().into_inner();
    sandbox.client.refund(refund(12, 1)).await.unwrap();
    let again = sandbox.client.capture(capture(11, 1)).await.unwrap().into_inner();
    assert_eq!(first, again, "the payment as it was then, though it was refunded since");
    let repeat = sandbox.client.authorize(authorize(1, "approve")).await.unwrap().into_inner();
    assert_eq!(state(repeat.payment), State::Refunded, "an authorization shows the payment as it stands");
    assert_eq!(reason(sandbox.client.capture(capture(13, 1)).await), Some(Reason::PaymentState));
    sandbox.stop().await;
}

#[tokio::test]
async fn other_content_under_an_id_is_refused() {
    let directory = tempdir().unwrap();
    let mut sandbox = Sandbox::start(directory.path(), &[]).await;
    for payment in [1, 2] {
        sandbox.client.authorize(authorize(payment, "approve")).await.unwrap();
    }
    sandbox.client.capture(capture(10, 1)).await.unwrap();
    let dearer = Money { currency: "USD".to_owned(), minor_units: 500 };
    let dearer = AuthorizeRequest { amount: Some(dearer), ..authorize(1, "approve") };
    let reused = Some(Reason::RequestIdReused);
    assert_eq!(reason(sandbox.client.authorize(dearer).await), reused);
    assert_eq!(reason(sandbox.client.capture(capture(10, 2)).await), reused);
    assert_eq!(reason(sandbox.client.void(void(10, 1)).await), reused);
    assert_eq!(get(&mut sandbox, 2).await.unwrap().state(), State::Authorized);
    sandbox.stop().await;
}

#[tokio::test]
async fn a_restart_keeps_the_books() {
    let directory = tempdir().unwrap();
    let mut sandbox = Sandbox::start(directory.path(), &[]).await;
    sandbox.client.authorize(authorize(1, "approve")).await.unwrap();
    let captured = sandbox.client.capture(capture(10, 1)).await.unwrap().into_inner();
    sandbox.client.void(void(11, 2)).await.unwrap();
    sandbox.stop().await;
    let mut sandbox = Sandbox::start(directory.path(), &[]).await;
    assert_eq!(sandbox.client.capture(capture(10, 1)).await.unwrap().into_inner(), captured);
    assert_eq!(get(&mut sandbox, 2).await.unwrap().state(), State::Voided);
    sandbox.stop().await;
}

#[tokio::test]
async fn an_authorization_that_arrives_after_its_void_is_declined() {
    let directory = tempdir().unwrap();
    let mut sandbox = Sandbox::start(directory.path(), &[]).await;
    let voided = sandbox.client.void(void(10, 1)).await.unwrap().into_inner().payment.unwrap();
    assert_eq!((voided.state(), voided.amount), (State::Voided, None));
    let late = sandbox.client.authorize(authorize(1, "approve")).await.unwrap().into_inner();
    assert_eq!(state(late.payment), State::Declined);
    assert_eq!(reason(sandbox.client.capture(capture(11, 1)).await), Some(Reason::PaymentState));
    sandbox.stop().await;
}

#[tokio::test]
async fn a_lost_answer_and_its_repeat_have_one_effect() {
    let directory = tempdir().unwrap();
    let mut sandbox = Sandbox::start(directory.path(), &[]).await;
    let lost = sandbox.client.authorize(authorize(1, "lose-it")).await.unwrap_err();
    assert_eq!((lost.code(), reason_of(&lost)), (Code::Unavailable, Some(Reason::OutcomeUnknown)));
    assert_eq!(get(&mut sandbox, 1).await.unwrap().state(), State::Authorized, "the work was done");
    let repeat = sandbox.client.authorize(authorize(1, "lose-it")).await.unwrap().into_inner();
    assert_eq!(state(repeat.payment), State::Authorized);
    assert_eq!(sandbox.client.capture(capture(10, 1)).await.unwrap_err().code(), Code::Unavailable);
    let captured = sandbox.client.capture(capture(10, 1)).await.unwrap().into_inner();
    assert_eq!(state(captured.payment), State::Captured);
    assert_eq!(sandbox.client.refund(refund(11, 1)).await.unwrap_err().code(), Code::Unavailable);
    let refunded = sandbox.client.refund(refund(11, 1)).await.unwrap().into_inner();
    assert_eq!(state(refunded.payment), State::Refunded);
    sandbox.stop().await;
}

#[tokio::test]
async fn a_slow_payment_is_answered_late_but_is_done_at_once() {
    let directory = tempdir().unwrap();
    let mut sandbox = Sandbox::start(directory.path(), &["--slow-ms=600000"]).await;
    let mut slow = sandbox.client.clone();
    let waiting = tokio::spawn(async move { slow.authorize(authorize(1, "slow-card")).await });
    while get(&mut sandbox, 1).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished(), "the first answer is late");
    let repeat = sandbox.client.authorize(authorize(1, "slow-card")).await.unwrap().into_inner();
    assert_eq!(state(repeat.payment), State::Authorized);
    waiting.abort();
    let _ = waiting.await;
    sandbox.stop().await;
}

#[tokio::test]
async fn calls_at_once_capture_once() {
    let directory = tempdir().unwrap();
    let mut sandbox = Sandbox::start(directory.path(), &[]).await;
    sandbox.client.authorize(authorize(1, "approve")).await.unwrap();
    let calls: Vec<_> = (0..32)
        .map(|number| {
            let mut client = sandbox.client.clone();
            tokio::spawn(async move { client.capture(capture(10 + number, 1)).await })
        })
        .collect();
    let mut captured = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(_) => captured += 1,
            Err(refused) => assert_eq!(reason_of(&refused), Some(Reason::PaymentState)),
        }
    }
    assert_eq!(captured, 1);
    sandbox.stop().await;
}

#[tokio::test]
async fn every_bad_field_is_named() {
    let directory = tempdir().unwrap();
    let mut sandbox = Sandbox::start(directory.path(), &[]).await;
    let named = |status: &Status| -> Vec<String> {
        assert_eq!((status.code(), reason_of(status)), (Code::InvalidArgument, Some(Reason::InvalidFields)));
        let request = status.get_details_bad_request().expect("the fields are named");
        request.field_violations.into_iter().map(|violation| violation.field).collect()
    };
    let nothing = sandbox.client.authorize(AuthorizeRequest::default()).await.unwrap_err();
    assert_eq!(named(&nothing), ["payment_id", "payment_token", "amount", "order_id"]);
    let bad = AuthorizeRequest {
        payment_id: "x".to_owned(),
        payment_token: "t".repeat(129),
        amount: Some(Money { currency: "usd".to_owned(), minor_units: -1 }),
        order_id: "o".repeat(65),
    };
    let bad = sandbox.client.authorize(bad).await.unwrap_err();
    let fields = ["payment_id", "payment_token", "amount.currency", "amount.minor_units", "order_id"];
    assert_eq!(named(&bad), fields);
    let bad = sandbox.client.capture(CaptureRequest::default()).await;
    assert_eq!(named(&bad.unwrap_err()), ["request_id", "payment_id"]);
    let bad = sandbox.client.get_payment(GetPaymentRequest::default()).await.unwrap_err();
    assert_eq!(named(&bad), ["payment_id"]);
    let unknown = get(&mut sandbox, 9).await.unwrap_err();
    assert_eq!((unknown.code(), reason_of(&unknown)), (Code::NotFound, Some(Reason::PaymentUnknown)));
    sandbox.stop().await;
}

#[tokio::test]
async fn books_in_use_are_one_clear_error() {
    let directory = tempdir().unwrap();
    let mut first = Sandbox::start(directory.path(), &[]).await;
    while get(&mut first, 1).await.unwrap_err().code() != Code::NotFound {}
    let second = Sandbox::start(directory.path(), &[]).await;
    let error = second.ended().await.expect_err("the books are in use");
    assert!(error.to_string().contains("in use by another process"), "{error}");
    first.stop().await;
}
