//! Writes a schema back.

use std::path::Path;

use super::{Keys, list, map_unless_empty, text};
use crate::config::tree::Tree;
use crate::config::{
    ExceptionRule, FieldRule, FieldRules, IdlFiles, PairTarget, ProtobufFiles, Schema,
};

pub(super) fn keys(schema: &Schema) -> Tree {
    let Schema {
        protobuf,
        thrift,
        services,
        methods,
        fields,
        enums,
        exceptions,
        write_zeros,
        overflow,
        utf8,
        duplicates,
        unknown,
    } = schema;
    let FieldRules { by, own } = fields;
    Keys::default()
        .with(
            "protobuf",
            match protobuf {
                ProtobufFiles::Files(files) => idl_files(files),
                ProtobufFiles::DescriptorSet(file) => {
                    Keys::default().with("descriptor_set", path(file)).done()
                }
            },
        )
        .with("thrift", idl_files(thrift))
        .with_some("services", map_unless_empty(services, text))
        .with_some("methods", map_unless_empty(methods, target))
        .with("fields", rules(by.word(), map_unless_empty(own, field)))
        .with("enums", {
            let own = map_unless_empty(&enums.own, |by| text(by.word()));
            rules(enums.by.word(), own)
        })
        .with_some("exceptions", map_unless_empty(exceptions, exception))
        .with("zeros", zeros(*write_zeros))
        .with("overflow", text(overflow.word()))
        .with("utf8", text(utf8.word()))
        .with("duplicates", text(duplicates.word()))
        .with("unknown", text(unknown.word()))
        .done()
}

fn idl_files(side: &IdlFiles) -> Tree {
    let IdlFiles { files, include } = side;
    let include = (!include.is_empty()).then(|| list(include, |p| path(p)));
    Keys::default()
        .with("files", list(files, |p| path(p)))
        .with_some("include", include)
        .done()
}

fn path(path: &Path) -> Tree {
    text(&path.display())
}

/// A word, or a map with it and the lines that are exceptions to it.
fn rules(by: &str, own: Option<Tree>) -> Tree {
    match own {
        Some(Tree::Map(lines)) => {
            let mut all = vec![("by".to_owned(), text(by))];
            all.extend(lines);
            Tree::Map(all)
        }
        Some(_) | None => text(by),
    }
}

fn field(rule: &FieldRule) -> Tree {
    let FieldRule {
        thrift,
        overflow,
        utf8,
        write_zeros,
    } = rule;
    Keys::default()
        .with_some("thrift", thrift.as_ref().map(target))
        .with_some("overflow", overflow.map(|o| text(o.word())))
        .with_some("utf8", utf8.map(|u| text(u.word())))
        .with_some("zeros", write_zeros.map(zeros))
        .done()
}

fn target(target: &PairTarget) -> Tree {
    match target {
        PairTarget::Id(id) => text(id),
        PairTarget::Name(name) => text(name),
        PairTarget::None => text("none"),
    }
}

fn zeros(write: bool) -> Tree {
    text(if write { "write" } else { "omit" })
}

fn exception(rule: &ExceptionRule) -> Tree {
    Keys::default()
        .with_some("thrift", rule.thrift.as_ref().map(text))
        .with_some("code", rule.code_name().map(text))
        .done()
}
