//! Why a connection is not read, until when, and which stream causes it.
//!
//! This only decides. The connection's task acts on the decision.

use std::rc::Rc;
use std::task::Context;

use tokio::time::Instant;

use crate::wire::ttheader::conn::config::count;
use crate::wire::ttheader::conn::shared::SharedConnection;
use crate::wire::ttheader::conn::slot::StreamSlot;
use crate::wire::ttheader::state::Role;

/// Bytes that a connection may hold even when the process is full.
const SMALL: usize = 16 * 1024;

#[derive(Debug)]
enum Cause {
    /// One stream holds too much.
    Stream(Rc<StreamSlot>),
    /// The streams of this connection together hold too much.
    Connection,
    /// The process holds too much.
    Process,
    /// The process holds too much, and a frame is half received. Its buffer must not grow.
    Assembling,
}

#[derive(Debug)]
pub(crate) struct Pause {
    cause: Cause,
    since: Instant,
    /// Whether other streams were open when `since` was set.
    shared: bool,
}

impl Pause {
    /// The pause that the last message causes, if it went over a budget.
    pub(crate) fn when_over(
        shared: &SharedConnection,
        over: Option<Rc<StreamSlot>>,
    ) -> Option<Self> {
        let cause = if let Some(slot) = over {
            Cause::Stream(slot)
        } else if shared.held() >= shared.config.connection_budget {
            Cause::Connection
        } else if shared.held() > SMALL && shared.config.budget.is_over() {
            Cause::Process
        } else {
            return None;
        };
        Some(Self::new(shared, cause))
    }

    /// The pause of a half-received frame that has to wait for room in the process.
    pub(crate) fn when_assembling(shared: &SharedConnection) -> Option<Self> {
        shared.settle_budget();
        let over = shared.config.budget.is_over();
        over.then(|| Self::new(shared, Cause::Assembling))
    }

    fn new(shared: &SharedConnection, cause: Cause) -> Self {
        count(&shared.config.counters.paused_reads);
        shared.progress.set(false);
        shared.paused.set(true);
        // What was taken so far has to be visible to other connections that wait.
        shared.settle_budget();
        Self {
            cause,
            since: Instant::now(),
            shared: is_shared(shared),
        }
    }

    /// Whether there is room again: half of what is allowed, so that there is not a pause per
    /// message.
    pub(crate) fn is_over(&self, shared: &SharedConnection, cx: &mut Context<'_>) -> bool {
        match &self.cause {
            Cause::Stream(slot) => {
                let inner = slot.inner.borrow();
                !inner.state.is_live() || inner.held <= shared.config.stream_budget / 2
            }
            Cause::Connection => shared.held() <= shared.config.connection_budget / 2,
            // A connection that holds little does not have to wait for those that hold more.
            Cause::Process if shared.held() <= SMALL => true,
            Cause::Process | Cause::Assembling => {
                shared.settle_budget();
                shared.config.budget.poll_room(cx).is_ready()
            }
        }
    }

    /// When the grace is over; `None` while nobody is known to suffer. That the process' budget is
    /// used up may be learned later. So a far deadline has to be asked for again.
    pub(crate) fn deadline(&mut self, shared: &SharedConnection) -> Option<Instant> {
        let others = is_shared(shared);
        let one_stream = matches!(self.cause, Cause::Stream(_));
        let progress = shared.progress.take() && !(one_stream && others);
        if progress || others != self.shared {
            self.since = Instant::now();
            self.shared = others;
        }
        let grace = if others || !one_stream || shared.config.budget.is_over() {
            shared.config.slow_receiver_timeout
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

    /// Whether enough streams elsewhere in the process are being ended already.
    pub(crate) fn is_helped(&self, shared: &SharedConnection) -> bool {
        let config = &shared.config;
        let for_process = match &self.cause {
            Cause::Process | Cause::Assembling => true,
            Cause::Stream(_) => !is_shared(shared),
            Cause::Connection => false,
        };
        for_process && config.budget.is_over() && config.budget.excess() == 0
    }

    /// Whether the half-received frame has to go when no stream holds more.
    pub(crate) fn is_assembling(&self) -> bool {
        matches!(self.cause, Cause::Assembling)
    }

    /// The stream that has to be ended.
    pub(crate) fn slowest(&self, shared: &SharedConnection) -> Option<Rc<StreamSlot>> {
        match &self.cause {
            Cause::Stream(slot) => Some(Rc::clone(slot)),
            Cause::Connection | Cause::Process | Cause::Assembling => shared
                .slots
                .borrow()
                .values()
                .filter(|slot| slot.inner.borrow().held > 0)
                .max_by_key(|slot| slot.inner.borrow().held)
                .cloned(),
        }
    }
}

fn is_shared(shared: &SharedConnection) -> bool {
    shared.slots.borrow().len() > 1
}
