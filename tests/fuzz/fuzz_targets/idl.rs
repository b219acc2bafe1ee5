//! Any text as a thrift file. There is never a panic, and no end that takes long. What is read
//! becomes a protobuf file that compiles and that pairs with it. It also pairs with a schema that
//! is not its own, or is refused. What pairs makes a plan, and any bytes are a message of it.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use ripcord::translate::pair::{self, PairOptions};
use ripcord::translate::pairing::Options;
use ripcord::translate::protobuf::Protobuf;
use ripcord::translate::thrift::Document;
use ripcord::translate::to_proto::{self, Written};
use ripcord::translate::{Direction, Finding, Plan, Severity, Translator};
use ripcord_fuzz::schema::{self, PROTOBUF};

/// The largest message that is written.
const LIMIT: usize = 4096;

/// Messages of one plan that are tried.
const MESSAGES: usize = 4;

/// Pairs both, and translates the same bytes by each of the first pairs.
fn pairs(
    protobuf: &Protobuf,
    document: &Document,
    options: &PairOptions,
    bytes: &[u8],
) -> Vec<Finding> {
    let (pairing, findings) = pair::pair(protobuf, document, options);
    for finding in &findings {
        assert!(!finding.text.is_empty());
    }
    drop(pair::table::table(&pairing));
    if !schema::errors(&findings).is_empty() {
        return findings;
    }
    let plan = Arc::new(Plan::new(&pairing, Options::default()));
    for message in 0..plan.len().min(MESSAGES) {
        for toward in [Direction::ToThrift, Direction::ToProtobuf] {
            let mut translator = Translator::new(Arc::clone(&plan), message, toward, true, LIMIT);
            let mut out = Vec::new();
            for input in [bytes, b"", b"\0"] {
                out.clear();
                let _ = translator.translate(input, &mut out);
                assert!(out.len() <= LIMIT);
            }
        }
    }
    findings
}

/// The lines that the schema needs beside the file that was written.
fn options(written: &Written) -> PairOptions {
    let rule = |to: &pair::Target| pair::FieldRule {
        to: Some(to.clone()),
        ..pair::FieldRule::default()
    };
    let exception = |to: &String| pair::ExceptionRule {
        thrift: Some(to.clone()),
        code: None,
    };
    PairOptions {
        services: written.services.iter().cloned().collect(),
        methods: written.methods.iter().cloned().collect(),
        fields: written
            .fields
            .iter()
            .map(|(name, to)| (name.clone(), rule(to)))
            .collect(),
        exceptions: written
            .exceptions
            .iter()
            .map(|(name, to)| (name.clone(), exception(to)))
            .collect(),
        ..PairOptions::default()
    }
}

/// Whether it would read files of this machine.
fn includes(text: &str) -> bool {
    text.matches("include").count() != text.matches("include 'base.thrift'").count()
}

fuzz_target!(|text: &str| {
    if includes(text) {
        return;
    }
    let document = match schema::idl(text) {
        Ok(document) => document,
        Err(findings) => {
            assert!(!schema::errors(&findings).is_empty());
            assert!(
                findings
                    .iter()
                    .all(|f| !f.text.is_empty() && !f.places.is_empty())
            );
            return;
        }
    };
    pairs(
        &PROTOBUF,
        &document,
        &PairOptions::default(),
        text.as_bytes(),
    );

    let written = to_proto::to_proto(&document, &to_proto::package(&document));
    drop(written.settings());
    let own = schema::proto(&[("own.proto", &written.text)]);
    let own = own.unwrap_or_else(|findings| panic!("{findings:#?}\n{}", written.text));
    let findings = pairs(&own, &document, &options(&written), text.as_bytes());
    // Pairing begins with services.
    if document.services.iter().all(|service| !service.is_main) {
        return;
    }
    // Beside what the thrift file itself is told, there is nothing.
    let more = findings.get(document.findings.len()..).unwrap_or_default();
    for finding in more.iter().filter(|f| f.severity > Severity::Note) {
        panic!("{finding:#?}\n{}", written.text);
    }
});
