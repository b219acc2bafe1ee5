//! Sizes and durations as the configuration writes them.
//!
//! A whole number and a unit, both required: `64KiB`, `500ms`. A duration may have several of them,
//! the largest unit first: `1h30m`. Knows nothing of keys or places.

use std::time::Duration;

/// The allowed sizes, for messages.
pub(crate) const SIZES: &str =
    "a whole number with a unit: B, KiB, MiB, GiB (of 1024) or KB, MB, GB (of 1000), e.g. 64KiB";

/// The allowed durations, for messages.
pub(crate) const DURATIONS: &str =
    "a whole number with a unit: us, ms, s, m, h or d, e.g. 500ms or 1h30m";

/// A unit's name, and how many of the smallest unit it is.
type Unit = (&'static str, u64);

/// The units in which sizes are written.
const SIZE_UNITS: [Unit; 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// Units of sizes that are only read.
const DECIMAL_UNITS: [Unit; 4] = [
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("kB", 1_000),
];

/// The units of durations, the largest first.
const DURATION_UNITS: [Unit; 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// Reads a size; the result is in bytes.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit, rest) = first(text)?;
    let mut units = SIZE_UNITS.iter().chain(&DECIMAL_UNITS);
    let (_, scale) = units.find(|(name, _)| *name == unit)?;
    number.checked_mul(*scale).filter(|_| rest.is_empty())
}

/// Reads a duration; `None` when it is not well formed.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (mut rest, mut micros) = (text, 0_u64);
    // Each unit may occur once, after the larger ones.
    let mut units = DURATION_UNITS.iter();
    loop {
        let (number, unit, more) = first(rest)?;
        let (_, scale) = units.find(|(name, _)| *name == unit)?;
        micros = micros.checked_add(number.checked_mul(*scale)?)?;
        if more.is_empty() {
            return Some(Duration::from_micros(micros));
        }
        rest = more.strip_prefix(' ').unwrap_or(more);
    }
}

/// Writes a size so that [`parse_size`] reads the same.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    format(bytes, &SIZE_UNITS)
}

/// Writes a duration, in whole microseconds, so that [`parse_duration`] reads the same.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    if micros == 0 {
        return "0s".to_owned();
    }
    format(micros, &DURATION_UNITS)
}

/// The number and the unit at the beginning of a text, and the rest.
fn first(text: &str) -> Option<(u64, &str, &str)> {
    let (number, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    let end = rest.find(|c: char| !c.is_ascii_alphabetic());
    let (unit, rest) = rest.split_at(end.unwrap_or(rest.len()));
    Some((number.parse().ok()?, unit, rest))
}

fn format(value: u64, units: &[Unit]) -> String {
    units
        .iter()
        .find(|(_, scale)| value != 0 && value.is_multiple_of(*scale))
        .map_or_else(
            || format!("{value}B"),
            |(unit, scale)| format!("{}{unit}", value / scale),
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_needed() {
        for bad in [
            "",
            "1",
            "MiB",
            "1.5MiB",
            "-1B",
            "1kb",
            "1 000B",
            "1MiB1KiB",
            "1MB ",
            "99999999999GiB",
        ] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
        for bad in [
            "",
            "5",
            "s",
            "1.5s",
            "-1s",
            "1S",
            "1D",
            "30s1m",
            "1m1m",
            "1h30",
            "1h 30m ",
            "1h,30m",
            "9999999999999h",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
        assert_eq!(parse_size("64KiB"), Some(65536));
        assert_eq!(parse_size("1 MiB"), Some(1 << 20));
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("10m"), Some(Duration::from_secs(600)));
        assert_eq!(format_size(0), "0B");
    }

    #[test]
    fn decimal_sizes_days_and_sums_are_read() {
        assert_eq!(parse_size("16MB"), Some(16_000_000));
        assert_eq!(parse_size("2GB"), Some(2_000_000_000));
        assert_eq!(parse_size("5KB"), parse_size("5kB"));
        let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));
        assert_eq!(parse_duration("1d"), hours(24));
        assert_eq!(parse_duration("366d"), hours(8784));
        assert_eq!(parse_duration("1d12h"), hours(36));
        let minutes = Some(Duration::from_secs(90 * 60));
        assert_eq!(parse_duration("1h30m"), minutes);
        assert_eq!(parse_duration("1h 30m"), minutes);
        assert_eq!(format_duration(Duration::from_secs(8784 * 3600)), "366d");
    }

    proptest! {
        #[test]
        fn sizes_round_trip(bytes: u64) {
            prop_assert_eq!(parse_size(&format_size(bytes)), Some(bytes));
        }

        #[test]
        fn durations_round_trip(micros: u64) {
            let duration = Duration::from_micros(micros);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text: String) {
            let _ = (parse_size(&text), parse_duration(&text));
        }
    }
}
