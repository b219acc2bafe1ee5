//! Storms between real applications: a thousand streams through one hop lose their callee, or are
//! canceled by their caller, at once. Every application receives one end, the right one, and the
//! hop keeps nothing. `tests/storms.rs` has more streams and looks at the wire, with peers made of
//! the crate's own halves.

use serde_json::{Value, json};

use super::golden::check;
use crate::kit::lab::{Callee, Caller, client, say};
use crate::kit::peers::{address, go};
use crate::kit::process::Process;
use crate::kit::ripcord::Ripcord;
use crate::kit::rows::own_end;
use crate::kit::scenario::{Kind, assert_like, barrier, op, recv, scenario, send};
use crate::kit::trial::cases;

cases! {
    [Go] {
        a_thousand_grpc_go_callers_hear_that_kitex_was_killed,
        a_thousand_kitex_callers_hear_that_grpc_go_was_killed,
        a_thousand_kitex_callers_let_go_of_kitex_at_once,
        a_thousand_kitex_callers_let_go_of_grpc_go_at_once,
        a_thousand_grpc_go_callers_let_go_of_kitex_at_once,
    }
}

const STREAMS: usize = 1_000;

/// A caller and a callee that have exchanged a message on every stream.
struct Crowd {
    callee: Process,
    hop: Ripcord,
    client: Process,
    /// The streams.
    ids: Vec<String>,
}

impl Crowd {
    /// `last` is what every caller does after `go`.
    fn start(caller: Caller, callee: Callee, last: &Value) -> Self {
        let (peer, protocol) = if callee == Callee::Kitex {
            ("kitex-server", "protocol: ttheader")
        } else {
            ("grpc-server", "protocol: grpc")
        };
        let (service, callee) = (callee.service(), go(&[peer]));
        // That a peer gets no CPU for a second does not make it one that does not read.
        let rewrite = format!("backend: callee, rewrite: {{ service: {service} }}");
        let hop = Ripcord::named("hop")
            .set("limits: { slow_receiver_timeout: 60s }")
            .backend("callee", protocol, address(&callee))
            .route("all", &rewrite)
            .start();
        let client = client(caller, &hop.address);
        let until_it_ends = json!({ "op": "recv" });
        let script = [recv(1), send(1, 5), until_it_ends, op("wait_cancel")];
        let ops = [send(1, 5), recv(1), barrier("ready"), last.clone()];
        let hello = scenario("crowd", Kind::Bidi, script, ops);
        let ids: Vec<_> = (0..STREAMS).map(|_| say(&client, &hello)).collect();
        for id in &ids {
            client.event("barrier", &format!("{id}/ready"));
        }
        Self {
            callee,
            hop,
            client,
            ids,
        }
    }

    /// Every caller does what is left.
    fn go(&self) {
        for id in &self.ids {
            self.client.say(&json!({ "go": format!("{id}/ready") }));
        }
    }

    /// What each stream's application on that side saw; waits for all of them.
    fn ends(&self, peer: &Process, event: &str) -> Vec<Value> {
        let ends = self.ids.iter().map(|id| peer.event(event, id)).collect();
        let lines = peer.all();
        let count = lines.iter().filter(|line| line["event"] == *event).count();
        assert_eq!(count, STREAMS, "{event}: not one for each stream");
        ends
    }

    /// Each stream has one line in the access log, and none is in any table.
    fn is_over(&self) {
        let of_a_stream = |line: &Value| line["duration_ms"].is_number();
        self.hop.process.lines("access log", STREAMS, of_a_stream);
        self.hop.wait_idle();
        let lines = self.hop.process.all();
        let count = lines.iter().filter(|line| of_a_stream(line)).count();
        assert_eq!(count, STREAMS, "lines in the access log");
    }
}

fn callee_killed(caller: Caller, callee: Callee) {
    let crowd = Crowd::start(caller, callee, &json!({ "op": "recv" }));
    crowd.go();
    crowd.callee.kill();
    let row = own_end("backend_lost", caller, callee);
    for end in crowd.ends(&crowd.client, "result") {
        check(&row, caller, &end, true);
    }
    crowd.is_over();
}

fn canceled(caller: Caller, callee: Callee) {
    let crowd = Crowd::start(caller, callee, &op("cancel"));
    crowd.go();
    let (own, said) = if caller.is_ttheader() {
        (12007, 12007)
    } else {
        (1, 12011)
    };
    for end in crowd.ends(&crowd.client, "result") {
        assert_like(
            "caller",
            &end,
            &json!({ "kind": "error", "code": own, "recv": 1 }),
        );
    }
    let heard = if callee == Callee::Kitex {
        let path = format!("{} -> hop", caller.origin());
        format!("~[ttstream error, code={said}] [server-side stream] [canceled path: {path}]")
    } else {
        "context canceled".to_owned()
    };
    for end in crowd.ends(&crowd.callee, "server_end") {
        assert_like("callee", &end, &json!({ "ctx_err": heard, "recv": 1 }));
    }
    crowd.is_over();
}

fn a_thousand_grpc_go_callers_hear_that_kitex_was_killed() {
    callee_killed(Caller::GrpcGo, Callee::Kitex);
}

fn a_thousand_kitex_callers_hear_that_grpc_go_was_killed() {
    callee_killed(Caller::Mux, Callee::GrpcGo);
}

fn a_thousand_kitex_callers_let_go_of_kitex_at_once() {
    canceled(Caller::Mux, Callee::Kitex);
}

fn a_thousand_kitex_callers_let_go_of_grpc_go_at_once() {
    canceled(Caller::Mux, Callee::GrpcGo);
}

fn a_thousand_grpc_go_callers_let_go_of_kitex_at_once() {
    canceled(Caller::GrpcGo, Callee::Kitex);
}
