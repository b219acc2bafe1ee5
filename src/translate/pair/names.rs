//! Names: which are equal, and how types are printed.

use std::path::Path;

use prost_reflect::{Cardinality, FieldDescriptor, Kind};

use super::super::Place;
use super::super::thrift::{Document, Struct, Type};

/// Without case and `_`: `GetUser`, `getUser` and `get_user` are equal.
pub(super) fn plain(name: &str) -> String {
    let letters = name.chars().filter(|c| *c != '_');
    letters.flat_map(char::to_lowercase).collect()
}

/// The part behind the last point.
pub(super) fn simple(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// A thrift name, with the file's before it where it is an include's.
pub(super) fn qualified(name: &str, place: &Place, is_main: bool) -> String {
    let stem = Path::new(&*place.file).file_stem().and_then(|s| s.to_str());
    match stem {
        Some(stem) if !is_main => format!("{stem}.{name}"),
        _ => name.to_owned(),
    }
}

pub(super) fn struct_name(item: &Struct) -> String {
    qualified(&item.name, &item.place, item.is_main)
}

/// Whether a user's `written` name means the thrift item `name`: with or without its file's name.
pub(super) fn means(written: &str, name: &str, place: &Place) -> bool {
    written == name || written == qualified(name, place, false)
}

/// A thrift type as the IDL writes it.
pub(super) fn thrift_type(document: &Document, ty: &Type) -> String {
    let inner = |ty: &Type| thrift_type(document, ty);
    match ty {
        Type::Bool => "bool".into(),
        Type::I8 => "i8".into(),
        Type::I16 => "i16".into(),
        Type::I32 => "i32".into(),
        Type::I64 => "i64".into(),
        Type::Double => "double".into(),
        Type::String => "string".into(),
        Type::Binary => "binary".into(),
        Type::Uuid => "uuid".into(),
        Type::Enum(at) => match document.enums.get(*at) {
            Some(e) => qualified(&e.name, &e.place, e.is_main),
            None => "enum".into(),
        },
        Type::Struct(at) => match document.structs.get(*at) {
            Some(s) => struct_name(s),
            None => "struct".into(),
        },
        Type::List(e) => format!("list<{}>", inner(e)),
        Type::Set(e) => format!("set<{}>", inner(e)),
        Type::Map(k, v) => format!("map<{}, {}>", inner(k), inner(v)),
    }
}

/// A protobuf type as the IDL writes it, without a label.
pub(super) fn kind_name(kind: &Kind) -> String {
    match kind {
        Kind::Double => "double".into(),
        Kind::Float => "float".into(),
        Kind::Int32 => "int32".into(),
        Kind::Int64 => "int64".into(),
        Kind::Uint32 => "uint32".into(),
        Kind::Uint64 => "uint64".into(),
        Kind::Sint32 => "sint32".into(),
        Kind::Sint64 => "sint64".into(),
        Kind::Fixed32 => "fixed32".into(),
        Kind::Fixed64 => "fixed64".into(),
        Kind::Sfixed32 => "sfixed32".into(),
        Kind::Sfixed64 => "sfixed64".into(),
        Kind::Bool => "bool".into(),
        Kind::String => "string".into(),
        Kind::Bytes => "bytes".into(),
        Kind::Message(m) => m.full_name().into(),
        Kind::Enum(e) => e.full_name().into(),
    }
}

/// A protobuf field's type as the IDL writes it, with its label.
pub(super) fn field_type(field: &FieldDescriptor) -> String {
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        let part = |number| entry.get_field(number).map(|f| kind_name(&f.kind()));
        let (key, value) = (part(1), part(2));
        let text = |t: Option<String>| t.unwrap_or_default();
        return format!("map<{}, {}>", text(key), text(value));
    }
    let kind = kind_name(&field.kind());
    match field.cardinality() {
        Cardinality::Repeated => format!("repeated {kind}"),
        Cardinality::Required => format!("required {kind}"),
        Cardinality::Optional => {
            let one_of = field.containing_oneof();
            match one_of.filter(|o| !o.is_synthetic()) {
                Some(one_of) => format!("{kind} in oneof {}", one_of.name()),
                None if field.supports_presence() && field.kind().as_message().is_none() => {
                    format!("optional {kind}")
                }
                None => kind,
            }
        }
    }
}
