//! The peers and the ripcords that most tests share, and one scenario between any two of them.
//!
//! Three ripcords: `one` stands alone, `egress` and `ingress` make two hops. Where a stream goes is
//! said by its metadata: `x-to` names the callee, `x-via` the wire between the two hops.

use std::collections::HashMap;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::{Value, json};

use super::build;
use super::process::Process;
use super::ripcord::Ripcord;
use super::scenario::Scenario;

/// The Kitex caller's name in paths.
pub(crate) const KITEX_CALLER: &str = "kitex.interop.caller";

/// grpc-go's, which it says as Kitex does.
pub(crate) const GRPC_CALLER: &str = "grpc.interop.caller";

/// Who opens the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    /// Kitex, TTHeader streaming, multiplexed pool.
    Mux,
    /// The same, one stream at a time on a connection.
    Long,
    /// The same, one connection for each stream.
    Short,
    /// Kitex, gRPC with thrift.
    KitexGrpc,
    /// grpc-go, thrift bytes, says its name.
    GrpcGo,
    /// grpc-go, raw bytes, no name.
    GrpcRaw,
    /// grpcio.
    Python,
}

/// Who serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Callee {
    /// Kitex, TTHeader streaming.
    Kitex,
    /// Kitex, gRPC with thrift.
    KitexGrpc,
    GrpcGo,
    Python,
}

/// What is between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Via {
    One,
    /// Two hops with TTHeader between them.
    TtHeader,
    /// Two hops with gRPC between them, which know of each other.
    Grpc,
    /// Two hops with gRPC between them; the first does not know what the second is.
    PlainGrpc,
}

/// Who calls whom over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pair {
    pub(crate) caller: Caller,
    pub(crate) via: Via,
    pub(crate) callee: Callee,
}

impl Caller {
    pub(crate) const fn is_ttheader(self) -> bool {
        match self {
            Self::Mux | Self::Long | Self::Short => true,
            Self::KitexGrpc | Self::GrpcGo | Self::GrpcRaw | Self::Python => false,
        }
    }

    /// Where a canceled path begins when it lets go.
    pub(crate) const fn origin(self) -> &'static str {
        match self {
            Self::Mux | Self::Long | Self::Short | Self::KitexGrpc => KITEX_CALLER,
            Self::GrpcGo => GRPC_CALLER,
            Self::GrpcRaw | Self::Python => "non-ttstream path",
        }
    }

    pub(crate) const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Mux => &["kitex-client", "--pool", "mux"],
            Self::Long => &["kitex-client", "--pool", "long"],
            Self::Short => &["kitex-client", "--pool", "short"],
            Self::KitexGrpc => &["kitex-client", "--transport", "grpc"],
            Self::GrpcGo => &[
                "grpc-client",
                "--subtype",
                "thrift",
                "--source",
                GRPC_CALLER,
            ],
            Self::GrpcRaw | Self::Python => &["grpc-client"],
        }
    }
}

impl Callee {
    pub(crate) const fn route(self) -> &'static str {
        match self {
            Self::Kitex => "kt",
            Self::KitexGrpc => "kg",
            Self::GrpcGo => "gg",
            Self::Python => "py",
        }
    }

    pub(crate) const fn is_kitex(self) -> bool {
        match self {
            Self::Kitex | Self::KitexGrpc => true,
            Self::GrpcGo | Self::Python => false,
        }
    }
}

impl Via {
    /// The nodes on the way.
    pub(crate) const fn nodes(self) -> &'static [&'static str] {
        match self {
            Self::One => &["one"],
            Self::TtHeader | Self::Grpc | Self::PlainGrpc => &["egress", "ingress"],
        }
    }

    pub(crate) const fn value(self) -> &'static str {
        match self {
            Self::One | Self::TtHeader => "tt",
            Self::Grpc => "grpc",
            Self::PlainGrpc => "plain",
        }
    }
}

impl Pair {
    pub(crate) fn name(self) -> String {
        format!("{:?} -{:?}-> {:?}", self.caller, self.via, self.callee)
    }
}

/// All that is shared.
pub(crate) struct Lab {
    kitex: Process,
    grpc: Process,
    python: Option<Process>,
    pub(crate) one: Ripcord,
    pub(crate) egress: Ripcord,
    _ingress: Ripcord,
    callers: Mutex<HashMap<(Caller, bool), Arc<Process>>>,
}

/// The lab, started by the first test that needs it; `None` when a test is to be skipped.
pub(crate) fn lab() -> Option<&'static Lab> {
    static LAB: OnceLock<Option<Lab>> = OnceLock::new();
    LAB.get_or_init(Lab::start).as_ref()
}

/// The address in a peer's `listening` line.
pub(crate) fn address(process: &Process) -> String {
    process.event("listening", "")["addr"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// A Go peer.
pub(crate) fn go(arguments: &[&str]) -> Option<Process> {
    let mut command = Command::new(build::go_peer()?);
    command.args(arguments);
    Some(Process::start(arguments[0], command))
}

/// A client of that kind, of its own.
pub(crate) fn client(caller: Caller, address: &str) -> Option<Process> {
    client_with(caller, address, &[])
}

/// The same with more arguments.
pub(crate) fn client_with(caller: Caller, address: &str, more: &[&str]) -> Option<Process> {
    if caller == Caller::Python {
        return python(&["grpc-client", "--addr", address]);
    }
    let mut arguments = caller.arguments().to_vec();
    arguments.extend(["--addr", address]);
    arguments.extend(more);
    go(&arguments)
}

fn python(arguments: &[&str]) -> Option<Process> {
    let (python, script) = build::python()?;
    let mut command = Command::new(python);
    command.arg(script).args(arguments);
    Some(Process::start(&format!("python {}", arguments[0]), command))
}

/// A backend and its route, taken by `x-to`.
pub(crate) fn callee_table(kitex: &str, grpc: &str, python: Option<&str>) -> String {
    let mut backends = format!(
        "backends:
  kt: {{ protocol: ttheader, payload: thrift, endpoints: [\"{kitex}\"] }}
  kg: {{ protocol: grpc, endpoints: [\"{kitex}\"] }}
  gg: {{ protocol: grpc, endpoints: [\"{grpc}\"] }}
"
    );
    let mut routes = String::from(
        "routes:
  - { name: kt, match: { metadata: { x-to: kt } }, backend: kt, rewrite: { service: Interop } }
  - { name: kg, match: { metadata: { x-to: kg } }, backend: kg, rewrite: { service: interop.Interop } }
  - { name: gg, match: { metadata: { x-to: gg } }, backend: gg, rewrite: { service: interop.Interop } }
",
    );
    if let Some(python) = python {
        backends += &format!("  py: {{ protocol: grpc, endpoints: [\"{python}\"] }}\n");
        routes += "  - { name: py, match: { metadata: { x-to: py } }, backend: py, rewrite: { service: interop.Interop } }\n";
    }
    backends + &routes
}

/// To the next ripcord, on the wire that `x-via` says.
pub(crate) fn egress_table(ingress: &str) -> String {
    format!(
        "backends:
  tt: {{ protocol: ttheader, endpoints: [\"{ingress}\"] }}
  grpc: {{ protocol: grpc, hop: ripcord, endpoints: [\"{ingress}\"] }}
  plain: {{ protocol: grpc, endpoints: [\"{ingress}\"] }}
routes:
  - {{ name: tt, match: {{ metadata: {{ x-via: tt }} }}, backend: tt }}
  - {{ name: grpc, match: {{ metadata: {{ x-via: grpc }} }}, backend: grpc }}
  - {{ name: plain, match: {{ metadata: {{ x-via: plain }} }}, backend: plain }}
"
    )
}

impl Lab {
    fn start() -> Option<Self> {
        let kitex = go(&["kitex-server"])?;
        let grpc = go(&["grpc-server"])?;
        let python = python(&["grpc-server"]);
        let python_address = python.as_ref().map(address);
        let table = callee_table(&address(&kitex), &address(&grpc), python_address.as_deref());
        // All tests share these peers: on a busy machine one that is not run for a second is not slow.
        let patient = "limits: { slow_grace: 20s }";
        let one = Ripcord::start("one", &table, patient);
        let ingress = Ripcord::start("ingress", &table, patient);
        let egress = Ripcord::start("egress", &egress_table(&ingress.address), patient);
        Some(Self {
            kitex,
            grpc,
            python,
            one,
            egress,
            _ingress: ingress,
            callers: Mutex::default(),
        })
    }

    /// Whether both ends of the pair are there and speak the same payload.
    pub(crate) fn has(&self, pair: Pair) -> bool {
        let raw = matches!(pair.caller, Caller::GrpcRaw | Caller::Python);
        let fits = match pair.callee {
            Callee::Kitex | Callee::KitexGrpc => !raw,
            Callee::GrpcGo => true,
            Callee::Python => raw,
        };
        let needs_python = pair.caller == Caller::Python || pair.callee == Callee::Python;
        fits && (self.python.is_some() || !needs_python)
    }

    /// Every pair that is possible.
    pub(crate) fn pairs(&self, callers: &[Caller], vias: &[Via], callees: &[Callee]) -> Vec<Pair> {
        let mut out = Vec::new();
        for &caller in callers {
            for &via in vias {
                for &callee in callees {
                    let pair = Pair {
                        caller,
                        via,
                        callee,
                    };
                    if self.has(pair) {
                        out.push(pair);
                    }
                }
            }
        }
        out
    }

    fn server(&self, callee: Callee) -> &Process {
        match callee {
            Callee::Kitex | Callee::KitexGrpc => &self.kitex,
            Callee::GrpcGo => &self.grpc,
            Callee::Python => self.python.as_ref().unwrap(),
        }
    }

    fn client(&self, pair: Pair) -> Arc<Process> {
        let direct = pair.via == Via::One;
        let mut callers = self.callers.lock().unwrap();
        let found = callers.entry((pair.caller, direct)).or_insert_with(|| {
            let entry = if direct { &self.one } else { &self.egress };
            Arc::new(client(pair.caller, &entry.address).unwrap())
        });
        Arc::clone(found)
    }

    /// Starts a scenario between two peers.
    pub(crate) fn start_on(&self, pair: Pair, scenario: &Scenario) -> Running<'_> {
        let client = self.client(pair);
        let mut scenario = scenario.clone();
        scenario.value["metadata"]["x-to"] = json!(pair.callee.route());
        scenario.value["metadata"]["x-via"] = json!(pair.via.value());
        let what = format!("{}: {}", pair.name(), scenario.name);
        let id = say(&client, &scenario);
        Running {
            what,
            pair,
            id,
            client,
            server: self.server(pair.callee),
        }
    }
}

/// Gives a client a scenario under an id that no other has.
pub(crate) fn say(client: &Process, scenario: &Scenario) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let id = format!("{}#{}", scenario.name, NEXT.fetch_add(1, Ordering::Relaxed));
    let mut line = scenario.value.clone();
    line["id"] = json!(id);
    client.say(&line);
    id
}

/// A scenario under way.
pub(crate) struct Running<'a> {
    pub(crate) what: String,
    pub(crate) pair: Pair,
    pub(crate) id: String,
    pub(crate) client: Arc<Process>,
    pub(crate) server: &'a Process,
}

/// What both applications saw.
pub(crate) struct Seen {
    pub(crate) what: String,
    pub(crate) pair: Pair,
    pub(crate) caller: Value,
    pub(crate) callee: Value,
}

impl Running<'_> {
    /// Waits until the callee's handler runs.
    pub(crate) fn started(&self) -> &Self {
        self.server.event("server_start", &self.id);
        self
    }

    /// Waits until the caller stands at a barrier, and lets it go on.
    pub(crate) fn caller_passes(&self, barrier: &str) -> &Self {
        pass(&self.client, &self.id, barrier);
        self
    }

    /// Waits until the callee stands at a barrier, and lets it go on.
    pub(crate) fn callee_passes(&self, barrier: &str) -> &Self {
        pass(self.server, &self.id, barrier);
        self
    }

    /// Waits for both ends.
    pub(crate) fn seen(self) -> Seen {
        let caller = self.client.event("result", &self.id);
        let callee = self.server.event("server_end", &self.id);
        for end in [&caller, &callee] {
            assert!(
                end["corrupt"] != true && end["out_of_order"] != true,
                "{}: {end}",
                self.what
            );
        }
        Seen {
            what: self.what,
            pair: self.pair,
            caller,
            callee,
        }
    }

    /// Waits for the callee's end.
    pub(crate) fn seen_by_callee(&self) -> Value {
        self.server.event("server_end", &self.id)
    }

    /// Waits for the caller's end; the callee was not reached.
    pub(crate) fn result(self) -> Value {
        self.client.event("result", &self.id)
    }
}

/// Waits until it stands at a barrier, and lets it go on.
pub(crate) fn pass(process: &Process, id: &str, barrier: &str) {
    let gate = format!("{id}/{barrier}");
    process.event("barrier", &gate);
    process.say(&json!({ "go": gate }));
}
