//! What one thrift file says, before any name is looked up.

use std::sync::Arc;

use super::lexer::At;
use super::{Streaming, StructKind};
use crate::translate::pairing::Requiredness;

/// A file.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub(super) includes: Vec<Include>,
    /// Each with its scope: `go`, `*`.
    pub(super) namespaces: Vec<(Arc<str>, Arc<str>)>,
    pub(super) typedefs: Vec<Typedef>,
    pub(super) constants: Vec<Constant>,
    pub(super) enums: Vec<Enum>,
    pub(super) structs: Vec<Struct>,
    pub(super) services: Vec<Service>,
}

/// A word of the file.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub(super) text: Arc<str>,
    pub(super) at: At,
}

pub(super) type Annotations = Vec<(Arc<str>, Arc<str>)>;

#[derive(Clone, Debug)]
pub(super) struct Include {
    pub(super) path: Arc<str>,
    pub(super) at: At,
}

#[derive(Clone, Debug)]
pub(super) struct Typedef {
    pub(super) name: Name,
    pub(super) ty: TypeName,
}

#[derive(Clone, Debug)]
pub(super) struct Constant {
    pub(super) name: Name,
    pub(super) ty: TypeName,
    pub(super) value: Value,
}

/// A type, as it is written.
#[derive(Clone, Debug)]
pub(super) struct TypeName {
    pub(super) kind: TypeKind,
    pub(super) at: At,
}

#[derive(Clone, Debug)]
pub(super) enum TypeKind {
    /// A base type too.
    Named(Arc<str>),
    List(Box<TypeName>),
    Set(Box<TypeName>),
    Map(Box<TypeName>, Box<TypeName>),
}

/// A value, as it is written.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) kind: ValueKind,
    pub(super) at: At,
}

#[derive(Clone, Debug)]
pub(super) enum ValueKind {
    Int {
        value: i64,
        octal: bool,
    },
    Double(f64),
    Literal {
        text: Arc<str>,
        plain: bool,
    },
    /// `true`, `false`, a constant or a value of an enum.
    Named(Arc<str>),
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

#[derive(Clone, Debug)]
pub(super) struct Enum {
    pub(super) name: Name,
    pub(super) values: Vec<EnumValue>,
    pub(super) comment: String,
}

#[derive(Clone, Debug)]
pub(super) struct EnumValue {
    pub(super) name: Name,
    pub(super) number: i32,
    pub(super) comment: String,
}

#[derive(Clone, Debug)]
pub(super) struct Struct {
    pub(super) name: Name,
    pub(super) kind: StructKind,
    pub(super) fields: Vec<Field>,
    pub(super) annotations: Annotations,
    pub(super) comment: String,
}

#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) id: i16,
    /// The file gives no id.
    pub(super) implicit: bool,
    pub(super) requiredness: Requiredness,
    pub(super) ty: TypeName,
    pub(super) name: Name,
    pub(super) default: Option<Value>,
    pub(super) annotations: Annotations,
    pub(super) comment: String,
}

#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) name: Name,
    pub(super) extends: Option<Name>,
    pub(super) functions: Vec<Function>,
    pub(super) comment: String,
}

#[derive(Clone, Debug)]
pub(super) struct Function {
    pub(super) name: Name,
    /// `None`: `void`.
    pub(super) result: Option<TypeName>,
    pub(super) arguments: Vec<Field>,
    pub(super) throws: Vec<Field>,
    pub(super) oneway: bool,
    pub(super) streaming: Option<Streaming>,
    pub(super) annotations: Annotations,
    pub(super) comment: String,
}
