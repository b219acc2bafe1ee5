//! `routes`: which stream goes where, and what is changed on the way.
//!
//! Here are the keys and the patterns. `crate::route` compiles them into a table.

use std::collections::BTreeMap;
use std::time::Duration;

use rustc_hash::FxHashSet;

use super::backend::{AssumedPayload, assume_payload};
use super::destination::{self, Destination};
use super::fault::{Place, quote, shown, suggestion};
use super::hints;
use super::limits::TIMEOUTS;
use super::walk::{NodeRef, Walk};

pub(super) const KEYS: &[&str] = &[
    "name",
    "match",
    "backend",
    "rewrite",
    "timeouts",
    "metadata_to_transit",
    "validate",
    "assume_payload",
    "translate",
];
pub(super) const MATCH_KEYS: &[&str] = &[
    "service",
    "method",
    "to",
    "caller",
    "metadata",
    "destination",
];
pub(super) const REWRITE_KEYS: &[&str] = &["service", "method", "to"];
pub(super) const TIMEOUT_KEYS: &[&str] = &["stream", "idle", "first_response"];

/// One route. The first one in the file that matches a stream is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name in logs, traces and metrics; unique (required).
    pub name: String,
    /// Which streams it takes (default: all).
    pub matching: Match,
    /// The backend's name (required).
    pub backend: String,
    /// What is changed on the way out (default: nothing).
    pub rewrite: Rewrite,
    /// When this hop ends its streams (default: never).
    pub timeouts: Timeouts,
    /// Plain metadata that a Kitex handler has to see, each key with its name after `RPC_TRANSIT_`
    /// (default: none). The plain entry stays. A transit entry of the caller takes precedence.
    pub metadata_to_transit: BTreeMap<String, String>,
    /// What every message must be, either way (default `off`).
    pub validate: Validate,
    /// What a caller's plain `application/grpc` is taken to be (default `protobuf`).
    pub assume_payload: AssumedPayload,
    /// The schema by which messages are translated where caller and backend have different kinds of
    /// payload (default: none).
    pub translate: Option<String>,
}

/// What is checked in messages. A stream with another kind of payload is refused. A message that
/// fails ends its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Validate {
    /// Messages are not checked.
    #[default]
    Off,
    /// Each message is one thrift struct in the binary protocol.
    Thrift,
}

/// `match`: conditions that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// The service exactly as the caller's wire has it (default `"*"`: any or none). A gRPC path
    /// has the package (`chat.v1.Chat`), a TTHeader `isn` has not (`Chat`): here these are
    /// different services. An `isn` that is empty or `$GenericService` does not name the service.
    /// Match such callers by `method` or `to`.
    pub service: Option<String>,
    /// The method's name (default `"*"`).
    pub method: Option<Pattern>,
    /// Whom the caller addressed (default: any). `:authority` as it is, with its port if it has
    /// one, or int key 6.
    pub to: Option<Pattern>,
    /// The caller's name: `source-service` or int key 3 (default: any or none).
    pub caller: Option<Pattern>,
    /// Metadata that must be there (default: none). Plain keys match without case. Keys that begin
    /// with `RPC_PERSIST_` or `RPC_TRANSIT_` are metainfo. When a key is repeated, any of its
    /// values may match.
    pub metadata: BTreeMap<String, Pattern>,
    /// Where the caller's connection was going before it was redirected to a listener with
    /// `original_destination` (default: any). Connections that were not redirected do not match.
    pub destination: Option<Destination>,
}

/// A pattern for one value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// `*`: any value, but it must be there.
    Any,
    /// Exactly this value.
    Exact(String),
    /// `Get*`: any value with this beginning.
    Prefix(String),
}

impl Pattern {
    /// Whether a value fits the pattern.
    #[must_use]
    pub fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => value == exact.as_bytes(),
            Self::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
        }
    }

    /// Whether it matches all that `other` matches.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, Self::Any | Self::Exact(_) | Self::Prefix(_)) => true,
            (Self::Exact(a), Self::Exact(b)) => a == b,
            (Self::Prefix(a), Self::Exact(b) | Self::Prefix(b)) => b.starts_with(a.as_str()),
            (Self::Exact(_) | Self::Prefix(_), Self::Any) | (Self::Exact(_), Self::Prefix(_)) => {
                false
            }
        }
    }
}

/// `rewrite`: what is changed on the way to the backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// The service that the backend receives (default: the caller's). On gRPC with its package.
    pub service: Option<String>,
    /// The method that the backend receives (default: the caller's).
    pub method: Option<String>,
    /// `:authority` or int key 6 that the backend receives (default: the caller's).
    pub to: Option<String>,
}

/// `timeouts`: when this hop ends a stream. A shorter deadline of the caller always holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// For the whole stream (default `off`): cause 12015.
    pub stream: Option<Duration>,
    /// Between two messages, in either direction (default `off`): cause 12014.
    pub idle: Option<Duration>,
    /// Until the callee's head or first message (default `off`): cause 12014. Set it toward Kitex
    /// servers, which never answer an unknown method.
    pub first_response: Option<Duration>,
}

/// A route with the places that checks across routes need.
pub(super) struct Draft {
    pub(super) route: Route,
    pub(super) place: Place,
    pub(super) name_place: Place,
    pub(super) validate_place: Place,
    /// Whether `first_response` is written, even as `off`.
    pub(super) first_response: bool,
    pub(super) path: String,
}

/// The names that exist, in order, and the same as a set.
pub(super) struct Names<'a> {
    list: &'a [&'a str],
    set: FxHashSet<&'a str>,
}

impl<'a> Names<'a> {
    pub(super) fn new(list: &'a [&'a str]) -> Self {
        let set = list.iter().copied().collect();
        Self { list, set }
    }
}

/// Reads a name that stands for a `what` of another section.
fn one_of(walk: &mut Walk, at: &NodeRef<'_>, what: &str, names: &Names<'_>) -> Option<String> {
    let name = walk.text(at, &format!("the name of a {what}"))?;
    if !names.set.contains(&*name) {
        let list: Vec<String> = names.list.iter().take(20).map(|b| shown(b)).collect();
        let mut message = format!("no {what} {}; allowed: {}", at.quoted(), list.join(", "));
        if list.is_empty() {
            message = format!("no {what} {}; there is no {what} in the file", at.quoted());
        }
        if names.list.len() > 20 {
            message.push_str(", ...");
        }
        if let Some(meant) = suggestion(&name, names.list) {
            message.push_str(&format!(" (did you mean {}?)", quote(meant)));
        }
        walk.error(at.node.place, &at.path, message);
    }
    Some(name.into_owned())
}

/// Reads one route.
pub(super) fn read(
    walk: &mut Walk,
    at: &NodeRef<'_>,
    backends: &Names<'_>,
    schemas: &Names<'_>,
) -> Option<Draft> {
    let s = walk.section(at, KEYS)?;
    let route = Route {
        name: walk.required(&s, "name", "a name for logs and metrics", |w, at| {
            w.label(at, 128)
        }),
        matching: walk.optional(&s, "match", Match::default(), matching),
        backend: walk.required(&s, "backend", "the name of a backend", |w, at| {
            // Without any backend there is an error about that already.
            if backends.list.is_empty() {
                return w.text(at, "the name of a backend").map(Into::into);
            }
            one_of(w, at, "backend", backends)
        }),
        rewrite: walk.optional(&s, "rewrite", Rewrite::default(), rewrite),
        timeouts: walk.optional(&s, "timeouts", Timeouts::default(), timeouts),
        metadata_to_transit: walk.optional(&s, "metadata_to_transit", BTreeMap::new(), to_transit),
        validate: walk.optional(&s, "validate", Validate::default(), |w, at| {
            let words = [("off", Validate::Off), ("thrift", Validate::Thrift)];
            w.choice(at, "validate", &words)
        }),
        assume_payload: walk.optional(
            &s,
            "assume_payload",
            AssumedPayload::default(),
            assume_payload,
        ),
        translate: walk.optional(&s, "translate", None, |w, at| {
            one_of(w, at, "schema", schemas).map(Some)
        }),
    };
    Some(Draft {
        route,
        place: s.place,
        name_place: at.place_of("name"),
        validate_place: at.place_of("validate"),
        first_response: s
            .get("timeouts")
            .is_some_and(|timeouts| timeouts.has("first_response")),
        path: at.path.clone(),
    })
}

fn matching(walk: &mut Walk, at: &NodeRef<'_>) -> Option<Match> {
    let s = walk.section(at, MATCH_KEYS)?;
    let pattern = |w: &mut Walk, at: &NodeRef<'_>| pattern(w, at).map(Some);
    Some(Match {
        service: walk.optional(&s, "service", None, |w, at| {
            let text = w.label(at, 1024)?;
            if text == "*" {
                return Some(None);
            }
            if text.contains('*') {
                let message = format!(
                    "bad service {}; allowed: an exact name, or \"*\"",
                    at.quoted()
                );
                w.error(at.node.place, &at.path, message);
            }
            slash(w, at, &text);
            Some(Some(text))
        }),
        method: walk.optional(&s, "method", None, pattern),
        to: walk.optional(&s, "to", None, pattern),
        caller: walk.optional(&s, "caller", None, pattern),
        metadata: walk.optional(&s, "metadata", BTreeMap::new(), |w, at| {
            let mut map = BTreeMap::new();
            for named in w.names(at, "metadata: { x-tenant: acme }")? {
                key(w, named.name, named.place, &named.value.path);
                if let Some(pattern) = self::pattern(w, &named.value) {
                    map.insert(named.name.to_owned(), pattern);
                }
            }
            Some(map)
        }),
        destination: walk.optional(&s, "destination", None, |w, at| {
            destination::read(w, at).map(Some)
        }),
    })
}

/// Hints at a service that is written as a gRPC path. No gRPC service begins with a slash; one with
/// a slash inside is possible.
fn slash(walk: &mut Walk, at: &NodeRef<'_>, service: &str) {
    if !service.contains('/') {
        return;
    }
    let (found, hint) = (at.quoted(), hints::service(at.written()));
    if service.starts_with('/') {
        let message = format!("bad service {found}; allowed: a name without a slash ({hint})");
        walk.error(at.node.place, &at.path, message);
    } else {
        let message = format!("{found} has a slash, which a service seldom has ({hint})");
        walk.warn(at.node.place, &at.path, message);
    }
}

fn pattern(walk: &mut Walk, at: &NodeRef<'_>) -> Option<Pattern> {
    let text = walk.label(at, 1024)?;
    match text.strip_suffix('*') {
        Some("") => Some(Pattern::Any),
        Some(prefix) if !prefix.contains('*') => Some(Pattern::Prefix(prefix.to_owned())),
        None if !text.contains('*') => Some(Pattern::Exact(text)),
        Some(_) | None => {
            let message = format!(
                "bad pattern {}; allowed: \"*\", an exact value, or a prefix with one * at its end",
                at.quoted()
            );
            walk.error(at.node.place, &at.path, message);
            None
        }
    }
}

/// A metadata key: visible ASCII, as both wires can carry it.
fn key(walk: &mut Walk, name: &str, place: Place, path: &str) {
    if name.is_empty() || name.len() > 256 || !name.bytes().all(|b| b.is_ascii_graphic()) {
        let message = format!(
            "bad metadata key {}; allowed: 1 to 256 visible ASCII characters",
            quote(name)
        );
        walk.error(place, path, message);
    }
}

fn rewrite(walk: &mut Walk, at: &NodeRef<'_>) -> Option<Rewrite> {
    let s = walk.section(at, REWRITE_KEYS)?;
    let mut label = |name: &str| {
        walk.optional(&s, name, None, |w, at| {
            let text = w.label(at, 1024)?;
            if name != "to" && text.contains('/') {
                let message = format!("bad {name} {}; allowed: no slash", at.quoted());
                w.error(at.node.place, &at.path, message);
            }
            Some(Some(text))
        })
    };
    Some(Rewrite {
        service: label("service"),
        method: label("method"),
        to: label("to"),
    })
}

fn timeouts(walk: &mut Walk, at: &NodeRef<'_>) -> Option<Timeouts> {
    let s = walk.section(at, TIMEOUT_KEYS)?;
    // Streams may live for weeks.
    let longest = Duration::from_secs(366 * 24 * 3600);
    let mut timeout = |name: &str| {
        walk.optional(&s, name, None, |w, at| {
            w.duration_or_off(at, *TIMEOUTS.start()..=longest)
        })
    };
    Some(Timeouts {
        stream: timeout("stream"),
        idle: timeout("idle"),
        first_response: timeout("first_response"),
    })
}

fn to_transit(walk: &mut Walk, at: &NodeRef<'_>) -> Option<BTreeMap<String, String>> {
    let mut map = BTreeMap::new();
    for named in walk.names(at, "metadata_to_transit: { x-user: USER }")? {
        key(walk, named.name, named.place, &named.value.path);
        let Some(text) = walk.text(&named.value, "a name") else {
            continue;
        };
        let word = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        if text.is_empty() || text.len() > 256 || !text.bytes().all(word) {
            let message = format!(
                "bad name {}; allowed: the part after RPC_TRANSIT_, of A-Z, 0-9 and _",
                named.value.quoted()
            );
            walk.error(named.value.node.place, &named.value.path, message);
        } else if text.starts_with("RPC_TRANSIT_") {
            let message = "the prefix is added; allowed: only the part after RPC_TRANSIT_";
            walk.error(named.value.node.place, &named.value.path, message);
        }
        map.insert(named.name.to_ascii_lowercase(), text.into_owned());
    }
    Some(map)
}
