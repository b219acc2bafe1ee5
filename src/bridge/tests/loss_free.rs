//! No order of steps loses an end, checked by properties. Knows no wire.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    CallerSends(usize),
    CalleeSends(usize),
    CallerTakes(usize),
    CalleeTakes(usize),
    HalfClose,
    CallerEnds,
    CalleeEnds,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0usize..6000).prop_map(Step::CallerSends),
        4 => (0usize..6000).prop_map(Step::CalleeSends),
        3 => (1usize..9000).prop_map(Step::CallerTakes),
        3 => (1usize..9000).prop_map(Step::CalleeTakes),
        1 => Just(Step::HalfClose),
        1 => Just(Step::CallerEnds),
        1 => Just(Step::CalleeEnds),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// In any order of events: messages arrive in order and whole, each side receives at most one
    /// terminal, and exactly one end wins. A callee's end comes after all its messages.
    #[test]
    fn ends_are_loss_free_in_any_order(steps in steps()) {
        let steps = &steps;
        local(async || {
            let rig = start(2000, 2000, StreamTimeouts::default());
            let (mut up, mut down) = (Vec::new(), Vec::new());
            let (mut caller_done, mut callee_done, mut closed) = (false, false, false);
            for (i, step) in steps.iter().enumerate() {
                let payload = |len: usize| (0..len).map(|k| (k + i) as u8).collect::<Vec<u8>>();
                match step {
                    Step::CallerSends(len) if !closed && !caller_done => {
                        rig.caller.sends(&payload(*len));
                        up.push(payload(*len));
                    }
                    Step::CalleeSends(len) if !callee_done => {
                        rig.callee.sends(&payload(*len));
                        down.push(payload(*len));
                    }
                    Step::CallerTakes(room) => rig.caller.takes(*room),
                    Step::CalleeTakes(room) => rig.callee.takes(*room),
                    Step::HalfClose if !closed && !caller_done => {
                        closed = true;
                        rig.caller.does(Received::HalfClose);
                    }
                    Step::CallerEnds if !caller_done => {
                        caller_done = true;
                        rig.caller.does(Received::End(cancel(Initiator::Caller, "A")));
                    }
                    Step::CalleeEnds if !callee_done => {
                        callee_done = true;
                        rig.callee.does(Received::End(End::complete(Metadata::new())));
                    }
                    _ => {}
                }
                settled().await;
            }
            if !caller_done && !callee_done {
                rig.callee.does(Received::End(End::complete(Metadata::new())));
            }
            rig.caller.takes(1_000_000);
            rig.callee.takes(1_000_000);
            let (caller, callee) = (rig.caller.clone(), rig.callee.clone());
            let outcome = rig.outcome().await;
            assert!(up.starts_with(&callee.heard().messages));
            assert!(down.starts_with(&caller.heard().messages));
            match outcome.end.by {
                Initiator::Callee => {
                    assert_eq!(caller.heard().messages, down);
                    assert_eq!(caller.heard().ends.len(), 1);
                    assert!(callee.heard().cancels.is_empty());
                }
                Initiator::Caller => {
                    assert!(caller.heard().ends.is_empty());
                    assert!(callee.heard().cancels.len() <= 1);
                }
                Initiator::Hop => panic!("the hop had no reason to end"),
            }
        });
    }
}
