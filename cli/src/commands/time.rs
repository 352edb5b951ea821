//! Times and durations as a person writes them.

use std::str::FromStr;
use std::time::Duration;

use prost_types::Timestamp;

/// The units of a duration, with their milliseconds.
const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
/// The longest duration, a hundred years: longer ones are mistakes, and sums with them would have no place in a time.
const DURATION_MAX: Duration = Duration::from_hours(24 * 36_500);

/// Reads a duration such as 300ms, 90s, 15m, 12h or 7d.
///
/// # Errors
///
/// Any other text, and a duration of over a hundred years.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a number with a unit (ms, s, m, h or d), such as 15m".to_owned();
    let unit_at = text.find(|character: char| !character.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit_at);
    let (_, unit_ms) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    if number.is_empty() {
        return Err(wrong());
    }
    let ms = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*unit_ms));
    ms.map(Duration::from_millis)
        .filter(|duration| *duration <= DURATION_MAX)
        .ok_or_else(|| "must be at most 36500d".to_owned())
}

/// When something ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// At this time.
    At(Timestamp),
    /// So long after it was asked for.
    After(Duration),
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A time has other characters after its first digits than any unit.
        if let Ok(duration) = duration(text) {
            return Ok(Self::After(duration));
        }
        let wrong = "must be a time such as 2026-11-29T03:40:00Z, or a duration such as 7d";
        text.parse().map(Self::At).map_err(|_| wrong.to_owned())
    }
}

impl Until {
    /// The time, for something that is asked for at `unix_ms`.
    pub(super) fn at(self, unix_ms: u64) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::After(duration) => {
                let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
                let end_ms = unix_ms.saturating_add(duration_ms);
                let seconds = i64::try_from(end_ms / 1_000).unwrap_or(i64::MAX);
                // Less than a second's nanoseconds, so it fits.
                Timestamp { seconds, nanos: i32::try_from(end_ms % 1_000 * 1_000_000).unwrap_or(0) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit() {
        assert_eq!(duration("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(duration("15m"), Ok(Duration::from_mins(15)));
        assert_eq!(duration("7d"), Ok(Duration::from_hours(168)));
        for wrong in ["", "15", "m", "-1s", "1.5h", "15 m", "15w", "36501d", "99999999999999999999ms"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_end_is_a_time_or_a_duration_from_now() {
        let at = |text: &str| text.parse::<Until>().map(|until| until.at(1_700_000_000_250).to_string());
        assert_eq!(at("2026-11-29T03:40:00Z").as_deref(), Ok("2026-11-29T03:40:00Z"));
        assert_eq!(at("2026-11-29T03:40:00+01:00").as_deref(), Ok("2026-11-29T02:40:00Z"));
        assert_eq!(at("1d").as_deref(), Ok("2023-11-15T22:13:20.250Z"));
        for wrong in ["", "tomorrow", "2026-13-01T00:00:00Z", "7"] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }
}
