//! The built ripcord as a user without a name, without capabilities, and unable to gain any.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use ripcord::stream::Reason;

use crate::storm_peers::{Callee, Callers, Storm, Then, Traffic, Wire};
use crate::support::process::Process;

/// Nobody's, and no system's.
const ID: &str = "65534";

/// Who may not change users has no right that matters: then the other tests show it.
fn may_change_user() -> bool {
    let root = std::fs::metadata("/proc/self").is_ok_and(|own| {
        use std::os::unix::fs::MetadataExt;
        own.uid() == 0
    });
    let setpriv = Command::new("setpriv").arg("--version").output();
    root && setpriv.is_ok_and(|done| done.status.success())
}

/// Streams on both wires, there and back, through a process that owns nothing.
pub(crate) fn serves() {
    if !may_change_user() {
        eprintln!("SKIPPED: not root, or no setpriv (util-linux): not run without privileges");
        return;
    }
    // Folders of a checkout may be closed to others; what it needs is in one that is not.
    let folder = std::env::temp_dir().join(format!("ripcord-unprivileged-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let _removed = Removed(&folder);
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(&folder, 0o755);
    let program = folder.join("ripcord");
    std::fs::copy(env!("CARGO_BIN_EXE_ripcord"), &program).unwrap();
    open(&program, 0o755);
    let callee = Callee::start(Wire::TtHeader, None);
    let file = folder.join("ripcord.yaml");
    let text = format!(
        "node: unprivileged
admin: {{ address: 127.0.0.1:0 }}
telemetry: {{ log: {{ format: json }}, access_log: stdout }}
listeners: [{{ name: in, address: 127.0.0.1:0 }}]
backends: {{ main: {{ protocol: ttheader, endpoints: [\"{}\"] }} }}
routes: [{{ name: main, match: {{ service: Storm }}, backend: main }}]
",
        callee.address
    );
    std::fs::write(&file, text).unwrap();
    open(&file, 0o644);
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", ID, "--regid", ID, "--clear-groups"])
        .args(["--bounding-set", "-all", "--inh-caps", "-all"])
        .arg("--no-new-privs")
        .arg(&program)
        .args(["run", "--config"])
        .arg(&file);
    let process = Process::start("unprivileged", command);
    let line = process.line("listening in", |line| {
        line["message"] == "listening" && line["listener"] == "in"
    });
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().split_ascii_whitespace().collect::<Vec<_>>()
    };
    assert_eq!(field("Uid:"), [ID; 4]);
    assert_eq!(field("Gid:"), [ID; 4]);
    assert_eq!(field("Groups:"), [""; 0]);
    assert_eq!(field("NoNewPrivs:"), ["1"]);
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
    let address: SocketAddr = line["address"].as_str().unwrap().parse().unwrap();
    for wire in [Wire::Grpc, Wire::TtHeader] {
        let callers = Callers::start(wire, address, (1, 10), Traffic::Busy, Then::Nothing);
        callers.seen.wait_ready(10);
        callers.let_go(Storm::Finish);
        for (_, end) in callers.seen.wait_ended(10) {
            assert!(matches!(end.reason, Reason::Complete), "{end:?}");
        }
        callers.close();
    }
}

struct Removed<'a>(&'a Path);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0);
    }
}
