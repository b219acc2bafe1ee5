//! Small DATA frames that a peer's application may not have read yet.
//!
//! `h2` 0.4.16 to 0.4.18 give each connection a budget of 25,600 (`proto/streams/counts.rs`). A
//! DATA frame under 256 bytes takes 256 less its length out of it until the application has read
//! the frame; a longer one puts its length less 256 back, read or not. Padding does not count, nor
//! does a frame that ends its stream (since 0.4.17). A frame for which nothing is left ends the
//! connection (GOAWAY `too_many_data_frames`) with all its streams. Later versions bear half the
//! connection's window, or as much as these if that is more.
//!
//! Nothing on the wire says what an application has read: WINDOW_UPDATE comes after a third of the
//! window, hundreds of kilobytes, and the layer itself answers PING. So an [`Unread`] counts, for a
//! peer that is known to have the small budget:
//!
//! - A message of the peer on a stream counts as proof that it has read all of that stream. So
//!   request and response never wait.
//! - What was sent `READ_WITHIN` ago, or twice as long at most, counts as read. So no stream
//!   waits for ever.
//! - Half the budget is for streams that have nothing unread: their first small frame leaves at
//!   once.
//! - What a stream has to send while it waits comes together, and leaves when it is 256 bytes.
//!
//! No rule is exact. An application that reads nothing for longer, or that sends messages and reads
//! none, still loses its connection. Frames that come after it has finished a stream early are
//! never given back (`recv_data` on a stream without a reader), and are not counted here. A rule
//! for all peers would make streams wait that are read, so who bears the frames has to be known:
//! `net/http2/probe.rs` asks, and a complaint says so.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::net::connection::Pace;

/// A DATA frame of so many bytes is not small.
pub const SMALL: usize = 256;

/// What the peers bear, less what was sent as small frames and not read.
const BUDGET: usize = 25_600;

/// The largest frames that are sent (`SETTINGS_MAX_FRAME_SIZE` of these peers, its least value).
const FRAME: usize = 16_384;

/// How long an application may leave frames unread.
const READ_WITHIN: Duration = Duration::from_secs(1);

/// How many streams of one connection have their first small frame without waiting, whatever the
/// others do.
pub const STREAMS: usize = BUDGET / 2 / SMALL;

/// The account of one connection.
#[derive(Debug, Default)]
pub struct Unread {
    /// Whether anything is counted; nothing is toward callers.
    pace: OnceCell<Arc<dyn Pace>>,
    /// The number of this period. What is older than the one before counts as read.
    period: Cell<u32>,
    began: Cell<Option<Instant>>,
    /// Unread of the period before, and of this one.
    old: Cell<usize>,
    new: Cell<usize>,
    waiting: RefCell<BTreeMap<Place, Waker>>,
    next: Cell<u64>,
}

/// Streams that have nothing unread come first; then those that came first.
type Place = (bool, u64);

/// What is unread of one stream.
#[derive(Debug, Default)]
pub(super) struct Part {
    period: u32,
    old: usize,
    new: usize,
    waits: Option<(Place, Pin<Box<Sleep>>)>,
}

impl Unread {
    /// Counts from now on while `pace` says that the peer bears few small frames.
    pub(super) fn follow(&self, pace: Arc<dyn Pace>) {
        let _ = self.pace.set(pace);
    }

    /// Whether small frames are counted.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.pace.get().is_some_and(|pace| pace.bears_few())
    }

    /// Ready when a stream may send `len` bytes; wakes its task otherwise when it may.
    pub(super) fn poll_room(&self, part: &mut Part, len: usize, cx: &mut Context<'_>) -> Poll<()> {
        if len >= SMALL || self.fits(part, len) {
            self.stop_waiting(part);
            return Poll::Ready(());
        }
        loop {
            self.age();
            if self.fits(part, len) {
                self.stop_waiting(part);
                return Poll::Ready(());
            }
            let (place, timer) = part.waits.get_or_insert_with(|| {
                let number = self.next.replace(self.next.get() + 1);
                let until = self.began.get().unwrap_or_else(Instant::now) + READ_WITHIN;
                let sleep = Box::pin(tokio::time::sleep_until(until));
                ((part.old + part.new > 0, number), sleep)
            });
            self.waiting.borrow_mut().insert(*place, cx.waker().clone());
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.stop_waiting(part);
        }
    }

    /// A stream has sent `len` bytes at once.
    pub(super) fn sent(&self, part: &mut Part, len: usize) {
        let last = len % FRAME;
        let longest = len - last;
        self.put_back(longest - longest / FRAME * SMALL);
        match SMALL.checked_sub(last) {
            None => self.put_back(last - SMALL),
            Some(_) if last == 0 && len > 0 => {}
            Some(charge) => {
                if self.all() == 0 {
                    self.began.set(Some(Instant::now()));
                }
                self.settle(part);
                part.new += charge;
                self.new.set(self.new.get() + charge);
            }
        }
    }

    /// The stream's peer has read all, or the stream is over.
    pub(super) fn read(&self, part: &mut Part) {
        self.settle(part);
        let (old, new) = (part.old, part.new);
        if old + new > 0 {
            (part.old, part.new) = (0, 0);
            self.old.set(self.old.get().saturating_sub(old));
            self.new.set(self.new.get().saturating_sub(new));
            self.let_in((old + new).div_ceil(SMALL));
        }
    }

    /// The stream waits no longer.
    pub(super) fn stop_waiting(&self, part: &mut Part) {
        if let Some((place, _)) = part.waits.take() {
            self.waiting.borrow_mut().remove(&place);
        }
    }

    fn all(&self) -> usize {
        self.old.get() + self.new.get()
    }

    fn fits(&self, part: &mut Part, len: usize) -> bool {
        self.settle(part);
        let most = match part.old + part.new {
            0 => BUDGET,
            _ => BUDGET / 2,
        };
        self.all() + SMALL.saturating_sub(len) <= most
    }

    /// A long frame pays for small ones.
    fn put_back(&self, bytes: usize) {
        let old = self.old.get();
        self.old.set(old.saturating_sub(bytes));
        let rest = bytes.saturating_sub(old);
        self.new.set(self.new.get().saturating_sub(rest));
        if bytes > 0 {
            self.let_in(bytes.div_ceil(SMALL));
        }
    }

    fn let_in(&self, count: usize) {
        let mut waiting = self.waiting.borrow_mut();
        for _ in 0..count {
            let Some((_, waker)) = waiting.pop_first() else {
                break;
            };
            waker.wake();
        }
    }

    /// Begins a new period when this one is over.
    fn age(&self) {
        let Some(began) = self.began.get() else {
            return;
        };
        let now = Instant::now();
        let periods = match now.saturating_duration_since(began) {
            age if age >= READ_WITHIN * 2 => 2,
            age if age >= READ_WITHIN => 1,
            _ => return,
        };
        let new = self.new.replace(0);
        self.old.set(if periods == 1 { new } else { 0 });
        self.period.set(self.period.get().wrapping_add(periods));
        self.began.set(Some(now));
    }

    /// Forgets what counts as read by now.
    fn settle(&self, part: &mut Part) {
        let period = self.period.get();
        match period.wrapping_sub(std::mem::replace(&mut part.period, period)) {
            0 => {}
            1 => part.old = std::mem::take(&mut part.new),
            _ => (part.old, part.new) = (0, 0),
        }
    }
}

#[cfg(test)]
mod tests;
