//! Why a message cannot be translated.

use std::fmt;
use std::sync::Arc;

/// Why a message cannot be translated, and where in it.
///
/// Its text names the field, the place, both types and the reason. It never shows a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field, by the names of the side that the message comes from: `user.tags[3].name`. A map
    /// entry has its place in the order of the bytes. Empty: the message as a whole.
    pub path: String,
    /// How many bytes into the message.
    pub offset: usize,
    /// The types of that field on the side that the message comes from, and on the other side.
    pub types: Option<(Arc<str>, Arc<str>)>,
    /// The reason.
    pub kind: FaultKind,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}, at byte {}", self.kind, self.offset)?;
        match &self.types {
            Some((from, to)) => write!(f, " ({from} to {to})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}

/// What kind of sender's fault it is. They end differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultClass {
    /// The bytes do not parse.
    Malformed,
    /// They parse, and the other side has no place for what they say.
    Content,
    /// The translated message is larger than allowed.
    TooLarge,
}

/// The reasons.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// The message ends within a value, or a length reaches beyond its end.
    #[error("the message ends too early")]
    Short,
    /// A varint is cut off, or has more than 64 bits.
    #[error("a varint is cut off or longer than 64 bits")]
    Varint,
    /// A protobuf tag with the number 0, a number that is too large, or an unknown wire type.
    #[error("a tag is not valid")]
    Tag,
    /// A protobuf group that is not closed, or closed without being open.
    #[error("a group does not match")]
    Group,
    /// A negative length or count.
    #[error("a length or count is negative")]
    Negative,
    /// A count that the bytes behind it cannot hold.
    #[error("a count is larger than the rest of the message")]
    Count,
    /// A number that is not a thrift type that a message may hold.
    #[error("{}", type_text(*.0))]
    ThriftType(u8),
    /// A container whose elements have another type than the IDL says.
    #[error("the container has elements of {}, the IDL says {}", type_name(*.found), type_name(*.expected))]
    ElementType {
        /// The IDL's type.
        expected: u8,
        /// The type in the message.
        found: u8,
    },
    /// A thrift bool other than 0 and 1.
    #[error("a bool is neither 0 nor 1")]
    Bool,
    /// Bytes behind the end of the struct.
    #[error("bytes follow the end of the struct")]
    Trailing,
    /// A number that the other type cannot hold.
    #[error("the number does not fit")]
    Overflow,
    /// A number of an enum that pairs by name, and the other enum has no value of that name.
    #[error("the enum has no such value on the other side")]
    NoName,
    /// A text that is not UTF-8.
    #[error("the text is not UTF-8")]
    Utf8,
    /// A field that thrift requires is absent. The text is Kitex'.
    #[error("required field {0} is not set")]
    Required(Arc<str>),
    /// A union or oneof with two members.
    #[error("a union has more than one member")]
    TwoMembers,
    /// A union without a member, where it cannot be left out.
    #[error("a union has no member")]
    NoMember,
    /// More than 63 levels of structs and containers.
    #[error("the message is nested deeper than 63 levels")]
    Depth,
    /// Messages that come in pieces hold messages that come in pieces, and so on.
    #[error("messages in pieces are nested too deeply")]
    Pieces,
    /// A set has an element twice.
    #[error("a set has an element twice")]
    Duplicate,
    /// A field that the IDL does not have, or has with another type.
    #[error("{0} is not in the IDL, or has another type there")]
    Unknown(i32),
    /// The types cannot be translated. A pairing never has such a pair.
    #[error("the types do not pair")]
    Types,
    /// The translated message is larger than allowed.
    #[error("the translated message is larger than the limit")]
    TooLarge,
}

impl FaultKind {
    /// What kind of sender's fault it is.
    #[must_use]
    pub fn class(&self) -> FaultClass {
        match self {
            Self::Short | Self::Varint | Self::Tag | Self::Group => FaultClass::Malformed,
            Self::Negative | Self::Count | Self::ThriftType(_) => FaultClass::Malformed,
            Self::ElementType { .. } | Self::Bool | Self::Trailing => FaultClass::Malformed,
            Self::Overflow | Self::NoName | Self::Utf8 => FaultClass::Content,
            Self::Required(_) => FaultClass::Content,
            Self::TwoMembers | Self::NoMember | Self::Depth => FaultClass::Content,
            Self::Pieces => FaultClass::Content,
            Self::Duplicate | Self::Unknown(_) | Self::Types => FaultClass::Content,
            Self::TooLarge => FaultClass::TooLarge,
        }
    }
}

fn type_text(ty: u8) -> String {
    match ty {
        1 | 5 | 7 | 9 | 16 | 17 => format!("the thrift type {} ({ty}) is not used", type_name(ty)),
        _ => format!("no thrift type has the number {ty}"),
    }
}

fn type_name(ty: u8) -> &'static str {
    match ty {
        0 => "stop",
        1 => "void",
        2 => "bool",
        3 => "i8",
        4 => "double",
        5 => "5",
        6 => "i16",
        7 => "7",
        8 => "i32",
        9 => "u64",
        10 => "i64",
        11 => "string",
        12 => "struct",
        13 => "map",
        14 => "set",
        15 => "list",
        16 => "uuid or utf8",
        17 => "utf16",
        _ => "an unknown type",
    }
}

/// Why a pass stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// The message is not in the simple form that the quick way expects: the thorough way is
    /// needed.
    Again,
    Fault(Box<Trace>),
}

/// A fault on its way up.
#[derive(Debug)]
pub(super) struct Trace {
    pub(super) kind: FaultKind,
    pub(super) offset: usize,
    /// From the innermost on.
    pub(super) path: Vec<Segment>,
    pub(super) types: Option<(Arc<str>, Arc<str>)>,
}

#[derive(Debug)]
pub(super) enum Segment {
    Field(Arc<str>),
    Element(u32),
}

pub(super) type Outcome<T> = Result<T, Stop>;

impl Stop {
    /// A fault at `offset`.
    #[cold]
    pub(super) fn new(kind: FaultKind, offset: usize) -> Self {
        Self::Fault(Box::new(Trace {
            kind,
            offset,
            path: Vec::new(),
            types: None,
        }))
    }

    /// Says in which field it happened, and what its types are.
    #[cold]
    pub(super) fn within(
        mut self,
        name: &Arc<str>,
        types: impl FnOnce() -> (Arc<str>, Arc<str>),
    ) -> Self {
        if let Self::Fault(trace) = &mut self {
            trace.path.push(Segment::Field(name.clone()));
            trace.types.get_or_insert_with(types);
        }
        self
    }

    /// Says in which element it happened, counted from 0.
    #[cold]
    pub(super) fn element(mut self, index: u32) -> Self {
        if let Self::Fault(trace) = &mut self {
            trace.path.push(Segment::Element(index));
        }
        self
    }

    /// What the caller receives.
    #[cold]
    pub(super) fn into_fault(self) -> Fault {
        match self {
            Self::Fault(trace) => (*trace).into(),
            // The thorough way never asks for another one.
            Self::Again => Fault {
                path: String::new(),
                offset: 0,
                types: None,
                kind: FaultKind::Types,
            },
        }
    }

    /// Puts the fault at `offset`: it was found in bytes that do not lie in the message as such.
    #[cold]
    pub(super) fn at(mut self, offset: usize) -> Self {
        if let Self::Fault(trace) = &mut self {
            trace.offset = offset;
        }
        self
    }
}

impl From<Trace> for Fault {
    fn from(trace: Trace) -> Self {
        let mut path = String::new();
        for segment in trace.path.iter().rev() {
            match segment {
                Segment::Field(name) if path.is_empty() => path.push_str(name),
                Segment::Field(name) => {
                    path.push('.');
                    path.push_str(name);
                }
                Segment::Element(index) => path.push_str(&format!("[{index}]")),
            }
        }
        Self {
            path,
            offset: trace.offset,
            types: trace.types,
            kind: trace.kind,
        }
    }
}

/// What a reader of bytes finds wrong: a [`FaultKind`] that is cheap to return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    Short,
    Varint,
    Tag,
    Group,
    Negative,
    Count,
    ThriftType(u8),
    Bool,
    Depth,
    Overflow,
    NoName,
    Types,
}

impl From<Flaw> for FaultKind {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Short => Self::Short,
            Flaw::Varint => Self::Varint,
            Flaw::Tag => Self::Tag,
            Flaw::Group => Self::Group,
            Flaw::Negative => Self::Negative,
            Flaw::Count => Self::Count,
            Flaw::ThriftType(ty) => Self::ThriftType(ty),
            Flaw::Bool => Self::Bool,
            Flaw::Depth => Self::Depth,
            Flaw::Overflow => Self::Overflow,
            Flaw::NoName => Self::NoName,
            Flaw::Types => Self::Types,
        }
    }
}
