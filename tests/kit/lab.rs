//! The peers and the ripcords that most tests share, and one scenario between any two of them.
//!
//! There are three ripcords: `one` stands alone, `egress` and `ingress` make two hops. A stream's
//! metadata decides where it goes: `x-to` names the callee, `x-via` the wire between the two hops.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::{Value, json};

use super::peers::{Peer, address, go, grpcio};
use super::process::Process;
use super::ripcord::Ripcord;
use super::scenario::Scenario;
use super::servers::Servers;
use super::spec::Table;

/// The Kitex caller's name in paths.
pub(crate) const KITEX_CALLER: &str = "kitex.interop.caller";

/// The grpc-go caller's name, which it sends as Kitex does.
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
    /// grpc-go with thrift bytes, which sends its name.
    GrpcGo,
    /// grpc-go with raw bytes and no name.
    GrpcRaw,
    /// Python's grpcio.
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
    /// Two hops with gRPC between them. Each knows that the other is a ripcord.
    Grpc,
    /// Two hops with gRPC between them. The first does not know that the second is a ripcord.
    PlainGrpc,
}

/// Who calls whom, and what is between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pair {
    pub(crate) caller: Caller,
    pub(crate) via: Via,
    pub(crate) callee: Callee,
}

impl Caller {
    pub(crate) const ALL: [Self; 7] = [
        Self::Mux,
        Self::Long,
        Self::Short,
        Self::KitexGrpc,
        Self::GrpcGo,
        Self::GrpcRaw,
        Self::Python,
    ];

    pub(crate) const fn is_ttheader(self) -> bool {
        match self {
            Self::Mux | Self::Long | Self::Short => true,
            Self::KitexGrpc | Self::GrpcGo | Self::GrpcRaw | Self::Python => false,
        }
    }

    /// The first name of a canceled path when it cancels.
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
    pub(crate) const ALL: [Self; 4] = [Self::Kitex, Self::KitexGrpc, Self::GrpcGo, Self::Python];

    /// The name of its route and of its backend.
    pub(crate) const fn route(self) -> &'static str {
        match self {
            Self::Kitex => "kt",
            Self::KitexGrpc => "kg",
            Self::GrpcGo => "gg",
            Self::Python => "py",
        }
    }

    /// The metadata of a stream to it.
    pub(crate) fn key(self) -> String {
        format!("x-to: {}", self.route())
    }

    /// The part of its route that tells where a stream goes.
    pub(crate) fn way(self) -> String {
        format!(
            "backend: {}, rewrite: {{ service: {} }}",
            self.route(),
            self.service()
        )
    }

    /// Adds its route, which matches by `x-to`.
    pub(crate) fn route_to(self, table: Table) -> Table {
        let keys = format!(
            "match: {{ metadata: {{ {} }} }}, {}",
            self.key(),
            self.way()
        );
        table.route(self.route(), &keys)
    }

    /// The service's name on its wire.
    pub(crate) const fn service(self) -> &'static str {
        match self {
            Self::Kitex => "Interop",
            Self::KitexGrpc | Self::GrpcGo | Self::Python => "interop.Interop",
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
    /// The nodes on the way, in order.
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
    /// Whether both ends speak the same payload.
    fn fits(self) -> bool {
        let raw = matches!(self.caller, Caller::GrpcRaw | Caller::Python);
        match self.callee {
            Callee::Kitex | Callee::KitexGrpc => !raw,
            Callee::GrpcGo => true,
            Callee::Python => raw,
        }
    }

    fn ends(self) -> Ends {
        if self.caller == Caller::Python || self.callee == Callee::Python {
            Ends::Grpcio
        } else {
            Ends::Go
        }
    }

    pub(crate) fn name(self) -> String {
        format!("{:?} -{:?}-> {:?}", self.caller, self.via, self.callee)
    }
}

/// Everything that the cases share.
pub(crate) struct Lab {
    servers: Servers,
    python: Option<Process>,
    pub(crate) one: Ripcord,
    pub(crate) egress: Ripcord,
    pub(crate) ingress: Ripcord,
    callers: Mutex<HashMap<(Caller, bool), Arc<Process>>>,
}

/// Which pairs: those with both ends built by Go, or those with grpcio at one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    Go,
    Grpcio,
}

impl Ends {
    /// Those of the callers that belong to it.
    pub(crate) fn of(self, callers: &[Caller]) -> Vec<Caller> {
        let taken = |caller: &&Caller| (**caller == Caller::Python) == (self == Self::Grpcio);
        callers.iter().filter(taken).copied().collect()
    }
}

/// The lab, started by the first case that needs it.
pub(crate) fn lab() -> &'static Lab {
    static LAB: OnceLock<Lab> = OnceLock::new();
    LAB.get_or_init(Lab::start)
}

/// A client of that kind, of its own.
pub(crate) fn client(caller: Caller, address: &str) -> Process {
    client_with(caller, address, &[])
}

/// The same, with more arguments.
pub(crate) fn client_with(caller: Caller, address: &str, more: &[&str]) -> Process {
    if caller == Caller::Python {
        return grpcio(&[&["grpc-client", "--addr", address], more].concat());
    }
    let mut arguments = caller.arguments().to_vec();
    arguments.extend(["--addr", address]);
    arguments.extend(more);
    go(&arguments)
}

/// Routes to the next ripcord, on the wire that `x-via` names. `x-limit: egress` gives the stream
/// two seconds.
pub(crate) fn egress_table(ingress: &str) -> Table {
    let mut table = Table::new()
        .backend("tt", "protocol: ttheader", ingress)
        .backend("grpc", "protocol: grpc, hop: ripcord", ingress)
        .backend("plain", "protocol: grpc", ingress);
    for via in ["tt", "grpc", "plain"] {
        let limited = format!(
            "match: {{ metadata: {{ x-via: {via}, x-limit: egress }} }}, backend: {via}, \
             timeouts: {{ stream: 2s }}"
        );
        let way = format!("match: {{ metadata: {{ x-via: {via} }} }}, backend: {via}");
        table = table
            .route(&format!("{via}-limited"), &limited)
            .route(via, &way);
    }
    table
}

impl Lab {
    fn start() -> Self {
        let servers = Servers::start();
        let python = Peer::Grpcio.missing().is_none();
        let python = python.then(|| grpcio(&["grpc-server"]));
        let mut table = servers.table();
        if let Some(python) = &python {
            let callee = Callee::Python;
            table =
                callee.route_to(table.backend(callee.route(), "protocol: grpc", address(python)));
        }
        // All cases share these peers. One that gets no CPU for a second on a busy machine is not
        // slow.
        let patient =
            |node: &str| Ripcord::named(node).set("limits: { slow_receiver_timeout: 20s }");
        let one = patient("one").table(table.clone()).start();
        let ingress = patient("ingress").table(table).start();
        let egress = patient("egress").table(egress_table(&ingress.address));
        Self {
            servers,
            python,
            one,
            egress: egress.start(),
            ingress,
            callers: Mutex::default(),
        }
    }

    /// Every possible pair of those ends.
    pub(crate) fn pairs(
        &self,
        ends: Ends,
        callers: &[Caller],
        vias: &[Via],
        callees: &[Callee],
    ) -> Vec<Pair> {
        let mut out = Vec::new();
        for &caller in callers {
            for &via in vias {
                for &callee in callees {
                    let pair = Pair {
                        caller,
                        via,
                        callee,
                    };
                    if pair.fits() && pair.ends() == ends {
                        out.push(pair);
                    }
                }
            }
        }
        assert!(
            !out.is_empty(),
            "no pair of {callers:?} and {callees:?} is {ends:?}"
        );
        out
    }

    fn server(&self, callee: Callee) -> &Process {
        match (callee, &self.python) {
            (Callee::Python, Some(python)) => python,
            _ => self.servers.of(callee),
        }
    }

    fn client(&self, pair: Pair) -> Arc<Process> {
        let direct = pair.via == Via::One;
        let mut callers = self.callers.lock().unwrap();
        let found = callers.entry((pair.caller, direct)).or_insert_with(|| {
            let entry = if direct { &self.one } else { &self.egress };
            Arc::new(client(pair.caller, &entry.address))
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

/// A scenario that runs.
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

    /// Waits until the caller is at a barrier, and lets it go on.
    pub(crate) fn caller_passes(&self, barrier: &str) -> &Self {
        pass(&self.client, &self.id, barrier);
        self
    }

    /// Waits until the callee is at a barrier, and lets it go on.
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

    /// Waits for the caller's end. The callee was not reached.
    pub(crate) fn result(self) -> Value {
        self.client.event("result", &self.id)
    }
}

/// Waits until a process is at a barrier, and lets it go on.
pub(crate) fn pass(process: &Process, id: &str, barrier: &str) {
    let gate = format!("{id}/{barrier}");
    process.event("barrier", &gate);
    process.say(&json!({ "go": gate }));
}
