//! Network namespaces with a wire between them, made and unmade.
//!
//! Needs root, `ip` (iproute2), TUN devices and python3 (for the wire). Where they are not to be had,
//! the tests are skipped, and say so, even with `RIPCORD_REQUIRE_INTEROP=1`: whether namespaces
//! can be made is the machine's business.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::build;
use crate::support::process::Process;

/// Whether connections can be redirected by this program in a pod; says so when not.
pub(crate) fn can_redirect(net: &Net, pod: &str, iptables: &str) -> bool {
    // A kernel may have it for IPv4 only.
    let name = net.name(pod);
    let found = run("ip", &["netns", "exec", &name, iptables, "-t", "nat", "-S"]);
    if let Err(why) = &found {
        build::say_skipped(&format!("redirection: {why}"));
    }
    found.is_ok()
}

/// One pod of a net: its name, which is also its device's, and its address.
pub(crate) type PodAddress = (&'static str, &'static str);

/// Namespaces, one for each pod and one for the wire between them.
pub(crate) struct Net {
    wire: Option<Process>,
    prefix: String,
    pods: Vec<PodAddress>,
}

/// Runs a program to its end; its output, or what went wrong.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let what = format!("{program} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{what}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(format!("{what}: {}", error.trim()))
}

fn ip(arguments: &str) -> Result<String, String> {
    run("ip", &arguments.split(' ').collect::<Vec<_>>())
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
    /// Makes one; `None` when the test is to be skipped.
    pub(crate) fn start(pods: &[PodAddress]) -> Option<Self> {
        build::go_peer()?;
        let mut net = Self::new(pods);
        if let Err(why) = net.can() {
            build::say_skipped(&format!("network namespaces: {why} (needs root)"));
            return None;
        }
        net.make().unwrap_or_else(|why| panic!("{why}"));
        Some(net)
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

    /// Whether the machine lets namespaces be made: the wire's is the first.
    fn can(&self) -> Result<(), String> {
        sweep();
        run("python3", &["--version"])?;
        let wire = self.name("wire");
        ip(&format!("netns add {wire}"))?;
        ip(&format!("-n {wire} tuntap add dev probe mode tun"))?;
        ip(&format!("-n {wire} link del dev probe"))?;
        Ok(())
    }

    fn make(&mut self) -> Result<(), String> {
        let wire = self.name("wire");
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
        let mut command = self.command(pod, build::go_peer().unwrap());
        command.args(arguments);
        Process::start(&format!("{pod}: {}", arguments[0]), command)
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
