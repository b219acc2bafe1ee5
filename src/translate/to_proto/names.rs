//! Names in a protobuf file: each once.

use std::collections::{HashMap, HashSet};

use super::super::thrift::{Document, Field, Type};

/// Words that mean something else where a type is expected.
const WORDS: &[&str] = &[
    "bool",
    "bytes",
    "double",
    "enum",
    "extend",
    "extensions",
    "fixed32",
    "fixed64",
    "float",
    "group",
    "import",
    "int32",
    "int64",
    "map",
    "message",
    "oneof",
    "option",
    "optional",
    "package",
    "public",
    "repeated",
    "required",
    "reserved",
    "returns",
    "rpc",
    "service",
    "sfixed32",
    "sfixed64",
    "sint32",
    "sint64",
    "stream",
    "string",
    "syntax",
    "to",
    "uint32",
    "uint64",
    "weak",
];

/// The names of what a file declares. What has none is not written: nothing uses it.
pub(super) struct Names {
    /// By the index in the document.
    pub(super) structs: HashMap<usize, String>,
    pub(super) enums: HashMap<usize, String>,
    pub(super) services: HashMap<usize, String>,
    used: HashSet<String>,
}

impl Names {
    /// Names what the document's own files declare, and what that uses of includes.
    pub(super) fn new(document: &Document) -> Self {
        let mut wanted = Wanted::default();
        wanted.find(document);
        let mut names = Self {
            structs: HashMap::new(),
            enums: HashMap::new(),
            services: HashMap::new(),
            used: WORDS.iter().map(|w| (*w).to_owned()).collect(),
        };
        // Services cannot have another name without a line of the schema: they come first.
        for (index, service) in document.services.iter().enumerate() {
            if service.is_main {
                let name = names.take(&service.name);
                names.services.insert(index, name);
            }
        }
        for is_main in [true, false] {
            for (index, item) in document.structs.iter().enumerate() {
                if item.is_main == is_main && wanted.structs.contains(&index) {
                    let name = names.take(&item.name);
                    names.structs.insert(index, name);
                }
            }
            for (index, item) in document.enums.iter().enumerate() {
                if item.is_main == is_main && wanted.enums.contains(&index) {
                    let name = names.take(&item.name);
                    names.enums.insert(index, name);
                }
            }
        }
        names
    }

    /// A name that no other has: this one, if it can be.
    pub(super) fn take(&mut self, name: &str) -> String {
        let name = unique(name, |name| !self.used.contains(name));
        self.used.insert(name.clone());
        name
    }

    /// The name of a method's own message.
    pub(super) fn message(&mut self, service: &str, method: &str, what: &str) -> String {
        let mut letters = method.chars();
        let first = letters.next().map(|c| c.to_ascii_uppercase());
        let method: String = first.into_iter().chain(letters).collect();
        let short = format!("{method}{what}");
        match self.used.contains(&short) {
            true => self.take(&format!("{service}{short}")),
            false => self.take(&short),
        }
    }

    /// The name of a struct's message. `None`: the type is no struct.
    pub(super) fn of_struct(&self, ty: &Type) -> Option<String> {
        match ty {
            Type::Struct(index) => self.structs.get(index).cloned(),
            _ => None,
        }
    }
}

#[derive(Default)]
struct Wanted {
    structs: HashSet<usize>,
    enums: HashSet<usize>,
    open: Vec<usize>,
}

impl Wanted {
    fn find(&mut self, document: &Document) {
        for (index, item) in document.structs.iter().enumerate() {
            if item.is_main {
                self.ty(&Type::Struct(index));
            }
        }
        for (index, item) in document.enums.iter().enumerate() {
            if item.is_main {
                self.ty(&Type::Enum(index));
            }
        }
        for service in document.services.iter().filter(|s| s.is_main) {
            for function in &service.functions {
                function.result.iter().for_each(|ty| self.ty(ty));
                self.fields(&function.arguments);
                self.fields(&function.throws);
            }
        }
        while let Some(index) = self.open.pop() {
            if let Some(item) = document.structs.get(index) {
                self.fields(&item.fields);
            }
        }
    }

    fn fields(&mut self, fields: &[Field]) {
        fields.iter().for_each(|f| self.ty(&f.ty));
    }

    fn ty(&mut self, ty: &Type) {
        match ty {
            Type::Struct(index) => {
                let is_new = self.structs.insert(*index);
                self.open.extend(is_new.then_some(*index));
            }
            Type::Enum(index) => {
                self.enums.insert(*index);
            }
            Type::List(element) | Type::Set(element) => self.ty(element),
            Type::Map(key, value) => {
                self.ty(key);
                self.ty(value);
            }
            _ => {}
        }
    }
}

/// The name, or the name with the first number behind it, that is free.
pub(super) fn unique(name: &str, is_free: impl Fn(&str) -> bool) -> String {
    let numbered = (2_u32..).map(|n| format!("{name}_{n}"));
    let mut candidates = std::iter::once(name.to_owned()).chain(numbered);
    let found = candidates.find(|name| is_free(name));
    found.unwrap_or_else(|| name.to_owned())
}

/// Without case and `_`: fields that are equal so clash in JSON, or in some language.
pub(super) fn plain(name: &str) -> String {
    let letters = name.chars().filter(|c| *c != '_');
    letters.flat_map(char::to_lowercase).collect()
}

/// `HttpCode2` as `HTTP_CODE2`; `already_so` as `ALREADY_SO`.
pub(super) fn upper_snake(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|b| letters.get(b));
        let after = letters.get(at.saturating_add(1));
        let begins_word = letter.is_ascii_uppercase()
            && match (before, after) {
                (Some(before), _) if before.is_ascii_lowercase() || before.is_ascii_digit() => true,
                (Some(before), Some(after)) => {
                    before.is_ascii_uppercase() && after.is_ascii_lowercase()
                }
                _ => false,
            };
        if begins_word {
            out.push('_');
        }
        out.push(letter.to_ascii_uppercase());
    }
    out
}

/// Writes a comment, one line for each of its lines.
pub(super) fn lines(comment: &str, indent: &str, out: &mut String) {
    for line in comment.lines() {
        let line: String = line
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        out.push_str(indent);
        out.push_str(format!("// {line}").trim_end());
        out.push('\n');
    }
}
