//! The remote control of a connection, and what is known of its peer.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::parting::{GoAwayWatcher, Watchers};
use super::{GoAway, ResetCode, blocks, watch};
use crate::net::connection::Pace;
use crate::net::held::Held;
use crate::net::outbox::{Desk, Outbox};

/// Bytes that all streams of a connection may have queued for its socket, give or take one piece:
/// as much as a socket takes at once.
const QUEUED: usize = 1024 * 1024;

/// What `h2` is given as the peer's limit of streams until its SETTINGS come. No SETTINGS can say
/// it, since they have 32 bits. SETTINGS without a limit make it `usize::MAX`.
pub(super) const UNKNOWN: usize = usize::MAX - 1;

/// A box that has a description.
pub(super) struct OnRefused(pub(super) Box<dyn Fn(u32)>);

impl std::fmt::Debug for OnRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnRefused(..)")
    }
}

/// The remote control of a connection's driver. Clones control the same connection.
#[derive(Clone, Debug, Default)]
pub struct Control(pub(super) Rc<ControlState>);

#[derive(Debug, Default)]
pub(super) struct ControlState {
    pub(super) drain: Cell<bool>,
    pub(super) urgent: Cell<bool>,
    pub(super) hold: Cell<bool>,
    pub(super) blocked: Cell<bool>,
    pub(super) over: Cell<bool>,
    /// What the peer announced in its SETTINGS.
    pub(super) header_list: Cell<Option<u32>>,
    /// Whether the peer is a server on `hyper`, by its SETTINGS.
    pub(super) hyper: Cell<bool>,
    /// Bytes that the socket took, at the end of the driver's last poll.
    pub(super) written: Cell<u64>,
    pub(super) account: RefCell<Option<Rc<Held>>>,
    pub(super) outbox: OnceCell<Rc<Outbox>>,
    pub(super) waker: RefCell<Option<Waker>>,
    /// How many streams the peer allows at a time. `None` before its SETTINGS.
    pub(super) allowed: Cell<Option<usize>>,
    /// Resets that were queued and not yet written.
    pub(super) leaving: Cell<usize>,
    /// The task that waits for room for a stream.
    pub(super) for_room: RefCell<Option<Waker>>,
    /// Is called with the number of streams that the layer itself has refused.
    pub(super) on_refused: RefCell<Option<OnRefused>>,
    /// The task that waits for the drain, beside the driver.
    pub(super) waiting: RefCell<Option<Waker>>,
    /// Open streams, by the wire's count.
    pub(super) streams: Cell<usize>,
    /// The connection's number among those of this thread.
    pub(super) id: Cell<u64>,
    /// The last bytes that were written, if they were that many at once.
    pub(super) tail: Cell<[u8; watch::TAIL]>,
    /// The malformed field that broke the connection: its stream, and what is wrong.
    pub(super) malformed: OnceCell<Option<(u32, String)>>,
    /// The last GOAWAY that the peer sent.
    pub(super) goaway: RefCell<Option<Box<GoAway>>>,
    pub(super) watchers: Watchers,
    pub(super) pace: OnceCell<Arc<dyn Pace>>,
    /// The time between pings, by the configuration.
    pub(super) interval: Cell<Duration>,
}

impl ControlState {
    /// The peer sent GOAWAY. Of several, the first error stays, since it is the reason.
    pub(super) fn went_away(&self, goaway: GoAway) {
        if let Some(pace) = self.pace.get() {
            if goaway.too_many_pings() {
                pace.slower(self.interval.get());
            } else if goaway.too_many_small_frames() {
                pace.too_many_small();
            }
        }
        let known = self.goaway.borrow().as_ref().map(|known| known.code);
        if known.is_none_or(|code| code == ResetCode::NO_ERROR) {
            *self.goaway.borrow_mut() = Some(Box::new(goaway));
        }
        self.watchers.announce();
        self.wake_for_room();
    }

    fn wake_for_room(&self) {
        if let Some(waiting) = self.for_room.take() {
            waiting.wake();
        }
    }
}

impl Control {
    /// Refuses new streams with the two-step GOAWAY, and closes when the last stream is over.
    pub fn drain(&self) {
        self.0.drain.set(true);
        self.wake();
        if let Some(waiting) = self.0.waiting.take() {
            waiting.wake();
        }
    }

    /// Ready when the connection is draining. One task may wait for it.
    pub fn poll_draining(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_draining() {
            return Poll::Ready(());
        }
        *self.0.waiting.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Calls `refused` with the number of streams that the layer itself has reset with
    /// PROTOCOL_ERROR, soon after. It is the layer's answer to a malformed request, which
    /// [`serve`](super::serve) reports in no other way. Must be called before the connection begins.
    pub fn on_refused(&self, refused: impl Fn(u32) + 'static) {
        *self.0.on_refused.borrow_mut() = Some(OnRefused(Box::new(refused)));
    }

    /// Lets the connection read only while `held` allows it. Must be called before it begins.
    pub fn account(&self, held: Rc<Held>) {
        *self.0.account.borrow_mut() = Some(held);
    }

    /// The queue of what waits to be written on this connection, for one of its streams.
    #[must_use]
    pub fn desk(&self) -> Desk {
        self.outbox().desk()
    }

    /// Whether the peer's SETTINGS are those of a server that may bear only few small DATA frames
    /// ([`bears_small_frames`](super::bears_small_frames)).
    #[must_use]
    pub fn may_bear_few_frames(&self) -> bool {
        self.0.hyper.get()
    }

    /// Whether the peer is known to bear only few small DATA frames that are unread.
    #[must_use]
    pub fn bears_few_frames(&self) -> bool {
        self.outbox().unread().counts()
    }

    pub(super) fn outbox(&self) -> &Rc<Outbox> {
        self.0.outbox.get_or_init(|| Outbox::new(QUEUED))
    }

    /// An end was queued. From now on the peer has `cancel_grace` to read.
    pub fn urgent(&self) {
        self.0.urgent.set(true);
        if self.0.blocked.get() {
            // While `h2` waits for the socket, it wakes nobody for what is queued.
            self.wake();
        }
    }

    /// While held, a poll of the driver writes nothing to the socket: more is about to be queued
    /// that must leave with it.
    pub fn hold_flush(&self, hold: bool) {
        self.0.hold.set(hold);
    }

    /// Whether the driver's last poll left something because the socket is full. The socket wakes
    /// the driver later.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.0.blocked.get()
    }

    /// Whether the connection is draining.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.drain.get()
    }

    /// How many bytes the socket took. A stream that was opened since the count last changed is not
    /// on the wire: only the driver writes.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.0.written.get()
    }

    /// Whether the driver has finished.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.over.get()
    }

    /// The bytes of a header list that the peer accepts (`SETTINGS_MAX_HEADER_LIST_SIZE`), as its
    /// SETTINGS say. `None` when it has no limit, or before they are read.
    #[must_use]
    pub fn peer_header_list(&self) -> Option<u32> {
        self.0.header_list.get()
    }

    /// How many streams the peer allows at a time, by the last SETTINGS that were applied and
    /// acknowledged. `None` before its first SETTINGS. For the client's side.
    #[must_use]
    pub fn allowed(&self) -> Option<usize> {
        self.0.allowed.get()
    }

    /// Ready when the peer's first SETTINGS were applied and acknowledged, or the connection is
    /// over. What is sent from then on comes after the acknowledgement. For the client's side.
    pub fn poll_settled(&self, cx: &Context<'_>) -> Poll<()> {
        if self.allowed().is_some() || self.is_over() {
            return Poll::Ready(());
        }
        self.on_room(cx.waker());
        Poll::Pending
    }

    /// Wakes `waker` once, when a stream that waits for a place has to look again: a stream is over,
    /// the peer changed its limit, it sent GOAWAY, or the connection is over. One task may wait for
    /// it.
    pub fn on_room(&self, waker: &Waker) {
        let mut slot = self.0.for_room.borrow_mut();
        if !slot.as_ref().is_some_and(|w| w.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    /// A stream is over. With `reset`, its RST_STREAM is queued. Until that is written, the stream
    /// keeps its place.
    pub fn left(&self, reset: bool) {
        if reset {
            self.0.leaving.set(self.0.leaving.get() + 1);
            self.wake();
        } else {
            self.wake_for_room();
        }
    }

    /// How many streams are over whose reset is not written yet.
    #[must_use]
    pub fn leaving(&self) -> usize {
        self.0.leaving.get()
    }

    /// A stream was opened. Pings are sent only while there is one.
    pub fn stream_opened(&self) {
        self.0.streams.set(self.0.streams.get() + 1);
    }

    /// A stream of [`Control::stream_opened`] is over for the peer.
    pub fn stream_over(&self) {
        self.0.streams.set(self.0.streams.get().saturating_sub(1));
    }

    pub(super) fn has_streams(&self) -> bool {
        self.0.streams.get() > 0
    }

    /// The GOAWAY that the peer sent, if any.
    #[must_use]
    pub fn go_away(&self) -> Option<GoAway> {
        self.0.goaway.borrow().as_deref().cloned()
    }

    /// Whether the peer sent GOAWAY: it takes no new streams.
    #[must_use]
    pub fn went_away(&self) -> bool {
        self.0.watchers.went_away()
    }

    /// Calls `told` when the peer sends GOAWAY, while the returned value lives. It is called at once
    /// when the peer has sent it. `told` must not use this connection.
    #[must_use]
    pub fn on_go_away(&self, told: Rc<dyn Fn()>) -> GoAwayWatcher {
        GoAwayWatcher::new(self.clone(), told)
    }

    /// After a poll of the client's driver: what the peer allows, and whether all was written.
    pub(super) fn polled(&self, allowed: usize) {
        let mut room = false;
        if allowed != UNKNOWN && self.0.allowed.replace(Some(allowed)) != Some(allowed) {
            room = true;
        }
        if !self.0.hold.get() && !self.0.blocked.get() && self.0.leaving.take() > 0 {
            room = true;
        }
        if room {
            self.wake_for_room();
        }
    }

    pub(super) fn over(&self) {
        self.0.over.set(true);
        self.wake_for_room();
    }

    pub(super) fn wake_for_room(&self) {
        self.0.wake_for_room();
    }

    /// After the peer broke HTTP/2 ([`Error::is_broken`](super::Error::is_broken)): the stream with the malformed field that
    /// did it, and what is wrong with the field. `None` when it was something else, or when it is
    /// not known any more.
    #[must_use]
    pub fn malformed(&self) -> Option<&(u32, String)> {
        let find = || blocks::find_malformed(self.0.id.get());
        self.0.malformed.get_or_init(find).as_ref()
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = self.0.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    pub(super) fn register(&self, cx: &Context<'_>) {
        let mut slot = self.0.waker.borrow_mut();
        if !slot.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *slot = Some(cx.waker().clone());
        }
    }
}
