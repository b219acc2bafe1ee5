//! Reads typed values out of a tree of nodes, noting every fault and going on.
//!
//! Owns the wording that all keys share. A reader returns `None` after it noted a fault; the
//! caller then goes on with a default, so that one pass finds everything. Knows no key.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::fault::{Fault, Place, Severity, quote, shown, suggestion};
use super::units;
use super::yaml::{Kind, Node, Pair};

/// A value and its path from the root.
pub(crate) struct NodeRef<'n> {
    pub(crate) node: &'n Node,
    pub(crate) path: String,
}

impl NodeRef<'_> {
    /// Where the value of a key is, or else the map itself.
    pub(crate) fn place_of(&self, key: &str) -> Place {
        let Kind::Map(pairs) = &self.node.kind else {
            return self.node.place;
        };
        let pair = pairs.iter().find(|p| p.key == key);
        pair.map_or(self.node.place, |p| p.value.place)
    }
}

/// A map with known keys.
pub(crate) struct Section<'n> {
    pub(crate) place: Place,
    path: String,
    pairs: &'n [Pair],
    renamed: &'static [Renamed],
}

/// A key that has a new name; a file with the old one still loads.
#[derive(Debug)]
pub(crate) struct Renamed {
    pub(crate) old: &'static str,
    pub(crate) new: &'static str,
}

/// A key of a map whose keys are names.
pub(crate) struct Named<'n> {
    pub(crate) name: &'n str,
    pub(crate) place: Place,
    pub(crate) value: NodeRef<'n>,
}

impl<'n> Section<'n> {
    /// The value of a key, under its old name too.
    pub(crate) fn get(&self, key: &str) -> Option<NodeRef<'n>> {
        let old = self.renamed.iter().find(|r| r.new == key).map(|r| r.old);
        let named = |p: &&Pair| p.key == key || Some(p.key.as_str()) == old;
        let pair = self.pairs.iter().find(named)?;
        Some(NodeRef {
            node: &pair.value,
            path: join(&self.path, &pair.key),
        })
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        shown(key)
    } else {
        format!("{path}.{}", shown(key))
    }
}

/// The faults met so far.
#[derive(Default)]
pub(crate) struct Walk {
    pub(crate) faults: Vec<Fault>,
}

impl Walk {
    /// Notes an error.
    pub(crate) fn error(&mut self, place: Place, path: &str, message: impl Into<String>) {
        self.note(place, path, Severity::Error, message.into());
    }

    /// Notes a warning.
    pub(crate) fn warn(&mut self, place: Place, path: &str, message: impl Into<String>) {
        self.note(place, path, Severity::Warning, message.into());
    }

    /// Whether no error was noted so far.
    pub(crate) fn well(&self) -> bool {
        self.faults.iter().all(|f| f.severity == Severity::Warning)
    }

    fn note(&mut self, place: Place, path: &str, severity: Severity, message: String) {
        self.faults.push(Fault {
            place,
            path: path.to_owned(),
            severity,
            message,
        });
    }

    fn refuse<T>(&mut self, at: &NodeRef<'_>, message: String) -> Option<T> {
        self.error(at.node.place, &at.path, message);
        None
    }

    /// A map with these keys and no other.
    pub(crate) fn section<'n>(&mut self, at: &NodeRef<'n>, keys: &[&str]) -> Option<Section<'n>> {
        self.section_renamed(at, keys, &[])
    }

    /// The same; some of the keys had other names before.
    pub(crate) fn section_renamed<'n>(
        &mut self,
        at: &NodeRef<'n>,
        keys: &[&str],
        renamed: &'static [Renamed],
    ) -> Option<Section<'n>> {
        let Kind::Map(pairs) = &at.node.kind else {
            let allowed = keys.join(", ");
            let found = at.node.name();
            return self.refuse(
                at,
                format!("a map is needed, with: {allowed}; found {found}"),
            );
        };
        for pair in pairs {
            let path = join(&at.path, &pair.key);
            if let Some(renamed) = renamed.iter().find(|r| r.old == pair.key) {
                self.old_key(pair, &path, pairs, renamed);
            } else if !keys.contains(&pair.key.as_str()) {
                self.error(pair.place, &path, unknown("key", &pair.key, keys));
            }
        }
        Some(Section {
            place: at.node.place,
            path: at.path.clone(),
            pairs,
            renamed,
        })
    }

    fn old_key(&mut self, pair: &Pair, path: &str, all: &[Pair], renamed: &Renamed) {
        let Renamed { old, new } = renamed;
        match all.iter().find(|p| p.key == *new) {
            Some(both) => {
                let Place { line, column } = both.place;
                let message = format!(
                    "{old} is the old name of {new}, which is at {line}:{column}; allowed: only {new}"
                );
                self.error(pair.place, path, message);
            }
            None => {
                let message = format!("{old} is now {new}; write the new name");
                self.warn(pair.place, path, message);
            }
        }
    }

    /// A map whose keys are names.
    pub(crate) fn names<'n>(&mut self, at: &NodeRef<'n>) -> Option<Vec<Named<'n>>> {
        let Kind::Map(pairs) = &at.node.kind else {
            let found = at.node.name();
            return self.refuse(at, format!("a map of names is needed; found {found}"));
        };
        let named = pairs.iter().map(|pair| Named {
            name: &pair.key,
            place: pair.place,
            value: NodeRef {
                node: &pair.value,
                path: join(&at.path, &pair.key),
            },
        });
        Some(named.collect())
    }

    /// A list of at least one.
    pub(crate) fn list<'n>(&mut self, at: &NodeRef<'n>) -> Option<Vec<NodeRef<'n>>> {
        let Kind::List(items) = &at.node.kind else {
            let found = at.node.name();
            return self.refuse(at, format!("a list is needed; found {found}"));
        };
        if items.is_empty() {
            return self.refuse(at, "empty; needed: at least one".to_owned());
        }
        let listed = items.iter().enumerate().map(|(i, node)| NodeRef {
            node,
            path: format!("{}[{i}]", at.path),
        });
        Some(listed.collect())
    }

    /// A key that must be there; `what` says what it may hold.
    pub(crate) fn required<'n, T: Default>(
        &mut self,
        section: &Section<'n>,
        key: &str,
        what: &str,
        read: impl FnOnce(&mut Self, &NodeRef<'n>) -> Option<T>,
    ) -> T {
        match section.get(key) {
            Some(at) => read(self, &at).unwrap_or_default(),
            None => {
                let path = join(&section.path, key);
                self.error(section.place, &path, format!("missing; needed: {what}"));
                T::default()
            }
        }
    }

    /// A key that may be left out.
    pub(crate) fn optional<'n, T>(
        &mut self,
        section: &Section<'n>,
        key: &str,
        default: T,
        read: impl FnOnce(&mut Self, &NodeRef<'n>) -> Option<T>,
    ) -> T {
        let Some(at) = section.get(key) else {
            return default;
        };
        read(self, &at).unwrap_or(default)
    }

    /// Text; `what` says which.
    pub(crate) fn text<'n>(&mut self, at: &NodeRef<'n>, what: &str) -> Option<&'n str> {
        match &at.node.kind {
            Kind::Scalar { text, .. } if !at.node.is_null() => Some(text),
            Kind::Scalar { .. } | Kind::List(_) | Kind::Map(_) => {
                let found = at.node.name();
                self.refuse(at, format!("{what} is needed; found {found}"))
            }
        }
    }

    /// Text of 1 to `max` bytes without control characters.
    pub(crate) fn label(&mut self, at: &NodeRef<'_>, max: usize) -> Option<String> {
        let text = self.text(at, "text")?;
        if text.is_empty() || text.len() > max || text.chars().any(char::is_control) {
            let found = quote(text);
            let message =
                format!("bad text {found}; allowed: 1 to {max} bytes without control characters");
            return self.refuse(at, message);
        }
        Some(text.to_owned())
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        at: &NodeRef<'_>,
        what: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let text = self.text(at, what)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let allowed: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.refuse(at, unknown(what, text, &allowed))
    }

    /// `on` or `off`.
    pub(crate) fn switch(&mut self, at: &NodeRef<'_>) -> Option<bool> {
        let words = [
            ("on", true),
            ("off", false),
            ("true", true),
            ("false", false),
        ];
        self.choice(at, "switch", &words)
    }

    /// Whether the value is the word `off`.
    pub(crate) fn is_off(&self, at: &NodeRef<'_>) -> bool {
        self.is(at, "off")
    }

    /// Whether the value is that word.
    pub(crate) fn is(&self, at: &NodeRef<'_>, word: &str) -> bool {
        matches!(&at.node.kind, Kind::Scalar { text, .. } if text == word)
    }

    /// A whole number.
    pub(crate) fn count(
        &mut self,
        at: &NodeRef<'_>,
        allowed: RangeInclusive<usize>,
    ) -> Option<usize> {
        let text = self.text(at, "a number")?;
        match text.parse() {
            Ok(number) if allowed.contains(&number) => Some(number),
            Ok(_) | Err(_) => {
                let (from, to) = (allowed.start(), allowed.end());
                let message = format!("bad number {}; allowed: {from} to {to}", quote(text));
                self.refuse(at, message)
            }
        }
    }

    /// A size in bytes.
    pub(crate) fn size(
        &mut self,
        at: &NodeRef<'_>,
        allowed: RangeInclusive<usize>,
    ) -> Option<usize> {
        let text = self.text(at, "a size")?;
        let Some(size) = units::parse_size(text).and_then(|s| usize::try_from(s).ok()) else {
            let message = format!("bad size {}; allowed: {}", quote(text), units::SIZES);
            return self.refuse(at, message);
        };
        if !allowed.contains(&size) {
            let shown = |bytes: usize| units::format_size(bytes as u64);
            let (from, to) = (shown(*allowed.start()), shown(*allowed.end()));
            return self.refuse(
                at,
                format!("{text} is out of range; allowed: {from} to {to}"),
            );
        }
        Some(size)
    }

    /// A duration.
    pub(crate) fn duration(
        &mut self,
        at: &NodeRef<'_>,
        allowed: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let text = self.text(at, "a duration")?;
        self.duration_of(at, text, &allowed, "")
    }

    /// A duration, or `off`.
    pub(crate) fn duration_or_off(
        &mut self,
        at: &NodeRef<'_>,
        allowed: RangeInclusive<Duration>,
    ) -> Option<Option<Duration>> {
        let text = self.text(at, "a duration or off")?;
        if text == "off" {
            return Some(None);
        }
        self.duration_of(at, text, &allowed, "off, or ").map(Some)
    }

    fn duration_of(
        &mut self,
        at: &NodeRef<'_>,
        text: &str,
        allowed: &RangeInclusive<Duration>,
        also: &str,
    ) -> Option<Duration> {
        let Some(duration) = units::parse_duration(text) else {
            let found = quote(text);
            let message = format!("bad duration {found}; allowed: {also}{}", units::DURATIONS);
            return self.refuse(at, message);
        };
        if !allowed.contains(&duration) {
            let from = units::format_duration(*allowed.start());
            let to = units::format_duration(*allowed.end());
            let message = format!("{text} is out of range; allowed: {also}{from} to {to}");
            return self.refuse(at, message);
        }
        Some(duration)
    }

    /// An address to listen on.
    pub(crate) fn address(&mut self, at: &NodeRef<'_>) -> Option<SocketAddr> {
        let text = self.text(at, "an address")?;
        match text.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                let message = format!(
                    "bad address {}; allowed: ip:port, e.g. 127.0.0.1:9901 or [::1]:9901",
                    quote(text)
                );
                self.refuse(at, message)
            }
        }
    }
}

fn unknown(what: &str, found: &str, allowed: &[&str]) -> String {
    let list = allowed.join(", ");
    let hint = suggestion(found, allowed)
        .map(|meant| format!(" (did you mean \"{meant}\"?)"))
        .unwrap_or_default();
    format!("unknown {what} {}; allowed: {list}{hint}", quote(found))
}
