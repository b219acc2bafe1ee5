//! The built `ripcord`: a configuration written to a file, a process, its log, its admin pages.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::process::{LIMIT, Process};

/// One running ripcord.
pub(crate) struct Ripcord {
    pub(crate) process: Process,
    /// Where its listener is.
    pub(crate) address: String,
    admin: String,
    file: PathBuf,
    head: String,
}

/// The part of a configuration that all tests have in common.
fn head(node: &str, otlp: &str, listener: &str, more: &str) -> String {
    format!(
        "node: {node}
workers: 1
admin: {{ address: 127.0.0.1:0 }}
telemetry: {{ log: {{ format: json }}, access_log: stdout{otlp} }}
listeners: [{{ name: in, address: 127.0.0.1:0{listener} }}]
{more}
"
    )
}

impl Ripcord {
    /// Starts one with these backends and routes (YAML), and `more` top-level keys.
    pub(crate) fn start(node: &str, table: &str, more: &str) -> Self {
        Self::launch(node, table, head(node, "", "", more))
    }

    /// The same with more keys of its listener (`, key: value`).
    #[allow(dead_code, reason = "only the abuse suite does")]
    pub(crate) fn start_listening(node: &str, table: &str, listener: &str, more: &str) -> Self {
        Self::launch(node, table, head(node, "", listener, more))
    }

    /// The same with spans to a collector: `otlp` is the value of the key in `telemetry` (YAML).
    pub(crate) fn start_traced(node: &str, table: &str, otlp: &str, more: &str) -> Self {
        let head = head(node, &format!(", otlp: {otlp}"), "", more);
        Self::launch(node, table, head)
    }

    fn launch(node: &str, table: &str, head: String) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop");
        std::fs::create_dir_all(&folder).unwrap();
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let file = folder.join(format!("{node}-{}-{next}.yaml", std::process::id()));
        std::fs::write(&file, format!("{head}{table}")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ripcord"));
        command.arg("run").arg("--config").arg(&file);
        let process = Process::start(node, command);
        let listening = |name: &str| {
            let line = process.line(&format!("listening {name}"), |line| {
                line["message"] == "listening" && line["listener"] == *name
            });
            line["address"].as_str().unwrap().to_owned()
        };
        Self {
            address: listening("in"),
            admin: listening("admin"),
            process,
            file,
            head,
        }
    }

    /// Puts other backends and routes into its file and sends SIGHUP.
    pub(crate) fn reload(&self, table: &str) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{}{table}", self.head)).unwrap();
        std::fs::rename(&new, &self.file).unwrap();
        self.process.signal("HUP");
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

    /// Waits for a line of its log.
    pub(crate) fn logged(&self, message: &str) -> Value {
        self.process.line(message, |line| {
            line["message"]
                .as_str()
                .is_some_and(|m| m.starts_with(message))
        })
    }

    /// An admin page that is JSON.
    pub(crate) fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.page(path)).unwrap()
    }
}

impl Drop for Ripcord {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}
