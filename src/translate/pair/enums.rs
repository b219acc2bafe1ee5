//! Enums: which values belong together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost_reflect::{EnumDescriptor, Syntax};

use super::super::Severity;
use super::super::pairing::EnumNumbers;
use super::super::thrift::Enum;
use super::{EnumsBy, Pairer, Scope, names};

impl<'d> Pairer<'d> {
    /// The numbers of two enums, where they pair by name. What is to say of a pair is said once.
    pub(super) fn enums(&mut self, e: &EnumDescriptor, at: usize) -> Option<Arc<EnumNumbers>> {
        let key = (e.full_name().to_owned(), at);
        if let Some(known) = self.enums.get(&key) {
            return known.clone();
        }
        let thrift = self.thrift;
        let other = thrift.enums.get(at)?;
        let by = self.options.enums.get(e.full_name());
        let numbers = match by.copied().unwrap_or(self.options.enums_by) {
            EnumsBy::ByNumber => {
                self.by_number(e, other);
                None
            }
            EnumsBy::ByName => Some(Arc::new(self.by_name(e, other))),
        };
        self.enums.insert(key, numbers.clone());
        numbers
    }

    fn by_number(&mut self, e: &EnumDescriptor, other: &'d Enum) {
        let known: BTreeSet<i32> = other.values.iter().map(|v| v.number).collect();
        let full = e.full_name();
        for value in e.values().filter(|v| !known.contains(&v.number())) {
            // By protobuf's rules there has to be a zero.
            if value.number() == 0 {
                continue;
            }
            let text = format!(
                "`{}` ({}) of the enum `{full}` is no value of the thrift enum `{}`: it passes as \
                 a number",
                value.name(),
                value.number(),
                other.name
            );
            let places = vec![self.protobuf.place(&value), other.place.clone()];
            self.find(Scope::Always, Severity::Note, text, places);
        }
        let is_closed = e.parent_file().syntax() == Syntax::Proto2;
        let is_same = |name: &str, thrift: &str| {
            protobuf_name(e, name) == thrift_name(other, thrift)
                || names::plain(name) == names::plain(thrift)
        };
        for value in &other.values {
            let Some(here) = e.get_value(value.number) else {
                let (severity, text) = match is_closed {
                    true => (Severity::Warning, "readers of proto2 take it for missing"),
                    false => (Severity::Note, "it passes as a number"),
                };
                let text = format!(
                    "`{}` ({}) of the thrift enum `{}` is no value of `{full}`: {text}",
                    value.name, value.number, other.name
                );
                let places = vec![self.protobuf.place(e), value.place.clone()];
                self.find(Scope::Always, severity, text, places);
                continue;
            };
            let aliases = || e.values().filter(|v| v.number() == value.number);
            if aliases().any(|v| is_same(v.name(), &value.name)) {
                continue;
            }
            if let Some(same) = e.values().find(|v| is_same(v.name(), &value.name)) {
                let text = format!(
                    "{} is `{}` in `{full}` and `{}` in the thrift enum `{}`, but `{}` is {}. If \
                     the names are right, write `enums: {{ {full}: by_name }}`",
                    value.number,
                    here.name(),
                    value.name,
                    other.name,
                    same.name(),
                    same.number()
                );
                let places = vec![self.protobuf.place(&here), value.place.clone()];
                self.find(Scope::Always, Severity::Warning, text, places);
            }
        }
    }

    fn by_name(&mut self, e: &EnumDescriptor, other: &'d Enum) -> EnumNumbers {
        let mut open: BTreeMap<String, i32> = BTreeMap::new();
        for value in &other.values {
            open.entry(thrift_name(other, &value.name))
                .or_insert(value.number);
        }
        let all = open.clone();
        let mut rows: BTreeMap<i32, i32> = BTreeMap::new();
        let mut alone = Vec::new();
        for value in e.values() {
            let name = protobuf_name(e, value.name());
            let number = all.get(&name).copied();
            match number {
                Some(number) => {
                    open.remove(&name);
                    if !rows.values().any(|n| *n == number) {
                        rows.entry(value.number()).or_insert(number);
                    }
                }
                None => alone.push(value),
            }
        }
        let full = e.full_name();
        for value in alone.iter().filter(|v| !rows.contains_key(&v.number())) {
            let is_free = !other.values.iter().any(|v| v.number == 0);
            if value.number() == 0 && is_free {
                // Zero is what a missing value is. No thrift name means it, so it passes.
                continue;
            }
            let zero = value.number() == 0;
            let (severity, more) = match zero {
                true => (
                    Severity::Warning,
                    ", and so does a message in which the field is not set",
                ),
                false => (Severity::Note, ""),
            };
            let text = format!(
                "`{}` of the enum `{full}` has no counterpart in the thrift enum `{}`: it ends the \
                 stream{more}",
                value.name(),
                other.name
            );
            let places = vec![self.protobuf.place(value), other.place.clone()];
            self.find(Scope::Always, severity, text, places);
        }
        for value in &other.values {
            if open.contains_key(&thrift_name(other, &value.name)) {
                let text = format!(
                    "`{}` of the thrift enum `{}` has no counterpart in `{full}`: it ends the \
                     stream",
                    value.name, other.name
                );
                let places = vec![self.protobuf.place(e), value.place.clone()];
                self.find(Scope::Always, Severity::Note, text, places);
            }
        }
        if !rows.contains_key(&0) && !other.values.iter().any(|v| v.number == 0) {
            rows.insert(0, 0);
        }
        EnumNumbers(rows.into_iter().collect())
    }
}

/// The name of a value without the enum's name before it.
fn protobuf_name(e: &EnumDescriptor, name: &str) -> String {
    without(e.name(), name)
}

fn thrift_name(e: &Enum, name: &str) -> String {
    without(&e.name, name)
}

/// `COLOR_RED` of the enum `Color` is `red`. The name of the enum ends at a `_`: `APPLE` of the enum
/// `A` is `apple`.
fn without(of: &str, name: &str) -> String {
    let mut rest = name.chars();
    let mut prefix = names::plain(of);
    while !prefix.is_empty() {
        let lower = match rest.next() {
            Some('_') => continue,
            Some(c) => c.to_lowercase().collect::<String>(),
            None => return names::plain(name),
        };
        match prefix.strip_prefix(&lower) {
            Some(left) => prefix = left.to_owned(),
            None => return names::plain(name),
        }
    }
    let rest = rest.as_str();
    match rest.strip_prefix('_').map(names::plain) {
        Some(plain) if !plain.is_empty() => plain,
        _ => names::plain(name),
    }
}
