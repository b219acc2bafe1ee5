//! A third-party HTTP/2 proxy between two ripcords, and other peers where a ripcord was expected.
//! The path of a cancel survives, no stream receives another stream's cause, and nobody waits.

use serde_json::json;

use crate::kit::foreign::Kind as Proxy;
use crate::kit::h2peer::{Ended, H2Callee, Play};
use crate::kit::lab::{Caller, GRPC_CALLER, KITEX_CALLER, client, pass, say};
use crate::kit::peers::{address, go};
use crate::kit::ripcord::Ripcord;
use crate::kit::scenario::{Kind, PHASES, assert_like, barrier, canceled, op, ret, scenario, send};
use crate::kit::trial::cases;
use crate::kit::tt::{Connection, Listener, said};
use ripcord::wire::ttheader::frame::Kind as Frame;

cases! {
    [] {
        a_callee_that_is_no_ripcord_sees_plain_grpc_only,
    }
    [Go] {
        a_grpc_server_that_is_taken_for_a_ripcord_works_on,
        names_cross_ttheader_between_two_grpc_hops,
    }
    [Go, Nginx] {
        the_path_survives_nginx = || the_path_survives(Proxy::Nginx),
    }
    [Nginx] {
        nobody_is_told_anothers_cause_through_a_proxy::nginx = || nobody_is_told(Proxy::Nginx),
    }
    [Go, Haproxy] {
        the_path_survives_haproxy = || the_path_survives(Proxy::Haproxy),
    }
    [Haproxy] {
        nobody_is_told_anothers_cause_through_a_proxy::haproxy = || nobody_is_told(Proxy::Haproxy),
    }
    [Go, Envoy] {
        the_path_survives_envoy = || the_path_survives(Proxy::Envoy),
    }
    [Envoy] {
        nobody_is_told_anothers_cause_through_a_proxy::envoy = || nobody_is_told(Proxy::Envoy),
    }
    [Go, Nghttpx] {
        the_path_survives_nghttpx = || the_path_survives(Proxy::Nghttpx),
    }
    [Nghttpx] {
        nobody_is_told_anothers_cause_through_a_proxy::nghttpx = || nobody_is_told(Proxy::Nghttpx),
    }
}

/// An egress with two backends at `address`: one is marked as a ripcord, one is not.
pub(super) fn egress(node: &str, address: &str) -> Ripcord {
    Ripcord::named(node)
        .backend("plain", "protocol: grpc", address)
        .backend("marked", "protocol: grpc, hop: ripcord", address)
        .route(
            "marked",
            "match: { metadata: { x-via: marked } }, backend: marked",
        )
        .route("plain", "backend: plain")
        .start()
}

/// One that sends all to a TTHeader callee.
fn ingress(node: &str, callee: &str) -> Ripcord {
    Ripcord::named(node)
        .backend("kt", "protocol: ttheader", callee)
        .route("kt", "backend: kt, rewrite: { service: Interop }")
        .start()
}

/// Kitex's callee prints the whole path, whoever calls and in whatever phase. That holds even
/// through a proxy that the file marks as a ripcord by mistake.
fn the_path_survives(proxy: Proxy) {
    let kitex = go(&["kitex-server"]);
    let ingress = ingress("ingress", &address(&kitex));
    let proxy = proxy.start(&ingress.address);
    let egress = egress("egress", &proxy.address);
    for (caller, name) in [(Caller::GrpcGo, GRPC_CALLER), (Caller::Mux, KITEX_CALLER)] {
        let client = client(caller, &egress.address);
        for via in ["plain", "marked"] {
            let mut running = Vec::new();
            for phase in PHASES {
                // A Kitex caller does not send its name on streams, unless it is made to.
                let case = canceled(phase)
                    .with("metadata", json!({ "x-via": via }))
                    .with("int_header", json!({ "3": name }));
                running.push((format!("{via} {phase}"), say(&client, &case)));
            }
            for (_, id) in &running {
                pass(&kitex, id, "ready");
                pass(&client, id, "now");
            }
            for (what, id) in running {
                let what = format!("{caller:?} {what}");
                let seen = kitex.event("server_end", &id);
                let path = format!("~[canceled path: {name} -> egress -> ingress]");
                assert_like(&what, &seen, &json!({ "ctx_err": path }));
            }
        }
    }
    assert_eq!(ingress.json("/streams")["streams"], json!([]));
}

/// Streams of two egresses that both take the proxy for a ripcord. The proxy may mix them into one
/// connection with ids of its own.
fn nobody_is_told(proxy: Proxy) {
    const STREAMS: usize = 30;
    let callee = Listener::start();
    let ingress = ingress("ingress", &callee.address);
    let proxy = proxy.start(&ingress.address);
    let hops = ["e0", "e1"].map(|node| egress(node, &proxy.address));
    let callers = hops.each_ref().map(|hop| Connection::connect(&hop.address));
    let mut streams = Vec::new();
    for n in 0..STREAMS {
        for (e, caller) in callers.iter().enumerate() {
            let (who, id) = (format!("{e}.{n}"), i32::try_from(n).unwrap() + 1);
            let strings = [("isn", "Interop"), ("x-via", "marked"), ("x-who", &who)];
            streams.push((e, who.clone(), caller.open(id, "Bidi", &strings)));
        }
    }
    let wire = callee.accept();
    let opened: Vec<_> = (0..streams.len()).map(|n| wire.stream(n)).collect();
    for (_, who, stream) in streams.iter().rev() {
        stream.rst(12007, &format!("I am {who}"), &format!("caller {who}"));
    }
    for stream in opened {
        let who = stream.header.info.string("x-who").unwrap();
        let who = std::str::from_utf8(who).unwrap();
        let (said, path) = said(&stream.nth(Frame::Rst, 0));
        let (e, _) = who.split_once('.').unwrap();
        let own = format!("I am {who}");
        if said.text == own {
            assert_eq!(path, format!("caller {who},e{e},ingress"));
        } else {
            assert!(!said.text.starts_with("I am"), "{who}: {said:?}");
            assert_eq!(path, format!(",e{e},ingress"), "{said:?}");
        }
    }
}

fn a_callee_that_is_no_ripcord_sees_plain_grpc_only() {
    let callee = H2Callee::start(|_| Play::Hold);
    let hop = egress("egress", &callee.address);
    let caller = Connection::connect(&hop.address);
    for n in 1..4 {
        let stream = caller.open(n, "Bidi", &[("isn", "Interop")]);
        let headers = callee.opened();
        let ours: Vec<_> = headers
            .keys()
            .filter(|name| name.as_str().starts_with("ripcord-"))
            .collect();
        assert_eq!(ours, ["ripcord-hops", "ripcord-reads"]);
        assert_eq!(headers["ripcord-hops"], ",egress");
        stream.rst(12007, "why", "caller");
        // And no other stream: it would have ended before.
        assert_eq!(callee.ended(), Ended::Reset(8));
    }
}

fn a_grpc_server_that_is_taken_for_a_ripcord_works_on() {
    let server = go(&["grpc-server"]);
    let hop = egress("egress", &address(&server));
    let client = client(Caller::Mux, &hop.address);
    let marked = |case: crate::kit::scenario::Scenario| {
        say(
            &client,
            &case.with("metadata", json!({ "x-via": "marked" })),
        )
    };
    for n in 0..5 {
        let script = [barrier("ready"), op("wait_cancel")];
        let ops = [barrier("now"), op("cancel")];
        let id = marked(scenario(format!("cancel {n}"), Kind::Bidi, script, ops));
        pass(&server, &id, "ready");
        pass(&client, &id, "now");
        let seen = server.event("server_end", &id);
        assert_like("cancel", &seen, &json!({ "ctx_err": "context canceled" }));
        let script = [op("echo"), ret("ok", 0, "")];
        let id = marked(scenario(
            format!("echo {n}"),
            Kind::Bidi,
            script,
            [send(3, 5), op("close_send"), json!({ "op": "recv" })],
        ));
        let seen = client.event("result", &id);
        assert_like("echo", &seen, &json!({ "kind": "ok", "recv": 3 }));
    }
}

/// The names cross TTHeader too, for a hop behind it that receives a bare reset.
fn names_cross_ttheader_between_two_grpc_hops() {
    let kitex = go(&["kitex-server"]);
    let c = ingress("c", &address(&kitex));
    let b = egress("b", &c.address);
    let a = Ripcord::named("a")
        .to("protocol: ttheader", &b.address)
        .start();
    for (caller, name) in [
        (Caller::GrpcGo, GRPC_CALLER),
        (Caller::KitexGrpc, KITEX_CALLER),
    ] {
        let client = client(caller, &a.address);
        for via in ["plain", "marked"] {
            let script = [barrier("ready"), op("wait_cancel")];
            let ops = [barrier("now"), op("cancel")];
            let case =
                scenario(via, Kind::Bidi, script, ops).with("metadata", json!({ "x-via": via }));
            let id = say(&client, &case);
            pass(&kitex, &id, "ready");
            pass(&client, &id, "now");
            let seen = kitex.event("server_end", &id);
            let printed = format!(
                "~code=12011] [server-side stream] [canceled path: {name} -> a -> b -> c] "
            );
            assert_like(via, &seen, &json!({ "ctx_err": printed }));
        }
    }
}
