//! The names of types, for the texts of faults.

use std::sync::Arc;

use super::super::pairing::{ProtobufScalar, ThriftScalar};
use super::{Container, Item, Plan, Shape};

/// Of both sides: protobuf's, thrift's.
pub(super) fn types(shape: &Shape, plan: &Plan) -> (Arc<str>, Arc<str>) {
    let (protobuf, thrift) = match shape {
        Shape::Item(item) => of_item(item, plan),
        Shape::Container(container) => of_container(container, plan),
        Shape::ThriftOnly => ("nothing".into(), "a field of thrift only".into()),
    };
    (protobuf.into(), thrift.into())
}

fn of_item(item: &Item, plan: &Plan) -> (String, String) {
    match item {
        Item::Scalar(scalar) => (
            of_protobuf(scalar.protobuf).into(),
            of_thrift(scalar.thrift).into(),
        ),
        Item::Message(index) => match plan.messages.get(*index) {
            Some(message) => (message.protobuf.to_string(), message.thrift.to_string()),
            None => ("message".into(), "struct".into()),
        },
        Item::Wrapper(wrapper) => {
            let (protobuf, thrift) = of_container(&wrapper.container, plan);
            (format!("message with {protobuf}"), thrift)
        }
    }
}

fn of_container(container: &Container, plan: &Plan) -> (String, String) {
    match container {
        Container::List(list) => {
            let (protobuf, thrift) = of_item(&list.element, plan);
            let kind = if list.is_set { "set" } else { "list" };
            (format!("repeated {protobuf}"), format!("{kind}<{thrift}>"))
        }
        Container::Map(map) => {
            let (key, value) = (of_item(&map.key, plan), of_item(&map.value, plan));
            (
                format!("map<{}, {}>", key.0, value.0),
                format!("map<{}, {}>", key.1, value.1),
            )
        }
    }
}

fn of_protobuf(scalar: ProtobufScalar) -> &'static str {
    match scalar {
        ProtobufScalar::Int32 => "int32",
        ProtobufScalar::Int64 => "int64",
        ProtobufScalar::Uint32 => "uint32",
        ProtobufScalar::Uint64 => "uint64",
        ProtobufScalar::Sint32 => "sint32",
        ProtobufScalar::Sint64 => "sint64",
        ProtobufScalar::Fixed32 => "fixed32",
        ProtobufScalar::Fixed64 => "fixed64",
        ProtobufScalar::Sfixed32 => "sfixed32",
        ProtobufScalar::Sfixed64 => "sfixed64",
        ProtobufScalar::Bool => "bool",
        ProtobufScalar::Enum => "enum",
        ProtobufScalar::Float => "float",
        ProtobufScalar::Double => "double",
        ProtobufScalar::String => "string",
        ProtobufScalar::Bytes => "bytes",
    }
}

fn of_thrift(scalar: ThriftScalar) -> &'static str {
    match scalar {
        ThriftScalar::Bool => "bool",
        ThriftScalar::I8 => "i8",
        ThriftScalar::I16 => "i16",
        ThriftScalar::I32 => "i32",
        ThriftScalar::I64 => "i64",
        ThriftScalar::Double => "double",
        ThriftScalar::String => "string",
        ThriftScalar::Binary => "binary",
        ThriftScalar::Enum => "enum",
    }
}
