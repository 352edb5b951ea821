//! How a command fails: one kind for each exit code, so that a script can tell what to do next.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use mesh::errors::code_name;
use mesh::outbound::EARLIER_ATTEMPTS;
use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::output::Output;

/// Nobody answered: the reason that the mesh gives, and ours where there is none.
const UNREACHABLE: &str = "UNREACHABLE";
/// Nobody was there to be asked: the reason that the mesh gives for a service with several instances.
const NO_INSTANCE: &str = "NO_INSTANCE";
/// The reasons of a service that did not take a write.
const NOTHING_DONE: [&str; 6] =
    ["STORE_UNAVAILABLE", "QUEUE_FULL", "NOT_LEADER", "OVERLOADED", "SHUTTING_DOWN", NO_INSTANCE];

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Whoever read our output has gone. It has what it wanted: this is no failure to the caller.
    OutputClosed,
    /// A question was answered with no, and the answer is printed: only the exit code is left to say it.
    AnsweredNo,
    /// What there is to tell is printed: a service did not answer.
    AnsweredUnavailable,
    /// A defect, here or in a service.
    Defect,
    /// A rule forbids what was asked.
    Refused,
    /// A service cannot be reached or did not answer in time.
    Unavailable,
    /// A file or an argument is wrong.
    BadInput,
    /// What was asked for does not exist.
    NotFound,
}

impl Kind {
    fn of(code: Code) -> Self {
        match code {
            Code::FailedPrecondition | Code::OutOfRange | Code::AlreadyExists => Self::Refused,
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Cancelled => Self::Unavailable,
            Code::InvalidArgument => Self::BadInput,
            Code::NotFound => Self::NotFound,
            _ => Self::Defect,
        }
    }

    /// The exit code; 2 is clap's, for wrong usage.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::Defect => 1,
            // What a rule would say to whoever relied on a yes.
            Self::Refused | Self::AnsweredNo => 3,
            Self::Unavailable | Self::AnsweredUnavailable => 4,
            Self::BadInput => 5,
            Self::NotFound => 6,
        }
    }
}

/// Why a command failed, and what to do next.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub(crate) struct Failure(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: Kind,
    reason: String,
    message: String,
    code: Option<Code>,
    /// Whether an attempt before the last one may have done something.
    may_be_done: bool,
    metadata: BTreeMap<String, String>,
    fields: Vec<(String, String)>,
    hints: Vec<String>,
}

impl Failure {
    pub(crate) fn new(kind: Kind, reason: &str, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            reason: reason.to_owned(),
            message: message.into(),
            code: None,
            may_be_done: false,
            metadata: BTreeMap::new(),
            fields: Vec::new(),
            hints: Vec::new(),
        }))
    }

    /// What a service answered. `peer` is its name.
    pub(crate) fn from_status(peer: &str, status: &Status) -> Self {
        let kind = Kind::of(status.code());
        let mut failure = Self::new(kind, "", status.message());
        failure.0.code = Some(status.code());
        let earlier = status.metadata().get(EARLIER_ATTEMPTS).and_then(|earlier| earlier.to_str().ok());
        let did_nothing = |reason: &str| NOTHING_DONE.contains(&reason);
        failure.0.may_be_done = !earlier.is_none_or(|earlier| earlier.split(", ").all(did_nothing));
        if let Some(info) = status.get_details_error_info() {
            failure.0.reason = info.reason;
            failure.0.metadata = info.metadata.into_iter().collect();
        }
        if failure.0.reason.is_empty() {
            // The connection failed, or something between here and the service answered.
            reason_without_details(status.code()).clone_into(&mut failure.0.reason);
            failure.0.message = format!("{peer}: {}", status.message());
        }
        if let Some(request) = status.get_details_bad_request() {
            let violations = request.field_violations.into_iter();
            failure.0.fields = violations.map(|violation| (violation.field, violation.description)).collect();
        }
        if [UNREACHABLE, NO_INSTANCE].contains(&failure.reason()) {
            failure = failure.hint(format!(
                "is the mesh running? Start it with `gameshelf up`, or say where it is with --port-base or --{peer}-address"
            ));
        }
        failure
    }

    /// Adds a value for programs.
    pub(crate) fn with(mut self, key: &str, value: impl Display) -> Self {
        self.0.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    /// Adds what a person can do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(hint.into());
        self
    }

    /// Says in front of the message what was being done.
    pub(crate) fn while_doing(mut self, what: &str) -> Self {
        self.0.message = format!("{what}: {}", self.0.message);
        self
    }

    /// Adds to a failure of a write what settles it; `what` may have happened. `again` is how to send it again under its
    /// id, which is safe whatever happened.
    pub(crate) fn settle(self, what: &str, again: &str) -> Self {
        if self.kind() != Kind::Unavailable {
            return self;
        }
        // The last attempt wrote nothing; an earlier one may have.
        if NOTHING_DONE.contains(&self.reason()) && !self.0.may_be_done {
            return self.hint(format!("{again}: however often it is sent, it has one effect"));
        }
        self.hint(format!("whether {what} is not known; {again}: both together have one effect"))
    }

    /// A value of the failure.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.0.metadata.get(key).map(String::as_str)
    }

    pub(crate) fn kind(&self) -> Kind {
        self.0.kind
    }

    pub(crate) fn reason(&self) -> &str {
        &self.0.reason
    }

    /// Tells it on standard error, where it does not mix with results, and gives the exit code.
    pub(crate) fn report(&self, output: Output) -> ExitCode {
        match (self.0.kind, output) {
            (Kind::OutputClosed | Kind::AnsweredNo | Kind::AnsweredUnavailable, _) => {}
            (_, Output::Table) => eprint!("{}", self.text()),
            (_, Output::Json) => eprintln!("{}", self.json()),
        }
        ExitCode::from(self.0.kind.exit_code())
    }

    fn text(&self) -> String {
        let mut lines = vec![format!("error: {}", self.0.message)];
        lines.extend(self.0.fields.iter().map(|(_, description)| format!("  {description}")));
        lines.extend(self.0.hints.iter().map(|hint| format!("hint: {hint}")));
        lines.join("\n") + "\n"
    }

    fn json(&self) -> String {
        let fields = self.0.fields.iter();
        let error = ErrorJson {
            reason: &self.0.reason,
            message: &self.0.message,
            code: self.0.code.map(code_name),
            metadata: &self.0.metadata,
            fields: fields.map(|(field, description)| FieldJson { field, description }).collect(),
            hints: &self.0.hints,
        };
        // Text and maps of text always have a form in JSON.
        serde_json::json!({ "error": error }).to_string()
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let kind = if error.kind() == io::ErrorKind::BrokenPipe { Kind::OutputClosed } else { Kind::Defect };
        Self::new(kind, "OUTPUT", format!("the result cannot be written: {error}"))
    }
}

#[derive(Serialize)]
struct ErrorJson<'a> {
    reason: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<FieldJson<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    hints: &'a [String],
}

#[derive(Serialize)]
struct FieldJson<'a> {
    field: &'a str,
    description: &'a str,
}

fn reason_without_details(code: Code) -> &'static str {
    match code {
        Code::Unavailable => UNREACHABLE,
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        _ => "UNEXPECTED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gameshelf::errors::{ErrorBuilder, Reason};
    use tonic::metadata::MetadataValue;
    use tonic_types::ErrorDetails;

    #[test]
    fn every_reason_has_an_exit_code_by_kind() {
        for reason in Reason::ALL {
            let failure = Failure::from_status("arbiter", &ErrorBuilder::new(*reason, "no").build());
            assert_eq!(failure.reason(), reason.as_str());
            let defect = *reason == Reason::Internal;
            assert_eq!(failure.kind() == Kind::Defect, defect, "{reason}");
        }
        let code = |reason| {
            Failure::from_status("arbiter", &ErrorBuilder::new(reason, "no").build()).kind().exit_code()
        };
        assert_eq!(code(Reason::Internal), 1);
        assert_eq!(code(Reason::AlreadyOwned), 3);
        assert_eq!(code(Reason::QueueFull), 4);
        assert_eq!(code(Reason::InvalidFields), 5);
        assert_eq!(code(Reason::OrderUnknown), 6);
    }

    #[test]
    fn what_an_earlier_attempt_did_is_not_known() {
        let settled = |earlier: &'static str| {
            let mut status = ErrorBuilder::new(Reason::ShuttingDown, "nothing was written").build();
            if !earlier.is_empty() {
                status.metadata_mut().insert(EARLIER_ATTEMPTS, MetadataValue::from_static(earlier));
            }
            Failure::from_status("arbiter", &status).settle("the game was granted", "send it again").text()
        };
        for earlier in ["", "QUEUE_FULL, STORE_UNAVAILABLE"] {
            assert!(!settled(earlier).contains("is not known"), "{earlier}");
        }
        for earlier in ["OUTCOME_UNKNOWN", "QUEUE_FULL, UNREACHABLE"] {
            assert!(settled(earlier).contains("whether the game was granted is not known"), "{earlier}");
        }
    }

    #[test]
    fn a_failed_connection_is_told_with_the_peer_and_a_hint() {
        let failure = Failure::from_status("purchase", &Status::unavailable("connection refused"));
        assert_eq!(failure.kind(), Kind::Unavailable);
        assert_eq!(failure.reason(), "UNREACHABLE");
        let text = failure.text();
        assert!(
            text.starts_with("error: purchase: connection refused\nhint: is the mesh running?"),
            "{text}"
        );
    }

    #[test]
    fn a_service_without_an_instance_is_as_good_as_one_that_cannot_be_reached() {
        let details = ErrorDetails::with_error_info(
            "NO_INSTANCE",
            "mesh",
            [("service".to_owned(), "arbiter".to_owned())],
        );
        let status = Status::with_error_details(Code::Unavailable, "no instance of arbiter", details);
        let failure = Failure::from_status("arbiter", &status).settle("it was done", "do it again");
        assert_eq!(failure.kind(), Kind::Unavailable);
        let text = failure.text();
        assert!(
            text.contains("hint: is the mesh running?") && text.contains("hint: do it again: "),
            "{text}"
        );
    }

    #[test]
    fn a_service_that_answered_is_running() {
        for reason in [Reason::StoreUnavailable, Reason::QueueFull, Reason::OutcomeUnknown] {
            let failure = Failure::from_status("arbiter", &ErrorBuilder::new(reason, "no").build());
            assert_eq!(failure.text(), "error: no\n", "{reason}");
        }
        let failure = Failure::from_status("arbiter", &Status::deadline_exceeded("too slow"));
        assert_eq!((failure.reason(), failure.0.hints.len()), ("DEADLINE_EXCEEDED", 0));
    }

    #[test]
    fn only_an_outcome_that_is_not_known_is_called_so() {
        let hints = |reason| {
            let status = ErrorBuilder::new(reason, "no").build();
            Failure::from_status("arbiter", &status).settle("it was done", "do it again").text()
        };
        assert!(
            hints(Reason::OutcomeUnknown).contains("hint: whether it was done is not known; do it again")
        );
        for reason in [Reason::StoreUnavailable, Reason::QueueFull, Reason::NotLeader] {
            let text = hints(reason);
            assert!(text.contains("hint: do it again") && !text.contains("not known"), "{text}");
        }
        assert_eq!(hints(Reason::AlreadyOwned), "error: no\n");
    }

    #[test]
    fn the_json_has_reason_code_and_metadata() {
        let status = ErrorBuilder::new(Reason::InvalidFields, "wrong fields: game_id")
            .with("fields", "game_id")
            .bad_field("game_id", "game_id must be a slug")
            .build();
        let json: serde_json::Value =
            serde_json::from_str(&Failure::from_status("purchase", &status).json()).unwrap();
        assert_eq!(json["error"]["reason"], "INVALID_FIELDS");
        assert_eq!(json["error"]["code"], "INVALID_ARGUMENT");
        assert_eq!(json["error"]["metadata"]["fields"], "game_id");
        assert_eq!(json["error"]["fields"][0]["description"], "game_id must be a slug");
    }
}
