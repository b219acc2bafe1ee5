//! A running ripcord: a process, its log, its admin pages. [`super::spec`] describes what it has to
//! be.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::mount::{Mount, open_copy, open_folder};
use super::process::{LIMIT, Process};
use super::spec::{Spec, Start, Table};

/// One running ripcord.
pub(crate) struct Ripcord {
    pub(crate) process: Process,
    /// The address of its listener.
    pub(crate) address: String,
    admin: String,
    /// Its configuration without the table.
    head: String,
    mount: Mount,
}

/// The program that the suites run. No other place names it.
pub(crate) fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_ripcord"))
}

/// The log line of a configuration that has become effective.
const RELOADED: &str = "configuration reloaded";

/// Starts the process of a specification, and waits until it listens.
pub(super) fn launch(mut spec: Spec) -> Ripcord {
    let (table, head, node) = (spec.take_table(), spec.head(), &spec.node);
    let folder = match spec.start.user {
        None => Path::new(env!("CARGO_TARGET_TMPDIR")).join("kit"),
        Some(_) => open_folder().to_owned(),
    };
    let text = format!("{head}{table}");
    let mount = Mount::make(&folder, node, spec.start.config_map, &text);
    let process = Process::start(node, command(&spec.start, &mount.file()));
    let listening = |wanted: &dyn Fn(&str) -> bool| {
        let line = process.line("listening", |line| {
            line["message"] == "listening" && line["listener"].as_str().is_some_and(wanted)
        });
        line["address"].as_str().unwrap().to_owned()
    };
    Ripcord {
        address: listening(&|name| name != "admin"),
        admin: listening(&|name| name == "admin"),
        process,
        head,
        mount,
    }
}

fn command(start: &Start, config: &Path) -> Command {
    let mut words: Vec<String> = start.within.clone();
    let mut program = start.binary.clone().unwrap_or_else(binary);
    if let Some(id) = start.user {
        let setpriv = format!(
            "setpriv --reuid {id} --regid {id} --clear-groups --inh-caps=-all \
             --bounding-set=-all --no-new-privs"
        );
        words.extend(setpriv.split_whitespace().map(str::to_owned));
        program = open_copy(&program);
    }
    words.push(program.display().to_string());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(["run", "--config"]);
    command.arg(config);
    let environment = start.environment.iter().map(|(name, value)| (name, value));
    command.envs(environment);
    command
}

impl Ripcord {
    /// The listener's address, parsed.
    pub(crate) fn socket_address(&self) -> SocketAddr {
        self.address.parse().unwrap()
    }

    /// The address of one of its listeners.
    pub(crate) fn address_of(&self, listener: &str) -> SocketAddr {
        let line = self.process.line(&format!("listening {listener}"), |line| {
            line["message"] == "listening" && line["listener"] == *listener
        });
        line["address"].as_str().unwrap().parse().unwrap()
    }

    /// Replaces its table and sends SIGHUP.
    pub(crate) fn reload(&self, table: &Table) {
        self.put(table);
        self.process.signal("HUP");
    }

    /// Replaces its table, without a signal.
    pub(crate) fn put(&self, table: &Table) {
        self.mount.replace(&format!("{}{table}", self.head));
    }

    /// Replaces its table without a signal, and waits until it is effective.
    pub(crate) fn publish(&self, table: &Table) {
        let reloads = |line: &Value| line["message"] == RELOADED;
        let lines = self.process.all();
        let before = lines.iter().filter(|line| reloads(line)).count();
        self.put(table);
        self.process.lines(RELOADED, before + 1, reloads);
    }

    /// Asks it to end, as the kubelet does, and waits until it refuses streams.
    pub(crate) fn terminate(&self) {
        self.process.signal("TERM");
        self.logged("draining");
    }

    /// The whole answer of an admin page.
    pub(crate) fn ask(&self, path: &str) -> String {
        let address: SocketAddr = self.admin.parse().unwrap();
        let mut socket = TcpStream::connect_timeout(&address, LIMIT).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: admin\r\n\r\n").unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        text
    }

    /// The body of an admin page.
    pub(crate) fn page(&self, path: &str) -> String {
        let answer = self.ask(path);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        body.to_owned()
    }

    /// An admin page that is JSON.
    pub(crate) fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.page(path)).unwrap()
    }

    /// Waits for a line of its log with this beginning.
    pub(crate) fn logged(&self, message: &str) -> Value {
        self.process.line(message, |line| {
            line["message"]
                .as_str()
                .is_some_and(|m| m.starts_with(message))
        })
    }

    /// The sum of a metric's values over the series whose labels contain `labels`.
    pub(crate) fn metric(&self, name: &str, labels: &str) -> u64 {
        let page = self.page("/metrics");
        let values = page.lines().filter_map(|line| {
            let (key, value) = line.rsplit_once(' ')?;
            let wanted = key.split('{').next()? == name && key.contains(labels);
            wanted.then(|| value.parse::<f64>().unwrap() as u64)
        });
        values.sum()
    }

    /// A field of its `/proc/PID/status` that is in kB, in bytes.
    pub(crate) fn memory(&self, field: &str) -> u64 {
        let status = self.status();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        let kib = line.split_ascii_whitespace().nth(1).unwrap();
        kib.parse::<u64>().unwrap() << 10
    }

    /// Its `/proc/PID/status`.
    pub(crate) fn status(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/status", self.process.pid())).unwrap()
    }

    /// Waits until `done` returns true. A failure shows its metrics.
    pub(crate) fn wait(&self, what: &str, mut done: impl FnMut() -> bool) {
        let end = Instant::now() + LIMIT;
        while !done() {
            assert!(Instant::now() < end, "{what}\n{}", self.page("/metrics"));
            // Metrics are polled: no event reports that one has changed.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until it lists no stream any more. A stream leaves the list right after its access log
    /// line.
    pub(crate) fn wait_idle(&self) {
        self.wait("streams stay listed", || {
            self.json("/streams")["total"] == 0
        });
    }

    /// Waits until no stream is open and no byte is held.
    pub(crate) fn wait_empty(&self) {
        for metric in ["ripcord_streams_active", "ripcord_buffered_bytes"] {
            self.wait(metric, || self.metric(metric, "") == 0);
        }
    }
}
