//! A message that is half written when its stream ends.

use super::*;
use crate::bridge::carried::COMPLETE;

/// A caller that has taken this many bytes of a message of 15 when the stream ends, and what it has
/// received once it took more.
async fn ended_after(taken: usize, then: impl AsyncFnOnce(&Rig)) -> (Vec<Vec<u8>>, bool) {
    let rig = start(taken, usize::MAX, StreamTimeouts::default());
    rig.callee.sends(b"0123456789");
    rig.callee.sends(b"another");
    settled().await;
    rig.switch.end(LocalEndKind::DrainOver, "over");
    settled().await;
    assert_eq!(rig.callee.heard().cancels.len(), 1, "at once");
    then(&rig).await;
    settled().await;
    let (caller, done) = (rig.caller.clone(), rig.task.is_finished());
    let outcome = rig.outcome().await;
    assert!(matches!(outcome.end.reason, Reason::Hop(_)));
    let heard = caller.heard();
    (heard.messages.clone(), done && heard.ends.len() == 1)
}

#[test]
fn a_half_written_message_is_completed_before_the_end() {
    local(async || {
        let whole = vec![b"0123456789".to_vec()];
        // In the prefix, in the payload.
        for taken in [1, 4, 5, 9, 14] {
            let took = ended_after(taken, async |rig| {
                assert!(!rig.task.is_finished());
                rig.caller.does(Received::HalfClose);
                rig.caller.sends(b"late");
                rig.caller.takes(100);
            });
            assert_eq!(took.await, (whole.clone(), true), "{taken} bytes");
        }
        // Between two messages there is nothing to wait for.
        for (taken, whole) in [(0, vec![]), (15, whole.clone())] {
            let took = ended_after(taken, async |_| ());
            assert_eq!(took.await, (whole, true), "{taken} bytes");
        }
    });
}

#[test]
fn a_caller_that_does_not_take_the_rest_is_not_waited_for() {
    local(async || {
        let began = Instant::now();
        let took = ended_after(9, async |rig| {
            assert!(!rig.task.is_finished());
            tokio::time::sleep(COMPLETE).await;
        });
        assert_eq!(took.await, (vec![], true));
        assert!(began.elapsed() < COMPLETE * 2);
        // It cancels meanwhile.
        let began = Instant::now();
        let took = ended_after(9, async |rig| {
            let end = cancel(Initiator::Caller, "caller");
            rig.caller.does(Received::End(end));
        });
        assert_eq!(took.await, (vec![], false), "it receives no end");
        assert!(began.elapsed() < COMPLETE);
    });
}
