//! Schemas of the configuration as plans: their IDL files are read and paired, and what is found
//! becomes faults of the configuration.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::{self, Config, Fault, Faults, PayloadKind, Protocol, watch};
use crate::route::Schemas;
use crate::translate::pair::{
    Callers, EnumsBy, ExceptionRule, FieldRule, FieldsBy, PairOptions, Target, pair, table,
};
use crate::translate::pairing::{Duplicates, MethodKind, Options, Overflow, Unknown, Utf8};
use crate::translate::to_proto::{Written, package, to_proto};
use crate::translate::to_thrift::to_thrift;
use crate::translate::{Finding, Pairing, Schema, Severity, Sources, protobuf, sources, thrift};

/// The most functions that one fault names.
const FEW: usize = 5;

/// Reads the IDL files of configurations, and looks whether they changed.
#[derive(Clone, Debug)]
pub(crate) struct SchemaFiles {
    /// The folder to which paths are relative.
    base: Arc<Path>,
    /// The files of the last look, with numbers of what they had.
    known: Arc<Mutex<BTreeMap<PathBuf, u64>>>,
}

impl SchemaFiles {
    /// For a configuration in the file `config`; relative to the working directory without one.
    pub(crate) fn beside(config: Option<&Path>) -> Self {
        let base = config.and_then(Path::parent).unwrap_or(Path::new(""));
        Self {
            base: Arc::from(base),
            known: Arc::default(),
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<PathBuf, u64>> {
        // Nothing panics while it is held.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl watch::Attached for SchemaFiles {
    type Read = Schemas;

    fn look(&self) -> u64 {
        let known: Vec<PathBuf> = self.known().keys().cloned().collect();
        let now = known.into_iter().map(|path| {
            let found = sources::look(&path).map_err(|_| ());
            let number = number(&found);
            (path, number)
        });
        number(&now.collect::<BTreeMap<_, _>>())
    }

    fn read(&self, config: &Config) -> watch::ReadFiles<Schemas> {
        let sources = Sources::default();
        let (mut schemas, mut faults) = (Schemas::new(), Vec::new());
        for (name, schema) in &config.schemas {
            let of_schema = Sources::default();
            let read = read(name, schema, &self.base, callers(config, name), &of_schema);
            sources.add(&of_schema);
            faults.extend(read.faults);
            if let Some((pairing, options)) = read.paired {
                let digest = number(&(format!("{schema:?}"), numbers(&of_schema)));
                let schema = Schema::new(name, digest, &pairing, options);
                schemas.insert(name.clone(), Arc::new(schema));
            }
        }
        let seen = numbers(&sources);
        let in_force = number(&seen);
        *self.known() = seen;
        let fatal = |fault: &Fault| fault.severity == config::Severity::Error;
        match faults.iter().any(fatal) {
            true => (Err(faults), in_force),
            false => (Ok((schemas, faults)), in_force),
        }
    }
}

fn number(value: &impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The files that were read, with numbers of what they had. Why a file cannot be read does not
/// count.
fn numbers(sources: &Sources) -> BTreeMap<PathBuf, u64> {
    let seen = sources.seen().into_iter();
    let number =
        |(path, content): (PathBuf, sources::Content)| (path, number(&content.map_err(|_| ())));
    seen.map(number).collect()
}

/// What is found in the schemas of a good configuration in `file`.
pub(crate) fn findings(file: &Path, config: &Config) -> Vec<Fault> {
    use watch::Attached as _;
    let files = SchemaFiles::beside(Some(file).filter(|file| file.as_os_str() != "-"));
    match files.read(config).0 {
        Ok((_, faults)) | Err(faults) => faults,
    }
}

/// What a schema of the configuration in `file` pairs, as a table, and what was found.
///
/// # Errors
/// The configuration, or a side of the schema, cannot be read; or there is no such schema.
pub(crate) fn table(file: &Path, name: &str) -> Result<(String, Faults), String> {
    let (config, _) = config::inspect(file).map_err(|faults| faults.to_string())?;
    let Some(schema) = config.schemas.get(name) else {
        let known: Vec<&str> = config.schemas.keys().map(String::as_str).collect();
        let known = known.join(", ");
        return Err(format!(
            "{}: no schema {name:?}; it has: {known}",
            file.display()
        ));
    };
    let base = file.parent().unwrap_or(Path::new(""));
    let callers = callers(&config, name);
    let read = read(name, schema, base, callers, &Sources::default());
    let faults = Faults::new(&file.display().to_string(), read.faults);
    match read.paired {
        Some((pairing, _)) => Ok((table::table(&pairing), faults)),
        None => Err(faults.to_string()),
    }
}

/// Which half of a schema is written for the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    /// Protobuf IDL for thrift files.
    Protobuf,
    /// Thrift IDL for protobuf files.
    Thrift,
}

/// The missing half for IDL files: its text, and the lines that the schema needs beside both.
///
/// # Errors
/// What is wrong with the files.
pub(crate) fn written(
    half: Half,
    files: &[PathBuf],
    include: &[PathBuf],
) -> Result<(String, String), String> {
    let sources = Sources::default();
    let told = |findings: Vec<Finding>| {
        let lines = findings.iter().map(|finding| {
            let place = finding.places.first().map(ToString::to_string);
            format!("{}: {}", place.unwrap_or_default(), finding.text)
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let written = match half {
        Half::Protobuf => {
            let document = thrift::read(files, include, &sources).map_err(told)?;
            to_proto(&document, &package(&document))
        }
        Half::Thrift => {
            let (files, include) = (files.to_vec(), include.to_vec());
            let input = protobuf::Input::Files { files, include };
            let written = to_thrift(&protobuf::read(&input, &sources).map_err(told)?);
            Written {
                text: written.text,
                fields: written.fields,
                services: written.services,
                methods: Vec::new(),
                exceptions: Vec::new(),
            }
        }
    };
    let settings = written.settings();
    Ok((written.text, settings))
}

/// What was read of a schema.
pub(crate) struct ReadSchema {
    /// What pairs; `None` when a side cannot be read.
    pub(crate) paired: Option<(Pairing, Options)>,
    /// What was found.
    pub(crate) faults: Vec<Fault>,
}

/// Reads and pairs one schema, with paths relative to `base`.
pub(crate) fn read(
    name: &str,
    schema: &config::Schema,
    base: &Path,
    callers: Callers,
    sources: &Sources,
) -> ReadSchema {
    let at = |paths: &[PathBuf]| -> Vec<PathBuf> { paths.iter().map(|p| base.join(p)).collect() };
    let input = match &schema.protobuf {
        config::ProtobufFiles::Files(files) => protobuf::Input::Files {
            files: at(&files.files),
            include: at(&files.include),
        },
        config::ProtobufFiles::DescriptorSet(file) => {
            protobuf::Input::DescriptorSet(base.join(file))
        }
    };
    let protobuf = protobuf::read(&input, sources);
    let thrift = thrift::read(
        &at(&schema.thrift.files),
        &at(&schema.thrift.include),
        sources,
    );
    let mut found = Vec::new();
    let paired = match (protobuf, thrift) {
        (Ok(protobuf), Ok(thrift)) => {
            let options = pair_options(schema, callers);
            let (pairing, findings) = pair(&protobuf, &thrift, &options);
            found.extend(findings);
            Some((pairing, options.wire))
        }
        (protobuf, thrift) => {
            found.extend(protobuf.err().into_iter().flatten());
            found.extend(thrift.err().into_iter().flatten());
            None
        }
    };
    let mut faults: Vec<Fault> = found.iter().map(|finding| fault(name, finding)).collect();
    faults.extend(
        paired
            .as_ref()
            .and_then(|(pairing, _)| calls(name, pairing)),
    );
    ReadSchema { paired, faults }
}

/// Tells of the functions that pair and are no streams: calls are not translated.
fn calls(schema: &str, pairing: &Pairing) -> Option<Fault> {
    let methods = pairing.services.iter().flat_map(|service| {
        let methods = service.methods.iter();
        methods.map(move |method| (method.kind, &service.thrift, &method.thrift))
    });
    let (calls, streams): (Vec<_>, Vec<_>) =
        methods.partition(|(kind, _, _)| matches!(kind, MethodKind::Call));
    let named: Vec<String> = calls
        .iter()
        .take(FEW)
        .map(|(_, service, function)| format!("`{service}.{function}`"))
        .collect();
    let (named, more) = (named.join(", "), calls.len().saturating_sub(FEW));
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let (severity, only) = match (calls.len(), streams.len()) {
        (0, _) => return None,
        (_, 0) => (config::Severity::Warning, ", and the schema has no stream"),
        (_, _) => (config::Severity::Note, ""),
    };
    Some(Fault {
        file: None,
        place: config::Place::default(),
        path: format!("schemas.{schema}"),
        severity,
        message: format!(
            "{named}{more}: ping-pong functions in the thrift IDL{only}. ripcord does not \
             translate calls yet, and refuses streams to them. A function with a `streaming.mode` \
             is a stream"
        ),
    })
}

/// A finding as a fault of the configuration: at its first place, with the others behind its text.
fn fault(schema: &str, finding: &Finding) -> Fault {
    let mut places = finding.places.iter();
    let first = places.next();
    let others: Vec<String> = places.map(ToString::to_string).collect();
    let mut message = finding.text.clone();
    if !others.is_empty() {
        message.push_str(&format!(" ({})", others.join(", ")));
    }
    Fault {
        file: first.map(|place| place.file.to_string()),
        place: first.map_or_else(config::Place::default, |place| config::Place {
            line: place.line as usize,
            column: place.column as usize,
        }),
        path: format!("schemas.{schema}"),
        severity: match finding.severity {
            Severity::Error => config::Severity::Error,
            Severity::Warning => config::Severity::Warning,
            Severity::Note => config::Severity::Note,
        },
        message,
    }
}

/// Which side calls, by the backends of the routes that use the schema.
fn callers(config: &Config, schema: &str) -> Callers {
    let routes = config.routes.iter();
    let using = routes.filter(|route| route.translate.as_deref() == Some(schema));
    let backends = using.filter_map(|route| config.backends.get(&route.backend));
    let (mut to_thrift, mut to_protobuf) = (false, false);
    for backend in backends {
        let is_thrift = match (backend.payload, backend.assume_payload) {
            (PayloadKind::Thrift, _) | (PayloadKind::Any, config::AssumedPayload::Thrift) => true,
            (PayloadKind::Protobuf, _) => false,
            (PayloadKind::Any, config::AssumedPayload::Protobuf) => {
                backend.protocol == Protocol::TTHEADER
            }
        };
        to_thrift |= is_thrift;
        to_protobuf |= !is_thrift;
    }
    match (to_thrift, to_protobuf) {
        (true, false) => Callers::Protobuf,
        (false, true) => Callers::Thrift,
        (true, true) | (false, false) => Callers::Both,
    }
}

/// The rules of a schema, as the pairing takes them.
pub(crate) fn pair_options(schema: &config::Schema, callers: Callers) -> PairOptions {
    let fields = schema.fields.own.iter().map(|(name, rule)| {
        let rule = FieldRule {
            to: rule.thrift.as_ref().map(target),
            overflow: rule.overflow.map(overflow),
            utf8: rule.utf8.map(utf8),
            zeros: rule.write_zeros,
        };
        (name.clone(), rule)
    });
    let exceptions = schema.exceptions.iter().map(|(name, rule)| {
        let rule = ExceptionRule {
            thrift: rule.thrift.clone(),
            code: rule.code,
        };
        (name.clone(), rule)
    });
    let methods = schema.methods.iter();
    let enums = schema.enums.own.iter();
    PairOptions {
        services: schema.services.clone(),
        methods: methods
            .map(|(name, to)| (name.clone(), target(to)))
            .collect(),
        fields_by: match schema.fields.by {
            config::PairBy::Id => FieldsBy::ById,
            config::PairBy::Name => FieldsBy::ByName,
        },
        fields: fields.collect(),
        enums_by: enums_by(schema.enums.by),
        enums: enums
            .map(|(name, by)| (name.clone(), enums_by(*by)))
            .collect(),
        exceptions: exceptions.collect(),
        overflow: overflow(schema.overflow),
        utf8: utf8(schema.utf8),
        write_zeros: schema.write_zeros,
        callers,
        wire: Options {
            duplicates: match schema.duplicates {
                config::Duplicates::Drop => Duplicates::Drop,
                config::Duplicates::Error => Duplicates::Error,
            },
            unknown: match schema.unknown {
                config::Unknown::Skip => Unknown::Skip,
                config::Unknown::Error => Unknown::Error,
            },
        },
    }
}

fn target(to: &config::PairTarget) -> Target {
    match to {
        config::PairTarget::Id(id) => Target::Id(*id),
        config::PairTarget::Name(name) => Target::Name(name.clone()),
        config::PairTarget::None => Target::None,
    }
}

const fn overflow(rule: config::Overflow) -> Overflow {
    match rule {
        config::Overflow::Error => Overflow::Error,
        config::Overflow::Saturate => Overflow::Saturate,
        config::Overflow::Wrap => Overflow::Wrap,
    }
}

const fn utf8(rule: config::Utf8) -> Utf8 {
    match rule {
        config::Utf8::Error => Utf8::Error,
        config::Utf8::Replace => Utf8::Replace,
        config::Utf8::Bytes => Utf8::Bytes,
    }
}

const fn enums_by(rule: config::EnumBy) -> EnumsBy {
    match rule {
        config::EnumBy::Number => EnumsBy::ByNumber,
        config::EnumBy::Name => EnumsBy::ByName,
    }
}
