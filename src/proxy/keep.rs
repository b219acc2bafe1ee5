//! Which requests are kept so that their streams can be opened again, and where that memory is
//! counted.

use std::rc::Rc;

use crate::bridge::{Keep, Room};
use crate::context::Context;
use crate::stream::{Outbound as _, Refusable, RequestHead};
use crate::wire::OutboundStream;

/// What is kept of a request that was just opened. `None` when it can never be opened again. Takes
/// the head out of `head` otherwise.
pub(super) fn keep(
    context: &Context,
    outbound: &OutboundStream,
    head: &mut RequestHead,
) -> Option<Keep> {
    let limit = context.process.limits.retry_buffer;
    if limit == 0 || outbound.refusable() == Refusable::No {
        return None;
    }
    Some(Keep {
        head: std::mem::take(head),
        limit,
        room: Rc::clone(&context.kept) as Rc<dyn Room>,
    })
}
