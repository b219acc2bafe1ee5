//! Many messages through a mixed chain, on many streams at once: none is lost, none is changed.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::hop::Pair;
use super::streams::{Answer, Asked, Call, Callee, Side, Then, run};
use super::{Chain, Middle};
use crate::loss_free_cases::{Pairs, grpc, tt};

/// Streams of each pair of wires, and messages of each, either way.
const STREAMS: usize = 6;
const MESSAGES: usize = 300;

/// The largest message, but for one of a size that crosses every window.
const SMALL: usize = 3000;
const LARGE: usize = 300_000;

/// Message `n` of a stream. Its bytes show which one it is.
fn message(stream: usize, n: usize) -> Bytes {
    let mixed = (stream * MESSAGES + n).wrapping_mul(2_654_435_761) >> 7;
    let len = if n == MESSAGES / 2 {
        LARGE
    } else {
        mixed % SMALL
    };
    let mut bytes = vec![mixed as u8; len];
    let name = format!("{stream}/{n} ");
    for (byte, said) in bytes.iter_mut().zip(name.bytes()) {
        *byte = said;
    }
    bytes.into()
}

fn messages(stream: usize) -> Vec<Bytes> {
    (0..MESSAGES).map(|n| message(stream, n)).collect()
}

pub(crate) fn no_message_is_lost(pair: &Pair, middle: Middle) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let chain = Arc::new(Chain::start(pair, middle).await);
        let mut streams = JoinSet::new();
        let mut n = 0;
        for from in Side::BOTH {
            for to in Side::BOTH {
                for _ in 0..STREAMS {
                    streams.spawn(stream(Arc::clone(&chain), from, to, n));
                    n += 1;
                }
            }
        }
        while let Some(done) = streams.join_next().await {
            done.unwrap();
        }
    });
}

async fn stream(chain: Arc<Chain>, from: Side, to: Side, n: usize) {
    let (sent, replied) = (messages(2 * n), messages(2 * n + 1));
    let call = Call {
        from,
        service: to.service().to_owned(),
        method: format!("W{n}"),
        named: None,
        limit: None,
        sent: sent.clone(),
        then: Then::Listen,
    };
    let callee = match to {
        Side::Grpc => {
            let ok = grpc::End::Trailers(vec![(b"grpc-status".to_vec(), b"0".to_vec())]);
            Callee::Grpc(Some(Pairs::new()), replied.clone(), ok)
        }
        Side::Tt => {
            let ok = tt::End::Trailer(Pairs::new(), None);
            Callee::Tt(Pairs::new(), replied.clone(), ok)
        }
    };
    let (answer, asked) = run(&chain, &call, &callee).await;
    let came = match answer {
        Answer::Grpc(heard) => {
            assert_eq!(heard.trailers["grpc-status"], "0");
            heard.messages
        }
        Answer::Tt(heard) => {
            assert!(heard.end.unwrap().payload.is_empty());
            heard.messages
        }
        Answer::None => panic!("the caller listens"),
    };
    let went = match asked {
        Asked::Grpc(heard) => heard.messages,
        Asked::Tt(heard) => heard.messages,
        Asked::None => panic!("there is a callee"),
    };
    let what = format!("{from:?} to {to:?}, stream {n}");
    assert_eq!((went.len(), came.len()), (MESSAGES, MESSAGES), "{what}");
    assert!(went == sent, "{what}: the request was changed");
    assert!(came == replied, "{what}: the answer was changed");
}
