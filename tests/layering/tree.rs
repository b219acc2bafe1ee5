//! The crate as a tree of modules: the parsed files of `src/`, without their tests.
//!
//! It follows `mod` lines from `lib.rs` and `main.rs`, drops everything that only tests compile,
//! and records what each module defines and imports.

use std::collections::{BTreeMap, BTreeSet};

use syn::punctuated::Punctuated;
use syn::visit::Visit;
use syn::visit_mut::{self, VisitMut};
use syn::{Attribute, ImplItem, Item, Meta, Stmt, Token, TraitItem, UseTree};

/// What a name in a module stands for.
#[derive(Clone)]
pub(crate) enum Name {
    /// Something that the module defines itself.
    Here,
    /// A path that a `use` line gives it.
    Path(Vec<String>),
}

/// A module, an inline one too.
pub(crate) struct Module {
    /// The file below `src/`.
    pub(crate) file: String,
    /// From the crate's root: `["wire", "grpc", "end"]`. `lib.rs` is empty, `main.rs` is `main`.
    pub(crate) path: Vec<String>,
    /// Without tests. Inline modules are modules of their own.
    pub(crate) items: Vec<Item>,
    pub(crate) names: BTreeMap<String, Name>,
    /// The paths of its `use x::*`.
    pub(crate) globs: Vec<Vec<String>>,
}

/// All modules, by path.
pub(crate) struct Tree {
    pub(crate) modules: BTreeMap<Vec<String>, Module>,
    /// Enums by path. They are namespaces too: `use Wire::*` brings their variants.
    pub(crate) enums: BTreeMap<Vec<String>, BTreeSet<String>>,
    /// The folders below `src/wire/`.
    pub(crate) wires: BTreeSet<String>,
    /// Files that no `mod` line leads to, and `mod` lines that lead to no file.
    pub(crate) lost: Vec<String>,
}

impl Tree {
    /// `files`: names below `src/` and texts.
    pub(crate) fn new(files: &BTreeMap<String, String>) -> Self {
        let folder =
            |file: &String| Some(file.strip_prefix("wire/")?.split_once('/')?.0.to_owned());
        let mut tree = Self {
            modules: BTreeMap::new(),
            enums: BTreeMap::new(),
            wires: files.keys().filter_map(folder).collect(),
            lost: Vec::new(),
        };
        let mut reached = BTreeSet::new();
        for (file, path) in [("lib.rs", vec![]), ("main.rs", vec!["main".to_owned()])] {
            if files.contains_key(file) {
                tree.file(files, file, "", path, false, &mut reached);
            }
        }
        let unreached = files.keys().filter(|f| !reached.contains(*f));
        tree.lost
            .extend(unreached.map(|f| format!("src/{f}: no `mod` line leads here")));
        tree
    }

    /// The part of the crate that a path from its root is in. A module that `main.rs` declares is
    /// one like those of `lib.rs`.
    pub(crate) fn part(&self, path: &[String]) -> String {
        match path {
            [main, below, ..] if main == "main" && self.modules.contains_key(&path[..2]) => {
                below.clone()
            }
            [] => "lib".to_owned(),
            [wire, below, ..] if wire == "wire" && self.wires.contains(below) => {
                format!("wire::{below}")
            }
            [part, ..] => part.clone(),
        }
    }

    /// One file. `folder` is where the files of its own modules are. A test file is only reached.
    fn file(
        &mut self,
        files: &BTreeMap<String, String>,
        file: &str,
        folder: &str,
        path: Vec<String>,
        test: bool,
        reached: &mut BTreeSet<String>,
    ) {
        reached.insert(file.to_owned());
        let parsed = syn::parse_file(&files[file]);
        let mut parsed = parsed.unwrap_or_else(|e| panic!("src/{file}: {e}"));
        let tests = TestFiles::of(&parsed.items, test);
        if !test {
            WithoutTests.visit_file_mut(&mut parsed);
        }
        for (module, test) in tests {
            let inner = format!("{folder}{module}/");
            let names = [format!("{folder}{module}.rs"), format!("{inner}mod.rs")];
            let Some(child) = names.iter().find(|name| files.contains_key(*name)) else {
                self.lost
                    .push(format!("src/{file}: `mod {module}` leads to no file"));
                continue;
            };
            let mut below = path.clone();
            below.extend(module.split('/').map(str::to_owned));
            self.file(files, child, &inner, below, test, reached);
        }
        if !test {
            self.module(file, path, parsed.items);
        }
    }

    fn module(&mut self, file: &str, path: Vec<String>, items: Vec<Item>) {
        let mut module = Module {
            file: file.to_owned(),
            path: path.clone(),
            items: Vec::new(),
            names: BTreeMap::new(),
            globs: Vec::new(),
        };
        for item in items {
            if let Some(name) = name_of(&item) {
                module.names.insert(name.clone(), Name::Here);
                if let Item::Enum(item) = &item {
                    let variants = item.variants.iter().map(|v| v.ident.to_string());
                    let at = [path.as_slice(), &[name]].concat();
                    self.enums.insert(at, variants.collect());
                }
            }
            match item {
                Item::Mod(inner) => {
                    if let Some((_, items)) = inner.content {
                        let below = [path.as_slice(), &[inner.ident.to_string()]].concat();
                        self.module(file, below, items);
                    }
                }
                other => module.items.push(other),
            }
        }
        let mut uses = Uses::default();
        module.items.iter().for_each(|item| uses.visit_item(item));
        for import in uses.0 {
            match import.name {
                None => module.globs.push(import.path),
                Some(name) => {
                    let name = module.names.entry(name);
                    name.or_insert(Name::Path(import.path));
                }
            }
        }
        self.modules.insert(path, module);
    }
}

fn name_of(item: &Item) -> Option<String> {
    Some(
        match item {
            Item::Const(i) => &i.ident,
            Item::Enum(i) => &i.ident,
            Item::Fn(i) => &i.sig.ident,
            Item::Macro(i) => i.ident.as_ref()?,
            Item::Mod(i) => &i.ident,
            Item::Static(i) => &i.ident,
            Item::Struct(i) => &i.ident,
            Item::Trait(i) => &i.ident,
            Item::TraitAlias(i) => &i.ident,
            Item::Type(i) => &i.ident,
            Item::Union(i) => &i.ident,
            _ => return None,
        }
        .to_string(),
    )
}

/// One leaf of a `use` tree.
pub(crate) struct Import {
    pub(crate) path: Vec<String>,
    /// The name that it gives; none is a glob, `_` is a trait without a name.
    pub(crate) name: Option<String>,
}

/// The leaves of a `use` line. A leading `::` is a first segment of its own, an empty one.
pub(crate) fn leaves(item: &syn::ItemUse) -> Vec<Import> {
    fn walk(tree: &UseTree, prefix: &[String], found: &mut Vec<Import>) {
        let with = |name: &syn::Ident| match name.to_string().as_str() {
            "self" if !prefix.is_empty() => prefix.to_vec(),
            name => [prefix, &[name.to_owned()]].concat(),
        };
        match tree {
            UseTree::Path(path) => walk(&path.tree, &with_all(prefix, &path.ident), found),
            UseTree::Group(group) => group.items.iter().for_each(|t| walk(t, prefix, found)),
            UseTree::Name(name) => {
                let path = with(&name.ident);
                let name = path.last().cloned();
                found.push(Import { path, name });
            }
            UseTree::Rename(rename) => {
                let name = Some(rename.rename.to_string());
                let path = with(&rename.ident);
                found.push(Import { path, name });
            }
            UseTree::Glob(_) => found.push(Import {
                path: prefix.to_vec(),
                name: None,
            }),
        }
    }
    /// A `self` or `super` in the middle stays: the resolver reads it.
    fn with_all(prefix: &[String], name: &syn::Ident) -> Vec<String> {
        [prefix, &[name.to_string()]].concat()
    }
    let root: &[String] = match item.leading_colon {
        Some(_) => &[String::new()],
        None => &[],
    };
    let mut found = Vec::new();
    walk(&item.tree, root, &mut found);
    found
}

/// Every `use` of a module, those inside of functions too.
#[derive(Default)]
struct Uses(Vec<Import>);

impl<'ast> Visit<'ast> for Uses {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.0.extend(leaves(item));
    }
}

/// The modules of a file that are files themselves, and whether only tests compile them.
struct TestFiles;

impl TestFiles {
    /// Names are paths with `/`, for a module file inside of an inline module.
    fn of(items: &[Item], test: bool) -> Vec<(String, bool)> {
        let mut found = Vec::new();
        for item in items {
            let Item::Mod(module) = item else { continue };
            let test = test || only_tests(&module.attrs);
            let name = module.ident.to_string();
            match &module.content {
                None => found.push((name, test)),
                Some((_, inner)) => {
                    let inner = Self::of(inner, test).into_iter();
                    found.extend(inner.map(|(below, test)| (format!("{name}/{below}"), test)));
                }
            }
        }
        found
    }
}

/// Whether one of the attributes is a `cfg` that only holds in tests.
fn only_tests(attributes: &[Attribute]) -> bool {
    let list = |meta: &Meta| {
        let parser = Punctuated::<Meta, Token![,]>::parse_terminated;
        let list = meta.require_list().ok()?;
        Some(
            list.parse_args_with(parser)
                .ok()?
                .into_iter()
                .collect::<Vec<_>>(),
        )
    };
    fn needs_test(meta: &Meta, list: &dyn Fn(&Meta) -> Option<Vec<Meta>>) -> bool {
        let inner = || list(meta).unwrap_or_default();
        if meta.path().is_ident("all") {
            inner().iter().any(|m| needs_test(m, list))
        } else if meta.path().is_ident("any") {
            let inner = inner();
            !inner.is_empty() && inner.iter().all(|m| needs_test(m, list))
        } else {
            meta.path().is_ident("test") && matches!(meta, Meta::Path(_))
        }
    }
    attributes
        .iter()
        .filter(|a| a.path().is_ident("cfg"))
        .filter_map(|a| list(&a.meta))
        .flatten()
        .any(|meta| needs_test(&meta, &list))
}

/// Removes what only tests compile, wherever a `cfg` may stand.
struct WithoutTests;

impl VisitMut for WithoutTests {
    fn visit_file_mut(&mut self, file: &mut syn::File) {
        file.items.retain(|item| !only_tests(item_attrs(item)));
        visit_mut::visit_file_mut(self, file);
    }

    fn visit_item_mod_mut(&mut self, module: &mut syn::ItemMod) {
        if let Some((_, items)) = &mut module.content {
            items.retain(|item| !only_tests(item_attrs(item)));
        }
        visit_mut::visit_item_mod_mut(self, module);
    }

    fn visit_item_impl_mut(&mut self, item: &mut syn::ItemImpl) {
        item.items.retain(|item| {
            !only_tests(match item {
                ImplItem::Const(i) => &i.attrs,
                ImplItem::Fn(i) => &i.attrs,
                ImplItem::Type(i) => &i.attrs,
                ImplItem::Macro(i) => &i.attrs,
                _ => &[],
            })
        });
        visit_mut::visit_item_impl_mut(self, item);
    }

    fn visit_item_trait_mut(&mut self, item: &mut syn::ItemTrait) {
        item.items.retain(|item| {
            !only_tests(match item {
                TraitItem::Const(i) => &i.attrs,
                TraitItem::Fn(i) => &i.attrs,
                TraitItem::Type(i) => &i.attrs,
                TraitItem::Macro(i) => &i.attrs,
                _ => &[],
            })
        });
        visit_mut::visit_item_trait_mut(self, item);
    }

    fn visit_block_mut(&mut self, block: &mut syn::Block) {
        block.stmts.retain(|stmt| {
            !only_tests(match stmt {
                Stmt::Local(s) => &s.attrs,
                Stmt::Item(item) => item_attrs(item),
                Stmt::Macro(s) => &s.attrs,
                Stmt::Expr(syn::Expr::Block(e), _) => &e.attrs,
                Stmt::Expr(syn::Expr::If(e), _) => &e.attrs,
                Stmt::Expr(syn::Expr::Call(e), _) => &e.attrs,
                Stmt::Expr(syn::Expr::MethodCall(e), _) => &e.attrs,
                Stmt::Expr(..) => &[],
            })
        });
        visit_mut::visit_block_mut(self, block);
    }

    fn visit_fields_named_mut(&mut self, fields: &mut syn::FieldsNamed) {
        let kept = std::mem::take(&mut fields.named).into_iter();
        fields.named = kept.filter(|f| !only_tests(&f.attrs)).collect();
        visit_mut::visit_fields_named_mut(self, fields);
    }

    fn visit_item_enum_mut(&mut self, item: &mut syn::ItemEnum) {
        let kept = std::mem::take(&mut item.variants).into_iter();
        item.variants = kept.filter(|v| !only_tests(&v.attrs)).collect();
        visit_mut::visit_item_enum_mut(self, item);
    }

    fn visit_expr_struct_mut(&mut self, item: &mut syn::ExprStruct) {
        let kept = std::mem::take(&mut item.fields).into_iter();
        item.fields = kept.filter(|f| !only_tests(&f.attrs)).collect();
        visit_mut::visit_expr_struct_mut(self, item);
    }

    fn visit_expr_match_mut(&mut self, item: &mut syn::ExprMatch) {
        item.arms.retain(|arm| !only_tests(&arm.attrs));
        visit_mut::visit_expr_match_mut(self, item);
    }
}

fn item_attrs(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(i) => &i.attrs,
        Item::Enum(i) => &i.attrs,
        Item::ExternCrate(i) => &i.attrs,
        Item::Fn(i) => &i.attrs,
        Item::ForeignMod(i) => &i.attrs,
        Item::Impl(i) => &i.attrs,
        Item::Macro(i) => &i.attrs,
        Item::Mod(i) => &i.attrs,
        Item::Static(i) => &i.attrs,
        Item::Struct(i) => &i.attrs,
        Item::Trait(i) => &i.attrs,
        Item::TraitAlias(i) => &i.attrs,
        Item::Type(i) => &i.attrs,
        Item::Union(i) => &i.attrs,
        Item::Use(i) => &i.attrs,
        _ => &[],
    }
}
