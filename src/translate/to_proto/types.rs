//! Types of fields, and the messages that containers need.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::super::thrift::Type;
use super::is_container;
use super::names::Names;

/// A name that is longer than this says nothing to a reader.
const LONG: usize = 60;

/// The messages that stand for containers, by what they hold. Their text is in the order in which
/// they are needed.
#[derive(Default)]
pub(super) struct Types {
    /// Messages with one field, the container.
    wrappers: HashMap<Type, String>,
    /// Messages with a key and a value.
    entries: HashMap<(Type, Type), String>,
    out: String,
}

impl Types {
    /// The text of all messages that were needed.
    pub(super) fn text(&self) -> &str {
        &self.out
    }

    /// The type of a field, with its label if it is repeated. `is_single`: it cannot be repeated.
    pub(super) fn field(&mut self, names: &mut Names, ty: &Type, is_single: bool) -> String {
        match ty {
            _ if is_single => self.element(names, ty),
            Type::List(element) | Type::Set(element) => {
                format!("repeated {}", self.element(names, element))
            }
            Type::Map(key, value) => match key_name(key) {
                Some(key) => format!("map<{key}, {}>", self.element(names, value)),
                None => format!("repeated {}", self.entry(names, key, value)),
            },
            _ => self.element(names, ty),
        }
    }

    /// The type of one value. A container is a message.
    fn element(&mut self, names: &mut Names, ty: &Type) -> String {
        match ty {
            Type::Bool => "bool".to_owned(),
            Type::I8 | Type::I16 | Type::I32 => "int32".to_owned(),
            Type::I64 => "int64".to_owned(),
            Type::Double => "double".to_owned(),
            Type::String | Type::Uuid => "string".to_owned(),
            Type::Binary => "bytes".to_owned(),
            Type::Enum(index) => names.enums.get(index).cloned().unwrap_or_default(),
            Type::Struct(index) => names.structs.get(index).cloned().unwrap_or_default(),
            Type::List(_) | Type::Set(_) | Type::Map(..) => {
                if let Some(known) = self.wrappers.get(ty) {
                    return known.clone();
                }
                let name = names.take(&self.short(names, ty, "Container"));
                self.wrappers.insert(ty.clone(), name.clone());
                let field = match ty {
                    Type::Map(..) => "entries",
                    _ => "values",
                };
                let ty = self.field(names, ty, false);
                let _ = write!(self.out, "\nmessage {name} {{\n  {ty} {field} = 1;\n}}\n");
                name
            }
        }
    }

    /// The message for one entry of a map.
    fn entry(&mut self, names: &mut Names, key: &Type, value: &Type) -> String {
        let of = (key.clone(), value.clone());
        if let Some(known) = self.entries.get(&of) {
            return known.clone();
        }
        let long = format!(
            "{}To{}Entry",
            self.short(names, key, "Key"),
            self.short(names, value, "Value")
        );
        let name = names.take(if long.len() > LONG { "Entry" } else { &long });
        self.entries.insert(of, name.clone());
        let key = self.element(names, key);
        let value = self.element(names, value);
        let _ = write!(
            self.out,
            "\nmessage {name} {{\n  {key} key = 1;\n  {value} value = 2;\n}}\n"
        );
        name
    }

    /// A name for a type: `StringToI64List`. `long`, where that would be too long.
    fn short(&self, names: &Names, ty: &Type, long: &str) -> String {
        let name = match ty {
            Type::Bool => "Bool".to_owned(),
            Type::I8 => "I8".to_owned(),
            Type::I16 => "I16".to_owned(),
            Type::I32 => "I32".to_owned(),
            Type::I64 => "I64".to_owned(),
            Type::Double => "Double".to_owned(),
            Type::String => "String".to_owned(),
            Type::Uuid => "Uuid".to_owned(),
            Type::Binary => "Binary".to_owned(),
            Type::Enum(index) => names.enums.get(index).cloned().unwrap_or_default(),
            Type::Struct(index) => names.structs.get(index).cloned().unwrap_or_default(),
            Type::List(element) => self.short(names, element, long) + "List",
            Type::Set(element) => self.short(names, element, long) + "Set",
            Type::Map(key, value) => format!(
                "{}To{}Map",
                self.short(names, key, long),
                self.short(names, value, long)
            ),
        };
        match name.len() > LONG && is_container(ty) {
            true => long.to_owned(),
            false => name,
        }
    }
}

/// The name of a type that can be the key of a map.
fn key_name(key: &Type) -> Option<&'static str> {
    match key {
        Type::Bool => Some("bool"),
        Type::I8 | Type::I16 | Type::I32 => Some("int32"),
        Type::I64 => Some("int64"),
        Type::String => Some("string"),
        _ => None,
    }
}
