//! Thrift IDL files: what they say, with includes and names resolved.
//!
//! The grammar is that of Apache Thrift, and what thriftgo 0.4 (Kitex' compiler) takes beside it.
//! Where the two disagree about what a file means, thriftgo is right: its code is what speaks
//! TTHeader.
//!
//! Why not the crate `pilota-thrift-parser`: its tree has no places, so that no fault could say
//! where it is, but for syntax; it refuses fields without an id; and it leaves includes, typedefs
//! and constants to its user.
//!
//! [`read`] gets the files and their includes (`load`), each through the lexer and parser (`lexer`,
//! `parse`, `tree`). Then it looks up every name (`resolve`, `names`) and works out the defaults
//! (`constant`). Everything is bounded: the files, how deep they nest, and what typedefs and
//! constants amount to when each use of them is written out.

mod constant;
mod lexer;
mod load;
mod names;
mod parse;
mod resolve;
#[cfg(test)]
mod tests;
mod tree;

use std::path::PathBuf;
use std::sync::Arc;

use super::{Finding, Place, Sources};

/// How deep types and values may nest, and how many typedefs, constants or services may refer to
/// each other in a row. Messages of this depth can pass.
const MAX_DEPTH: usize = 63;

/// The most findings that are reported of one schema. A broken file has many.
const MAX_FINDINGS: usize = 100;

/// The most bytes of one file.
const MAX_FILE: usize = 4 << 20;

/// The most files of one schema, and the most bytes of all of them.
const MAX_FILES: usize = 1_000;
const MAX_TOTAL: usize = 16 << 20;

/// The most parts (types, values, fields) of one schema when every use of a typedef, constant or
/// extended service is written out.
const MAX_PARTS: usize = 2_000_000;

/// Reads `files` and what they include. An include is looked up beside the file that includes it,
/// then in each of `include`.
///
/// # Errors
/// Everything that is wrong with the files, each with its place. What is only remarkable is in
/// [`Document::findings`].
pub fn read(
    files: &[PathBuf],
    include: &[PathBuf],
    sources: &Sources,
) -> Result<Document, Vec<Finding>> {
    let units = load::load(files, include, sources)?;
    resolve::resolve(&units)
}

/// Everything that the files of a schema and their includes declare.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// Structs, unions and exceptions. Types refer to them by index.
    pub structs: Vec<Struct>,
    /// Enums. Types refer to them by index.
    pub enums: Vec<Enum>,
    /// Services, those of includes too.
    pub services: Vec<Service>,
    /// The namespaces of the schema's own files, each with its scope: `go`, `*`. In the files'
    /// order.
    pub namespaces: Vec<(Arc<str>, Arc<str>)>,
    /// What a reader of the files should know. No errors.
    pub findings: Vec<Finding>,
}

/// A struct, union or exception.
#[derive(Clone, Debug)]
pub struct Struct {
    /// Its name, without a namespace.
    pub name: Arc<str>,
    /// Which of the three.
    pub kind: StructKind,
    /// Its fields, in the file's order. No two have the same id or name. Those of a union are
    /// optional, whatever the file says.
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
    /// Its id. A field without one in the file has the id after that of the field before it, or 1
    /// (thriftgo's rule; Apache counts down from -1).
    pub id: i16,
    /// Its name.
    pub name: Arc<str>,
    /// What the IDL says of its presence.
    pub requiredness: super::pairing::Requiredness,
    /// Its type, with typedefs resolved.
    pub ty: Type,
    /// Its default, with constants and enum values resolved. It fits the type.
    pub default: Option<Const>,
    /// Its annotations.
    pub annotations: Vec<(Arc<str>, Arc<str>)>,
    /// The comment before or behind it.
    pub comment: String,
    /// Where its name stands.
    pub place: Place,
}

/// A type, with typedefs resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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

/// A value in an IDL, in the form that its type has.
#[derive(Clone, Debug, PartialEq)]
pub enum Const {
    /// Of a bool.
    Bool(bool),
    /// Of an integer, within its range, or of an enum, as its number.
    Int(i64),
    /// Of a double.
    Double(f64),
    /// Of a string, a binary or a uuid.
    String(Arc<str>),
    /// Of a list or set.
    List(Vec<Const>),
    /// Of a map. Of a struct: the fields that are given, by their names ([`Const::String`]).
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
    /// Its own functions, then those of the services that it extends. No two have the same name.
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
    /// Its arguments. None is optional: compilers pass over the word there.
    pub arguments: Vec<Field>,
    /// The exceptions that it declares. Their types are exceptions, or, as some compilers take
    /// too, structs.
    pub throws: Vec<Field>,
    /// `oneway`: no answer is sent.
    pub oneway: bool,
    /// How it streams, by its annotation `streaming.mode`. It has one argument then.
    pub streaming: Option<Streaming>,
    /// Its annotations.
    pub annotations: Vec<(Arc<str>, Arc<str>)>,
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
