//! What a service is, what it requires of others, and who can meet that.
//!
//! Versions are semantic ones. A requirement is a caret range, so that it never reaches across a major version: what
//! was meant for 1.2 is never sent to 2.0.

use std::fmt;
use std::str::FromStr;

use http::{HeaderName, HeaderValue};
use semver::{Op, VersionReq};

pub use semver::Version;

use crate::proto::v1;

/// The header of every answer that tells which version gave it.
pub const VERSION_HEADER: HeaderName = HeaderName::from_static("mesh-version");

/// The header of a request that tells which versions its caller can use.
pub const REQUIRES_HEADER: HeaderName = HeaderName::from_static("mesh-requires");

/// The header of an answer, as its caller sees it, that tells which instances were tried and what came of it:
/// `10.0.0.1:7000@1.0.1=UNAVAILABLE, 10.0.0.2:7000@1.0.0=OK`.
pub const TRIED_HEADER: HeaderName = HeaderName::from_static(TRIED);

pub(crate) const TRIED: &str = "mesh-tried";

/// The version of a package, as Cargo tells it to the package's code: `of_package(env!("CARGO_PKG_VERSION"))`.
#[must_use]
pub fn of_package(text: &str) -> Version {
    // Cargo builds no package whose version is not a semantic one.
    text.parse().unwrap_or(Version::new(0, 0, 0))
}

/// A range of versions within one major version: `^1.2` is met by 1.2.0, 1.9.3, and not by 2.0.0. As semantic versions
/// have it, each minor version before 1.0 counts as a major one: `^0.3` is not met by 0.4.0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requirement(VersionReq);

impl Requirement {
    /// Whether a version meets the requirement. A pre-release meets it only where the range names one.
    #[must_use]
    pub fn is_met_by(&self, version: &Version) -> bool {
        self.0.matches(version)
    }

    pub(crate) fn header(&self) -> HeaderValue {
        // A range is of digits, dots, letters and a caret: all of them may stand in a header.
        HeaderValue::from_str(&self.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Why a text is not a [`Requirement`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a requirement is a caret range within one major version, such as ^1.2")]
pub struct RequirementError;

impl FromStr for Requirement {
    type Err = RequirementError;

    fn from_str(text: &str) -> Result<Self, RequirementError> {
        let range = VersionReq::parse(text).map_err(|_| RequirementError)?;
        match range.comparators.as_slice() {
            [only] if only.op == Op::Caret => Ok(Self(range)),
            _ => Err(RequirementError),
        }
    }
}

/// What a service says of itself to whoever asks by `gameshelf.mesh.v1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The name that its callers know it by.
    pub name: String,
    /// The version that runs.
    pub version: Version,
    /// What it requires of others, by their names.
    pub requirements: Vec<(String, Requirement)>,
    /// The API packages that it serves, with the versions of their contracts.
    pub packages: Vec<(String, Version)>,
}

impl Description {
    /// A service that requires nothing.
    #[must_use]
    pub fn new(name: impl Into<String>, version: Version) -> Self {
        Self { name: name.into(), version, requirements: Vec::new(), packages: Vec::new() }
    }

    /// With a requirement of another service.
    #[must_use]
    pub fn requiring(mut self, name: impl Into<String>, requirement: Requirement) -> Self {
        self.requirements.push((name.into(), requirement));
        self
    }

    /// With an API package that is served.
    #[must_use]
    pub fn serving(mut self, package: impl Into<String>, version: Version) -> Self {
        self.packages.push((package.into(), version));
        self
    }
}

impl From<&Description> for v1::DescribeResponse {
    fn from(description: &Description) -> Self {
        let requirements = description.requirements.iter().map(|(service, requirement)| v1::Requirement {
            service: service.clone(),
            range: requirement.to_string(),
        });
        let packages = description
            .packages
            .iter()
            .map(|(name, version)| v1::ApiPackage { name: name.clone(), version: version.to_string() });
        Self {
            name: description.name.clone(),
            version: description.version.to_string(),
            requirements: requirements.collect(),
            packages: packages.collect(),
        }
    }
}

/// Why what a peer says of itself cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DescriptionError {
    /// A version is not a semantic one.
    #[error("{0:?} is not a semantic version")]
    Version(String),
    /// A range is not a caret range.
    #[error("{0:?} is not a caret range")]
    Requirement(String),
}

impl TryFrom<v1::DescribeResponse> for Description {
    type Error = DescriptionError;

    fn try_from(response: v1::DescribeResponse) -> Result<Self, DescriptionError> {
        let version = |text: &str| text.parse().map_err(|_| DescriptionError::Version(text.to_owned()));
        let requirement =
            |text: &str| text.parse().map_err(|_| DescriptionError::Requirement(text.to_owned()));
        let requirements = response.requirements.into_iter();
        let packages = response.packages.into_iter();
        Ok(Self {
            name: response.name,
            version: version(&response.version)?,
            requirements: requirements
                .map(|required| Ok((required.service, requirement(&required.range)?)))
                .collect::<Result<_, _>>()?,
            packages: packages
                .map(|package| Ok((package.name, version(&package.version)?)))
                .collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn requirement(text: &str) -> Requirement {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_is_met_by_what_is_newer_within_its_major_version() {
        for version in ["1.2.0", "1.2.7", "1.30.0"] {
            assert!(requirement("^1.2").is_met_by(&version.parse().unwrap()), "{version}");
        }
        for version in ["1.1.9", "2.0.0", "0.2.0", "1.3.0-rc.1"] {
            assert!(!requirement("^1.2").is_met_by(&version.parse().unwrap()), "{version}");
        }
        assert!(!requirement("^0.3").is_met_by(&Version::new(0, 4, 0)));
        assert_eq!(requirement("1.2"), requirement("^1.2"));
    }

    #[test]
    fn the_version_of_a_package_is_the_one_that_cargo_knows() {
        assert_eq!(of_package(env!("CARGO_PKG_VERSION")).to_string(), env!("CARGO_PKG_VERSION"));
        assert_eq!(of_package("1.2.3-rc.1").to_string(), "1.2.3-rc.1");
    }

    #[test]
    fn what_reaches_across_major_versions_is_no_requirement() {
        for text in ["", "*", ">=1.2", ">=1, <3", "~1.2", "=1.2.3", "1.*", "^1, ^2", "one"] {
            assert_eq!(text.parse::<Requirement>(), Err(RequirementError), "{text:?}");
        }
    }

    #[test]
    fn a_description_is_read_back() {
        let description = Description::new("tickets", "1.2.3-rc.1".parse().unwrap())
            .requiring("arbiter", requirement("^1.4"))
            .serving("tickets.v1", Version::new(1, 0, 3));
        assert_eq!(Description::try_from(v1::DescribeResponse::from(&description)), Ok(description));
    }

    #[test]
    fn what_a_peer_says_wrongly_is_named() {
        let wrong = v1::DescribeResponse { version: "1.2".to_owned(), ..Default::default() };
        assert_eq!(Description::try_from(wrong), Err(DescriptionError::Version("1.2".to_owned())));
    }

    proptest! {
        #[test]
        fn no_requirement_is_met_by_another_major_version(
            range in "\\^(0|[1-9][0-9]?)(\\.(0|[1-9][0-9]?)){0,2}", major in 0u64..120, minor in 0u64..120, patch in 0u64..120,
        ) {
            let required = requirement(&range);
            let stated: u64 = range[1..].split('.').next().unwrap().parse().unwrap();
            prop_assert!(major == stated || !required.is_met_by(&Version::new(major, minor, patch)));
        }

        #[test]
        fn any_text_is_judged_without_a_panic_and_read_back(text in "\\PC*") {
            if let Ok(read) = text.parse::<Requirement>() {
                prop_assert_eq!(read.to_string().parse::<Requirement>(), Ok(read.clone()));
                prop_assert_eq!(read.header(), read.to_string());
            }
        }
    }
}
