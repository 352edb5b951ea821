//! Requests of an import: large ones, so that each row is converted once and nothing is copied that its neighbours share.

use std::collections::HashSet;

use gameshelf::fields::{Fields, Limit};
use gameshelf::proto::arbiter::v1 as wire;
use tonic::Status;

use super::parts::{cause, parse, unix_ms};
use super::{Items, RequestLimits, Write};
use crate::domain::{Command, CustomerId, Key, OnNothingToDo, Operation};

/// A row that cannot be imported, by its place, and why.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct WrongRow {
    pub(in super::super) row: u32,
    pub(in super::super) why: String,
}

/// Rows as they came in.
#[derive(Debug)]
pub(in super::super) enum ImportRows {
    Good(Write),
    /// Some are wrong: nothing is done with the others either.
    Wrong(Vec<WrongRow>),
}

/// # Errors
///
/// Where the request itself is wrong, and not only some of its rows.
pub(in super::super) fn import(
    request: &wire::ImportRequest,
    limits: &RequestLimits,
) -> Result<ImportRows, Status> {
    let mut fields = Fields::new();
    let request_id = parse(&mut fields, "request_id", &request.request_id);
    let cause = cause(&mut fields, request.cause.as_ref());
    let (number, limit) = (request.rows.len(), limits.changes_per_request);
    if number == 0 {
        fields.wrong("rows", "must hold at least one row");
    } else if number > limit {
        let told = format!("must hold at most {limit} rows, and holds {number}");
        fields.beyond("rows", Limit::number(number, limit), told);
    }
    let (request_id, cause) =
        fields.finish(request_id.zip(cause).filter(|_| (1..=limit).contains(&number)))?;
    Ok(match operations(&request.rows) {
        Ok(operations) => ImportRows::Good(Write {
            request_id,
            items: Items::Rows,
            command: Command { preconditions: Vec::new(), operations, cause },
        }),
        Err(wrong) => ImportRows::Wrong(wrong),
    })
}

fn operations(rows: &[wire::ImportRow]) -> Result<Vec<Operation>, Vec<WrongRow>> {
    let mut operations = Vec::with_capacity(rows.len());
    let mut seen = HashSet::with_capacity(rows.len());
    let mut wrong = Vec::new();
    // Rows of one customer mostly stand together: they share its id.
    let mut last: Option<CustomerId> = None;
    for (place, row) in (0..).zip(rows) {
        match operation(row, &mut last) {
            Ok(Operation::Grant { key, .. }) if !seen.insert(key.clone()) => {
                let why = format!("names customer {} and game {} a second time", key.0, key.1);
                wrong.push(WrongRow { row: place, why });
            }
            Ok(operation) => operations.push(operation),
            Err(why) => wrong.push(WrongRow { row: place, why }),
        }
    }
    if wrong.is_empty() { Ok(operations) } else { Err(wrong) }
}

fn operation(row: &wire::ImportRow, last: &mut Option<CustomerId>) -> Result<Operation, String> {
    let customer_id = match last {
        Some(known) if known.as_str() == row.customer_id => known.clone(),
        _ => {
            let parsed: CustomerId =
                row.customer_id.parse().map_err(|error| format!("customer_id {error}"))?;
            last.insert(parsed).clone()
        }
    };
    let game_id = row.game_id.parse().map_err(|error| format!("game_id {error}"))?;
    let ends_at_ms = row.end_time.as_ref().map(unix_ms).transpose();
    let ends_at_ms = ends_at_ms.map_err(|why| format!("end_time {why}"))?;
    let key: Key = (customer_id, game_id);
    Ok(Operation::Grant { key, on_owned: OnNothingToDo::Skip, ends_at_ms })
}
