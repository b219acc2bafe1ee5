//! Warnings: what a file without errors probably does not mean.
//!
//! Here are the warnings that need several sections. A warning about one value is beside its
//! reader.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::backend::PING_TAKEN;
use super::fault::quote;
use super::route::Draft;
use super::walk::{Named, Walk};
use super::{Backend, Hop, Match, Pattern, Protocol, ResetBudget};

/// Adds every warning. `listed` are the backends as they are written.
pub(super) fn give(
    walk: &mut Walk,
    drafts: &[Draft],
    backends: &BTreeMap<String, Backend>,
    listed: &[Named<'_>],
) {
    shadows(walk, drafts);
    let mut routes: FxHashMap<&str, Vec<&Draft>> = FxHashMap::default();
    for draft in drafts {
        let backend = draft.route.backend.as_str();
        routes.entry(backend).or_default().push(draft);
    }
    for named in listed {
        let Some(to) = routes.get(named.name) else {
            let message = "no route uses this backend";
            walk.warn(named.place, &named.value.path, message);
            continue;
        };
        let backend = backends.get(named.name);
        if let Some(backend) = backend.filter(|b| b.hop == Hop::None) {
            pings(walk, named, backend);
        }
        if let Some(backend) = backend.filter(|b| b.protocol == Protocol::TTHEADER) {
            silent(walk, named.name, to);
            mixed(walk, named);
            unlimited(walk, named, backend);
        }
    }
}

/// Warns of schemas that no route uses.
pub(super) fn unused_schemas(walk: &mut Walk, drafts: &[Draft], listed: &[Named<'_>]) {
    for named in listed {
        let uses = |draft: &Draft| draft.route.translate.as_deref() == Some(named.name);
        if !drafts.iter().any(uses) {
            let message = "no route uses this schema (translate)";
            walk.warn(named.place, &named.value.path, message);
        }
    }
}

/// Warns of routes to a TTHeader backend on which nothing ends the wait for an answer. A Kitex
/// server sends nothing at all for a method that it does not know. `idle` and `stream` end the wait
/// too, but later. An explicit `first_response: off` is no mistake.
fn silent(walk: &mut Walk, backend: &str, routes: &[&Draft]) {
    let waits = |draft: &&&Draft| {
        let timeouts = &draft.route.timeouts;
        !draft.first_response && timeouts.idle.is_none() && timeouts.stream.is_none()
    };
    let mut waiting = routes.iter().filter(waits);
    let Some(first) = waiting.next() else {
        return;
    };
    let more = match waiting.count() {
        0 => String::new(),
        n => format!(" (and on {n} more of its routes)"),
    };
    let message = format!(
        "missing toward TTHeader backend {}{more}: Kitex never answers a method that it does \
         not know, and the caller waits for ever; write timeouts: {{ first_response: 30s }}, or off",
        quote(backend)
    );
    let path = format!("{}.timeouts.first_response", first.path);
    walk.warn(first.place, &path, message);
}

/// Warns of HTTP/2 pings that gRPC servers punish by default (gRFC A8). Another ripcord takes any.
fn pings(walk: &mut Walk, named: &Named<'_>, backend: &Backend) {
    let Some(ping) = backend.keepalive.http2.as_ref() else {
        return;
    };
    let mut warn = |key: &str, what: &str| {
        let message = format!(
            "{what}: a gRPC server with default settings answers with GOAWAY too_many_pings, which \
             ends the connection; change it only if the servers allow it, or write hop: ripcord if \
             they are ripcords"
        );
        let path = format!("{}.keepalive.http2.{key}", named.value.path);
        walk.warn(named.place, &path, &message);
    };
    if ping.interval < PING_TAKEN {
        warn("interval", "pings more often than every 5m");
    }
    if ping.without_streams {
        warn("without_streams", "pings while no stream is open");
    }
}

/// Warns of a TTHeader backend without `payload`.
fn mixed(walk: &mut Walk, backend: &Named<'_>) {
    if !backend.value.has("payload") {
        let message = "missing on a TTHeader backend: Kitex reads whatever comes as thrift, also \
                       protobuf; write payload: thrift, protobuf, or any to pass everything on";
        let path = format!("{}.payload", backend.value.path);
        walk.warn(backend.place, &path, message);
    }
}

/// Warns of a budget that no connection of a TTHeader backend has. The default is no mistake.
fn unlimited(walk: &mut Walk, named: &Named<'_>, backend: &Backend) {
    if named.value.has("reset_budget") && backend.reset_budget != ResetBudget::default() {
        let message = "has no effect on a TTHeader backend: its callees count no resets";
        let path = format!("{}.reset_budget", named.value.path);
        walk.warn(named.place, &path, message);
    }
}

/// Warns of routes that can never match because of an earlier one.
fn shadows(walk: &mut Walk, drafts: &[Draft]) {
    // By service and exact method; `None` stands for any other. Only a route under the same keys,
    // or under `None`, can take all streams of another one.
    let mut before: FxHashMap<(Option<&str>, Option<&str>), Vec<&Draft>> = FxHashMap::default();
    for draft in drafts {
        let matching = &draft.route.matching;
        let service = matching.service.as_deref();
        let method = match &matching.method {
            Some(Pattern::Exact(method)) => Some(method.as_str()),
            Some(Pattern::Any | Pattern::Prefix(_)) | None => None,
        };
        let mut keys = vec![
            (None, None),
            (service, None),
            (None, method),
            (service, method),
        ];
        keys.sort_unstable();
        keys.dedup();
        let shadow = keys
            .iter()
            .filter_map(|key| before.get(key))
            .flatten()
            .filter(|earlier| covers(&earlier.route.matching, matching))
            .min_by_key(|earlier| earlier.place);
        if let Some(shadow) = shadow {
            let message = format!(
                "never matches: all that it matches is taken by {} before it",
                quote(&shadow.route.name)
            );
            walk.warn(draft.place, &draft.path, message);
            continue;
        }
        before.entry((service, method)).or_default().push(draft);
    }
}

/// Whether `a` matches all that `b` matches; services are compared by the caller.
fn covers(a: &Match, b: &Match) -> bool {
    fn one(a: Option<&Pattern>, b: Option<&Pattern>) -> bool {
        match (a, b) {
            (None, Some(_) | None) => true,
            (Some(a), Some(b)) => a.covers(b),
            (Some(_), None) => false,
        }
    }
    // Every stream has a method, so `*` is no condition.
    let method = |m: &Match| m.method.as_ref().is_none_or(|p| *p == Pattern::Any);
    let destination = match (&a.destination, &b.destination) {
        (None, Some(_) | None) => true,
        (Some(a), Some(b)) => a.covers(b),
        (Some(_), None) => false,
    };
    destination
        && (method(a) || one(a.method.as_ref(), b.method.as_ref()))
        && one(a.to.as_ref(), b.to.as_ref())
        && one(a.caller.as_ref(), b.caller.as_ref())
        && a.metadata
            .iter()
            .all(|(key, pattern)| one(Some(pattern), b.metadata.get(key)))
}
