//! Cuts a head or an end so that a peer can take it: the parts that may be cut, their order, the
//! mark in their place.
//!
//! Each wire knows its own sizes (`wire/grpc/limit.rs`, `wire/ttheader/end/carried.rs`).

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

/// A part of a head or an end that can be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The exact forms, which only ripcord reads.
    Exact,
    /// Headers: those that the ones before them leave no room for.
    Headers,
    /// Trailers, in the same order.
    Trailers,
    /// The details of the status. Details that contradict the status, or are none, are cut whatever
    /// their size.
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
    pub const ORDER: [Self; 7] = [
        Self::Exact,
        Self::Headers,
        Self::Trailers,
        Self::Details,
        Self::Extra,
        Self::Path,
        Self::Text,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Headers => "headers",
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

/// Begins the list of names in the written form of a [`Cut`].
const NAMES: &str = "names=";

/// The most bytes of the names.
const MAX_NAMES: usize = 256;

/// Stands for the names that the list has no room for.
const MORE: &str = "...";

/// The parts that this hop, or one before it, has cut, and the names of the headers and trailers
/// among them. Of a head, also the names of entries that lost their exact forms.
///
/// Written as the parts with commas between, in the order of cutting, and then the names:
/// `exact,trailers,names=x-a;x-b`. A peer that does not know names skips them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    parts: u8,
    names: Option<Box<str>>,
}

impl Cut {
    /// The most bytes of the written form.
    pub const MAX_LEN: usize = 48 + NAMES.len() + MAX_NAMES;

    /// Reads the written form. Unknown parts are skipped.
    #[must_use]
    pub fn parse(mark: &str) -> Self {
        let mut out = Self::default();
        for part in Part::ORDER {
            if mark.split(',').any(|name| name == part.name()) {
                out.insert(part);
            }
        }
        let names = mark.split(',').find_map(|said| said.strip_prefix(NAMES));
        for name in names.iter().flat_map(|names| names.split(';')) {
            out.insert_name(name.as_bytes());
        }
        out
    }

    /// Adds a part.
    pub const fn insert(&mut self, part: Part) {
        self.parts |= part.bit();
    }

    /// Adds the name of a header, a trailer or an exact entry that was cut. Characters that the
    /// written form does not allow become `?`. What the list has no room for is shown as `...` at
    /// its end.
    pub fn insert_name(&mut self, name: &[u8]) {
        let allowed = |b: &u8| b.is_ascii_graphic() && !matches!(b, b',' | b';' | b'=');
        let shown = |b: &u8| char::from(if allowed(b) { *b } else { b'?' });
        let mut all = self.names.take().map(String::from).unwrap_or_default();
        let full = all == MORE || all.ends_with(";...");
        let room = MAX_NAMES - MORE.len() - 1;
        let fits = all.len() + 1 + name.len() <= room;
        let name: String = match fits {
            true => name.iter().map(shown).collect(),
            false => MORE.to_owned(),
        };
        if !name.is_empty() && !full && !all.split(';').any(|known| known == name) {
            if !all.is_empty() {
                all.push(';');
            }
            all.push_str(&name);
        }
        self.names = (!all.is_empty()).then(|| all.into());
    }

    /// The parts without the names.
    #[must_use]
    pub const fn unnamed(&self) -> Self {
        Self {
            parts: self.parts,
            names: None,
        }
    }

    /// Removes a part.
    pub const fn remove(&mut self, part: Part) {
        self.parts &= !part.bit();
    }

    /// Whether the part was cut.
    #[must_use]
    pub const fn contains(&self, part: Part) -> bool {
        self.parts & part.bit() != 0
    }

    /// The parts and names of both.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.parts |= other.parts;
        if let Some(names) = &other.names {
            for name in names.split(';') {
                self.insert_name(name.as_bytes());
            }
        }
        self
    }

    /// Whether nothing was cut.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.parts == 0
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for part in Part::ORDER.into_iter().filter(|part| self.contains(*part)) {
            write!(f, "{comma}{}", part.name())?;
            comma = ",";
        }
        if let Some(names) = &self.names {
            write!(f, "{comma}{NAMES}{names}")?;
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
        assert_eq!(
            cut.to_string(),
            "exact,headers,trailers,details,extra,path,text"
        );
        cut.remove(Part::Path);
        assert_eq!(cut.to_string(), "exact,headers,trailers,details,extra,text");
        assert_eq!(Cut::parse("text,what,,details").to_string(), "details,text");
    }

    #[test]
    fn names_are_listed_once_and_bounded() {
        let mut cut = Cut::default();
        cut.insert(Part::Trailers);
        for name in ["x-a", "X,b;c=d", "x-a", ""] {
            cut.insert_name(name.as_bytes());
        }
        assert_eq!(cut.to_string(), "trailers,names=x-a;X?b?c?d");
        assert_eq!(Cut::parse(&cut.to_string()), cut);
        for i in 0..1000 {
            cut.insert_name(format!("name-{i}").as_bytes());
        }
        let written = cut.to_string();
        assert!(written.ends_with(";..."), "{written}");
        assert!(written.len() <= Cut::MAX_LEN);
        assert_eq!(Cut::parse(&written), cut);
        assert_eq!(cut.clone().and(&cut), cut);
        let mut long = Cut::default();
        long.insert_name(&[b'x'; 1000]);
        assert_eq!(long.to_string(), "names=...");
    }
}
