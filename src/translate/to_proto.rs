//! Writes protobuf IDL for thrift IDL: for a team that has `.thrift` files only.
//!
//! All that the schema's own files declare goes into one file, with what they use of others. It
//! pairs with the thrift files without a warning. What it chooses:
//!
//! | thrift | protobuf |
//! |---|---|
//! | `i8`, `i16`, `i32` | `int32` |
//! | `i64` | `int64` |
//! | `list`, `set` | a repeated field |
//! | `map` | a map; a repeated message with `key` and `value` where protobuf forbids the key |
//! | a container in a container, or in a union | a message with one field, which is the container |
//! | `optional`, or a default other than zero | a field that can be absent |
//! | `union` | a message with one oneof |
//! | `exception` | a message |
//! | an enum without a zero | one more value, `<ENUM>_UNSPECIFIED` |
//! | an id that is no protobuf number | a free number, and a line for the schema |
//! | several arguments, or one that is no struct | one message, `<Method>Request` |
//! | a result that is no struct | a message with one field, `<Method>Response` |
//! | no argument, `void` | `google.protobuf.Empty` |
//!
//! Protobuf has no type for a `uuid`, and Kitex does not know it: such fields are left out.

use std::fmt::Write as _;

use super::pair::Target;
use super::pairing::Requiredness;
use super::thrift::{Const, Document, Enum, Field, Function, Service, Streaming, Struct};
use super::thrift::{StructKind, Type};

mod names;
#[cfg(test)]
mod tests;
mod types;

use names::{Names, lines, plain, upper_snake};
use types::Types;

/// The numbers that protobuf keeps for itself.
const RESERVED: std::ops::RangeInclusive<i32> = 19000..=19999;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The protobuf file.
    pub text: String,
    /// What the schema has to say under `fields`, by the full protobuf name: an id that is no
    /// protobuf number has another number, and a field that was left out has no counterpart.
    pub fields: Vec<(String, Target)>,
    /// What the schema has to say under `services`: names that another service has, too, each with
    /// its thrift name.
    pub services: Vec<(String, String)>,
    /// What the schema has to say under `methods`: functions that were left out. The file has the
    /// reason.
    pub methods: Vec<(String, Target)>,
    /// What the schema has to say under `exceptions`: names that another type has, too, each with
    /// its thrift name.
    pub exceptions: Vec<(String, String)>,
}

impl Written {
    /// What the schema has to say beside its files, as lines of a configuration. Empty where it is
    /// nothing.
    #[must_use]
    pub fn settings(&self) -> String {
        let target = |target: &Target| match target {
            Target::Name(name) => name.clone(),
            Target::Id(id) => id.to_string(),
            Target::None => "none".to_owned(),
        };
        let targets = |of: &[(String, Target)]| {
            let lines = of.iter().map(|(name, to)| (name.clone(), target(to)));
            lines.collect::<Vec<_>>()
        };
        let exceptions = self.exceptions.iter();
        let exceptions = exceptions.map(|(name, to)| (name.clone(), format!("{{ thrift: {to} }}")));
        let sections = [
            ("services", self.services.clone()),
            ("methods", targets(&self.methods)),
            ("exceptions", exceptions.collect()),
            ("fields", targets(&self.fields)),
        ];
        let mut out = String::new();
        for (section, lines) in sections {
            if !lines.is_empty() {
                let _ = writeln!(out, "{section}:");
            }
            for (name, to) in lines {
                let _ = writeln!(out, "  {name}: {to}");
            }
        }
        out
    }
}

/// The package that a document's namespaces name: that of `*`, of `go`, or the first.
#[must_use]
pub fn package(document: &Document) -> String {
    let of = |scope: &str| document.namespaces.iter().find(|(s, _)| **s == *scope);
    let found = of("*").or_else(|| of("go"));
    let found = found.or_else(|| document.namespaces.first());
    let Some((_, name)) = found else {
        return String::new();
    };
    let parts = name.split('.').filter(|part| {
        let first = part.chars().next();
        first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
    });
    parts.collect::<Vec<_>>().join(".")
}

/// Protobuf IDL, in `package`, for what the schema's own thrift files declare. An empty package is
/// none.
#[must_use]
pub fn to_proto(document: &Document, package: &str) -> Written {
    let mut writer = Writer {
        names: Names::new(document),
        document,
        package,
        types: Types::default(),
        fields: Vec::new(),
        services: Vec::new(),
        methods: Vec::new(),
        exceptions: Vec::new(),
        uses_empty: false,
        out: String::new(),
    };
    writer.write();
    Written {
        text: writer.out,
        fields: writer.fields,
        services: writer.services,
        methods: writer.methods,
        exceptions: writer.exceptions,
    }
}

struct Writer<'d> {
    document: &'d Document,
    package: &'d str,
    names: Names,
    types: Types,
    fields: Vec<(String, Target)>,
    services: Vec<(String, String)>,
    methods: Vec<(String, Target)>,
    exceptions: Vec<(String, String)>,
    uses_empty: bool,
    out: String,
}

impl Writer<'_> {
    fn write(&mut self) {
        let document = self.document;
        // Requests and responses come behind their service.
        for (index, service) in document.services.iter().enumerate() {
            if service.is_main {
                self.service(index, service);
            }
        }
        for (index, item) in document.structs.iter().enumerate() {
            if let Some(name) = self.names.structs.get(&index).cloned() {
                self.structure(&name, item);
            }
        }
        for (index, item) in document.enums.iter().enumerate() {
            if let Some(name) = self.names.enums.get(&index).cloned() {
                self.enumeration(&name, item);
            }
        }
        self.out.push_str(self.types.text());
        let mut head = "syntax = \"proto3\";\n".to_owned();
        if !self.package.is_empty() {
            let _ = write!(head, "\npackage {};\n", self.package);
        }
        if self.uses_empty {
            head.push_str("\nimport \"google/protobuf/empty.proto\";\n");
        }
        self.out.insert_str(0, &head);
    }

    /// The name of a thing of the file, as the schema names it.
    fn full(&self, name: &str) -> String {
        match self.package {
            "" => name.to_owned(),
            package => format!("{package}.{name}"),
        }
    }

    fn empty(&mut self) -> String {
        self.uses_empty = true;
        // Not `chat.google.protobuf`.
        ".google.protobuf.Empty".to_owned()
    }

    fn service(&mut self, index: usize, service: &Service) {
        let Some(name) = self.names.services.get(&index).cloned() else {
            return;
        };
        if *name != *service.name {
            let full = self.full(&name);
            self.services.push((full, service.name.to_string()));
        }
        let mut body = String::new();
        let mut messages = String::new();
        for function in &service.functions {
            match self.function(&name, function, &service.functions, &mut messages) {
                Ok(rpc) => {
                    if !function.comment.is_empty() && !body.is_empty() {
                        body.push('\n');
                    }
                    lines(&function.comment, "  ", &mut body);
                    body.push_str(&rpc);
                }
                Err(why) => {
                    let _ = writeln!(body, "  // `{}` is left out: {why}.", function.name);
                    let full = format!("{}.{}", self.full(&name), function.name);
                    self.methods.push((full, Target::None));
                }
            }
        }
        self.out.push('\n');
        lines(&service.comment, "", &mut self.out);
        let _ = writeln!(self.out, "service {name} {{\n{body}}}");
        self.out.push_str(&messages);
    }

    fn function(
        &mut self,
        service: &str,
        function: &Function,
        functions: &[Function],
        messages: &mut String,
    ) -> Result<String, &'static str> {
        let results = function.result.as_ref();
        if results.is_some_and(has_uuid) {
            return Err("it returns a uuid, which protobuf and Kitex do not know");
        }
        let one = match &*function.arguments {
            [Field { ty, .. }] => self.names.of_struct(ty),
            _ => None,
        };
        let result = results.and_then(|ty| self.names.of_struct(ty));
        if function.streaming.is_some() && (one.is_none() || result.is_none()) {
            return Err("a streaming function has one argument, a struct, and returns a struct");
        }
        let request = match one {
            Some(one) => one,
            None if function.arguments.is_empty() => self.empty(),
            None => {
                let name = self.names.message(service, &function.name, "Request");
                self.message(&name, &function.arguments, StructKind::Struct, messages);
                name
            }
        };
        let response = match (result, results) {
            (Some(result), _) => result,
            (None, None) => self.empty(),
            (None, Some(ty)) => {
                let name = self.names.message(service, &function.name, "Response");
                let ty = self.types.field(&mut self.names, ty, false);
                let _ = write!(messages, "\nmessage {name} {{\n  {ty} success = 1;\n}}\n");
                name
            }
        };
        let (client, server) = match function.streaming {
            None | Some(Streaming::Unary) => ("", ""),
            Some(Streaming::Client) => ("stream ", ""),
            Some(Streaming::Server) => ("", "stream "),
            Some(Streaming::Bidirectional) => ("stream ", "stream "),
        };
        // For protoc a method hides a message of the same name from its service.
        let seen = |name: String| match functions.iter().any(|f| *f.name == *name) {
            true => format!(".{}", self.full(&name)),
            false => name,
        };
        let (request, response) = (seen(request), seen(response));
        Ok(format!(
            "  rpc {}({client}{request}) returns ({server}{response});\n",
            function.name
        ))
    }

    fn structure(&mut self, name: &str, item: &Struct) {
        if item.kind == StructKind::Exception && *name != *item.name {
            let full = self.full(name);
            self.exceptions.push((full, item.name.to_string()));
        }
        let mut text = String::new();
        self.message(name, &item.fields, item.kind, &mut text);
        // Its comment stands before its name.
        let head = text.trim_start_matches('\n').to_owned();
        self.out.push('\n');
        lines(&item.comment, "", &mut self.out);
        self.out.push_str(&head);
    }

    /// A message with these fields.
    fn message(&mut self, name: &str, fields: &[Field], kind: StructKind, out: &mut String) {
        let numbers = numbers(fields);
        let mut used = std::collections::HashSet::new();
        let is_union = kind == StructKind::Union;
        let mut body = String::new();
        let indent = if is_union { "    " } else { "  " };
        let mut is_empty = true;
        for (field, number) in fields.iter().zip(numbers) {
            let full = format!("{}.{}", self.full(name), field.name);
            if has_uuid(&field.ty) {
                let _ = writeln!(
                    body,
                    "{indent}// `{}` is left out: protobuf and Kitex do not know the type uuid.",
                    field.name
                );
                self.fields.push((full, Target::None));
                continue;
            }
            let own = names::unique(&field.name, |name| !used.contains(&plain(name)));
            used.insert(plain(&own));
            if number != i32::from(field.id) {
                let full = format!("{}.{own}", self.full(name));
                self.fields.push((full, Target::Id(field.id)));
            }
            let has_default = field.default.as_ref().is_some_and(|d| !is_zero(d));
            // Where an absent container means a default, or nothing, it has to be a message.
            let is_single = is_union || has_default;
            let ty = self.types.field(&mut self.names, &field.ty, is_single);
            let is_scalar = !is_container(&field.ty) && !matches!(field.ty, Type::Struct(_));
            let is_optional = field.requiredness == Requiredness::Optional || has_default;
            let label = match is_scalar && is_optional && !is_union {
                true => "optional ",
                false => "",
            };
            lines(&field.comment, indent, &mut body);
            let _ = writeln!(body, "{indent}{label}{ty} {own} = {number};");
            is_empty = false;
        }
        let _ = write!(out, "\nmessage {name} {{\n");
        match is_union && !is_empty {
            true => {
                let oneof = names::unique("value", |name| !used.contains(&plain(name)));
                let _ = write!(out, "  oneof {oneof} {{\n{body}  }}\n");
            }
            false => out.push_str(&body),
        }
        out.push_str("}\n");
    }

    fn enumeration(&mut self, name: &str, item: &Enum) {
        let prefix = upper_snake(name);
        let mut values = String::new();
        let mut zero = String::new();
        let mut numbers = std::collections::HashSet::new();
        let mut has_alias = false;
        for value in &item.values {
            let own = upper_snake(&value.name);
            let own = match own.strip_prefix(&prefix) {
                Some(rest) if rest.starts_with('_') => own,
                _ => format!("{prefix}_{own}"),
            };
            let own = self.names.take(&own);
            has_alias |= !numbers.insert(value.number);
            // The first value has to be a zero.
            let is_first_zero = value.number == 0 && zero.is_empty();
            let out = if is_first_zero {
                &mut zero
            } else {
                &mut values
            };
            lines(&value.comment, "  ", out);
            let _ = writeln!(out, "  {own} = {};", value.number);
        }
        if zero.is_empty() {
            let own = self.names.take(&format!("{prefix}_UNSPECIFIED"));
            zero = format!("  {own} = 0;\n");
        }
        self.out.push('\n');
        lines(&item.comment, "", &mut self.out);
        let alias = match has_alias {
            true => "  option allow_alias = true;\n",
            false => "",
        };
        let _ = writeln!(self.out, "enum {name} {{\n{alias}{zero}{values}}}");
    }
}

/// The number of each field: its id, where that is one, else a free one.
fn numbers(fields: &[Field]) -> Vec<i32> {
    let mut used: std::collections::HashSet<i32> = fields.iter().map(|f| i32::from(f.id)).collect();
    let mut next = 1;
    let number = |field: &Field| {
        let id = i32::from(field.id);
        if id > 0 && !RESERVED.contains(&id) {
            return id;
        }
        while RESERVED.contains(&next) || used.contains(&next) {
            next = next.saturating_add(1);
        }
        used.insert(next);
        next
    };
    fields.iter().map(number).collect()
}

fn is_container(ty: &Type) -> bool {
    matches!(ty, Type::List(_) | Type::Set(_) | Type::Map(..))
}

fn has_uuid(ty: &Type) -> bool {
    match ty {
        Type::Uuid => true,
        Type::List(element) | Type::Set(element) => has_uuid(element),
        Type::Map(key, value) => has_uuid(key) || has_uuid(value),
        _ => false,
    }
}

/// Whether a default is what a missing field is for protobuf.
fn is_zero(value: &Const) -> bool {
    match value {
        Const::Bool(value) => !value,
        Const::Int(value) => *value == 0,
        Const::Double(value) => value.to_bits() == 0,
        Const::String(value) => value.is_empty(),
        Const::List(values) => values.is_empty(),
        Const::Map(entries) => entries.is_empty(),
    }
}
