//! An empty head that waits for the end, and a refusal that waits for the caller.

use super::*;
use crate::bridge::head::WAIT;
use crate::bridge::settled::BEGIN;
use crate::stream::{Half, Scope};

fn awaiting() -> Rig {
    let stages = Stages {
        heads: Heads::AwaitEnd,
        ..Stages::default()
    };
    start_with(stages, usize::MAX, usize::MAX, StreamTimeouts::default())
}

fn empty() -> ResponseHead {
    ResponseHead {
        explicit: true,
        ..ResponseHead::default()
    }
}

#[test]
fn an_empty_head_is_dropped_if_the_end_is_right_behind_it() {
    local(async || {
        for later in [None, Some(Duration::ZERO), Some(WAIT / 2)] {
            let rig = awaiting();
            rig.callee.does(Received::Head(empty()));
            if let Some(later) = later {
                settled().await;
                tokio::time::sleep(later).await;
            }
            rig.callee
                .does(Received::End(End::complete(Metadata::new())));
            let caller = rig.caller.clone();
            rig.outcome().await;
            assert_eq!(caller.heard().heads.len(), 0, "{later:?}");
            assert_eq!(caller.heard().ends.len(), 1);
        }
    });
}

#[test]
fn an_empty_head_that_stays_alone_is_passed_on() {
    local(async || {
        let rig = awaiting();
        rig.callee.does(Received::Head(empty()));
        settled().await;
        assert_eq!(rig.caller.heard().heads.len(), 0);
        tokio::time::sleep(WAIT * 2).await;
        assert_eq!(rig.caller.heard().heads.len(), 1);
        assert!(rig.caller.heard().heads[0].explicit);
        rig.callee
            .does(Received::End(End::complete(Metadata::new())));
        let caller = rig.caller.clone();
        rig.outcome().await;
        assert_eq!(caller.heard().heads.len(), 1);
    });
}

#[test]
fn a_message_or_an_entry_lets_a_head_pass_at_once() {
    local(async || {
        let rig = awaiting();
        rig.callee.does(Received::Head(empty()));
        rig.callee.sends(b"one");
        settled().await;
        assert_eq!(rig.caller.heard().heads.len(), 1);
        assert_eq!(rig.caller.heard().messages, [b"one"]);
        rig.task.abort();
        let rig = awaiting();
        let mut head = empty();
        head.metadata.push(Scope::Plain, "k", "v");
        rig.callee.does(Received::Head(head));
        settled().await;
        assert_eq!(rig.caller.heard().heads.len(), 1);
        rig.task.abort();
    });
}

/// A caller's half that has to begin before it can take an end.
struct Shy(MemoryHalf, usize);

impl Half for Shy {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        self.0.poll_recv(cx)
    }

    fn release(&mut self, bytes: usize) {
        self.0.release(bytes);
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, run: &mut MessageBatch) -> Poll<()> {
        self.0.poll_send(cx, run)
    }
}

impl Inbound for Shy {
    fn send_head(&mut self, head: ResponseHead) {
        self.0.send_head(head);
    }

    fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_recv(cx).map(|_| self.1 += 1)
    }

    fn finish(&mut self, end: &End, node: &str) -> Option<NativeCode> {
        self.0.finish(end, node)
    }
}

#[test]
fn a_refusal_waits_for_the_callers_first_frame() {
    local(async || {
        for begins in [false, true] {
            let (half, caller) = memory_half(0);
            let mut inbound = Shy(half, 0);
            let began = Instant::now();
            if begins {
                caller.sends(b"one");
            }
            let end = End::hop(LocalEndKind::NoRoute, "no route");
            refuse(&mut inbound, Box::new(end), NODE).await;
            assert_eq!(caller.heard().ends.len(), 1);
            assert_eq!(inbound.1, usize::from(begins));
            let waited = if begins { Duration::ZERO } else { BEGIN };
            assert!(began.elapsed() >= waited && began.elapsed() < waited + BEGIN);
        }
    });
}
