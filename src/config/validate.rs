//! The whole file: its top-level keys, and the checks across sections.
//!
//! Here is what no single section can check: names that must exist or be unique, addresses used
//! twice, and references. Each section's own file checks the rest. `advice` adds warnings.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::thread::available_parallelism;

use rustc_hash::FxHashMap;

use super::environment::Environment;
use super::fault::quote;
use super::route::{Draft, Names};
use super::walk::{Named, NodeRef, Section, Walk};
use super::yaml::Node;
use super::{
    Backend, Config, Drain, Limits, Listener, PayloadKind, Schema, Target, Telemetry, Validate,
    advice, backend, hints, limits, listener, route, schema, telemetry,
};

pub(super) const KEYS: &[&str] = &[
    "node",
    "workers",
    "admin",
    "listeners",
    "backends",
    "schemas",
    "routes",
    "limits",
    "drain",
    "telemetry",
];

/// The most routes. Comparing them with each other is quadratic.
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
    let schemas = schemas(walk, &s);
    let routes = routes(walk, &s, &backends, redirected);
    Some(Config {
        node,
        workers,
        admin,
        listeners,
        backends,
        schemas,
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
            at.quoted()
        );
        walk.error(at.node.place, &at.path, message);
        return None;
    }
    Some(text.into_owned())
}

fn listeners(
    walk: &mut Walk,
    root: &Section<'_>,
    limits: &Limits,
    admin: Option<SocketAddr>,
) -> Vec<Listener> {
    walk.required(root, "listeners", "a list of at least one", |walk, at| {
        let mut listeners: Vec<Listener> = Vec::new();
        for item in walk.list(at, hints::LISTENERS)? {
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
                let message = if taken == new.address {
                    format!("{taken} is already listened on")
                } else {
                    format!(
                        "{} cannot be listened on beside {taken}: one of them stands for every address; \
                         allowed: another port",
                        new.address
                    )
                };
                let path = format!("{}.address", item.path);
                walk.error(item.place_of("address"), &path, message);
            }
            listeners.push(new);
        }
        Some(listeners)
    })
}

/// Whether the two addresses cannot both be listened on. A socket at `[::]` takes IPv4 too.
fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let (one, two) = (a.ip().to_canonical(), b.ip().to_canonical());
    let takes = |any: IpAddr, ip: IpAddr| any.is_unspecified() && (any.is_ipv6() || ip.is_ipv4());
    a.port() == b.port() && a.port() != 0 && (one == two || takes(one, two) || takes(two, one))
}

/// Whether connections to that address reach that listener.
fn own(listener: &Listener, address: SocketAddr) -> bool {
    let (at, ip) = (listener.address, address.ip());
    at == address || (at.ip().is_unspecified() && ip.is_loopback() && clash(at, address))
}

fn backends(
    walk: &mut Walk,
    root: &Section<'_>,
    listeners: &[Listener],
) -> BTreeMap<String, Backend> {
    walk.required(root, "backends", "a map of at least one", |walk, at| {
        let mut backends = BTreeMap::new();
        let named = walk.names(at, hints::BACKENDS)?;
        if named.is_empty() {
            walk.error(at.node.place, &at.path, "empty; needed: at least one");
        }
        for named in named {
            let name = named.name;
            named_well(walk, &named);
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
                    && let Some(own) = listeners.iter().find(|l| own(l, *address))
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

/// Checks the name of a backend or a schema.
fn named_well(walk: &mut Walk, named: &Named<'_>) {
    let name = named.name;
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(fits) {
        let message = format!(
            "bad name {}; allowed: 1 to 128 letters, digits, dots, - and _",
            quote(name)
        );
        walk.error(named.place, &named.value.path, message);
    }
}

fn schemas(walk: &mut Walk, root: &Section<'_>) -> BTreeMap<String, Schema> {
    walk.optional(root, "schemas", BTreeMap::new(), |walk, at| {
        let mut schemas = BTreeMap::new();
        for named in walk.names(at, hints::SCHEMAS)? {
            named_well(walk, &named);
            if let Some(schema) = schema::read(walk, &named.value) {
                schemas.insert(named.name.to_owned(), schema);
            }
        }
        Some(schemas)
    })
}

/// The entries of a map at the root, as they are written. Those with faults count too: a route to
/// them is right. A value that is no map was reported before.
fn written<'n>(root: &Section<'n>, key: &str) -> Vec<Named<'n>> {
    let at = root.get(key);
    let listed = at.and_then(|at| Walk::new(Environment::default()).names(&at, ""));
    listed.unwrap_or_default()
}

fn routes(
    walk: &mut Walk,
    root: &Section<'_>,
    read: &BTreeMap<String, Backend>,
    redirected: bool,
) -> Vec<super::Route> {
    let listed = written(root, "backends");
    let schemas = written(root, "schemas");
    let names: Vec<&str> = listed.iter().map(|n| n.name).collect();
    let schema_names: Vec<&str> = schemas.iter().map(|n| n.name).collect();
    let (known, known_schemas) = (Names::new(&names), Names::new(&schema_names));
    let drafts: Vec<Draft> = walk.required(root, "routes", "a list of at least one", |walk, at| {
        let items = walk.list(at, hints::ROUTES)?;
        if items.len() > MAX_ROUTES {
            let message = format!("too many routes; allowed: {MAX_ROUTES}");
            walk.error(at.node.place, &at.path, message);
            return None;
        }
        let drafts = items
            .iter()
            .filter_map(|i| route::read(walk, i, &known, &known_schemas));
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
        if draft.route.validate == Validate::Thrift && draft.route.translate.is_some() {
            let path = format!("{}.validate", draft.path);
            let message = "bad validate \"thrift\" beside translate, which checks every message by its \
                           IDL; allowed: off";
            walk.error(draft.validate_place, &path, message);
            continue;
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
        advice::give(walk, &drafts, read, &listed);
        advice::unused_schemas(walk, &drafts, &schemas);
    }
    drafts.into_iter().map(|d| d.route).collect()
}
