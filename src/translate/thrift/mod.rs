//! Thrift IDL files: what they say, with includes and names resolved.
//!
//! The grammar is that of Apache Thrift, and what thriftgo 0.4 (Kitex' compiler) takes beside it.

use std::sync::Arc;

use super::Place;

/// Everything that the files of a schema and their includes declare.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// Structs, unions and exceptions. Types refer to them by index.
    pub structs: Vec<Struct>,
    /// Enums. Types refer to them by index.
    pub enums: Vec<Enum>,
    /// Services, those of includes too.
    pub services: Vec<Service>,
}

/// A struct, union or exception.
#[derive(Clone, Debug)]
pub struct Struct {
    /// Its name, without a namespace.
    pub name: Arc<str>,
    /// Which of the three.
    pub kind: StructKind,
    /// Its fields, in the file's order.
    pub fields: Vec<Field>,
    /// Its annotations, `(key = "value")`, in the file's order.
    pub annotations: Vec<(Arc<str>, Arc<str>)>,
    /// The comment before it, without comment marks.
    pub comment: String,
    /// Where its name stands.
    pub place: Place,
    /// Whether one of the schema's own files declares it, not an include.
    pub is_main: bool,
}

/// The three kinds of structs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum StructKind {
    Struct,
    Union,
    Exception,
}

/// A field of a struct, an argument of a function, or one of its exceptions.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its id. A field without one in the file has a negative one, from -1 on (Apache's rule).
    pub id: i16,
    /// Its name.
    pub name: Arc<str>,
    /// What the IDL says of its presence.
    pub requiredness: super::pairing::Requiredness,
    /// Its type, with typedefs resolved.
    pub ty: Type,
    /// Its default, with constants and enum values resolved.
    pub default: Option<Const>,
    /// Its annotations.
    pub annotations: Vec<(Arc<str>, Arc<str>)>,
    /// The comment before or behind it.
    pub comment: String,
    /// Where its name stands.
    pub place: Place,
}

/// A type, with typedefs resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Type {
    Bool,
    I8,
    I16,
    I32,
    I64,
    Double,
    String,
    Binary,
    Uuid,
    /// An index into [`Document::enums`].
    Enum(usize),
    /// An index into [`Document::structs`].
    Struct(usize),
    List(Box<Type>),
    Set(Box<Type>),
    Map(Box<Type>, Box<Type>),
}

/// A value in an IDL.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Const {
    Bool(bool),
    Int(i64),
    Double(f64),
    String(Arc<str>),
    List(Vec<Const>),
    /// A map, or the fields of a struct by their names.
    Map(Vec<(Const, Const)>),
}

/// An enum.
#[derive(Clone, Debug)]
pub struct Enum {
    /// Its name.
    pub name: Arc<str>,
    /// Its values, in the file's order.
    pub values: Vec<EnumValue>,
    /// The comment before it.
    pub comment: String,
    /// Where its name stands.
    pub place: Place,
    /// Whether one of the schema's own files declares it.
    pub is_main: bool,
}

/// A value of an enum.
#[derive(Clone, Debug)]
pub struct EnumValue {
    /// Its name.
    pub name: Arc<str>,
    /// Its number.
    pub number: i32,
    /// The comment before or behind it.
    pub comment: String,
    /// Where its name stands.
    pub place: Place,
}

/// A service, with what it inherits.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name.
    pub name: Arc<str>,
    /// Its own functions, then those of the services that it extends.
    pub functions: Vec<Function>,
    /// The comment before it.
    pub comment: String,
    /// Where its name stands.
    pub place: Place,
    /// Whether one of the schema's own files declares it.
    pub is_main: bool,
}

/// A function of a service.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name.
    pub name: Arc<str>,
    /// What it returns. `None`: `void`.
    pub result: Option<Type>,
    /// Its arguments.
    pub arguments: Vec<Field>,
    /// The exceptions that it declares.
    pub throws: Vec<Field>,
    /// `oneway`: no answer is sent.
    pub oneway: bool,
    /// How it streams, by its annotation `streaming.mode`.
    pub streaming: Option<Streaming>,
    /// The comment before it.
    pub comment: String,
    /// Where its name stands.
    pub place: Place,
}

/// Kitex' `streaming.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streaming {
    /// `unary`: one message each way, on a stream (thriftgo: over gRPC).
    Unary,
    /// `client`: many requests, one response.
    Client,
    /// `server`: one request, many responses.
    Server,
    /// `bidirectional`: many each way.
    Bidirectional,
}
