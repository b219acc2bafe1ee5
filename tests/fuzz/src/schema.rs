//! The schema of the targets of translation: `schema/`, in which each kind of field is there.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use prost_reflect::MessageDescriptor;
use ripcord::translate::pair::{self, EnumsBy, FieldRule, PairOptions, Target};
use ripcord::translate::pairing::{Duplicates, Options, Overflow, Unknown, Utf8};
use ripcord::translate::protobuf::{self, Input, Protobuf};
use ripcord::translate::thrift::{self, Document};
use ripcord::translate::{Finding, Pairing, Plan, Severity, Sources};

/// The protobuf files.
const PROTOS: [(&str, &str); 2] = [
    ("rich.proto", include_str!("../schema/rich.proto")),
    ("old.proto", include_str!("../schema/old.proto")),
];

/// What pairs with a struct.
const MESSAGES: [&str; 5] = ["p.All", "p.Tree", "p.Part", "p.Needs", "old.Message"];

/// The schema, ready for messages.
pub struct Rich {
    /// Plans of the same pairing: one for all defaults, one that is strict.
    pub plans: [Arc<Plan>; 2],
    /// Its pairs of messages, the most various first: the index in the plans, and the protobuf side
    /// as a reader knows it.
    pub messages: Vec<(usize, MessageDescriptor)>,
}

/// The schema, read once.
pub static RICH: LazyLock<Rich> = LazyLock::new(|| {
    let document = idl(include_str!("../schema/rich.thrift")).expect("a file of this crate");
    let (pairing, findings) = pair::pair(&PROTOBUF, &document, &options());
    let errors = errors(&findings);
    assert!(errors.is_empty(), "{errors:#?}");
    // What passes unchecked is no text for a reader.
    let texts =
        PROTOS.map(|(name, text)| (name, text.replace("string unchecked", "bytes unchecked")));
    let readers = read_protos(&texts.each_ref().map(|(name, text)| (*name, &**text)));
    let messages = MESSAGES.map(|name| {
        let at = pairing
            .messages
            .iter()
            .position(|pair| *pair.protobuf == *name);
        let message = readers.pool().get_message_by_name(name);
        at.zip(message).expect("it is paired")
    });
    Rich {
        messages: messages.into(),
        plans: [plan(&pairing, Options::default()), plan(&pairing, STRICT)],
    }
});

/// The protobuf side, read once.
pub static PROTOBUF: LazyLock<Protobuf> = LazyLock::new(|| read_protos(&PROTOS));

fn read_protos(files: &[(&str, &str)]) -> Protobuf {
    proto(files).unwrap_or_else(|findings| panic!("{findings:#?}"))
}

const STRICT: Options = Options {
    duplicates: Duplicates::Error,
    unknown: Unknown::Error,
};

fn plan(pairing: &Pairing, options: Options) -> Arc<Plan> {
    Arc::new(Plan::new(pairing, options))
}

/// What the schema says beside its files.
fn options() -> PairOptions {
    let rule = FieldRule::default();
    let fields = [
        (
            "All.fixed32_wrap",
            FieldRule {
                overflow: Some(Overflow::Wrap),
                ..rule.clone()
            },
        ),
        (
            "All.fixed64_saturate",
            FieldRule {
                overflow: Some(Overflow::Saturate),
                ..rule.clone()
            },
        ),
        (
            "All.replaced",
            FieldRule {
                utf8: Some(Utf8::Replace),
                ..rule.clone()
            },
        ),
        (
            "All.unchecked",
            FieldRule {
                utf8: Some(Utf8::Bytes),
                ..rule.clone()
            },
        ),
        (
            "All.written_zero",
            FieldRule {
                zeros: Some(true),
                ..rule.clone()
            },
        ),
        (
            "All.only_here",
            FieldRule {
                to: Some(Target::None),
                ..rule
            },
        ),
    ];
    PairOptions {
        fields: fields
            .map(|(name, rule)| (format!("p.{name}"), rule))
            .into(),
        enums: [("p.Color".to_owned(), EnumsBy::ByName)].into(),
        ..PairOptions::default()
    }
}

/// Reads protobuf files, each a name and a text.
///
/// # Errors
/// What is wrong in them.
pub fn proto(files: &[(&str, &str)]) -> Result<Protobuf, Vec<Finding>> {
    let input = Input::Files {
        files: files.iter().map(|(name, _)| PathBuf::from(name)).collect(),
        include: Vec::new(),
    };
    protobuf::read(&input, &files.iter().copied().collect())
}

/// Reads a thrift file. It can include `base.thrift`, and nothing else that is no file.
///
/// # Errors
/// What is wrong in it.
pub fn idl(text: &str) -> Result<Document, Vec<Finding>> {
    let base = include_str!("../schema/base.thrift");
    let files = [("idl.thrift", text), ("base.thrift", base)];
    let sources: Sources = files.into_iter().collect();
    thrift::read(&["idl.thrift".into()], &[], &sources)
}

/// The findings that forbid the use of a schema.
pub fn errors(findings: &[Finding]) -> Vec<&Finding> {
    findings
        .iter()
        .filter(|f| f.severity == Severity::Error)
        .collect()
}
