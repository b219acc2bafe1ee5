//! Fields and flags that one wire cannot write: what each peer receives of them. Most peers are
//! scripted, since no library sends such things.

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use ripcord::wire::ttheader::frame::Kind;

use crate::kit::grpc::{self, Answer};
use crate::kit::h2peer::{H2Callee, Play, headers};
use crate::kit::h2raw::{END_HEADERS, HEADERS, Raw, field};
use crate::kit::lab::{Caller, client, say};
use crate::kit::peers::{address, go};
use crate::kit::ripcord::Ripcord;
use crate::kit::scenario::{Kind as Method, Scenario, op, recv, ret, scenario, send};
use crate::kit::trial::cases;
use crate::kit::tt::{Connection, Listener, said};
use serde_json::json;

cases! {
    [Go] {
        headers_and_trailers_after_the_end_are_those_of_a_direct_call,
        a_business_error_of_code_0_is_that_of_a_direct_call,
    }
    [] {
        a_compressed_request_message_without_an_encoding_ends_internal,
        a_compressed_response_message_without_an_encoding_ends_internal,
        request_metadata_that_is_not_base64_reaches_grpc_as_it_is_and_ttheader_never,
        response_metadata_that_is_not_base64_reaches_grpc_as_it_is_and_ttheader_never,
        crumbs_of_a_cookie_are_one_value_on_ttheader,
        an_unknown_encoding_is_refused_with_those_that_are_read,
        a_request_that_http2_refuses_has_a_line_and_is_counted,
    }
}

/// A message of one byte with this flag.
fn flagged(flag: u8) -> Bytes {
    vec![flag, 0, 0, 0, 1, b'x'].into()
}

/// Calls with these headers and bytes, half-closes, and receives everything.
fn call(hop: &Ripcord, more: &[(&str, &str)], bytes: &Bytes) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let caller = grpc::Caller::connect(hop.socket_address()).await;
        let mut all = grpc::header_map(&grpc::request("application/grpc+thrift"));
        for (name, value) in more {
            let name: http::HeaderName = name.parse().unwrap();
            all.append(name, value.parse().unwrap());
        }
        let mut call = caller.ask("ripcord", "/interop.Interop/Bidi", all).await;
        call.send_raw(bytes.clone(), true).await;
        call.answer().await
    })
}

/// The trailers, wherever they stand.
fn end(answer: &Answer) -> &HeaderMap {
    let trailers = answer
        .rest
        .as_ref()
        .and_then(|(_, trailers)| trailers.as_ref());
    trailers.unwrap_or(&answer.headers)
}

fn status(answer: &Answer) -> (&str, &str) {
    let text = |key| end(answer).get(key).map_or("", |v| v.to_str().unwrap());
    (text("grpc-status"), text("grpc-message"))
}

/// A gRPC callee that answers every stream at once with this head, these bytes and these trailers.
fn answers(head: HeaderMap, bytes: Bytes, trailers: HeaderMap) -> String {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let socket = tokio::net::TcpListener::from_std(socket).unwrap();
            grpc::serve(
                socket,
                move |request: Request<RecvStream>, mut respond: SendResponse<Bytes>| {
                    let mut response = Response::new(());
                    *response.headers_mut() = head.clone();
                    let kind = "application/grpc+thrift".parse().unwrap();
                    response.headers_mut().insert("content-type", kind);
                    let (bytes, trailers) = (bytes.clone(), trailers.clone());
                    Some(async move {
                        let mut body = respond.send_response(response, false).unwrap();
                        body.send_data(bytes, false).unwrap();
                        body.send_trailers(trailers).unwrap();
                        let mut request = request.into_body();
                        while let Some(Ok(_)) = request.data().await {}
                    })
                },
            )
            .await;
        });
    });
    address
}

/// Code and text of the Rst by which a TTHeader caller's stream ends.
fn rst(hop: &Ripcord) -> (i32, String) {
    let caller = Connection::connect(&hop.address);
    let stream = caller.open(1, "Bidi", &[("isn", "Interop")]);
    stream.send(Kind::Trailer, &[], Bytes::new());
    let (exception, _) = said(&stream.nth(Kind::Rst, 0));
    (exception.type_id, exception.text)
}

fn ok() -> HeaderMap {
    headers(&[("grpc-status", "0")])
}

fn a_compressed_request_message_without_an_encoding_ends_internal() {
    let listener = Listener::start();
    let callee = H2Callee::start(|_| Play::Hold);
    for (wire, address) in [("ttheader", &listener.address), ("grpc", &callee.address)] {
        let hop = Ripcord::before(wire, address);
        for encoding in [&[][..], &[("grpc-encoding", "identity")]] {
            for flag in [1, 2] {
                let answer = call(&hop, encoding, &flagged(flag));
                assert_eq!(
                    status(&answer).0,
                    "13",
                    "{wire} {encoding:?} {flag}: {answer:?}"
                );
            }
        }
    }
    let seen = listener.accept();
    assert!(seen.frames().iter().all(|frame| frame.kind != Kind::Data));
}

fn a_compressed_response_message_without_an_encoding_ends_internal() {
    for head in [headers(&[]), headers(&[("grpc-encoding", "identity")])] {
        for flag in [1, 2] {
            let address = answers(head.clone(), flagged(flag), ok());
            let hop = Ripcord::before("grpc", &address);
            let answer = call(&hop, &[], &flagged(0));
            assert_eq!(status(&answer).0, "13", "{head:?} {flag}: {answer:?}");
            let (code, text) = rst(&hop);
            assert_eq!(code, 12004, "{text}");
        }
    }
}

const MALFORMED: [&str; 3] = ["blob-bin", "rpc-persist-blob-bin", "rpc-transit-blob-bin"];

fn request_metadata_that_is_not_base64_reaches_grpc_as_it_is_and_ttheader_never() {
    let listener = Listener::start();
    let callee = H2Callee::start(|_| Play::Only(200, ok()));
    for name in MALFORMED {
        let hop = Ripcord::before("ttheader", &listener.address);
        let answer = call(&hop, &[(name, "aGk, !!")], &flagged(0));
        let (code, text) = status(&answer);
        assert_eq!(code, "13", "{answer:?}");
        assert!(
            text.contains(&format!("the value of {name} is not base64")),
            "{text}"
        );
        let hop = Ripcord::before("grpc", &callee.address);
        call(&hop, &[(name, "aGk, !!")], &flagged(0));
        assert_eq!(callee.opened()[name], "aGk, !!");
    }
}

fn response_metadata_that_is_not_base64_reaches_grpc_as_it_is_and_ttheader_never() {
    let bad = || headers(&[("blob-bin", "!!")]);
    let bad_end = || {
        let mut all = ok();
        all.extend(bad());
        all
    };
    for (head, trailers, what) in [
        (bad(), ok(), "headers"),
        (headers(&[]), bad_end(), "trailers"),
    ] {
        let address = answers(head.clone(), flagged(0), trailers.clone());
        let hop = Ripcord::before("grpc", &address);
        let answer = call(&hop, &[], &flagged(0));
        assert_eq!(status(&answer).0, "0", "{answer:?}");
        let there = match what {
            "headers" => &answer.headers,
            _ => end(&answer),
        };
        assert_eq!(there["blob-bin"], "!!");
        let (code, text) = rst(&hop);
        let wanted =
            format!("the callee's {what} are malformed: the value of blob-bin is not base64");
        assert_eq!((code, text), (12004, wanted));
    }
}

fn crumbs_of_a_cookie_are_one_value_on_ttheader() {
    let listener = Listener::start();
    let hop = Ripcord::named("hop")
        .backend("callee", "protocol: ttheader", &listener.address)
        .route(
            "all",
            "backend: callee, metadata_to_transit: { cookie: SESSION }",
        )
        .start();
    let crumbs = [
        ("cookie", "a=1"),
        ("x", "1"),
        ("cookie", "b=2; c=3"),
        ("x", "2"),
    ];
    std::thread::scope(|scope| {
        scope.spawn(|| call(&hop, &crumbs, &flagged(0)));
        let callee = listener.accept();
        let stream = callee.stream(0);
        let string = |key| stream.header.info.string(key).unwrap().clone();
        assert_eq!(string("cookie"), "a=1; b=2; c=3");
        assert_eq!(string("RPC_TRANSIT_SESSION"), "a=1; b=2; c=3");
        assert_eq!(string("x"), "1,2");
        stream.send(Kind::Trailer, &[], Bytes::new());
    });
}

fn an_unknown_encoding_is_refused_with_those_that_are_read() {
    let listener = Listener::start();
    let hop = Ripcord::before("ttheader", &listener.address);
    let answer = call(&hop, &[("grpc-encoding", "snappy")], &flagged(1));
    assert_eq!(status(&answer).0, "12", "{answer:?}");
    assert_eq!(
        end(&answer)["grpc-accept-encoding"],
        "identity,deflate,gzip"
    );
}

/// The authorities that gRPC libraries send for targets that are no host.
fn a_request_that_http2_refuses_has_a_line_and_is_counted() {
    let hop = Ripcord::before("grpc", "127.0.0.1:9");
    let odd = [
        "tmp%2Fripcord%2Fs.sock",
        "unix:%2F%2F%2Ftmp%2Fs.sock",
        "/tmp/s.sock",
        "xds:///chat",
        "",
    ];
    let labels = r#"side="inbound",wire="grpc",kind="malformed_request""#;
    let mut raw = Raw::open(hop.socket_address());
    for (n, authority) in odd.into_iter().enumerate() {
        let stream = n as u32 * 2 + 1;
        let mut block = vec![0x83, 0x86];
        block.extend(field(":path", "/interop.Interop/Bidi"));
        block.extend(field(":authority", authority));
        block.extend(field("content-type", "application/grpc"));
        block.extend(field("te", "trailers"));
        raw.frame(HEADERS, END_HEADERS, stream, &block);
        assert_eq!(raw.reset(stream), 1, "{authority:?}");
        hop.wait("counted", || {
            hop.metric("ripcord_violations_total", labels) == n as u64 + 1
        });
    }
    let line = hop.logged("request refused");
    assert_eq!(
        (&line["level"], &line["kind"]),
        (&"WARN".into(), &"malformed_request".into()),
        "{line}"
    );
    assert!(
        line["what"].as_str().unwrap().contains(":authority"),
        "{line}"
    );
}

/// What a caller prints of the end of a scenario on a callee, directly and through hops: one of
/// each pair of protocols in `chains`, the callee's last.
fn as_direct(caller: Caller, callee: &str, chains: &[&[&str]], scenario: &Scenario) {
    let play = |address: &str| {
        let client = client(caller, address);
        let id = say(&client, scenario);
        let result = client.event("result", &id);
        let shown = [
            "kind",
            "code",
            "err",
            "message",
            "biz",
            "header",
            "header_err",
            "header_again",
            "header_again_err",
            "trailer",
            "trailer_err",
        ];
        shown.map(|key| (key, result[key].clone()))
    };
    let direct = play(callee);
    for chain in chains {
        let mut hops: Vec<Ripcord> = Vec::new();
        for wire in chain.iter().rev() {
            let next = hops.last().map_or(callee, |hop| &hop.address).to_owned();
            hops.push(Ripcord::before(wire, &next));
        }
        let through = play(&hops.last().unwrap().address);
        assert_eq!(through, direct, "{chain:?}, {}", scenario.name);
    }
}

fn headers_and_trailers_after_the_end_are_those_of_a_direct_call() {
    let server = go(&["kitex-server"]);
    let callee = address(&server);
    let ops = || [send(1, 5), recv(1), op("header"), op("close_send")];
    let kv = |name: &str| json!({ "op": name, "kv": { "k1": "v1" } });
    for script in [
        vec![op("echo")],
        vec![kv("header"), op("echo")],
        vec![op("echo"), kv("trailer")],
        vec![op("echo"), ret("biz", 7, "seven")],
    ] {
        let name = serde_json::to_string(&script).unwrap();
        let scenario = scenario(name, Method::Bidi, [], ops()).with("script", json!(script));
        as_direct(
            Caller::Mux,
            &callee,
            &[
                &["ttheader"],
                &["ttheader", "ttheader"],
                &["grpc", "ttheader"],
            ],
            &scenario,
        );
    }
}

fn a_business_error_of_code_0_is_that_of_a_direct_call() {
    let server = go(&["kitex-server"]);
    let callee = address(&server);
    for code in [0, 7] {
        let script = [op("echo"), ret("biz", code, "text")];
        let ops = [send(1, 5), recv(1), op("close_send")];
        let scenario = scenario(format!("code {code}"), Method::Bidi, script, ops);
        as_direct(
            Caller::KitexGrpc,
            &callee,
            &[&["grpc"], &["grpc", "grpc"]],
            &scenario,
        );
    }
}
