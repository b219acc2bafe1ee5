//! A cancel: who canceled, why, and by which path.
//!
//! The cause and its text travel unchanged along the chain. Each hop appends its own name to the
//! path. The class is each receiver's own view (Kitex `ttstream/exception.go`).

use std::fmt;

/// Kitex's ttstream codes that this crate names (`ttstream/exception.go`, v0.16.3).
pub mod code {
    /// The Trailer carries an exception.
    pub const APPLICATION: i32 = 12001;
    /// A Header frame came that was not expected, for example a second one.
    pub const UNEXPECTED_HEADER: i32 = 12002;
    /// The fields of a business error cannot be read.
    pub const ILLEGAL_BIZ_ERR: i32 = 12003;
    /// A frame cannot be read.
    pub const ILLEGAL_FRAME: i32 = 12004;
    /// An illegal operation, for example a send after close-send.
    pub const ILLEGAL_OPERATION: i32 = 12005;
    /// A transport is closing.
    pub const TRANSPORT_CLOSING: i32 = 12006;
    /// The application canceled its context.
    pub const BIZ_CANCELED: i32 = 12007;
    /// The application canceled its context and gave a cause.
    pub const BIZ_CANCELED_WITH_CAUSE: i32 = 12008;
    /// The class of a cancel that came from the callee (Kitex: downstream).
    pub const BY_CALLEE: i32 = 12009;
    /// The class of a cancel that came from the caller (Kitex: upstream).
    pub const BY_CALLER: i32 = 12010;
    /// The class of a cancel that came from another protocol.
    pub const FOREIGN: i32 = 12011;
    /// The handler returned while the stream was open.
    pub const HANDLER_RETURNED: i32 = 12012;
    /// A connection was lost.
    pub const CONNECTION_CLOSED: i32 = 12013;
    /// No message came in time (Kitex: Recv timeout).
    pub const RECV_TIMEOUT: i32 = 12014;
    /// The deadline of the whole stream passed.
    pub const STREAM_TIMEOUT: i32 = 12015;
}

/// The name that Kitex writes for an originator that speaks another protocol and has no name.
pub const NON_TTSTREAM: &str = "non-ttstream path";

/// The most names that a path holds. A longer path is cut in the middle, and a mark stands there.
pub const MAX_PATH_NAMES: usize = 64;

/// The longest name that is kept, in bytes.
const MAX_NAME: usize = 128;

/// The mark in place of names that were cut.
const CUT: &str = "...";

/// The originator's code and text. The whole chain keeps them unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// A ttstream code (12007, 12015, ...), or any other number that a proxy chose.
    pub code: i32,
    /// The originator's text; may be empty.
    pub text: String,
}

/// Where this hop saw the cancel come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The callee: 12009.
    ByCallee,
    /// The caller: 12010.
    ByCaller,
    /// A peer of another protocol than TTHeader: 12011.
    Foreign,
}

impl Class {
    /// The Kitex code of the class.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::ByCallee => code::BY_CALLEE,
            Self::ByCaller => code::BY_CALLER,
            Self::Foreign => code::FOREIGN,
        }
    }
}

/// How a cancel was noticed: a word, and the number that came with it, if one did.
///
/// The words for a wire's own frames are in that wire's `end.rs`. The words for every wire are
/// here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CancelSignal {
    name: &'static str,
    number: Option<u32>,
}

impl CancelSignal {
    /// The peer's connection was lost.
    pub const CONNECTION_LOST: Self = Self::named("connection_lost");
    /// The callee finished the stream with a status that means a cancel.
    pub const STATUS: Self = Self::named("status");
    /// No peer canceled: this hop cancels on its own account.
    pub const OWN: Self = Self::named("own");

    /// A signal without a number. `name` is in lower case, since it is a value in logs and traces.
    #[must_use]
    pub const fn named(name: &'static str) -> Self {
        Self { name, number: None }
    }

    /// A signal with the number that the peer sent.
    #[must_use]
    pub const fn numbered(name: &'static str, number: u32) -> Self {
        Self {
            name,
            number: Some(number),
        }
    }

    /// Its name in logs, traces and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The number that the peer sent.
    #[must_use]
    pub const fn number(self) -> Option<u32> {
        self.number
    }
}

/// A cancel of one stream, with its cause, path and class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// The originator's code and text; forwarded unchanged.
    pub cause: Cause,
    /// The originator and the hops that passed the cancel on.
    pub path: Path,
    /// Where this hop saw it come from.
    pub class: Class,
    /// By what this hop noticed it.
    pub signal: CancelSignal,
    /// The gRPC status that came with it: with [`CancelSignal::STATUS`], or carried by other hops.
    pub status: Option<Box<crate::stream::Status>>,
}

/// The names of the nodes that a cancel passed, the originator first.
///
/// A name has no comma and no control character. An empty name stands for a service without a name,
/// as in Kitex's `ttscp`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path {
    names: Vec<String>,
}

impl Path {
    /// An empty path: the sender gave none.
    #[must_use]
    pub const fn new() -> Self {
        Self { names: Vec::new() }
    }

    /// A path that begins at `name`.
    #[must_use]
    pub fn from_origin(name: &str) -> Self {
        let mut path = Self::new();
        path.append(name);
        path
    }

    /// Reads the comma-separated wire form (`ttscp`). An empty string is an empty path. Empty
    /// elements are kept: they are services without a name. It never fails: names are cleaned, and
    /// a path over [`MAX_PATH_NAMES`] is cut as [`Path::append`] cuts it.
    #[must_use]
    pub fn parse(wire: &str) -> Self {
        let mut path = Self::new();
        if !wire.is_empty() {
            for name in wire.split(',') {
                path.append(name);
            }
        }
        path
    }

    /// Appends a node's name. A full path keeps the originator and the newest names; `...` in
    /// second place marks the cut.
    pub fn append(&mut self, name: &str) {
        if self.names.len() >= MAX_PATH_NAMES {
            if self.names.get(1).is_some_and(|n| n == CUT) {
                self.names.remove(2);
            } else {
                self.names.drain(1..3);
                self.names.insert(1, CUT.to_owned());
            }
        }
        self.names.push(clean(name));
    }

    /// The path within about `max` bytes: the originator, `...`, and as many of the newest names as
    /// fit. Unchanged when all names fit.
    #[must_use]
    pub fn shortened(&self, max: usize) -> Self {
        let Some((origin, rest)) = self.names.split_first() else {
            return Self::new();
        };
        let mut left = max.saturating_sub(origin.len());
        let fits = |name: &&String| {
            let fits = left > name.len();
            left = left.saturating_sub(name.len() + 1);
            fits
        };
        let newest: Vec<_> = rest.iter().rev().take_while(fits).cloned().collect();
        if newest.len() == rest.len() {
            return self.clone();
        }
        let mut names = vec![origin.clone(), CUT.to_owned()];
        names.extend(newest.into_iter().rev().filter(|name| name != CUT));
        Self { names }
    }

    /// The names, the originator first.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The originator's name; `None` when the path is empty.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        self.names.first().map(String::as_str)
    }

    /// Whether the path has no names: nothing is known of the way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The wire form: the names joined by commas.
    #[must_use]
    pub fn to_wire(&self) -> String {
        self.names.join(",")
    }
}

/// As Kitex prints it: `A -> B -> C`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.names.iter().enumerate() {
            if i > 0 {
                f.write_str(" -> ")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

fn clean(name: &str) -> String {
    let cleaned = name.chars().filter(|c| *c != ',' && !c.is_control());
    let mut out = String::with_capacity(name.len().min(MAX_NAME));
    for c in cleaned {
        if out.len() + c.len_utf8() > MAX_NAME {
            break;
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_its_origin_when_it_is_cut() {
        let mut path = Path::from_origin("origin");
        for i in 0..200 {
            path.append(&format!("n{i}"));
        }
        assert_eq!(path.names().len(), MAX_PATH_NAMES);
        assert_eq!(path.origin(), Some("origin"));
        assert_eq!(path.names()[1], CUT);
        assert_eq!(path.names()[2], "n138");
        assert_eq!(path.names()[MAX_PATH_NAMES - 1], "n199");
    }

    #[test]
    fn names_are_cleaned_and_empty_ones_kept() {
        let path = Path::parse("a,,b\u{7}c");
        assert_eq!(path.names(), ["a", "", "bc"]);
        assert_eq!(path.to_wire(), "a,,bc");
        assert_eq!(path.to_string(), "a ->  -> bc");
        assert!(Path::parse("").is_empty());
        assert_eq!(Path::from_origin("x,y").to_wire(), "xy");
        assert_eq!(
            Path::from_origin(&"é".repeat(100)).names()[0].len(),
            MAX_NAME
        );
    }
}
