//! Network namespaces with a wire between them: makes and removes them.
//!
//! Needs root, `ip` (iproute2), TUN devices and python3 (for the wire).

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::kit::peers::{go_program, ip};
use crate::kit::process::Process;
use crate::kit::ripcord::Ripcord;
use crate::kit::spec::Spec;

/// The user that ripcord runs as in a pod.
pub(crate) const UID: &str = "1337";

/// One pod of a net: its name, which is also its device's, and its address.
pub(crate) type PodAddress = (&'static str, &'static str);

/// Namespaces, one for each pod and one for the wire between them.
pub(crate) struct Net {
    wire: Option<Process>,
    prefix: String,
    pods: Vec<PodAddress>,
}

/// Unmakes what a test process left that was killed.
fn sweep() {
    for line in ip("netns list").unwrap_or_default().lines() {
        let name = line.split(' ').next().unwrap_or_default();
        let mut parts = name.split('-');
        if parts.next() == Some("ripcord")
            && let Some(pid) = parts.next()
            && !Path::new("/proc").join(pid).exists()
        {
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

impl Net {
    pub(crate) fn start(pods: &[PodAddress]) -> Self {
        sweep();
        let mut net = Self::new(pods);
        net.make().unwrap_or_else(|why| panic!("{why}"));
        net
    }

    fn new(pods: &[PodAddress]) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            wire: None,
            prefix: format!("ripcord-{}-{next}", std::process::id()),
            pods: pods.to_vec(),
        }
    }

    fn make(&mut self) -> Result<(), String> {
        let wire = self.name("wire");
        ip(&format!("netns add {wire}"))?;
        let mut command = self.command("wire", "python3");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/netns_cases/wire.py"));
        for (pod, address) in &self.pods {
            command.arg(format!("{pod}={address}"));
        }
        let process = Process::start("wire", command);
        process.event("ready", "");
        self.wire = Some(process);
        for (pod, address) in &self.pods {
            let name = self.name(pod);
            ip(&format!("netns add {name}"))?;
            ip(&format!("-n {wire} link set dev {pod} netns {name}"))?;
            // Nobody else could have an IPv6 address here: it is used at once (nodad).
            let (bits, nodad) = if address.contains(':') {
                (64, " nodad")
            } else {
                (24, "")
            };
            ip(&format!(
                "-n {name} addr add {address}/{bits} dev {pod}{nodad}"
            ))?;
            ip(&format!("-n {name} link set dev {pod} up"))?;
            ip(&format!("-n {name} link set dev lo up"))?;
        }
        Ok(())
    }

    fn name(&self, pod: &str) -> String {
        format!("{}-{pod}", self.prefix)
    }

    /// A program, to be run in a pod.
    pub(crate) fn command(&self, pod: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name(pod)])
            .arg(program);
        command
    }

    /// The Go peer, in a pod.
    pub(crate) fn go(&self, pod: &str, arguments: &[&str]) -> Process {
        let mut command = self.command(pod, go_program());
        command.args(arguments);
        Process::start(&format!("{pod}: {}", arguments[0]), command)
    }

    /// Begins the specification of a ripcord in a pod: an unprivileged process with a user of its
    /// own. Its configuration is laid out as a ConfigMap, and its peers may take their time.
    pub(crate) fn named(&self, pod: &str, node: &str) -> Spec {
        Ripcord::named(node)
            .within(&["ip", "netns", "exec", &self.name(pod)])
            .unprivileged(UID)
            .config_map()
            .set("limits: { slow_receiver_timeout: 60s }")
    }

    /// Tells the wire (see `wire.py`), and waits until it has done so; what it has counted so far.
    pub(crate) fn wire(&self, order: &Value) -> Value {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
        let mut order = order.clone();
        order["id"] = json!(id);
        let wire = self.wire.as_ref().unwrap();
        wire.say(&order);
        wire.event("done", &id)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.wire = None;
        for (pod, _) in &self.pods {
            let _ = ip(&format!("netns del {}", self.name(pod)));
        }
        let _ = ip(&format!("netns del {}", self.name("wire")));
    }
}
