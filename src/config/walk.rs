//! Reads typed values out of a tree of nodes. It records every fault and goes on.
//!
//! Here are the maps and lists; `scalar` has the values. A reader returns `None` after it recorded
//! a fault. The caller then goes on with a default, so that one pass finds everything. Knows no
//! key.

use super::environment::{Environment, MAX_EXPANDED};
use super::fault::{Fault, Place, Severity, quote, shown, suggestion};
use super::hints;
use super::yaml::{Kind, Node, Pair};

/// A value and its path from the root.
#[derive(Clone)]
pub(crate) struct NodeRef<'n> {
    pub(crate) node: &'n Node,
    pub(crate) path: String,
}

impl NodeRef<'_> {
    /// The text as it is written, in quotes. A message shows the names of variables. Their values
    /// may be secrets.
    pub(crate) fn quoted(&self) -> String {
        quote(self.written())
    }

    /// The text as it is written; empty for a list or a map.
    pub(crate) fn written(&self) -> &str {
        match &self.node.kind {
            Kind::Scalar { text, .. } => text,
            Kind::List(_) | Kind::Map(_) => "",
        }
    }

    /// Whether it is a map with that key.
    pub(crate) fn has(&self, key: &str) -> bool {
        matches!(&self.node.kind, Kind::Map(pairs) if pairs.iter().any(|p| p.key == key))
    }

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

/// An entry of a map whose keys are names.
pub(crate) struct Named<'n> {
    pub(crate) name: &'n str,
    pub(crate) place: Place,
    pub(crate) value: NodeRef<'n>,
}

impl<'n> Section<'n> {
    /// The value of a key, also under its old name.
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

/// The reader, with the faults found so far.
pub(crate) struct Walk {
    pub(crate) faults: Vec<Fault>,
    pub(crate) environment: Environment,
    /// How many bytes values may still have after expansion.
    pub(super) room: usize,
}

impl Walk {
    pub(crate) fn new(environment: Environment) -> Self {
        Self {
            faults: Vec::new(),
            environment,
            room: MAX_EXPANDED,
        }
    }

    /// Records an error.
    pub(crate) fn error(&mut self, place: Place, path: &str, message: impl Into<String>) {
        self.note(place, path, Severity::Error, message.into());
    }

    /// Records a warning.
    pub(crate) fn warn(&mut self, place: Place, path: &str, message: impl Into<String>) {
        self.note(place, path, Severity::Warning, message.into());
    }

    /// Whether no error was recorded so far.
    pub(crate) fn well(&self) -> bool {
        self.faults.iter().all(|f| f.severity != Severity::Error)
    }

    fn note(&mut self, place: Place, path: &str, severity: Severity, message: String) {
        self.faults.push(Fault {
            file: None,
            place,
            path: path.to_owned(),
            severity,
            message,
        });
    }

    /// Records an error at a value.
    pub(super) fn refuse<T>(&mut self, at: &NodeRef<'_>, message: String) -> Option<T> {
        self.error(at.node.place, &at.path, message);
        None
    }

    /// Notes an error at a value that cannot be read, with a hint: `hint`, or of a variable that is
    /// not written as one.
    pub(super) fn refuse_value<T>(
        &mut self,
        at: &NodeRef<'_>,
        message: &str,
        hint: Option<String>,
    ) -> Option<T> {
        let hint = hints::variable(at.written()).or(hint);
        let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        self.refuse(at, format!("{message}{hint}"))
    }

    /// A map with these keys and no other.
    pub(crate) fn section<'n>(&mut self, at: &NodeRef<'n>, keys: &[&str]) -> Option<Section<'n>> {
        self.section_renamed(at, keys, &[])
    }

    /// Like `section`, where some keys had other names before.
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
            } else if at.path.is_empty() && pair.key.starts_with(hints::FREE) {
                // Keys of the user, for anchors and notes.
            } else if !keys.contains(&pair.key.as_str()) {
                let hint = hints::key(&at.path, &pair.key);
                let message = hint.unwrap_or_else(|| unknown("key", &pair.key, keys));
                self.error(pair.place, &path, message);
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

    /// A map whose keys are names; `example` shows one.
    pub(crate) fn names<'n>(&mut self, at: &NodeRef<'n>, example: &str) -> Option<Vec<Named<'n>>> {
        let Kind::Map(pairs) = &at.node.kind else {
            let found = at.node.name();
            return self.refuse(
                at,
                format!("a map of names is needed; found {found}; example: {example}"),
            );
        };
        let mut named = Vec::new();
        for pair in pairs {
            let path = join(&at.path, &pair.key);
            if pair.key == hints::MERGE {
                let message = hints::key(&path, &pair.key).unwrap_or_default();
                self.error(pair.place, &path, message);
                continue;
            }
            named.push(Named {
                name: &pair.key,
                place: pair.place,
                value: NodeRef {
                    node: &pair.value,
                    path,
                },
            });
        }
        Some(named)
    }

    /// A list of at least one; `example` shows one.
    pub(crate) fn list<'n>(&mut self, at: &NodeRef<'n>, example: &str) -> Option<Vec<NodeRef<'n>>> {
        let Kind::List(items) = &at.node.kind else {
            let found = at.node.name();
            return self.refuse(
                at,
                format!("a list is needed; found {found}; example: {example}"),
            );
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

    /// Reads a required key. `what` tells what it may hold.
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

    /// Reads an optional key.
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
}

fn unknown(what: &str, found: &str, allowed: &[&str]) -> String {
    unknown_value(what, &quote(found), found, allowed)
}

/// The message for a value that is not allowed. It shows `quoted`, and suggests an allowed word
/// that is like `found`.
pub(super) fn unknown_value(what: &str, quoted: &str, found: &str, allowed: &[&str]) -> String {
    let list = allowed.join(", ");
    let hint = suggestion(found, allowed)
        .map(|meant| format!(" (did you mean \"{meant}\"?)"))
        .unwrap_or_default();
    format!("unknown {what} {quoted}; allowed: {list}{hint}")
}
