//! What a schema says about its pairs, where the rules leave a choice or names differ.

use std::collections::BTreeMap;

use super::super::pairing::{Options, Overflow, Utf8};

/// How the two IDLs of a schema pair. Keys are full protobuf names, without a leading point.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PairOptions {
    /// Services whose thrift name is another: `chat.v1.Chat` to `ChatService`, or to
    /// `file.ChatService` for a service of an include.
    pub services: BTreeMap<String, String>,
    /// Methods whose thrift name is another: `chat.v1.Chat.Send` to `sendMessage`.
    pub methods: BTreeMap<String, Target>,
    /// How fields pair that have no entry in `fields`.
    pub fields_by: FieldsBy,
    /// Fields: `chat.v1.Request.text`. A thrift field without a counterpart is left out by the
    /// message's name, its own name and [`Target::None`].
    pub fields: BTreeMap<String, FieldRule>,
    /// How enums pair that have no entry in `enums`.
    pub enums_by: EnumsBy,
    /// Enums: `chat.v1.Color`.
    pub enums: BTreeMap<String, EnumsBy>,
    /// Messages that stand for a declared exception in a status' details.
    pub exceptions: BTreeMap<String, ExceptionRule>,
    /// Integers that do not fit, in all fields without a choice of their own.
    pub overflow: Overflow,
    /// Texts that are not UTF-8, in all fields without a choice of their own.
    pub utf8: Utf8,
    /// Zeros of fields with implicit presence are written to optional thrift fields, in all fields
    /// without a choice of their own.
    pub write_zeros: bool,
    /// Which side calls. It decides which way requests and responses go, and so what can be lost.
    pub callers: Callers,
    /// What holds for the whole plan.
    pub wire: Options,
}

/// What a method or field pairs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The thrift name.
    Name(String),
    /// The thrift id: of fields only.
    Id(i16),
    /// Nothing, on purpose.
    None,
}

/// What a schema says of one field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldRule {
    /// What it pairs with, if not by the general rule.
    pub to: Option<Target>,
    /// Its integers that do not fit.
    pub overflow: Option<Overflow>,
    /// Its texts that are not UTF-8.
    pub utf8: Option<Utf8>,
    /// Whether its zeros are written to an optional thrift field.
    pub zeros: Option<bool>,
}

/// How fields pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldsBy {
    /// The protobuf number is the thrift id.
    #[default]
    ById,
    /// The names are equal, case and `_` aside.
    ByName,
}

/// How the values of enums pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EnumsBy {
    /// The numbers are equal; numbers that one side does not know pass.
    #[default]
    ByNumber,
    /// The names are equal: case, `_` and the enum's name before them aside.
    ByName,
}

/// What a schema says of an exception.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExceptionRule {
    /// Its thrift name, if it is not the message's simple name.
    pub thrift: Option<String>,
    /// The gRPC code of its status. `None`: 13, INTERNAL.
    pub code: Option<u32>,
}

/// Which side calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Callers {
    /// Protobuf applications call thrift services.
    Protobuf,
    /// Thrift applications call protobuf services.
    Thrift,
    /// Either; or it is not known.
    #[default]
    Both,
}
