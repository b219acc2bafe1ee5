//! Reads whole messages out of an HTTP/2 body. Window capacity is withheld for what is not taken
//! yet.
//!
//! DATA is read at once, since HTTP/2 layers limit small unread frames for the whole connection. So
//! the window bounds the memory: capacity goes back when the other side took a message.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;

use crate::net::held::Share;
use crate::net::http2::{self, RecvBody};
use crate::net::wake_flag::WakeFlag;
use crate::stream::{Boundary, MessageBatch, PREFIX};

/// What was read from a body.
#[derive(Debug)]
pub(super) enum Got {
    /// One or more whole messages.
    Messages(MessageBatch),
    /// The body ended at a message boundary.
    Eof,
    /// A message announced more bytes than the limit.
    TooLarge(usize),
    /// The other side did not read for too long, and its connection is full.
    Slow,
    /// The framing is broken.
    Broken(String),
    /// The stream or the connection failed.
    Failed(http2::Error),
}

/// What comes after the last message. It is a type of its own, since a [`Got`] is large and each
/// stream has room for one.
#[derive(Debug)]
enum Last {
    Eof,
    TooLarge(usize),
    Broken(Box<str>),
    Failed(Box<http2::Error>),
}

impl From<Last> for Got {
    fn from(last: Last) -> Self {
        match last {
            Last::Eof => Self::Eof,
            Last::TooLarge(len) => Self::TooLarge(len),
            Last::Broken(text) => Self::Broken(text.into()),
            Last::Failed(error) => Self::Failed(*error),
        }
    }
}

/// The receiving side of one stream.
#[derive(Debug)]
pub(super) struct Receiver {
    body: RecvBody,
    /// Whether `body` may have anything new.
    wake_flag: WakeFlag,
    share: Share,
    boundary: Boundary,
    /// Pieces of a message that is not complete.
    partial: MessageBatch,
    /// Bytes of whole messages whose capacity was given back before they were complete.
    prepaid: usize,
    /// Bytes of `partial` whose capacity was given back.
    prepaid_partial: usize,
    max_message: u32,
    /// Whether messages may have the compressed flag: the peer announced an encoding.
    compressed: bool,
    /// The capacity of a message above this is given back on arrival, since the window could not
    /// hold it. That is done only while no more than this waits before it. Otherwise a receiver
    /// that takes nothing would be sent one message after the other.
    prepay_above: u32,
    last: Option<Last>,
}

impl Receiver {
    pub(super) fn new(
        body: RecvBody,
        share: Share,
        max_message: usize,
        stream_window: u32,
        compressed: bool,
    ) -> Self {
        Self {
            body,
            wake_flag: WakeFlag::default(),
            share,
            boundary: Boundary::default(),
            partial: MessageBatch::new(),
            prepaid: 0,
            prepaid_partial: 0,
            max_message: u32::try_from(max_message).unwrap_or(u32::MAX),
            compressed,
            prepay_above: stream_window / 2,
            last: None,
        }
    }

    /// Whether part of a message is there.
    pub(super) fn has_begun(&self) -> bool {
        !self.boundary.at_boundary()
    }

    /// Reads all that is there. After anything but [`Got::Messages`] it must not be polled again.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Got> {
        let mut whole = MessageBatch::new();
        self.read(cx, &mut whole);
        if !whole.is_empty() {
            return Poll::Ready(Got::Messages(whole));
        }
        match self.last.take() {
            Some(last) => Poll::Ready(last.into()),
            None => self.share.poll_slow(cx).map(|()| Got::Slow),
        }
    }

    fn read(&mut self, cx: &Context<'_>, whole: &mut MessageBatch) {
        let mut wake_flag = std::mem::take(&mut self.wake_flag);
        if let Some(waker) = wake_flag.take(cx) {
            self.read_all(&mut Context::from_waker(waker), whole);
        }
        self.wake_flag = wake_flag;
    }

    fn read_all(&mut self, cx: &mut Context<'_>, whole: &mut MessageBatch) {
        while self.last.is_none() {
            match self.body.poll_data(cx) {
                Poll::Ready(Some(Ok(piece))) => self.feed(piece, whole),
                Poll::Ready(Some(Err(e))) => self.last = Some(Last::Failed(Box::new(e))),
                Poll::Ready(None) if self.boundary.at_boundary() => self.last = Some(Last::Eof),
                Poll::Ready(None) => {
                    self.last = Some(Last::Broken("the body ended inside a message".into()));
                }
                Poll::Pending => break,
            }
        }
    }

    /// The trailers after the body.
    pub(super) fn poll_trailers(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<HeaderMap>, http2::Error>> {
        self.body.poll_trailers(cx)
    }

    /// Ready when the stream has to end because its other side does not read.
    pub(super) fn poll_slow(&self, cx: &Context<'_>) -> Poll<()> {
        self.share.poll_slow(cx)
    }

    /// Gives back the capacity of `bytes` bytes that were taken.
    pub(super) fn release(&mut self, bytes: usize) {
        let prepaid = self.prepaid.min(bytes);
        self.prepaid -= prepaid;
        self.share.credit(bytes, prepaid);
        self.body.release_capacity(bytes - prepaid);
        self.prepay();
    }

    /// Gives back the capacity of a message that the window cannot hold.
    fn prepay(&mut self) {
        let waiting = self.share.held() - self.partial.len();
        let announced = self.boundary.left() + self.partial.len();
        let above = self.prepay_above as usize;
        if announced <= above + PREFIX || waiting > above {
            return;
        }
        let bytes = self.partial.len() - self.prepaid_partial;
        if bytes > 0 {
            self.prepaid_partial += bytes;
            self.share.prepay(bytes);
            self.body.release_capacity(bytes);
        }
    }

    fn feed(&mut self, mut piece: Bytes, whole: &mut MessageBatch) {
        self.share.charge(piece.len());
        let found = self.boundary.advance(&piece);
        if let Some(flag) = found.bad_flag {
            let text = format!("a message began with flag {flag}");
            self.last = Some(Last::Broken(text.into()));
            return;
        }
        if found.compressed && !self.compressed {
            let text = "a message has the compressed flag, and no grpc-encoding was announced";
            self.last = Some(Last::Broken(text.into()));
            return;
        }
        if let Some(end) = found.whole {
            let end = piece.split_to(end);
            if !self.partial.is_empty() {
                whole.append(&mut self.partial);
                self.prepaid += std::mem::take(&mut self.prepaid_partial);
            }
            whole.push_bytes(end);
            whole.note_messages(found.messages);
        }
        if found.longest > self.max_message as usize {
            self.last = Some(Last::TooLarge(found.longest));
            return;
        }
        if !piece.is_empty() {
            self.partial.push_bytes(piece);
            self.prepay();
        }
    }
}

#[cfg(test)]
mod tests;
