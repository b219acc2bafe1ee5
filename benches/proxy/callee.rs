//! What both echo servers report to the measurements: how many streams are open, when a message
//! arrived, and the wire event that canceled a stream. Holds the pacer of their paced streams.
//! Knows no wire.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::pace::Pacer;

/// The first thing a callee saw of a caller's cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// RST_STREAM(CANCEL) or a Rst frame: what was sent.
    Cancel,
    /// RST_STREAM with this other code.
    OtherReset(u32),
    /// A clean half-close: the cancel was lost or is still to come.
    HalfClose,
    /// The connection ended, with every stream on it.
    ConnectionLost,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancel => f.write_str("cancel"),
            Self::OtherReset(code) => write!(f, "a reset with code {code}"),
            Self::HalfClose => f.write_str("half-close"),
            Self::ConnectionLost => f.write_str("connection lost"),
        }
    }
}

/// Shared by the echo servers and the measurements of one process.
#[derive(Default)]
pub(crate) struct Callee {
    active: Cell<usize>,
    changed: Notify,
    last: RefCell<Option<(Instant, Ended)>>,
    ended: Notify,
    watched: Cell<bool>,
    arrived: Cell<Option<Instant>>,
    /// Sends what `Tokens` streams are due.
    pub(crate) pacer: Rc<Pacer>,
}

impl Callee {
    /// Keeps the time of the next message; see [`Self::arrived`].
    pub(crate) fn watch(&self) {
        self.watched.set(true);
        self.arrived.set(None);
    }

    /// Called for each message (or piece of one) by the echo servers.
    pub(crate) fn message(&self) {
        if self.watched.replace(false) {
            self.arrived.set(Some(Instant::now()));
        }
    }

    /// When the first message since [`Self::watch`] came.
    pub(crate) fn arrived(&self) -> Option<Instant> {
        self.arrived.get()
    }

    /// Counts a stream for as long as the guard lives.
    pub(crate) fn enter(self: &Rc<Self>) -> Active {
        self.active.set(self.active.get() + 1);
        self.changed.notify_waiters();
        Active(Rc::clone(self))
    }

    /// Records how a stream ended; only the first since [`Self::forget`] counts.
    pub(crate) fn record(&self, how: Ended) {
        let mut last = self.last.borrow_mut();
        if last.is_none() {
            *last = Some((Instant::now(), how));
            self.ended.notify_one();
        }
    }

    /// Makes room for the next end.
    pub(crate) fn forget(&self) {
        *self.last.borrow_mut() = None;
    }

    /// The next end, or `None` if it does not come in time.
    pub(crate) async fn ended(&self, patience: Duration) -> Option<(Instant, Ended)> {
        let wait = async {
            loop {
                let last = *self.last.borrow();
                match last {
                    Some(end) => return end,
                    None => self.ended.notified().await,
                }
            }
        };
        tokio::time::timeout(patience, wait).await.ok()
    }

    /// Waits until the number of streams satisfies `wanted`; false if that takes too long.
    pub(crate) async fn reaches(&self, wanted: impl Fn(usize) -> bool, patience: Duration) -> bool {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                if wanted(self.active.get()) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(patience, wait).await.is_ok()
    }

    pub(crate) fn active(&self) -> usize {
        self.active.get()
    }
}

/// One live stream of an echo server.
pub(crate) struct Active(Rc<Callee>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get().saturating_sub(1));
        self.0.changed.notify_waiters();
    }
}
