//! Which protobuf message belongs to which thrift struct, field by field: what [`pair`](super::pair)
//! finds and [`plan`](super::plan) lowers.
//!
//! It names only what can be translated. What cannot be is a [`Finding`](super::Finding).

use std::sync::Arc;

/// Everything of one schema that was paired.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pairing {
    /// The services, in the order of the protobuf files.
    pub services: Vec<ServicePair>,
    /// The pairs of messages. Others refer to them by index.
    pub messages: Vec<MessagePair>,
}

/// A protobuf service and a thrift service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServicePair {
    /// Its full protobuf name, as in the path of a gRPC request: `chat.v1.Chat`.
    pub protobuf: Arc<str>,
    /// Its thrift name, without a namespace, as Kitex writes it: `Chat`.
    pub thrift: Arc<str>,
    /// Its methods.
    pub methods: Vec<MethodPair>,
}

/// A method of both services.
#[derive(Clone, Debug, PartialEq)]
pub struct MethodPair {
    /// Its protobuf name.
    pub protobuf: Arc<str>,
    /// Its thrift name.
    pub thrift: Arc<str>,
    /// How many messages each side sends, by both IDLs.
    pub kind: MethodKind,
    /// The request, on a stream or alone: an index into [`Pairing::messages`].
    ///
    /// On a Kitex stream a message is the bare struct. In a ping-pong call it is the one argument
    /// of the call's struct of arguments, or that struct itself (see `arguments`).
    pub request: usize,
    /// The response. See `request`. `None`: the thrift method returns nothing (`void`), and the
    /// protobuf message has no fields.
    pub response: Option<usize>,
    /// For a ping-pong method: where `request` is in the struct of arguments.
    pub arguments: Arguments,
    /// For a ping-pong method: where `response` is in the struct of results.
    pub returns: Returns,
    /// Whether no response is sent at all (thrift's `oneway`).
    pub oneway: bool,
    /// The exceptions that the thrift method declares.
    pub exceptions: Vec<ExceptionPair>,
}

/// How many messages each side sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodKind {
    /// One request, one response: a gRPC unary call, a Kitex ping-pong call.
    Call,
    /// Unary, client, server or bidirectional streaming on a TTHeader stream.
    Stream {
        /// The caller sends any number of messages.
        client: bool,
        /// The callee sends any number of messages.
        server: bool,
    },
}

/// How the struct of arguments of a ping-pong method holds the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arguments {
    /// One argument with this id, a struct: it is the request.
    One(i16),
    /// The struct of arguments is the request: each argument is one of its fields.
    All,
}

/// How the struct of results of a ping-pong method holds the response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Returns {
    /// Its field 0 is a struct: that is the response.
    #[default]
    Message,
    /// Its field 0 is something else. The struct of results itself pairs with the response, whose
    /// one field pairs with field 0. The exceptions' fields are not part of that pair.
    Value,
}

/// A declared exception and the message that stands for it in the status' details.
#[derive(Clone, Debug, PartialEq)]
pub struct ExceptionPair {
    /// Its id in `throws`.
    pub id: i16,
    /// Its thrift name.
    pub thrift: Arc<str>,
    /// The full name of the protobuf message.
    pub protobuf: Arc<str>,
    /// The pair of both: an index into [`Pairing::messages`].
    pub message: usize,
    /// The gRPC code of a status that stands for it.
    pub code: u32,
}

/// A protobuf message and a thrift struct, union or exception.
#[derive(Clone, Debug, PartialEq)]
pub struct MessagePair {
    /// Its full protobuf name.
    pub protobuf: Arc<str>,
    /// Its thrift name, with the file's name before it where it is not the main file's.
    pub thrift: Arc<str>,
    /// The thrift side is a union: exactly one field is set. The protobuf side is one oneof.
    pub is_union: bool,
    /// The fields that both have.
    pub fields: Vec<FieldPair>,
    /// Fields that only the protobuf side has, and that it requires (proto2): their numbers and
    /// names. A message from thrift can never be complete.
    pub missing_in_thrift: Vec<(u32, Arc<str>)>,
    /// Fields that only the thrift side has, and what a writer must do about each.
    pub only_thrift: Vec<OnlyThrift>,
}

/// A thrift field without a protobuf field.
#[derive(Clone, Debug, PartialEq)]
pub struct OnlyThrift {
    /// Its id.
    pub id: i16,
    /// Its name.
    pub name: Arc<str>,
    /// Whether a reader refuses a struct without it.
    pub required: bool,
    /// Its default, in the binary protocol, with the type byte first. A writer writes it where the
    /// reader would not apply it.
    pub default: Option<Arc<[u8]>>,
}

/// A field of both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldPair {
    /// Its protobuf number.
    pub number: u32,
    /// Its thrift id.
    pub id: i16,
    /// Its protobuf name.
    pub protobuf: Arc<str>,
    /// Its thrift name.
    pub thrift: Arc<str>,
    /// How the values pair.
    pub value: Value,
    /// Whether protobuf can tell "absent" from "zero".
    pub presence: Presence,
    /// What thrift says of it.
    pub requiredness: Requiredness,
    /// The IDL's default.
    pub default: Option<DefaultValue>,
    /// A zero of a field with implicit presence is written to an optional thrift field too
    /// (`zeros: write`).
    pub write_zeros: bool,
}

/// The default of a thrift field, in both forms.
#[derive(Clone, Debug, PartialEq)]
pub struct DefaultValue {
    /// The value in the binary protocol, without type and id.
    pub thrift: Arc<[u8]>,
    /// The whole field in protobuf's form, tag included. Empty where protobuf writes nothing for
    /// it: a zero with implicit presence, an empty container.
    pub protobuf: Arc<[u8]>,
}

/// Whether a protobuf field can be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Absent means zero: proto3 scalars, repeated fields, maps.
    Implicit,
    /// Absent is absent: messages, proto3 `optional`, proto2 `optional`.
    Explicit,
    /// proto2 `required`.
    Required,
    /// A member of the oneof with this index within its message.
    Oneof(u16),
}

/// What a thrift IDL says of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requiredness {
    /// Written always, absent only from careless writers.
    Default,
    /// A reader refuses a struct without it.
    Required,
    /// Absent when it is not set.
    Optional,
}

/// How two values pair.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A scalar on both sides.
    Scalar(Scalar),
    /// A message and a struct: an index into [`Pairing::messages`].
    Message(usize),
    /// A repeated field and a list or set. As an element of another container: never.
    List(List),
    /// A protobuf map, or a repeated message with key (1) and value (2), and a thrift map. As an
    /// element of another container: never.
    Map(Map),
    /// A message with one field, and the container that this field stands for: what protobuf needs
    /// for a container within a container.
    Wrapper {
        /// The number of the message's one field.
        number: u32,
        /// A [`Value::List`] or [`Value::Map`].
        value: Box<Value>,
    },
}

/// A repeated field and a list or set.
#[derive(Clone, Debug, PartialEq)]
pub struct List {
    /// Its elements: scalars, messages or wrappers.
    pub element: Box<Value>,
    /// The thrift side is a set.
    pub is_set: bool,
    /// The protobuf side is written as one packed run.
    pub is_packed: bool,
}

/// A map, or entries, and a thrift map.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// Its keys.
    pub key: Box<Value>,
    /// Its values.
    pub value: Box<Value>,
}

/// Two scalar types, and what is done where one cannot hold what the other can.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar {
    /// The protobuf type.
    pub protobuf: ProtobufScalar,
    /// The thrift type.
    pub thrift: ThriftScalar,
    /// What becomes of an integer that does not fit.
    pub overflow: Overflow,
    /// What becomes of a text that is not UTF-8.
    pub utf8: Utf8,
    /// For enums that pair by name: their numbers.
    pub numbers: Option<Arc<EnumNumbers>>,
}

/// The numbers of two enums that pair by the names of their values: protobuf's, thrift's. Both
/// columns are without repetition; the rows are sorted by protobuf's. A number without a row cannot
/// be carried: the same number can mean another value on the other side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnumNumbers(pub Vec<(i32, i32)>);

/// A protobuf scalar type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ProtobufScalar {
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    Enum,
    Float,
    Double,
    String,
    Bytes,
}

/// A thrift scalar type. An enum is an `I32` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ThriftScalar {
    Bool,
    I8,
    I16,
    I32,
    I64,
    Double,
    String,
    Binary,
    Enum,
}

/// What becomes of an integer that does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// It ends the stream or call.
    #[default]
    Error,
    /// It becomes the nearest number that fits.
    Saturate,
    /// Its low bits are kept.
    Wrap,
}

/// What becomes of a text that is not UTF-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Utf8 {
    /// It ends the stream or call.
    #[default]
    Error,
    /// Each bad sequence becomes U+FFFD.
    Replace,
    /// It passes unchecked.
    Bytes,
}

/// What a schema says of all its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// A set with an element twice, toward thrift.
    pub duplicates: Duplicates,
    /// A field that the IDL does not know, or that has another type on the wire.
    pub unknown: Unknown,
}

/// What becomes of a set's repeated elements, toward thrift. Toward protobuf they are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Duplicates {
    /// Later ones are dropped.
    #[default]
    Drop,
    /// They end the stream or call.
    Error,
}

/// What becomes of unknown fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// They are skipped and counted.
    #[default]
    Skip,
    /// They end the stream or call.
    Error,
}
