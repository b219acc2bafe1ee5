//! The specification of a ripcord: its listeners, backends, routes and the rest of its
//! configuration. It is started as a process ([`Spec::start`]) or within the test's own process
//! ([`Spec::start_here`]).
//!
//! ```ignore
//! let ingress = Ripcord::named("ingress")
//!     .backend("kt", "protocol: ttheader", &kitex)
//!     .route("kt", "backend: kt, rewrite: { service: Interop }")
//!     .start();
//! let egress = Ripcord::named("egress")
//!     .set("limits: { slow_receiver_timeout: 20s }")
//!     .backend("next", "protocol: grpc, hop: ripcord", &ingress.address)
//!     .route("all", "backend: next")
//!     .start();
//! ```

use std::fmt::{Display, Formatter};
use std::path::PathBuf;

use ripcord::{App, config};

use super::ripcord::{Ripcord, launch};

/// Backends and routes: the part of a configuration that a reload may change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    backends: Vec<(String, String)>,
    routes: Vec<String>,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a backend with one endpoint. `keys` are its other keys (YAML, `key: value`).
    pub(crate) fn backend(self, name: &str, keys: &str, address: impl Display) -> Self {
        self.backend_with(name, &format!("{keys}, endpoints: [\"{address}\"]"))
    }

    /// Adds a backend with these keys, `endpoints` among them.
    pub(crate) fn backend_with(mut self, name: &str, keys: &str) -> Self {
        self.backends.push((name.to_owned(), keys.to_owned()));
        self
    }

    /// Adds a route after the existing ones.
    pub(crate) fn route(mut self, name: &str, keys: &str) -> Self {
        self.routes.push(format!("{{ name: {name}, {keys} }}"));
        self
    }

    /// Adds the backends and routes of another table.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.backends.extend(other.backends);
        self.routes.extend(other.routes);
        self
    }

    /// Adds keys to every backend.
    pub(crate) fn each_backend(mut self, keys: &str) -> Self {
        for (_, all) in &mut self.backends {
            all.push_str(", ");
            all.push_str(keys);
        }
        self
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let none = if self.backends.is_empty() { " {}" } else { "" };
        writeln!(f, "backends:{none}")?;
        for (name, keys) in &self.backends {
            writeln!(f, "  {name}: {{ {keys} }}")?;
        }
        writeln!(f, "routes:")?;
        self.routes
            .iter()
            .try_for_each(|route| writeln!(f, "  - {route}"))
    }
}

/// A ripcord that is not started yet.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(super) node: String,
    listeners: Vec<String>,
    admin: bool,
    sections: String,
    access_log: String,
    log_level: &'static str,
    otlp: String,
    table: Table,
    pub(super) start: Start,
}

/// How its process is started.
#[derive(Clone, Debug, Default)]
pub(super) struct Start {
    pub(super) binary: Option<PathBuf>,
    pub(super) user: Option<&'static str>,
    pub(super) within: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) config_map: bool,
}

impl Ripcord {
    /// Begins the specification of a ripcord with that node name: one worker, one listener `in`,
    /// admin pages, and the access log on its standard output. Both addresses are free ones.
    pub(crate) fn named(node: &str) -> Spec {
        Spec {
            node: node.to_owned(),
            listeners: Vec::new(),
            admin: true,
            sections: String::new(),
            access_log: "stdout".to_owned(),
            log_level: "info",
            otlp: String::new(),
            table: Table::new(),
            start: Start::default(),
        }
    }
}

impl Ripcord {
    /// Starts one that is named `hop` and sends every stream to one callee.
    pub(crate) fn before(protocol: &str, callee: &str) -> Self {
        let keys = format!("protocol: {protocol}");
        Self::named("hop").to(&keys, callee).start()
    }
}

impl Spec {
    /// Sends every stream to one backend, which has these keys (YAML, `key: value`).
    pub(crate) fn to(self, keys: &str, address: impl Display) -> Self {
        self.backend("callee", keys, address)
            .route("all", "backend: callee")
    }

    /// Adds keys to the listener `in` (YAML, `key: value`).
    pub(crate) fn listener(self, keys: &str) -> Self {
        self.listens("in", "127.0.0.1:0", keys)
    }

    /// Adds a listener with that name, address and keys. The first one replaces the listener `in`.
    pub(crate) fn listens(mut self, name: &str, address: &str, keys: &str) -> Self {
        let comma = if keys.is_empty() { "" } else { ", " };
        let listener = format!("{{ name: {name}, address: \"{address}\"{comma}{keys} }}");
        self.listeners.push(listener);
        self
    }

    /// Adds a top-level key of the file with its value, for example `limits: { .. }`.
    pub(crate) fn set(mut self, section: &str) -> Self {
        self.sections.push_str(section);
        self.sections.push('\n');
        self
    }

    /// See [`Table::backend`].
    pub(crate) fn backend(mut self, name: &str, keys: &str, address: impl Display) -> Self {
        self.table = self.table.backend(name, keys, address);
        self
    }

    /// See [`Table::route`].
    pub(crate) fn route(mut self, name: &str, keys: &str) -> Self {
        self.table = self.table.route(name, keys);
        self
    }

    /// Adds the backends and routes of a table.
    pub(crate) fn table(mut self, table: Table) -> Self {
        self.table = self.table.and(table);
        self
    }

    /// Exports spans: the value of `telemetry.otlp` (YAML).
    pub(crate) fn traced(mut self, otlp: &str) -> Self {
        self.otlp = format!(", otlp: {otlp}");
        self
    }

    /// Has no access log.
    pub(crate) fn quiet(mut self) -> Self {
        self.access_log = "off".to_owned();
        self
    }

    /// Writes the access log to a file.
    pub(crate) fn access_log(mut self, path: &std::path::Path) -> Self {
        self.access_log = path.display().to_string();
        self
    }

    /// Sets the level of its own log.
    pub(crate) fn log_level(mut self, level: &'static str) -> Self {
        self.log_level = level;
        self
    }

    /// Runs this program in place of the built one.
    pub(crate) fn binary(mut self, path: impl Into<PathBuf>) -> Self {
        self.start.binary = Some(path.into());
        self
    }

    /// Runs as that user id, which has no rights and can gain none. Needs root and `setpriv`.
    pub(crate) fn unprivileged(mut self, id: &'static str) -> Self {
        self.start.user = Some(id);
        self
    }

    /// Appends its command line to this one, for example to `ip netns exec NAME`.
    pub(crate) fn within(mut self, command: &[&str]) -> Self {
        self.start.within = command.iter().map(ToString::to_string).collect();
        self
    }

    /// Sets an environment variable of its process.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.start
            .environment
            .push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lays its file out and replaces it as the kubelet does with a ConfigMap, not in place.
    pub(crate) fn config_map(mut self) -> Self {
        self.start.config_map = true;
        self
    }

    /// Starts the process, and waits until it listens.
    pub(crate) fn start(self) -> Ripcord {
        launch(self)
    }

    /// Starts it in this process.
    pub(crate) async fn start_here(mut self) -> App {
        self.admin = false;
        let text = format!("{}{}", self.head(), self.table);
        let config = config::parse("test", &text).unwrap_or_else(|faults| panic!("{faults}"));
        App::start(config, None, None).await.unwrap()
    }

    /// Its configuration without the table.
    pub(super) fn head(&self) -> String {
        let Self {
            node,
            sections,
            access_log,
            log_level,
            otlp,
            ..
        } = self;
        let mut text = format!("node: {node}\nworkers: 1\n");
        if self.admin {
            text.push_str("admin: { address: 127.0.0.1:0 }\n");
        }
        text += &format!(
            "telemetry: {{ log: {{ format: json, level: {log_level} }}, access_log: {access_log}{otlp} }}\nlisteners:\n"
        );
        let own = ["{ name: in, address: \"127.0.0.1:0\" }".to_owned()];
        let listeners = match self.listeners.as_slice() {
            [] => &own[..],
            some => some,
        };
        for listener in listeners {
            text += &format!("  - {listener}\n");
        }
        text + sections
    }

    /// Its table. What is left has none.
    pub(super) fn take_table(&mut self) -> Table {
        std::mem::take(&mut self.table)
    }
}
