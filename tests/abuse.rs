//! Abuse: how ripcord answers peers that break their protocol or flood it, against the built
//! program. Each row of the tables in `abuse_cases` does one thing, and checks what its sender gets
//! and whether its connection stays open. For every row, the rig checks three more things. A metric
//! counts it. Streams of others on both wires go on meanwhile and lose nothing. Memory stays
//! bounded.
//!
//! `cargo test --test abuse` prints the tables.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod abuse_cases;
mod kit;

use abuse_cases::rig::Rig;
use abuse_cases::{callee, foreign, grpc, port, silent, texts, ttheader, unprivileged, unread};
use kit::Wire;
use kit::trial::cases;

fn main() -> std::process::ExitCode {
    kit::trial::run("abuse", cases())
}

cases! {
    [] {
        a_port_answers_what_it_does_not_speak,
        grpc_callers_that_break_http2,
        grpc_callers_that_flood,
        ttheader_callers,
        callees,
        callees_of_another_protocol,
        peers_that_fall_silent,
        peers_that_do_not_read_their_ends,
        plain_words_reach_callers_and_the_access_log,
    }
    [Setpriv] {
        a_user_without_any_right_serves_streams,
    }
}

fn a_port_answers_what_it_does_not_speak() {
    Rig::start(Wire::Grpc).run(port::ROWS);
}

fn grpc_callers_that_break_http2() {
    Rig::start(Wire::TtHeader).run(grpc::ROWS);
}

fn grpc_callers_that_flood() {
    Rig::start(Wire::Grpc).run(grpc::FLOODS);
}

fn ttheader_callers() {
    Rig::start(Wire::Grpc).run(ttheader::ROWS);
}

fn callees() {
    Rig::start(Wire::TtHeader).run(callee::ROWS);
}

fn callees_of_another_protocol() {
    foreign::rig().run(foreign::ROWS);
}

fn peers_that_fall_silent() {
    silent::rig().run(silent::ROWS);
}

fn peers_that_do_not_read_their_ends() {
    unread::rig().run(unread::ROWS);
}

fn plain_words_reach_callers_and_the_access_log() {
    texts::reach_callers();
}

fn a_user_without_any_right_serves_streams() {
    unprivileged::serves();
}
