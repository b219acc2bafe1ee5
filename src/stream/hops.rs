//! The names by which a stream came. They serve a cancel that brings no path of its own.

use std::borrow::Cow;

use crate::stream::Path;

/// The most bytes of the wire form. Beyond it, the middle is cut.
const MAX_BYTES: usize = 512;

/// A wire form up to this length cannot have too long names, nor too many.
const SHORT: usize = 60;

/// Room for the name of the next hop.
const ROOM: usize = 32;

/// The caller's name, then the name of each hop. It is the path of the caller's cancel when nothing
/// better is known. Each hop writes it, and it is believed as far as `source-service` is.
///
/// It is kept in the wire form of a [`Path`], since nearly every stream only passes it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hops(String);

impl Hops {
    /// A stream that came from its caller directly.
    #[must_use]
    pub fn from_origin(name: &str) -> Self {
        let name = cleaned(name, false);
        let mut wire = String::with_capacity(name.len() + ROOM);
        wire.push_str(&name);
        Self(wire)
    }

    /// The value that the hop before sent, cleaned and bounded; `None` if it is empty.
    #[must_use]
    pub fn parse(wire: &str) -> Option<Self> {
        if wire.is_empty() {
            return None;
        }
        let mut hops = Self(cleaned(wire, true).into_owned());
        hops.bound();
        Some(hops)
    }

    /// Appends the name of a hop that passes the stream on.
    pub fn append(&mut self, node: &str) {
        self.0.push(',');
        self.0.push_str(&cleaned(node, false));
        self.bound();
    }

    /// The names as a path.
    #[must_use]
    pub fn path(&self) -> Path {
        Path::parse(&self.0)
    }

    /// The names joined by commas, the caller first.
    #[must_use]
    pub fn as_wire(&self) -> &str {
        &self.0
    }

    fn bound(&mut self) {
        if self.0.len() > MAX_BYTES {
            self.0 = self.path().shortened(MAX_BYTES).to_wire();
        }
    }
}

/// A name, or a list of them, as a path holds it. Nearly all names are clean already.
fn cleaned(names: &str, list: bool) -> Cow<'_, str> {
    let plain = |b: &u8| (b' '..=b'~').contains(b) && (*b != b',' || list);
    if names.len() <= SHORT && names.as_bytes().iter().all(plain) {
        return Cow::Borrowed(names);
    }
    let path = if list {
        Path::parse(names)
    } else {
        Path::from_origin(names)
    };
    Cow::Owned(path.to_wire())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_and_stay_small() {
        let mut hops = Hops::from_origin("a,\u{1}b");
        hops.append("hop,1");
        assert_eq!(hops.as_wire(), "ab,hop1");
        assert_eq!(hops.path().names(), ["ab", "hop1"]);
        for i in 0..500 {
            hops.append(&format!("node-{i}"));
            assert!(hops.as_wire().len() <= MAX_BYTES + 8);
        }
        let path = hops.path();
        assert_eq!(path.names()[..2], ["ab", "..."]);
        assert_eq!(path.names().last().unwrap(), "node-499");
        let long = vec!["x".repeat(128); 64].join(",");
        assert!(Hops::parse(&long).unwrap().as_wire().len() <= MAX_BYTES + 8);
    }

    #[test]
    fn a_caller_without_a_name_keeps_its_place() {
        let mut hops = Hops::from_origin("");
        hops.append("a");
        assert_eq!(hops.path().names(), ["", "a"]);
        assert_eq!(Hops::parse(hops.as_wire()), Some(hops));
        assert_eq!(Hops::parse(""), None);
    }
}
