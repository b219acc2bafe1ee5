//! An empty head that waits for what comes behind it.
//!
//! Kitex sends a Header before every Trailer, also when its handler fails at once. Toward a gRPC
//! caller such an end is Trailers-Only, and its library may then retry. So the head waits: for one
//! turn of the task, then for a moment. A message lets it pass at once.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use crate::stream::ResponseHead;

/// How long a head waits, after one turn.
pub(super) const WAIT: Duration = Duration::from_millis(1);

pub(super) struct WaitingHead {
    pub(super) head: ResponseHead,
    has_yielded: bool,
    /// Most heads need none.
    timer: Option<Pin<Box<Sleep>>>,
}

impl WaitingHead {
    pub(super) const fn new(head: ResponseHead) -> Self {
        Self {
            head,
            has_yielded: false,
            timer: None,
        }
    }

    /// Ready when it has waited long enough.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !std::mem::replace(&mut self.has_yielded, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(WAIT)));
        timer.as_mut().poll(cx)
    }
}
