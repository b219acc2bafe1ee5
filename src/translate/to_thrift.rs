//! Writes thrift IDL for protobuf IDL: for a team that has `.proto` files only.
//!
//! All that the schema's own files declare goes into one file, with what they use of others. It
//! pairs with the protobuf files without a warning. What it chooses:
//!
//! | protobuf | thrift |
//! |---|---|
//! | `int32`, `sint32`, `sfixed32` | `i32` |
//! | other integers | `i64`: it holds all but half of `uint64` |
//! | `float`, `double` | `double` |
//! | a field that can be absent, a member of a oneof | `optional` |
//! | `Outer.Inner` | `Outer_Inner` |
//! | an rpc that streams | a function with `streaming.mode` |
//! | another rpc | a function; `google.protobuf.Empty` is no argument, or `void` |
//!
//! A oneof becomes optional fields and not a union, since an empty union cannot be sent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use prost_reflect::{
    EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, ServiceDescriptor,
    Value,
};

use super::pair::Target;
use super::pairing::Presence;
use super::protobuf::Protobuf;

#[cfg(test)]
mod tests;
mod words;

use words::{decimal, literal, word};

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The thrift file.
    pub text: String,
    /// What the schema has to say under `fields`, by the full protobuf name: a number that is no
    /// thrift id has another id, and a group has no counterpart.
    pub fields: Vec<(String, Target)>,
    /// What the schema has to say under `services`: names that another type has, too.
    pub services: Vec<(String, String)>,
}

/// Thrift IDL for everything that the schema's own protobuf files declare.
#[must_use]
pub fn to_thrift(protobuf: &Protobuf) -> Written {
    let mut writer = Writer {
        protobuf,
        names: BTreeMap::new(),
        out: String::new(),
        fields: Vec::new(),
        services: Vec::new(),
    };
    writer.write();
    Written {
        text: writer.out,
        fields: writer.fields,
        services: writer.services,
    }
}

struct Writer<'p> {
    protobuf: &'p Protobuf,
    /// Thrift names, by full protobuf name.
    names: BTreeMap<String, String>,
    out: String,
    fields: Vec<(String, Target)>,
    services: Vec<(String, String)>,
}

/// What has to be written.
#[derive(Default)]
struct Wanted {
    messages: BTreeMap<String, MessageDescriptor>,
    enums: BTreeMap<String, EnumDescriptor>,
    services: Vec<ServiceDescriptor>,
}

impl Wanted {
    fn add(&mut self, message: MessageDescriptor, open: &mut Vec<MessageDescriptor>) {
        let is_new = !self.messages.contains_key(message.full_name());
        if !message.is_map_entry() && is_new {
            self.messages
                .insert(message.full_name().into(), message.clone());
            open.push(message);
        }
    }

    fn all(protobuf: &Protobuf) -> Self {
        let mut wanted = Self::default();
        let mut open = Vec::new();
        let pool = protobuf.pool();
        for message in pool.all_messages() {
            if protobuf.is_main(&message.parent_file()) {
                wanted.add(message, &mut open);
            }
        }
        for e in pool.all_enums() {
            if protobuf.is_main(&e.parent_file()) {
                wanted.enums.insert(e.full_name().into(), e);
            }
        }
        for service in pool.services() {
            if !protobuf.is_main(&service.parent_file()) {
                continue;
            }
            for method in service.methods() {
                for (message, streams) in [
                    (method.input(), streams(&method)),
                    (method.output(), streams(&method)),
                ] {
                    if streams || !is_empty(&message) {
                        wanted.add(message, &mut open);
                    }
                }
            }
            wanted.services.push(service);
        }
        while let Some(message) = open.pop() {
            let entry = |f: &FieldDescriptor| match f.kind() {
                Kind::Message(m) if f.is_map() => m.get_field(2),
                _ => None,
            };
            for field in message.fields() {
                let value = entry(&field).unwrap_or(field);
                match value.kind() {
                    Kind::Message(_) if value.is_group() => {}
                    Kind::Message(message) => wanted.add(message, &mut open),
                    Kind::Enum(e) => {
                        wanted.enums.insert(e.full_name().into(), e);
                    }
                    _ => {}
                }
            }
        }
        wanted
    }
}

fn streams(method: &MethodDescriptor) -> bool {
    method.is_client_streaming() || method.is_server_streaming()
}

fn is_empty(message: &MessageDescriptor) -> bool {
    message.full_name() == "google.protobuf.Empty"
}

impl Writer<'_> {
    fn write(&mut self) {
        let wanted = Wanted::all(self.protobuf);
        self.name(&wanted);
        let mut files = self.protobuf.pool().files();
        let main = files.find(|f| self.protobuf.is_main(f) && !f.package_name().is_empty());
        if let Some(main) = main {
            let package: Vec<_> = main.package_name().split('.').map(word).collect();
            let _ = writeln!(self.out, "namespace go {}", package.join("."));
        }
        for e in wanted.enums.values() {
            self.enum_(e);
        }
        // By the order of the pool, so that most types stand before their use.
        let pool = self.protobuf.pool().clone();
        for message in pool.all_messages() {
            if wanted.messages.contains_key(message.full_name()) {
                self.message(&message);
            }
        }
        for service in &wanted.services {
            self.service(service);
        }
    }

    /// Gives each type and service a name of its own.
    fn name(&mut self, wanted: &Wanted) {
        let mut taken = BTreeSet::new();
        let services = wanted.services.iter();
        let services = services.map(|s| (s.full_name(), s.package_name()));
        let messages = wanted.messages.values();
        let messages = messages.map(|m| (m.full_name(), m.package_name()));
        let enums = wanted
            .enums
            .values()
            .map(|e| (e.full_name(), e.package_name()));
        for (full, package) in services.chain(messages).chain(enums) {
            let inside = full
                .strip_prefix(package)
                .unwrap_or(full)
                .trim_start_matches('.');
            let mut name = word(&inside.replace('.', "_"));
            if taken.contains(&name) {
                name = full.replace('.', "_");
            }
            while !taken.insert(name.clone()) {
                name.push('_');
            }
            self.names.insert(full.to_owned(), name);
        }
        for service in &wanted.services {
            let name = self.name_of(service.full_name());
            if name != service.name() {
                self.services.push((service.full_name().into(), name));
            }
        }
    }

    fn name_of(&self, full: &str) -> String {
        self.names
            .get(full)
            .cloned()
            .unwrap_or_else(|| full.replace('.', "_"))
    }

    fn comment(&mut self, indent: &str, text: &str) {
        for line in text.lines() {
            let line = format!("{indent}// {}", line.trim());
            let _ = writeln!(self.out, "{}", line.trim_end());
        }
    }

    fn enum_(&mut self, e: &EnumDescriptor) {
        self.out.push('\n');
        self.comment("", self.protobuf.comment(e));
        let _ = writeln!(self.out, "enum {} {{", self.name_of(e.full_name()));
        let mut seen = BTreeSet::new();
        for value in e.values() {
            // An alias has no place in a thrift enum.
            if seen.insert(value.number()) {
                self.comment("  ", self.protobuf.comment(&value));
                let _ = writeln!(self.out, "  {} = {}", word(value.name()), value.number());
            }
        }
        self.out.push_str("}\n");
    }

    fn message(&mut self, message: &MessageDescriptor) {
        self.out.push('\n');
        self.comment("", self.protobuf.comment(message));
        let _ = writeln!(self.out, "struct {} {{", self.name_of(message.full_name()));
        let id_of = |number: u32| i16::try_from(number).ok();
        let mut taken: BTreeSet<i16> = message.fields().filter_map(|f| id_of(f.number())).collect();
        let mut names = BTreeSet::new();
        for field in message.fields() {
            if field.is_group() {
                self.fields.push((field.full_name().into(), Target::None));
                continue;
            }
            let id = id_of(field.number()).or_else(|| {
                let free = (1..=i16::MAX).find(|id| !taken.contains(id))?;
                taken.insert(free);
                self.fields
                    .push((field.full_name().into(), Target::Id(free)));
                Some(free)
            });
            let Some(id) = id else {
                // More than 32767 fields.
                self.fields.push((field.full_name().into(), Target::None));
                continue;
            };
            let mut name = word(field.name());
            while !names.insert(name.clone()) {
                name.push('_');
            }
            self.field(&field, id, &name);
        }
        self.out.push_str("}\n");
    }

    fn field(&mut self, field: &FieldDescriptor, id: i16, name: &str) {
        self.comment("  ", self.protobuf.comment(field));
        let ty = self.field_type(field);
        let (label, remark) = match super::pair::presence(field) {
            Presence::Implicit => ("", String::new()),
            Presence::Explicit => ("optional ", String::new()),
            Presence::Required => ("required ", String::new()),
            Presence::Oneof(_) => {
                let one_of = field.containing_oneof();
                let one_of = one_of.map(|o| o.name().to_owned()).unwrap_or_default();
                ("optional ", format!("  // at most one of `{one_of}`"))
            }
        };
        let default = match field.field_descriptor_proto().default_value.is_some() {
            true => self.default(field).map(|d| format!(" = {d}")),
            false => None,
        };
        let default = default.unwrap_or_default();
        let _ = writeln!(self.out, "  {id}: {label}{ty} {name}{default}{remark}");
    }

    /// A default of proto2, as thrift writes it.
    fn default(&self, field: &FieldDescriptor) -> Option<String> {
        match field.default_value() {
            Value::Bool(b) => Some(b.to_string()),
            Value::I32(n) => Some(n.to_string()),
            Value::I64(n) => Some(n.to_string()),
            Value::U32(n) => Some(n.to_string()),
            Value::U64(n) => i64::try_from(n).ok().map(|n| n.to_string()),
            Value::F32(n) => decimal(f64::from(n)),
            Value::F64(n) => decimal(n),
            Value::String(s) => literal(&s),
            Value::Bytes(s) => literal(std::str::from_utf8(&s).ok()?),
            Value::EnumNumber(n) => {
                let kind = field.kind();
                let e = kind.as_enum()?;
                let value = e.values().find(|v| v.number() == n)?;
                Some(format!(
                    "{}.{}",
                    self.name_of(e.full_name()),
                    word(value.name())
                ))
            }
            Value::Message(_) | Value::List(_) | Value::Map(_) => None,
        }
    }

    fn field_type(&self, field: &FieldDescriptor) -> String {
        let kind = field.kind();
        if let (true, Some(entry)) = (field.is_map(), kind.as_message()) {
            let part = |number| entry.get_field(number).map(|f| self.kind(&f.kind()));
            let (key, value) = (part(1).unwrap_or_default(), part(2).unwrap_or_default());
            return format!("map<{key}, {value}>");
        }
        match field.is_list() {
            true => format!("list<{}>", self.kind(&kind)),
            false => self.kind(&kind),
        }
    }

    fn kind(&self, kind: &Kind) -> String {
        let ty = match kind {
            Kind::Message(m) => return self.name_of(m.full_name()),
            Kind::Enum(e) => return self.name_of(e.full_name()),
            Kind::Double | Kind::Float => "double",
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "i32",
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => "i64",
            Kind::Uint32 | Kind::Fixed32 => "i64",
            Kind::Bool => "bool",
            Kind::String => "string",
            Kind::Bytes => "binary",
        };
        ty.to_owned()
    }

    fn service(&mut self, service: &ServiceDescriptor) {
        self.out.push('\n');
        self.comment("", self.protobuf.comment(service));
        let _ = writeln!(self.out, "service {} {{", self.name_of(service.full_name()));
        for method in service.methods() {
            self.comment("  ", self.protobuf.comment(&method));
            let streams = streams(&method);
            let (input, output) = (method.input(), method.output());
            let argument = match !streams && is_empty(&input) {
                true => String::new(),
                false => format!("1: {} request", self.name_of(input.full_name())),
            };
            let result = match !streams && is_empty(&output) {
                true => "void".to_owned(),
                false => self.name_of(output.full_name()),
            };
            let mode = match (method.is_client_streaming(), method.is_server_streaming()) {
                (false, false) => "",
                (true, false) => " (streaming.mode = \"client\")",
                (false, true) => " (streaming.mode = \"server\")",
                (true, true) => " (streaming.mode = \"bidirectional\")",
            };
            let name = word(method.name());
            let _ = writeln!(self.out, "  {result} {name}({argument}){mode}");
        }
        self.out.push_str("}\n");
    }
}
