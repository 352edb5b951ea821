use super::*;
use proptest::prelude::*;

fn payment_id() -> PaymentId {
    "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap()
}

fn authorization(token: &str, minor_units: i64) -> Authorization {
    Authorization {
        payment_id: payment_id(),
        payment_token: token.to_owned(),
        amount: Money { currency: "USD".to_owned(), minor_units },
        order_id: "order".to_owned(),
    }
}

fn call(operation: Operation) -> Call {
    let request_id = "01890a5d-ac96-774b-bcce-b302099a8058".parse().unwrap();
    Call { request_id, operation, payment_id: payment_id() }
}

fn authorized(token: &str) -> Payment {
    match authorize(None, &authorization(token, 499), 1) {
        Ok(Authorized::First(payment)) => payment,
        other => panic!("a new payment is authorized or declined, not {other:?}"),
    }
}

#[test]
fn a_token_that_declines_reserves_nothing() {
    let payment = authorized("decline-me");
    assert_eq!(payment.state, State::Declined);
    assert!(!payment.decline_message.is_empty());
    assert_eq!(settle(Some(payment), &call(Operation::Capture), 2), Err(Refusal::State(State::Declined)));
}

#[test]
fn an_authorization_after_its_void_is_declined() {
    let voided = settle(None, &call(Operation::Void), 1).unwrap();
    assert_eq!((voided.state, &voided.amount), (State::Voided, &None));
    let late = authorize(Some(voided), &authorization("approve", 499), 2).unwrap();
    let Authorized::First(late) = late else {
        panic!("the provider sees the authorization for the first time")
    };
    assert_eq!(late.state, State::Declined);
    assert_eq!(settle(Some(late), &call(Operation::Capture), 3), Err(Refusal::State(State::Declined)));
}

#[test]
fn a_repeated_authorization_shows_the_payment_as_it_stands() {
    let captured = settle(Some(authorized("approve")), &call(Operation::Capture), 2).unwrap();
    let repeat = authorize(Some(captured.clone()), &authorization("approve", 499), 3);
    assert_eq!(repeat, Ok(Authorized::Repeat(captured.clone())));
    for other in [authorization("approve", 500), authorization("approve2", 499)] {
        assert_eq!(authorize(Some(captured.clone()), &other, 3), Err(Refusal::Reused));
    }
}

#[test]
fn what_was_never_seen_cannot_be_captured_or_refunded() {
    for operation in [Operation::Capture, Operation::Refund] {
        assert_eq!(settle(None, &call(operation), 1), Err(Refusal::Unknown));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Authorize(&'static str),
    Settle(Operation),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        prop::sample::select(vec!["approve", "decline", "slow", "lose"]).prop_map(Step::Authorize),
        prop::sample::select(vec![Operation::Capture, Operation::Void, Operation::Refund])
            .prop_map(Step::Settle),
    ]
}

proptest! {
    /// Whatever the calls and their order: money is captured at most once, never after a void or a decline, and given
    /// back only after it was captured, once.
    #[test]
    fn money_moves_at_most_once(steps in prop::collection::vec(step(), 0..40)) {
        let (mut captured, mut refunded, mut ended) = (0, 0, false);
        let mut books = None;
        for (unix_ms, step) in (1..).zip(steps) {
            let before: Option<State> = books.as_ref().map(|payment: &Payment| payment.state);
            let next = match step {
                Step::Authorize(token) => authorize(books.clone(), &authorization(token, 499), unix_ms).map(|done| {
                    match done { Authorized::First(payment) | Authorized::Repeat(payment) => payment }
                }),
                Step::Settle(operation) => settle(books.clone(), &call(operation), unix_ms),
            };
            let Ok(next) = next else { continue };
            if before != Some(next.state) {
                prop_assert!(!ended || next.state == State::Declined, "{before:?} became {:?}", next.state);
                captured += u32::from(next.state == State::Captured);
                refunded += u32::from(next.state == State::Refunded);
                ended |= matches!(next.state, State::Declined | State::Voided | State::Refunded);
            }
            books = Some(next);
        }
        prop_assert!(captured <= 1 && refunded <= captured);
    }
}
