//! Finds arms that catch everything else, in a `match` over an enum that has to be matched in full.
//!
//! An arm counts that is `_`, a bare name, or a tuple of those, without a guard, beside an arm that
//! names a variant of a listed enum.

use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Expr, Pat, Token};

use super::paths::Named;
use super::tree::{Module, Tree};

/// A `match` with an arm that catches everything else.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wildcard {
    /// Where the arm stands.
    pub(crate) line: usize,
    /// The function around it.
    pub(crate) function: String,
    /// The listed enum whose variants the other arms name.
    pub(crate) over: String,
}

/// Those of a module, over the enums of these names.
pub(crate) fn wildcards(tree: &Tree, module: &Module, enums: &[&str]) -> Vec<Wildcard> {
    let mut arms = Arms {
        tree,
        module,
        enums,
        function: String::new(),
        self_ty: String::new(),
        found: Vec::new(),
    };
    module.items.iter().for_each(|item| arms.visit_item(item));
    arms.found
}

struct Arms<'a> {
    tree: &'a Tree,
    module: &'a Module,
    enums: &'a [&'a str],
    function: String,
    self_ty: String,
    found: Vec<Wildcard>,
}

impl Arms<'_> {
    /// The listed enum that one of a pattern's variants belongs to.
    fn named_enum(&self, pat: &Pat) -> Option<String> {
        let mut variants = Variants(Vec::new());
        variants.visit_pat(pat);
        variants.0.into_iter().find_map(|mut path| {
            if path[0] == "Self" {
                path[0].clone_from(&self.self_ty);
            }
            let path = match self.tree.resolve(self.module, &path, false) {
                Named::Own(own) => own,
                Named::Foreign(_) => return None,
                Named::Unknown => path,
            };
            let [.., of, _] = path.as_slice() else {
                return None;
            };
            self.enums.contains(&of.as_str()).then(|| of.clone())
        })
    }

    /// Whether a pattern takes whatever comes.
    fn takes_all(&self, pat: &Pat) -> bool {
        match pat {
            Pat::Wild(_) | Pat::Rest(_) => true,
            Pat::Ident(ident) => match &ident.subpat {
                Some((_, inner)) => self.takes_all(inner),
                None => !ident.ident.to_string().starts_with(char::is_uppercase),
            },
            Pat::Paren(inner) => self.takes_all(&inner.pat),
            Pat::Reference(inner) => self.takes_all(&inner.pat),
            Pat::Tuple(tuple) => tuple.elems.iter().all(|p| self.takes_all(p)),
            Pat::Or(or) => or.cases.iter().any(|p| self.takes_all(p)),
            _ => false,
        }
    }

    fn inside(&mut self, function: &syn::Ident, visit: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.function, function.to_string());
        visit(self);
        self.function = outer;
    }
}

impl<'ast> Visit<'ast> for Arms<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.inside(&item.sig.ident, |arms| visit::visit_item_fn(arms, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.inside(&item.sig.ident, |arms| {
            visit::visit_impl_item_fn(arms, item)
        });
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.inside(&item.sig.ident, |arms| {
            visit::visit_trait_item_fn(arms, item)
        });
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let name = match &*item.self_ty {
            syn::Type::Path(ty) => ty.path.segments.last().map(|s| s.ident.to_string()),
            _ => None,
        };
        let outer = std::mem::replace(&mut self.self_ty, name.unwrap_or_default());
        visit::visit_item_impl(self, item);
        self.self_ty = outer;
    }

    fn visit_expr_match(&mut self, item: &'ast syn::ExprMatch) {
        let over = item.arms.iter().find_map(|arm| self.named_enum(&arm.pat));
        let all = item.arms.iter().find(|arm| self.takes_all(&arm.pat));
        if let (Some(over), Some(arm)) = (over, all) {
            self.found.push(Wildcard {
                line: arm.fat_arrow_token.spans[0].start().line,
                function: self.function.clone(),
                over,
            });
        }
        visit::visit_expr_match(self, item);
    }

    /// Arguments of a macro that are expressions: `ready!(match ...)`, `vec![match ...]`.
    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        let parser = Punctuated::<Expr, Token![,]>::parse_terminated;
        if let Ok(arguments) = item.parse_body_with(parser) {
            for argument in &arguments {
                let mut inner = Arms {
                    function: self.function.clone(),
                    self_ty: self.self_ty.clone(),
                    found: Vec::new(),
                    ..*self
                };
                inner.visit_expr(argument);
                self.found.append(&mut inner.found);
            }
        }
    }
}

/// The paths of a pattern that can be variants. What a guard names is no pattern.
struct Variants(Vec<Vec<String>>);

impl<'ast> Visit<'ast> for Variants {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter().map(|s| s.ident.to_string());
        self.0.push(names.collect());
    }

    fn visit_pat_ident(&mut self, ident: &'ast syn::PatIdent) {
        if ident.ident.to_string().starts_with(char::is_uppercase) {
            self.0.push(vec![ident.ident.to_string()]);
        }
        visit::visit_pat_ident(self, ident);
    }

    fn visit_pat_guard(&mut self, guard: &'ast syn::PatGuard) {
        self.visit_pat(&guard.pat);
    }
}
