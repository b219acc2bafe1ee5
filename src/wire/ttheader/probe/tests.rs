//! The probe against callees that answer it in each way.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;
use tokio::task::{LocalSet, spawn_local};

use super::*;

/// What a callee does with connections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    /// Reads and says nothing.
    Stays,
    /// Closes a connection on which something came.
    Closes,
    /// The same, but late.
    ClosesLate,
    /// Closes every connection.
    ClosesAll,
    /// Closes connections on which nothing comes for a while.
    ClosesIdle,
    /// Ends soon after the first question, and another one is in its place.
    Restarts,
}

async fn callee(does: Does) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&accepted);
    spawn_local(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let earlier = counted.fetch_add(1, Ordering::Relaxed);
            spawn_local(async move {
                let mut some = BytesMut::new();
                if does == Does::ClosesIdle || (does == Does::Restarts && earlier == 0) {
                    return sleep(QUIET * 2).await;
                }
                if does == Does::ClosesAll || socket.read_buf(&mut some).await.is_err() {
                    return;
                }
                match does {
                    Does::Closes | Does::ClosesAll => return,
                    Does::ClosesLate => return sleep(QUIET * 2).await,
                    Does::Stays | Does::ClosesIdle | Does::Restarts => {}
                }
                closes(&mut socket).await;
            });
        }
    });
    (address, accepted)
}

/// What is found, once the probe has said so or given up for now.
async fn found(does: Does) -> (Option<CancelForm>, usize) {
    let (address, accepted) = callee(does).await;
    let counters = Counters::new();
    let options = DialOptions {
        connect_timeout: Duration::from_secs(3),
        ..DialOptions::default()
    };
    // Two connections at a time are one question.
    let forms = [0; 2].map(|_| ask(address, &options, &counters));
    let [PeerForm::Callee(callee, opened), _] = &forms else {
        panic!("{forms:?}");
    };
    assert!(callee.hurry());
    let wanted = match does {
        Does::Stays | Does::ClosesIdle | Does::Restarts => Some(CancelForm::Rst),
        Does::Closes | Does::ClosesLate => Some(CancelForm::Trailer),
        Does::ClosesAll => None,
    };
    let settled = || match wanted {
        Some(_) => callee.form(*opened) == wanted,
        None => counters.probes_failed.load(Ordering::Relaxed) > 0,
    };
    let look = async {
        while !settled() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), look).await.unwrap();
    (callee.form(*opened), accepted.load(Ordering::Relaxed))
}

#[tokio::test]
async fn what_a_callee_does_with_a_rst_tells_whether_it_knows_it() {
    LocalSet::new()
        .run_until(async {
            assert_eq!(found(Does::Stays).await, (Some(CancelForm::Rst), 1));
            assert_eq!(found(Does::Closes).await, (Some(CancelForm::Trailer), 2));
            assert_eq!(
                found(Does::ClosesLate).await,
                (Some(CancelForm::Trailer), 3)
            );
            assert_eq!(found(Does::ClosesAll).await, (None, 2));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_whose_connections_are_gone() {
    LocalSet::new()
        .run_until(async {
            let (address, accepted) = callee(Does::Stays).await;
            let counters = Counters::new();
            drop(ask(address, &DialOptions::default(), &counters));
            sleep(LATER * 2).await;
            assert_eq!(accepted.load(Ordering::Relaxed), 0);
        })
        .await;
}

/// Neither a callee that closes idle connections nor one that has restarted is an old one.
#[tokio::test]
async fn a_connection_that_is_closed_late_for_another_reason_tells_nothing() {
    LocalSet::new()
        .run_until(async {
            for does in [Does::ClosesIdle, Does::Restarts] {
                let (address, accepted) = callee(does).await;
                let counters = Counters::new();
                let options = DialOptions {
                    connect_timeout: Duration::from_secs(3),
                    ..DialOptions::default()
                };
                let PeerForm::Callee(callee, opened) = ask(address, &options, &counters) else {
                    panic!("no callee");
                };
                assert!(callee.hurry());
                let over = async {
                    // The probe is over when another one may be planned.
                    while accepted.load(Ordering::Relaxed) < 3 || callee.hurry() {
                        sleep(Duration::from_millis(1)).await;
                    }
                };
                timeout(Duration::from_secs(20), over).await.unwrap();
                assert_eq!(callee.form(opened), Some(CancelForm::Rst));
            }
        })
        .await;
}
