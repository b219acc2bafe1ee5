//! What a connection's task and the halves of its streams share, on one thread.
//!
//! Three of its parts have a section each below. What comes in: the stream table. What goes out: the
//! write queue. What a half does. Two have a file: the account (`account`), and the cancels that
//! wait until their form is known (`form`). There is no socket and no timer here.
//!
//! Two rules are Kitex's: frames for a stream that is gone are normal (`transport_client.go`,
//! `transport_server.go`), and a Header comes before a Trailer, once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::time::Instant;

use crate::stream::{
    Cancel, End, Initiator, LocalEnd, LocalEndKind, MessageBatch, Processed, Received,
    ResponseHead, code,
};
use crate::wire::ttheader::conn::config::{ConnConfig, count};
use crate::wire::ttheader::conn::form::{PeerForm, Waiting};
use crate::wire::ttheader::conn::out::Out;
use crate::wire::ttheader::conn::slot::StreamSlot;
use crate::wire::ttheader::conn::template::Templates;
use crate::wire::ttheader::end::{self, EndContext, Terminal, TerminalKind};
use crate::wire::ttheader::frame::{Decoder, Frame, Kind};
use crate::wire::ttheader::metadata;
use crate::wire::ttheader::state::{FrameAction, Role};

/// How many bytes a stream that had to wait may write before the next one that waits.
const TURN: usize = 16 * 1024;

/// Capacity that an empty table may keep, in entries.
const KEPT: usize = 1024;

pub(crate) struct SharedConnection {
    pub(crate) config: Rc<ConnConfig>,
    pub(crate) role: Role,
    pub(crate) peer: PeerForm,
    /// Cancels that wait until the peer's form is known.
    pub(crate) waiting: RefCell<Option<Box<Waiting>>>,
    /// When a Rst was last sent.
    pub(crate) rst_sent: Cell<Option<Instant>>,
    pub(crate) out: RefCell<Out>,
    pub(crate) templates: Templates,
    pub(crate) slots: RefCell<FxHashMap<i32, Rc<StreamSlot>>>,
    waiters: RefCell<VecDeque<Rc<StreamSlot>>>,
    task: RefCell<Option<Waker>>,
    notified: Cell<bool>,
    /// Bytes that all streams hold.
    pub(super) held: Cell<usize>,
    /// Changes that the process' budget does not have yet.
    pub(super) unsettled: Cell<isize>,
    /// Halves that exist, so that a storm of short streams is bounded too.
    pub(crate) halves: Cell<usize>,
    /// No new streams. The connection ends when it is idle.
    pub(crate) closing: Cell<bool>,
    /// The peer is gone: nothing can be written.
    pub(crate) dead: Cell<bool>,
    /// When the peer was last sent the end of a stream.
    pub(crate) told: Cell<Option<Instant>>,
    /// Reading is paused, so a release has to be reported.
    pub(crate) paused: Cell<bool>,
    /// Something was released since reading paused.
    pub(crate) progress: Cell<bool>,
}

impl SharedConnection {
    pub(crate) fn new(config: Rc<ConnConfig>, role: Role, peer: PeerForm) -> Rc<Self> {
        Rc::new(Self {
            config,
            role,
            peer,
            waiting: RefCell::default(),
            rst_sent: Cell::new(None),
            out: RefCell::default(),
            templates: Templates::default(),
            slots: RefCell::default(),
            waiters: RefCell::default(),
            task: RefCell::default(),
            notified: Cell::new(false),
            held: Cell::new(0),
            unsettled: Cell::new(0),
            halves: Cell::new(0),
            closing: Cell::new(false),
            dead: Cell::new(false),
            told: Cell::new(None),
            paused: Cell::new(false),
            progress: Cell::new(false),
        })
    }

    /// The connection's task begins a poll.
    pub(crate) fn begin(&self, cx: &Context<'_>) {
        self.notified.set(false);
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
    }

    /// Has the connection's task polled once, after the tasks that are scheduled already.
    pub(crate) fn notify(&self) {
        if !self.notified.replace(true)
            && let Some(task) = self.task.borrow().as_ref()
        {
            task.wake_by_ref();
        }
    }

    pub(crate) fn find(&self, id: i32) -> Option<Rc<StreamSlot>> {
        self.slots.borrow().get(&id).cloned()
    }

    /// Adds a new stream to the stream table.
    pub(crate) fn add(&self, slot: &Rc<StreamSlot>) {
        self.slots.borrow_mut().insert(slot.id, Rc::clone(slot));
        self.halves.set(self.halves.get() + 1);
        self.owe(slot.cost() as isize);
    }

    /// Removes a closed stream from the stream table. Its half may still exist.
    pub(crate) fn forget(&self, slot: &Rc<StreamSlot>) {
        let mut slots = self.slots.borrow_mut();
        // The caller may have used the id again.
        if slots.get(&slot.id).is_some_and(|s| Rc::ptr_eq(s, slot)) {
            slots.remove(&slot.id);
        }
        if slots.is_empty() && slots.capacity() > KEPT {
            *slots = FxHashMap::default();
        }
        if slots.is_empty() || self.paused.get() {
            self.notify();
        }
    }

    // -- What comes in ---------------------------------------------------------------------

    /// Takes a message. Returns the stream if it is over its budget now.
    pub(crate) fn data(&self, id: i32, decoder: &mut Decoder) -> Option<Rc<StreamSlot>> {
        let slots = self.slots.borrow();
        let Some(slot) = slots.get(&id) else {
            count(&self.config.counters.late_frames);
            return None;
        };
        let mut inner = slot.inner.borrow_mut();
        if inner.state.recv_data() != FrameAction::Accept {
            count(&self.config.counters.late_frames);
            return None;
        }
        let before = inner.run.len();
        let pinned = decoder.take_data(&mut inner.run);
        let bytes = inner.run.len() - before;
        inner.held += bytes;
        inner.pinned += pinned;
        self.held.set(self.held.get() + bytes);
        self.owe(pinned as isize);
        inner.wake_recv();
        (inner.held >= self.config.stream_budget).then(|| Rc::clone(slot))
    }

    /// The peer ended the stream.
    pub(crate) fn peer_end(&self, slot: &Rc<StreamSlot>, end: End, overtakes: bool) {
        {
            let mut inner = slot.inner.borrow_mut();
            match inner.state.recv_end() {
                FrameAction::Accept => {
                    let dropped = inner.set_end(end, overtakes);
                    self.credit(&mut inner, dropped);
                }
                FrameAction::Late | FrameAction::Violation(_) => {
                    count(&self.config.counters.late_frames)
                }
            }
        }
        self.forget(slot);
    }

    /// This hop ends the stream itself. A callee is sent the end at once, a caller by the half's
    /// `finish`.
    pub(crate) fn reset_local(&self, slot: &Rc<StreamSlot>, kind: LocalEndKind, text: &str) {
        let hop = LocalEnd::new(kind, text);
        let cancel = hop.to_callee(&self.config.node);
        self.end_own(slot, hop, cancel);
    }

    /// The same for a second Header. The callee is sent Kitex's own code for it, which is more
    /// exact than the cause that the caller receives.
    pub(crate) fn second_header(&self, slot: &Rc<StreamSlot>, kind: LocalEndKind, text: &str) {
        let hop = LocalEnd::new(kind, text);
        let mut cancel = hop.to_callee(&self.config.node);
        if let Some(cancel) = &mut cancel {
            cancel.cause.code = code::UNEXPECTED_HEADER;
        }
        self.end_own(slot, hop, cancel);
    }

    fn end_own(&self, slot: &Rc<StreamSlot>, hop: LocalEnd, to_callee: Option<Cancel>) {
        {
            let mut inner = slot.inner.borrow_mut();
            if !inner.state.reset_local() {
                return;
            }
            let dropped = inner.set_end(End::hop(hop.kind, hop.text), true);
            self.credit(&mut inner, dropped);
        }
        if let (Role::Client, Some(cancel)) = (self.role, to_callee) {
            self.cancel(slot, &cancel);
        }
    }

    /// The stream will be ended for the memory that it holds.
    pub(crate) fn mark_for_eviction(&self, slot: &StreamSlot) {
        let mut inner = slot.inner.borrow_mut();
        let more = inner.pinned.saturating_sub(inner.ending);
        inner.ending += more;
        self.config.budget.begin_end(more);
    }

    /// The connection is lost. Every stream receives that as its end.
    pub(crate) fn lose_all(&self, text: &str) {
        let slots: Vec<_> = self.slots.borrow_mut().drain().map(|(_, s)| s).collect();
        if !slots.is_empty() {
            count(&self.config.counters.lost_connections);
        }
        let by = match self.role {
            Role::Server => Initiator::Caller,
            Role::Client => Initiator::Callee,
        };
        let unwritten: FxHashSet<i32> = self.out.borrow().unwritten().collect();
        if !unwritten.is_empty() {
            // These streams may be opened elsewhere, so this callee must not receive them.
            self.out.borrow_mut().clear();
        }
        for slot in slots {
            let mut inner = slot.inner.borrow_mut();
            if inner.state.recv_end() == FrameAction::Accept {
                let mut end = end::connection_lost(by, text);
                if unwritten.contains(&slot.id) {
                    inner.unwritten = true;
                    end.processed = Processed::No;
                }
                let dropped = inner.set_end(end, by == Initiator::Caller);
                self.credit(&mut inner, dropped);
            }
        }
        for slot in self.waiters.borrow_mut().drain(..) {
            slot.inner.borrow_mut().wake_send();
        }
        self.settle_budget();
    }

    // -- What goes out ---------------------------------------------------------------------

    /// Queues a frame. A frame that does not fit the format loses its strings, then its payload:
    /// that it comes at all is what matters most.
    pub(crate) fn write(&self, mut frame: Frame, terminal: bool) {
        if self.dead.get() {
            return;
        }
        let mut out = self.out.borrow_mut();
        if out.frame(&frame).is_err() {
            frame.info.strings.clear();
            frame.info.ints.truncate(2);
            if out.frame(&frame).is_err() {
                frame.payload = Bytes::new();
                let _ = out.frame(&frame);
            }
        }
        if terminal {
            out.mark_terminal();
            self.told.set(Some(Instant::now()));
        }
        drop(out);
        self.notify();
    }

    pub(crate) fn frame(&self, slot: &StreamSlot, kind: Kind) -> Frame {
        let method = Bytes::copy_from_slice(slot.method.as_bytes());
        Frame::new(kind, slot.id, slot.protocol, method)
    }

    /// Writes the Header of a response, unless it was written (server).
    pub(crate) fn head(&self, slot: &StreamSlot, head: &ResponseHead) {
        if slot.inner.borrow_mut().state.send_head() {
            let mut frame = self.frame(slot, Kind::Header);
            frame.info = metadata::response_info(head, &slot.method);
            if !self.config.carried {
                metadata::strip(&mut frame.info);
            }
            self.write(frame, false);
        }
    }

    /// Sends the end to the caller (server).
    pub(crate) fn finish(&self, slot: &Rc<StreamSlot>, end: &End, node: &str) {
        if slot.inner.borrow().state.is_closed() {
            return;
        }
        let terminal = end::to_caller(end, &self.context(slot, node));
        if terminal.kind == TerminalKind::Trailer {
            self.head(slot, &ResponseHead::default());
        }
        self.terminal(slot, terminal);
    }

    /// Sends a cancel to the callee (client).
    pub(crate) fn cancel(&self, slot: &Rc<StreamSlot>, cancel: &Cancel) {
        if slot.inner.borrow().state.is_closed() {
            return;
        }
        self.out.borrow_mut().take_back(slot.id);
        if self.waits(slot, cancel) {
            return;
        }
        let terminal = end::to_callee(cancel, &self.context(slot, &self.config.node));
        self.terminal(slot, terminal);
    }

    fn terminal(&self, slot: &Rc<StreamSlot>, terminal: Terminal) {
        if slot.inner.borrow_mut().state.send_terminal() {
            self.write_terminal(slot, terminal);
        }
        self.forget(slot);
    }

    pub(crate) fn write_terminal(&self, slot: &StreamSlot, terminal: Terminal) {
        let kind = match terminal.kind {
            TerminalKind::Trailer => Kind::Trailer,
            TerminalKind::Rst => Kind::Rst,
        };
        let mut frame = self.frame(slot, kind);
        frame.info.strings = terminal.strings;
        frame.payload = terminal.payload;
        self.write(frame, true);
        if kind == Kind::Rst {
            self.rst_sent.set(self.told.get());
        }
    }

    pub(crate) fn context<'a>(&self, slot: &'a StreamSlot, node: &'a str) -> EndContext<'a> {
        EndContext {
            node,
            method: &slot.method,
            stream_id: slot.id,
            carried: self.config.carried,
            form: self.form_now(),
        }
    }

    // -- What a half does ------------------------------------------------------------------

    pub(crate) fn poll_recv(&self, slot: &StreamSlot, cx: &Context<'_>) -> Poll<Received> {
        slot.inner.borrow_mut().poll_recv(cx)
    }

    pub(crate) fn poll_send(
        &self,
        slot: &Rc<StreamSlot>,
        cx: &Context<'_>,
        run: &mut MessageBatch,
    ) -> Poll<()> {
        if run.is_empty() {
            return Poll::Ready(());
        }
        if self.dead.get() || !slot.inner.borrow().state.may_send_data() {
            run.clear();
            return Poll::Ready(());
        }
        if self.role == Role::Server {
            self.head(slot, &ResponseHead::default());
        }
        let mut inner = slot.inner.borrow_mut();
        let mut out = self.out.borrow_mut();
        let mut waiters = self.waiters.borrow_mut();
        let mut turn = if std::mem::take(&mut inner.granted) {
            TURN
        } else {
            0
        };
        let mut wrote = false;
        while !run.is_empty() {
            let others_first = turn == 0 && !waiters.is_empty();
            if out.len() >= self.config.high_water || others_first {
                inner.wants = run.len();
                if !std::mem::replace(&mut inner.waiting, true) {
                    waiters.push_back(Rc::clone(slot));
                }
                inner.wait_to_send(cx);
                break;
            }
            let Some(len) = out.data(slot.id, &slot.template, run) else {
                break;
            };
            wrote = true;
            turn = turn.saturating_sub(len);
        }
        if wrote {
            self.notify();
        }
        if run.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Wakes as many waiting streams as there is room for.
    pub(crate) fn grant(&self) {
        let mut room = self
            .config
            .high_water
            .saturating_sub(self.out.borrow().len());
        // To wake for every few bytes would make every write a small one.
        if room < self.config.high_water / 2 {
            return;
        }
        let mut waiters = self.waiters.borrow_mut();
        while room > 0
            && let Some(slot) = waiters.pop_front()
        {
            let mut inner = slot.inner.borrow_mut();
            inner.waiting = false;
            inner.granted = true;
            inner.wake_send();
            // Counted by what the stream wants to write, not by a whole turn: many streams with
            // little each have to share a write.
            room = room.saturating_sub(inner.wants.clamp(1, TURN));
        }
        if waiters.is_empty() && waiters.capacity() > KEPT {
            *waiters = VecDeque::new();
        }
        if !waiters.is_empty() && self.out.borrow().len() == 0 {
            // The woken streams may have nothing to write any more, and then nothing else would
            // come here.
            self.notify();
        }
    }

    pub(crate) fn release(&self, slot: &StreamSlot, bytes: usize) {
        self.credit(&mut slot.inner.borrow_mut(), bytes);
    }

    /// A half is gone. Nothing of it stays charged.
    pub(crate) fn half_dropped(&self, slot: &StreamSlot) {
        {
            let mut inner = slot.inner.borrow_mut();
            inner.run.clear();
            let all = inner.held;
            self.credit(&mut inner, all);
            self.config
                .budget
                .finish_end(std::mem::take(&mut inner.ending));
        }
        self.owe(-(slot.cost() as isize));
        self.halves.set(self.halves.get().saturating_sub(1));
        if self.halves.get() == 0 {
            self.settle_budget();
        }
    }
}

impl Drop for SharedConnection {
    fn drop(&mut self) {
        self.settle_budget();
    }
}

/// The local end of a stream whose half was dropped before its end.
pub(crate) fn dropped() -> LocalEnd {
    LocalEnd::new(LocalEndKind::Panic, "the stream's task is gone")
}
