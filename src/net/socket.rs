//! A connection's socket, as everything above it sees it, and what is known of the connection.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How much is read at once to tell what a connection speaks, in bytes.
const FIRST: usize = 4096;

/// What is known of a connection before anything is said on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The peer's address.
    pub peer: SocketAddr,
    /// This side's address; `None` where the system does not say.
    pub local: Option<SocketAddr>,
    /// Where the peer was going, if the kernel redirected it here.
    pub original_destination: Option<SocketAddr>,
}

/// One connection. Bytes that were read to tell its protocol are read again first.
#[derive(Debug)]
pub struct Socket {
    io: TcpStream,
    first: BytesMut,
}

impl Socket {
    /// The socket of an open connection.
    #[must_use]
    pub fn new(io: TcpStream) -> Self {
        Self {
            io,
            first: BytesMut::new(),
        }
    }

    /// What was read by [`Socket::read_first`] and not read again since.
    #[must_use]
    pub fn first(&self) -> &[u8] {
        &self.first
    }

    /// Reads more of the connection's first bytes without taking them; returns how many, 0 at its
    /// end.
    ///
    /// # Errors
    /// The system's.
    pub async fn read_first(&mut self) -> io::Result<usize> {
        if self.first.len() == self.first.capacity() {
            self.first.reserve(FIRST);
        }
        self.io.read_buf(&mut self.first).await
    }

    /// The TCP socket, for its addresses and options.
    #[must_use]
    pub const fn tcp(&self) -> &TcpStream {
        &self.io
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let n = self.first.len().min(buf.remaining());
        buf.put_slice(self.first.get(..n).unwrap_or_default());
        self.first.advance(n);
        if self.first.is_empty() {
            self.first = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn first_bytes_are_read_again_before_the_others() {
        let listener = crate::net::tcp::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut near, mut far) = (near.unwrap(), Socket::new(far.unwrap().0));
        near.write_all(b"PRI ").await.unwrap();
        while far.first().len() < 4 {
            assert!(far.read_first().await.unwrap() > 0);
        }
        assert_eq!(far.first(), b"PRI ");
        near.write_all(b"* HTTP").await.unwrap();
        drop(near);
        let (mut all, mut three) = (Vec::new(), [0; 3]);
        far.read_exact(&mut three).await.unwrap();
        far.read_to_end(&mut all).await.unwrap();
        assert_eq!((&three, all.as_slice()), (b"PRI", b" * HTTP".as_slice()));
        assert!(far.first().is_empty());
    }
}
