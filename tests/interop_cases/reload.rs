//! A configuration that changes while streams run.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::kit::lab::{Caller, client, say};
use crate::kit::peers::{address, go};
use crate::kit::process::Process;
use crate::kit::ripcord::Ripcord;
use crate::kit::scenario::{Kind, assert_like, barrier, op, recv, scenario, send};
use crate::kit::spec::Table;
use crate::kit::trial::cases;

cases! {
    [Go] {
        a_stream_stays_where_it_began_toward_kitex,
        a_stream_stays_where_it_began_toward_grpc,
    }
}

/// Callees, each with a name that its streams report.
struct Peers {
    old: Process,
    new: Process,
}

fn table(protocol: &str, callee: &str) -> Table {
    let service = if protocol == "grpc" {
        "interop.Interop"
    } else {
        "Interop"
    };
    let keys = format!("backend: callee, rewrite: {{ service: {service} }}");
    Table::new()
        .backend("callee", &format!("protocol: {protocol}"), callee)
        .route("all", &keys)
}

/// An echo that waits in its middle.
fn begin(client: &Process) -> String {
    let ops = [
        send(1, 5),
        recv(1),
        barrier("middle"),
        send(1, 5),
        recv(1),
        op("close_send"),
    ];
    let id = say(client, &scenario("reload", Kind::Bidi, [op("echo")], ops));
    client.event("barrier", &format!("{id}/middle"));
    id
}

fn end(client: &Process, id: &str) -> Value {
    client.say(&json!({ "go": format!("{id}/middle") }));
    client.event("result", id)
}

fn reload(protocol: &str, server: &str) {
    let peers = Peers {
        old: go(&[server]),
        new: go(&[server]),
    };
    let table = |process: &Process| table(protocol, &address(process));
    let hop = Ripcord::named("hop").table(table(&peers.old)).start();
    let clients: Vec<Arc<Process>> = [Caller::Mux, Caller::GrpcGo]
        .into_iter()
        .map(|caller| Arc::new(client(caller, &hop.address)))
        .collect();
    let first: Vec<_> = clients.iter().map(|client| begin(client)).collect();
    assert_eq!(hop.json("/config")["version"], 1);

    hop.reload(&table(&peers.new));
    hop.logged("configuration reloaded");
    assert_like(
        "config",
        &hop.json("/config"),
        &json!({ "version": 2, "last_error": null }),
    );
    let second: Vec<_> = clients.iter().map(|client| begin(client)).collect();

    hop.reload(&Table::new().route("all", "backend: nowhere"));
    hop.logged("configuration refused");
    let config = hop.json("/config");
    assert_eq!(config["version"], 2);
    let faults = config["last_error"]["faults"].to_string();
    assert!(faults.contains("backends"), "{faults}");
    let third: Vec<_> = clients.iter().map(|client| begin(client)).collect();

    for (((client, first), second), third) in clients.iter().zip(first).zip(second).zip(third) {
        for (id, server, other) in [
            (first, &peers.old, &peers.new),
            (second, &peers.new, &peers.old),
            (third, &peers.new, &peers.old),
        ] {
            let ok = json!({ "kind": "ok", "sent": 2, "recv": 2 });
            assert_like(&id, &end(client, &id), &ok);
            assert_like(
                &id,
                &server.event("server_end", &id),
                &json!({ "recv": 2, "err": "EOF" }),
            );
            assert!(
                !other.has("server_start", &id),
                "{id} was at the other backend"
            );
        }
    }
}

fn a_stream_stays_where_it_began_toward_kitex() {
    reload("ttheader", "kitex-server");
}

fn a_stream_stays_where_it_began_toward_grpc() {
    reload("grpc", "grpc-server");
}
