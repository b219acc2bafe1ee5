//! A stream that is over: its end is decided, and the caller has to be told. Also the whole way of a
//! stream for which no callee was opened.

use std::future::poll_fn;
use std::time::Duration;

use super::{Outcome, Settlement, Transferred, settle};
use crate::stream::{End, Inbound};

/// How long a refusal waits for the caller's first frame behind its head.
pub(super) const BEGIN: Duration = Duration::from_millis(5);

/// Ends a stream for which no callee was opened: only the caller receives the end. It waits for
/// `BEGIN` at most until the caller can take it.
pub async fn refuse(inbound: &mut impl Inbound, end: Box<End>, node: &str) -> Box<Outcome> {
    let settled = Settled::of(settle(*end, node, false));
    if settled.tell_caller {
        let begun = poll_fn(|cx| inbound.poll_begun(cx));
        // A caller that sends nothing behind its head receives the end all the same.
        let _ = Box::pin(tokio::time::timeout(BEGIN, begun)).await;
    }
    settled.tell(inbound, node, Default::default())
}

/// A stream that is over, of which the caller may not know yet.
pub(super) struct Settled {
    pub(super) tell_caller: bool,
    /// In a box: the task of each stream has room for what it holds while it waits.
    outcome: Box<Outcome>,
}

impl Settled {
    pub(super) fn of(settlement: Settlement) -> Self {
        Self {
            tell_caller: settlement.tell_caller,
            outcome: Box::new(Outcome {
                end: settlement.end,
                native_code: None,
                request: Transferred::default(),
                response: Transferred::default(),
            }),
        }
    }

    /// Tells the caller, if it has to be told.
    pub(super) fn tell(
        self,
        inbound: &mut impl Inbound,
        node: &str,
        (request, response): (Transferred, Transferred),
    ) -> Box<Outcome> {
        let mut outcome = self.outcome;
        if self.tell_caller {
            outcome.native_code = inbound.finish(&outcome.end, node);
        }
        (outcome.request, outcome.response) = (request, response);
        outcome
    }
}
