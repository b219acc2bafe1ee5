//! Six ripcords in a row, `r1` to `r6`, that change the protocol at every hop.
//!
//! With six changes, the caller's and the callee's protocol are the same. Where these differ, `r6`
//! keeps the protocol. A stream's metadata decides what happens to it: `x-begin` names the caller's
//! protocol, `x-to` the callee, `x-limit` the hop that ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::Wire;
use super::collector::Collector;
use super::lab::{Callee, Caller, client_with, pass, say};
use super::peers::{address, go};
use super::process::Process;
use super::ripcord::Ripcord;
use super::scenario::Scenario;
use super::servers::{Servers, backends};
use super::spec::Table;

/// The number of hops.
pub(crate) const HOPS: usize = 6;

/// Kitex over TTHeader streaming and grpc-go, for the two ends of a chain.
pub(crate) const CALLERS: [Caller; 2] = [Caller::Mux, Caller::GrpcGo];
pub(crate) const CALLEES: [Callee; 2] = [Callee::Kitex, Callee::GrpcGo];

/// Two seconds without a message.
const IDLE: &str = "timeouts: { idle: 2s }";
/// Four seconds for the whole stream.
const DEADLINE: &str = "timeouts: { stream: 4s }";

/// A dozen processes share the machine. When the next one gets no CPU for a second, that does not
/// make it a peer that does not read.
const PATIENT: &str = "limits: { slow_receiver_timeout: 60s }";

/// The name of hop `n`, from 1.
pub(crate) fn node(n: usize) -> String {
    format!("r{n}")
}

/// The names of the hops, in that order.
pub(crate) fn nodes(hops: impl Iterator<Item = usize>) -> Vec<String> {
    hops.map(node).collect()
}

/// The protocol between hop `n` and the next; 0 is before the first hop.
pub(crate) fn wire(caller: Caller, n: usize) -> Wire {
    if caller.is_ttheader() == n.is_multiple_of(2) {
        Wire::TtHeader
    } else {
        Wire::Grpc
    }
}

/// The callees: real servers, or addresses of scripted ones.
pub(crate) struct Callees {
    pub(crate) ttheader: String,
    pub(crate) grpc: String,
}

/// The running hops.
pub(crate) struct Chain {
    pub(crate) hops: Vec<Ripcord>,
}

/// Spans are made, so that access log lines have trace ids, but they go nowhere.
pub(crate) const NO_COLLECTOR: &str = "{ endpoint: \"http://127.0.0.1:9\" }";

impl Chain {
    /// Starts the hops, the last one first. `otlp` gives where hop `n` sends its spans.
    pub(crate) fn start(callees: &Callees, otlp: impl Fn(usize) -> String) -> Self {
        let mut hops: Vec<Ripcord> = Vec::new();
        for n in (1..=HOPS).rev() {
            let table = match hops.last() {
                None => last_table(callees),
                Some(next) => table(n, &next.address),
            };
            let hop = Ripcord::named(&node(n)).set(PATIENT).traced(&otlp(n));
            hops.push(hop.table(table).start());
        }
        hops.reverse();
        Self { hops }
    }

    /// The address to which callers connect.
    pub(crate) fn entry(&self) -> &str {
        &self.hops[0].address
    }

    /// Hop `n`, from 1.
    pub(crate) fn hop(&self, n: usize) -> &Ripcord {
        &self.hops[n - 1]
    }

    /// The access log line of hop `n` for the stream with that trace.
    pub(crate) fn access(&self, n: usize, trace: &str) -> Value {
        let process = &self.hop(n).process;
        process.line(&format!("access line of {trace}"), |line| {
            line["trace_id"] == *trace && line["duration_ms"].is_number()
        })
    }
}

/// Adds routes for the streams with that metadata. Those with an `x-limit` come first, so that the
/// hop that has to end a stream does.
fn limited(mut table: Table, n: usize, name: &str, metadata: &str, way: &str) -> Table {
    for (limit, timeouts) in [("idle", IDLE), ("deadline", DEADLINE)] {
        let keys = format!(
            "match: {{ metadata: {{ x-limit: {limit}-r{n}, {metadata} }} }}, {way}, {timeouts}"
        );
        table = table.route(&format!("{limit}-{name}"), &keys);
    }
    table.route(
        name,
        &format!("match: {{ metadata: {{ {metadata} }} }}, {way}"),
    )
}

fn table(n: usize, next: &str) -> Table {
    let mut table = Table::new()
        .backend("ttheader", "protocol: ttheader", next)
        .backend("grpc", "protocol: grpc, hop: ripcord", next);
    for caller in CALLERS {
        let (begin, backend) = (begin(caller), wire(caller, n).name());
        let (name, key) = (format!("begin-{begin}"), format!("x-begin: {begin}"));
        table = limited(table, n, &name, &key, &format!("backend: {backend}"));
    }
    table
}

fn last_table(callees: &Callees) -> Table {
    let mut table = backends(&callees.ttheader, &callees.grpc);
    for callee in CALLEES {
        let key = callee.key();
        table = limited(
            table,
            HOPS,
            &format!("to-{}", callee.route()),
            &key,
            &callee.way(),
        );
    }
    table
}

const fn begin(caller: Caller) -> &'static str {
    if caller.is_ttheader() { "tt" } else { "grpc" }
}

/// The metadata that leads a stream along the chain.
pub(crate) fn way(caller: Caller, callee: Callee) -> Value {
    json!({ "x-begin": begin(caller), "x-to": callee.route() })
}

/// A chain between real applications.
pub(crate) struct Stage {
    pub(crate) chain: Chain,
    /// The real servers; `None` when the callees are scripted.
    servers: Option<Servers>,
    callers: Vec<(Caller, Arc<Process>)>,
}

/// A scenario that runs.
pub(crate) struct Run {
    pub(crate) what: String,
    pub(crate) caller: Caller,
    pub(crate) callee: Callee,
    pub(crate) id: String,
    /// Its trace, as access log lines name it; empty when the caller begins it.
    pub(crate) trace: String,
    pub(crate) client: Arc<Process>,
}

impl Stage {
    pub(crate) fn start() -> Self {
        Self::start_with(&[], |_| NO_COLLECTOR.to_owned())
    }

    /// The same, with every span in that collector: the applications' own, and those of the hops,
    /// which export in turns over gRPC and over HTTP.
    pub(crate) fn start_traced(collector: &Collector) -> Self {
        Self::start_with(&["--otlp", &collector.grpc], |n| {
            let (address, protocol) = if n.is_multiple_of(2) {
                (&collector.http, "http")
            } else {
                (&collector.grpc, "grpc")
            };
            format!("{{ endpoint: \"http://{address}\", protocol: {protocol} }}")
        })
    }

    fn start_with(more: &[&str], otlp: impl Fn(usize) -> String) -> Self {
        let servers = Servers::start_by(|kind| go(&[&[kind], more].concat()));
        let callees = Callees {
            ttheader: address(&servers.kitex),
            grpc: address(&servers.grpc),
        };
        let chain = Chain::start(&callees, otlp);
        Self::of(chain, Some(servers), more)
    }

    /// A chain whose callees the test plays.
    pub(crate) fn of_scripted(chain: Chain) -> Self {
        Self::of(chain, None, &[])
    }

    fn of(chain: Chain, servers: Option<Servers>, more: &[&str]) -> Self {
        let caller = |caller| {
            let client = client_with(caller, chain.entry(), more);
            (caller, Arc::new(client))
        };
        let callers = CALLERS.map(caller).into();
        Self {
            chain,
            servers,
            callers,
        }
    }

    /// Starts a scenario between those two, in a trace of its own.
    pub(crate) fn run(&self, caller: Caller, callee: Callee, scenario: &Scenario) -> Run {
        let trace = new_trace();
        let parent = json!({ "traceparent": format!("00-{trace}-00000000000000aa-00") });
        let run = self.start_run(caller, callee, scenario, parent);
        Run { trace, ..run }
    }

    /// Starts a scenario whose trace the caller begins.
    pub(crate) fn run_untraced(&self, caller: Caller, callee: Callee, scenario: &Scenario) -> Run {
        self.start_run(caller, callee, scenario, json!({}))
    }

    fn start_run(
        &self,
        caller: Caller,
        callee: Callee,
        scenario: &Scenario,
        mut metadata: Value,
    ) -> Run {
        let (_, client) = self.callers.iter().find(|(c, _)| *c == caller).unwrap();
        let mut scenario = scenario.clone();
        for (key, value) in way(caller, callee).as_object().into_iter().flatten() {
            metadata[key] = value.clone();
        }
        for (key, value) in scenario.value["metadata"].as_object().into_iter().flatten() {
            metadata[key] = value.clone();
        }
        scenario.value["metadata"] = metadata;
        Run {
            what: format!("{caller:?} -> {callee:?}: {}", scenario.name),
            caller,
            callee,
            id: say(client, &scenario),
            trace: String::new(),
            client: Arc::clone(client),
        }
    }

    pub(crate) fn server(&self, callee: Callee) -> &Process {
        self.servers.as_ref().unwrap().of(callee)
    }

    /// Waits until the callee is at a barrier, and lets it go on.
    pub(crate) fn callee_passes(&self, run: &Run, barrier: &str) {
        pass(self.server(run.callee), &run.id, barrier);
    }

    /// Waits until the callee is at a barrier.
    pub(crate) fn callee_stands(&self, run: &Run, barrier: &str) {
        let server = self.server(run.callee);
        server.event("barrier", &format!("{}/{barrier}", run.id));
    }

    /// What the callee's application saw.
    pub(crate) fn callee_end(&self, run: &Run) -> Value {
        intact(
            &run.what,
            self.server(run.callee).event("server_end", &run.id),
        )
    }
}

impl Run {
    /// Waits until the caller is at a barrier, and lets it go on.
    pub(crate) fn caller_passes(&self, barrier: &str) {
        pass(&self.client, &self.id, barrier);
    }

    /// What the caller's application saw.
    pub(crate) fn caller_end(&self) -> Value {
        intact(&self.what, self.client.event("result", &self.id))
    }
}

fn intact(what: &str, end: Value) -> Value {
    assert!(
        end["corrupt"] != true && end["out_of_order"] != true,
        "{what}: {end}"
    );
    end
}

/// A trace id that no other stream of this run has.
pub(crate) fn new_trace() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{:032x}", NEXT.fetch_add(1, Ordering::Relaxed))
}
