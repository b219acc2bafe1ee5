//! What runs in a pod: services, callers, and the built ripcord beside them.
//!
//! ripcord runs as an unprivileged user of its own, from a configuration that is laid out and replaced
//! as the kubelet does with a ConfigMap.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::net::Net;
use crate::support::lab::{Callee, Caller, address, callee_table};
use crate::support::process::Process;
use crate::support::scenario::Scenario;

/// The user that ripcord runs as.
pub(crate) const UID: &str = "1337";

/// A folder that any user can read, with the program in it: the one that it was built in may be root's.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let all = std::env::temp_dir().join("ripcord-netns");
        for old in std::fs::read_dir(&all).into_iter().flatten().flatten() {
            if !Path::new("/proc").join(old.file_name()).exists() {
                let _ = std::fs::remove_dir_all(old.path());
            }
        }
        let own = all.join(std::process::id().to_string());
        std::fs::create_dir_all(&own).unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_ripcord"), own.join("ripcord")).unwrap();
        own
    })
}

/// A running ripcord.
pub(crate) struct Sidecar {
    pub(crate) process: Process,
    mount: PathBuf,
    generation: AtomicUsize,
    head: String,
}

impl Sidecar {
    /// Starts one in a pod: `head` is everything but the node and the table (backends and routes).
    pub(crate) fn start(net: &Net, pod: &str, node: &str, head: &str, table: &str) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let mount = folder().join(format!("{node}-{next}"));
        std::fs::create_dir(&mount).unwrap();
        symlink("..data/ripcord.yaml", mount.join("ripcord.yaml")).unwrap();
        let head = format!(
            "node: {node}\nworkers: 1\ntelemetry: {{ log: {{ format: json }}, access_log: stdout }}\n{head}\n"
        );
        let generation = AtomicUsize::new(0);
        swap(&mount, &generation, &format!("{head}{table}"));
        let mut command = net.command(pod, "setpriv");
        command
            .args(["--reuid", UID, "--regid", UID, "--clear-groups"])
            .args(["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"])
            .arg(folder().join("ripcord"))
            .args(["run", "--config"])
            .arg(mount.join("ripcord.yaml"));
        let process = Process::start(node, command);
        process.line("listening", |line| line["message"] == "listening");
        Self {
            process,
            mount,
            generation,
            head,
        }
    }

    /// Replaces the table as the kubelet does, without a signal, and waits until it is in force.
    pub(crate) fn publish(&self, table: &str) {
        let reloads = |line: &&Value| line["message"] == "configuration reloaded";
        let before = self.process.all().iter().filter(reloads).count();
        let whole = format!("{}{table}", self.head);
        swap(&self.mount, &self.generation, &whole);
        self.process
            .lines("configuration reloaded", before + 1, |line| reloads(&line));
    }

    /// Asks it to end, as the kubelet does, and waits until it takes no streams.
    pub(crate) fn terminate(&self) {
        self.process.signal("TERM");
        self.logged("draining");
    }

    /// Waits for a line of its log that begins so.
    pub(crate) fn logged(&self, message: &str) -> Value {
        self.process.line(message, |line| {
            line["message"]
                .as_str()
                .is_some_and(|m| m.starts_with(message))
        })
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.process.kill();
        let _ = std::fs::remove_dir_all(&self.mount);
    }
}

/// A ConfigMap's update: a new folder, then one rename of the link `..data`, then the old folder goes.
fn swap(mount: &Path, generation: &AtomicUsize, text: &str) {
    let next = generation.fetch_add(1, Ordering::Relaxed);
    let old = std::fs::read_link(mount.join("..data"));
    let new = format!("..2026_11_22_{next}");
    std::fs::create_dir(mount.join(&new)).unwrap();
    std::fs::write(mount.join(&new).join("ripcord.yaml"), text).unwrap();
    symlink(&new, mount.join("..data_tmp")).unwrap();
    std::fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    if let Ok(old) = old {
        std::fs::remove_dir_all(mount.join(old)).unwrap();
    }
}

/// The services of a pod.
pub(crate) struct Services {
    pub(crate) kitex: Process,
    pub(crate) grpc: Process,
}

impl Services {
    /// Starts them on addresses that only their pod reaches.
    pub(crate) fn start(net: &Net, pod: &str) -> Self {
        Self {
            kitex: net.go(pod, &["kitex-server"]),
            grpc: net.go(pod, &["grpc-server"]),
        }
    }

    /// The table of the sidecar beside them.
    pub(crate) fn table(&self) -> String {
        callee_table(&address(&self.kitex), &address(&self.grpc), None)
    }

    pub(crate) fn of(&self, callee: Callee) -> &Process {
        match callee {
            Callee::Kitex | Callee::KitexGrpc => &self.kitex,
            Callee::GrpcGo | Callee::Python => &self.grpc,
        }
    }
}

/// A caller in a pod that dials that address.
pub(crate) fn caller(net: &Net, pod: &str, caller: Caller, address: &str) -> Process {
    let mut arguments = caller.arguments().to_vec();
    arguments.extend(["--addr", address]);
    net.go(pod, &arguments)
}

/// What a callee sees of its caller's cancel behind sidecars `a` and `b`: Kitex prints the path.
pub(crate) fn canceled(caller: Caller, callee: Callee) -> Value {
    match callee {
        Callee::Kitex | Callee::KitexGrpc => {
            let path = format!("~[canceled path: {} -> a -> b]", caller.origin());
            serde_json::json!({ "ctx_err": path, "err": path })
        }
        Callee::GrpcGo | Callee::Python => serde_json::json!({ "ctx_err": "context canceled" }),
    }
}

/// A scenario with its way in its metadata.
pub(crate) fn by(scenario: Scenario, via: &str, callee: Callee) -> Scenario {
    let way = serde_json::json!({ "x-via": via, "x-to": callee.route() });
    scenario.with("metadata", way)
}
