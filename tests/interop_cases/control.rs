//! The control stream between two real ripcords: on a connection that was just opened, and that
//! nobody else notices it.

use serde_json::json;

use crate::kit::lab::{Caller, KITEX_CALLER, client, pass, say};
use crate::kit::peers::{address, go};
use crate::kit::process::Process;
use crate::kit::ripcord::Ripcord;
use crate::kit::scenario::{PHASES, assert_like, canceled};
use crate::kit::trial::cases;
use crate::kit::tt::{Connection, Listener, said};
use ripcord::wire::ttheader::frame::Kind as Frame;

cases! {
    [] {
        whatever_a_rst_says_arrives,
    }
    [Go] {
        cause_text_and_path_arrive_on_a_shared_connection_and_nothing_else_is_seen_of_it,
        cause_text_and_path_arrive_on_connections_just_opened,
    }
}

/// Far longer than a test may take: whoever holds a drain fails it.
const LONG: &str = "drain: { timeout: 1h }";

/// Two hops; each stream has a connection of its own between them, or all share one.
fn hops(callee: &str, connections: &str) -> [Ripcord; 2] {
    let ingress = Ripcord::named("ingress")
        .set(LONG)
        .backend("kt", "protocol: ttheader", callee)
        .route("kt", "backend: kt, rewrite: { service: Interop }")
        .start();
    let keys = format!("protocol: grpc, hop: ripcord, connections: {connections}");
    let egress = Ripcord::named("egress")
        .set(LONG)
        .to(&keys, &ingress.address)
        .start();
    [egress, ingress]
}

/// Canceled in each phase, one stream after the other. How many there were.
fn canceled_in_each_phase(kitex: &Process, egress: &Ripcord) -> usize {
    let client = client(Caller::Mux, &egress.address);
    for phase in PHASES {
        let id = say(&client, &canceled(phase));
        pass(kitex, &id, "ready");
        pass(&client, &id, "now");
        let printed = format!(
            "[ttstream error, code=12007] [server-side stream] [canceled path: {KITEX_CALLER} -> egress -> ingress] user code"
        );
        let seen = kitex.event("server_end", &id);
        let wanted = json!({ "ctx_err": format!("~{printed}") });
        assert_like(phase, &seen, &wanted);
    }
    PHASES.len()
}

fn on(connections: &str) {
    let kitex = go(&["kitex-server"]);
    let [egress, ingress] = hops(&address(&kitex), connections);
    let streams = canceled_in_each_phase(&kitex, &egress);
    for hop in [&egress, &ingress] {
        // One line of the access log for each, and no other.
        hop.process
            .lines("access log", streams, |line| !line["route"].is_null());
        assert_eq!(hop.metric("ripcord_streams_total", ""), streams as u64);
        assert_eq!(hop.json("/streams")["streams"], json!([]));
    }
    // The control stream is open on a shared connection, and holds neither.
    for hop in [ingress, egress] {
        hop.process.signal("TERM");
        assert_eq!(hop.process.exit_code(), Some(0));
        let late = |line: &serde_json::Value| {
            let message = line["message"].as_str().unwrap_or_default();
            message.contains("did not take their ends")
        };
        assert!(!hop.process.all().iter().any(late));
    }
}

fn cause_text_and_path_arrive_on_a_shared_connection_and_nothing_else_is_seen_of_it() {
    on("shared");
}

fn cause_text_and_path_arrive_on_connections_just_opened() {
    on("per_stream");
}

/// What no Kitex caller sends: any number, any text, any path.
fn whatever_a_rst_says_arrives() {
    let callee = Listener::start();
    let [egress, _ingress] = hops(&callee.address, "shared");
    let caller = Connection::connect(&egress.address);
    let long = "é".repeat(3000);
    let many = vec!["n"; 62].join(",");
    let cases = [
        (12007, "why", "A"),
        (12015, "", "A,B"),
        (1204, "a proxy's own\nnumber ü", ",B"),
        (0, "zero", "A"),
        (-7, "negative", "A"),
        (12999, &long, "A"),
        (12007, "way", &many),
    ];
    let mut wire = None;
    for (n, (code, text, path)) in cases.into_iter().enumerate() {
        let id = i32::try_from(n).unwrap() + 1;
        let stream = caller.open(id, "Bidi", &[("isn", "Interop")]);
        let wire = wire.get_or_insert_with(|| callee.accept());
        let opened = wire.stream(n);
        stream.rst(code, text, path);
        let (exception, seen) = said(&opened.nth(Frame::Rst, 0));
        assert_eq!((exception.type_id, exception.text.as_str()), (code, text));
        assert_eq!(seen, format!("{path},egress,ingress"));
    }
}
