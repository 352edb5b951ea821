//! An order as a row. The row is private to the store: what it holds is checked when it is read.

use gameshelf::catalog::Price;
use gameshelf::errors::Reason;
use gameshelf::ids::{OrderId, RequestId};

use super::StoreError;
use crate::order::{ContentHash, Grant, NotGranted, Order, Payment, PaymentToken, Refusal, State};

/// The columns of a row as both stores know them.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) order_id: String,
    pub(super) version: i64,
    pub(super) state: String,
    pub(super) request_id: String,
    pub(super) content_hash: Vec<u8>,
    pub(super) customer_id: String,
    pub(super) game_id: String,
    pub(super) currency: Option<String>,
    pub(super) price_minor_units: Option<i64>,
    pub(super) catalog_hash: String,
    pub(super) payment_id: Option<String>,
    pub(super) capture_request_id: Option<String>,
    pub(super) void_request_id: Option<String>,
    pub(super) payment_token: Option<String>,
    pub(super) grant_request_id: String,
    pub(super) traceparent: Option<String>,
    pub(super) refusal_reason: Option<String>,
    pub(super) revision: Option<i64>,
    pub(super) revision_token: Option<String>,
    pub(super) created_unix_ms: i64,
}

impl Row {
    /// The row of an order.
    pub(super) fn of(order: &Order) -> Result<Self, StoreError> {
        let (state, refusal) = match &order.state {
            State::Created => ("created", None),
            State::Authorized => ("authorized", None),
            State::Granted(_) => ("granted", None),
            State::Voiding(refusal) => ("voiding", Some(refusal)),
            State::Completed(_) => ("completed", None),
            State::Refused(refusal) => ("refused", Some(refusal)),
        };
        let grant = order.state.seen();
        let payment = order.payment.as_ref();
        Ok(Self {
            order_id: order.order_id.to_string(),
            version: to_column(order.version)?,
            state: state.to_owned(),
            request_id: order.request_id.to_string(),
            content_hash: order.content.as_bytes().to_vec(),
            customer_id: order.customer_id.to_string(),
            game_id: order.game_id.to_string(),
            currency: order.price.as_ref().map(|price| price.currency.clone()),
            price_minor_units: order.price.as_ref().map(|price| price.minor_units),
            catalog_hash: order.catalog_hash.clone(),
            payment_id: payment.map(|payment| payment.payment_id.to_string()),
            capture_request_id: payment.map(|payment| payment.capture_request_id.to_string()),
            void_request_id: payment.map(|payment| payment.void_request_id.to_string()),
            payment_token: payment.and_then(|payment| Some(payment.token.as_ref()?.reveal().to_owned())),
            grant_request_id: order.grant_request_id.to_string(),
            traceparent: order.traceparent.clone(),
            refusal_reason: refusal.map(|refusal| refusal.reason().to_string()),
            revision: grant.map(|grant| to_column(grant.revision)).transpose()?,
            revision_token: grant.map(|grant| grant.token.clone()),
            created_unix_ms: to_column(order.created_unix_ms)?,
        })
    }

    /// The order that the row holds.
    pub(super) fn into_order(self) -> Result<Order, StoreError> {
        let order_id: OrderId = parse("order_id", &self.order_id)?;
        let state = self.state()?;
        let price = self.price();
        let payment = self.payment(price.clone())?;
        let needs_payment = matches!(state, State::Authorized | State::Granted(_) | State::Voiding(_));
        if needs_payment && payment.is_none() {
            return Err(corrupt(&format!("order {order_id} is {} and has no payment", self.state)));
        }
        Ok(Order {
            order_id,
            version: from_column("version", self.version)?,
            state,
            request_id: parse("request_id", &self.request_id)?,
            content: ContentHash::from_bytes(self.content_hash),
            customer_id: parse("customer_id", &self.customer_id)?,
            game_id: parse("game_id", &self.game_id)?,
            price,
            catalog_hash: self.catalog_hash,
            payment,
            grant_request_id: parse("grant_request_id", &self.grant_request_id)?,
            traceparent: self.traceparent,
            created_unix_ms: from_column("created_unix_ms", self.created_unix_ms)?,
        })
    }

    fn state(&self) -> Result<State, StoreError> {
        Ok(match self.state.as_str() {
            "created" => State::Created,
            "authorized" => State::Authorized,
            "granted" => State::Granted(required("revision", self.grant()?)?),
            "voiding" => State::Voiding(self.refusal()?),
            "completed" => State::Completed(required("revision", self.grant()?)?),
            "refused" => State::Refused(self.refusal()?),
            other => return Err(corrupt(&format!("an order is {other:?}"))),
        })
    }

    fn grant(&self) -> Result<Option<Grant>, StoreError> {
        let Some(revision) = self.revision else {
            return Ok(None);
        };
        let token = self.revision_token.clone().unwrap_or_default();
        Ok(Some(Grant { revision: from_column("revision", revision)?, token }))
    }

    fn refusal(&self) -> Result<Refusal, StoreError> {
        let text = self.refusal_reason.as_deref();
        let reason = Reason::ALL.iter().find(|reason| Some(reason.as_str()) == text);
        if let Some(why) = reason.copied().and_then(NotGranted::of) {
            return Ok(Refusal::NotGranted(why, self.grant()?));
        }
        match reason {
            Some(Reason::GameUnknown) => Ok(Refusal::GameUnknown),
            Some(Reason::GameDelisted) => Ok(Refusal::GameDelisted),
            Some(Reason::PriceChanged) => Ok(Refusal::PriceChanged),
            Some(Reason::PaymentDeclined) => Ok(Refusal::PaymentDeclined),
            _ => Err(corrupt(&format!("an order was refused because of {text:?}"))),
        }
    }

    fn price(&self) -> Option<Price> {
        let currency = self.currency.clone()?;
        Some(Price { currency, minor_units: self.price_minor_units? })
    }

    fn payment(&self, price: Option<Price>) -> Result<Option<Payment>, StoreError> {
        let Some(payment_id) = &self.payment_id else {
            return Ok(None);
        };
        let id = |column: &str, text: &Option<String>| -> Result<RequestId, StoreError> {
            parse(column, text.as_deref().unwrap_or_default())
        };
        Ok(Some(Payment {
            payment_id: parse("payment_id", payment_id)?,
            capture_request_id: id("capture_request_id", &self.capture_request_id)?,
            void_request_id: id("void_request_id", &self.void_request_id)?,
            amount: required("price_minor_units", price)?,
            token: self.payment_token.clone().map(PaymentToken::new),
        }))
    }
}

fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}

fn parse<T: std::str::FromStr>(column: &str, text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| corrupt(&format!("{column} is {text:?}")))
}

fn required<T>(column: &str, value: Option<T>) -> Result<T, StoreError> {
    value.ok_or_else(|| corrupt(&format!("{column} is missing")))
}

fn from_column(column: &str, value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| corrupt(&format!("{column} is {value}")))
}

/// SQL has no unsigned numbers; half of their range is far more than is ever used.
pub(super) fn to_column(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::Failed(format!("{value} does not fit a column")))
}
