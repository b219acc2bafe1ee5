//! What happens after the callee's end. Knows no wire.

use super::*;

#[test]
fn what_the_caller_sends_after_the_callees_end_is_dropped_and_released() {
    local(async || {
        let rig = start(8, 0, StreamTimeouts::default());
        rig.caller.sends(b"not taken");
        settled().await;
        assert_eq!(rig.caller.heard().released, 0);
        rig.callee.sends(b"an answer that waits for the caller");
        rig.callee
            .does(Received::End(End::complete(Metadata::new())));
        settled().await;
        rig.caller.sends(b"late");
        settled().await;
        assert_eq!(rig.caller.heard().released, (5 + 9) + (5 + 4));
        rig.caller.takes(usize::MAX / 2);
        let caller = rig.caller.clone();
        let outcome = rig.outcome().await;
        assert_eq!(outcome.end.reason, Reason::Complete);
        assert_eq!(caller.heard().messages.len(), 1);
    });
}
