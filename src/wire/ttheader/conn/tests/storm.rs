//! Both roles against each other: random streams over a pipe of random size. Afterwards every table
//! and account is at zero.

use std::cell::RefCell;
use std::task::Poll;

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::task::JoinHandle;

use super::*;
use crate::stream::{Cancel, Cause, Class, Inbound, Metadata, Outbound, Path};

#[derive(Clone, Copy, Debug)]
enum Leave {
    Complete,
    Cancel(usize),
    Drop(usize),
    CalleeFails(usize),
    CalleeDrops(usize),
}

#[derive(Clone, Debug)]
struct Script {
    sizes: Vec<usize>,
    leave: Leave,
}

fn scripts() -> impl Strategy<Value = Vec<Script>> {
    let size = prop_oneof![0usize..100, 4000usize..5000, 0usize..40_000];
    let leave = (0usize..6, 0usize..6).prop_map(|(kind, at)| match kind {
        0 => Leave::Cancel(at),
        1 => Leave::Drop(at),
        2 => Leave::CalleeFails(at),
        3 => Leave::CalleeDrops(at),
        _ => Leave::Complete,
    });
    let script = (vec(size, 0..8), leave).prop_map(|(sizes, leave)| Script { sizes, leave });
    vec(script, 1..12)
}

/// Sends the messages and counts the echoes, both at once, until the end or the time to leave.
async fn call(
    mut stream: crate::wire::ttheader::client::ClientStream,
    script: Script,
) -> Option<End> {
    let mut run = MessageBatch::new();
    for size in &script.sizes {
        run.push_message(false, vec![7; *size].into());
    }
    let mut closed = false;
    let mut echoed = 0;
    let end = poll_fn(|cx| {
        loop {
            if let Leave::Cancel(at) | Leave::Drop(at) = script.leave
                && echoed >= at
            {
                return Poll::Ready(None);
            }
            if stream.poll_send(cx, &mut run).is_ready() && !closed {
                closed = true;
                stream.half_close();
            }
            match stream.poll_recv(cx) {
                Poll::Ready(Received::Head(_)) => {}
                Poll::Ready(Received::Messages(mut run)) => {
                    let bytes = run.len();
                    for message in all(&mut run) {
                        assert_eq!(message.len(), script.sizes[echoed]);
                        echoed += 1;
                    }
                    stream.release(bytes);
                }
                Poll::Ready(Received::End(end)) => return Poll::Ready(Some(end)),
                Poll::Ready(Received::HalfClose) => panic!("from a callee"),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
    if end.as_ref().is_some_and(|e| e.reason == Reason::Complete) {
        assert_eq!(echoed, script.sizes.len());
    }
    if let (None, Leave::Cancel(_)) = (&end, script.leave) {
        stream.cancel(&Cancel {
            cause: Cause {
                code: 12007,
                text: "enough".into(),
            },
            path: Path::from_origin("A"),
            class: Class::ByCaller,
            signal: crate::wire::ttheader::end::RST,
            status: None,
        });
    }
    end
}

/// Echoes until the half-close, or leaves after so many messages.
async fn echo(mut stream: ServerStream, leave: Leave) {
    let mut run = MessageBatch::new();
    let mut half_closed = false;
    let mut seen = 0;
    let end = poll_fn(|cx| {
        loop {
            let before = run.len();
            let sent = stream.poll_send(cx, &mut run).is_ready();
            stream.release(before - run.len());
            match leave {
                Leave::CalleeFails(at) if seen >= at => {
                    return Poll::Ready(Some(End::hop(LocalEndKind::Deadline, "enough")));
                }
                Leave::CalleeDrops(at) if seen >= at => return Poll::Ready(None),
                _ if sent && half_closed => {
                    return Poll::Ready(Some(End::complete(Metadata::new())));
                }
                _ => {}
            }
            match stream.poll_recv(cx) {
                Poll::Ready(Received::Messages(mut more)) => {
                    seen += 1;
                    run.append(&mut more);
                }
                Poll::Ready(Received::HalfClose) => half_closed = true,
                Poll::Ready(Received::End(_)) => return Poll::Ready(None),
                Poll::Ready(Received::Head(_)) => panic!("from a caller"),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
    if let Some(end) = end {
        stream.finish(&end, "hop");
    }
}

async fn storm(scripts: Vec<Script>, pipe: usize, stream_budget: usize) {
    let mut config = config();
    config.stream_budget = stream_budget;
    config.high_water = 8 * 1024;
    // Now and then both wait until the other reads. Nobody is to blame for that here.
    config.slow_receiver_timeout = Duration::from_secs(1 << 30);
    config.lone_grace = Duration::from_secs(1 << 30);
    config.cancel_grace = Duration::from_secs(1 << 30);
    let config = Rc::new(config);
    let (caller, callee) = tokio::io::duplex(pipe);
    let tasks = Rc::new(RefCell::new(Vec::<JoinHandle<()>>::new()));
    let (echoes, leaves) = (Rc::clone(&tasks), scripts.clone());
    let handle = ServerHandle::new();
    let served = spawn_local(serve(
        callee,
        Rc::clone(&config),
        handle.clone(),
        move |head, stream| {
            let leave = leaves[head.to.unwrap().parse::<usize>().unwrap()].leave;
            echoes.borrow_mut().push(spawn_local(echo(stream, leave)));
        },
    ));
    let (client, driver) = Client::new(caller, Rc::clone(&config));
    let driven = spawn_local(driver);
    let calls: Vec<_> = scripts
        .into_iter()
        .enumerate()
        .map(|(n, script)| {
            let head = RequestHead {
                to: Some(n.to_string()),
                ..request()
            };
            let leave = script.leave;
            (
                leave,
                spawn_local(call(client.open(&head).unwrap(), script)),
            )
        })
        .collect();
    for (leave, call) in calls {
        let end = call.await.unwrap();
        if let (Leave::Complete, Some(end)) = (leave, end) {
            assert_eq!(end.reason, Reason::Complete);
        }
    }
    client.close_when_idle();
    driven.await.unwrap();
    served.await.unwrap();
    for task in tasks.take() {
        task.await.unwrap();
    }
    assert_eq!(client.active() + handle.streams(), 0);
    assert_eq!(config.budget.used(), 0);
    for row in config.counters.rows() {
        let (name, count) = (row.label.unwrap().1, (row.read)());
        if !matches!(name, "late_frames" | "paused_reads") {
            assert_eq!(count, 0, "{name}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_account_is_at_zero_after_a_storm(
        scripts in scripts(),
        pipe in prop_oneof![1usize..200, 1000usize..100_000],
        stream_budget in prop_oneof![Just(1usize), 1000usize..200_000],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(local(storm(scripts, pipe, stream_budget)));
    }
}
