//! Many streams of small messages to a callee that does not read for a while: a tonic server on h2
//! 0.4.18, which ends a connection for DATA frames of less than 256 bytes that its application has
//! not read. No stream may be lost, not even on the first connection: ripcord asks such a callee
//! before it sends it the first message. `RIPCORD_LIBRARIES=full` plays it; without it there is no
//! case here.

use std::time::Duration;

use super::callee::{Kind, Server};
use super::{connect, losses_are_allowed};
use crate::kit::Wire;
use crate::kit::peers::Peer;
use crate::kit::ripcord::Ripcord;
use crate::kit::trial::Case;

const STREAMS: usize = 100;
const MESSAGES: usize = 50;

pub(crate) fn cases() -> Vec<Case> {
    let full = std::env::var("RIPCORD_LIBRARIES").is_ok_and(|set| set == "full");
    let wires = Wire::ALL.into_iter().filter(|_| full);
    let case = |wire: Wire| {
        let name = format!(
            "small_messages_wait_for_a_slow_callee::{}_to_tonic",
            wire.name()
        );
        let run = move || small_messages_wait_for_a_slow_callee(wire);
        Case::new(module_path!(), &name, &[Peer::Tonic], run)
    };
    wires.map(case).collect()
}

fn small_messages_wait_for_a_slow_callee(wire: Wire) {
    let server = Server::start_held();
    let hop = Ripcord::named("hop")
        .set("limits: { slow_receiver_timeout: 60s }")
        .backend("callee", "protocol: grpc", &server.address)
        .route(
            "all",
            "backend: callee, assume_payload: thrift, rewrite: { service: storm.Storm }",
        )
        .start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let caller = connect(wire, &hop.address, Kind::Tonic, 1).await.remove(0);
        let mut streams = Vec::new();
        for n in 0..STREAMS {
            streams.push(caller.open(&format!("small-{n}")).await.expect("a stream"));
        }
        for _ in 0..MESSAGES {
            for stream in &mut streams {
                stream.say().await;
            }
            // The pace of the load: messages that come together are joined to one frame.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        server.read();
        // All are read at a time: the window of the caller's connection is smaller than the answers.
        let mut reading = tokio::task::JoinSet::new();
        for mut stream in streams {
            reading.spawn(async move { stream.answers(MESSAGES).await });
        }
        let counts = reading.join_all().await;
        let whole = counts.iter().filter(|count| **count == MESSAGES).count();
        let answers: usize = counts.iter().sum();
        println!(
            "{} to a slow tonic: {whole} of {STREAMS} streams are whole, {answers} of {} messages came back",
            wire.name(),
            STREAMS * MESSAGES
        );
        assert!(losses_are_allowed() || whole == STREAMS, "{}", hop.process.tail());
    });
}
