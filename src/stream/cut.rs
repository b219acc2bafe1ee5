//! Cuts an end so that a peer can take it: the parts that may be cut, their order, the mark in
//! their place.
//!
//! Each wire knows its own sizes (`wire/grpc/end/render.rs`, `wire/ttheader/end/carried.rs`).

use std::borrow::Cow;
use std::fmt;

/// The mark at the place where a text was cut.
pub const MARK: &str = " ...[cut]";

/// A text within `max` bytes, mark included: unchanged, or cut at its end.
#[must_use]
pub fn shorten(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    let mut end = max.saturating_sub(MARK.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Owned(format!("{}{MARK}", text.get(..end).unwrap_or_default()))
}

/// A part of an end that can be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The exact forms, which only ripcord reads.
    Exact,
    /// Trailers, beginning with the last one.
    Trailers,
    /// The details of the status.
    Details,
    /// The extra fields of a business error.
    Extra,
    /// The names in the middle of a canceled path.
    Path,
    /// The end of the text. ` ...[cut]` stands there instead.
    Text,
}

impl Part {
    /// The order of cutting: the part that is missed least comes first.
    pub const ORDER: [Self; 6] = [
        Self::Exact,
        Self::Trailers,
        Self::Details,
        Self::Extra,
        Self::Path,
        Self::Text,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Trailers => "trailers",
            Self::Details => "details",
            Self::Extra => "extra",
            Self::Path => "path",
            Self::Text => "text",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The parts that this hop, or one before it, has cut. Written as names with commas between, in the
/// order of cutting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut(u8);

impl Cut {
    /// Reads the written form; unknown names are skipped.
    #[must_use]
    pub fn parse(mark: &str) -> Self {
        let mut out = Self::default();
        for part in Part::ORDER {
            if mark.split(',').any(|name| name == part.name()) {
                out.insert(part);
            }
        }
        out
    }

    /// Adds a part.
    pub const fn insert(&mut self, part: Part) {
        self.0 |= part.bit();
    }

    /// Removes a part.
    pub const fn remove(&mut self, part: Part) {
        self.0 &= !part.bit();
    }

    /// Whether the part was cut.
    #[must_use]
    pub const fn contains(self, part: Part) -> bool {
        self.0 & part.bit() != 0
    }

    /// The parts of both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether nothing was cut.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for part in Part::ORDER.into_iter().filter(|part| self.contains(*part)) {
            write!(f, "{comma}{}", part.name())?;
            comma = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(shorten("as it is", 8), "as it is");
        assert_eq!(shorten(&"é".repeat(10), 20), "é".repeat(10));
        assert_eq!(
            shorten(&"é".repeat(10), 19),
            format!("{}{MARK}", "é".repeat(5))
        );
        assert_eq!(
            shorten(&"é".repeat(10), 18),
            format!("{}{MARK}", "é".repeat(4))
        );
    }

    #[test]
    fn a_mark_reads_as_it_was_written() {
        let mut cut = Cut::default();
        assert!(cut.is_empty());
        for part in Part::ORDER.into_iter().rev() {
            cut.insert(part);
            assert!(cut.contains(part));
            assert_eq!(Cut::parse(&cut.to_string()), cut);
        }
        assert_eq!(cut.to_string(), "exact,trailers,details,extra,path,text");
        cut.remove(Part::Path);
        assert_eq!(cut.to_string(), "exact,trailers,details,extra,text");
        assert_eq!(Cut::parse("text,what,,details").to_string(), "details,text");
    }
}
