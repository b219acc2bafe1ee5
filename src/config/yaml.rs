//! From YAML text to a tree of nodes that know their places.
//!
//! It is built from `saphyr-parser`'s events (YAML 1.2), not from a ready-made tree. So keys keep
//! their places and duplicates are faults. Size, depth and the expansion of aliases are bounded.
//! Knows nothing of the schema.

use std::rc::Rc;

use rustc_hash::FxHashMap;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use super::fault::{Fault, Place, Severity, quote};
use super::hints;

/// The longest text that is read, in bytes (a Kubernetes ConfigMap holds 1 MiB).
pub(crate) const MAX_BYTES: usize = 4 << 20;

/// The deepest nesting that is read. The schema needs 7.
pub(crate) const MAX_DEPTH: usize = 32;

/// The most nodes of a document. An alias counts as the nodes that it stands for.
pub(crate) const MAX_NODES: usize = 500_000;

/// One value, with its place.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
    /// Number of nodes from here down, this one included, with aliases expanded.
    weight: usize,
}

/// The kind of a value, with its content.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Text. `plain` means: without quotes.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Rc<Node>>),
    Map(Vec<Pair>),
}

/// One key of a map.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) value: Rc<Node>,
}

impl Node {
    /// The name of the kind, for messages.
    pub(crate) fn name(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar { .. } if self.is_null() => "nothing",
            Kind::Scalar { .. } => "text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }

    /// Whether it is empty: a key without a value.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null"))
    }
}

/// Reads one document. Duplicate keys and the like are added to `faults`, and reading goes on.
/// Broken syntax, or more than a bound, ends it with `None`.
pub(crate) fn read(text: &str, faults: &mut Vec<Fault>) -> Option<Rc<Node>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder {
        faults,
        open: Vec::new(),
        anchors: FxHashMap::default(),
        root: None,
        documents: 0,
    };
    if text.len() > MAX_BYTES {
        let message = format!("the file is too large; allowed: up to {MAX_BYTES} bytes");
        builder.fault(Place { line: 1, column: 1 }, message);
        return None;
    }
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => {
                if builder.event(event, place(&span.start)).is_err() {
                    return None;
                }
            }
            Err(error) => {
                let place = real_place(error.info(), text, place(error.marker()));
                builder.fault(place, not_yaml(error.info(), text, place));
                return None;
            }
        }
    }
    if builder.root.is_none() {
        builder.fault(Place { line: 1, column: 1 }, "the file is empty".to_owned());
    }
    builder.root
}

fn not_yaml(error: &str, text: &str, place: Place) -> String {
    let line = text.lines().nth(place.line - 1).unwrap_or_default();
    let hint = hints::yaml(error, line).map(|hint| format!(" ({hint})"));
    format!("not YAML: {error}{}", hint.unwrap_or_default())
}

/// The parser tells of a tab behind a value where the value ends, which may be a line before it.
fn real_place(error: &str, text: &str, told: Place) -> Place {
    let lines = text.lines().enumerate().skip(told.line - 1);
    let mut tabs = lines.filter_map(|(at, line)| {
        let skipped = if at + 1 == told.line {
            told.column - 1
        } else {
            0
        };
        let tab = line.chars().skip(skipped).position(|c| c == '\t')?;
        Some(Place {
            line: at + 1,
            column: skipped + tab + 1,
        })
    });
    match tabs.next() {
        Some(place) if error.contains("found a tab") => place,
        Some(_) | None => told,
    }
}

fn place(marker: &Marker) -> Place {
    Place {
        line: marker.line().max(1),
        column: marker.col() + 1,
    }
}

/// Reading cannot go on. The fault is already recorded.
struct Stop;

/// A collection that is still open.
struct Open {
    place: Place,
    anchor: usize,
    weight: usize,
    items: Items,
}

enum Items {
    List(Vec<Rc<Node>>),
    Map {
        pairs: Vec<Pair>,
        seen: FxHashMap<String, Place>,
        key: Key,
    },
}

/// What the next node of a map will be.
enum Key {
    /// A key.
    Awaited,
    /// The value of this key.
    Given(String, Place),
    /// The value of a key that has a fault.
    Bad,
}

struct Builder<'f> {
    faults: &'f mut Vec<Fault>,
    open: Vec<Open>,
    /// `None` while the anchored node is still open.
    anchors: FxHashMap<usize, Option<Rc<Node>>>,
    root: Option<Rc<Node>>,
    documents: usize,
}

impl Builder<'_> {
    fn fault(&mut self, place: Place, message: String) {
        self.faults.push(Fault {
            file: None,
            place,
            path: String::new(),
            severity: Severity::Error,
            message,
        });
    }

    fn event(&mut self, event: Event<'_>, place: Place) -> Result<(), Stop> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.fault(place, "a second document; allowed: one".to_owned());
                    return Err(Stop);
                }
                Ok(())
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned().flatten() {
                Some(node) => self.node(node, place),
                None => {
                    self.fault(place, "an alias inside of what it stands for".to_owned());
                    Err(Stop)
                }
            },
            Event::Scalar(text, style, anchor, tag) => {
                if tag.is_some() {
                    self.tag(place);
                }
                let node = Rc::new(Node {
                    place,
                    kind: Kind::Scalar {
                        text: text.into_owned(),
                        plain: style == ScalarStyle::Plain,
                    },
                    weight: 1,
                });
                self.anchors.insert(anchor, Some(Rc::clone(&node)));
                self.node(node, place)
            }
            Event::SequenceStart(anchor, tag) => {
                if tag.is_some() {
                    self.tag(place);
                }
                self.open(place, anchor, Items::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                if tag.is_some() {
                    self.tag(place);
                }
                let items = Items::Map {
                    pairs: Vec::new(),
                    seen: FxHashMap::default(),
                    key: Key::Awaited,
                };
                self.open(place, anchor, items)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
        }
    }

    fn tag(&mut self, place: Place) {
        self.fault(place, "tags (!...) are not used here".to_owned());
    }

    fn open(&mut self, place: Place, anchor: usize, items: Items) -> Result<(), Stop> {
        if self.open.len() >= MAX_DEPTH {
            let message = format!("nested too deep; allowed: {MAX_DEPTH} levels");
            self.fault(place, message);
            return Err(Stop);
        }
        self.anchors.insert(anchor, None);
        self.open.push(Open {
            place,
            anchor,
            weight: 1,
            items,
        });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Stop> {
        let Some(open) = self.open.pop() else {
            return Err(Stop);
        };
        let node = Rc::new(Node {
            place: open.place,
            kind: match open.items {
                Items::List(list) => Kind::List(list),
                Items::Map { pairs, .. } => Kind::Map(pairs),
            },
            weight: open.weight,
        });
        self.anchors.insert(open.anchor, Some(Rc::clone(&node)));
        let place = node.place;
        self.node(node, place)
    }

    /// Adds a finished node to the collection that is open.
    fn node(&mut self, node: Rc<Node>, place: Place) -> Result<(), Stop> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.weight = open.weight.saturating_add(node.weight);
        if open.weight > MAX_NODES {
            let message = format!("too many values; allowed: {MAX_NODES}, aliases expanded");
            self.fault(place, message);
            return Err(Stop);
        }
        let Items::Map { pairs, seen, key } = &mut open.items else {
            if let Items::List(list) = &mut open.items {
                list.push(node);
            }
            return Ok(());
        };
        let wrong = match std::mem::replace(key, Key::Awaited) {
            Key::Given(name, place) => {
                pairs.push(Pair {
                    key: name,
                    place,
                    value: node,
                });
                None
            }
            Key::Bad => None,
            Key::Awaited => match &node.kind {
                Kind::Scalar { text, .. } => match seen.get(text) {
                    Some(first) => {
                        *key = Key::Bad;
                        let name = quote(text);
                        let (line, column) = (first.line, first.column);
                        Some(format!("duplicate key {name}; first at {line}:{column}"))
                    }
                    None => {
                        seen.insert(text.clone(), place);
                        *key = Key::Given(text.clone(), place);
                        None
                    }
                },
                Kind::List(_) | Kind::Map(_) => {
                    *key = Key::Bad;
                    Some(format!("{} as a key; allowed: text", node.name()))
                }
            },
        };
        if let Some(message) = wrong {
            self.fault(place, message);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
