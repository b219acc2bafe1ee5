//! What a reload changes, by name.

use std::collections::BTreeMap;

use super::{Config, Route};

/// The difference between two effective configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// How the routes differ, by name.
    pub routes: Names,
    /// Whether routes that are in both come in another order. The first match is taken, so order
    /// matters.
    pub routes_reordered: bool,
    /// How the backends differ, by name.
    pub backends: Names,
    /// How the schemas differ, by name. A change of an IDL file alone is one too.
    pub schemas: Names,
    /// Whether `drain` differs.
    pub drain: bool,
}

/// Names, each list in the order of the file that has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Names that only the new one has.
    pub added: Vec<String>,
    /// Names that only the old one has.
    pub removed: Vec<String>,
    /// Names that both have, with another content.
    pub changed: Vec<String>,
}

impl Changes {
    /// The difference from `old` to `new`, as far as it needs no restart.
    #[must_use]
    pub fn between(old: &Config, new: &Config) -> Self {
        let (before, after) = (by_name(&old.routes), by_name(&new.routes));
        let kept = |routes: &[Route], other: &BTreeMap<&str, &Route>| -> Vec<String> {
            let names = routes.iter().map(|route| route.name.clone());
            names.filter(|name| other.contains_key(&**name)).collect()
        };
        Self {
            routes: Names {
                added: missing(new.routes.iter().map(|r| &*r.name), &before),
                removed: missing(old.routes.iter().map(|r| &*r.name), &after),
                changed: changed(new.routes.iter().map(|r| (&*r.name, r)), &before),
            },
            routes_reordered: kept(&old.routes, &after) != kept(&new.routes, &before),
            backends: Names::between(&old.backends, &new.backends),
            schemas: Names::between(&old.schemas, &new.schemas),
            drain: old.drain != new.drain,
        }
    }
}

impl Names {
    /// The difference between two maps.
    #[must_use]
    pub fn between<T: PartialEq>(old: &BTreeMap<String, T>, new: &BTreeMap<String, T>) -> Self {
        let only = |names: &BTreeMap<String, T>, other: &BTreeMap<String, T>| {
            let names = names.keys().filter(|name| !other.contains_key(*name));
            names.cloned().collect()
        };
        let differs = |(name, item): &(&String, &T)| old.get(*name).is_some_and(|o| o != *item);
        Self {
            added: only(new, old),
            removed: only(old, new),
            changed: new
                .iter()
                .filter(differs)
                .map(|(name, _)| name.clone())
                .collect(),
        }
    }
}

fn by_name(routes: &[Route]) -> BTreeMap<&str, &Route> {
    routes.iter().map(|route| (&*route.name, route)).collect()
}

fn missing<'a, T>(names: impl Iterator<Item = &'a str>, other: &BTreeMap<&str, T>) -> Vec<String> {
    names
        .filter(|name| !other.contains_key(name))
        .map(str::to_owned)
        .collect()
}

fn changed<'a, T: PartialEq + 'a>(
    new: impl Iterator<Item = (&'a str, &'a T)>,
    old: &BTreeMap<&str, &T>,
) -> Vec<String> {
    new.filter(|(name, item)| old.get(name).is_some_and(|before| before != item))
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// How many names of one kind a log line shows.
const SHOWN: usize = 20;

/// The first names of a list, and how many more there are. `None` for an empty list.
#[must_use]
pub fn shown(names: &[String]) -> Option<String> {
    let mut text = names.get(..SHOWN).unwrap_or(names).join(", ");
    let more = names.len().saturating_sub(SHOWN);
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    (!names.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const FIRST: &str = "\
node: n
listeners: [{ name: in, address: 127.0.0.1:15001 }]
backends:
  a: { protocol: grpc, endpoints: [127.0.0.1:1] }
  b: { protocol: grpc, endpoints: [127.0.0.1:2] }
routes:
  - { name: one, match: { service: s }, backend: a }
  - { name: two, match: { service: t }, backend: b }
  - { name: three, backend: b }
";

    fn between(old: &str, new: &str) -> Changes {
        let read = |text| config::parse("f", text).unwrap();
        Changes::between(&read(old), &read(new))
    }

    #[test]
    fn names_of_what_differs() {
        assert_eq!(between(FIRST, FIRST), Changes::default());
        let new = FIRST
            .replace("  b: {", "  c: {")
            .replace("127.0.0.1:1]", "127.0.0.1:7]")
            .replace("name: two,", "name: new,")
            .replace("backend: b", "backend: c")
            + "drain: { timeout: 1s }\n";
        let names =
            |names: &[&str]| -> Vec<String> { names.iter().map(|n| (*n).to_owned()).collect() };
        assert_eq!(
            between(FIRST, &new),
            Changes {
                routes: Names {
                    added: names(&["new"]),
                    removed: names(&["two"]),
                    changed: names(&["three"]),
                },
                routes_reordered: false,
                backends: Names {
                    added: names(&["c"]),
                    removed: names(&["b"]),
                    changed: names(&["a"]),
                },
                schemas: Names::default(),
                drain: true,
            }
        );
    }

    #[test]
    fn another_order_of_routes_is_a_change() {
        let new = FIRST
            .replace("name: one, match: { service: s }, backend: a", "X")
            .replace(
                "name: two, match: { service: t }, backend: b",
                "name: one, match: { service: s }, backend: a",
            )
            .replace('X', "name: two, match: { service: t }, backend: b");
        let changes = between(FIRST, &new);
        assert!(changes.routes_reordered);
        assert_eq!(changes.routes, Names::default());
    }

    #[test]
    fn a_line_of_the_log_is_bounded() {
        let names: Vec<String> = (0..22).map(|i| i.to_string()).collect();
        let of = |n: usize| shown(&names[..n]);
        assert_eq!(of(0), None);
        assert_eq!(of(2).unwrap(), "0, 1");
        assert!(of(20).unwrap().ends_with(", 19"));
        assert!(of(22).unwrap().ends_with(", 19 and 2 more"));
    }
}
