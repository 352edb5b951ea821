//! The form of a commit as JSON: that of `CommitRequest` in the contract, without what the command line says.

use gameshelf::proto::arbiter::v1 as wire;
use gameshelf::proto::arbiter::v1::operation::Change;
use gameshelf::proto::arbiter::v1::precondition::Condition;
use prost_types::Timestamp;
use serde::{Deserialize, Deserializer, de};

use crate::commands::OnNothingToDo;

/// The form with an example of everything, as the help shows it.
pub(super) const HELP: &str = r#"The file has this form. Preconditions may be left out; on_owned and on_not_owned are "refuse" or "skip",
and "refuse" when left out. Operations are decided in their order, each on what the ones before it leave:

{
  "preconditions": [
    {"owned": {"customer_id": "42", "game_id": "base-game"}},
    {"not_owned": {"customer_id": "42", "game_id": "rail-garden-2"}},
    {"unchanged_since": {"customer_id": "42", "game_id": "base-game", "revision": 7}}
  ],
  "operations": [
    {"grant": {"customer_id": "42", "game_id": "tiny-forest", "on_owned": "skip"}},
    {"grant": {"customer_id": "42", "game_id": "trial", "end_time": "2030-01-01T00:00:00Z"}},
    {"revoke": {"customer_id": "42", "game_id": "old-edition", "on_not_owned": "skip"}},
    {"transfer": {"from_customer_id": "42", "to_customer_id": "43", "game_id": "spare"}}
  ]
}

Without its game_id, unchanged_since is about all games of the customer."#;

/// Reads the form.
///
/// # Errors
///
/// The line and column of what is not of the form.
pub(super) fn parse(
    bytes: &[u8],
) -> Result<(Vec<wire::Precondition>, Vec<wire::Operation>), serde_json::Error> {
    let form: Form = serde_json::from_slice(bytes)?;
    let preconditions = form.preconditions.into_iter().map(Precondition::into_wire).collect();
    Ok((preconditions, form.operations.into_iter().map(Operation::into_wire).collect()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default)]
    preconditions: Vec<Precondition>,
    operations: Vec<Operation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Precondition {
    NotOwned(Pair),
    Owned(Pair),
    UnchangedSince(UnchangedSince),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    customer_id: String,
    game_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnchangedSince {
    customer_id: String,
    #[serde(default)]
    game_id: String,
    revision: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Operation {
    Grant(Grant),
    Revoke(Revoke),
    Transfer(Transfer),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    customer_id: String,
    game_id: String,
    #[serde(default)]
    on_owned: OnNothingToDo,
    #[serde(default, deserialize_with = "time")]
    end_time: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoke {
    customer_id: String,
    game_id: String,
    #[serde(default)]
    on_not_owned: OnNothingToDo,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the fields are called as in the contract")]
struct Transfer {
    from_customer_id: String,
    to_customer_id: String,
    game_id: String,
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = String::deserialize(deserializer)?;
    // A duration would be another time whenever the same file is sent again.
    let wrong = |_| de::Error::custom("end_time must be a time such as 2030-01-01T00:00:00Z");
    text.parse().map(Some).map_err(wrong)
}

impl Pair {
    fn into_wire(self) -> wire::OwnershipPair {
        wire::OwnershipPair { customer_id: self.customer_id, game_id: self.game_id }
    }
}

impl Precondition {
    fn into_wire(self) -> wire::Precondition {
        let condition = match self {
            Self::NotOwned(pair) => Condition::NotOwned(pair.into_wire()),
            Self::Owned(pair) => Condition::Owned(pair.into_wire()),
            Self::UnchangedSince(UnchangedSince { customer_id, game_id, revision }) => {
                Condition::UnchangedSince(wire::UnchangedSince { customer_id, game_id, revision })
            }
        };
        wire::Precondition { condition: Some(condition) }
    }
}

impl Operation {
    fn into_wire(self) -> wire::Operation {
        let change = match self {
            Self::Grant(Grant { customer_id, game_id, on_owned, end_time }) => {
                let on_owned = wire::OnOwned::from(on_owned).into();
                Change::Grant(wire::GrantOperation { customer_id, game_id, on_owned, end_time })
            }
            Self::Revoke(Revoke { customer_id, game_id, on_not_owned }) => {
                let on_not_owned = wire::OnNotOwned::from(on_not_owned).into();
                Change::Revoke(wire::RevokeOperation { customer_id, game_id, on_not_owned })
            }
            Self::Transfer(Transfer { from_customer_id, to_customer_id, game_id }) => {
                Change::Transfer(wire::TransferOperation { from_customer_id, to_customer_id, game_id })
            }
        };
        wire::Operation { change: Some(change) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_in_the_help_is_of_the_form() {
        let (begin, end) = (HELP.find("\n{").unwrap(), HELP.find("\n}").unwrap() + 2);
        let (preconditions, operations) = parse(&HELP.as_bytes()[begin..end]).unwrap();
        assert_eq!((preconditions.len(), operations.len()), (3, 4));
        let grant = operations[1].change.clone();
        let end_time = matches!(grant, Some(Change::Grant(grant)) if grant.end_time.is_some());
        assert!(end_time, "{operations:?}");
    }

    #[test]
    fn what_is_not_of_the_form_is_named_with_its_line() {
        let wrong = |text: &str| parse(text.as_bytes()).unwrap_err().to_string();
        let unknown = wrong("{\"operations\": [\n{\"grant\": {\"customer_id\": \"42\", \"game\": \"x\"}}]}");
        assert!(unknown.contains("unknown field `game`") && unknown.contains("line 2"), "{unknown}");
        assert!(wrong("{}").contains("missing field `operations`"));
        let time = r#"{"operations": [{"grant": {"customer_id": "4", "game_id": "x", "end_time": "7d"}}]}"#;
        assert!(wrong(time).contains("end_time must be a time"));
    }
}
