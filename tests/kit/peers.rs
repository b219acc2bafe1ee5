//! Peers of other projects: which of them this machine has, and how they are built or started.
//!
//! A missing peer is the machine's business: [`super::trial`] ignores the cases that need it, or
//! fails them. A peer that is installed and cannot be built is a failure.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use super::process::Process;

/// What a case may need and a machine may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// Go, which builds Kitex, grpc-go, grpc-go's own interop suite, h2spec and the collector.
    Go,
    /// A Python with grpcio.
    Grpcio,
    /// A JDK and Maven, which build the grpc-java peer.
    Java,
    /// Node and npm, for grpc-js and for Node's own http2.
    Node,
    /// Cargo, which builds the tonic peer.
    Tonic,
    Nginx,
    Haproxy,
    Envoy,
    Nghttpx,
    /// Network namespaces with TUN devices.
    Namespaces,
    /// Redirection of IPv4 in a namespace.
    Iptables,
    /// Redirection of IPv6 in a namespace.
    Ip6tables,
    /// Root, and the program that drops its rights.
    Setpriv,
}

impl Peer {
    pub(crate) const ALL: [Self; 13] = [
        Self::Go,
        Self::Grpcio,
        Self::Java,
        Self::Node,
        Self::Tonic,
        Self::Nginx,
        Self::Haproxy,
        Self::Envoy,
        Self::Nghttpx,
        Self::Namespaces,
        Self::Iptables,
        Self::Ip6tables,
        Self::Setpriv,
    ];

    /// Its name in `RIPCORD_MAY_BE_MISSING`. For a program also its name on the PATH.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::Grpcio => "grpcio",
            Self::Java => "java",
            Self::Node => "node",
            Self::Tonic => "tonic",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
            Self::Nghttpx => "nghttpx",
            Self::Namespaces => "namespaces",
            Self::Iptables => "iptables",
            Self::Ip6tables => "ip6tables",
            Self::Setpriv => "setpriv",
        }
    }

    /// Why it is missing; `None` when it is there. Looks once per process.
    pub(crate) fn missing(self) -> Option<String> {
        static KNOWN: Mutex<Option<HashMap<Peer, Option<String>>>> = Mutex::new(None);
        let mut known = KNOWN.lock().unwrap();
        let known = known.get_or_insert_default();
        let look = || self.look().err();
        known.entry(self).or_insert_with(look).clone()
    }

    fn look(self) -> Result<(), String> {
        match self {
            Self::Go | Self::Nginx | Self::Haproxy | Self::Envoy | Self::Nghttpx => {
                on_the_path(self.name())
            }
            Self::Java => ["javac", "mvn"].into_iter().try_for_each(on_the_path),
            Self::Node => ["node", "npm"].into_iter().try_for_each(on_the_path),
            Self::Tonic => on_the_path("cargo"),
            Self::Grpcio => {
                let python = python();
                run(&python, &["-c", "import grpc"]).map_err(|_| {
                    let how = "pip install -r tests/interop/python/requirements.txt, or PYTHON=...";
                    format!("{python} has no grpcio ({how})")
                })?;
                Ok(())
            }
            Self::Namespaces => Probe::make("namespaces").map(drop),
            Self::Iptables | Self::Ip6tables => {
                // A kernel may have it for IPv4 only.
                let probe = Probe::make(self.name())?;
                let inside = ["netns", "exec", &probe.0, self.name(), "-t", "nat", "-S"];
                run("ip", &inside).map(drop)
            }
            Self::Setpriv => {
                if run("id", &["-u"])?.trim() != "0" {
                    return Err("not root".to_owned());
                }
                on_the_path("setpriv")
            }
        }
    }
}

/// A namespace that shows that namespaces can be made. Dropping it removes it.
struct Probe(String);

impl Probe {
    fn make(what: &str) -> Result<Self, String> {
        run("python3", &["--version"])?;
        let name = format!("ripcord-{}-{what}", std::process::id());
        ip(&format!("netns add {name}"))?;
        let probe = Self(name);
        ip(&format!("-n {} tuntap add dev probe mode tun", probe.0))?;
        Ok(probe)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = ip(&format!("netns del {}", self.0));
    }
}

fn on_the_path(program: &str) -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let missing = || format!("no `{program}` on the PATH");
    found.then_some(()).ok_or_else(missing)
}

/// Runs a program to its end. Returns its output, or what went wrong.
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

/// Runs `ip` with arguments that have no spaces.
pub(crate) fn ip(arguments: &str) -> Result<String, String> {
    run("ip", &arguments.split(' ').collect::<Vec<_>>())
}

fn python() -> String {
    std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Go peer's program.
pub(crate) fn go_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| build("go", "peer", "."))
}

/// The same program on Kitex v0.14, which does not know the Rst frame.
fn old_kitex_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let old = ["-modfile=v0.14.mod", "-tags=kitex014"];
    PROGRAM.get_or_init(|| build_with("go", "peer-v0.14", ".", &old))
}

/// Builds a package as `target/interop/NAME`, with the module in that folder of `tests/interop`.
pub(crate) fn build(folder: &str, name: &str, package: &str) -> PathBuf {
    build_with(folder, name, package, &[])
}

fn build_with(folder: &str, name: &str, package: &str, flags: &[&str]) -> PathBuf {
    let out = root().join("target/interop");
    std::fs::create_dir_all(&out).unwrap();
    let program = out.join(name);
    // Several test processes may come at once. The second finds everything in Go's cache.
    let built = Command::new("flock")
        .arg(out.join(format!("{name}.lock")))
        .args(["go", "build", "-o"])
        .arg(&program)
        .args(flags)
        .arg(package)
        .current_dir(root().join("tests/interop").join(folder))
        .output()
        .unwrap_or_else(|error| panic!("flock (util-linux): {error}"));
    let text = String::from_utf8_lossy(&built.stderr);
    assert!(
        built.status.success(),
        "{name} does not build (offline?):\n{text}"
    );
    program
}

/// Starts a Go peer.
pub(crate) fn go(arguments: &[&str]) -> Process {
    start(Command::new(go_program()), arguments)
}

/// Starts a Go peer on Kitex v0.14. A client with the mux pool has a connection for each processor
/// that Go uses: here one.
pub(crate) fn old_kitex(arguments: &[&str]) -> Process {
    let mut command = Command::new(old_kitex_program());
    command.env("GOMAXPROCS", "1");
    start(command, arguments)
}

fn start(mut command: Command, arguments: &[&str]) -> Process {
    command.args(arguments);
    Process::start(arguments[0], command)
}

/// Starts the Python peer.
pub(crate) fn grpcio(arguments: &[&str]) -> Process {
    let mut command = Command::new(python());
    command.arg(root().join("tests/interop/python/peer.py"));
    command.args(arguments);
    Process::start(&format!("python {}", arguments[0]), command)
}

/// The address in a peer's `listening` line.
pub(crate) fn address(process: &Process) -> String {
    process.event("listening", "")["addr"]
        .as_str()
        .unwrap()
        .to_owned()
}
