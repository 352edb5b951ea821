//! Collects what is wrong with the fields of a request, so that a caller hears of all of it at once.

use std::fmt;
use std::time::Duration;

use tonic::Status;

use crate::errors::{ErrorBuilder, Reason};

/// The most violations told in one error; a request can have more.
const VIOLATIONS_MAX: usize = 32;

/// What is wrong with the fields of one request.
#[derive(Debug, Default)]
pub struct Fields {
    violations: Vec<(String, String)>,
    more: usize,
}

impl Fields {
    /// No field is wrong so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that a field is wrong. The description completes a sentence that begins with the field's name.
    pub fn wrong(&mut self, field: impl Into<String>, description: impl fmt::Display) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push((field.into(), description.to_string()));
        } else {
            self.more += 1;
        }
    }

    /// Takes the value of a field, or notes why there is none.
    pub fn take<T, E: fmt::Display>(&mut self, field: impl Into<String>, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.wrong(field, error)).ok()
    }

    /// Whether no field is wrong so far.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.violations.is_empty()
    }

    /// The error that names every wrong field, or the request.
    ///
    /// `request` is what was made of the fields: it is there exactly when none was wrong.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` with `BadRequest` when a field is wrong.
    pub fn finish<T>(self, request: Option<T>) -> Result<T, Status> {
        match request {
            Some(request) if self.violations.is_empty() => Ok(request),
            _ => Err(self.into_status()),
        }
    }

    fn into_status(self) -> Status {
        let mut names: Vec<&str> = self.violations.iter().map(|(field, _)| field.as_str()).collect();
        names.dedup();
        let mut error =
            ErrorBuilder::new(Reason::InvalidFields, format!("wrong fields: {}", names.join(", ")))
                .with("fields", names.join(","));
        if self.more > 0 {
            error = error.with("further_violations", self.more);
        }
        for (field, description) in &self.violations {
            error = error.bad_field(field, format!("{field} {description}"));
        }
        error.build()
    }
}

/// The longest duration that protobuf allows: about 10,000 years, in seconds.
const DURATION_MAX_SECONDS: i64 = 315_576_000_000;

/// Reads a duration as protobuf defines it, which must not be negative here.
///
/// # Errors
///
/// When it is negative, longer than protobuf allows, or not well formed. The text completes a sentence that begins with
/// the field's name.
pub fn duration(duration: prost_types::Duration) -> Result<Duration, &'static str> {
    const WRONG: &str = "must be a well-formed duration that is not negative";
    let seconds = Some(duration.seconds).filter(|seconds| (0..=DURATION_MAX_SECONDS).contains(seconds));
    let nanos = Some(duration.nanos).filter(|nanos| (0..1_000_000_000).contains(nanos));
    let (seconds, nanos) = seconds.zip(nanos).ok_or(WRONG)?;
    let (seconds, nanos) = u64::try_from(seconds).ok().zip(u32::try_from(nanos).ok()).ok_or(WRONG)?;
    Ok(Duration::new(seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::StatusExt;

    #[test]
    fn every_wrong_field_is_named() {
        let mut fields = Fields::new();
        assert_eq!(fields.take("good", Ok::<_, String>(1)), Some(1));
        assert_eq!(fields.take("bad", Err::<u8, _>("must be small")), None);
        fields.wrong("worse", "must not be");
        let status = fields.finish(Some(())).expect_err("two fields are wrong");
        let request = status.get_details_bad_request().expect("details");
        let named: Vec<_> =
            request.field_violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(named, ["bad", "worse"]);
        assert_eq!(request.field_violations[0].description, "bad must be small");
    }

    #[test]
    fn a_duration_is_well_formed_or_refused() {
        let read = |seconds, nanos| duration(prost_types::Duration { seconds, nanos });
        assert_eq!(read(1, 5), Ok(Duration::new(1, 5)));
        for (seconds, nanos) in
            [(-1, 0), (0, -1), (1, -5), (0, 1_000_000_000), (1 << 62, 0), (i64::MAX, i32::MAX)]
        {
            assert!(read(seconds, nanos).is_err(), "{seconds} s and {nanos} ns");
        }
    }

    #[test]
    fn the_error_is_bounded() {
        let mut fields = Fields::new();
        for number in 0..1000 {
            fields.wrong(format!("games[{number}]"), "must be a slug");
        }
        let status = fields.finish::<()>(None).expect_err("fields are wrong");
        assert_eq!(status.get_details_bad_request().expect("details").field_violations.len(), VIOLATIONS_MAX);
        assert_eq!(crate::errors::metadata_of(&status, "further_violations").as_deref(), Some("968"));
    }
}
