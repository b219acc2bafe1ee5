//! What real Kitex peers sent (`tests/data/captures`), played to both roles.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use super::*;
use crate::stream::Failure;

/// A connection of a capture: the frames of each side.
#[derive(Default)]
struct Recorded {
    caller: BytesMut,
    callee: BytesMut,
    /// The streams that the caller opened.
    opened: Vec<i32>,
    /// The streams that the callee ended.
    ended: Vec<i32>,
}

fn recorded() -> Vec<(String, Recorded)> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/captures");
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if name.starts_with("pingpong") {
            continue;
        }
        let mut connections: BTreeMap<(String, i64), Recorded> = BTreeMap::new();
        for line in fs::read_to_string(&path).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let Some(hex) = line["hex"].as_str() else {
                continue;
            };
            let hop = line["hop"].as_str().unwrap_or_default().to_owned();
            let key = (hop, line["conn"].as_i64().unwrap());
            let recorded = connections.entry(key).or_default();
            let id = i32::try_from(line["id"].as_i64().unwrap()).unwrap();
            let kind = line["frame"].as_str().unwrap();
            let from_caller = line["dir"] == ">";
            let wire = if from_caller {
                if kind == "Header" {
                    recorded.opened.push(id);
                }
                &mut recorded.caller
            } else {
                if kind == "Trailer" {
                    recorded.ended.push(id);
                }
                &mut recorded.callee
            };
            for at in (0..hex.len()).step_by(2) {
                wire.extend_from_slice(&[u8::from_str_radix(&hex[at..at + 2], 16).unwrap()]);
            }
            let cut = line["hex_cut"].as_u64().unwrap_or(0);
            wire.resize(wire.len() + usize::try_from(cut).unwrap(), 0);
        }
        all.extend(
            connections
                .into_iter()
                .map(|((hop, n), r)| (format!("{name} {hop}#{n}"), r)),
        );
    }
    assert!(all.len() > 60, "{}", all.len());
    all
}

/// Receives everything, and returns the end.
async fn last(half: &mut impl Half) -> End {
    loop {
        match recv(half).await {
            Received::End(end) => return end,
            Received::Messages(run) => half.release(run.len()),
            Received::Head(_) | Received::HalfClose => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn captured_callers_are_understood() {
    for (name, recorded) in recorded() {
        local(async move {
            let server = Server::start(config());
            let Server {
                mut peer,
                mut streams,
                done,
                counters,
                budget,
                ..
            } = server;
            let writer = spawn_local(async move {
                peer.io.write_all(&recorded.caller).await.unwrap();
            });
            let mut seen = 0;
            let mut tasks = Vec::new();
            while let Some((head, mut stream)) = streams.recv().await {
                assert_eq!(head.service, "Interop", "{name}");
                seen += 1;
                tasks.push(spawn_local(async move { last(&mut stream).await }));
            }
            for task in tasks {
                let end = task.await.unwrap();
                assert!(matches!(end.reason, Reason::Canceled(_)), "{name}: {end:?}");
            }
            assert_eq!(seen, recorded.opened.len(), "{name}");
            writer.await.unwrap();
            done.await.unwrap();
            assert_eq!(read(&counters.bad_frames), 0, "{name}");
            assert_eq!(read(&counters.lost_framing), 0, "{name}");
            assert_eq!(budget.used(), 0, "{name}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn captured_callees_are_understood() {
    for (name, recorded) in recorded() {
        local(async move {
            let mut side = ClientSide::start(config());
            let mut streams = Vec::new();
            for id in &recorded.opened {
                side.client.last_id_for_tests(id.wrapping_sub(1));
                streams.push(side.client.open(&request()).unwrap());
                side.peer.expect(Kind::Header, *id).await;
            }
            let mut peer = side.peer;
            let writer = spawn_local(async move {
                peer.io.write_all(&recorded.callee).await.unwrap();
                // The owed half-closes are read, so that they do not fail the connection.
                drop(peer);
            });
            for mut stream in streams {
                let id = stream.id();
                let end = last(&mut stream).await;
                let said = match &end.reason {
                    Reason::Complete
                    | Reason::Failed(Failure::Exception(_) | Failure::Business(_)) => true,
                    Reason::Hop(hop) => {
                        assert_eq!(hop.kind, LocalEndKind::BackendLost, "{name}");
                        false
                    }
                    Reason::Canceled(_) | Reason::Failed(Failure::Status(_)) => {
                        panic!("{name}: {end:?}")
                    }
                };
                assert_eq!(said, recorded.ended.contains(&id), "{name}: {end:?}");
            }
            writer.await.unwrap();
            side.done.await.unwrap();
            assert_eq!(read(&side.counters.bad_frames), 0, "{name}");
            assert_eq!(read(&side.counters.lost_framing), 0, "{name}");
            assert_eq!(side.budget.used(), 0, "{name}");
        })
        .await;
    }
}
