//! Where the real peers come from: the Go programs are built once, Python is asked for grpcio.
//!
//! What is missing skips the tests that need it, plainly; with `RIPCORD_REQUIRE_INTEROP=1` it
//! fails them.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The Go peer.
pub(crate) fn go_peer() -> Option<&'static Path> {
    static PEER: OnceLock<Option<PathBuf>> = OnceLock::new();
    PEER.get_or_init(|| found(build("go", "peer", ".")))
        .as_deref()
}

/// grpc-go's own interop client and server, in that order.
#[allow(dead_code, reason = "only one of the test binaries runs them")]
pub(crate) fn official() -> Option<&'static (PathBuf, PathBuf)> {
    static OFFICIAL: OnceLock<Option<(PathBuf, PathBuf)>> = OnceLock::new();
    let one = |name: &str| {
        let package = format!("google.golang.org/grpc/interop/{name}");
        build("official", &format!("official-{name}"), &package)
    };
    let both = || Ok((one("client")?, one("server")?));
    OFFICIAL.get_or_init(|| found(both())).as_ref()
}

/// h2spec.
#[allow(dead_code, reason = "only one of the test binaries runs it")]
pub(crate) fn h2spec() -> Option<&'static Path> {
    static H2SPEC: OnceLock<Option<PathBuf>> = OnceLock::new();
    let package = "github.com/summerwind/h2spec/cmd/h2spec";
    H2SPEC
        .get_or_init(|| found(build("h2spec", "h2spec", package)))
        .as_deref()
}

/// The OpenTelemetry collector.
#[allow(dead_code, reason = "only one of the test binaries runs it")]
pub(crate) fn collector() -> Option<&'static Path> {
    static COLLECTOR: OnceLock<Option<PathBuf>> = OnceLock::new();
    COLLECTOR
        .get_or_init(|| found(build("collector", "collector", ".")))
        .as_deref()
}

/// A Python that has grpcio, and the peer's script.
pub(crate) fn python() -> Option<&'static (String, PathBuf)> {
    static PYTHON: OnceLock<Option<(String, PathBuf)>> = OnceLock::new();
    PYTHON.get_or_init(|| found(grpcio())).as_ref()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Builds a package as `target/interop/NAME`, with the module in that folder of `tests/interop`.
fn build(folder: &str, name: &str, package: &str) -> Result<PathBuf, String> {
    let version = Command::new("go").arg("version").output();
    if !version.is_ok_and(|v| v.status.success()) {
        return Err("no `go` on the PATH, so no real peers".to_owned());
    }
    let out = root().join("target/interop");
    std::fs::create_dir_all(&out).map_err(|e| e.to_string())?;
    let program = out.join(name);
    // Several test processes may come at once; the second finds all of it in Go's cache.
    let built = Command::new("flock")
        .arg(out.join(format!("{name}.lock")))
        .args(["go", "build", "-o"])
        .arg(&program)
        .arg(package)
        .current_dir(root().join("tests/interop").join(folder))
        .output()
        .map_err(|e| format!("flock (util-linux): {e}"))?;
    if built.status.success() {
        Ok(program)
    } else {
        let text = String::from_utf8_lossy(&built.stderr).into_owned();
        Err(format!("{name} does not build (offline?):\n{text}"))
    }
}

fn grpcio() -> Result<(String, PathBuf), String> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let asked = Command::new(&python).args(["-c", "import grpc"]).output();
    if asked.is_ok_and(|a| a.status.success()) {
        return Ok((python, root().join("tests/interop/python/peer.py")));
    }
    Err(format!(
        "{python} has no grpcio (pip install -r tests/interop/python/requirements.txt, or PYTHON=...)"
    ))
}

fn found<T>(result: Result<T, String>) -> Option<T> {
    match result {
        Ok(found) => Some(found),
        Err(why) => {
            let required = std::env::var_os("RIPCORD_REQUIRE_INTEROP").is_some_and(|v| v == "1");
            assert!(!required, "RIPCORD_REQUIRE_INTEROP=1, but {why}");
            say_skipped(&format!("interop suite: {why}"));
            None
        }
    }
}

/// Says that tests are skipped, past the test harness, which shows nothing of a test that passes.
pub(crate) fn say_skipped(why: &str) {
    if let Ok(mut tty) = File::options().append(true).open("/dev/stderr") {
        let _ = writeln!(tty, "SKIPPED: {why}");
    }
}
