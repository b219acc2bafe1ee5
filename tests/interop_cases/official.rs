//! The official gRPC interop suite: grpc-go's own client and server, with ripcord between them.
//!
//! The binaries are `google.golang.org/grpc/interop/{client,server}` as they are. The client
//! judges, by its exit code. The cases are those of the pinned version (its `interop_test.sh`) that
//! need no TLS and no Google account.
//!
//! These cases of the project's list (`doc/interop-test-descriptions.md`) cannot be run:
//!
//! - `client_compressed_unary`, `server_compressed_unary`, `client_compressed_streaming`,
//!   `server_compressed_streaming` and `cacheable_unary` are in neither grpc-go's client nor its
//!   server. `pingpong.rs` has compression between this suite's own peers.
//! - The credentials' cases need Google's.
//! - `pick_first_unary` is about addresses, and its server id is never filled in.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::kit::peers::{Peer, build};
use crate::kit::process::Process;
use crate::kit::ripcord::Ripcord;
use crate::kit::trial::Case;

/// What stands between client and server.
#[derive(Clone, Copy, Debug)]
enum Topology {
    /// One ripcord, gRPC on both sides.
    One,
    /// Two ripcords with TTHeader between them.
    TtHeader,
    /// Two ripcords with gRPC between them, which know of each other.
    Grpc,
}

/// The server and the ripcords before it. `inner` is `one`, and the second hop of the others.
struct Suite {
    _server: Process,
    inner: Ripcord,
    by_ttheader: Ripcord,
    by_grpc: Ripcord,
}

fn suite() -> &'static Suite {
    static SUITE: OnceLock<Suite> = OnceLock::new();
    SUITE.get_or_init(Suite::start)
}

/// grpc-go's own interop client and server, in that order.
fn programs() -> &'static [PathBuf; 2] {
    static PROGRAMS: OnceLock<[PathBuf; 2]> = OnceLock::new();
    let program = |name| {
        let package = format!("google.golang.org/grpc/interop/{name}");
        build("official", &format!("official-{name}"), &package)
    };
    PROGRAMS.get_or_init(|| ["client", "server"].map(program))
}

impl Suite {
    fn start() -> Self {
        let [_, program] = programs();
        let mut command = Command::new(program);
        command
            .args(["--port", "0"])
            .env("GRPC_GO_LOG_SEVERITY_LEVEL", "info");
        let server = Process::start("official server", command);
        let port = server.text("its port", |line| {
            let (_, address) = line.split_once("interop server listening on ")?;
            address.rsplit(':').next()?.trim().parse::<u16>().ok()
        });
        let inner = Ripcord::named("inner")
            .to("protocol: grpc", format!("127.0.0.1:{port}"))
            .start();
        let outer = |keys: &str| Ripcord::named("outer").to(keys, &inner.address).start();
        Self {
            by_ttheader: outer("protocol: ttheader"),
            by_grpc: outer("protocol: grpc, hop: ripcord"),
            inner,
            _server: server,
        }
    }

    const fn entry(&self, topology: Topology) -> &Ripcord {
        match topology {
            Topology::One => &self.inner,
            Topology::TtHeader => &self.by_ttheader,
            Topology::Grpc => &self.by_grpc,
        }
    }
}

/// Starts the client on one case.
fn client(entry: &Ripcord, case: &str) -> Process {
    let [program, _] = programs();
    let (host, port) = entry.address.rsplit_once(':').unwrap();
    let mut command = Command::new(program);
    command
        .args(["--server_host", host, "--server_port", port])
        .args(["--test_case", case])
        // As grpc-go's own script has it: what the load reports are seen by.
        .args([
            "--service_config_json",
            r#"{"loadBalancingConfig":[{"test_backend_metrics_load_balancer":{}}]}"#,
        ])
        // A soak's default limits time the machine, not ripcord.
        .args(["--soak_iterations", "100", "--soak_num_threads", "4"])
        .args(["--soak_per_iteration_max_acceptable_latency_ms", "30000"])
        .args(["--soak_overall_timeout_seconds", "50"])
        .env("GRPC_GO_LOG_SEVERITY_LEVEL", "info");
    Process::start("official client", command)
}

/// Runs one case and holds the client's exit code to 0.
fn run(topology: Topology, case: &str) {
    let suite = suite();
    let entry = suite.entry(topology);
    let client = client(entry, case);
    assert_eq!(
        client.exit_code(),
        Some(0),
        "{case}, {topology:?}; the client's last lines:\n{}\nthe entry's:\n{}",
        client.tail(),
        entry.process.tail(),
    );
}

/// What the client can be asked for.
const CASES: [&str; 18] = [
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "status_code_and_message",
    "special_status_message",
    "custom_metadata",
    "unimplemented_method",
    "unimplemented_service",
    "orca_per_rpc",
    "orca_oob",
    "rpc_soak",
    "channel_soak",
];

/// One for each case and topology, so that a failure names both, and those about the suite.
pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str, run: fn()| Case::new(module_path!(), name, &[Peer::Go], run);
    let mut cases = vec![
        case(
            "the_client_fails_when_a_case_does",
            the_client_fails_when_a_case_does,
        ),
        case(
            "the_streams_take_the_wires_that_they_should",
            the_streams_take_the_wires_that_they_should,
        ),
        Case::new(
            module_path!(),
            "the_suite_is_of_the_pinned_grpc",
            &[],
            the_suite_is_of_the_pinned_grpc,
        ),
    ];
    for (part, topology) in [
        ("through_one", Topology::One),
        ("over_ttheader", Topology::TtHeader),
        ("over_grpc", Topology::Grpc),
    ] {
        for name in CASES {
            let run = move || run(topology, name);
            let name = format!("{part}::{name}");
            cases.push(Case::new(module_path!(), &name, &[Peer::Go], run));
        }
    }
    cases
}

fn the_client_fails_when_a_case_does() {
    let nowhere = Ripcord::named("nowhere")
        .to("protocol: grpc", "127.0.0.1:1")
        .start();
    let client = client(&nowhere, "empty_unary");
    assert_eq!(client.exit_code(), Some(1), "{}", client.tail());
}

/// Whether the hops are where they should be: each has logged streams of its two wires.
fn the_streams_take_the_wires_that_they_should() {
    let suite = suite();
    for (topology, first, second) in [
        (Topology::One, ("grpc", "grpc"), None),
        (
            Topology::TtHeader,
            ("grpc", "ttheader"),
            Some(("ttheader", "grpc")),
        ),
        (Topology::Grpc, ("grpc", "grpc"), Some(("grpc", "grpc"))),
    ] {
        run(topology, "empty_unary");
        let hops = [(suite.entry(topology), Some(first)), (&suite.inner, second)];
        for (hop, wires) in hops {
            let Some((inbound, outbound)) = wires else {
                continue;
            };
            hop.process
                .line(&format!("{topology:?}: {inbound} to {outbound}"), |line| {
                    line["inbound"] == inbound && line["outbound"] == outbound
                });
        }
    }
}

/// The module of its own has the version that the other peers have.
fn the_suite_is_of_the_pinned_grpc() {
    let version = |folder: &str| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
        let module = std::fs::read_to_string(root.join(folder).join("go.mod")).unwrap();
        let found = module.lines().find_map(|line| {
            let (_, version) = line.split_once("google.golang.org/grpc v")?;
            version.split_whitespace().next().map(str::to_owned)
        });
        found.unwrap()
    };
    assert_eq!(version("go"), version("official"));
}
