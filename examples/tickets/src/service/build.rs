//! The builds that there are of the service. One program holds all three, where a real service would be released three times.

use clap::ValueEnum;
use mesh::version::Version;

/// The highest priority.
pub(super) const PRIORITY_MAX: u32 = 9;

/// A build of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Build {
    /// The first one.
    #[value(name = "1.0.0")]
    First,
    /// Knows how urgent a ticket is. The first one goes on beside it, on the same database.
    #[value(name = "1.0.1")]
    Urgent,
    /// Counts urgency the other way round: who was made for 1.0 would take its answers wrongly.
    #[value(name = "2.0.0")]
    Reversed,
}

impl Build {
    /// Its version.
    #[must_use]
    pub fn version(self) -> Version {
        match self {
            Self::First => Version::new(1, 0, 0),
            Self::Urgent => Version::new(1, 0, 1),
            Self::Reversed => Version::new(2, 0, 0),
        }
    }

    /// Whether it has the column of the priority.
    pub(super) fn knows_priority(self) -> bool {
        self != Self::First
    }

    /// A priority from the wire as it is kept, or one that is kept as it is told: the same way round in both directions.
    pub(super) fn turned(self, priority: u32) -> u32 {
        match self {
            Self::Reversed => PRIORITY_MAX.saturating_sub(priority),
            Self::First | Self::Urgent => priority,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_next_major_version_means_something_else() {
        assert_eq!([Build::First, Build::Urgent, Build::Reversed].map(|build| build.turned(2)), [2, 2, 7]);
        assert_eq!(Build::Reversed.turned(Build::Reversed.turned(2)), 2);
        let names: Vec<_> = Build::value_variants().iter().map(|build| build.version().to_string()).collect();
        assert_eq!(names, ["1.0.0", "1.0.1", "2.0.0"]);
    }
}
