//! A connection's write queue: frames in order, small ones gathered, large payloads as they are.
//!
//! Owns the bytes that wait for the socket; knows nothing of streams.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use crate::stream::{GATHER_BELOW, Run};
use crate::ttheader::frame::Frame;
use crate::ttheader::header::EncodeError;

/// How large a gathered buffer grows before the next one is begun.
const GATHERED: usize = 32 * 1024;

/// The most slices of one write.
const SLICES: usize = 64;

/// Refusals that may wait for a peer which does not read.
const MAX_REFUSALS: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Out {
    pieces: VecDeque<Bytes>,
    tail: BytesMut,
    /// Bytes waiting.
    len: usize,
    /// Bytes ever written.
    written: u64,
    /// `written` once the last terminal frame is out.
    terminal_at: u64,
    /// Refusals queued since the peer last read all terminal frames.
    refusals: usize,
    /// Something was written since the last flush.
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

    /// Everything queued so far ends with a terminal frame.
    pub(crate) fn mark_terminal(&mut self) {
        self.terminal_at = self.written + self.len as u64;
    }

    /// A terminal frame just queued is the answer to a stream that was not opened.
    pub(crate) fn count_refusal(&mut self) {
        self.refusals += 1;
    }

    /// Whether the peer asks for refusals faster than it reads them, so that it should not be read
    /// itself for now.
    pub(crate) const fn is_flooded(&self) -> bool {
        self.refusals > MAX_REFUSALS && self.holds_terminal()
    }

    /// Queues the first message of `run` as a Data frame that begins as `template` does. Returns
    /// the payload's length, `None` when the run is empty.
    pub(crate) fn data(&mut self, template: &[u8], run: &mut Run) -> Option<usize> {
        let len = run.peek_message()?.len;
        // LENGTH is the only part of the header that differs between the frames of a stream.
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
        Some(len)
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
        }
    }

    fn seal_if_full(&mut self) {
        if self.tail.len() >= GATHERED {
            self.pieces.push_back(self.tail.split().freeze());
        }
    }
}
