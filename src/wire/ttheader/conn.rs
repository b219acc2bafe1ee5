//! The task of one TTHeader connection. It owns the socket, the decoder and every timer. It knows
//! neither its role (a [`Dispatch`] does) nor what an end means.
//!
//! Each poll takes these steps until nothing moves any more:
//!
//! 1. Read, and decode what came. Data goes to its stream, other frames to the [`Dispatch`].
//! 2. Write in one gathered write what the streams queued, and wake streams that wait for room.
//! 3. Move to the next phase if its condition holds: Open, Ending (framing lost), Flushing,
//!    ShuttingDown, Lingering, Done.
//! 4. Look at the timer: a peer that does not read, a phase that takes too long, a pause that is
//!    over.
//!
//! TTHeader has no flow control, so the memory of streams is bounded here. Over a budget the
//! connection is not read (`pause`). After a grace, the stream that causes it is ended, and the
//! others go on.
//!
//! A connection is never closed before every stream on it has ended and these ends are written:
//! Kitex callers read a plain EOF as success.

mod account;
pub(crate) mod config;
pub(crate) mod form;
mod out;
mod pause;
mod phase;
pub(crate) mod shared;
mod slot;
mod template;

use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::net::words;
use crate::stream::LocalEndKind;
use crate::wire::ttheader::conn::config::count;
use crate::wire::ttheader::conn::pause::Pause;
use crate::wire::ttheader::conn::phase::{LINGER, PARTING, Phase};
use crate::wire::ttheader::conn::shared::SharedConnection;
use crate::wire::ttheader::frame::{Decoder, Event, Frame, Kind};
use crate::wire::ttheader::state::Role;

pub(crate) use slot::StreamSlot;

/// Room for the first read of a caller's connection, in bytes.
const FIRST_READ: usize = 4096;

/// Reads per poll, so that one connection does not block the others of its thread.
const READS: usize = 4;

/// What a role does with decoded frames.
pub(crate) trait Dispatch {
    /// A frame other than Data came.
    fn frame(&mut self, shared: &Rc<SharedConnection>, frame: Frame);

    /// A frame came of which only the stream id is known.
    fn unreadable(&mut self, shared: &Rc<SharedConnection>, stream_id: i32, text: &str);
}

enum Step {
    Again,
    Wait,
}

pub(crate) struct Conn<IO, D> {
    io: IO,
    shared: Rc<SharedConnection>,
    dispatch: D,
    decoder: Decoder,
    phase: Phase,
    eof: bool,
    pause: Option<Pause>,
    /// The decoder's memory, as it is charged to the budget.
    assembling: usize,
    /// How much was written when a terminal frame last made no progress, and until when it may
    /// wait.
    stuck: Option<(u64, Instant)>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<IO, D> Conn<IO, D>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    D: Dispatch + Unpin,
{
    pub(crate) fn new(io: IO, shared: Rc<SharedConnection>, dispatch: D) -> Self {
        // A caller's first bytes are few, and an idle stream keeps the buffer in which they came.
        let first = match shared.role {
            Role::Server => BytesMut::with_capacity(FIRST_READ),
            Role::Client => BytesMut::new(),
        };
        let decoder = Decoder::new(shared.config.limits(), first);
        Self {
            io,
            shared,
            dispatch,
            decoder,
            phase: Phase::Open,
            eof: false,
            pause: None,
            assembling: 0,
            stuck: None,
            timer: None,
        }
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Step {
        if self.phase == Phase::Open {
            self.read(cx);
        }
        self.shared.write_waiting(cx);
        if self.phase != Phase::Done {
            self.write(cx);
        }
        if self.advance(cx) {
            return Step::Again;
        }
        self.poll_timer(cx)
    }

    // -- Reading ---------------------------------------------------------------------------

    fn read(&mut self, cx: &mut Context<'_>) {
        for _ in 0..READS {
            self.decode(cx);
            if self.phase != Phase::Open || self.pause.is_some() {
                return;
            }
            if self.shared.out.borrow().is_flooded() {
                return;
            }
            if self.eof {
                return self.on_eof();
            }
            if self.decoder.assembling() > 0 {
                self.pause = Pause::when_assembling(&self.shared);
                if self.pause.is_some() {
                    continue;
                }
            }
            let poll = pin!(self.io.read_buf(self.decoder.space())).poll(cx);
            self.charge_assembling();
            match poll {
                Poll::Ready(Ok(0)) => self.eof = true,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return self.lose(&words::failed(&error, "the peer")),
                Poll::Pending => {
                    if self.shared.slots.borrow().is_empty() {
                        self.decoder.shrink();
                    }
                    return;
                }
            }
        }
        self.shared.notify();
    }

    /// Dispatches what is buffered, until a pause.
    fn decode(&mut self, cx: &mut Context<'_>) {
        loop {
            self.poll_pause(cx);
            if self.pause.is_some() || self.phase != Phase::Open {
                return;
            }
            if self.shared.out.borrow().is_flooded() {
                return;
            }
            match self.decoder.next_event() {
                Ok(None) => return,
                Ok(Some(event)) => self.dispatch(event),
                Err(error) => {
                    count(&self.shared.config.counters.lost_framing);
                    return self.end_all(&error.to_string());
                }
            }
        }
    }

    fn dispatch(&mut self, event: Event) {
        let shared = &self.shared;
        match event {
            Event::Data { stream_id, .. } => {
                let over = shared.data(stream_id, &mut self.decoder);
                self.pause = Pause::when_over(shared, over);
            }
            Event::Frame(frame) if frame.stream_id == 0 => {
                // Stream 0 is the connection. Only Meta is defined for it.
                if frame.kind != Kind::Meta {
                    count(&shared.config.counters.bad_frames);
                }
            }
            Event::Frame(frame) => self.dispatch.frame(shared, frame),
            Event::Oversized {
                stream_id,
                kind,
                len,
            } => {
                count(&shared.config.counters.oversized_messages);
                let text = format!(
                    "{kind:?} of {len} bytes is over the limit of {}",
                    shared.config.limits().of(kind)
                );
                match shared.find(stream_id) {
                    Some(slot) => {
                        shared.reset_local(&slot, LocalEndKind::MessageTooLarge, &text);
                    }
                    None if kind == Kind::Header => {
                        self.dispatch.unreadable(shared, stream_id, &text);
                    }
                    None => count(&shared.config.counters.late_frames),
                }
            }
            Event::Bad { stream_id, error } => {
                count(&shared.config.counters.bad_frames);
                if stream_id != 0 {
                    self.dispatch
                        .unreadable(shared, stream_id, &error.to_string());
                }
            }
        }
    }

    /// Checks whether a pause is over. When its grace has passed, ends the stream that caused it.
    fn poll_pause(&mut self, cx: &mut Context<'_>) {
        let Some(pause) = &mut self.pause else { return };
        if pause.is_over(&self.shared, cx) {
            self.pause = None;
        } else if pause
            .deadline(&self.shared)
            .is_some_and(|at| at <= Instant::now())
        {
            if pause.is_helped(&self.shared) {
                pause.restart();
                return;
            }
            let abandoned = if pause.is_assembling() {
                self.decoder.abandon()
            } else {
                None
            };
            let slot = match abandoned {
                Some(stream_id) => self.shared.find(stream_id),
                None => pause.slowest(&self.shared),
            };
            if let Some(slot) = slot {
                count(&self.shared.config.counters.slow_streams);
                self.shared.mark_for_eviction(&slot);
                self.shared.reset_local(
                    &slot,
                    LocalEndKind::SlowReceiver,
                    "the receiver did not keep up",
                );
            }
            if abandoned.is_some() {
                let now = self.decoder.assembling();
                self.shared.owe(now as isize - self.assembling as isize);
                self.assembling = now;
                self.shared.settle_budget();
            }
            // Another stream may be the next to end. If there is none, others have to free memory.
            pause.restart();
            if pause.is_over(&self.shared, cx) {
                self.pause = None;
            }
        }
        self.shared.paused.set(self.pause.is_some());
    }

    fn charge_assembling(&mut self) {
        let now = self.decoder.assembling();
        if now != self.assembling {
            self.shared.owe(now as isize - self.assembling as isize);
            self.assembling = now;
        }
    }

    /// The peer will send nothing more. Kitex closes both directions at once, so a half-closed TCP
    /// connection counts as lost. What is queued is still written.
    fn on_eof(&mut self) {
        self.shared.closing.set(true);
        self.shared.look_at_close();
        self.shared.lose_all("connection closed by the peer");
        self.phase = self.flushing();
    }

    /// The connection cannot go on. Ends every stream, and lets the ends be written.
    fn end_all(&mut self, text: &str) {
        self.shared.closing.set(true);
        let kind = match self.shared.role {
            Role::Server => LocalEndKind::BadRequest,
            Role::Client => LocalEndKind::Undecodable,
        };
        let slots: Vec<_> = self.shared.slots.borrow().values().cloned().collect();
        for slot in slots {
            self.shared.reset_local(&slot, kind, text);
        }
        self.phase = Phase::Ending(Instant::now() + self.shared.config.cancel_grace);
    }

    /// The connection is lost.
    fn lose(&mut self, text: &str) {
        self.shared.closing.set(true);
        self.shared.dead.set(true);
        self.shared.lose_all(text);
        self.shared.out.borrow_mut().clear();
        self.phase = Phase::Done;
    }

    // -- Writing ---------------------------------------------------------------------------

    fn write(&mut self, cx: &mut Context<'_>) {
        let polled = {
            let mut out = self.shared.out.borrow_mut();
            let flooded = out.is_flooded();
            let polled = out.poll_write(&mut self.io, cx);
            if flooded && !out.is_flooded() {
                // Reading stopped because of the flood. Nothing else would resume it.
                self.shared.notify();
            }
            if !out.holds_terminal() {
                self.stuck = None;
            } else if self.stuck.is_none_or(|(then, _)| then != out.written()) {
                let until = Instant::now() + self.shared.config.cancel_grace;
                self.stuck = Some((out.written(), until));
            }
            polled
        };
        if let Poll::Ready(Err(error)) = polled {
            return self.lose(&words::failed(&error, "the peer"));
        }
        self.shared.grant();
    }

    fn flushing(&self) -> Phase {
        Phase::Flushing(Instant::now() + self.shared.config.cancel_grace)
    }

    /// Moves to the next phase. Returns whether it did.
    fn advance(&mut self, cx: &mut Context<'_>) -> bool {
        let shared = &self.shared;
        let next = match self.phase {
            Phase::Open | Phase::Ending(_) => {
                let idle = shared.closing.get() && shared.slots.borrow().is_empty();
                let parted = self.parted_at().is_none_or(|at| at <= Instant::now());
                (idle && parted).then(|| self.flushing())
            }
            Phase::Flushing(at) => {
                let out = shared.out.borrow().len() == 0;
                out.then_some(Phase::ShuttingDown(at))
            }
            Phase::ShuttingDown(_) => match Pin::new(&mut self.io).poll_shutdown(cx) {
                Poll::Ready(Ok(())) if !self.eof => Some(Phase::Lingering(Instant::now() + LINGER)),
                Poll::Ready(_) => Some(Phase::Done),
                Poll::Pending => None,
            },
            Phase::Lingering(_) => self.discard(cx).then_some(Phase::Done),
            Phase::Done => None,
        };
        if let Some(next) = next {
            self.phase = next;
        }
        next.is_some()
    }

    /// Until when the peer has time to read what ended its streams. `None` when it was sent no end,
    /// or has closed its side.
    fn parted_at(&self) -> Option<Instant> {
        let told = self.shared.told.get().filter(|_| !self.eof)?;
        let idle = self.shared.closing.get() && self.shared.slots.borrow().is_empty();
        idle.then(|| told + PARTING)
    }

    /// Reads and drops. Returns whether the peer has closed its side.
    fn discard(&mut self, cx: &mut Context<'_>) -> bool {
        let mut sink = BytesMut::with_capacity(4096);
        loop {
            sink.clear();
            match pin!(self.io.read_buf(&mut sink)).poll(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return true,
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return false,
            }
        }
    }

    // -- Time ------------------------------------------------------------------------------

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Step {
        let phase = match self.phase {
            Phase::Ending(at)
            | Phase::Flushing(at)
            | Phase::ShuttingDown(at)
            | Phase::Lingering(at) => Some(at),
            Phase::Open | Phase::Done => None,
        };
        let parting = match self.phase {
            Phase::Open | Phase::Ending(_) => self.parted_at(),
            Phase::Flushing(_) | Phase::ShuttingDown(_) | Phase::Lingering(_) | Phase::Done => None,
        };
        let stuck = self.stuck.map(|(_, at)| at);
        let pause = match (&mut self.pause, self.phase) {
            (Some(pause), Phase::Open) => {
                let again = Instant::now() + self.shared.config.slow_receiver_timeout;
                Some(
                    pause
                        .deadline(&self.shared)
                        .map_or(again, |at| at.min(again)),
                )
            }
            _ => None,
        };
        let waits = self.shared.waits_until();
        let Some(next) = [phase, stuck, pause, parting, waits]
            .into_iter()
            .flatten()
            .min()
        else {
            self.timer = None;
            return Step::Wait;
        };
        let timer = match &mut self.timer {
            Some(timer) => {
                if timer.deadline() != next {
                    timer.as_mut().reset(next);
                }
                timer
            }
            None => self.timer.insert(Box::pin(sleep_until(next))),
        };
        if timer.as_mut().poll(cx).is_pending() {
            return Step::Wait;
        }
        let now = Instant::now();
        if stuck.is_some_and(|at| at <= now) {
            count(&self.shared.config.counters.grace_closes);
            self.lose("the peer does not read");
        } else if phase.is_some_and(|at| at <= now) {
            self.lose("the connection did not end in time");
        }
        Step::Again
    }
}

impl<IO, D> Future for Conn<IO, D>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    D: Dispatch + Unpin,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.shared.begin(cx);
        loop {
            match this.step(cx) {
                Step::Again if this.phase == Phase::Done => return Poll::Ready(()),
                Step::Again => {}
                Step::Wait if this.phase == Phase::Done => return Poll::Ready(()),
                Step::Wait => return Poll::Pending,
            }
        }
    }
}

impl<IO, D> Drop for Conn<IO, D> {
    fn drop(&mut self) {
        self.shared.closing.set(true);
        self.shared.dead.set(true);
        self.shared.lose_all("the connection's task ended");
        self.shared.owe(-(self.assembling as isize));
        self.shared.settle_budget();
    }
}

#[cfg(test)]
mod tests;
