//! What the rules of `tests/layering.rs` check in the crate: edges between its parts, other crates,
//! `impl` blocks without a home, and a cycle.

use std::collections::{BTreeMap, BTreeSet};

use super::arms::wildcards;
use super::paths::{Named, Paths};
use super::tree::{Module, Tree};

/// From a part to another one, with the places (`src/file:line`) that make it so.
pub(crate) type Edges = BTreeMap<(String, String), Vec<String>>;

/// Everything that is asked of the crate, so that it is parsed once for all tests.
pub(crate) struct Facts {
    /// Files that no `mod` line leads to, and `mod` lines that lead to no file.
    pub(crate) lost: Vec<String>,
    pub(crate) modules: Vec<ModuleFacts>,
    pub(crate) edges: Edges,
    pub(crate) orphans: BTreeMap<String, String>,
}

/// What is asked of one module.
pub(crate) struct ModuleFacts {
    /// `src/...`.
    pub(crate) file: String,
    pub(crate) path: Vec<String>,
    pub(crate) part: String,
    /// The crates of others that it names.
    pub(crate) foreign: BTreeSet<String>,
    /// `file function: enum`, and the line.
    pub(crate) wildcards: Vec<(String, usize)>,
}

impl Facts {
    /// `closed`: the enums that have to be matched in full.
    pub(crate) fn of(tree: &Tree, closed: &[&str]) -> Self {
        let module = |module: &Module| {
            let file = format!("src/{}", module.file);
            let wildcards = wildcards(tree, module, closed).into_iter();
            ModuleFacts {
                path: module.path.clone(),
                part: tree.part(&module.path),
                foreign: foreign(tree, module),
                wildcards: wildcards
                    .map(|w| (format!("{file} {}: {}", w.function, w.over), w.line))
                    .collect(),
                file,
            }
        };
        Self {
            lost: tree.lost.clone(),
            modules: tree.modules.values().map(module).collect(),
            edges: edges(tree),
            orphans: orphans(tree),
        }
    }
}

/// Which parts name which others.
pub(crate) fn edges(tree: &Tree) -> Edges {
    let mut edges = Edges::new();
    for module in tree.modules.values() {
        let from = tree.part(&module.path);
        for found in Paths::of(module).found {
            for to in tree.parts(module, &found.segments, found.import) {
                if to != from {
                    let place = format!("src/{}:{}", module.file, found.line);
                    let places = edges.entry((from.clone(), to)).or_default();
                    if !places.contains(&place) {
                        places.push(place);
                    }
                }
            }
        }
    }
    edges
}

/// The crates of others that a module names.
pub(crate) fn foreign(tree: &Tree, module: &Module) -> BTreeSet<String> {
    let paths = Paths::of(module).found.into_iter();
    paths
        .filter_map(|f| match tree.resolve(module, &f.segments, f.import) {
            Named::Foreign(name) => Some(name),
            Named::Own(_) | Named::Unknown => None,
        })
        .collect()
}

/// `impl` blocks that name another part of this crate and nothing of their own: the orphan rule,
/// with parts in place of crates. Each with the part that it stands in, and its place.
pub(crate) fn orphans(tree: &Tree) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for module in tree.modules.values() {
        let home = tree.part(&module.path);
        for block in Paths::of(module).impls {
            let parts: BTreeSet<String> = block
                .paths
                .iter()
                .flat_map(|path| tree.parts(module, path, false))
                .collect();
            if !parts.is_empty() && !parts.contains(&home) {
                let place = format!("src/{}:{}", module.file, block.line);
                found.insert(format!("{home}: {}", block.text), place);
            }
        }
    }
    found
}

/// A way along the edges that comes back to where it began: `["a", "b", "a"]`.
pub(crate) fn cycle(edges: &Edges) -> Option<Vec<String>> {
    let mut clear = BTreeSet::new();
    let starts = edges.keys().map(|(from, _)| from);
    starts
        .into_iter()
        .find_map(|start| walk(edges, &mut vec![start.clone()], &mut clear))
}

fn walk(edges: &Edges, way: &mut Vec<String>, clear: &mut BTreeSet<String>) -> Option<Vec<String>> {
    let here = way.last()?.clone();
    if clear.contains(&here) {
        return None;
    }
    for (_, to) in edges.keys().filter(|(from, _)| *from == here) {
        if let Some(at) = way.iter().position(|part| part == to) {
            let mut round = way[at..].to_vec();
            round.push(to.clone());
            return Some(round);
        }
        way.push(to.clone());
        if let Some(found) = walk(edges, way, clear) {
            return Some(found);
        }
        way.pop();
    }
    clear.insert(here);
    None
}
