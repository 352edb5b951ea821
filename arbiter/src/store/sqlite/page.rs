//! Large pages of entitlements as one row: the driver hands over each row by itself, which costs more than the row does.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;

use super::super::StoreError;
use super::super::record::{cause, id};
use crate::domain::{Cause, Entitlement};

/// A text, borrowed where nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// An entitlement's columns in their order, as `store/sql.rs` names them.
type Columns<'a> = (Text<'a>, Text<'a>, u64, u64, i16, Text<'a>, Text<'a>, Option<u64>, u8);

/// A statement that returns the rows of a page of entitlements as one JSON array.
pub(super) fn as_one_row(page: &str) -> String {
    format!(
        "SELECT json_group_array(json_array(customer_id, game_id, valid_from, granted_at_ms, reason, actor, order_id,
           ends_at_ms, from_stock)) FROM ({page})"
    )
}

/// Reads what such a statement returned.
pub(super) fn read(json: &str) -> Result<Vec<Entitlement>, StoreError> {
    let corrupt = |error: serde_json::Error| StoreError::Corrupt(error.to_string());
    let rows: Vec<Columns<'_>> = serde_json::from_str(json).map_err(corrupt)?;
    let mut entitlements = Vec::with_capacity(rows.len());
    // Most rows beside each other came to be for the same cause.
    let mut last: Option<(i16, Arc<Cause>)> = None;
    for (customer_id, game_id, valid_from, granted_at_ms, reason, actor, order_id, ends_at_ms, from_stock) in
        rows
    {
        let cause = match &last {
            Some((number, last))
                if *number == reason && last.actor == actor.0 && last.order_id == order_id.0 =>
            {
                Arc::clone(last)
            }
            _ => cause(reason, actor.0.into_owned(), order_id.0.into_owned())?,
        };
        last = Some((reason, Arc::clone(&cause)));
        entitlements.push(Entitlement {
            customer_id: id(&customer_id.0)?,
            game_id: id(&game_id.0)?,
            valid_from,
            granted_at_ms,
            cause,
            ends_at_ms,
            from_stock: from_stock != 0,
        });
    }
    // SQLite does not promise that an aggregate sees its rows in their order. To sort what is sorted costs a look at each.
    entitlements
        .sort_by(|one, other| (&one.customer_id, &one.game_id).cmp(&(&other.customer_id, &other.game_id)));
    Ok(entitlements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_escapes_is_read_back() {
        let json = r#"[["a\"b\\c\u00e9","g",7,8,1,"by \"x\"","",null,0],["d","g",1,2,1,"","",9,1]]"#;
        let read = read(json).unwrap();
        assert_eq!(read[0].customer_id.as_str(), "a\"b\\c\u{e9}");
        assert_eq!((read[0].valid_from, read[0].cause.actor.as_str()), (7, "by \"x\""));
        assert_eq!((read[1].ends_at_ms, read[1].from_stock), (Some(9), true));
    }
}
