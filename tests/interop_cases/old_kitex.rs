//! Kitex v0.14, which does not know the Rst frame: one Rst ends every stream of its connection. Ten
//! neighbours share that connection. They must live on, whatever ends another stream of it.

use serde_json::{Value, json};

use crate::kit::lab::{Caller, client, pass, say};
use crate::kit::peers::{address, go, old_kitex};
use crate::kit::process::Process;
use crate::kit::ripcord::Ripcord;
use crate::kit::scenario::{Kind, Scenario, assert_like, barrier, op, recv, scenario, send};
use crate::kit::spec::Spec;
use crate::kit::trial::cases;

cases! {
    [Go] {
        an_old_callee::keeps_the_neighbours_of_a_grpc_callers_reset = || old_callee(GoneBy::Reset),
        an_old_callee::keeps_the_neighbours_of_a_kitex_callers_rst = || old_callee(GoneBy::Rst),
        an_old_callee::keeps_the_neighbours_of_a_lost_grpc_caller = || old_callee(GoneBy::LostGrpc),
        an_old_callee::keeps_the_neighbours_of_a_lost_kitex_caller = || old_callee(GoneBy::LostKitex),
        an_old_callee::keeps_the_neighbours_of_a_lost_old_caller = || old_callee(GoneBy::LostOld),
        an_old_callee::keeps_the_neighbours_of_a_deadline = || old_callee(GoneBy::Deadline),
        an_old_callee::keeps_the_neighbours_of_an_idle_stream = || old_callee(GoneBy::Idle),
        an_old_caller::keeps_the_neighbours_of_a_deadline = || old_caller(OwnEnd::Deadline),
        an_old_caller::keeps_the_neighbours_of_an_idle_stream = || old_caller(OwnEnd::Idle),
        an_old_caller::keeps_the_neighbours_of_a_lost_backend = || old_caller(OwnEnd::Lost),
        an_old_caller_is_found_out_by_its_first_rst,
        an_old_caller_that_only_receives_is_found_out_by_its_second_rst,
        an_old_callers_streams_receive_the_drains_end,
        a_handler_that_only_sends_notices_a_trailer_on_a_connection_of_its_own,
        a_new_callee_is_found_out_and_its_first_cancel_is_a_rst,
        between_two_ripcords_a_trailer_loses_nothing,
    }
}

/// How many streams share the connection with the one that is ended.
const NEIGHBOURS: usize = 10;

/// What ends the one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GoneBy {
    Reset,
    Rst,
    LostGrpc,
    LostKitex,
    LostOld,
    Deadline,
    Idle,
}

impl GoneBy {
    /// A client that is no neighbour's.
    fn client(self, hop: &str) -> Process {
        match self {
            Self::Reset | Self::LostGrpc | Self::Deadline => client(Caller::GrpcGo, hop),
            Self::Rst | Self::LostKitex | Self::Idle => client(Caller::Mux, hop),
            Self::LostOld => old_client(hop),
        }
    }

    const fn is_lost(self) -> bool {
        match self {
            Self::LostGrpc | Self::LostKitex | Self::LostOld => true,
            Self::Reset | Self::Rst | Self::Deadline | Self::Idle => false,
        }
    }

    /// The name of its route.
    const fn limit(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Idle => "idle",
            Self::Reset | Self::Rst | Self::LostGrpc | Self::LostKitex | Self::LostOld => "none",
        }
    }

    /// The cause that the callee's Recv gives.
    const fn cause(self) -> i32 {
        match self {
            Self::Reset | Self::LostGrpc => 12011,
            Self::Rst => 12007,
            Self::LostKitex | Self::LostOld => 12013,
            Self::Deadline => 12015,
            Self::Idle => 12014,
        }
    }
}

/// An old Kitex caller, whose streams share one connection.
fn old_client(hop: &str) -> Process {
    old_kitex(&["kitex-client", "--pool", "mux", "--addr", hop])
}

/// Streams of one caller that have exchanged a message.
struct Neighbours {
    client: Process,
    ids: Vec<String>,
}

impl Neighbours {
    fn start(client: Process, limit: &str) -> Self {
        let last = [barrier("again"), send(1, 5), recv(1), op("close_send")];
        let [a, b, c, d] = last;
        let hello = limited(
            scenario(
                "neighbour",
                Kind::Bidi,
                [op("echo")],
                [send(1, 5), recv(1), a, b, c, d],
            ),
            limit,
        );
        let ids: Vec<_> = (0..NEIGHBOURS).map(|_| say(&client, &hello)).collect();
        for id in &ids {
            client.event("barrier", &format!("{id}/again"));
        }
        Self { client, ids }
    }

    /// All of them live: each exchanges another message and ends well.
    fn live(self) {
        for id in &self.ids {
            self.client.say(&json!({ "go": format!("{id}/again") }));
        }
        for id in &self.ids {
            let end = self.client.event("result", id);
            assert_like("a neighbour", &end, &json!({ "kind": "ok", "recv": 2 }));
        }
    }

    /// All of them are lost.
    fn die(self) {
        for id in &self.ids {
            self.client.say(&json!({ "go": format!("{id}/again") }));
        }
        for id in &self.ids {
            let end = self.client.event("result", id);
            assert_like("a neighbour", &end, &json!({ "kind": "error" }));
        }
    }
}

fn limited(scenario: Scenario, limit: &str) -> Scenario {
    scenario.with("metadata", json!({ "x-limit": limit }))
}

/// A hop before that callee, whose routes have limits by name.
fn hop(callee: &str, backend: &str, listener: &str) -> Ripcord {
    spec(callee, backend, listener).start()
}

fn spec(callee: &str, backend: &str, listener: &str) -> Spec {
    let to = "backend: callee, rewrite: { service: Interop }";
    let by = |limit: &str| format!("match: {{ metadata: {{ x-limit: {limit} }} }}, {to}");
    Ripcord::named("hop")
        .listener(listener)
        .backend("callee", &format!("protocol: ttheader{backend}"), callee)
        .route("none", &by("none"))
        .route(
            "deadline",
            &format!("{}, timeouts: {{ stream: 1s }}", by("deadline")),
        )
        .route("idle", &format!("{}, timeouts: {{ idle: 1s }}", by("idle")))
}

/// The same, and a route `other` to a second callee.
fn hop_with_two(callee: &str, other: &str, listener: &str) -> Ripcord {
    spec(callee, "", listener)
        .backend("other", "protocol: ttheader", other)
        .route("other", "match: { metadata: { x-limit: other } }, backend: other, rewrite: { service: Interop }")
        .start()
}

/// The stream that is ended, after one exchanged message.
fn victim(by: GoneBy) -> Scenario {
    let last = match by {
        GoneBy::Reset | GoneBy::Rst => op("cancel"),
        GoneBy::LostGrpc | GoneBy::LostKitex | GoneBy::LostOld => op("kill"),
        GoneBy::Deadline | GoneBy::Idle => op("recv"),
    };
    let script = [recv(1), send(1, 5), op("recv")];
    limited(
        scenario(
            "victim",
            Kind::Bidi,
            script,
            [send(1, 5), recv(1), barrier("now"), last],
        ),
        by.limit(),
    )
}

/// Ends one stream to `callee`. Returns what the callee saw of it.
fn end_one(by: GoneBy, hop: &Ripcord, callee: &Process) -> Value {
    let client = by.client(&hop.address);
    let id = say(&client, &victim(by));
    pass(&client, &id, "now");
    if !by.is_lost() {
        let end = client.event("result", &id);
        assert_like("the caller", &end, &json!({ "kind": "error", "recv": 1 }));
    }
    callee.event("server_end", &id)
}

/// An end that the hop decides, which an old caller receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OwnEnd {
    Deadline,
    Idle,
    Lost,
}

/// A stream of an old caller that the hop ends, beside the caller's neighbours on one connection.
fn end_at_caller(by: OwnEnd, client: &Process, other: &Process) -> Value {
    let limit = match by {
        OwnEnd::Deadline => "deadline",
        OwnEnd::Idle => "idle",
        OwnEnd::Lost => "other",
    };
    let script = [recv(1), send(1, 5), op("recv")];
    let ops = [send(1, 5), recv(1), barrier("now"), op("recv")];
    let id = say(
        client,
        &limited(scenario("ended", Kind::Bidi, script, ops), limit),
    );
    pass(client, &id, "now");
    if by == OwnEnd::Lost {
        other.kill();
    }
    let end = client.event("result", &id);
    assert_like("the caller", &end, &json!({ "kind": "error", "recv": 1 }));
    end
}

fn old_caller(by: OwnEnd) {
    let (callee, other) = (go(&["kitex-server"]), go(&["kitex-server"]));
    let hop = hop_with_two(&address(&callee), &address(&other), "cancel_as: trailer");
    let neighbours = Neighbours::start(old_client(&hop.address), "none");
    let end = end_at_caller(by, &neighbours.client, &other);
    let code = match by {
        OwnEnd::Deadline => 12015,
        OwnEnd::Idle => 12014,
        OwnEnd::Lost => 12013,
    };
    assert_like("the caller", &end, &json!({ "code": code }));
    neighbours.live();
}

/// What `/config` shows of callers.
fn callers(hop: &Ripcord) -> Vec<Value> {
    let page = hop.json("/config");
    let peers = page["peers"].as_array().unwrap();
    let caller = |peer: &&Value| peer["side"] == "caller";
    peers.iter().filter(caller).cloned().collect()
}

fn an_old_caller_is_found_out_by_its_first_rst() {
    let (callee, other) = (go(&["kitex-server"]), go(&["kitex-server"]));
    let hop = hop_with_two(&address(&callee), &address(&other), "");
    let neighbours = Neighbours::start(old_client(&hop.address), "none");
    let end = end_at_caller(OwnEnd::Deadline, &neighbours.client, &other);
    let lost = "~unexpected frame type: 5";
    assert_like("the caller", &end, &json!({ "err": lost }));
    neighbours.die();
    hop.wait("the caller is known", || !callers(&hop).is_empty());
    let found = json!({ "address": "127.0.0.1", "cancel_as": "trailer" });
    assert_like("/config", &callers(&hop)[0], &found);
    let neighbours = Neighbours::start(old_client(&hop.address), "none");
    let end = end_at_caller(OwnEnd::Deadline, &neighbours.client, &other);
    assert_like("the caller", &end, &json!({ "code": 12015 }));
    neighbours.live();
}

/// Streams that their caller has half-closed say nothing when the connection ends.
fn an_old_caller_that_only_receives_is_found_out_by_its_second_rst() {
    let callee = go(&["kitex-server"]);
    let hop = hop(&address(&callee), "", "");
    for known in [0, 1] {
        let client = old_client(&hop.address);
        let open = |limit: &str| {
            let script = [send(1, 5), op("wait_cancel")];
            let ops = [send(1, 5), recv(1), barrier("now"), op("recv")];
            say(
                &client,
                &limited(scenario("only", Kind::Server, script, ops), limit),
            )
        };
        let ids: Vec<_> = ["none", "none", "deadline"].map(open).into();
        for id in &ids {
            pass(&client, id, "now");
        }
        for id in &ids {
            let end = client.event("result", id);
            assert_like(
                "the caller",
                &end,
                &json!({ "kind": "error", "err": "~unexpected frame type: 5" }),
            );
        }
        hop.wait("the callers", || callers(&hop).len() == known);
    }
}

fn an_old_callers_streams_receive_the_drains_end() {
    let callee = go(&["kitex-server"]);
    let hop = Ripcord::named("hop")
        .listener("cancel_as: trailer")
        .set("drain: { timeout: 500ms }")
        .to("protocol: ttheader", address(&callee))
        .start();
    let client = old_client(&hop.address);
    let until_it_ends = [send(1, 5), recv(1), barrier("now"), op("recv")];
    let open = scenario("drained", Kind::Bidi, [op("echo")], until_it_ends);
    let ids: Vec<_> = (0..NEIGHBOURS).map(|_| say(&client, &open)).collect();
    for id in &ids {
        pass(&client, id, "now");
    }
    hop.process.signal("TERM");
    for id in &ids {
        let end = client.event("result", id);
        assert_like(
            "the caller",
            &end,
            &json!({ "kind": "error", "code": 12013, "recv": 1 }),
        );
    }
    assert_eq!(hop.process.exit_code(), Some(0));
}

/// A handler that only sends looks at nothing that its caller does. It notices a Rst, or that its
/// connection is closed.
fn a_handler_that_only_sends_notices_a_trailer_on_a_connection_of_its_own() {
    let steps = || [send(1, 5), json!({ "op": "sleep", "ms": 50 })];
    let mut script = vec![recv(1)];
    script.extend((0..40).flat_map(|_| steps()));
    let ops = [send(1, 5), recv(1), barrier("now"), op("cancel")];
    let mut case = limited(scenario("only sends", Kind::Bidi, [], ops), "none");
    case.value["script"] = json!(script);
    for (old, keys, notices) in [
        (true, "cancel_as: trailer", false),
        (false, "cancel_as: trailer", false),
        (true, "connections: per_stream", true),
        (false, "cancel_as: trailer, connections: per_stream", true),
        (false, "cancel_as: rst", true),
        (false, "cancel_as: auto", true),
    ] {
        let server = if old { old_kitex } else { go };
        let callee = server(&["kitex-server"]);
        let hop = hop(&address(&callee), &format!(", {keys}"), "");
        let client = client(Caller::GrpcGo, &hop.address);
        let id = say(&client, &case);
        pass(&client, &id, "now");
        let seen = callee.event("server_end", &id);
        let sent = seen["sent"].as_u64().unwrap();
        assert_eq!(sent < 40, notices, "old: {old}, {keys}: {seen}");
    }
}

fn a_new_callee_is_found_out_and_its_first_cancel_is_a_rst() {
    let callee = go(&["kitex-server"]);
    let hop = hop(&address(&callee), "", "");
    let script = [recv(1), send(1, 5), op("wait_cancel")];
    let ops = [send(1, 5), recv(1), op("cancel")];
    let client = client(Caller::GrpcGo, &hop.address);
    let id = say(
        &client,
        &limited(scenario("first", Kind::Bidi, script, ops), "none"),
    );
    let seen = callee.event("server_end", &id);
    assert_like(
        "the callee",
        &seen,
        &json!({ "code": 12011, "ctx_err": "~[canceled path: " }),
    );
    let page = hop.json("/config");
    let found = json!({ "side": "callee", "cancel_as": "rst", "address": address(&callee) });
    assert_like("/config", &page["peers"][0], &found);
    assert_eq!(
        hop.metric("ripcord_ttheader_events_total", "event=\"probes_rst\""),
        1
    );
}

/// Both directions: a caller's cancel, and an end that the second ripcord decides.
fn between_two_ripcords_a_trailer_loses_nothing() {
    let callee = go(&["kitex-server"]);
    let to = "backend: callee, rewrite: { service: Interop }";
    let late =
        format!("match: {{ metadata: {{ x-limit: late }} }}, {to}, timeouts: {{ stream: 1s }}");
    let ingress = Ripcord::named("ingress")
        .listener("cancel_as: trailer")
        .backend("callee", "protocol: ttheader", address(&callee))
        .route("late", &late)
        .route("all", to)
        .start();
    let egress = Ripcord::named("egress")
        .to("protocol: ttheader, cancel_as: trailer", &ingress.address)
        .start();
    let client = client(Caller::Mux, &egress.address);
    let script = [recv(1), send(1, 5), op("wait_cancel")];
    let open = |last: Value, limit: &str| {
        let ops = [send(1, 5), recv(1), barrier("now"), last];
        let id = say(
            &client,
            &limited(scenario("chain", Kind::Bidi, script.clone(), ops), limit),
        );
        pass(&client, &id, "now");
        id
    };
    let id = open(op("cancel"), "none");
    let path = "[canceled path: kitex.interop.caller -> egress -> ingress]";
    let seen = callee.event("server_end", &id);
    let wanted = json!({ "code": 12007, "ctx_err": format!("~{path}") });
    assert_like("the callee", &seen, &wanted);
    let id = open(op("recv"), "late");
    let wanted = json!({ "code": 12015, "err": "~[canceled path: ingress -> egress]" });
    assert_like("the caller", &client.event("result", &id), &wanted);
}

fn old_callee(by: GoneBy) {
    let callee = old_kitex(&["kitex-server"]);
    let hop = hop(&address(&callee), "", "");
    let neighbours = [
        Neighbours::start(client(Caller::GrpcGo, &hop.address), "none"),
        Neighbours::start(client(Caller::Mux, &hop.address), "none"),
        Neighbours::start(old_client(&hop.address), "none"),
    ];
    let seen = end_one(by, &hop, &callee);
    let cause = json!({ "recv": 1, "code": by.cause(), "err": "~[application exception] " });
    assert_like("the callee", &seen, &cause);
    for neighbours in neighbours {
        neighbours.live();
    }
}
