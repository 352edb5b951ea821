//! Properties of the state machine, over any sequence of failures, lost answers and restarts.

use proptest::prelude::*;

use super::*;

pub(crate) fn grant(revision: u64) -> Grant {
    Grant { revision, token: format!("t{revision}") }
}

pub(crate) fn order(minor_units: i64) -> Order {
    let id = |number: u8| RequestId::new_v7(1_700_000_000_000, [number; 10]);
    let price = Price { currency: "USD".into(), minor_units };
    Order {
        order_id: OrderId::new_v7(1_700_000_000_000, [1; 10]),
        version: 1,
        state: State::Created,
        request_id: id(2),
        content: ContentHash::from_bytes(vec![0; 32]),
        customer_id: "ann".parse().unwrap(),
        game_id: "tiny-forest".parse().unwrap(),
        price: Some(price.clone()),
        catalog_hash: "c".repeat(64),
        payment: (minor_units > 0).then(|| Payment {
            payment_id: PaymentId::new_v7(1_700_000_000_000, [3; 10]),
            capture_request_id: id(4),
            void_request_id: id(5),
            amount: price,
            token: Some(PaymentToken::new("approve".into())),
        }),
        grant_request_id: id(6),
        traceparent: None,
        created_unix_ms: 1_700_000_000_000,
    }
}

/// The provider's and the arbiter's books, and whether each will say yes.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct World {
    declines: bool,
    not_granted: Option<NotGranted>,
    authorized: bool,
    granted: bool,
    captured: bool,
    voided: bool,
}

/// A rule that the books broke.
type Broken = &'static str;

impl World {
    /// Does what a step asks for, as the real ones do: a repeat has no second effect.
    fn perform(&mut self, step: Step<'_>) -> Result<Event, Broken> {
        match step {
            Step::Authorize(_) if self.declines => Ok(Event::Declined),
            Step::Authorize(_) => {
                self.authorized = true;
                Ok(Event::Authorized)
            }
            Step::Grant => {
                self.granted = self.not_granted.is_none();
                let refused = self.not_granted.map(|why| Event::NotGranted(why, Some(grant(1))));
                Ok(refused.unwrap_or_else(|| Event::Granted(grant(2))))
            }
            Step::Capture(_) if !self.authorized || self.voided => Err("captured what was not reserved"),
            Step::Capture(_) if !self.granted => Err("captured before the grant"),
            Step::Capture(_) => {
                self.captured = true;
                Ok(Event::Captured)
            }
            Step::Void(_) if self.granted => Err("voided what was granted"),
            Step::Void(_) => {
                self.voided = true;
                Ok(Event::Voided)
            }
        }
    }

    fn check_end(&self, order: &Order) -> Result<(), Broken> {
        let paid = order.payment.is_some();
        match &order.state {
            State::Completed(_) if !self.granted => Err("completed without a grant"),
            State::Completed(_) if paid != self.captured => Err("completed without the money"),
            State::Refused(_) if self.captured => Err("refused and captured"),
            State::Refused(_) if self.granted => Err("refused and granted"),
            State::Refused(_) if self.authorized && !self.voided => {
                Err("refused and the money still reserved")
            }
            State::Completed(_) | State::Refused(_) => Ok(()),
            _ => Err("not at an end"),
        }
    }
}

/// What happens to one attempt of a step.
#[derive(Clone, Copy, Debug)]
enum Luck {
    Well,
    /// Nothing was done.
    Failed,
    /// It was done, and nobody heard of it: a lost answer, or a crash before the order was stored.
    Lost,
}

type NextStep = fn(&Order) -> Option<Step<'_>>;

/// Drives an order to its end, through all failures first.
fn drive(next_step: NextStep, mut order: Order, world: &mut World, luck: &[Luck]) -> Result<Order, Broken> {
    let mut luck = luck.iter().copied().chain(std::iter::repeat(Luck::Well));
    for _ in 0..1000 {
        let Some(step) = next_step(&order) else {
            return world.check_end(&order).map(|()| order);
        };
        match luck.next() {
            Some(Luck::Failed) | None => {}
            Some(Luck::Lost) => drop(world.perform(step)?),
            Some(Luck::Well) => {
                let event = world.perform(step)?;
                order = apply(&order, event).map_err(|_| "an outcome did not fit its step")?;
            }
        }
    }
    Err("never at an end")
}

fn luck() -> impl Strategy<Value = Vec<Luck>> {
    prop::collection::vec(prop_oneof![Just(Luck::Well), Just(Luck::Failed), Just(Luck::Lost)], 0..40)
}

fn not_granted() -> impl Strategy<Value = NotGranted> {
    prop::sample::select(NotGranted::ALL.as_slice())
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Authorized),
        Just(Event::Declined),
        (1..9_u64).prop_map(|revision| Event::Granted(grant(revision))),
        (not_granted(), prop::option::of(1..9_u64))
            .prop_map(|(why, revision)| Event::NotGranted(why, revision.map(grant))),
        Just(Event::Captured),
        Just(Event::Voided),
    ]
}

proptest! {
    #[test]
    fn every_order_ends_well_whatever_fails(
        minor_units in 0..2_i64, declines: bool, not_granted in prop::option::of(not_granted()), luck in luck()
    ) {
        let mut world = World { declines, not_granted, ..World::default() };
        let end = drive(next_step, order(minor_units), &mut world, &luck);
        let end = end.map_err(TestCaseError::fail)?;
        let is_refused = not_granted.is_some() || (declines && minor_units > 0);
        prop_assert_eq!(matches!(end.state, State::Refused(_)), is_refused);
        prop_assert!(minor_units > 0 || !world.authorized, "a game of price 0 needs no payment");
    }

    #[test]
    fn no_sequence_of_events_leads_astray(minor_units in 0..2_i64, events in prop::collection::vec(event(), 0..60)) {
        let mut order = order(minor_units);
        let (mut authorized, mut granted) = (false, false);
        for event in events {
            match apply(&order, event.clone()) {
                Err(_) => continue,
                Ok(after) => {
                    prop_assert!(!order.state.is_end(), "an end stays");
                    prop_assert_eq!(after.version, order.version + 1);
                    prop_assert!(after.payment.as_ref().is_none_or(|payment| payment.token.is_none()));
                    order = after;
                }
            }
            authorized |= event == Event::Authorized;
            granted |= matches!(event, Event::Granted(_));
            prop_assert_eq!(next_step(&order).is_none(), order.state.is_end());
            if matches!(next_step(&order), Some(Step::Capture(_))) {
                prop_assert!(authorized && granted);
            }
            if matches!(order.state, State::Refused(_) | State::Voiding(_)) {
                prop_assert!(!granted);
            }
        }
    }
}

/// Proves that the property sees what it is for: machines that do the wrong thing break it.
#[test]
fn a_machine_that_captures_early_or_late_is_caught() {
    fn captures_before_grant(order: &Order) -> Option<Step<'_>> {
        match (&order.state, &order.payment) {
            (State::Authorized, Some(payment)) => Some(Step::Capture(payment)),
            _ => next_step(order),
        }
    }
    fn captures_the_refused(order: &Order) -> Option<Step<'_>> {
        match (&order.state, &order.payment) {
            (State::Voiding(_), Some(payment)) => Some(Step::Capture(payment)),
            _ => next_step(order),
        }
    }
    fn forgets_to_void(order: &Order) -> Option<Step<'_>> {
        if matches!(order.state, State::Voiding(_)) { None } else { next_step(order) }
    }
    let drive = |machine: NextStep, not_granted| {
        drive(machine, order(1), &mut World { not_granted, ..World::default() }, &[]).unwrap_err()
    };
    assert_eq!(drive(captures_before_grant, None), "captured before the grant");
    for why in NotGranted::ALL {
        assert_eq!(drive(captures_the_refused, Some(why)), "captured before the grant");
        assert_eq!(drive(forgets_to_void, Some(why)), "not at an end");
    }
}

#[test]
fn a_token_of_payment_is_never_shown() {
    assert!(!format!("{:?}", order(1)).contains("approve"));
}
