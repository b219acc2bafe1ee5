//! A connection's socket, as everything above sees it, and what is known of the connection.

use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::net::answer::{FirstAnswer, Unjudged};

/// Bytes that one read takes to detect what a connection speaks.
const FIRST: usize = 4096;

/// How much of a callee's first answer is read at once until it is judged, in bytes.
const FIRST_ANSWER: usize = 512;

/// What is known of a connection before anything was sent on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The peer's address.
    pub peer: SocketAddr,
    /// This side's address; `None` when the system does not know it.
    pub local: Option<SocketAddr>,
    /// The original destination, if the kernel redirected the connection here.
    pub original_destination: Option<SocketAddr>,
}

/// One connection. Bytes that were read to detect its protocol are read again first.
#[derive(Debug)]
pub struct Socket {
    io: TcpStream,
    first: BytesMut,
    /// `None` once the peer's first bytes are judged, and when nobody judges them.
    unjudged: Option<Box<Unjudged>>,
}

impl Socket {
    /// The socket of an open connection.
    #[must_use]
    pub fn new(io: TcpStream) -> Self {
        Self {
            io,
            first: BytesMut::new(),
            unjudged: None,
        }
    }

    /// The socket of a connection whose first bytes are judged. When they are refused, reading
    /// fails. When a write fails before they came, it fails with the judge's reason if there is
    /// one.
    #[must_use]
    pub fn judged(io: TcpStream, judge: Box<dyn FirstAnswer>) -> Self {
        Self {
            unjudged: Some(Box::new(Unjudged::new(judge))),
            ..Self::new(io)
        }
    }

    /// What [`Socket::read_first`] read, as far as it was not read again.
    #[must_use]
    pub fn first(&self) -> &[u8] {
        &self.first
    }

    /// Reads more of the connection's first bytes without taking them. Returns how many; 0 at the
    /// end of the connection.
    ///
    /// # Errors
    /// The system's error.
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

    /// Reads from a peer that is not judged yet.
    #[cold]
    fn poll_unjudged(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(unjudged) = &mut self.unjudged else {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        };
        if let Some(error) = unjudged.refused() {
            return Poll::Ready(Err(error));
        }
        // Nothing of an answer is given away before it is judged.
        let mut said = [0; FIRST_ANSWER];
        loop {
            let mut said = ReadBuf::new(&mut said);
            let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut said));
            let bytes = said.filled();
            let closed = read.is_err() || bytes.is_empty();
            let well = unjudged.heard(bytes, closed)?;
            if well || closed {
                self.first.extend_from_slice(unjudged.first());
                self.unjudged = None;
                return match read {
                    Err(error) if self.first.is_empty() => Poll::Ready(Err(error)),
                    Err(_) | Ok(()) if self.first.is_empty() => Poll::Ready(Ok(())),
                    Err(_) | Ok(()) => Pin::new(self).poll_read(cx, buf),
                };
            }
        }
    }

    /// A write failed. What the peer sent before may give the reason. It is read past the runtime,
    /// which may not know yet that there is something.
    #[cold]
    fn why(&mut self, error: io::Error) -> io::Error {
        let Some(unjudged) = &mut self.unjudged else {
            return error;
        };
        if let Some(refused) = unjudged.refused() {
            return refused;
        }
        let mut said = [0; 64];
        loop {
            let read = (&*SockRef::from(&self.io)).read(&mut said).unwrap_or(0);
            let closed = read == 0;
            match unjudged.heard(said.get(..read).unwrap_or_default(), closed) {
                Err(refused) => return refused,
                Ok(false) if !closed => {}
                Ok(_) => return error,
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unjudged.is_some() {
            return self.poll_unjudged(cx, buf);
        }
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
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf));
        Poll::Ready(written.map_err(|error| self.why(error)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs));
        Poll::Ready(written.map_err(|error| self.why(error)))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // When the peer closes now, the reason is that this side closed.
        self.unjudged = None;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::net::answer::Verdict;

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

    /// Refuses bytes that begin with `X`.
    struct NoX;

    impl FirstAnswer for NoX {
        fn judge(&mut self, first: &[u8], closed: bool) -> Verdict {
            match first {
                [b'X', ..] => Verdict::Refused("it says X".into()),
                [] if closed => Verdict::Refused("it says nothing".into()),
                [_, _, _, ..] => Verdict::Expected,
                _ => Verdict::More,
            }
        }
    }

    async fn judged() -> (Socket, TcpStream) {
        let listener = crate::net::tcp::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (Socket::judged(near.unwrap(), Box::new(NoX)), far.unwrap().0)
    }

    #[tokio::test]
    async fn a_refused_answer_is_the_error_of_every_read_and_no_byte_of_it_is_given() {
        let (mut near, mut far) = judged().await;
        far.write_all(b"XYZ").await.unwrap();
        for _ in 0..2 {
            let mut buf = Vec::new();
            let error = near.read_buf(&mut buf).await.unwrap_err();
            assert_eq!((error.to_string().as_str(), buf.len()), ("it says X", 0));
        }
    }

    #[tokio::test]
    async fn an_expected_answer_passes_whole_once_it_is_judged() {
        let (mut near, mut far) = judged().await;
        let mut all = Vec::new();
        far.write_all(b"ab").await.unwrap();
        {
            let early = near.read_buf(&mut all);
            let early = std::pin::pin!(early);
            let mut waits = true;
            tokio::select! {
                biased;
                _ = early => waits = false,
                () = tokio::task::yield_now() => {}
            }
            assert!(waits, "two bytes do not tell");
        }
        far.write_all(b"cX").await.unwrap();
        while all.len() < 4 {
            assert!(near.read_buf(&mut all).await.unwrap() > 0);
        }
        assert!(near.unjudged.is_none());
        drop(far);
        assert_eq!(near.read_buf(&mut all).await.unwrap(), 0);
        assert_eq!(all, b"abcX");
    }

    #[tokio::test]
    async fn a_write_that_fails_says_what_the_peer_said() {
        for (said, text) in [(&b"X"[..], "it says X"), (b"", "it says nothing")] {
            let (mut near, mut far) = judged().await;
            near.write_all(b"unread").await.unwrap();
            far.write_all(said).await.unwrap();
            // A socket closed with unread bytes resets the connection.
            drop(far);
            let error = loop {
                if let Err(error) = near.write_all(b"more").await {
                    break error;
                }
                tokio::task::yield_now().await;
            };
            assert_eq!(error.to_string(), text);
        }
    }

    #[tokio::test]
    async fn a_peer_that_closes_after_this_side_is_not_judged() {
        let (mut near, far) = judged().await;
        near.shutdown().await.unwrap();
        drop(far);
        assert_eq!(near.read_buf(&mut Vec::new()).await.unwrap(), 0);
    }
}
