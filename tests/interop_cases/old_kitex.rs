//! Kitex v0.14, which does not know the Rst frame: one Rst ends every stream of its connection. Ten
//! neighbours share that connection. They must live on, whatever ends another stream of it.

use serde_json::{Value, json};

use crate::kit::lab::{Caller, client, say};
use crate::kit::peers::{address, old_kitex};
use crate::kit::process::Process;
use crate::kit::ripcord::Ripcord;
use crate::kit::scenario::{Kind, Scenario, assert_like, barrier, op, recv, scenario, send};
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
}

fn limited(scenario: Scenario, limit: &str) -> Scenario {
    scenario.with("metadata", json!({ "x-limit": limit }))
}

/// A hop before that callee, whose routes have limits by name.
fn hop(callee: &str, backend: &str, listener: &str) -> Ripcord {
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
    crate::kit::lab::pass(&client, &id, "now");
    if !by.is_lost() {
        let end = client.event("result", &id);
        assert_like("the caller", &end, &json!({ "kind": "error", "recv": 1 }));
    }
    callee.event("server_end", &id)
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
