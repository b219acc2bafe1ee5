//! A socket whose writes are gathered.
//!
//! The `h2` crate (0.4.20) writes and flushes frame by frame. [`Gather`] takes those writes into a
//! buffer and pretends to be flushed; who drives the connection calls [`GatherHandle::poll_flush`]
//! once at the end of each poll, so that everything one poll wrote leaves in one system call
//! (client and server without a proxy: from 244,000 to 1,558,000 messages of 1 KiB a second). Pieces of 16 KiB or more are not
//! copied: they go out at once, behind what was gathered, in one vectored write.
//!
//! `h2` also reads 8 KiB at a time, less what is left of its buffer: four system calls for the 16
//! messages of 1 KiB that wait. [`Gather`] reads ahead into a buffer of its own then; of a long burst
//! only the beginning, so that large messages are not copied.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::net::held::Held;
use crate::net::refusals::Refusals;

/// Slices below this many bytes are copied into the gathered buffer. It is the size of a full DATA
/// frame: a message of 16 KiB or more leaves in full frames, which are not copied, while copying up
/// to 8 KiB of merged small messages costs a tenth of the system call that it saves (1 KiB messages,
/// window 8: 4.3 CPU seconds per million with 4096 here).
const GATHER_BELOW: usize = 16 * 1024;

/// The most bytes gathered before the socket has to take some.
const GATHER_MAX: usize = 64 * 1024;

/// The most read ahead.
const AHEAD: usize = 32 * 1024;

/// The most read between two flushes, in bytes. Whoever reads what comes in has a turn then, before
/// more comes: `h2` holds no more than this of it in frames that may be small, and the streams of one
/// connection do not wait for all that another one's peer sent.
const TURN: u64 = 256 * 1024;

/// Who has room for this much is read into directly.
const ROOM: usize = 16 * 1024;

thread_local! {
    /// One buffer for reading ahead: most of the time it is empty again before the next connection
    /// of this thread is polled.
    static SPARE: Cell<BytesMut> = Cell::default();
}

/// The connection's side: give it to `h2`.
#[derive(Debug)]
pub struct Gather<IO>(Rc<RefCell<Inner<IO>>>);

/// The driver's side.
#[derive(Debug)]
pub struct GatherHandle<IO>(Rc<RefCell<Inner<IO>>>);

#[derive(Debug)]
struct Inner<IO> {
    io: IO,
    /// Bytes read ahead; given to the reader first.
    first: BytesMut,
    /// More waits than is read ahead at once: it is read directly.
    burst: bool,
    out: BytesMut,
    /// Says whether to read, and counts what was.
    gate: Option<Rc<Held>>,
    /// Bytes read since the driver last asked; tells keepalive that the peer lives.
    read: u64,
    /// Bytes read since the driver last flushed.
    turn: u64,
    /// Bytes that the socket took.
    written: u64,
    /// Looks for streams that `h2` refuses by itself.
    refusals: Option<Box<Refusals>>,
    /// A write was refused since the driver last asked: `h2` has more.
    refused: bool,
}

/// Wraps `io`.
pub fn gather<IO>(io: IO) -> (Gather<IO>, GatherHandle<IO>) {
    let out = BytesMut::new();
    let inner = Rc::new(RefCell::new(Inner {
        io,
        first: BytesMut::new(),
        burst: false,
        out,
        gate: None,
        read: 0,
        turn: 0,
        written: 0,
        refusals: None,
        refused: false,
    }));
    (Gather(Rc::clone(&inner)), GatherHandle(inner))
}

impl<IO: AsyncWrite + Unpin> Inner<IO> {
    /// Writes until nothing is left.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let n = ready!(Pin::new(&mut self.io).poll_write(cx, &self.out))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(n);
            self.written += n as u64;
        }
        if self.out.capacity() > GATHER_MAX * 2 {
            self.out = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what was gathered with `bufs` right behind it; returns how much of `bufs` was taken.
    fn poll_through(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut slices = [IoSlice::new(&[]); 16];
            let mut used = 0;
            let all = std::iter::once(&self.out[..]).chain(bufs.iter().map(|b| &b[..]));
            for (slot, buf) in slices.iter_mut().zip(all) {
                *slot = IoSlice::new(buf);
                used += 1;
            }
            let slices = slices.get(..used).unwrap_or_default();
            let n = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += n as u64;
            let gathered = self.out.len().min(n);
            self.out.advance(gathered);
            self.look(bufs, n - gathered);
            if n > gathered {
                return Poll::Ready(Ok(n - gathered));
            }
        }
    }
}

impl<IO> Inner<IO> {
    /// Looks at the first `taken` bytes of `bufs`.
    fn look(&mut self, bufs: &[IoSlice<'_>], mut taken: usize) {
        let Some(refusals) = &mut self.refusals else {
            return;
        };
        for buf in bufs {
            let part = buf.get(..taken.min(buf.len())).unwrap_or_default();
            taken -= part.len();
            refusals.feed(part);
        }
    }

    /// Gives what was read ahead.
    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let n = self.first.len().min(buf.remaining());
        buf.put_slice(self.first.get(..n).unwrap_or_default());
        self.first.advance(n);
        if self.first.is_empty() {
            SPARE.set(std::mem::take(&mut self.first));
        }
    }
}

impl<IO: AsyncRead + Unpin> Inner<IO> {
    /// Reads ahead; returns how much.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut ahead = SPARE.take();
        ahead.reserve(AHEAD);
        let room = ahead.capacity();
        let polled = pin!(self.io.read_buf(&mut ahead)).poll(cx);
        if let Poll::Ready(Ok(n)) = &polled
            && *n > 0
        {
            self.burst = *n == room;
            self.first = ahead;
        } else {
            SPARE.set(ahead);
        }
        polled
    }
}

impl<IO> GatherHandle<IO> {
    /// From now on `held` is asked before each read, and told of it.
    pub fn set_gate(&self, held: Rc<Held>) {
        self.0.borrow_mut().gate = Some(held);
    }

    /// From now on [`GatherHandle::take_refusals`] counts. To be called before anything is written.
    pub fn watch_refusals(&self) {
        self.0.borrow_mut().refusals = Some(Box::default());
    }

    /// How many streams `h2` refused by itself since the last call.
    pub fn take_refusals(&self) -> u32 {
        let mut inner = self.0.borrow_mut();
        inner
            .refusals
            .as_mut()
            .map_or(0, |refusals| refusals.take())
    }

    /// Bytes read since the last call.
    pub fn take_read(&self) -> u64 {
        std::mem::take(&mut self.0.borrow_mut().read)
    }

    /// Bytes that the socket took so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.0.borrow().written
    }

    /// Whether a write was refused since the last call.
    pub fn take_refused(&self) -> bool {
        std::mem::take(&mut self.0.borrow_mut().refused)
    }

    /// Whether the socket still owes the writing of gathered bytes.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        !self.0.borrow().out.is_empty()
    }
}

impl<IO: AsyncWrite + Unpin> GatherHandle<IO> {
    /// Writes what was gathered. It ends the driver's turn: as much may be read in the next one.
    ///
    /// # Errors
    /// The socket's.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.borrow_mut();
        inner.turn = 0;
        inner.poll_drain(cx)
    }
}

impl<IO: AsyncRead + Unpin> GatherHandle<IO> {
    /// Reads and drops what the peer still sends; ready when it has closed its side.
    pub fn poll_discard(&self, cx: &mut Context<'_>) -> Poll<()> {
        let inner = &mut *self.0.borrow_mut();
        let mut sink = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut sink);
            match ready!(Pin::new(&mut inner.io).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Gather<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.borrow_mut();
        if !inner.first.is_empty() {
            inner.give(buf);
            return Poll::Ready(Ok(()));
        }
        if inner.turn >= TURN {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(gate) = &inner.gate {
            ready!(gate.poll_gate(cx));
        }
        let ahead = buf.remaining() < ROOM && !inner.burst;
        let bytes = if ahead {
            ready!(inner.poll_ahead(cx))?
        } else {
            let (before, room) = (buf.filled().len(), buf.remaining());
            ready!(Pin::new(&mut inner.io).poll_read(cx, buf))?;
            let bytes = buf.filled().len() - before;
            inner.burst &= bytes == room;
            bytes
        };
        if let Some(gate) = &inner.gate {
            gate.arrived(bytes);
        }
        inner.read += bytes as u64;
        inner.turn += bytes as u64;
        if ahead {
            inner.give(buf);
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Gather<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let inner = &mut *self.0.borrow_mut();
        let len: usize = bufs.iter().map(|b| b.len()).sum();
        if len >= GATHER_BELOW || inner.out.len() + len > GATHER_MAX {
            let polled = inner.poll_through(cx, bufs);
            inner.refused |= polled.is_pending();
            return polled;
        }
        inner.look(bufs, len);
        for buf in bufs {
            inner.out.extend_from_slice(buf);
        }
        Poll::Ready(Ok(len))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: the driver flushes, once for each poll.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.borrow_mut();
        ready!(inner.poll_drain(cx))?;
        Pin::new(&mut inner.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;

    use super::*;

    /// Reads `total` bytes through buffers of `room` bytes.
    async fn read_all(
        reader: &mut Gather<tokio::io::DuplexStream>,
        total: usize,
        room: usize,
    ) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = vec![0; room];
        while all.len() < total {
            let mut buf = ReadBuf::new(&mut buffer);
            poll_fn(|cx| Pin::new(&mut *reader).poll_read(cx, &mut buf))
                .await
                .unwrap();
            assert!(!buf.filled().is_empty(), "ended at {}", all.len());
            all.extend_from_slice(buf.filled());
        }
        all
    }

    #[tokio::test]
    async fn what_is_read_ahead_comes_in_order_for_readers_of_any_size() {
        for room in [1, 100, 8 << 10, ROOM, 64 << 10] {
            let sent: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
            let (mut peer, io) = tokio::io::duplex(70 << 10);
            let (mut reader, handle) = gather(io);
            let rest = sent.clone();
            let writing = tokio::spawn(async move {
                peer.write_all(&rest).await.unwrap();
                peer
            });
            let got = read_all(&mut reader, sent.len(), room).await;
            assert!(got == sent, "room {room}");
            drop(writing.await.unwrap());
            assert_eq!(handle.take_read(), sent.len() as u64);
            let mut byte = [0];
            let mut buf = ReadBuf::new(&mut byte);
            poll_fn(|cx| Pin::new(&mut reader).poll_read(cx, &mut buf))
                .await
                .unwrap();
            assert!(buf.filled().is_empty());
        }
    }
}
