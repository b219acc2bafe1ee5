//! A rendered configuration: values in the file's own forms, written as JSON or as YAML.
//!
//! Knows no key of the schema; `render` makes the tree.

use serde_json::{Map, Number, Value};

/// One value of a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    /// Text, a word, a size or a duration.
    Text(String),
    /// A whole number.
    Count(usize),
    /// Any other number.
    Ratio(f64),
    /// A list.
    List(Vec<Tree>),
    /// Keys and their values, in the order of the file.
    Map(Vec<(String, Tree)>),
}

impl Tree {
    /// As JSON. Text stays text.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => Value::from(text.as_str()),
            Self::Count(number) => Value::from(*number),
            Self::Ratio(number) => Number::from_f64(*number).map_or(Value::Null, Value::from),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Map(pairs) => {
                let pairs = pairs
                    .iter()
                    .map(|(key, value)| (key.clone(), value.to_json()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    /// As YAML in block style. Each line has its line end.
    pub(super) fn to_yaml(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, 0);
        out
    }

    /// Writes the lines of a value. The cursor is at the beginning of a line, or behind a `- `.
    fn write(&self, out: &mut String, depth: usize) {
        match self {
            Self::Map(pairs) if !pairs.is_empty() => {
                for (at, (key, value)) in pairs.iter().enumerate() {
                    indent(out, if at == 0 { 0 } else { depth });
                    out.push_str(&scalar(key));
                    out.push(':');
                    value.write_behind_key(out, depth + 1);
                }
            }
            Self::List(items) if !items.is_empty() => {
                for (at, item) in items.iter().enumerate() {
                    indent(out, if at == 0 { 0 } else { depth });
                    out.push_str("- ");
                    item.write(out, depth + 1);
                }
            }
            Self::Text(_) | Self::Count(_) | Self::Ratio(_) | Self::List(_) | Self::Map(_) => {
                out.push_str(&self.in_line());
                out.push('\n');
            }
        }
    }

    fn write_behind_key(&self, out: &mut String, depth: usize) {
        match self {
            Self::Map(pairs) if !pairs.is_empty() => self.write_below(out, depth),
            Self::List(items) if !items.is_empty() => self.write_below(out, depth),
            Self::Text(_) | Self::Count(_) | Self::Ratio(_) | Self::List(_) | Self::Map(_) => {
                out.push(' ');
                self.write(out, depth);
            }
        }
    }

    fn write_below(&self, out: &mut String, depth: usize) {
        out.push('\n');
        indent(out, depth);
        self.write(out, depth);
    }

    /// A value that fits on one line.
    fn in_line(&self) -> String {
        match self {
            // In a value, unlike in a key, `$` begins a variable.
            Self::Text(text) => scalar(&text.replace('$', "$$")),
            Self::Count(number) => number.to_string(),
            Self::Ratio(number) => number.to_string(),
            Self::List(_) => "[]".to_owned(),
            Self::Map(_) => "{}".to_owned(),
        }
    }
}

fn indent(out: &mut String, depth: usize) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

/// Text as a YAML scalar: plain where it cannot be mistaken for something else, else in double
/// quotes.
fn scalar(text: &str) -> String {
    if is_plain(text) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

fn is_plain(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_./:-".contains(&b);
    let begins = |b: u8| b.is_ascii_alphabetic() || b == b'/';
    // What begins with a digit is an address, a size or a duration. A bare number is quoted.
    let number = || text.parse::<f64>().is_ok() || text.bytes().all(|b| b.is_ascii_digit());
    let first = text.bytes().next();
    text.bytes().all(fits)
        && first.is_some_and(|b| begins(b) || (b.is_ascii_digit() && !number()))
        && !text.ends_with(':')
        && !matches!(text, "null" | "true" | "false" | "yes" | "no")
}

/// Text in double quotes. Characters other than letters, digits and ASCII punctuation are escaped.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ if c.is_alphanumeric() => out.push(c),
            _ => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::environment::Environment;
    use crate::config::yaml::{self, Kind, Node};
    use proptest::prelude::*;

    fn text(text: &str) -> Tree {
        Tree::Text(text.to_owned())
    }

    fn map<const N: usize>(pairs: [(&str, Tree); N]) -> Tree {
        Tree::Map(pairs.map(|(k, v)| (k.to_owned(), v)).into())
    }

    /// The tree that the reader would see: every scalar is text, without variables.
    fn read(node: &Node) -> Tree {
        match &node.kind {
            Kind::Scalar { text, .. } => {
                let text = Environment::of(&[]).expand(text, usize::MAX).unwrap();
                Tree::Text(text.into_owned())
            }
            Kind::List(items) => Tree::List(items.iter().map(|item| read(item)).collect()),
            Kind::Map(pairs) => {
                let pairs = pairs.iter().map(|p| (p.key.clone(), read(&p.value)));
                Tree::Map(pairs.collect())
            }
        }
    }

    fn again(tree: &Tree) -> Tree {
        let mut faults = Vec::new();
        let yaml = tree.to_yaml();
        let root = yaml::read(&yaml, &mut faults);
        assert!(faults.is_empty(), "{faults:?}\n{yaml}");
        read(&root.unwrap())
    }

    #[test]
    fn both_forms_of_one_tree() {
        let tree = map([
            ("node", text("a b")),
            ("workers", Tree::Count(2)),
            (
                "list",
                Tree::List(vec![
                    map([("name", text("127.0.0.1:1")), ("none", map([]))]),
                    Tree::List(vec![text("x"), text("1")]),
                ]),
            ),
            ("sampling", Tree::Ratio(0.5)),
        ]);
        assert_eq!(
            tree.to_yaml(),
            "node: \"a b\"\nworkers: 2\nlist:\n  - name: 127.0.0.1:1\n    none: {}\n  - - x\n    - \"1\"\nsampling: 0.5\n"
        );
        assert_eq!(
            tree.to_json(),
            serde_json::json!({
                "node": "a b",
                "workers": 2,
                "list": [{ "name": "127.0.0.1:1", "none": {} }, ["x", "1"]],
                "sampling": 0.5,
            })
        );
    }

    #[test]
    fn nothing_plain_is_taken_for_something_else() {
        for plain in [
            "a",
            "chat.v1.Chat",
            "10s",
            "64KiB",
            "/var/log/x",
            "off",
            "[::1]:1",
        ] {
            assert_eq!(
                scalar(plain),
                plain.to_owned().replace("[::1]:1", "\"[::1]:1\"")
            );
        }
        for other in [
            "",
            "null",
            "true",
            "1",
            "1e3",
            "1.5",
            "-",
            "a: b",
            "a:",
            "#",
            "* ",
            "*",
            "é\u{85}",
            "\u{2028}",
            "\u{feff}",
            "---",
            "..",
            "~",
            "<<",
            "${X}",
            "a\nb",
            "\u{7f}",
            "\u{1f600}",
        ] {
            assert!(scalar(other).starts_with('"'), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_it_was(key: String, value: String) {
            let tree = map([(&key, Tree::List(vec![text(&value), map([(&key, text(&value))])]))]);
            prop_assert_eq!(again(&tree), tree);
        }

        #[test]
        fn text_like_yaml_is_read_as_it_was(value in "[-a:&*\\[\\]{}!|>%@`'\"#,?~ \n\t\r01.\u{85}\u{2028}]{0,20}") {
            let tree = map([("k", text(&value))]);
            prop_assert_eq!(again(&tree), tree);
        }
    }
}
