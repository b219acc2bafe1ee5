//! One stream between two in-memory halves on a paused clock: what each side receives. Knows no
//! wire.

mod check;
mod halfway;
mod heads;
mod kept;
mod late;

mod loss_free;

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::*;
use crate::stream::{
    Business, Cancel, CancelSignal, Cause, Class, Failure, Initiator, Metadata, Path, Reason,
    ResponseHead, code,
};
use crate::testing::{MemoryHalf, Remote, local, memory_half};

const NODE: &str = "here";

fn cancel(by: Initiator, names: &str) -> End {
    let class = if by == Initiator::Caller {
        Class::ByCaller
    } else {
        Class::ByCallee
    };
    let cause = Cause {
        code: code::BIZ_CANCELED,
        text: "user canceled".to_owned(),
    };
    End::canceled(
        by,
        Cancel {
            cause,
            path: Path::parse(names),
            class,
            signal: CancelSignal::named("rst"),
            status: None,
        },
    )
}

struct Rig {
    caller: Remote,
    callee: Remote,
    switch: Rc<Switch>,
    /// What `run` reported as moved.
    seen: Rc<Cell<(Transferred, Transferred)>>,
    task: tokio::task::JoinHandle<(Outcome, MemoryHalf, MemoryHalf)>,
}

fn start(caller_room: usize, callee_room: usize, limits: StreamTimeouts) -> Rig {
    start_with(Stages::default(), caller_room, callee_room, limits)
}

fn start_with(
    stages: Stages,
    caller_room: usize,
    callee_room: usize,
    limits: StreamTimeouts,
) -> Rig {
    let (mut inbound, caller) = memory_half(caller_room);
    let (mut outbound, callee) = memory_half(callee_room);
    let switch = Rc::new(Switch::default());
    let shared = Rc::clone(&switch);
    let seen = Rc::<Cell<(Transferred, Transferred)>>::default();
    let moved = Rc::clone(&seen);
    let task = tokio::task::spawn_local(async move {
        let outcome = run(
            &mut inbound,
            &mut outbound,
            PreparedStream::new(Early::default(), stages, &limits, None),
            NODE,
            &shared,
            |request, response| moved.set((request, response)),
        )
        .await;
        (kept_nothing(outcome), inbound, outbound)
    });
    Rig {
        caller,
        callee,
        switch,
        seen,
        task,
    }
}

/// What `run` came to.
type Ran = Result<Box<Outcome>, Box<Refused>>;

/// The outcome of a stream that keeps no copy of its request.
fn kept_nothing(ran: Ran) -> Outcome {
    *ran.unwrap_or_else(|refused| panic!("{:?}", refused.end()))
}

async fn settled() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

impl Rig {
    async fn outcome(self) -> Outcome {
        let (outcome, _, _) = self.task.await.unwrap();
        assert_eq!(self.caller.heard().polls_after_end, 0);
        assert_eq!(self.callee.heard().polls_after_end, 0);
        outcome
    }
}

#[test]
fn a_stream_each_way_ends_once() {
    local(async || {
        let rig = start(usize::MAX, usize::MAX, StreamTimeouts::default());
        rig.caller.sends(b"one");
        rig.caller.sends(b"two");
        rig.caller.does(Received::HalfClose);
        settled().await;
        assert_eq!(rig.callee.heard().messages, [b"one", b"two"]);
        assert_eq!(rig.callee.heard().half_closes, 1);
        assert_eq!(rig.seen.get().0.messages, 2);
        rig.callee.does(Received::Head(ResponseHead::default()));
        rig.callee.sends(b"three");
        rig.callee
            .does(Received::End(End::complete(Metadata::new())));
        let (caller, callee) = (rig.caller.clone(), rig.callee.clone());
        let outcome = rig.outcome().await;
        assert_eq!(outcome.end.reason, Reason::Complete);
        assert_eq!(
            (outcome.request.messages, outcome.response.messages),
            (2, 1)
        );
        assert_eq!(caller.heard().messages, [b"three"]);
        assert_eq!(caller.heard().heads.len(), 1);
        assert_eq!(caller.heard().ends.len(), 1);
        assert_eq!(caller.heard().released, 16);
        assert!(callee.heard().cancels.is_empty());
    });
}

#[test]
fn a_hop_adds_its_own_name_once_in_both_directions() {
    local(async || {
        let rig = start(usize::MAX, usize::MAX, StreamTimeouts::default());
        rig.caller
            .does(Received::End(cancel(Initiator::Caller, "A,B")));
        let callee = rig.callee.clone();
        let outcome = rig.outcome().await;
        assert_eq!(callee.heard().cancels[0].path.to_wire(), "A,B,here");
        let Reason::Canceled(cancel_seen) = outcome.end.reason else {
            panic!("not a cancel")
        };
        assert_eq!(cancel_seen.path.to_wire(), "A,B,here");

        let rig = start(usize::MAX, usize::MAX, StreamTimeouts::default());
        rig.callee
            .does(Received::End(cancel(Initiator::Callee, "Z")));
        let caller = rig.caller.clone();
        rig.outcome().await;
        let Reason::Canceled(cancel) = &caller.heard().ends[0].reason else {
            panic!("not a cancel")
        };
        assert_eq!(cancel.path.to_wire(), "Z,here");
    });
}

#[test]
fn a_callers_cancel_reaches_the_callee_and_nobody_else() {
    local(async || {
        let rig = start(usize::MAX, 0, StreamTimeouts::default());
        rig.caller.sends(b"never taken");
        settled().await;
        rig.caller
            .does(Received::End(cancel(Initiator::Caller, "A")));
        let (caller, callee) = (rig.caller.clone(), rig.callee.clone());
        rig.outcome().await;
        assert_eq!(callee.heard().cancels.len(), 1);
        assert_eq!(callee.heard().cancels[0].cause.code, code::BIZ_CANCELED);
        assert_eq!(callee.heard().cancels[0].cause.text, "user canceled");
        assert!(
            caller.heard().ends.is_empty(),
            "a caller that let go is told nothing"
        );
        assert!(
            callee.heard().messages.is_empty(),
            "a cancel overtakes data"
        );
    });
}

#[test]
fn a_second_end_changes_nothing() {
    let mut first = FirstEnd::default();
    assert!(first.is_open());
    assert!(first.offer(cancel(Initiator::Callee, "A")));
    assert!(!first.offer(End::complete(Metadata::new())));
    assert_eq!(first.take(), Some(cancel(Initiator::Callee, "A")));
    assert!(
        !first.offer(End::complete(Metadata::new())),
        "it stays settled when taken"
    );
    assert!(!first.is_open());

    local(async || {
        // The callee's end waits after its data when the caller cancels. Nobody receives a second
        // end.
        let rig = start(0, usize::MAX, StreamTimeouts::default());
        rig.callee.sends(b"data");
        rig.callee
            .does(Received::End(End::complete(Metadata::new())));
        settled().await;
        rig.caller
            .does(Received::End(cancel(Initiator::Caller, "A")));
        let (caller, callee) = (rig.caller.clone(), rig.callee.clone());
        let outcome = rig.outcome().await;
        assert_eq!(outcome.end.by, Initiator::Caller);
        assert!(callee.heard().cancels.is_empty(), "the callee had ended");
        assert!(caller.heard().ends.is_empty());
    });
}

#[test]
fn a_callees_end_never_overtakes_its_messages() {
    local(async || {
        let rig = start(4, usize::MAX, StreamTimeouts::default());
        rig.callee.sends(b"a message");
        let failure = Failure::Business(Business {
            code: 7,
            text: "no".to_owned(),
            extra: None,
            status: None,
        });
        rig.callee
            .does(Received::End(End::failed(failure, Metadata::new())));
        settled().await;
        assert!(rig.caller.heard().ends.is_empty());
        rig.caller.takes(100);
        let caller = rig.caller.clone();
        rig.outcome().await;
        assert_eq!(caller.heard().messages, [b"a message"]);
        assert_eq!(caller.heard().ends.len(), 1);
    });
}

#[test]
fn only_what_was_taken_is_released() {
    local(async || {
        let rig = start(usize::MAX, 10, StreamTimeouts::default());
        rig.caller.sends(&[1; 100]);
        settled().await;
        assert_eq!(rig.caller.heard().released, 10);
        rig.callee.takes(1000);
        settled().await;
        assert_eq!(rig.caller.heard().released, 105);
        rig.task.abort();
    });
}

#[test]
fn each_limit_ends_the_stream_with_its_own_code() {
    local(async || {
        let now = Instant::now();
        let table = [
            (
                StreamTimeouts {
                    deadline: Some(Deadline {
                        at: now + Duration::from_secs(9),
                        set_by: None,
                    }),
                    ..StreamTimeouts::default()
                },
                LocalEndKind::Deadline,
                code::STREAM_TIMEOUT,
            ),
            (
                StreamTimeouts {
                    idle: Some(Duration::from_secs(9)),
                    ..StreamTimeouts::default()
                },
                LocalEndKind::Idle,
                code::RECV_TIMEOUT,
            ),
            (
                StreamTimeouts {
                    first_response: Some(Duration::from_secs(9)),
                    ..StreamTimeouts::default()
                },
                LocalEndKind::FirstResponse,
                code::RECV_TIMEOUT,
            ),
        ];
        for (limits, kind, code) in table {
            let began = Instant::now();
            let rig = start(usize::MAX, usize::MAX, limits);
            let (caller, callee) = (rig.caller.clone(), rig.callee.clone());
            let outcome = rig.outcome().await;
            let Reason::Hop(hop) = outcome.end.reason else {
                panic!("not the hop's end")
            };
            assert_eq!(hop.kind, kind);
            if kind != LocalEndKind::Deadline {
                assert_eq!(began.elapsed().as_secs(), 9, "{kind:?}");
            }
            assert_eq!(callee.heard().cancels[0].cause.code, code);
            assert_eq!(callee.heard().cancels[0].path.to_wire(), NODE);
            assert_eq!(caller.heard().ends.len(), 1);
        }
    });
}

#[test]
fn messages_hold_the_idle_limit_off_and_an_answer_the_first_response_limit() {
    local(async || {
        let limit = Some(Duration::from_secs(4));
        let rig = start(
            usize::MAX,
            usize::MAX,
            StreamTimeouts {
                idle: limit,
                first_response: limit,
                deadline: None,
            },
        );
        rig.callee.does(Received::Head(ResponseHead::default()));
        for _ in 0..10 {
            tokio::time::advance(Duration::from_secs(2)).await;
            settled().await;
            rig.callee.sends(b"tick");
            settled().await;
        }
        assert!(!rig.task.is_finished());
        let began = Instant::now();
        let outcome = rig.outcome().await;
        assert!(matches!(outcome.end.reason, Reason::Hop(hop) if hop.kind == LocalEndKind::Idle));
        assert!(
            began.elapsed() <= Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
    });
}

#[test]
fn a_caller_that_takes_nothing_after_the_callees_end_does_not_keep_the_stream() {
    local(async || {
        let rig = start(4, usize::MAX, StreamTimeouts::default());
        rig.callee.sends(b"a message");
        rig.callee
            .does(Received::End(End::complete(Metadata::new())));
        settled().await;
        tokio::time::advance(Duration::from_secs(20)).await;
        rig.caller.takes(1);
        settled().await;
        let began = Instant::now();
        let outcome = rig.outcome().await;
        assert!(
            matches!(outcome.end.reason, Reason::Hop(hop) if hop.kind == LocalEndKind::SlowReceiver)
        );
        assert_eq!(
            began.elapsed().as_secs(),
            40,
            "progress starts the grace again"
        );
    });
}

#[test]
fn a_slow_caller_of_a_finished_stream_gives_way_to_the_connections_other_streams() {
    local(async || {
        let rig = start(4, usize::MAX, StreamTimeouts::default());
        rig.callee.sends(b"a message");
        rig.callee
            .does(Received::End(End::complete(Metadata::new())));
        settled().await;
        rig.callee.is_held_up();
        rig.caller.takes(1);
        let outcome = rig.outcome().await;
        assert!(
            matches!(outcome.end.reason, Reason::Hop(hop) if hop.kind == LocalEndKind::SlowReceiver)
        );
    });
}

#[test]
fn the_switch_ends_a_stream_from_outside() {
    local(async || {
        let rig = start(usize::MAX, usize::MAX, StreamTimeouts::default());
        settled().await;
        rig.switch.end(LocalEndKind::DrainOver, "draining");
        let callee = rig.callee.clone();
        let outcome = rig.outcome().await;
        assert!(
            matches!(outcome.end.reason, Reason::Hop(hop) if hop.kind == LocalEndKind::DrainOver)
        );
        assert_eq!(
            callee.heard().cancels[0].cause.code,
            code::CONNECTION_CLOSED
        );
    });
}

#[test]
fn a_stage_sees_one_message_at_a_time_and_its_refusal_ends_both_sides() {
    struct Refuse;
    impl Stage for Refuse {
        fn head(&mut self, _: &mut ResponseHead) -> Result<(), StageError> {
            Ok(())
        }
        fn apply(
            &mut self,
            message: crate::stream::Message,
            pieces: &mut Vec<Bytes>,
            out: &mut MessageBatch,
        ) -> Result<(), StageError> {
            if pieces.iter().any(|p| p.contains(&b'!')) {
                let text = "refused".to_owned();
                return Err(StageError::new(LocalEndKind::Undecodable, text));
            }
            out.push_prefix(false, message.len as u32);
            pieces.drain(..).for_each(|p| out.push_bytes(p));
            Ok(())
        }
    }
    local(async || {
        let (mut inbound, caller) = memory_half(usize::MAX);
        let (mut outbound, callee) = memory_half(usize::MAX);
        caller.sends(b"fine");
        caller.sends(b"bad!");
        let stages = Stages {
            request: Some(Box::new(Refuse)),
            ..Stages::default()
        };
        let switch = Switch::default();
        let outcome = run(
            &mut inbound,
            &mut outbound,
            PreparedStream::new(Early::default(), stages, &StreamTimeouts::default(), None),
            NODE,
            &switch,
            |_, _| {},
        )
        .await;
        assert!(
            matches!(kept_nothing(outcome).end.reason, Reason::Hop(hop) if hop.kind == LocalEndKind::Undecodable)
        );
        assert_eq!(callee.heard().messages, [b"fine"]);
        assert_eq!(callee.heard().cancels.len(), 1);
        assert_eq!(caller.heard().ends.len(), 1);
    });
}

#[test]
fn a_hop_signs_its_own_refusal_and_no_other() {
    let text = |end: End| match settle(end, "hop", false).end.reason {
        Reason::Hop(hop) => hop.text,
        other => panic!("{other:?}"),
    };
    let own = End::hop(LocalEndKind::NoRoute, "no route");
    assert_eq!(text(own.clone()), "hop: no route");
    let of_next = End {
        by: Initiator::Callee,
        ..own
    };
    assert_eq!(text(of_next), "no route");
    // One in mid stream has a path that begins with the name.
    assert_eq!(text(End::hop(LocalEndKind::Idle, "idle")), "idle");
}
