//! The compiled routes: immutable, and looked up without allocating.
//!
//! A stream's service and method each cost one hash, and two more for routes of any service. The
//! routes that remain are tried in the order of the file. The first one whose conditions hold is
//! taken.
//!
//! A service is compared as the caller's wire has it. gRPC's `:path` has the package
//! (`chat.v1.Chat`), TTHeader's `isn` has not (`Chat`). A route for one does not match the other.
//! An `isn` that is empty or `$GenericService` names no service. Only routes of any service match
//! it, by method or `to`.

use std::sync::Arc;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use crate::config::{self, AssumedPayload, Destination, Pattern, Rewrite, Timeouts, Validate};
use crate::stream::{Metadata, RequestHead, Scope};
use crate::translate::Schema;

/// A compiled route: its conditions, and what it does to a stream.
#[derive(Debug)]
pub struct Route<B> {
    /// Its name in logs, traces and metrics.
    pub name: Arc<str>,
    /// Where its streams go.
    pub backend: Arc<B>,
    /// When this hop ends its streams.
    pub timeouts: Timeouts,
    /// What its messages must be.
    pub validate: Validate,
    /// What a caller's payload is assumed to be when its kind is not named.
    pub assume_payload: AssumedPayload,
    /// How its messages are translated.
    pub translate: Option<Arc<Schema>>,
    /// A prefix, if one is left to compare: exact names are found by hash.
    method: Option<Pattern>,
    to: Option<Pattern>,
    caller: Option<Pattern>,
    metadata: Box<[(Scope, Box<str>, Pattern)]>,
    destination: Option<Destination>,
    rewrite: Rewrite,
    to_transit: Box<[(Box<str>, Box<str>)]>,
}

impl<B> Route<B> {
    fn new(route: &config::Route, backend: Arc<B>, translate: Option<Arc<Schema>>) -> Self {
        let matching = &route.matching;
        let metadata = matching.metadata.iter().map(|(key, pattern)| {
            let (scope, key) = scope_of(key);
            (scope, key.into(), pattern.clone())
        });
        let transit = route.metadata_to_transit.iter();
        Self {
            name: route.name.as_str().into(),
            backend,
            timeouts: route.timeouts.clone(),
            validate: route.validate,
            assume_payload: route.assume_payload,
            translate,
            method: match &matching.method {
                prefix @ Some(Pattern::Prefix(_)) => prefix.clone(),
                Some(Pattern::Any | Pattern::Exact(_)) | None => None,
            },
            to: matching.to.clone(),
            caller: matching.caller.clone(),
            metadata: metadata.collect(),
            destination: matching.destination,
            rewrite: route.rewrite.clone(),
            to_transit: transit
                .map(|(plain, name)| (plain.as_str().into(), name.as_str().into()))
                .collect(),
        }
    }

    /// Whether those conditions hold that no hash has decided.
    fn takes(&self, head: &RequestHead) -> bool {
        let given = |pattern: &Option<Pattern>, value: Option<&str>| match (pattern, value) {
            (None, Some(_) | None) => true,
            (Some(pattern), Some(value)) => pattern.matches(value.as_bytes()),
            (Some(_), None) => false,
        };
        given(&self.method, Some(&head.method))
            && given(&self.to, head.to.as_deref())
            && given(&self.caller, head.caller.as_deref())
            && self
                .destination
                .is_none_or(|d| head.destination.is_some_and(|a| d.matches(a)))
            && self
                .metadata
                .iter()
                .all(|(scope, key, pattern)| has(&head.metadata, *scope, key, pattern))
    }

    /// Rewrites the head as the route asks, for the backend.
    pub fn apply(&self, head: &mut RequestHead) {
        let set = |from: &Option<String>, to: &mut String| {
            if let Some(text) = from {
                to.clone_from(text);
            }
        };
        set(&self.rewrite.service, &mut head.service);
        set(&self.rewrite.method, &mut head.method);
        if self.rewrite.to.is_some() {
            head.to.clone_from(&self.rewrite.to);
        }
        for (plain, name) in &self.to_transit {
            if head.metadata.get(Scope::Transit, name).is_some() {
                continue;
            }
            let entries = head.metadata.iter();
            let values: Vec<_> = entries
                .filter(|e| e.scope == Scope::Plain && e.key.eq_ignore_ascii_case(plain.as_bytes()))
                .map(|e| e.value.clone())
                .collect();
            for value in joined(plain, values) {
                head.metadata
                    .push(Scope::Transit, name.as_bytes().to_vec(), value);
            }
        }
    }
}

/// Crumbs of a cookie are one value (RFC 9113, 8.2.3); other repeated values stay apart.
fn joined(key: &str, values: Vec<Bytes>) -> Vec<Bytes> {
    match key.eq_ignore_ascii_case("cookie") && values.len() > 1 {
        true => vec![values.join(&b"; "[..]).into()],
        false => values,
    }
}

/// Splits a configured key into its scope and its neutral form.
fn scope_of(key: &str) -> (Scope, &str) {
    if let Some(key) = key.strip_prefix("RPC_TRANSIT_") {
        (Scope::Transit, key)
    } else if let Some(key) = key.strip_prefix("RPC_PERSIST_") {
        (Scope::Persist, key)
    } else {
        (Scope::Plain, key)
    }
}

fn has(metadata: &Metadata, scope: Scope, key: &str, pattern: &Pattern) -> bool {
    let same = |found: &[u8]| match scope {
        Scope::Plain => found.eq_ignore_ascii_case(key.as_bytes()),
        Scope::Transit | Scope::Persist => found == key.as_bytes(),
    };
    metadata
        .iter()
        .any(|e| e.scope == scope && same(&e.key) && pattern.matches(&e.value))
}

/// The routes of one service, as positions in the file, in order.
#[derive(Debug, Default)]
struct Methods {
    exact: FxHashMap<Box<str>, Vec<u32>>,
    /// Routes of any method, or of a prefix.
    other: Vec<u32>,
}

impl Methods {
    fn add(&mut self, method: Option<&Pattern>, position: u32) {
        match method {
            Some(Pattern::Exact(name)) => {
                let list = self.exact.entry(name.as_str().into()).or_default();
                list.push(position);
            }
            Some(Pattern::Any | Pattern::Prefix(_)) | None => self.other.push(position),
        }
    }

    fn lists(&self, method: &str) -> [&[u32]; 2] {
        let exact = self.exact.get(method).map(Vec::as_slice);
        [exact.unwrap_or_default(), &self.other]
    }
}

/// All routes, with their lookup by hash.
#[derive(Debug)]
pub struct Table<B> {
    routes: Box<[Arc<Route<B>>]>,
    by_service: FxHashMap<Box<str>, Methods>,
    any_service: Methods,
}

impl<B> Table<B> {
    /// Compiles the routes. `backend` gives what was built for a backend's name, `schema` what was
    /// read for a schema's. A route without one that it names is left out; a checked configuration
    /// has no such route.
    pub fn compile(
        routes: &[config::Route],
        mut backend: impl FnMut(&str) -> Option<Arc<B>>,
        mut schema: impl FnMut(&str) -> Option<Arc<Schema>>,
    ) -> Self {
        let mut table = Self {
            routes: Box::default(),
            by_service: FxHashMap::default(),
            any_service: Methods::default(),
        };
        let mut compiled = Vec::with_capacity(routes.len());
        for route in routes {
            let Some(backend) = backend(&route.backend) else {
                continue;
            };
            let named = route.translate.as_deref();
            let translate = named.and_then(&mut schema);
            if named.is_some() && translate.is_none() {
                continue;
            }
            let Ok(position) = u32::try_from(compiled.len()) else {
                break;
            };
            let methods = match &route.matching.service {
                Some(service) => table.by_service.entry(service.as_str().into()).or_default(),
                None => &mut table.any_service,
            };
            methods.add(route.matching.method.as_ref(), position);
            compiled.push(Arc::new(Route::new(route, backend, translate)));
        }
        table.routes = compiled.into();
        table
    }

    /// The route that a stream takes; `None` when none matches.
    #[must_use]
    pub fn find(&self, head: &RequestHead) -> Option<Arc<Route<B>>> {
        self.lookup(head).cloned()
    }

    /// The routes, in the order of the file.
    #[must_use]
    pub fn routes(&self) -> &[Arc<Route<B>>] {
        &self.routes
    }

    fn lookup(&self, head: &RequestHead) -> Option<&Arc<Route<B>>> {
        let service = self.by_service.get(head.service.as_str());
        let [a, b] = service.map_or([&[][..]; 2], |m| m.lists(&head.method));
        let [c, d] = self.any_service.lists(&head.method);
        let mut lists = [a, b, c, d];
        // Each list is in file order. The next candidate is the smallest of the four heads.
        loop {
            let nearest = lists
                .iter_mut()
                .filter(|list| !list.is_empty())
                .min_by_key(|list| list.first().copied())?;
            let (position, rest) = nearest.split_first()?;
            *nearest = rest;
            let route = self.routes.get(*position as usize)?;
            if route.takes(head) {
                return Some(route);
            }
        }
    }
}

#[cfg(test)]
mod tests;
