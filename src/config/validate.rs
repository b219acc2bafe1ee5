//! The whole file: its top-level keys, and the checks across sections.
//!
//! Owns what no single section can see: names that must exist or be unique, addresses used twice,
//! routes that never match. Each section's own file checks the rest.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread::available_parallelism;

use rustc_hash::{FxHashMap, FxHashSet};

use super::fault::quote;
use super::route::Draft;
use super::walk::{NodeRef, Section, Walk};
use super::yaml::Node;
use super::{
    Backend, Config, Drain, Limits, Listener, Match, Pattern, PayloadKind, Target, Telemetry,
    Validate, backend, limits, listener, route, telemetry,
};

pub(super) const KEYS: &[&str] = &[
    "node",
    "workers",
    "admin",
    "listeners",
    "backends",
    "routes",
    "limits",
    "drain",
    "telemetry",
];

/// The most routes; comparing them with each other is quadratic.
const MAX_ROUTES: usize = 10_000;

/// Reads the root; the result counts only if no error was noted.
pub(super) fn config(walk: &mut Walk, root: &Node) -> Option<Config> {
    let at = NodeRef {
        node: root,
        path: String::new(),
    };
    let s = walk.section(&at, KEYS)?;
    let node = walk.required(&s, "node", "this hop's name in canceled paths", node);
    let workers = walk.optional(
        &s,
        "workers",
        available_parallelism().map_or(1, usize::from),
        |w, at| w.count(at, 1..=256),
    );
    let admin = walk.optional(&s, "admin", None, |w, at| {
        listener::read_admin(w, at).map(Some)
    });
    let default = Limits::default();
    let limits = walk.optional(&s, "limits", default.clone(), |w, at| {
        limits::read(w, at, &default, true)
    });
    let admin_address = admin.as_ref().map(|a| a.address);
    let listeners = listeners(walk, &s, &limits, admin_address);
    let backends = backends(walk, &s, &listeners);
    let redirected = listeners.iter().any(|l| l.original_destination);
    let routes = routes(walk, &s, &backends, redirected);
    Some(Config {
        node,
        workers,
        admin,
        listeners,
        backends,
        routes,
        limits,
        drain: walk.optional(&s, "drain", Drain::default(), limits::read_drain),
        telemetry: walk.optional(&s, "telemetry", Telemetry::default(), telemetry::read),
    })
}

fn node(walk: &mut Walk, at: &NodeRef<'_>) -> Option<String> {
    let text = walk.text(at, "a name")?;
    let bad = |c: char| c == ',' || c.is_control();
    if text.is_empty() || text.len() > 128 || text.contains(bad) || text.trim() != text {
        let message = format!(
            "bad name {}; allowed: 1 to 128 bytes without comma, control characters and outer spaces",
            quote(text)
        );
        walk.error(at.node.place, &at.path, message);
        return None;
    }
    Some(text.to_owned())
}

fn listeners(
    walk: &mut Walk,
    root: &Section<'_>,
    limits: &Limits,
    admin: Option<SocketAddr>,
) -> Vec<Listener> {
    walk.required(root, "listeners", "a list of at least one", |walk, at| {
        let mut listeners: Vec<Listener> = Vec::new();
        for item in walk.list(at)? {
            let Some(new) = listener::read(walk, &item, limits) else {
                continue;
            };
            if !new.name.is_empty() && listeners.iter().any(|l| l.name == new.name) {
                let message = format!("a second listener named {}", quote(&new.name));
                let path = format!("{}.name", item.path);
                walk.error(item.place_of("name"), &path, message);
            }
            let mut used = listeners.iter().map(|l| l.address).chain(admin);
            if let Some(taken) = used.find(|a| clash(*a, new.address)) {
                let message = format!("{taken} is already listened on");
                let path = format!("{}.address", item.path);
                walk.error(item.place_of("address"), &path, message);
            }
            listeners.push(new);
        }
        Some(listeners)
    })
}

/// Whether both cannot be listened on.
fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port()
        && a.port() != 0
        && (a.ip() == b.ip()
            || (a.is_ipv4() == b.is_ipv4() && (a.ip().is_unspecified() || b.ip().is_unspecified())))
}

fn backends(
    walk: &mut Walk,
    root: &Section<'_>,
    listeners: &[Listener],
) -> BTreeMap<String, Backend> {
    walk.required(root, "backends", "a map of at least one", |walk, at| {
        let mut backends = BTreeMap::new();
        let named = walk.names(at)?;
        if named.is_empty() {
            walk.error(at.node.place, &at.path, "empty; needed: at least one");
        }
        for named in named {
            let name = named.name;
            let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            if name.is_empty() || name.len() > 128 || !name.bytes().all(fits) {
                let message = format!(
                    "bad name {}; allowed: 1 to 128 letters, digits, dots, - and _",
                    quote(name)
                );
                walk.error(named.place, &named.value.path, message);
            }
            let Some(backend) = backend::read(walk, &named.value) else {
                continue;
            };
            if backend.dials_original_destination()
                && !listeners.iter().any(|l| l.original_destination)
            {
                let message = "bad endpoints \"original_destination\": no listener has original_destination: on, so there is none to dial";
                let path = format!("{}.endpoints", named.value.path);
                walk.error(named.value.place_of("endpoints"), &path, message);
            }
            for target in &backend.endpoints {
                if let Target::Address(address) = target
                    && let Some(own) = listeners.iter().find(|l| l.address == *address)
                {
                    let message = format!(
                        "endpoint {address} is this process' own listener {}: streams would loop",
                        quote(&own.name)
                    );
                    walk.warn(named.place, &named.value.path, message);
                }
            }
            backends.insert(name.to_owned(), backend);
        }
        Some(backends)
    })
}

fn routes(
    walk: &mut Walk,
    root: &Section<'_>,
    read: &BTreeMap<String, Backend>,
    redirected: bool,
) -> Vec<super::Route> {
    // Also those with faults: a route to them is right. What is no map was reported before.
    let backends = root.get("backends");
    let listed = backends.and_then(|at| Walk::default().names(&at));
    let listed = listed.unwrap_or_default();
    let names: Vec<&str> = listed.iter().map(|n| n.name).collect();
    let known: FxHashSet<&str> = names.iter().copied().collect();
    let drafts: Vec<Draft> = walk.required(root, "routes", "a list of at least one", |walk, at| {
        let items = walk.list(at)?;
        if items.len() > MAX_ROUTES {
            let message = format!("too many routes; allowed: {MAX_ROUTES}");
            walk.error(at.node.place, &at.path, message);
            return None;
        }
        let drafts = items
            .iter()
            .filter_map(|i| route::read(walk, i, &names, &known));
        Some(drafts.collect())
    });
    let mut seen: FxHashMap<&str, &Draft> = FxHashMap::default();
    for draft in &drafts {
        let name = draft.route.name.as_str();
        if let Some(first) = seen.get(name) {
            let path = format!("{}.name", draft.path);
            let message = format!("a second route named {}; first {}", quote(name), first.path);
            walk.error(draft.name_place, &path, message);
        } else if !name.is_empty() {
            seen.insert(name, draft);
        }
        if draft.route.matching.destination.is_some() && !redirected {
            let path = format!("{}.match.destination", draft.path);
            let message = "never matches: no listener has original_destination: on";
            walk.warn(draft.place, &path, message);
        }
        let takes = read.get(&draft.route.backend).map(|b| b.payload);
        if draft.route.validate == Validate::Thrift && takes == Some(PayloadKind::Protobuf) {
            let path = format!("{}.validate", draft.path);
            let message = format!(
                "bad validate \"thrift\": backend {} takes only protobuf; allowed: off",
                quote(&draft.route.backend)
            );
            walk.error(draft.validate_place, &path, message);
        }
    }
    // A route with a fault may look as if it matched everything.
    if walk.well() {
        shadows(walk, &drafts);
        let used: FxHashSet<&str> = drafts.iter().map(|d| d.route.backend.as_str()).collect();
        for unused in listed {
            if !used.contains(unused.name) {
                walk.warn(
                    unused.place,
                    &unused.value.path,
                    "no route uses this backend",
                );
            }
        }
    }
    drafts.into_iter().map(|d| d.route).collect()
}

/// Warns of routes that an earlier one keeps from ever matching.
fn shadows(walk: &mut Walk, drafts: &[Draft]) {
    // By service and exact method, `None` for any other: only routes under the same keys, or
    // under `None`, can take all of what another one matches.
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
    // A method is always there, so `*` asks for nothing.
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
