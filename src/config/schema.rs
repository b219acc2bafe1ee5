//! `schemas`: the IDL files of both sides of a translation, and how their names pair.
//!
//! Here are the keys and the words. What the files say is not known here: `crate::setup` reads them.
//! Paths are as in the file; whoever opens them takes them as relative to the configuration's file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::fault::quote;
use super::hints;
use super::walk::{NodeRef, Walk, unknown_value};
use super::yaml::Kind;

pub(super) const KEYS: &[&str] = &[
    "protobuf",
    "thrift",
    "services",
    "methods",
    "fields",
    "enums",
    "exceptions",
    "zeros",
    "overflow",
    "utf8",
    "duplicates",
    "unknown",
];
const PROTOBUF_KEYS: &[&str] = &["files", "include", "descriptor_set"];
const THRIFT_KEYS: &[&str] = &["files", "include"];
const FIELD_KEYS: &[&str] = &["thrift", "overflow", "utf8", "zeros"];
const EXCEPTION_KEYS: &[&str] = &["thrift", "code"];

/// The key of `fields` and `enums` that stands for all that have no line of their own.
const BY: &str = "by";

/// How protobuf and thrift of one service pair.
///
/// Maps have full protobuf names as keys (`chat.v1.Chat`), and thrift names as values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The protobuf side (required).
    pub protobuf: ProtobufFiles,
    /// The thrift side (required).
    pub thrift: IdlFiles,
    /// Services whose names differ by more than the package (default: none).
    pub services: BTreeMap<String, String>,
    /// Methods whose names differ, or that are left out, by `package.Service.Method` (default:
    /// none).
    pub methods: BTreeMap<String, PairTarget>,
    /// How fields pair.
    pub fields: FieldRules,
    /// How enums pair.
    pub enums: EnumRules,
    /// Messages that stand for declared exceptions in a status' details (default: those of the same
    /// name).
    pub exceptions: BTreeMap<String, ExceptionRule>,
    /// Zeros are written even where thrift says `optional` (default `omit`).
    pub write_zeros: bool,
    /// What becomes of an integer that does not fit (default `error`).
    pub overflow: Overflow,
    /// What becomes of a text that is not UTF-8 (default `error`).
    pub utf8: Utf8,
    /// What becomes of a set's repeated elements toward thrift (default `drop`).
    pub duplicates: Duplicates,
    /// What becomes of fields that the IDL does not know (default `skip`).
    pub unknown: Unknown,
}

/// The protobuf side of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProtobufFiles {
    /// `.proto` files.
    Files(IdlFiles),
    /// A `google.protobuf.FileDescriptorSet`, as `protoc --descriptor_set_out` writes it.
    DescriptorSet(PathBuf),
}

/// IDL files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdlFiles {
    /// The files; at least one.
    pub files: Vec<PathBuf>,
    /// Folders in which includes and imports are looked for (default: the files' own folders).
    pub include: Vec<PathBuf>,
}

/// `fields`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldRules {
    /// How fields pair that have no line of their own.
    pub by: PairBy,
    /// By `package.Message.field`.
    pub own: BTreeMap<String, FieldRule>,
}

/// How fields pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PairBy {
    /// The protobuf number is the thrift id.
    #[default]
    Id,
    /// The names are alike.
    Name,
}

/// What is said of one field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldRule {
    /// What it pairs with (default: by the schema's rule).
    pub thrift: Option<PairTarget>,
    /// Its own rule for integers (default: the schema's).
    pub overflow: Option<Overflow>,
    /// Its own rule for text (default: the schema's).
    pub utf8: Option<Utf8>,
    /// Its own rule for zeros (default: the schema's).
    pub write_zeros: Option<bool>,
}

/// What a field or a method of protobuf pairs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PairTarget {
    /// The thrift field with this id.
    Id(i16),
    /// The thrift field or function of this name.
    Name(String),
    /// Nothing: it is left out on purpose.
    None,
}

/// `enums`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnumRules {
    /// How enums pair that have no line of their own.
    pub by: EnumBy,
    /// By the enum's full protobuf name.
    pub own: BTreeMap<String, EnumBy>,
}

/// How the values of enums pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EnumBy {
    /// By number. Unknown numbers pass.
    #[default]
    Number,
    /// By name. Unknown numbers do not pass.
    Name,
}

/// A message and the exception for which it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExceptionRule {
    /// The exception's thrift name (default: the message's own).
    pub thrift: Option<String>,
    /// The gRPC code of its status (default: 13, INTERNAL).
    pub code: Option<u32>,
}

/// What becomes of an integer that does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// It ends the stream.
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
    /// It ends the stream.
    #[default]
    Error,
    /// Each bad sequence becomes U+FFFD.
    Replace,
    /// It passes unchecked.
    Bytes,
}

/// What becomes of a set's repeated elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Duplicates {
    /// Later ones are dropped.
    #[default]
    Drop,
    /// They end the stream.
    Error,
}

/// What becomes of unknown fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// They are skipped and counted.
    #[default]
    Skip,
    /// They end the stream.
    Error,
}

const PAIR_WORDS: [(&str, PairBy); 2] = [("by_id", PairBy::Id), ("by_name", PairBy::Name)];
const ENUM_WORDS: [(&str, EnumBy); 2] = [("by_number", EnumBy::Number), ("by_name", EnumBy::Name)];
const OVERFLOW_WORDS: [(&str, Overflow); 3] = [
    ("error", Overflow::Error),
    ("saturate", Overflow::Saturate),
    ("wrap", Overflow::Wrap),
];
const UTF8_WORDS: [(&str, Utf8); 3] = [
    ("error", Utf8::Error),
    ("replace", Utf8::Replace),
    ("bytes", Utf8::Bytes),
];
const DUPLICATE_WORDS: [(&str, Duplicates); 2] =
    [("drop", Duplicates::Drop), ("error", Duplicates::Error)];
const ZEROS: [(&str, bool); 2] = [("omit", false), ("write", true)];
const UNKNOWN_WORDS: [(&str, Unknown); 2] = [("skip", Unknown::Skip), ("error", Unknown::Error)];

/// The gRPC codes that may stand for an exception. OK is no failure, and CANCELLED is a cancel.
const CODES: [(&str, u32); 15] = [
    ("UNKNOWN", 2),
    ("INVALID_ARGUMENT", 3),
    ("DEADLINE_EXCEEDED", 4),
    ("NOT_FOUND", 5),
    ("ALREADY_EXISTS", 6),
    ("PERMISSION_DENIED", 7),
    ("RESOURCE_EXHAUSTED", 8),
    ("FAILED_PRECONDITION", 9),
    ("ABORTED", 10),
    ("OUT_OF_RANGE", 11),
    ("UNIMPLEMENTED", 12),
    ("INTERNAL", 13),
    ("UNAVAILABLE", 14),
    ("DATA_LOSS", 15),
    ("UNAUTHENTICATED", 16),
];

/// The word of a value, as the file has it.
fn word<T: Copy + PartialEq>(value: T, words: &[(&'static str, T)]) -> &'static str {
    let found = words.iter().find(|(_, known)| *known == value);
    found.map_or("", |(word, _)| word)
}

macro_rules! words {
    ($($type:ty: $table:ident;)+) => {$(
        impl $type {
            /// Its word in the file.
            #[must_use]
            pub fn word(self) -> &'static str {
                word(self, &$table)
            }
        }
    )+};
}

words! {
    PairBy: PAIR_WORDS;
    EnumBy: ENUM_WORDS;
    Overflow: OVERFLOW_WORDS;
    Utf8: UTF8_WORDS;
    Duplicates: DUPLICATE_WORDS;
    Unknown: UNKNOWN_WORDS;
}

impl ExceptionRule {
    /// The name of its gRPC code.
    #[must_use]
    pub fn code_name(&self) -> Option<&'static str> {
        self.code.map(|code| word(code, &CODES))
    }
}

/// Reads one schema; `None` when one side of it is missing.
pub(super) fn read(walk: &mut Walk, at: &NodeRef<'_>) -> Option<Schema> {
    let s = walk.section(at, KEYS)?;
    let protobuf = walk.required(
        &s,
        "protobuf",
        "the protobuf side: { files: [chat.proto] } or { descriptor_set: chat.binpb }",
        |w, at| protobuf(w, at).map(Some),
    );
    let thrift = walk.required(
        &s,
        "thrift",
        "the thrift side: { files: [chat.thrift] }",
        |w, at| {
            let s = w.section(at, THRIFT_KEYS)?;
            idl_files(w, &s, hints::THRIFT).map(Some)
        },
    );
    Some(Schema {
        services: walk.optional(&s, "services", BTreeMap::new(), |w, at| {
            pairs(w, at, hints::SERVICES, |w, at| w.label(at, 1024))
        }),
        methods: walk.optional(&s, "methods", BTreeMap::new(), |w, at| {
            pairs(w, at, hints::METHODS, |w, at| target(w, at, false))
        }),
        fields: walk.optional(&s, "fields", FieldRules::default(), fields),
        enums: walk.optional(&s, "enums", EnumRules::default(), enums),
        exceptions: walk.optional(&s, "exceptions", BTreeMap::new(), |w, at| {
            pairs(w, at, hints::EXCEPTIONS, exception)
        }),
        write_zeros: walk.optional(&s, "zeros", false, |w, at| w.choice(at, "zeros", &ZEROS)),
        overflow: walk.optional(&s, "overflow", Overflow::default(), |w, at| {
            w.choice(at, "overflow", &OVERFLOW_WORDS)
        }),
        utf8: walk.optional(&s, "utf8", Utf8::default(), |w, at| {
            w.choice(at, "utf8", &UTF8_WORDS)
        }),
        duplicates: walk.optional(&s, "duplicates", Duplicates::default(), |w, at| {
            w.choice(at, "duplicates", &DUPLICATE_WORDS)
        }),
        unknown: walk.optional(&s, "unknown", Unknown::default(), |w, at| {
            w.choice(at, "unknown", &UNKNOWN_WORDS)
        }),
        protobuf: protobuf?,
        thrift: thrift?,
    })
}

fn protobuf(walk: &mut Walk, at: &NodeRef<'_>) -> Option<ProtobufFiles> {
    let s = walk.section(at, PROTOBUF_KEYS)?;
    let Some(set) = s.get("descriptor_set") else {
        return idl_files(walk, &s, hints::PROTOBUF).map(ProtobufFiles::Files);
    };
    if let Some(files) = s.get("files").or_else(|| s.get("include")) {
        let message = "not beside descriptor_set, which has everything; allowed: one of both";
        walk.error(files.node.place, &files.path, message);
    }
    path(walk, &set).map(ProtobufFiles::DescriptorSet)
}

fn idl_files(walk: &mut Walk, s: &super::walk::Section<'_>, example: &str) -> Option<IdlFiles> {
    let list = |w: &mut Walk, at: &NodeRef<'_>| -> Option<Vec<PathBuf>> {
        if let Kind::Scalar { .. } = at.node.kind {
            return path(w, at).map(|one| vec![one]);
        }
        let items = w.list(at, example)?;
        items.iter().map(|item| path(w, item)).collect()
    };
    let files = walk.required(s, "files", "a list of IDL files", list);
    let include = walk.optional(s, "include", Vec::new(), list);
    (!files.is_empty()).then_some(IdlFiles { files, include })
}

fn path(walk: &mut Walk, at: &NodeRef<'_>) -> Option<PathBuf> {
    walk.label(at, 4096).map(PathBuf::from)
}

/// A map of full protobuf names.
fn pairs<T>(
    walk: &mut Walk,
    at: &NodeRef<'_>,
    example: &str,
    read: impl Fn(&mut Walk, &NodeRef<'_>) -> Option<T>,
) -> Option<BTreeMap<String, T>> {
    let mut map = BTreeMap::new();
    for named in walk.names(at, example)? {
        full_name(walk, named.name, named.place, &named.value.path);
        if let Some(value) = read(walk, &named.value) {
            map.insert(named.name.to_owned(), value);
        }
    }
    Some(map)
}

fn full_name(walk: &mut Walk, name: &str, place: super::Place, path: &str) {
    let word = |part: &str| {
        !part.is_empty()
            && !part.starts_with(|c: char| c.is_ascii_digit())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    if name.len() > 1024 || !name.split('.').all(word) {
        let message = format!(
            "bad name {}; allowed: a full protobuf name, such as chat.v1.Chat",
            quote(name)
        );
        walk.error(place, path, message);
    }
}

/// A word for all, or a map with the word under `by` and one line for each exception to it.
fn rules<D: Copy + Default, T>(
    walk: &mut Walk,
    at: &NodeRef<'_>,
    what: &str,
    example: &str,
    words: &[(&str, D)],
    read: impl Fn(&mut Walk, &NodeRef<'_>) -> Option<T>,
) -> Option<(D, BTreeMap<String, T>)> {
    if let Kind::Scalar { .. } = at.node.kind {
        return Some((walk.choice(at, what, words)?, BTreeMap::new()));
    }
    let (mut by, mut own) = (D::default(), BTreeMap::new());
    for named in walk.names(at, example)? {
        if named.name == BY {
            by = walk.choice(&named.value, what, words).unwrap_or_default();
            continue;
        }
        full_name(walk, named.name, named.place, &named.value.path);
        if let Some(rule) = read(walk, &named.value) {
            own.insert(named.name.to_owned(), rule);
        }
    }
    Some((by, own))
}

fn fields(walk: &mut Walk, at: &NodeRef<'_>) -> Option<FieldRules> {
    let read = rules(walk, at, "fields", hints::FIELDS, &PAIR_WORDS, field);
    read.map(|(by, own)| FieldRules { by, own })
}

fn enums(walk: &mut Walk, at: &NodeRef<'_>) -> Option<EnumRules> {
    let read = rules(walk, at, "enums", hints::ENUMS, &ENUM_WORDS, |w, at| {
        w.choice(at, "enums", &ENUM_WORDS)
    });
    read.map(|(by, own)| EnumRules { by, own })
}

fn field(walk: &mut Walk, at: &NodeRef<'_>) -> Option<FieldRule> {
    if let Kind::Scalar { .. } = at.node.kind {
        let thrift = Some(target(walk, at, true)?);
        return Some(FieldRule {
            thrift,
            ..FieldRule::default()
        });
    }
    let s = walk.section(at, FIELD_KEYS)?;
    Some(FieldRule {
        thrift: walk.optional(&s, "thrift", None, |w, at| target(w, at, true).map(Some)),
        overflow: walk.optional(&s, "overflow", None, |w, at| {
            w.choice(at, "overflow", &OVERFLOW_WORDS).map(Some)
        }),
        utf8: walk.optional(&s, "utf8", None, |w, at| {
            w.choice(at, "utf8", &UTF8_WORDS).map(Some)
        }),
        write_zeros: walk.optional(&s, "zeros", None, |w, at| {
            w.choice(at, "zeros", &ZEROS).map(Some)
        }),
    })
}

/// A thrift name, `none`, or, for a field, an id.
fn target(walk: &mut Walk, at: &NodeRef<'_>, is_field: bool) -> Option<PairTarget> {
    let text = walk.label(at, 1024)?;
    if text == "none" {
        return Some(PairTarget::None);
    }
    if is_field && let Ok(id) = text.parse() {
        return Some(PairTarget::Id(id));
    }
    if text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        let id = if is_field {
            ", its id (-32768 to 32767)"
        } else {
            ""
        };
        let message = format!(
            "bad target {}; allowed: a thrift name{id}, or none",
            at.quoted()
        );
        return walk.refuse(at, message);
    }
    Some(PairTarget::Name(text))
}

fn exception(walk: &mut Walk, at: &NodeRef<'_>) -> Option<ExceptionRule> {
    if let Kind::Scalar { .. } = at.node.kind {
        let thrift = Some(walk.label(at, 1024)?);
        return Some(ExceptionRule { thrift, code: None });
    }
    let s = walk.section(at, EXCEPTION_KEYS)?;
    Some(ExceptionRule {
        thrift: walk.optional(&s, "thrift", None, |w, at| w.label(at, 1024).map(Some)),
        code: walk.optional(&s, "code", None, |w, at| code(w, at).map(Some)),
    })
}

fn code(walk: &mut Walk, at: &NodeRef<'_>) -> Option<u32> {
    let text = walk.text(at, "the name of a gRPC code")?;
    let known = |(name, number): &&(&str, u32)| *name == text || number.to_string() == text;
    if let Some((_, number)) = CODES.iter().find(known) {
        return Some(*number);
    }
    let allowed = CODES.map(|(name, _)| name);
    walk.refuse(at, unknown_value("code", &at.quoted(), &text, &allowed))
}
