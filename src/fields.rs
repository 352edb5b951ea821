//! Collects what is wrong with the fields of a request, so that a caller hears of all of it at once.

use std::fmt;
use std::time::Duration;

use tonic::Status;

use crate::errors::{ErrorBuilder, Reason, Room, first_of};
use crate::ids::IdError;

/// What a violation takes in an error beside its texts.
const VIOLATION_BYTES: usize = 16;

/// A limit that a value is not within, for programs: in the metadata of the error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The keys of the value and of the limit.
    keys: [&'static str; 2],
    value: String,
    bound: String,
}

impl Limit {
    /// Of how many there are.
    pub fn number(number: impl fmt::Display, limit: impl fmt::Display) -> Self {
        Self { keys: ["number", "limit"], value: number.to_string(), bound: limit.to_string() }
    }

    /// Of a size.
    pub fn bytes(bytes: impl fmt::Display, limit: impl fmt::Display) -> Self {
        Self { keys: ["bytes", "limit_bytes"], value: bytes.to_string(), bound: limit.to_string() }
    }

    /// Of a time.
    pub fn milliseconds(value: impl fmt::Display, limit: impl fmt::Display) -> Self {
        Self { keys: ["value_ms", "limit_ms"], value: value.to_string(), bound: limit.to_string() }
    }
}

/// Why the value of a field is wrong. The text completes a sentence that begins with the field's name.
pub trait Wrong: fmt::Display {
    /// The limit that it is not within, where that is why.
    fn limit(&self) -> Option<Limit> {
        None
    }
}

impl Wrong for &str {}

impl Wrong for String {}

impl Wrong for IdError {
    fn limit(&self) -> Option<Limit> {
        match self {
            Self::TooLong { bytes, limit_bytes } => Some(Limit::bytes(bytes, limit_bytes)),
            _ => None,
        }
    }
}

/// What is wrong with the fields of one request.
#[derive(Debug, Default)]
pub struct Fields {
    violations: Vec<(String, String)>,
    room: Room,
    /// Those for which there was no room.
    more: usize,
    /// The first field that is not within a limit.
    limit: Option<(String, Limit)>,
}

impl Fields {
    /// No field is wrong so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that a field is wrong. The description completes a sentence that begins with the field's name.
    pub fn wrong(&mut self, field: impl Into<String>, description: impl fmt::Display) {
        let field = field.into();
        let description = format!("{field} {description}");
        // The field stands in the metadata too.
        if self.room.take(2 * field.len() + description.len() + VIOLATION_BYTES) {
            self.violations.push((field, description));
        } else {
            self.more += 1;
        }
    }

    /// Notes that a field is not within a limit, which the description tells too.
    pub fn beyond(&mut self, field: impl Into<String>, limit: Limit, description: impl fmt::Display) {
        let field = field.into();
        self.limit.get_or_insert_with(|| (field.clone(), limit));
        self.wrong(field, description);
    }

    /// Takes the value of a field, or notes why there is none.
    pub fn take<T, E: Wrong>(&mut self, field: impl Into<String>, value: Result<T, E>) -> Option<T> {
        let error = match value {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        match error.limit() {
            Some(limit) => self.beyond(field, limit, error),
            None => self.wrong(field, error),
        }
        None
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
        let message = format!("wrong fields: {}", first_of(&names, names.len() + self.more));
        let mut error = ErrorBuilder::new(Reason::InvalidFields, message).with("fields", names.join(","));
        if self.more > 0 {
            error = error.with("further_violations", self.more);
        }
        if let Some((field, Limit { keys: [value_key, limit_key], value, bound })) = self.limit {
            error = error.with("limit_field", field).with(value_key, value).with(limit_key, bound);
        }
        for (field, description) in &self.violations {
            error = error.bad_field(field, description);
        }
        error.build()
    }
}

/// Why a size of a page is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageSizeError<T: fmt::Display> {
    /// It is below zero.
    #[error("must not be negative")]
    Negative,
    /// It is more than a page may have.
    #[error("must be at most {limit}, and is {number}")]
    TooLarge {
        /// The size that is asked for.
        number: T,
        /// The largest one.
        limit: T,
    },
}

impl<T: fmt::Display> Wrong for PageSizeError<T> {
    fn limit(&self) -> Option<Limit> {
        match self {
            Self::Negative => None,
            Self::TooLarge { number, limit } => Some(Limit::number(number, limit)),
        }
    }
}

/// The size of a page: what is asked for, or `default` where that is 0.
///
/// # Errors
///
/// When it is negative, or more than `max`.
pub fn page_size<T>(asked: i32, default: T, max: T) -> Result<T, PageSizeError<T>>
where
    T: TryFrom<i32> + PartialOrd + fmt::Display,
{
    if asked == 0 {
        return Ok(default);
    }
    match T::try_from(asked) {
        Err(_) => Err(PageSizeError::Negative),
        Ok(size) if size <= max => Ok(size),
        Ok(size) => Err(PageSizeError::TooLarge { number: size, limit: max }),
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
    fn a_page_has_the_default_size_where_none_is_asked_for() {
        assert_eq!([page_size(0, 5u32, 9), page_size(9, 5, 9)], [Ok(5), Ok(9)]);
        assert_eq!(page_size(-1, 5u32, 9), Err(PageSizeError::Negative));
        let too_large = page_size(10, 5u32, 9).expect_err("it is over the limit");
        assert_eq!(too_large.to_string(), "must be at most 9, and is 10");
        assert_eq!(too_large.limit(), Some(Limit::number(10, 9)));
    }

    #[test]
    fn the_error_is_bounded() {
        let mut fields = Fields::new();
        for number in 0..1000 {
            fields.wrong(format!("games[{number}]"), "must be a slug");
        }
        let status = fields.finish::<()>(None).expect_err("fields are wrong");
        let named = status.get_details_bad_request().expect("details").field_violations.len();
        assert_eq!(named, crate::errors::NAMED_MAX);
        assert_eq!(crate::errors::metadata_of(&status, "further_violations").as_deref(), Some("968"));
        assert_eq!(status.message(), "wrong fields: games[0], games[1], games[2] and 997 more");
    }

    #[test]
    fn the_error_fits_into_the_header_that_many_clients_take() {
        let mut fields = Fields::new();
        for number in 0..1000 {
            let field = format!("preconditions[{number}].unchanged_since.customer_id");
            fields.wrong(field, format!("must not name {} a second time", "g".repeat(128)));
        }
        let status = fields.finish::<()>(None).expect_err("fields are wrong");
        let named = status.get_details_bad_request().expect("details").field_violations.len();
        assert!(named >= 8, "{named}");
        let head = status.into_http::<()>();
        let bytes: usize =
            head.headers().iter().map(|(name, value)| 32 + name.as_str().len() + value.len()).sum();
        assert!(bytes < 8 << 10, "{bytes}");
    }

    #[test]
    fn the_first_limit_is_told_with_the_value_that_is_not_within_it() {
        let told = |note: &dyn Fn(&mut Fields)| {
            let mut fields = Fields::new();
            fields.wrong("request_id", "must be a UUID");
            note(&mut fields);
            fields.beyond("last", Limit::number(9, 8), "must be at most 8, and is 9");
            let status = fields.finish::<()>(None).expect_err("fields are wrong");
            ["limit_field", "number", "limit", "bytes", "limit_bytes", "value_ms", "limit_ms"]
                .map(|key| crate::errors::metadata_of(&status, key).unwrap_or_default())
        };
        let number = told(&|fields| fields.beyond("pairs", Limit::number(4, 3), "must be at most 3"));
        assert_eq!(number, ["pairs", "4", "3", "", "", "", ""]);
        let time = told(&|fields| fields.beyond("hold", Limit::milliseconds(0, 7), "must be from 1 to 7 ms"));
        assert_eq!(time, ["hold", "", "", "", "", "0", "7"]);
        let long = told(&|fields| {
            fields.take("actor", crate::ids::check_text("abc", 2));
        });
        assert_eq!(long, ["actor", "", "", "3", "2", "", ""]);
    }
}
