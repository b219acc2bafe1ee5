//! A connection's write queue: frames in order, small ones gathered, large payloads uncopied.
//!
//! It owns the bytes that wait for the socket, and knows nothing of streams.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Weak;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use crate::stream::{Forget, GATHER_BELOW, MessageBatch};
use crate::wire::ttheader::frame::Frame;
use crate::wire::ttheader::header::EncodeError;

/// How large a gathered buffer grows before the next one begins.
const GATHERED: usize = 32 * 1024;

/// The most slices of one write.
const SLICES: usize = 64;

/// Refusals that may wait for a peer that does not read.
const MAX_REFUSALS: usize = 4096;

/// One frame that waits: Data, or the Header of a request.
#[derive(Clone, Copy, Debug)]
struct Mark {
    stream_id: i32,
    is_head: bool,
    /// The value of `written` when its first byte is next.
    start: u64,
    len: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Out {
    /// The Data frames in the queue, so that a cancel can take back those of its stream. And the
    /// Headers of requests, so that it is known which streams are not on the wire.
    marks: VecDeque<Mark>,
    /// How many of the marks are Headers.
    heads: usize,
    /// What is kept of requests until they are written.
    kept: Vec<Weak<dyn Forget>>,
    pieces: VecDeque<Bytes>,
    tail: BytesMut,
    /// Bytes that wait.
    len: usize,
    /// Bytes written since the start.
    written: u64,
    /// The value of `written` when the last terminal frame is written.
    terminal_at: u64,
    /// Refusals queued since the peer last read all terminal frames.
    refusals: usize,
    /// Whether something was written since the last flush.
    unflushed: bool,
}

impl Out {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn written(&self) -> u64 {
        self.written
    }

    /// Whether a terminal frame waits.
    pub(crate) const fn holds_terminal(&self) -> bool {
        self.terminal_at > self.written
    }

    /// Queues one frame that is not Data.
    pub(crate) fn frame(&mut self, frame: &Frame) -> Result<(), EncodeError> {
        let before = self.tail.len();
        frame.encode(&mut self.tail)?;
        self.len += self.tail.len() - before;
        self.seal_if_full();
        Ok(())
    }

    /// Queues the Header of a request.
    pub(crate) fn head(&mut self, frame: &Frame) -> Result<(), EncodeError> {
        let start = self.written + self.len as u64;
        let before = self.len;
        self.frame(frame)?;
        self.heads += 1;
        self.marks.push_back(Mark {
            stream_id: frame.stream_id,
            is_head: true,
            start,
            len: self.len - before,
        });
        Ok(())
    }

    /// Whether the Header of a request waits, or a part of one.
    pub(crate) const fn holds_heads(&self) -> bool {
        self.heads > 0
    }

    /// Forgets `kept` when no Header waits any more.
    pub(crate) fn forget_written(&mut self, kept: Weak<dyn Forget>) {
        if self.kept.len() == self.kept.capacity() {
            // To a peer that reads slowly, some Header may wait all the time.
            self.kept.retain(|kept| kept.strong_count() > 0);
            self.kept.reserve(self.kept.len() + 1);
        }
        self.kept.push(kept);
        self.forget();
    }

    fn forget(&mut self) {
        if self.heads == 0 {
            let kept = self.kept.drain(..);
            kept.filter_map(|kept| kept.upgrade())
                .for_each(|kept| kept.forget());
        }
    }

    /// The streams of whose requests nothing was written.
    pub(crate) fn unwritten(&self) -> impl Iterator<Item = i32> {
        let waits = |mark: &&Mark| mark.is_head && mark.start >= self.written;
        self.marks.iter().filter(waits).map(|mark| mark.stream_id)
    }

    /// Everything queued so far ends with a terminal frame.
    pub(crate) fn mark_terminal(&mut self) {
        self.terminal_at = self.written + self.len as u64;
    }

    /// The terminal frame that was just queued answers a stream that was not opened.
    pub(crate) fn count_refusal(&mut self) {
        self.refusals += 1;
    }

    /// Whether the peer causes refusals faster than it reads them. It should then not be read for
    /// now.
    pub(crate) const fn is_flooded(&self) -> bool {
        self.refusals > MAX_REFUSALS && self.holds_terminal()
    }

    /// Queues the first message of `run` as a Data frame that begins with `template`. Returns the
    /// frame's length; `None` when the run is empty.
    pub(crate) fn data(
        &mut self,
        stream_id: i32,
        template: &[u8],
        run: &mut MessageBatch,
    ) -> Option<usize> {
        let len = run.peek_message()?.len;
        self.marks.push_back(Mark {
            stream_id,
            is_head: false,
            start: self.written + self.len as u64,
            len: template.len() + len,
        });
        // LENGTH is the only part of the header that differs between the Data frames of a stream.
        let length = u32::try_from(template.len() - 4 + len).unwrap_or(u32::MAX);
        self.tail.reserve(template.len() + len.min(GATHER_BELOW));
        self.tail.extend_from_slice(&length.to_be_bytes());
        self.tail
            .extend_from_slice(template.get(4..).unwrap_or_default());
        self.len += template.len() + len;
        if len < GATHER_BELOW {
            run.pop_message_into(&mut self.tail);
            self.seal_if_full();
        } else {
            run.pop_message(|piece| {
                if piece.len() < GATHER_BELOW {
                    self.tail.extend_from_slice(&piece);
                } else {
                    if !self.tail.is_empty() {
                        self.pieces.push_back(self.tail.split().freeze());
                    }
                    self.pieces.push_back(piece);
                }
            });
        }
        Some(template.len() + len)
    }

    /// Takes back the Data frames of a stream of which nothing was written yet.
    pub(crate) fn take_back(&mut self, stream_id: i32) {
        let written = self.written;
        let goes = |m: &Mark| !m.is_head && m.stream_id == stream_id && m.start >= written;
        if !self.marks.iter().any(goes) {
            return;
        }
        let mut old = std::mem::take(&mut self.pieces);
        if !self.tail.is_empty() {
            old.push_back(self.tail.split().freeze());
        }
        let mut at = written;
        let mut removed = 0;
        let mut kept = VecDeque::with_capacity(self.marks.len());
        let mut removed_before_terminal = 0;
        for mark in std::mem::take(&mut self.marks) {
            if goes(&mark) {
                let before = mark.start.saturating_sub(at) as usize;
                move_bytes(&mut old, before, Some(&mut self.pieces));
                move_bytes(&mut old, mark.len, None);
                at = mark.start + mark.len as u64;
                removed += mark.len;
                if mark.start < self.terminal_at {
                    removed_before_terminal += mark.len as u64;
                }
            } else {
                kept.push_back(Mark {
                    start: mark.start - removed as u64,
                    ..mark
                });
            }
        }
        self.pieces.append(&mut old);
        self.marks = kept;
        self.len -= removed;
        self.terminal_at -= removed_before_terminal;
    }

    /// Writes until the queue is empty or the socket is full, then flushes.
    pub(crate) fn poll_write<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.len > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut used = 0;
            let tail = (!self.tail.is_empty()).then_some(&self.tail[..]);
            for (slot, piece) in slices
                .iter_mut()
                .zip(self.pieces.iter().map(|p| &p[..]).chain(tail))
            {
                *slot = IoSlice::new(piece);
                used += 1;
            }
            let slices = slices.get(..used).unwrap_or_default();
            let n = match Pin::new(&mut *io).poll_write_vectored(cx, slices) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => n,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    // What was written so far must not wait for the rest.
                    return match self.poll_flush(io, cx) {
                        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                        Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
                    };
                }
            };
            self.unflushed = true;
            self.consume(n);
        }
        self.poll_flush(io, cx)
    }

    /// Drops everything: the socket is gone.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn poll_flush<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unflushed {
            return Poll::Ready(Ok(()));
        }
        let flushed = Pin::new(io).poll_flush(cx);
        if flushed.is_ready() {
            self.unflushed = false;
        }
        flushed
    }

    fn consume(&mut self, n: usize) {
        self.len -= n;
        self.written += n as u64;
        while let Some(mark) = self.marks.front()
            && mark.start + mark.len as u64 <= self.written
        {
            self.heads -= usize::from(mark.is_head);
            self.marks.pop_front();
        }
        self.forget();
        if !self.holds_terminal() {
            self.refusals = 0;
        }
        let mut left = n;
        while left > 0 {
            match self.pieces.front_mut() {
                Some(front) if front.len() > left => {
                    front.advance(left);
                    left = 0;
                }
                Some(front) => {
                    left -= front.len();
                    self.pieces.pop_front();
                }
                None => {
                    self.tail.advance(left.min(self.tail.len()));
                    left = 0;
                }
            }
        }
        if self.len == 0 {
            // An idle connection keeps no large buffer.
            if self.tail.capacity() > 2 * GATHERED {
                self.tail = BytesMut::new();
            }
            if self.pieces.capacity() > SLICES {
                self.pieces = VecDeque::new();
            }
            if self.marks.capacity() > SLICES {
                self.marks = VecDeque::new();
            }
            if self.kept.capacity() > SLICES {
                self.kept = Vec::new();
            }
        }
    }

    fn seal_if_full(&mut self) {
        if self.tail.len() >= GATHERED {
            self.pieces.push_back(self.tail.split().freeze());
        }
    }
}

/// Moves `n` bytes from the front of `from` to the end of `to`, or drops them.
fn move_bytes(from: &mut VecDeque<Bytes>, mut n: usize, mut to: Option<&mut VecDeque<Bytes>>) {
    while n > 0
        && let Some(front) = from.front_mut()
    {
        let piece = if front.len() <= n {
            from.pop_front().unwrap_or_default()
        } else {
            front.split_to(n)
        };
        n -= piece.len();
        if let Some(to) = &mut to {
            to.push_back(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ttheader::frame::{Decoder, Event, FrameLimits, Kind};

    fn queue(out: &mut Out, id: i32, payload: usize) {
        let template = Frame::data_template(id, 0x10, "M".into()).unwrap();
        let mut run = MessageBatch::new();
        run.push_message(false, vec![id as u8; payload].into());
        out.data(id, &template, &mut run).unwrap();
    }

    /// What would be written, frame by frame.
    fn rest(out: &mut Out) -> Vec<(i32, usize)> {
        let mut wire = BytesMut::new();
        for piece in out.pieces.drain(..) {
            wire.extend_from_slice(&piece);
        }
        wire.extend_from_slice(&out.tail);
        assert_eq!(wire.len(), out.len);
        let limits = FrameLimits {
            header: 100,
            message: 1 << 20,
            control: 100,
        };
        let mut decoder = Decoder::new(limits, wire);
        let mut found = Vec::new();
        while let Some(event) = decoder.next_event().unwrap() {
            match event {
                Event::Data { stream_id, len } => found.push((stream_id, len)),
                Event::Frame(frame) => found.push((frame.stream_id, 0)),
                other => panic!("{other:?}"),
            }
        }
        found
    }

    #[test]
    fn a_cancel_takes_back_what_was_not_begun() {
        let mut out = Out::default();
        for (id, payload) in [(1, 10), (2, 5000), (1, 6000), (1, 0), (2, 7), (1, 9)] {
            queue(&mut out, id, payload);
        }
        out.frame(&Frame::new(Kind::Trailer, 2, 0x10, "M".into()))
            .unwrap();
        out.mark_terminal();
        let all = out.len() as u64;
        out.take_back(1);
        assert!(out.holds_terminal());
        assert_eq!(out.terminal_at, out.len() as u64);
        assert!(out.terminal_at < all);
        assert_eq!(rest(&mut out), [(2, 5000), (2, 7), (2, 0)]);
    }

    #[test]
    fn a_frame_that_was_begun_is_finished() {
        let mut out = Out::default();
        for (id, payload) in [(1, 10), (1, 5000), (2, 3), (1, 1)] {
            queue(&mut out, id, payload);
        }
        let first = out.marks[0].len;
        out.consume(first + 1);
        out.take_back(1);
        assert_eq!(out.marks.len(), 2);
        let left = out.len();
        out.consume(left - out.marks[1].len);
        assert_eq!(rest(&mut out), [(2, 3)]);
    }

    struct Request;

    impl Forget for Request {
        fn forget(&self) {}
    }

    /// A peer that reads slowly always has a Header to come. Streams that are over need no place.
    #[test]
    fn what_was_kept_of_streams_that_are_over_takes_no_room() {
        let mut out = Out::default();
        let header = |out: &mut Out| {
            let frame = Frame::new(Kind::Header, 1, 0x10, "M".into());
            out.head(&frame).unwrap();
            out.marks[0].len
        };
        let len = header(&mut out);
        for _ in 0..10_000 {
            header(&mut out);
            let kept = std::rc::Rc::new(Request);
            let weak: Weak<Request> = std::rc::Rc::downgrade(&kept);
            out.forget_written(weak);
            out.consume(len);
            assert!(out.holds_heads());
        }
        assert!(out.kept.len() < 100, "{}", out.kept.len());
    }
}
