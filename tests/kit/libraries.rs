//! gRPC libraries of other languages: their programs in `tests/interop`, how they are built, and how
//! they are started.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::lab::{Caller, client};
use super::peers::{Peer, build};
use super::process::Process;

/// A gRPC library that calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Library {
    Java,
    Js,
    Tonic,
    ConnectGo,
    GrpcGo,
    Grpcio,
}

impl Library {
    pub(crate) const ALL: [Self; 6] = [
        Self::Java,
        Self::Js,
        Self::Tonic,
        Self::ConnectGo,
        Self::GrpcGo,
        Self::Grpcio,
    ];

    /// Its own name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Java => "grpc-java",
            Self::Js => "grpc-js",
            Self::Tonic => "tonic",
            Self::ConnectGo => "connect-go",
            Self::GrpcGo => "grpc-go",
            Self::Grpcio => "grpcio",
        }
    }

    /// What the machine needs for it.
    pub(crate) const fn peer(self) -> Peer {
        match self {
            Self::Java => Peer::Java,
            Self::Js => Peer::Node,
            Self::Tonic => Peer::Tonic,
            Self::ConnectGo | Self::GrpcGo => Peer::Go,
            Self::Grpcio => Peer::Grpcio,
        }
    }

    /// Starts a client of it, which sends plain `application/grpc`.
    pub(crate) fn client(self, address: &str) -> Process {
        let arguments = ["client", "--addr", address];
        match self {
            Self::Java => java(&arguments),
            Self::Js => node(&arguments),
            Self::Tonic => tonic(&arguments),
            Self::ConnectGo => {
                static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
                let program = PROGRAM.get_or_init(|| build("connect", "connect-peer", "."));
                let mut command = Command::new(program);
                command.args(arguments);
                Process::start("connect-go", command)
            }
            Self::GrpcGo => client(Caller::GrpcRaw, address),
            Self::Grpcio => client(Caller::Python, address),
        }
    }
}

/// Starts the grpc-java peer.
pub(crate) fn java(arguments: &[&str]) -> Process {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| made("java", JAVA));
    let mut command = Command::new("java");
    // One that answers soon, on few cores.
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
    command.arg(format!("{0}/classes:{0}/lib/*", folder.display()));
    command.arg("Peer").args(arguments);
    Process::start(&format!("grpc-java {}", arguments[0]), command)
}

/// Starts the Node peer.
pub(crate) fn node(arguments: &[&str]) -> Process {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| made("node", NODE));
    let mut command = Command::new("node");
    command.env("NODE_PATH", folder.join("node_modules"));
    command.arg(sources("node").join("peer.js")).args(arguments);
    Process::start(&format!("node {}", arguments[0]), command)
}

/// Starts the tonic peer.
pub(crate) fn tonic(arguments: &[&str]) -> Process {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| made("rust", TONIC));
    let mut command = Command::new(folder.join("debug/tonic-peer"));
    command.args(arguments);
    Process::start(&format!("tonic {}", arguments[0]), command)
}

/// Maven fetches the libraries; it takes seconds even when it has nothing to do.
const JAVA: &str = r#"
cat pom.xml Peer.java | cmp -s - "$OUT/built" && exit 0
mvn -q -B dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$OUT/lib"
javac -d "$OUT/classes" -cp "$OUT/lib/*" Peer.java
cat pom.xml Peer.java > "$OUT/built""#;

const NODE: &str = r#"
cmp -s package-lock.json "$OUT/built" && exit 0
cp package.json package-lock.json "$OUT"
cd "$OUT"
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
cp package-lock.json built"#;

const TONIC: &str = r#"
unset RUSTFLAGS
CARGO_TARGET_DIR="$OUT" cargo build --locked --quiet"#;

fn sources(folder: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/interop").join(folder)
}

/// Runs a script in a folder of `tests/interop`. It puts what it makes into `$OUT`, which is
/// returned. Several test processes may come at once.
fn made(folder: &str, script: &str) -> PathBuf {
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/interop");
    let out = out.join(folder);
    std::fs::create_dir_all(&out).unwrap();
    let made = Command::new("flock")
        .arg(out.with_extension("lock"))
        .args(["sh", "-ec", script])
        .env("OUT", &out)
        .current_dir(sources(folder))
        .output()
        .unwrap_or_else(|error| panic!("flock (util-linux): {error}"));
    let text = [made.stdout, made.stderr].concat();
    assert!(
        made.status.success(),
        "tests/interop/{folder} does not build (offline?):\n{}",
        String::from_utf8_lossy(&text)
    );
    out
}
