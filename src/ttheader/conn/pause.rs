//! Why a connection is not read, until when, and which stream is to blame.
//!
//! Owns the decision only; the connection's task acts on it.

use std::rc::Rc;
use std::task::Context;

use tokio::time::Instant;

use crate::ttheader::conn::config::count;
use crate::ttheader::conn::shared::Shared;
use crate::ttheader::conn::slot::Slot;
use crate::ttheader::state::Role;

#[derive(Debug)]
enum Cause {
    /// One stream holds too much.
    Stream(Rc<Slot>),
    /// The streams of this connection do.
    Connection,
    /// The process does.
    Process,
}

#[derive(Debug)]
pub(crate) struct Pause {
    cause: Cause,
    since: Instant,
    /// Whether other streams were waiting when `since` was set.
    shared: bool,
}

impl Pause {
    /// Whether the message just taken was one too many.
    pub(crate) fn when_over(shared: &Shared, over: Option<Rc<Slot>>) -> Option<Self> {
        let cause = if let Some(slot) = over {
            Cause::Stream(slot)
        } else if shared.held() >= shared.config.connection_budget {
            Cause::Connection
        } else if shared.config.budget.is_over() {
            Cause::Process
        } else {
            return None;
        };
        count(&shared.config.counters.paused_reads);
        shared.progress.set(false);
        shared.paused.set(true);
        Some(Self {
            cause,
            since: Instant::now(),
            shared: is_shared(shared),
        })
    }

    /// Whether there is room again: half of what is allowed, so that a pause is not per message.
    pub(crate) fn is_over(&self, shared: &Shared, cx: &mut Context<'_>) -> bool {
        match &self.cause {
            Cause::Stream(slot) => {
                let inner = slot.inner.borrow();
                !inner.state.is_live() || inner.held <= shared.config.stream_budget / 2
            }
            Cause::Connection => shared.held() <= shared.config.connection_budget / 2,
            Cause::Process => {
                shared.settle();
                shared.config.budget.poll_room(cx).is_ready()
            }
        }
    }

    /// When the grace is over; `None` while nobody is known to suffer.
    pub(crate) fn deadline(&mut self, shared: &Shared) -> Option<Instant> {
        let others = is_shared(shared);
        let one_stream = matches!(self.cause, Cause::Stream(_));
        let progress = shared.progress.take() && !(one_stream && others);
        if progress || others != self.shared {
            self.since = Instant::now();
            self.shared = others;
        }
        let grace = if others || !one_stream {
            shared.config.slow_grace
        } else {
            match shared.role {
                Role::Server => shared.config.lone_grace,
                Role::Client => return None,
            }
        };
        Some(self.since + grace)
    }

    /// Starts the grace again.
    pub(crate) fn restart(&mut self) {
        self.since = Instant::now();
    }

    /// The stream that is to be ended.
    pub(crate) fn slowest(&self, shared: &Shared) -> Option<Rc<Slot>> {
        match &self.cause {
            Cause::Stream(slot) => Some(Rc::clone(slot)),
            Cause::Connection | Cause::Process => shared
                .slots
                .borrow()
                .values()
                .filter(|slot| slot.inner.borrow().held > 0)
                .max_by_key(|slot| slot.inner.borrow().held)
                .cloned(),
        }
    }
}

fn is_shared(shared: &Shared) -> bool {
    shared.slots.borrow().len() > 1
}
