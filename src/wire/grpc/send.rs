//! Writes messages into an HTTP/2 body, never more than the capacity that the peer granted. So what
//! the connection holds can always be written. Nor does it exceed what may wait on the connection.

use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use crate::net::http2::{self, ResetCode, SendBody};
use crate::net::outbox::Desk;
use crate::net::unread::SMALL;
use crate::stream::{Boundary, MessageBatch};

/// The most capacity that is asked for at once, in bytes.
const RESERVE: usize = 64 * 1024;

/// The most that small pieces are joined to, in bytes.
const JOINED: usize = 1024;

/// The sending side of one stream.
#[derive(Debug)]
pub(super) struct Sender {
    stream: SendBody,
    desk: Desk,
    boundary: Boundary,
    /// Whether a whole message was sent.
    has_sent: bool,
}

impl Sender {
    pub(super) fn new(stream: SendBody, desk: Desk) -> Self {
        Self {
            stream,
            desk,
            boundary: Boundary::default(),
            has_sent: false,
        }
    }

    /// See [`crate::stream::Half::poll_send`].
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, run: &mut MessageBatch) -> Poll<()> {
        while !run.is_empty() {
            if self.desk.poll_room(cx, run.len()).is_pending() {
                return Poll::Pending;
            }
            self.stream.reserve_capacity(run.len().min(RESERVE));
            let room = self.stream.capacity();
            if room == 0 {
                match self.stream.poll_capacity(cx) {
                    Poll::Ready(Some(Ok(_))) => continue,
                    Poll::Ready(Some(Err(_)) | None) => {
                        run.clear();
                        break;
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
            let Some(mut piece) = run.take_piece(room) else {
                break;
            };
            if piece.len() < SMALL && !run.is_empty() && self.desk.joins() {
                piece = join(piece, run, room);
            }
            let messages = self.boundary.advance(&piece).messages;
            self.has_sent |= messages > 0;
            self.desk.queue(piece.len(), messages as u64);
            if self.stream.send_data(piece, false).is_err() {
                run.clear();
            }
        }
        Poll::Ready(())
    }

    /// The peer sent so many messages.
    #[inline]
    pub(super) fn heard(&mut self, messages: u64) {
        self.desk.heard(messages);
    }

    /// Ends the stream without trailers.
    pub(super) fn half_close(&mut self) {
        let _ = self.stream.send_data(Bytes::new(), true);
    }

    /// Ends the stream with trailers, after all that was sent.
    pub(super) fn trailers(&mut self, trailers: HeaderMap) {
        let _ = self.stream.send_trailers(trailers);
    }

    /// The stream's number on its connection.
    pub(super) fn id(&self) -> u32 {
        self.stream.id()
    }

    /// Whether the last message was sent completely.
    pub(super) fn at_boundary(&self) -> bool {
        self.boundary.at_boundary()
    }

    /// Whether a whole message was sent.
    pub(super) fn has_sent(&self) -> bool {
        self.has_sent
    }

    /// How many bytes of `rest` complete the message that is half written.
    pub(super) fn unfinished(&self, rest: &MessageBatch) -> usize {
        self.boundary.lacking(rest.pieces())
    }

    pub(super) fn reset(&mut self, code: ResetCode) {
        self.stream.send_reset(code);
    }

    pub(super) fn poll_reset(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ResetCode, http2::Error>> {
        self.stream.poll_reset(cx)
    }
}

/// The piece, and what follows it in `run`, as one.
fn join(piece: Bytes, run: &mut MessageBatch, room: usize) -> Bytes {
    let most = room.min(JOINED);
    let mut joined = BytesMut::with_capacity(most.min(piece.len() + run.len()));
    joined.extend_from_slice(&piece);
    while let Some(next) = run.take_piece(most.saturating_sub(joined.len())) {
        joined.extend_from_slice(&next);
    }
    joined.freeze()
}
