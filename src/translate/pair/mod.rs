//! Pairs protobuf IDL with thrift IDL.
//!
//! It begins with the services, and follows the types of their methods. So messages need no names
//! in the schema: those pair that stand in the same place. Everything that a reader of the two IDLs
//! should know before there is traffic becomes a [`Finding`]:
//!
//! | what | severity |
//! |---|---|
//! | types that cannot carry each other's values, a method of another kind, a required field that only one side has | error |
//! | something is lost without an error: fields on one side only, defaults that never apply | warning |
//! | a value may not pass, and then its stream ends with a clear error; a known difference | note |
//!
//! A finding about one way only (`int64` toward `i32`) is kept where messages go that way. That is
//! decided by [`Callers`].

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use prost_reflect::MessageDescriptor;

use super::pairing::{EnumNumbers, MessagePair};
use super::protobuf::Protobuf;
use super::thrift::{Document, Field, StructKind};
use super::{Finding, Pairing, Place, Severity};

mod check;
mod defaults;
mod encode;
mod enums;
mod fields;
mod messages;
mod names;
mod options;
mod scalars;
mod services;
pub mod table;
#[cfg(test)]
mod tests;
mod values;

pub(super) use fields::presence;
pub use options::{Callers, EnumsBy, ExceptionRule, FieldRule, FieldsBy, PairOptions, Target};

/// The most pairs of messages that a schema may have.
const MAX_PAIRS: usize = 20_000;

/// Pairs the two sides of a schema.
///
/// The pairing names only what can be translated. It is of use where no finding is an error. The
/// findings begin with those of the thrift files themselves ([`Document::findings`]).
#[must_use]
pub fn pair(
    protobuf: &Protobuf,
    thrift: &Document,
    options: &PairOptions,
) -> (Pairing, Vec<Finding>) {
    let mut pairer = Pairer {
        protobuf,
        thrift,
        options,
        jobs: Vec::new(),
        by_key: HashMap::new(),
        open: VecDeque::new(),
        messages: Vec::new(),
        enums: HashMap::new(),
        used: BTreeSet::new(),
        findings: Vec::new(),
        is_full: false,
    };
    let known = thrift.findings.iter().cloned();
    pairer.findings.extend(known.map(|f| (Scope::Always, f)));
    let services = pairer.services();
    while let Some(at) = pairer.open.pop_front() {
        pairer.message(at);
    }
    pairer.defaults();
    pairer.check_options();
    pairer.finish(services)
}

/// What stands on the thrift side of a pair of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Shape {
    /// An index into [`Document::structs`].
    Struct(usize),
    /// The arguments of a function: indices of service and function.
    Arguments(usize, usize),
    /// The struct of results of a function, whose field 0 is no struct.
    Results(usize, usize),
}

/// Which ways a message goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ways {
    to_thrift: bool,
    to_protobuf: bool,
}

impl Ways {
    fn both() -> Self {
        Self {
            to_thrift: true,
            to_protobuf: true,
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            to_thrift: self.to_thrift || other.to_thrift,
            to_protobuf: self.to_protobuf || other.to_protobuf,
        }
    }
}

/// For which messages and ways a finding holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Always,
    /// If this message goes to thrift.
    ToThrift(usize),
    /// If this message goes to protobuf.
    ToProtobuf(usize),
}

/// A pair of messages, while it is made.
struct Job {
    message: MessageDescriptor,
    shape: Shape,
    fields: Arc<[Field]>,
    kind: StructKind,
    /// Where the thrift side is.
    place: Place,
    ways: Ways,
    /// The pairs that its fields refer to.
    inner: Vec<usize>,
    /// Indices into its [`MessagePair::fields`] and into `fields`.
    matched: Vec<(usize, usize)>,
    /// For each of [`MessagePair::only_thrift`]: an index into `fields`.
    only_thrift: Vec<usize>,
}

struct Pairer<'a> {
    protobuf: &'a Protobuf,
    thrift: &'a Document,
    options: &'a PairOptions,
    /// Beside `messages`, with the same indices.
    jobs: Vec<Job>,
    by_key: HashMap<(String, Shape), usize>,
    /// Pairs whose fields are not paired yet.
    open: VecDeque<usize>,
    messages: Vec<MessagePair>,
    enums: HashMap<(String, usize), Option<Arc<EnumNumbers>>>,
    /// Entries of `options.fields` that name a thrift field.
    used: BTreeSet<String>,
    findings: Vec<(Scope, Finding)>,
    is_full: bool,
}

impl Pairer<'_> {
    fn find(
        &mut self,
        scope: Scope,
        severity: Severity,
        text: impl Into<String>,
        places: Vec<Place>,
    ) {
        let finding = Finding {
            severity,
            text: text.into(),
            places,
        };
        self.findings.push((scope, finding));
    }

    /// A finding about two fields, if their message goes that way.
    fn find_at(
        &mut self,
        sides: &fields::Sides<'_>,
        way: fn(usize) -> Scope,
        severity: Severity,
        why: &str,
    ) {
        let text = format!("{}: {why}", sides.label);
        self.find(way(sides.at), severity, text, sides.places.clone());
    }

    /// Which ways each message goes, by those that hold it.
    fn spread(&mut self) {
        let mut open: Vec<usize> = (0..self.jobs.len()).collect();
        while let Some(at) = open.pop() {
            let Some(job) = self.jobs.get(at) else {
                continue;
            };
            let (ways, inner) = (job.ways, job.inner.clone());
            for at in inner {
                if let Some(job) = self.jobs.get_mut(at)
                    && job.ways.or(ways) != job.ways
                {
                    job.ways = job.ways.or(ways);
                    open.push(at);
                }
            }
        }
    }

    fn finish(mut self, services: Vec<super::pairing::ServicePair>) -> (Pairing, Vec<Finding>) {
        self.spread();
        let ways = |at: usize| self.jobs.get(at).map_or(Ways::both(), |j| j.ways);
        let holds = |scope| match scope {
            Scope::Always => true,
            Scope::ToThrift(at) => ways(at).to_thrift,
            Scope::ToProtobuf(at) => ways(at).to_protobuf,
        };
        let findings = std::mem::take(&mut self.findings).into_iter();
        let findings: Vec<_> = findings
            .filter(|(s, _)| holds(*s))
            .map(|(_, f)| f)
            .collect();
        let pairing = Pairing {
            services,
            messages: self.messages,
        };
        (pairing, findings)
    }
}
