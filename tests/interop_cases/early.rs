//! Ends that come before, or right behind, the first thing that a peer sends.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use ripcord::wire::ttheader::frame::Kind as FrameKind;
use serde_json::json;

use super::golden::base64;
use crate::kit::grpc;
use crate::kit::h2peer::{Ended, H2Callee, Play, headers};
use crate::kit::h2raw::{DATA, END_STREAM, RESET, Raw, frame};
use crate::kit::lab::lab;
use crate::kit::peers::grpcio;
use crate::kit::ripcord::Ripcord;
use crate::kit::scenario::{ret, send};
use crate::kit::trial::cases;
use crate::kit::tt::{Connection, Listener, said};

cases! {
    [Go] {
        kitex_that_fails_at_once_is_trailers_only_toward_grpc,
    }
    [Grpcio] {
        no_early_refusal_is_lost_by_grpcio_aio,
    }
    [] {
        a_half_close_with_its_reset_in_one_read_is_none,
    }
}

/// How many calls: what depends on who is first shows in some of them.
const CALLS: usize = 300;

/// Kitex sends a Header before each Trailer. A gRPC library retries only after Trailers-Only.
fn kitex_that_fails_at_once_is_trailers_only_toward_grpc() {
    let lab = lab();
    let entries = [
        (lab.one.socket_address(), "tt"),
        (lab.egress.socket_address(), "tt"),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for (address, via) in entries {
        let (only, with_message) = runtime.block_on(async {
            let caller = grpc::Caller::connect(address).await;
            let failure = ret("error", 0, "at once");
            let mut only = 0;
            for n in 0..CALLS {
                let script = json!({ "id": format!("early {address} {n}"), "ops": [failure] });
                let answer = ask(&caller, via, &script.to_string()).await;
                assert_ne!(answer.trailers["grpc-status"], "0");
                only += usize::from(answer.headers.is_none());
            }
            let ops = json!([send(1, 5), failure]);
            let script = json!({ "id": format!("early {address} message"), "ops": ops });
            (only, ask(&caller, via, &script.to_string()).await)
        });
        assert_eq!(only, CALLS, "{address}: Trailers-Only");
        assert!(with_message.headers.is_some() && with_message.messages.len() == 1);
    }
}

async fn ask(caller: &grpc::Caller, via: &str, script: &str) -> grpc::Answered {
    let headers: HeaderMap = headers(&[
        ("content-type", "application/grpc+thrift"),
        ("te", "trailers"),
        ("x-to", "kt"),
        ("x-via", via),
        ("rpc-transit-script", &base64(script)),
    ]);
    let mut call = caller.ask("lab", "/interop.Interop/Bidi", headers).await;
    call.send(&[], true).await;
    call.hear().await
}

/// grpcio's aio reports INTERNAL for many an end that comes before its first request frame.
fn no_early_refusal_is_lost_by_grpcio_aio() {
    let hop = Ripcord::named("hop")
        .backend("dead", "protocol: grpc", "127.0.0.1:9")
        .route("dead", "match: { service: interop.Interop }, backend: dead")
        .start();
    for (service, code) in [
        ("Nowhere", "UNIMPLEMENTED"),
        ("interop.Interop", "UNAVAILABLE"),
    ] {
        let method = format!("/{service}/Bidi");
        let caller = grpcio(&[
            "aio-client",
            "--addr",
            &hop.address,
            "--method",
            &method,
            "--count",
            "500",
        ]);
        let codes = caller.event("codes", "")["codes"].clone();
        assert_eq!(codes, json!({ code: 500 }), "{method}");
    }
}

/// Node's libraries half-close before they cancel.
fn a_half_close_with_its_reset_in_one_read_is_none() {
    let listener = Listener::start();
    let to_ttheader = Ripcord::before("ttheader", &listener.address);
    let held = H2Callee::start(|_| Play::Hold);
    let to_grpc = Ripcord::before("grpc", &held.address);
    let mut wire = None;
    for (n, act) in [by_grpc, by_ttheader].into_iter().enumerate() {
        act(to_ttheader.socket_address(), &mut || {
            let wire = wire.get_or_insert_with(|| listener.accept());
            wire.stream(n).send(FrameKind::Header, &[], Bytes::new());
        });
        let stream = wire.as_ref().unwrap().stream(n);
        assert_eq!(
            said(&stream.nth(FrameKind::Rst, 0)).0.type_id,
            [12011, 12007][n]
        );
        assert_eq!(stream.count(FrameKind::Trailer), 0, "no half-close");
        act(to_grpc.socket_address(), &mut || {
            held.opened();
        });
        assert_eq!(held.ended(), Ended::Reset(8));
    }
}

/// Opens a stream, and ends it once `opened` has returned.
fn by_grpc(hop: SocketAddr, opened: &mut dyn FnMut()) {
    let mut raw = Raw::open(hop);
    raw.headers(1, "interop.Interop");
    opened();
    let mut both = frame(DATA, END_STREAM, 1, &[]);
    both.extend(frame(RESET, 0, 1, &8_u32.to_be_bytes()));
    raw.send(&both);
}

fn by_ttheader(hop: SocketAddr, opened: &mut dyn FnMut()) {
    let wire = Connection::connect(&hop.to_string());
    let stream = wire.open(1, "Bidi", &[("isn", "Interop")]);
    opened();
    let half_close = stream.frame(FrameKind::Trailer);
    let mut cancel = stream.frame(FrameKind::Rst);
    cancel.payload = stream.exception(12007, "gone");
    let mut both = BytesMut::new();
    half_close.encode(&mut both).unwrap();
    cancel.encode(&mut both).unwrap();
    wire.write_bytes(&both);
    // The hop reads both before the connection is closed.
    std::mem::forget(wire);
}
