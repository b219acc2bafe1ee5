//! The hop, the scripted callees behind it, and a library's client before it.

use bytes::Bytes;
use http::HeaderMap;
use ripcord::wire::ttheader::frame::Kind as Frame;
use serde_json::{Value, json};

use super::super::golden::{end_ttheader, play_grpc, play_ttheader};
use super::rows::{Row, scenario};
use super::table::{at_own_deadline, shown};
use crate::kit::grpc;
use crate::kit::h2peer::{Finish, H2Callee, Play, headers};
use crate::kit::lab::{pass, say};
use crate::kit::libraries::Library;
use crate::kit::process::Process;
use crate::kit::ripcord::Ripcord;
use crate::kit::rows::Told;
use crate::kit::scenario::Scenario;
use crate::kit::spec::Spec;
use crate::kit::tt::{Connection, Listener, Stream, message};

const AFTER: &str = " after a message";

/// Over the hop's limit of one message.
const LARGE: usize = 3 << 20;

pub(super) struct Rig {
    library: Library,
    hop: Ripcord,
    /// A hop that takes messages which fill any library's window, and a client of it.
    wide: Option<(Ripcord, Process)>,
    ttheader: Listener,
    wire: Option<Connection>,
    /// Streams that came on `wire`.
    opened: usize,
    grpc: H2Callee,
    client: Process,
}

fn hop(ttheader: &str, grpc: &str, max_message: &str) -> Spec {
    // A gRPC library sends raw bytes under plain `application/grpc`. They are taken for thrift, as a
    // user of Kitex has to configure it.
    let way = |backend: &str| match backend {
        "tt" => "backend: tt, assume_payload: thrift".to_owned(),
        other => format!("backend: {other}"),
    };
    let limits = format!("limits: {{ max_message: {max_message}, metadata_size: 4KiB }}");
    let mut spec = Ripcord::named("hop")
        .set(&limits)
        .set("drain: { timeout: 500ms }")
        .backend("tt", "protocol: ttheader, cancel_as: rst", ttheader)
        .backend("gg", "protocol: grpc", grpc)
        .backend("mismatch", "protocol: grpc, payload: thrift", grpc)
        .backend("nobody", "protocol: grpc", "127.0.0.1:1");
    for (route, keys) in [
        ("tt", way("tt")),
        ("gg", way("gg")),
        ("over_limit", way("gg")),
        ("mismatch", way("mismatch")),
        ("nobody", way("nobody")),
        ("deadline-gg", way("gg") + ", timeouts: { stream: 500ms }"),
        ("deadline-tt", way("tt") + ", timeouts: { stream: 500ms }"),
        ("idle-gg", way("gg") + ", timeouts: { idle: 500ms }"),
        ("idle-tt", way("tt") + ", timeouts: { idle: 500ms }"),
        // Long enough for the message to be there, also on a busy machine.
        ("deadline-half", way("gg") + ", timeouts: { stream: 2s }"),
        ("idle-half", way("gg") + ", timeouts: { idle: 2s }"),
        (
            "first-gg",
            way("gg") + ", timeouts: { first_response: 500ms }",
        ),
        (
            "first-tt",
            way("tt") + ", timeouts: { first_response: 500ms }",
        ),
    ] {
        let keys = format!("match: {{ metadata: {{ x-route: {route} }} }}, {keys}");
        spec = spec.route(route, &keys);
    }
    spec
}

/// What the gRPC callee does with a stream.
fn play(request: &HeaderMap) -> Play {
    let case = request["x-case"].to_str().unwrap();
    let answer = || grpc::frame(&[Bytes::from_static(b"abc")]);
    if let Some(end) = case.strip_suffix(AFTER) {
        let told = Told::parse(end);
        let finish = match (told.fields.get("reset"), told.fields.get("status")) {
            (Some(code), _) => Finish::Reset(code.parse().unwrap()),
            (None, Some(status)) => {
                Finish::Trailers(headers(&[("grpc-status", status), ("grpc-message", "why")]))
            }
            (None, None) => Finish::Hold,
        };
        return Play::After(answer(), finish);
    }
    match case {
        "silent" => Play::Hold,
        "drop" => Play::Drop,
        "talk" => Play::After(answer(), Finish::Hold),
        "flood" => Play::After(flood(), Finish::Hold),
        "large" => Play::After(begin_of(LARGE), Finish::Hold),
        // Only 0 and 1 are flags.
        "garbage" => Play::After(Bytes::from_static(b"\x07\0\0\0\x01a"), Finish::Hold),
        _ => play_grpc(request),
    }
}

/// The first bytes of a message of that size.
fn begin_of(size: usize) -> Bytes {
    let mut out = vec![0];
    out.extend((size as u32).to_be_bytes());
    out.resize(100, 0);
    out.into()
}

/// A message that is larger than any library's window.
fn flood() -> Bytes {
    grpc::frame(&[vec![0; 6 << 20].into()])
}

/// What the TTHeader callee does with a stream. What the caller waits for is done by then.
fn play_tt(stream: &Stream<'_>, case: &str) {
    let answer = |payload: &[u8]| {
        stream.send(Frame::Header, &[], Bytes::new());
        stream.send(Frame::Data, &[], message(payload));
    };
    if let Some(end) = case.strip_suffix(AFTER) {
        answer(b"abc");
        if !end.ends_with("connection lost") {
            stream.nth(Frame::Data, 1);
            end_ttheader(stream, end, false);
        }
        return;
    }
    match case {
        "silent" => {}
        "talk" => answer(b"abc"),
        "large" => answer(&vec![0; LARGE]),
        "two headers" => {
            stream.send(Frame::Header, &[], Bytes::new());
            stream.send(Frame::Header, &[], Bytes::new());
        }
        _ => play_ttheader(stream, case),
    }
}

impl Rig {
    pub(super) fn start(library: Library) -> Self {
        let (ttheader, grpc) = (Listener::start(), H2Callee::start(play));
        let hop = hop(&ttheader.address, &grpc.address, "2MiB").start();
        let client = library.client(&hop.address);
        Self {
            library,
            hop,
            wide: None,
            ttheader,
            wire: None,
            opened: 0,
            grpc,
            client,
        }
    }

    /// Plays them one after the other. Those that wait for the drain wait together.
    pub(super) fn play_all(mut self, rows: &[Row]) -> Vec<String> {
        let (last, first): (Vec<_>, Vec<_>) = rows.iter().partition(|row| is_at(row, "drain"));
        let mut seen: Vec<_> = first.into_iter().map(|row| self.play(row)).collect();
        let ids: Vec<_> = last.into_iter().map(|row| self.begin(row)).collect();
        for id in &ids {
            self.client.event("barrier", &format!("{id}/drain"));
        }
        if !ids.is_empty() {
            self.hop.terminate();
            self.hop.process.exit_code();
        }
        for id in &ids {
            self.client.say(&json!({ "go": format!("{id}/drain") }));
        }
        seen.extend(ids.iter().map(|id| self.result(id)));
        seen
    }

    fn begin(&mut self, row: &Row) -> String {
        let id = self.say(&row.name, scenario(row));
        if row.route.ends_with("tt") {
            let wire = self.wire.get_or_insert_with(|| self.ttheader.accept());
            let stream = wire.stream(self.opened);
            self.opened += 1;
            play_tt(&stream, &row.callee);
        }
        id
    }

    /// The callee's message fills the window of the caller, which does not read. When the hop has
    /// ended the stream, it reads.
    fn play_half(&mut self, row: &Row) -> String {
        // They take a whole message before their application reads.
        if matches!(self.library, Library::Js | Library::Grpcio) {
            return "cannot be made".to_owned();
        }
        let (ttheader, grpc) = (&self.ttheader.address, &self.grpc.address);
        let (hop, client) = self.wide.get_or_insert_with(|| {
            let hop = hop(ttheader, grpc, "8MiB").start();
            let client = self.library.client(&hop.address);
            (hop, client)
        });
        let (name, value) = (row.name.clone(), scenario(row));
        let id = say(client, &Scenario { name, value });
        client.event("barrier", &format!("{id}/half"));
        if row.name.contains("drain") {
            hop.wait("the callee's message is not there", || {
                hop.metric("ripcord_buffered_bytes", "") > 1 << 20
            });
            hop.terminate();
            hop.process.exit_code();
        } else {
            hop.process.lines("access log", 1, |line| {
                line["duration_ms"].is_number() && line["route"] == row.route
            });
        }
        pass(client, &id, "half");
        let shown = shown(&client.event("result", &id));
        if matches!(self.library, Library::Java) && row.name.contains("drain") {
            // It widens its window as the data comes, and may so take the rest in time.
            let either = ["INTERNAL", "UNAVAILABLE \"the proxy is shutting down\""];
            assert!(either.iter().any(|e| shown.starts_with(e)), "{shown}");
            return "INTERNAL, or UNAVAILABLE if it takes the rest in time".to_owned();
        }
        shown
    }

    fn play(&mut self, row: &Row) -> String {
        if is_at(row, "half") {
            return self.play_half(row);
        }
        if row.callee == "callee ttheader connection lost" {
            let id = self.say(&row.name, scenario(row));
            let wire = self.wire.take().unwrap_or_else(|| self.ttheader.accept());
            wire.stream(self.opened);
            self.opened = 0;
            drop(wire);
            return self.result(&id);
        }
        let id = self.begin(row);
        if is_at(row, "lost") {
            self.client.event("barrier", &format!("{id}/lost"));
            if row.route == "tt" {
                self.wire = None;
                self.opened = 0;
            } else {
                // The callee closes the connection when it sees this stream.
                let metadata = json!({ "x-route": "gg", "x-case": "drop" });
                let drop = json!({ "method": "Bidi", "ops": row.ops[..1], "metadata": metadata, "script": [] });
                let drop = self.say("drop", drop);
                self.result(&drop);
            }
            pass(&self.client, &id, "lost");
        }
        if row.timeout_ms.is_some() {
            return at_own_deadline(&self.client.event("result", &id));
        }
        self.result(&id)
    }

    fn say(&self, name: &str, value: Value) -> String {
        let name = name.to_owned();
        say(&self.client, &Scenario { name, value })
    }

    fn result(&self, id: &str) -> String {
        shown(&self.client.event("result", id))
    }
}

/// Whether its caller stops at that barrier.
fn is_at(row: &Row, name: &str) -> bool {
    row.ops.iter().any(|op| op["name"] == *name)
}
