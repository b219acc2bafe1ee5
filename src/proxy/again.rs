//! Streams that are opened again: which requests are kept for it, where that memory is counted, and
//! the second opening.

use std::pin::pin;
use std::rc::Rc;
use std::task;

use super::{Stream, before, listen_while};
use crate::bridge::{Early, Kept, Outcome, PreparedStream, Refused, Room};
use crate::context::Context;
use crate::stream::{Inbound, Initiator, Outbound as _, RequestHead};
use crate::wire::OutboundStream;

/// Keeps a request that was just opened. `None` when it can never be opened again.
pub(super) fn keep(
    context: &Context,
    outbound: &OutboundStream,
    head: Box<RequestHead>,
) -> Option<Rc<Kept>> {
    let limit = context.process.limits.retry_buffer;
    let room = || Rc::clone(&context.kept) as Rc<dyn Room>;
    (limit > 0 && outbound.refusable()).then(|| Kept::new(head, limit, room()))
}

impl<I: Inbound> Stream<I> {
    /// Opens the stream once more, since the callee did not look at it: on another endpoint where
    /// there is a good one, otherwise on another connection. The error is how the stream went when
    /// that fails: the caller receives the end of this attempt, as that of a first one.
    pub(super) async fn open_again(
        &mut self,
        mut refused: Box<Refused>,
        outbound: OutboundStream,
    ) -> Result<(OutboundStream, PreparedStream), Box<Outcome>> {
        let context = Rc::clone(&self.entry.context);
        let deadline = refused.deadline().cloned();
        let (Some(route), Some(endpoint), Some(mut head)) = (
            self.route.clone(),
            self.endpoint.take(),
            refused.take_head(),
        ) else {
            let end = refused.end().clone();
            let outcome = refused.finish(&mut *self.inbound, end, &context.process.node);
            return Err(outcome);
        };
        self.record.retried();
        let from = endpoint.address();
        endpoint.ended_by(Initiator::Callee);
        let refusing = outbound.connection();
        // It gives its place back: the next attempt may need that one.
        drop(outbound);
        let until = deadline.as_ref().map(|deadline| deadline.at);
        let pool = &context.pool;
        let opening = pool.open_again(&route.backend, &mut head, until, from, refusing);
        let waits_for = || context.pool.waits_for(&route.backend);
        let opening = before(deadline.as_ref(), waits_for, opening);
        let mut early = Early::default();
        let (inbound, switch) = (&mut *self.inbound, &self.switch.0);
        // Its clocks go on, and the caller's messages count as they do otherwise.
        let limits = |cx: &mut task::Context<'_>, early: &Early| refused.poll_limits(cx, early);
        match listen_while(inbound, &mut early, switch, limits, pin!(opening)).await {
            Ok((outbound, endpoint)) => {
                self.record.connected(endpoint.address());
                self.endpoint = Some(endpoint);
                Ok((outbound, refused.again(early)))
            }
            Err(end) => {
                let node = &context.process.node;
                let end = match &deadline {
                    Some(deadline) => deadline.recognize(*end, node),
                    None => *end,
                };
                Err(refused.finish(inbound, end, node))
            }
        }
    }
}
