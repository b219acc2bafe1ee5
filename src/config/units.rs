//! Sizes and durations as the configuration writes them.
//!
//! A whole number and a unit, both needed: `64KiB`, `500ms`. Knows nothing of keys or places.

use std::time::Duration;

/// What a size may look like, for messages.
pub(crate) const SIZES: &str = "a whole number with a unit: B, KiB, MiB or GiB, e.g. 64KiB";

/// What a duration may look like, for messages.
pub(crate) const DURATIONS: &str = "a whole number with a unit: us, ms, s, m or h, e.g. 500ms";

const SIZE_UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

const DURATION_UNITS: [(&str, u64); 5] = [
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// Reads a size in bytes.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    parse(text, &SIZE_UNITS)
}

/// Reads a duration.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, &DURATION_UNITS).map(Duration::from_micros)
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

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*scale)
}

fn format(value: u64, units: &[(&str, u64)]) -> String {
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
            "1MB",
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
            "1d",
            "1S",
            "1m30s",
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
