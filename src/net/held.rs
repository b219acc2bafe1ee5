//! What the streams of one HTTP/2 connection hold: bytes received and not yet taken by the other
//! side, whose window capacity is withheld.
//!
//! Stalled streams share a connection's window with live ones. When most of it is held, the streams
//! that took nothing for `slow_receiver_timeout` are ended, the largest first, until half is free again; the
//! others go on. The same when the process' budget is used up; meanwhile a connection that holds
//! anything is not read ([`Held::poll_gate`]), since windows bound each connection but not all.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::task::spawn_local;

use crate::net::budget::Budget;

/// How far the process' budget may lag behind one connection (an atomic that all threads write
/// would cost more per message than the message), and what a connection may hold however full the
/// process is.
const GRAIN: usize = 16 * 1024;

/// Entries for which a table without any keeps its room.
const KEPT: usize = 1024;

/// How often within `slow_receiver_timeout` the streams of a connection are looked at.
const TICKS: u32 = 4;

/// The account of one connection.
#[derive(Debug)]
pub struct Held {
    /// The connection's window, in bytes.
    limit: usize,
    grain: usize,
    slow_receiver_timeout: Duration,
    budget: Arc<Budget>,
    /// Streams that were ended for being slow.
    ended: Arc<AtomicU64>,
    held: Cell<usize>,
    /// What of `held` gave its window capacity back already.
    prepaid: Cell<usize>,
    /// Bytes read from the socket that no stream has charged yet.
    arrived: Cell<usize>,
    /// What of both the process' budget knows.
    charged: Cell<usize>,
    streams: RefCell<Slab<Rc<Stream>>>,
    watched: Cell<bool>,
    /// The connection's task, when its reading waits for the budget.
    gate: RefCell<Option<Waker>>,
}

#[derive(Debug, Default)]
struct Stream {
    held: Cell<usize>,
    prepaid: Cell<usize>,
    /// Bytes ever taken: tells whether there was progress.
    taken: Cell<usize>,
    /// `taken` at the last look, and at how many looks in a row it held bytes and took none.
    seen: Cell<usize>,
    stalled: Cell<u32>,
    /// It is being ended for being slow; what it held then.
    slow: Cell<Option<usize>>,
    waker: RefCell<Option<Waker>>,
}

/// The account of one stream; what it holds is given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    connection: Rc<Held>,
    key: usize,
    stream: Rc<Stream>,
}

impl Held {
    /// An account for a connection whose window is `limit` bytes.
    #[must_use]
    pub fn new(
        limit: usize,
        slow_receiver_timeout: Duration,
        budget: Arc<Budget>,
        ended: Arc<AtomicU64>,
    ) -> Rc<Self> {
        Rc::new(Self {
            limit,
            grain: GRAIN.min(budget.limit() / 64),
            slow_receiver_timeout,
            budget,
            ended,
            held: Cell::new(0),
            prepaid: Cell::new(0),
            arrived: Cell::new(0),
            charged: Cell::new(0),
            streams: RefCell::default(),
            watched: Cell::new(false),
            gate: RefCell::default(),
        })
    }

    /// Opens the account of a stream.
    #[must_use]
    pub fn share(self: &Rc<Self>) -> Share {
        let stream = Rc::new(Stream::default());
        let key = self.streams.borrow_mut().insert(Rc::clone(&stream));
        Share {
            connection: Rc::clone(self),
            key,
            stream,
        }
    }

    /// Bytes held now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.held.get()
    }

    /// Bytes whose window capacity is withheld.
    fn withheld(&self) -> usize {
        self.held.get() - self.prepaid.get()
    }

    /// Whether the connection may be read. Not while the process' budget is used up and this
    /// connection holds a good part of it; one that holds little is read, for its windows and ends
    /// and so that its live streams go on.
    pub fn poll_gate(&self, cx: &mut Context<'_>) -> Poll<()> {
        let held = self.held.get() > self.grain;
        if !held && self.arrived.get() <= self.grain || !self.budget.is_over() {
            return Poll::Ready(());
        }
        if !held {
            // The streams charge what arrived when their tasks run, before this one runs again.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        *self.gate.borrow_mut() = Some(cx.waker().clone());
        self.budget.poll_room(cx)
    }

    /// `bytes` were read from the socket, for whatever stream.
    pub fn arrived(&self, bytes: usize) {
        self.arrived.set(self.arrived.get() + bytes);
        self.settle();
    }

    /// Whether so much arrived that the connection's task is to run again after the streams' tasks.
    #[must_use]
    pub fn is_lagging(&self) -> bool {
        self.arrived.get() >= self.grain
    }

    /// Every stream's task had its turn: what is not charged now was no message.
    pub fn begin_poll(&self) {
        if self.arrived.take() > 0 {
            self.settle();
        }
    }

    fn is_crowded(&self) -> bool {
        self.withheld() > self.limit / 4 * 3 || self.budget.is_pressed()
    }

    fn set(&self, held: usize) {
        self.held.set(held);
        if held == 0 {
            // What else arrived is charged by its stream, or was no message.
            self.arrived.set(0);
        }
        if held <= self.grain
            && let Some(waker) = self.gate.take()
        {
            waker.wake();
        }
        self.settle();
    }

    fn settle(&self) {
        let now = self.held.get() + self.arrived.get();
        let charged = self.charged.get();
        if now >= charged + self.grain {
            self.budget.charge(now - charged);
        } else if charged >= now + self.grain || now == 0 {
            self.budget.credit(charged - now);
        } else {
            return;
        }
        self.charged.set(now);
    }

    /// Looks at the streams for as long as anything is held: whoever stalls while there is room is
    /// in the way once there is none.
    fn watch(self: &Rc<Self>) {
        if self.watched.replace(true) {
            return;
        }
        let held = Rc::clone(self);
        spawn_local(async move {
            while held.held.get() > 0 {
                tokio::time::sleep(held.slow_receiver_timeout / TICKS).await;
                held.look();
                if held.is_crowded() {
                    held.end_slow();
                }
            }
            held.watched.set(false);
        });
    }

    fn look(&self) {
        for (_, stream) in self.streams.borrow().iter() {
            let taken = stream.taken.get();
            let stalls = stream.held.get() > 0 && stream.seen.replace(taken) == taken;
            let stalled = if stalls { stream.stalled.get() + 1 } else { 0 };
            stream.stalled.set(stalled);
        }
    }

    /// Ends the streams that took nothing for the grace, the largest first.
    fn end_slow(&self) {
        let streams = self.streams.borrow();
        let mut stalled: Vec<&Rc<Stream>> = streams
            .iter()
            .map(|(_, stream)| stream)
            // The first look says only where it stood.
            .filter(|s| s.stalled.get() > TICKS && s.slow.get().is_none())
            .collect();
        stalled.sort_by_key(|s| std::cmp::Reverse(s.held.get()));
        let full = self.withheld() > self.limit / 4 * 3;
        let (mut left, mut withheld) = (self.held.get(), self.withheld());
        for stream in stalled {
            let crowded = full && withheld > self.limit / 2;
            if !crowded && (left <= self.grain || self.budget.excess() == 0) {
                break;
            }
            let held = stream.held.get();
            left = left.saturating_sub(held);
            withheld = withheld.saturating_sub(held - stream.prepaid.get());
            stream.slow.set(Some(held));
            self.budget.begin_end(held);
            self.ended.fetch_add(1, Ordering::Relaxed);
            if let Some(waker) = stream.waker.borrow().as_ref() {
                waker.wake_by_ref();
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.credit(self.charged.get());
    }
}

impl Share {
    /// `bytes` were received.
    pub fn charge(&self, bytes: usize) {
        let connection = &self.connection;
        self.stream.held.set(self.stream.held.get() + bytes);
        let arrived = connection.arrived.get();
        connection.arrived.set(arrived.saturating_sub(bytes));
        connection.set(connection.held.get() + bytes);
        if bytes > 0 {
            connection.watch();
        }
    }

    /// Of what is held, `bytes` more give their window capacity back though nobody took them: they
    /// stay in memory, but hold no other stream up.
    pub fn prepay(&self, bytes: usize) {
        let bytes = bytes.min(self.stream.held.get() - self.stream.prepaid.get());
        self.add_prepaid(bytes.cast_signed());
    }

    fn add_prepaid(&self, bytes: isize) {
        for of in [&self.stream.prepaid, &self.connection.prepaid] {
            of.set(of.get().saturating_add_signed(bytes));
        }
    }

    /// Bytes that this stream holds.
    #[must_use]
    pub fn held(&self) -> usize {
        self.stream.held.get()
    }

    /// `bytes` were taken, of which `prepaid` had given their capacity back before.
    pub fn credit(&self, bytes: usize, prepaid: usize) {
        let bytes = bytes.min(self.stream.held.get());
        let prepaid = prepaid.min(self.stream.prepaid.get());
        self.add_prepaid(-prepaid.cast_signed());
        self.stream.held.set(self.stream.held.get() - bytes);
        self.stream
            .taken
            .set(self.stream.taken.get().wrapping_add(bytes));
        self.connection.set(self.connection.held.get() - bytes);
    }

    /// Ready when the stream is to be ended for being slow.
    pub fn poll_slow(&self, cx: &Context<'_>) -> Poll<()> {
        if self.stream.slow.get().is_some() {
            return Poll::Ready(());
        }
        let mut waker = self.stream.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut streams = self.connection.streams.borrow_mut();
        streams.try_remove(self.key);
        if streams.is_empty() && streams.capacity() > KEPT {
            *streams = Slab::new();
        }
        drop(streams);
        let held = self.stream.held.get();
        self.add_prepaid(-self.stream.prepaid.get().cast_signed());
        self.connection.set(self.connection.held.get() - held);
        if let Some(ending) = self.stream.slow.get() {
            self.connection.budget.finish_end(ending);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::testing::local;

    fn account(limit: usize, budget: &Arc<Budget>) -> (Rc<Held>, Arc<AtomicU64>) {
        let ended = Arc::new(AtomicU64::new(0));
        (
            Held::new(
                limit,
                Duration::from_secs(1),
                Arc::clone(budget),
                Arc::clone(&ended),
            ),
            ended,
        )
    }

    #[test]
    fn only_the_stalled_streams_of_a_crowded_connection_are_ended() {
        local(async || {
            let budget = Budget::new(usize::MAX);
            let (held, ended) = account(1000, &budget);
            let (large, small, live) = (held.share(), held.share(), held.share());
            large.charge(600);
            small.charge(100);
            live.charge(200);
            let progress = async {
                loop {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    live.credit(1, 0);
                    live.charge(1);
                }
            };
            tokio::select! {
                () = poll_fn(|cx| large.poll_slow(cx)) => {}
                () = progress => {}
            }
            assert_eq!(ended.load(Ordering::Relaxed), 1);
            let polled = poll_fn(|cx| Poll::Ready((small.poll_slow(cx), live.poll_slow(cx)))).await;
            assert_eq!(polled, (Poll::Pending, Poll::Pending));
            drop(large);
            assert_eq!(held.bytes(), 300);
        });
    }

    #[test]
    fn a_connection_with_room_ends_nobody() {
        local(async || {
            let budget = Budget::new(usize::MAX);
            let (held, ended) = account(1000, &budget);
            let share = held.share();
            share.charge(700);
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(ended.load(Ordering::Relaxed), 0);
        });
    }

    #[test]
    fn what_withholds_no_window_crowds_no_connection() {
        local(async || {
            let budget = Budget::new(1_000_000);
            let (held, ended) = account(1000, &budget);
            let share = held.share();
            // A large message that takes its time to arrive.
            share.charge(700);
            share.prepay(700);
            share.charge(700);
            share.prepay(700);
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(ended.load(Ordering::Relaxed), 0);
            assert_eq!((held.bytes(), held.withheld()), (1400, 0));
            // It counts for the process all the same.
            share.charge(1_000_000);
            share.prepay(1_000_000);
            poll_fn(|cx| share.poll_slow(cx)).await;
            share.credit(1_000_700, 1_000_700);
            assert_eq!((held.bytes(), held.withheld()), (700, 0));
            drop(share);
            assert_eq!((held.bytes(), held.withheld()), (0, 0));
            assert!(budget.used() < GRAIN, "{}", budget.used());
        });
    }

    #[test]
    fn the_process_budget_counts_what_is_held_and_gets_it_back() {
        local(async || {
            let budget = Budget::new(500_000);
            let (held, ended) = account(10_000_000, &budget);
            let share = held.share();
            share.charge(600_000);
            assert_eq!(budget.used(), 600_000);
            poll_fn(|cx| share.poll_slow(cx)).await;
            assert_eq!(ended.load(Ordering::Relaxed), 1);
            drop(share);
            assert_eq!(budget.used(), 0);
            drop(held);
            assert_eq!(budget.used(), 0);
        });
    }
}
