//! The scanner itself: a small crate for each form that it has to see.

use std::collections::BTreeMap;

use super::arms::wildcards;
use super::paths::Paths;
use super::rules::{Edges, cycle, edges, foreign, orphans};
use super::tree::Tree;

/// A crate of these files, beside some that every one has.
fn tree(files: &[(&str, &str)]) -> Tree {
    let mods = "mod a; mod app; mod config; mod net; mod route; mod stream; mod wire; \
                pub use app::App; type Route = route::Route<net::X>; pub use net::sent as take;";
    let grpc = "pub enum Wire { Grpc, TtHeader }\npub mod end;";
    let mut all: BTreeMap<String, String> = [
        ("lib.rs", mods),
        ("a.rs", ""),
        ("app.rs", "pub struct App;"),
        ("config.rs", "pub struct Config; pub mod keepalive;"),
        ("config/keepalive.rs", "pub struct Keepalive;"),
        ("net.rs", "pub struct X; pub trait Dial {} pub fn sent() {}"),
        ("route.rs", "pub struct Route<B>(B);"),
        ("stream.rs", "pub enum Class { Caller, Callee, Other }"),
        (
            "wire/mod.rs",
            "pub mod grpc; pub mod ttheader; pub mod detect;",
        ),
        ("wire/detect.rs", ""),
        ("wire/grpc/mod.rs", grpc),
        ("wire/grpc/end.rs", "pub mod face;"),
        ("wire/grpc/end/face.rs", ""),
        ("wire/ttheader/mod.rs", "pub mod keys;"),
        ("wire/ttheader/keys.rs", ""),
    ]
    .map(|(name, text)| (name.to_owned(), text.to_owned()))
    .into();
    all.extend(
        files
            .iter()
            .map(|(n, t)| ((*n).to_owned(), (*t).to_owned())),
    );
    let tree = Tree::new(&all);
    assert_eq!(tree.lost, [""; 0]);
    tree
}

/// The parts that one file's part imports when the file has this text.
fn imports(file: &str, text: &str) -> Vec<String> {
    let tree = tree(&[(file, text)]);
    let file = tree.modules.values().find(|m| m.file == file).unwrap();
    let from = tree.part(&file.path);
    let edges = edges(&tree).into_keys();
    edges
        .filter(|(f, _)| *f == from)
        .map(|(_, to)| to)
        .collect()
}

#[test]
fn the_scanner_sees_every_import() {
    for (text, parts) in [
        ("use crate::wire::ttheader::keys;", "wire::ttheader"),
        (
            "use crate::{wire::grpc::{x, y}, net,\n  stream::z};",
            "net stream wire::grpc",
        ),
        (
            "use crate::wire::{grpc as g, ttheader};",
            "wire::grpc wire::ttheader",
        ),
        (
            "use crate::wire; fn f() { wire::grpc::f() }",
            "wire wire::grpc",
        ),
        ("use crate::wire::detect::x;", "wire"),
        ("use crate::net::*;", "net"),
        ("use crate::*; fn f() { net::x() }", "net"),
        ("use super::stream::Class as C;", "stream"),
        ("use crate::{App, Route};", "app net route"),
        ("use crate::take;", "net"),
        ("fn f() { use crate::net::x; }", "net"),
        ("mod b { use super::super::net::x; }", "net"),
        (
            "pub use self::b::X; mod b { pub use crate::net::X; }",
            "net",
        ),
        ("use mycrate::wire::grpc;", ""),
        ("use ::net::x;", ""),
        ("// crate::net\n/// [`crate::net`]\nfn f() {}", ""),
    ] {
        assert_eq!(imports("a.rs", text).join(" "), parts, "{text}");
    }
}

#[test]
fn the_scanner_sees_every_path_in_code() {
    for (text, parts) in [
        ("fn f() -> crate::config::Config {}", "config"),
        ("struct S { x: Vec<Option<crate::net::X>> }", "net"),
        (
            "fn f<T: crate::net::Dial>(_: &dyn Fn(crate::stream::Class)) {}",
            "net stream",
        ),
        (
            "fn f() { <u8 as crate::net::Dial>::dial(super::config::Y) }",
            "config net",
        ),
        ("pub(in crate::wire::grpc) fn f() {}", "wire::grpc"),
        ("pub(crate) fn f() {}", ""),
        (
            "fn f() { match x { crate::stream::Class::Caller => {} } }",
            "stream",
        ),
        ("#[with(crate::net::X)] struct S;", "net"),
        (
            "fn f() { println!(\"{}\", crate::net::x(config::y)); }",
            "net",
        ),
        ("fn f() { g!(a, { b: [super::stream::Class] }) }", "stream"),
        (
            "macro_rules! m { ($x:expr) => { $crate::net::sent($x) } }",
            "net",
        ),
        (
            "macro_rules! m { () => { use $crate::{net::{X as Y}, config}; } }",
            "config net",
        ),
        (
            "use crate::*; fn f(net: u8) { g(net); h!(net); net.x(); }",
            "",
        ),
        ("use super::*; fn f() { take() }", "net"),
        ("fn f() { \"crate::net::x\" }", ""),
    ] {
        assert_eq!(imports("a.rs", text).join(" "), parts, "{text}");
    }
}

#[test]
fn a_wires_folder_is_a_part_and_its_own_modules_are_not_others() {
    let face = "wire/grpc/end/face.rs";
    assert_eq!(
        imports(face, "use super::super::super::super::config::X;"),
        ["config"]
    );
    assert_eq!(
        imports(face, "use super::super::super::ttheader::X;"),
        ["wire::ttheader"]
    );
    assert_eq!(
        imports(face, "use super::super::super::detect::X;"),
        ["wire"]
    );
    assert_eq!(
        imports(face, "use super::super::Wire; use crate::wire::grpc::end;"),
        [""; 0]
    );
    // What a module imports is not its own, for its children neither.
    let end = ("wire/grpc/end.rs", "use crate::net::X; pub mod face;");
    let below = tree(&[end, (face, "use super::*; fn f(_: X) {}")]);
    let edges: Vec<String> = edges(&below).into_values().flatten().collect();
    assert!(
        edges.contains(&"src/wire/grpc/end/face.rs:1".to_owned()),
        "{edges:?}"
    );
}

#[test]
fn the_binary_is_a_crate_of_its_own() {
    let tree = tree(&[
        (
            "main.rs",
            "mod notify; use ripcord::App; fn main() { notify::x() }",
        ),
        ("notify.rs", "use crate::main; use ripcord::take;"),
    ]);
    let found: Vec<String> = edges(&tree)
        .into_keys()
        .map(|(from, to)| format!("{from} -> {to}"))
        .filter(|edge| edge.starts_with("main") || edge.starts_with("notify"))
        .collect();
    assert_eq!(
        found,
        [
            "main -> app",
            "main -> notify",
            "notify -> main",
            "notify -> net"
        ]
    );
}

#[test]
fn what_only_tests_compile_does_not_count() {
    for text in [
        "#[cfg(test)]\nmod tests { use crate::net::x; }",
        "#[cfg(all(test, unix))] use crate::net::x;",
        "#[cfg(any(test, all(test, unix)))] use crate::net::x;",
        "struct S; impl S { #[cfg(test)] fn f() { crate::net::x() } }",
        "fn f() { #[cfg(test)] crate::net::sent(); #[cfg(test)] let x = crate::net::X; }",
        "struct S { #[cfg(test)] x: crate::net::X }",
        "fn f() { match x { #[cfg(test)] crate::net::X => {}, y => {} } }",
    ] {
        assert_eq!(imports("a.rs", text), [""; 0], "{text}");
    }
    for text in [
        "#[cfg(any(test, feature = \"testing\"))] use crate::net::x;",
        "#[cfg(not(test))] use crate::net::x;",
        "#[cfg(feature = \"test\")] use crate::net::x;",
        "#[cfg(test)]\nmod tests {}\nuse crate::net::x;",
    ] {
        assert_eq!(imports("a.rs", text), ["net"], "{text}");
    }
    let child = tree(&[
        ("a.rs", "#[cfg(test)] mod check; mod other;"),
        ("a/check.rs", "use crate::net::x; mod deeper;"),
        ("a/check/deeper.rs", "use crate::net::x;"),
        ("a/other.rs", "use crate::config::x;"),
    ]);
    let from_a = edges(&child).into_keys().filter(|(from, _)| from == "a");
    assert_eq!(from_a.map(|(_, to)| to).collect::<Vec<_>>(), ["config"]);
}

#[test]
fn files_that_no_module_leads_to_are_told() {
    let files = [("lib.rs", "mod a; mod b;"), ("a.rs", ""), ("c.rs", "")];
    let files = files.map(|(n, t)| (n.to_owned(), t.to_owned()));
    assert_eq!(
        Tree::new(&files.into()).lost,
        [
            "src/lib.rs: `mod b` leads to no file",
            "src/c.rs: no `mod` line leads here"
        ]
    );
}

#[test]
fn the_scanner_sees_an_impl_between_other_parts() {
    let orphans = |text: &str| {
        let found = orphans(&tree(&[("a.rs", text)])).into_keys();
        found.collect::<Vec<_>>().join(", ")
    };
    for text in [
        "use crate::config; use crate::net::X;\nimpl From<&config::Config> for X {}",
        "use crate::net::X;\nimpl X {}",
        "impl crate::net::Dial for u32 {}",
        "impl<T: Fn()> crate::net::Dial for Box<T> {}",
        "impl std::fmt::Display for crate::Route {}",
        "mod b { impl super::super::net::Dial for crate::stream::Class {} }",
        "fn f() { impl crate::net::Dial for u32 {} }",
    ] {
        assert!(orphans(text).starts_with("a: impl "), "{text}");
    }
    assert_eq!(
        orphans("impl  From< &crate::config::Config >\n for crate::net::X {}"),
        "a: impl From< &crate::config::Config > for crate::net::X"
    );
    for text in [
        "struct Y; impl Y {} impl Drop for Y {} impl crate::net::Dial for Y {}",
        "struct Y; impl From<Y> for crate::net::X {}",
        "trait T {} impl T for crate::net::X {}",
        "impl<T: Local> Local for Vec<T> {} trait Local {}",
        "mod b { pub struct Y; } impl crate::net::Dial for b::Y {}",
        "#[cfg(test)] mod t { impl crate::net::Dial for u32 {} }",
    ] {
        assert_eq!(orphans(text), "", "{text}");
    }
}

#[test]
fn the_scanner_sees_crates_of_others() {
    let text = "use std::fmt; pub use {tokio::x, http as h}; use ::x; fn f() { h2::x(); fmt::y(); \
                u32::MAX; Vec::new(); Self::z(); m!(tracing::x); crate::net::X::y(); h::z(); }";
    let tree = tree(&[("a.rs", text)]);
    let module = &tree.modules[["a".to_owned()].as_slice()];
    let found: Vec<String> = foreign(&tree, module).into_iter().collect();
    // `h::z()` is http by another name.
    assert_eq!(found, ["h2", "http", "std", "tokio", "tracing", "x"]);
    assert_eq!(Paths::of(module).impls.len(), 0);
}

#[test]
fn the_scanner_sees_arms_that_catch_the_rest() {
    let found = |text: &str| {
        let tree = tree(&[("a.rs", text)]);
        let module = &tree.modules[["a".to_owned()].as_slice()];
        let found = wildcards(&tree, module, &["Class", "Own"]).into_iter();
        found
            .map(|w| format!("{} {} {}", w.function, w.over, w.line))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let class = "use crate::stream::Class; use crate::stream::Class as C;";
    for arms in [
        "Class::Caller => 1, _ => 2",
        "C::Caller => 1, other => 2",
        "Class::Caller | Class::Callee => 1, _other @ _ => 2",
        "Some(&Class::Caller) if x => 1, _ => 2",
        "(Class::Caller, 1) => 1, (_, _) => 2",
        "crate::stream::Class::Caller => 1, Class::Callee | _ => 2",
        "crate::stream::Class::Other { .. } => 1, _ => 2",
    ] {
        let text = format!("{class} fn f() {{ match x {{\n{arms} }} }}");
        assert_eq!(found(&text), "f Class 2", "{arms}");
    }
    let more = [
        "use crate::stream::Class::*; fn f() { match x { Caller => 1, _ => 2 } }",
        "use crate::stream::Class::{Caller}; fn f() { match x { Caller => 1, _ => 2 } }",
        "use crate::stream::Class; fn f() { ready!(match x { Class::Caller => 1, _ => 2 }) }",
        "fn f() { g(|| match Class::from(x) { Class::Caller => 1, _ => 2 }) }",
    ];
    for text in more {
        assert_eq!(found(text), "f Class 1", "{text}");
    }
    assert_eq!(
        found("enum Own { A } impl Own { fn g() { match x { Self::A => 1, _ => 2 } } }"),
        "g Own 1"
    );
    for arms in [
        "Class::Caller => 1, Class::Callee | Class::Other => 2",
        "Class::Caller => 1, _ if x => 2, Class::Callee => 3",
        "(Class::Caller, _) => 1, (Class::Callee, x) => 2",
        "Class::Other(_) => 1",
        "Some(x) if x == Class::Caller => 1, _ => 2",
        "other::Classy::Caller => 1, _ => 2",
    ] {
        let text = format!("{class} fn f() {{ match x {{ {arms} }} }}");
        assert_eq!(found(&text), "", "{arms}");
    }
}

#[test]
fn a_cycle_is_told_as_it_runs() {
    let graph = |pairs: &[(&str, &str)]| -> Edges {
        let owned = pairs
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
        owned.map(|edge| (edge, Vec::new())).collect()
    };
    assert_eq!(cycle(&graph(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
    let found = cycle(&graph(&[("a", "b"), ("b", "c"), ("c", "d"), ("d", "b")]));
    assert_eq!(found.unwrap(), ["b", "c", "d", "b"]);
}
