//! The golden table of ends as input. Each native end that a scripted peer can make is played. What
//! the real application on the other side prints is compared with the row.

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};

use crate::kit::h2peer::{H2Callee, H2Caller, Play, headers};
use crate::kit::lab::{Callee, Caller, client, say};
use crate::kit::peers::address;
use crate::kit::ripcord::Ripcord;
use crate::kit::rows::{Row, Told, callee_sees, prints, rows};
use crate::kit::scenario::{Kind, Scenario, assert_like, op, scenario, send};
use crate::kit::servers::Servers;
use crate::kit::trial::cases;
use crate::kit::tt::{Connection, Listener, Stream, said};
use ripcord::wire::ttheader::frame::Kind as FrameKind;

cases! {
    [Go] {
        each_end_of_a_ttheader_callee_is_printed_as_its_row_says,
        each_end_of_a_grpc_callee_is_printed_as_its_row_says,
        each_end_of_a_ttheader_caller_is_printed_as_its_row_says,
        each_end_of_a_grpc_caller_is_printed_as_its_row_says,
    }
}

fn has_details(row: &Row, result: &Value) -> bool {
    let told = row.grpc.words.iter().any(|word| word == "details");
    told != result["details"].is_null()
}

pub(crate) fn check(row: &Row, caller: Caller, result: &Value, lost: bool) {
    let what = format!("{caller:?}: {}", row.from);
    assert_like(&what, result, &prints(row, caller, lost));
    if caller == Caller::GrpcGo {
        assert!(
            has_details(row, result),
            "{what}: details differ: {result:#}"
        );
    }
}

/// What a scripted TTHeader caller reads: the type that Kitex keeps to itself, and that a Header
/// came once, and before a Trailer.
fn check_frames(row: &Row, stream: &Stream<'_>) {
    let what = format!("frames: {}", row.from);
    let told = &row.ttheader;
    let is_rst = told.words[1] == "rst";
    let last = stream.nth(
        if is_rst {
            FrameKind::Rst
        } else {
            FrameKind::Trailer
        },
        0,
    );
    if told.words.len() > 2 {
        let (exception, path) = said(&last);
        assert_eq!(exception.type_id.to_string(), told.words[2], "{what}");
        assert_eq!(exception.text, told.field("text"), "{what}");
        assert_eq!(path, told.field("ttscp"), "{what}");
    } else {
        assert!(last.payload.is_empty(), "{what}");
    }
    let headers = stream.count(FrameKind::Header);
    assert!(
        headers == 1 || is_rst && headers == 0,
        "{what}: {headers} Headers"
    );
    let (trailers, rsts) = (
        stream.count(FrameKind::Trailer),
        stream.count(FrameKind::Rst),
    );
    assert_eq!(trailers + rsts, 1, "{what}");
}

/// A stream with one message up, and nothing in its script: no real callee reads it.
pub(crate) fn one_message(case: &str) -> Scenario {
    scenario("golden", Kind::Bidi, [], [send(1, 3), op("close_send")])
        .with("metadata", json!({ "x-case": case }))
}

const CALLERS: [Caller; 3] = [Caller::Mux, Caller::GrpcGo, Caller::KitexGrpc];

/// Plays a TTHeader callee's end.
pub(crate) fn play_ttheader(stream: &Stream<'_>, from: &str) {
    end_ttheader(stream, from, true);
}

/// The same. `header` says whether the Header is still to be sent.
pub(crate) fn end_ttheader(stream: &Stream<'_>, from: &str, header: bool) {
    let trailer = |strings: &[(&str, &str)], payload: Bytes| {
        if header {
            stream.send(FrameKind::Header, &[], Bytes::new());
        }
        stream.send(FrameKind::Trailer, strings, payload);
    };
    let number = |text: &str| text.parse().unwrap();
    let words: Vec<_> = from.split(' ').skip(2).collect();
    match words.as_slice() {
        ["rst", "without", "payload"] => stream.send(FrameKind::Rst, &[], Bytes::new()),
        ["rst", code] => stream.rst(number(code), "why", "peer"),
        ["exception", "unreadable"] => trailer(&[], Bytes::from_static(b"?")),
        ["exception", code] => trailer(&[], stream.exception(number(code), "why")),
        ["trailer"] => trailer(&[], Bytes::new()),
        ["biz", code, more @ ..] => {
            let extra = match (*code, more) {
                ("0", _) => "",
                (_, ["unreadable"]) => "{",
                (_, _) => r#"{"k":"v"}"#,
            };
            trailer(
                &[
                    ("biz-status", code),
                    ("biz-message", "why"),
                    ("biz-extra", extra),
                ],
                Bytes::new(),
            );
        }
        other => panic!("{other:?} cannot be played"),
    }
}

fn each_end_of_a_ttheader_callee_is_printed_as_its_row_says() {
    let listener = Listener::start();
    // Every connection is accepted as one with streams: no probe may come.
    let keys = "protocol: ttheader, cancel_as: rst";
    let hop = Ripcord::named("hop").to(keys, &listener.address).start();
    let mut wire = None;
    let mut opened = 0;
    for caller in CALLERS {
        let client = client(caller, &hop.address);
        for row in rows("callee ttheader ")
            .iter()
            .filter(|row| !row.from.ends_with("connection lost"))
        {
            let id = say(&client, &one_message(&row.from));
            let wire: &Connection = wire.get_or_insert_with(|| listener.accept());
            play_ttheader(&wire.stream(opened), &row.from);
            opened += 1;
            check(row, caller, &client.event("result", &id), false);
        }
    }
    let caller = Connection::connect(&hop.address);
    for (id, row) in (1..).zip(rows("callee ttheader ")) {
        if !row.from.ends_with("connection lost") {
            let stream = caller.open(id, "Bidi", &[("isn", "Interop")]);
            play_ttheader(&wire.as_ref().unwrap().stream(opened), &row.from);
            opened += 1;
            check_frames(&row, &stream);
        }
    }
    let row = rows("callee ttheader connection lost").remove(0);
    for caller in CALLERS {
        let client = client(caller, &hop.address);
        let id = say(&client, &one_message(&row.from));
        let wire = wire.take().unwrap_or_else(|| listener.accept());
        wire.stream(opened);
        opened = 0;
        drop(wire);
        check(&row, caller, &client.event("result", &id), true);
    }
}

/// Plays a gRPC callee's end.
pub(crate) fn play_grpc(request: &HeaderMap) -> Play {
    let from = request.get("x-case").unwrap().to_str().unwrap();
    let told = Told::parse(from);
    let number = |key: &str| told.fields.get(key).map(|n| n.parse::<u32>().unwrap());
    if from.ends_with("connection lost") {
        return Play::Drop;
    }
    if let Some(code) = number("reset") {
        return Play::Reset(code);
    }
    if let Some(http) = number("http") {
        return Play::Only(http.try_into().unwrap(), HeaderMap::new());
    }
    let text = if from.ends_with("unknown method") {
        "unknown method Talk"
    } else {
        "why"
    };
    let mut end = headers(&[
        ("grpc-status", told.field("status")),
        ("grpc-message", text),
    ]);
    if from.ends_with("biz 404") {
        end.extend(headers(&[("biz-status", "404")]));
    }
    Play::Only(200, end)
}

fn each_end_of_a_grpc_callee_is_printed_as_its_row_says() {
    let callee = H2Callee::start(play_grpc);
    let hop = Ripcord::before("grpc", &callee.address);
    for caller in CALLERS {
        let client = client(caller, &hop.address);
        for row in rows("callee grpc ") {
            let id = say(&client, &one_message(&row.from));
            check(
                &row,
                caller,
                &client.event("result", &id),
                row.from.ends_with("connection lost"),
            );
        }
    }
}

/// The callees of the caller's rows: real Kitex, real grpc-go, one hop before each.
struct Callees {
    servers: Servers,
    to_kitex: Ripcord,
    to_grpc: Ripcord,
}

impl Callees {
    fn start() -> Self {
        let servers = Servers::start();
        Self {
            to_kitex: Ripcord::before("ttheader", &address(&servers.kitex)),
            to_grpc: Ripcord::before("grpc", &address(&servers.grpc)),
            servers,
        }
    }

    /// Plays one row toward both callees: `open` opens a stream with that script at an address,
    /// `end` ends it.
    fn run<T>(
        &self,
        row: &Row,
        n: usize,
        open: impl Fn(&str, &str) -> T,
        end: impl Fn(&mut Option<T>),
    ) {
        let lost = row.from.ends_with("connection lost");
        let id = format!("golden {n}");
        let script = base64(&json!({ "id": id, "ops": [{ "op": "wait_cancel" }] }).to_string());
        let mut opened = Some(open(&self.to_kitex.address, &script));
        self.servers.kitex.event("server_start", &id);
        end(&mut opened);
        let seen = self.servers.kitex.event("server_end", &id);
        assert_like(&row.from, &seen, &callee_sees(row, Callee::Kitex, lost));
        let mut opened = Some(open(&self.to_grpc.address, &script));
        self.servers.grpc.event("server_start", &id);
        end(&mut opened);
        let seen = self.servers.grpc.event("server_end", &id);
        assert_like(&row.from, &seen, &callee_sees(row, Callee::GrpcGo, lost));
    }
}

pub(super) fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

fn each_end_of_a_ttheader_caller_is_printed_as_its_row_says() {
    let callees = Callees::start();
    for (n, row) in rows("caller ttheader ").iter().enumerate() {
        if row.from == "caller ttheader trailer" {
            continue; // the half-close: `a_half_close_is_not_an_end`
        }
        let open = |address: &str, script: &str| {
            let wire = Connection::connect(address);
            let strings = [("isn", "Interop"), ("RPC_TRANSIT_SCRIPT", script)];
            wire.open(7, "Bidi", &strings);
            wire
        };
        callees.run(row, n, open, |open| {
            let words: Vec<_> = row.from.split(' ').skip(2).collect();
            let wire = open.take().unwrap();
            let stream = wire.handle(7, "Bidi");
            match words.as_slice() {
                ["connection", "lost"] => drop(wire),
                ["rst", "without", "payload"] => stream.send(FrameKind::Rst, &[], Bytes::new()),
                ["rst", code] => stream.rst(code.parse().unwrap(), "why", "peer"),
                ["exception", code] => {
                    let payload = stream.exception(code.parse().unwrap(), "why");
                    stream.send(FrameKind::Trailer, &[], payload);
                }
                ["biz", code] => {
                    let strings = [("biz-status", *code), ("biz-message", "why")];
                    stream.send(FrameKind::Trailer, &strings, Bytes::new());
                }
                other => panic!("{other:?} cannot be played"),
            }
        });
    }
}

fn each_end_of_a_grpc_caller_is_printed_as_its_row_says() {
    let callees = Callees::start();
    for (n, row) in rows("caller grpc ").iter().enumerate() {
        if row.from.ends_with("at its deadline") {
            continue; // the deadlines' own tests
        }
        let open = |address: &str, script: &str| {
            let caller = H2Caller::connect(address);
            let mut more = headers(&[("rpc-transit-script", script)]);
            if row.from.contains("source-service=") {
                more.extend(headers(&[("source-service", "peer")]));
            }
            caller.open("/interop.Interop/Bidi", more);
            caller
        };
        callees.run(row, n, open, |open| {
            match (Told::parse(&row.from).fields.get("reset"), &open) {
                (Some(code), Some(caller)) => caller.reset(code.parse().unwrap()),
                (_, _) => *open = None,
            }
        });
    }
}
