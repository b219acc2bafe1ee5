//! The configuration file: its schema, and a reader that finds every fault with its place.
//!
//! The values are plain, with documented defaults. Each section's file has both its struct and its
//! reader, so that a new key touches one file. Knows nothing of sockets or streams.
//!
//! [`load`] gives a [`Config`] or all [`Faults`]; [`inspect`] gives the warnings too.
//! [`watch::run`] follows the file. `crate::route` and `crate::backend` put it to use.

mod advice;
mod backend;
mod cancel_as;
pub mod changes;
mod check;
mod destination;
mod encoding;
mod environment;
mod fault;
mod hints;
mod limits;
mod listener;
mod protocol;
pub mod render;
mod route;
mod scalar;
mod schema;
mod telemetry;
mod trace_context;
mod tree;
pub mod units;
mod validate;
mod walk;
pub mod watch;
mod yaml;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

pub use backend::{
    AssumedPayload, Backend, Backoff, Connections, Hop, Keepalive, PayloadKind, Ping, ResetBudget,
    Target, TcpKeepalive,
};
pub use cancel_as::CancelAs;
pub use check::check;
pub use destination::Destination;
pub use environment::Environment;
pub(crate) use fault::suggestion;
pub use fault::{Fault, Faults, Place, Severity};
pub use limits::{Drain, Limits};
pub use listener::{Carried, DEFAULT_MAX_HEAD, Listener, ListenerProtocol, PassGoAway};
pub use protocol::Protocol;
pub use route::{Match, Pattern, Rewrite, Route, Timeouts, Validate};
pub use schema::{
    Duplicates, EnumBy, EnumRules, ExceptionRule, FieldRule, FieldRules, IdlFiles, Overflow,
    PairBy, PairTarget, ProtobufFiles, Schema, Unknown, Utf8,
};
pub use telemetry::{AccessLog, Level, Log, LogFormat, Otlp, OtlpProtocol, Secret, Telemetry};
pub use trace_context::TraceContext;

/// One whole, checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// This hop's name in canceled paths, traces and metrics (required). 1 to 128 bytes, without
    /// comma and control characters.
    pub node: String,
    /// The number of workers, each a thread with its own connections (default: one per core).
    pub workers: usize,
    /// Where `/metrics`, readiness and the other admin pages are served (default: nowhere).
    pub admin: Option<Admin>,
    /// The addresses to which callers connect; at least one.
    pub listeners: Vec<Listener>,
    /// Where streams go, by name; at least one.
    pub backends: BTreeMap<String, Backend>,
    /// How protobuf and thrift pair, by name (default: none).
    pub schemas: BTreeMap<String, Schema>,
    /// Which stream goes where; at least one. The first match wins.
    pub routes: Vec<Route>,
    /// Bounds for the process. Listeners start from them.
    pub limits: Limits,
    /// How the process shuts down.
    pub drain: Drain,
    /// What this process reports about itself.
    pub telemetry: Telemetry,
}

/// The server of the admin pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The address on which it listens (required). It has no authentication: use a loopback or pod
    /// address.
    pub address: SocketAddr,
}

/// Reads and checks a file.
///
/// # Errors
/// All its faults, warnings included.
pub fn load(path: &Path) -> Result<Config, Faults> {
    inspect(path).map(|(config, _)| config)
}

/// Like [`load`], and gives the warnings of a good file too.
///
/// # Errors
/// All its faults, warnings included.
pub fn inspect(path: &Path) -> Result<(Config, Faults), Faults> {
    let name = path.display().to_string();
    let read = std::fs::File::open(path).and_then(read_bounded);
    let environment = Environment::process().with_folders();
    let bytes = read.map_err(|e| unreadable(&name, &e))?;
    inspect_bytes(&name, &bytes, environment)
}

/// Reads and checks text. `name` stands for the file in messages.
///
/// # Errors
/// All its faults, warnings included.
pub fn parse(name: &str, text: &str) -> Result<Config, Faults> {
    inspect_text(name, text).map(|(config, _)| config)
}

/// Like [`parse`], and gives the warnings of good text too.
///
/// # Errors
/// All its faults, warnings included.
pub fn inspect_text(name: &str, text: &str) -> Result<(Config, Faults), Faults> {
    inspect_in(Environment::process(), name, text)
}

/// Like [`inspect_text`], with these environment variables.
///
/// # Errors
/// All its faults, warnings included.
pub fn inspect_in(
    environment: Environment,
    name: &str,
    text: &str,
) -> Result<(Config, Faults), Faults> {
    let mut walk = walk::Walk::new(environment);
    let config =
        yaml::read(text, &mut walk.faults).and_then(|root| validate::config(&mut walk, &root));
    let faults = Faults::new(name, walk.faults);
    match config {
        Some(config) if !faults.fatal() => Ok((config, faults)),
        Some(_) | None => Err(faults),
    }
}

/// Like [`inspect_in`], from the bytes of a file.
pub(crate) fn inspect_bytes(
    name: &str,
    bytes: &[u8],
    environment: Environment,
) -> Result<(Config, Faults), Faults> {
    let text = encoding::text(bytes).map_err(|fault| Faults::new(name, vec![fault]))?;
    inspect_in(environment, name, text)
}

fn unreadable(name: &str, error: &std::io::Error) -> Faults {
    Faults::whole_file(name, format!("cannot be read: {error}"))
}

/// The keys that differ between two configurations and take effect only after a restart.
#[must_use]
pub fn restart_needed(old: &Config, new: &Config) -> Vec<String> {
    let mut named = Vec::new();
    let mut compare = |name: &str, same: bool| {
        if !same {
            named.push(name.to_owned());
        }
    };
    compare("node", old.node == new.node);
    compare("workers", old.workers == new.workers);
    compare("admin", old.admin == new.admin);
    compare("limits", old.limits == new.limits);
    compare("telemetry", old.telemetry == new.telemetry);
    let by_name = |config: &Config| -> BTreeMap<String, Listener> {
        // Top-level limits are part of every listener's. They are named once, above.
        let own = config.listeners.iter().cloned();
        own.map(|l| (l.name.clone(), l)).collect()
    };
    let (before, after) = (by_name(old), by_name(new));
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let same = match (before.get(name), after.get(name)) {
            (Some(before), Some(after)) => {
                let mut alike = after.clone();
                if old.limits != new.limits {
                    alike.limits = before.limits.clone();
                }
                *before == alike
            }
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        compare(&format!("listeners.{name}"), same);
    }
    named
}

/// The configuration that is effective after `read` in a process that was started with `started`.
/// What needs a restart ([`restart_needed`]) stays as it was.
#[must_use]
pub fn effective(started: &Config, read: &Config) -> Config {
    Config {
        backends: read.backends.clone(),
        schemas: read.schemas.clone(),
        routes: read.routes.clone(),
        drain: read.drain.clone(),
        ..started.clone()
    }
}

/// Reads a file, but not more than a configuration may have.
pub(crate) fn read_bounded(file: impl std::io::Read) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let limit = yaml::MAX_BYTES as u64 + 1;
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
