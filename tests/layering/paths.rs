//! Every path that a module names, and what it resolves to.
//!
//! The resolver knows `crate`, `self`, `super`, names from `use` lines (also renamed, or by a
//! glob), and what `lib.rs` re-exports. It finds paths inside of macros in their tokens.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Item, Meta};

use super::tree::{Module, Name, Tree, leaves};

/// What a path stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Named {
    /// Something of this crate, by its path from the root.
    Own(Vec<String>),
    /// Something of another crate, by the crate's name.
    Foreign(String),
    /// A local, a generic parameter, something of the prelude, or what a macro makes.
    Unknown,
}

/// A path in the code.
pub(crate) struct Found {
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
    pub(crate) import: bool,
}

/// A module's `impl` block.
pub(crate) struct Impl {
    pub(crate) line: usize,
    /// As it stands: `impl From<&config::Keepalive> for TcpOptions`.
    pub(crate) text: String,
    /// The paths of its trait and type, generic arguments included.
    pub(crate) paths: Vec<Vec<String>>,
}

/// What a module names.
#[derive(Default)]
pub(crate) struct Paths {
    pub(crate) found: Vec<Found>,
    pub(crate) impls: Vec<Impl>,
}

impl Paths {
    pub(crate) fn of(module: &Module) -> Self {
        let mut paths = Self::default();
        module.items.iter().for_each(|item| paths.visit_item(item));
        paths
    }

    fn push(&mut self, line: usize, segments: Vec<String>, import: bool) {
        self.found.push(Found {
            line,
            segments,
            import,
        });
    }

    /// Paths in tokens that no parser has read: those of macros.
    fn tokens(&mut self, tokens: TokenStream, prefix: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is = |at: usize, c: char| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == c);
        let colons = |at: usize| {
            matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == ':' && p.spacing() == Spacing::Joint)
                && is(at + 1, ':')
        };
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let TokenTree::Ident(first) = token else {
                if let TokenTree::Group(group) = token {
                    self.tokens(group.stream(), &[]);
                }
                at += 1;
                continue;
            };
            let line = first.span().start().line;
            let before = |c| at > 0 && is(at - 1, c);
            let mut segments = prefix.to_vec();
            // `.field`, `'lifetime` and `$variable` are no paths; `$crate` is.
            // In a group of imports a name stands at the start or behind a comma.
            let skipped = before('.')
                || before('\'')
                || (before('$') && first != "crate")
                || (!prefix.is_empty() && at > 0 && !before(','));
            if before(':') && at > 1 && colons(at - 2) {
                segments.push(String::new());
            }
            segments.push(first.to_string());
            let mut inner = None;
            at += 1;
            while colons(at) {
                match tokens.get(at + 2) {
                    Some(TokenTree::Ident(next)) => segments.push(next.to_string()),
                    Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                        inner = Some(group.stream());
                    }
                    _ => break,
                }
                at += 3;
            }
            let called = is(at, '!')
                || matches!(tokens.get(at), Some(TokenTree::Group(g)) if g.delimiter() == Delimiter::Parenthesis);
            let named = segments.len() > 1 || called || is_type(&segments[0]);
            if let Some(group) = inner {
                self.tokens(group, &segments);
            } else if named && !skipped {
                self.push(line, segments, !prefix.is_empty());
            }
        }
    }
}

fn is_type(name: &str) -> bool {
    name.starts_with(char::is_uppercase)
}

fn segments(path: &syn::Path) -> Vec<String> {
    let root = path.leading_colon.map(|_| String::new());
    let names = path.segments.iter().map(|s| s.ident.to_string());
    root.into_iter().chain(names).collect()
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let line = item.use_token.span.start().line;
        for import in leaves(item) {
            self.push(line, import.path, true);
        }
        self.visit_visibility(&item.vis);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let line = path.segments[0].ident.span().start().line;
        self.push(line, segments(path), false);
        visit::visit_path(self, path);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let mut named = Self::default();
        if let Some((path, _)) = &item.trait_ {
            named.visit_path(path);
        }
        named.visit_type(&item.self_ty);
        // As in the file, on one line.
        let show = |span: proc_macro2::Span| {
            let text = span.source_text().unwrap_or_default();
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let self_ty = show(item.self_ty.span());
        self.impls.push(Impl {
            line: item.impl_token.span.start().line,
            text: match &item.trait_ {
                Some((path, _)) => format!("impl {} for {self_ty}", show(path.span())),
                None => format!("impl {self_ty}"),
            },
            paths: named.found.into_iter().map(|f| f.segments).collect(),
        });
        visit::visit_item_impl(self, item);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        // Lints have paths of their own kind, `clippy::x`.
        let lint = ["allow", "warn", "deny", "forbid", "expect"];
        if !lint.iter().any(|name| attribute.path().is_ident(name)) {
            match &attribute.meta {
                Meta::Path(path) => self.visit_path(path),
                Meta::List(list) => {
                    self.visit_path(&list.path);
                    self.tokens(list.tokens.clone(), &[]);
                }
                Meta::NameValue(_) => {}
            }
        }
    }

    fn visit_token_stream(&mut self, tokens: &'ast TokenStream) {
        self.tokens(tokens.clone(), &[]);
    }
}

/// Imports of imports end somewhere; this bounds those that go in a circle.
const DEPTH: usize = 16;

impl Tree {
    /// What a path in a module stands for. `import`: it stands in a `use` line.
    pub(crate) fn resolve(&self, module: &Module, path: &[String], import: bool) -> Named {
        self.path(module, path, import, DEPTH)
            .unwrap_or(Named::Unknown)
    }

    fn path(&self, module: &Module, path: &[String], import: bool, depth: usize) -> Option<Named> {
        let depth = depth.checked_sub(1)?;
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "" => Some(Named::Foreign(rest.first()?.clone())),
            "crate" if module.path.first().is_some_and(|p| p == "main") => {
                Some(self.walk(module, vec!["main".to_owned()], rest, depth))
            }
            // `main.rs` is a crate of its own, and sees the library by its name.
            "crate" | "ripcord" => Some(self.walk(module, vec![], rest, depth)),
            "self" => Some(self.walk(module, module.path.clone(), rest, depth)),
            "super" => {
                let mut base = module.path.clone();
                base.pop();
                let supers = rest.iter().take_while(|s| *s == "super").count();
                base.truncate(base.len().saturating_sub(supers));
                Some(self.walk(module, base, &rest[supers..], depth))
            }
            "Self" => None,
            _ => match self.name(module, first, depth) {
                Some(Named::Own(base)) => Some(self.walk(module, base, rest, depth)),
                Some(other) => Some(other),
                None if import || (!rest.is_empty() && !is_type(first) && !is_builtin(first)) => {
                    Some(Named::Foreign(first.clone()))
                }
                None => None,
            },
        }
    }

    /// What one name stands for inside of a module.
    fn name(&self, module: &Module, name: &str, depth: usize) -> Option<Named> {
        let depth = depth.checked_sub(1)?;
        match module.names.get(name) {
            Some(Name::Here) => {
                let mut path = module.path.clone();
                path.push(name.to_owned());
                return Some(Named::Own(path));
            }
            // `use slab::slab`: its first name cannot be the one that it gives.
            Some(Name::Path(path)) if path[0] == name => {
                return Some(Named::Foreign(name.to_owned()));
            }
            Some(Name::Path(path)) => return self.path(module, path, true, depth),
            None => {}
        }
        module.globs.iter().find_map(|glob| {
            let Some(Named::Own(from)) = self.path(module, glob, true, depth) else {
                return None;
            };
            if self.enums.get(&from).is_some_and(|e| e.contains(name)) {
                return Some(Named::Own([from, vec![name.to_owned()]].concat()));
            }
            let from = self.modules.get(&from).filter(|m| m.path != module.path)?;
            self.name(from, name, depth)
        })
    }

    /// Follows `rest` from `base`. An import of another part is that part's own business; those of
    /// the viewer's part and of `lib.rs` are followed to what they stand for.
    fn walk(&self, viewer: &Module, mut base: Vec<String>, rest: &[String], depth: usize) -> Named {
        for (at, name) in rest.iter().enumerate() {
            let inside = base.is_empty() || self.part(&base) == self.part(&viewer.path);
            let found = match self.modules.get(&base) {
                Some(module) if inside && !module.names.contains_key(name) => {
                    self.name(module, name, depth)
                }
                Some(module) if inside => match &module.names[name] {
                    Name::Here => None,
                    Name::Path(_) => self.name(module, name, depth),
                },
                _ => None,
            };
            match found {
                Some(Named::Own(path)) if depth > 0 => {
                    return self.walk(viewer, path, &rest[at + 1..], depth - 1);
                }
                Some(Named::Foreign(name)) => return Named::Foreign(name),
                _ => base.push(name.clone()),
            }
        }
        Named::Own(base)
    }

    /// The parts that a path names. An alias in `lib.rs` names those of the type behind it.
    pub(crate) fn parts(&self, module: &Module, path: &[String], import: bool) -> BTreeSet<String> {
        match self.resolve(module, path, import) {
            Named::Own(own) if own.is_empty() => BTreeSet::new(),
            // One name alone that is a module is no import: a local has the same name.
            Named::Own(own) if !import && path.len() == 1 && self.modules.contains_key(&own) => {
                BTreeSet::new()
            }
            Named::Own(own) => self
                .alias(&own)
                .unwrap_or_else(|| [self.part_of_item(&own)].into()),
            Named::Foreign(_) | Named::Unknown => BTreeSet::new(),
        }
    }

    fn part_of_item(&self, own: &[String]) -> String {
        match own {
            [item] if !self.modules.contains_key(own) && self.is_of_lib(item) => "lib".to_owned(),
            _ => self.part(own),
        }
    }

    fn is_of_lib(&self, item: &str) -> bool {
        let lib = self.modules.get([].as_slice());
        lib.is_some_and(|lib| lib.names.contains_key(item))
    }

    fn alias(&self, own: &[String]) -> Option<BTreeSet<String>> {
        let ([name, ..], Some(lib)) = (own, self.modules.get([].as_slice())) else {
            return None;
        };
        let ty = lib.items.iter().find_map(|item| match item {
            Item::Type(item) if item.ident == name => Some(&item.ty),
            _ => None,
        })?;
        let mut paths = Paths::default();
        paths.visit_type(ty);
        let parts = paths
            .found
            .iter()
            .map(|f| self.parts(lib, &f.segments, false));
        Some(parts.flatten().collect())
    }
}

/// Primitive types have paths too: `u32::MAX`, `str::from_utf8`.
fn is_builtin(name: &str) -> bool {
    let types = "bool char str u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64";
    types.split(' ').any(|t| t == name)
}
