//! Places, duplicates and bounds of the tree.

use super::*;
use proptest::prelude::*;

fn faults(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let root = read(text, &mut faults);
    assert!(root.is_some() || !faults.is_empty());
    faults.iter().map(ToString::to_string).collect()
}

#[test]
fn places_of_keys_and_values() {
    let mut faults = Vec::new();
    let root = read("a: 1\nb:\n  - x\n  - {k: v}\n", &mut faults).unwrap();
    assert!(faults.is_empty());
    let Kind::Map(pairs) = &root.kind else {
        panic!()
    };
    let at = |line, column| Place { line, column };
    assert_eq!(pairs[0].place, at(1, 1));
    assert_eq!(pairs[0].value.place, at(1, 4));
    let Kind::List(items) = &pairs[1].value.kind else {
        panic!()
    };
    assert_eq!(items[0].place, at(3, 5));
    let Kind::Map(inner) = &items[1].kind else {
        panic!()
    };
    assert_eq!(inner[0].place, at(4, 6));
}

#[test]
fn faults_of_the_text() {
    assert_eq!(faults(""), ["1:1: the file is empty"]);
    assert_eq!(faults("a: 1\n a: 2: 3\n").len(), 1);
    assert_eq!(
        faults("a: 1\nb: 2\na: 3\n"),
        ["3:1: duplicate key \"a\"; first at 1:1"]
    );
    assert_eq!(faults("[a]: 1\n"), ["1:1: a list as a key; allowed: text"]);
    assert_eq!(
        faults("a: 1\n---\nb: 1\n"),
        ["2:1: a second document; allowed: one"]
    );
    assert_eq!(faults("a: !x 1\n"), ["1:4: tags (!...) are not used here"]);
    assert_eq!(
        faults("a: &x [1, *x]\n"),
        ["1:11: an alias inside of what it stands for"]
    );
}

#[test]
fn what_must_be_quoted_is_said() {
    for (text, hint) in [
        (
            "a: *\n",
            "(an unquoted * begins an alias; quote a star: \"*\")",
        ),
        ("{ a: *Get }", "quote a star: \"*\")"),
        (
            "{ a: ${B} }",
            "(quote a value with a variable within { } and [ ]: \"${NAME}\")",
        ),
        ("b: 1\na: [${B}:80]", "\"${NAME}\")"),
        ("{ a: [::1]:80 }", "(quote an IPv6 address: \"[::1]:8888\")"),
        ("a: @b", "(quote a value that begins with it)"),
    ] {
        let found = faults(text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].ends_with(hint), "{text}: {found:?}");
    }
}

#[test]
fn depth_size_and_expansion_are_bounded() {
    let deep = "[".repeat(100) + &"]".repeat(100);
    assert_eq!(faults(&deep), ["1:33: nested too deep; allowed: 32 levels"]);
    let large = "#".repeat(MAX_BYTES + 1);
    assert_eq!(
        faults(&large),
        ["1:1: the file is too large; allowed: up to 4194304 bytes"]
    );
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..10 {
        let alias = vec![format!("*a{}", i - 1); 10].join(", ");
        laughs.push_str(&format!("a{i}: &a{i} [{alias}]\n"));
    }
    let found = faults(&laughs);
    assert_eq!(found.len(), 1);
    assert!(found[0].ends_with("too many values; allowed: 500000, aliases expanded"));
}

#[test]
fn aliases_stand_for_their_anchor() {
    let mut faults = Vec::new();
    let root = read("a: &x {k: v}\nb: *x\n", &mut faults).unwrap();
    assert!(faults.is_empty());
    let Kind::Map(pairs) = &root.kind else {
        panic!()
    };
    assert!(Rc::ptr_eq(&pairs[0].value, &pairs[1].value));
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text: String) {
        faults(&text);
    }

    #[test]
    fn yaml_like_text_is_read_without_a_panic(text in "[-a:&*\\[\\]{}!|>%@`'\"#,?~ \n\t\r01]{0,200}") {
        faults(&text);
    }
}
