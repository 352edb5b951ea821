//! Ids that cross the wire. Each is checked once, where it enters, and is right from then on.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The most bytes in a [`CustomerId`].
pub const CUSTOMER_ID_MAX_BYTES: usize = 64;
/// The most bytes in a [`GameId`].
pub const GAME_ID_MAX_BYTES: usize = 128;

/// The most bytes in a [`CopyName`].
pub const COPY_NAME_MAX_BYTES: usize = 64;

/// Why a text is not an id. The message completes a sentence that begins with the name of the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text has no characters.
    #[error("must not be empty")]
    Empty,
    /// The text is longer than the id may be.
    #[error("must have at most {limit_bytes} bytes, and has {bytes}")]
    TooLong {
        /// How many bytes the text has.
        bytes: usize,
        /// How many it may have.
        limit_bytes: usize,
    },
    /// The text has a control character.
    #[error("must not contain control characters")]
    ControlCharacter,
    /// The text is not a slug.
    #[error("must be a slug: runs of a-z and 0-9, joined by single '-'")]
    NotASlug,
    /// The text is not the name of a copy.
    #[error("must have characters of a-z, 0-9, '-', '_' and '.' alone")]
    NotACopyName,
    /// The text is not a UUID.
    #[error("must be a UUID, such as 01890a5d-ac96-774b-bcce-b302099a8057")]
    NotAUuid,
}

/// Checks a free text of a limited size, such as the name of an actor.
///
/// # Errors
///
/// When the text has more than `limit_bytes` bytes or a control character. An empty text is fine.
pub fn check_text(text: &str, limit_bytes: usize) -> Result<(), IdError> {
    if text.len() > limit_bytes {
        return Err(IdError::TooLong { bytes: text.len(), limit_bytes });
    }
    if text.chars().any(char::is_control) {
        return Err(IdError::ControlCharacter);
    }
    Ok(())
}

/// A customer: 1 to 64 bytes without control characters, otherwise opaque. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CustomerId(Arc<str>);

impl CustomerId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CustomerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.is_empty() {
            return Err(IdError::Empty);
        }
        check_text(text, CUSTOMER_ID_MAX_BYTES)?;
        Ok(Self(text.into()))
    }
}

impl fmt::Display for CustomerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A game: a slug of 1 to 128 bytes. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GameId(Arc<str>);

impl GameId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the game with this title: lower case, every run of characters other than a-z and 0-9 turned into
    /// one `-`, and none at either end.
    ///
    /// # Errors
    ///
    /// When nothing of the title is left, or too much.
    pub fn from_title(title: &str) -> Result<Self, IdError> {
        let mut slug = String::with_capacity(title.len());
        for character in title.chars().flat_map(char::to_lowercase) {
            if character.is_ascii_lowercase() || character.is_ascii_digit() {
                slug.push(character);
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
        }
        slug.trim_end_matches('-').parse()
    }
}

impl FromStr for GameId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.is_empty() {
            return Err(IdError::Empty);
        }
        if text.len() > GAME_ID_MAX_BYTES {
            return Err(IdError::TooLong { bytes: text.len(), limit_bytes: GAME_ID_MAX_BYTES });
        }
        let is_slug = text.split('-').all(|run| {
            !run.is_empty() && run.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        });
        if is_slug { Ok(Self(text.into())) } else { Err(IdError::NotASlug) }
    }
}

impl fmt::Display for GameId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The name of a copy: 1 to 64 characters of a-z, 0-9, '-', '_' and '.'. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CopyName(Arc<str>);

impl CopyName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CopyName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.is_empty() {
            return Err(IdError::Empty);
        }
        if text.len() > COPY_NAME_MAX_BYTES {
            return Err(IdError::TooLong { bytes: text.len(), limit_bytes: COPY_NAME_MAX_BYTES });
        }
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        if text.bytes().all(fits) { Ok(Self(text.into())) } else { Err(IdError::NotACopyName) }
    }
}

impl fmt::Display for CopyName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

macro_rules! uuid_id {
    ($name:ident, $documentation:literal) => {
        #[doc = $documentation]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A version 7 UUID (RFC 9562): it grows with time, so an index on it grows at one end.
            ///
            /// `unix_ms` is the time in milliseconds since 1970, `random` ten random bytes. Both are given by the
            /// caller, so that tests can control them.
            #[must_use]
            pub fn new_v7(unix_ms: u64, random: [u8; 10]) -> Self {
                Self(uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid())
            }

            /// The time of a version 7 UUID, in milliseconds since 1970; none for other versions, which have none.
            #[must_use]
            pub fn unix_ms(&self) -> Option<u64> {
                let bytes = self.0.as_bytes();
                let time = bytes[..6].iter().fold(0, |time: u64, byte| time << 8 | u64::from(*byte));
                (self.0.get_version_num() == 7).then_some(time)
            }

            /// The id as the UUID that it is.
            #[must_use]
            pub fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                if text.is_empty() {
                    return Err(IdError::Empty);
                }
                match Uuid::try_parse(text) {
                    Ok(uuid) if !uuid.is_nil() => Ok(Self(uuid)),
                    _ => Err(IdError::NotAUuid),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(formatter)
            }
        }
    };
}

uuid_id!(
    RequestId,
    "What a caller names a request with, before it sends it: the same id again is the same request."
);
impl RequestId {
    /// The id of a request that is known by its content: the same content is the same request, also after the caller forgot all else.
    /// It is a version 8 UUID of the SHA-256 of the content.
    #[must_use]
    pub fn of_content(content: &[u8]) -> Self {
        let hash = Sha256::digest(content);
        let mut half = [0; 16];
        half.copy_from_slice(&hash[..16]);
        Self(uuid::Builder::from_custom_bytes(half).into_uuid())
    }
}

uuid_id!(OrderId, "An order of the purchase service.");
uuid_id!(PaymentId, "A payment, named by the one who pays before the provider is asked.");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn titles_become_slugs() {
        let slug = |title| GameId::from_title(title).map(|id| id.to_string());
        assert_eq!(slug("Sir, You Are Being Hunted").as_deref(), Ok("sir-you-are-being-hunted"));
        assert_eq!(slug("  A.R.E.S. ").as_deref(), Ok("a-r-e-s"));
        assert_eq!(slug("Zuma's Revenge!").as_deref(), Ok("zuma-s-revenge"));
        assert_eq!(slug("!!!"), Err(IdError::Empty));
        assert_eq!(slug(&"x".repeat(129)), Err(IdError::TooLong { bytes: 129, limit_bytes: 128 }));
    }

    #[test]
    fn a_customer_id_has_limits() {
        assert_eq!("".parse::<CustomerId>(), Err(IdError::Empty));
        assert!("c".repeat(64).parse::<CustomerId>().is_ok());
        assert_eq!(
            "c".repeat(65).parse::<CustomerId>(),
            Err(IdError::TooLong { bytes: 65, limit_bytes: 64 })
        );
        assert_eq!("a\nb".parse::<CustomerId>(), Err(IdError::ControlCharacter));
    }

    #[test]
    fn the_same_content_is_the_same_request() {
        let id = RequestId::of_content(b"rows");
        assert_eq!((id, id.unix_ms()), (RequestId::of_content(b"rows"), None));
        assert_eq!(id.as_uuid().get_version_num(), 8);
        assert_ne!(id, RequestId::of_content(b"other rows"));
    }

    #[test]
    fn a_copy_has_a_name_that_fits_any_label() {
        assert!("game-list.eu_1".parse::<CopyName>().is_ok());
        assert_eq!("".parse::<CopyName>(), Err(IdError::Empty));
        assert_eq!("Game list".parse::<CopyName>(), Err(IdError::NotACopyName));
        let long = "c".repeat(65).parse::<CopyName>();
        assert_eq!(long, Err(IdError::TooLong { bytes: 65, limit_bytes: 64 }));
    }

    #[test]
    fn the_nil_uuid_names_no_request() {
        assert_eq!(Uuid::nil().to_string().parse::<RequestId>(), Err(IdError::NotAUuid));
    }

    proptest! {
        #[test]
        fn any_text_is_an_id_or_refused(text in any::<String>()) {
            if let Ok(id) = text.parse::<CustomerId>() {
                prop_assert_eq!(id.as_str(), &text);
                prop_assert!(text.len() <= CUSTOMER_ID_MAX_BYTES);
            }
            if let Ok(id) = GameId::from_title(&text) {
                prop_assert_eq!(id.as_str().parse::<GameId>(), Ok(id.clone()));
                prop_assert_eq!(GameId::from_title(id.as_str()), Ok(id));
            }
            let _ = text.parse::<RequestId>();
        }

        #[test]
        fn a_version_7_id_keeps_its_time(unix_ms in 0_u64..1 << 48, random in any::<[u8; 10]>()) {
            let id = RequestId::new_v7(unix_ms, random);
            prop_assert_eq!(id.as_uuid().get_version_num(), 7);
            prop_assert_eq!(id.unix_ms(), Some(unix_ms));
        }
    }
}
