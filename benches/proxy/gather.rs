//! A socket that gathers: what one poll of an HTTP/2 connection writes leaves in one `write`.
//!
//! The `h2` crate writes and flushes every DATA frame of 256 bytes or more on its own. Here a write
//! only fills a buffer and a flush does nothing. The driver empties the buffer after the poll. This
//! knows nothing of HTTP/2. It shares no code with the proxy on purpose: an instrument with the
//! fault of what it measures would not show it.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Buffered bytes beyond which a write waits for the peer.
const HIGH_WATER: usize = 256 * 1024;

struct State {
    socket: TcpStream,
    out: Vec<u8>,
    sent: usize,
}

impl State {
    /// Writes what is buffered, as far as the socket takes it.
    fn push(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.out.get(self.sent..).filter(|r| !r.is_empty()) {
            match Pin::new(&mut self.socket).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => self.sent += n,
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.out.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

/// The gathering socket; a clone is a second handle to the same one.
#[derive(Clone)]
pub(crate) struct Gather(Rc<RefCell<State>>);

impl Gather {
    pub(crate) fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        Ok(Self(Rc::new(RefCell::new(State {
            socket,
            out: Vec::with_capacity(64 * 1024),
            sent: 0,
        }))))
    }

    /// Sends what has been gathered. An error shows at the connection's next read.
    pub(crate) fn push(&self, cx: &mut Context<'_>) {
        let _ = self.0.borrow_mut().push(cx);
    }

    /// Runs an `h2` client connection, emptying the buffer after each poll.
    pub(crate) async fn drive<F: Future>(self, connection: F) -> F::Output {
        let mut connection = pin!(connection);
        poll_fn(|cx| {
            let polled = connection.as_mut().poll(cx);
            self.push(cx);
            polled
        })
        .await
    }
}

impl AsyncRead for Gather {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Gather {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.borrow_mut();
        if state.out.len() >= HIGH_WATER {
            match state.push(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending => return Poll::Pending,
            }
        }
        state.out.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.borrow_mut();
        match state.push(cx) {
            Poll::Ready(_) => Pin::new(&mut state.socket).poll_shutdown(cx),
            Poll::Pending => Poll::Pending,
        }
    }
}
