//! A callee that sends GOAWAY while long streams are open, as gRPC servers do at a connection's
//! greatest age: new streams move at once, and `goaway: pass` tells callers.

use std::net::TcpListener;

use ripcord::wire::ttheader::frame::Kind;

use crate::kit::h2raw::{
    END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, Raw, SETTINGS, field, frame,
};
use crate::kit::ripcord::Ripcord;
use crate::kit::trial::cases;
use crate::kit::tt::Connection;

cases! {
    [] {
        new_streams_leave_a_connection_that_goes_away_at_once,
        a_goaway_is_passed_when_all_streams_of_a_caller_sit_behind_it,
        ttheader_callers_have_no_goaway_and_are_refused_nothing,
    }
}

/// A callee whose connections the test plays.
struct Callee(TcpListener);

impl Callee {
    fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    /// The next connection.
    fn accept(&self) -> Raw {
        let mut raw = Raw::new(self.0.accept().unwrap().0);
        raw.frame(SETTINGS, 0, 0, &[]);
        raw.skip(PREFACE.len());
        raw
    }
}

/// Answers that stream's head.
fn begin(raw: &mut Raw, stream: u32) {
    raw.wait(HEADERS, stream);
    let head = [
        &[0x88][..],
        &field("content-type", "application/grpc+thrift"),
    ]
    .concat();
    raw.frame(HEADERS, END_HEADERS, stream, &head);
}

/// Sends a GOAWAY that ends no stream, and waits until it was read.
fn leave(raw: &mut Raw) {
    let payload = [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    let ping = frame(PING, 0, 0, &[9; 8]);
    raw.send(&[frame(GOAWAY, 0, 0, &payload), ping].concat());
    while raw.next().expect("a PONG").payload != [9; 8] {}
}

fn finish(raw: &mut Raw, stream: u32) {
    let end = field("grpc-status", "0");
    raw.frame(HEADERS, END_HEADERS | END_STREAM, stream, &end);
}

/// Waits for the end of that stream. Fails when a GOAWAY comes first.
fn ended(caller: &mut Raw, stream: u32) {
    while caller.wait(HEADERS, stream).flags & END_STREAM == 0 {}
}

/// The same after a GOAWAY.
fn ended_after_goaway(caller: &mut Raw, stream: u32) {
    loop {
        let frame = caller.next().expect("the end of the stream");
        if frame.kind == PING && frame.flags == 0 {
            caller.frame(PING, 1, 0, &frame.payload);
        }
        if (frame.kind, frame.stream) == (HEADERS, stream) && frame.flags & END_STREAM != 0 {
            return;
        }
    }
}

fn new_streams_leave_a_connection_that_goes_away_at_once() {
    let callee = Callee::start();
    let hop = Ripcord::before("grpc", &callee.address());
    let mut caller = Raw::open(hop.socket_address());
    caller.headers(1, "Storm");
    let mut old = callee.accept();
    begin(&mut old, 1);
    leave(&mut old);
    for stream in [3, 5] {
        caller.headers(stream, "Storm");
    }
    let mut new = callee.accept();
    for stream in [1, 3] {
        begin(&mut new, stream);
        finish(&mut new, stream);
    }
    ended(&mut caller, 3);
    ended(&mut caller, 5);
    // The long one goes on. Its caller received no GOAWAY.
    finish(&mut old, 1);
    ended(&mut caller, 1);
    caller.headers(7, "Storm");
    begin(&mut new, 5);
    finish(&mut new, 5);
    ended(&mut caller, 7);
}

fn a_goaway_is_passed_when_all_streams_of_a_caller_sit_behind_it() {
    let [callee, other] = [Callee::start(), Callee::start()];
    let hop = Ripcord::named("hop")
        .listener("goaway: pass")
        .backend("main", "protocol: grpc", callee.address())
        .backend("other", "protocol: grpc", other.address())
        .route("main", "match: { service: Storm }, backend: main")
        .route("other", "match: { service: Other }, backend: other")
        .start();
    let open = || Raw::open(hop.socket_address());
    let [mut all, mut some, mut none] = [open(), open(), open()];
    all.headers(1, "Storm");
    let mut old = callee.accept();
    begin(&mut old, 1);
    some.headers(1, "Storm");
    begin(&mut old, 3);
    some.headers(3, "Other");
    let mut far = other.accept();
    begin(&mut far, 1);
    none.headers(1, "Other");
    begin(&mut far, 3);
    leave(&mut old);
    // RFC 9113, 6.8: first one that ends no stream.
    assert_eq!(all.next_goaway(), Some((u32::MAX >> 1, 0)));
    // With the end of the only stream that sits elsewhere, in either order.
    finish(&mut far, 1);
    let (mut goaway, mut end) = (false, false);
    while !(goaway && end) {
        let frame = some.next().expect("a GOAWAY and the end of stream 3");
        goaway |= frame.kind == GOAWAY;
        end |= (frame.kind, frame.stream) == (HEADERS, 3) && frame.flags & END_STREAM != 0;
        if frame.kind == PING && frame.flags == 0 {
            some.frame(PING, 1, 0, &frame.payload);
        }
    }
    // The long streams go on.
    finish(&mut old, 1);
    ended_after_goaway(&mut all, 1);
    finish(&mut old, 3);
    ended_after_goaway(&mut some, 1);
    finish(&mut far, 3);
    ended(&mut none, 1);
    // A caller moves to a new connection, and ripcord to a new one of the callee.
    let mut moved = open();
    moved.headers(1, "Storm");
    let mut new = callee.accept();
    begin(&mut new, 1);
    finish(&mut new, 1);
    ended(&mut moved, 1);
}

fn ttheader_callers_have_no_goaway_and_are_refused_nothing() {
    let callee = Callee::start();
    let hop = Ripcord::named("hop")
        .listener("goaway: pass")
        .to("protocol: grpc", callee.address())
        .start();
    let caller = Connection::connect(&hop.address);
    let long = caller.open(1, "Talk", &[]);
    let mut old = callee.accept();
    begin(&mut old, 1);
    leave(&mut old);
    let next = caller.open(2, "Talk", &[]);
    let mut new = callee.accept();
    begin(&mut new, 1);
    finish(&mut new, 1);
    next.nth(Kind::Trailer, 0);
    finish(&mut old, 1);
    long.nth(Kind::Trailer, 0);
    assert_eq!((long.count(Kind::Rst), next.count(Kind::Rst)), (0, 0));
}
