//! The configuration file: its schema, and reading it with every fault in its place.
//!
//! Plain values with documented defaults; each section's file owns both its struct and its
//! reader, so that a new key touches one file. Knows nothing of sockets or streams.
//!
//! [`load`] gives a [`Config`] or all [`Faults`]; [`inspect`] gives the warnings too;
//! [`watch::run`] follows the file; `crate::route` and `crate::backend` make use of it.

mod backend;
mod destination;
mod fault;
mod limits;
mod listener;
mod protocol;
mod route;
mod telemetry;
pub mod units;
mod validate;
mod walk;
pub mod watch;
mod yaml;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

pub use backend::{
    AssumedPayload, Backend, Backoff, Connections, Hop, Keepalive, PayloadKind, Ping, Target,
    TcpKeepalive,
};
pub use destination::Destination;
pub use fault::{Fault, Faults, Place, Severity};
pub use limits::{Drain, Limits};
pub use listener::{Carried, Listener, Sniff};
pub use protocol::Protocol;
pub use route::{Match, Pattern, Rewrite, Route, Timeouts, Validate};
pub use telemetry::{AccessLog, Level, Log, LogFormat, Otlp, OtlpProtocol, Secret, Telemetry};

/// One whole, checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// This hop's name in canceled paths, traces and metrics: 1 to 128 bytes without comma and
    /// control characters (needed).
    pub node: String,
    /// Workers, each a thread with connections of its own (default: one per core).
    pub workers: usize,
    /// Where `/metrics`, readiness and the rest of the admin pages are served (default: nowhere).
    pub admin: Option<Admin>,
    /// Where callers connect to; at least one.
    pub listeners: Vec<Listener>,
    /// Where streams go, by name; at least one.
    pub backends: BTreeMap<String, Backend>,
    /// Which stream goes where, the first match wins; at least one.
    pub routes: Vec<Route>,
    /// Bounds for the process, and where listeners start from.
    pub limits: Limits,
    /// How the process ends.
    pub drain: Drain,
    /// What this process says about itself.
    pub telemetry: Telemetry,
}

/// The admin server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens (needed); it has no authentication, so keep it on a loopback or pod
    /// address.
    pub address: SocketAddr,
}

/// Reads and checks a file.
///
/// # Errors
/// Everything that is wrong with it, warnings included.
pub fn load(path: &Path) -> Result<Config, Faults> {
    inspect(path).map(|(config, _)| config)
}

/// Like [`load`]; gives the warnings of a good file too.
///
/// # Errors
/// Everything that is wrong with it, warnings included.
pub fn inspect(path: &Path) -> Result<(Config, Faults), Faults> {
    let name = path.display().to_string();
    let bytes = read_bounded(path)
        .map_err(|e| Faults::whole_file(&name, format!("cannot be read: {e}")))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Faults::whole_file(&name, "not text; allowed: UTF-8".to_owned()))?;
    inspect_text(&name, &text)
}

/// Reads and checks text; `name` stands for the file in messages.
///
/// # Errors
/// Everything that is wrong with it, warnings included.
pub fn parse(name: &str, text: &str) -> Result<Config, Faults> {
    inspect_text(name, text).map(|(config, _)| config)
}

/// Like [`parse`]; gives the warnings of good text too.
///
/// # Errors
/// Everything that is wrong with it, warnings included.
pub fn inspect_text(name: &str, text: &str) -> Result<(Config, Faults), Faults> {
    let mut walk = walk::Walk::default();
    let config =
        yaml::read(text, &mut walk.faults).and_then(|root| validate::config(&mut walk, &root));
    let faults = Faults::new(name, walk.faults);
    match config {
        Some(config) if !faults.fatal() => Ok((config, faults)),
        Some(_) | None => Err(faults),
    }
}

/// What `ripcord check FILE` does: prints every fault to stderr; exit code 1 when the file cannot
/// be used.
#[must_use]
pub fn check(path: &Path) -> ExitCode {
    let file = path.display();
    match inspect(path) {
        Ok((config, warnings)) => {
            if !warnings.is_empty() {
                eprintln!("{warnings}");
            }
            println!(
                "{file}: ok: {} listeners, {} backends, {} routes",
                config.listeners.len(),
                config.backends.len(),
                config.routes.len()
            );
            ExitCode::SUCCESS
        }
        Err(faults) => {
            eprintln!("{faults}");
            ExitCode::FAILURE
        }
    }
}

/// What differs between two configurations and takes effect only after a restart: its keys.
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
        // The top-level limits are part of every listener's; they are named once, above.
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

/// What is in force of `read` in a process that was started with `started`: what takes effect only
/// after a restart ([`restart_needed`]) stays as it was.
#[must_use]
pub fn in_force(started: &Config, read: &Config) -> Config {
    Config {
        backends: read.backends.clone(),
        routes: read.routes.clone(),
        drain: read.drain.clone(),
        ..started.clone()
    }
}

/// Reads a file, but no more of it than could be a configuration.
pub(crate) fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let limit = yaml::MAX_BYTES as u64 + 1;
    std::fs::File::open(path)?
        .take(limit)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
