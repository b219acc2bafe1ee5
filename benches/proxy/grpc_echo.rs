//! The gRPC echo server, on `h2` directly. `/S/Echo` returns each message in a DATA frame of its
//! own and ends with status 0. `/S/Flood` sends without end, `/S/Tokens` at the pacer's pace.
//!
//! It follows the gRPC project's PROTOCOL-HTTP2 as far as an echo needs it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream, server};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use tokio::net::{TcpListener, TcpStream};

use crate::callee::{Callee, Ended};
use crate::gather::Gather;
use crate::{CONNECTION_WINDOW, STREAM_WINDOW, pace};

/// The 5-byte prefix of an uncompressed message.
pub(crate) const PREFIX: usize = 5;

/// One framed message of `size` payload bytes.
pub(crate) fn message(size: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(PREFIX + size);
    bytes.push(0);
    bytes.extend_from_slice(&u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes());
    bytes.resize(PREFIX + size, b'x');
    bytes.into()
}

/// Serves until the task is dropped.
pub(crate) async fn listen(listener: TcpListener, callee: Rc<Callee>) {
    while let Ok((socket, _)) = listener.accept().await {
        let callee = Rc::clone(&callee);
        tokio::task::spawn_local(async move {
            let _ = connection(socket, callee).await;
        });
    }
}

async fn connection(socket: TcpStream, callee: Rc<Callee>) -> Result<()> {
    let wire = Gather::new(socket)?;
    let mut connection = server::Builder::new()
        .max_concurrent_streams(1 << 20)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_pending_accept_reset_streams(1 << 20)
        .max_concurrent_reset_streams(1 << 10)
        .handshake::<_, Bytes>(wire.clone())
        .await?;
    loop {
        let accepted = poll_fn(|cx| {
            let polled = connection.poll_accept(cx);
            if !matches!(polled, std::task::Poll::Ready(Some(Ok(_)))) {
                wire.push(cx);
            }
            polled
        });
        let Some((request, respond)) = accepted.await.transpose()? else {
            return Ok(());
        };
        let callee = Rc::clone(&callee);
        tokio::task::spawn_local(async move {
            let _active = callee.enter();
            callee.record(match serve(request, respond, &callee).await {
                Ok(()) => Ended::HalfClose,
                Err(e) => ended(&e),
            });
        });
    }
}

fn ended(e: &anyhow::Error) -> Ended {
    match e.downcast_ref::<h2::Error>() {
        Some(e) if e.is_reset() && e.reason() == Some(Reason::CANCEL) => Ended::Cancel,
        Some(e) => match e.reason().filter(|_| e.is_reset()) {
            Some(reason) => Ended::OtherReset(reason.into()),
            None => Ended::ConnectionLost,
        },
        None => Ended::HalfClose,
    }
}

async fn serve(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    callee: &Callee,
) -> Result<()> {
    let method = request.uri().path().rsplit('/').next();
    let (flood, tokens) = (method == Some("Flood"), method == Some("Tokens"));
    let mut response = Response::new(());
    if let Some(kind) = request.headers().get(header::CONTENT_TYPE) {
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, kind.clone());
    }
    let send = respond.send_response(response, false)?;
    if flood {
        self::flood(send).await
    } else if tokens {
        self::tokens(request.into_body(), send, callee).await
    } else {
        echo(request.into_body(), send, callee).await
    }
}

async fn tokens(mut recv: RecvStream, send: SendStream<Bytes>, callee: &Callee) -> Result<()> {
    while let Some(chunk) = recv.data().await {
        recv.flow_control().release_capacity(chunk?.len())?;
    }
    let send = Rc::new(RefCell::new(send));
    let mine = Rc::clone(&send);
    let template = message(pace::SIZE);
    callee.pacer.join(move || {
        let mut message = BytesMut::from(&*template);
        if let Some(stamp) = message.get_mut(PREFIX..PREFIX + 8) {
            stamp.copy_from_slice(&pace::stamp());
        }
        mine.borrow_mut().send_data(message.freeze(), false).is_ok()
    });
    let reset = poll_fn(|cx| send.borrow_mut().poll_reset(cx)).await?;
    Err(h2::Error::from(reset).into())
}

async fn echo(mut recv: RecvStream, mut send: SendStream<Bytes>, callee: &Callee) -> Result<()> {
    let mut messages = Messages::default();
    while let Some(chunk) = recv.data().await {
        let mut chunk = chunk?;
        callee.message();
        recv.flow_control().release_capacity(chunk.len())?;
        while !chunk.is_empty() {
            send.send_data(messages.split(&mut chunk), false)?;
        }
    }
    anyhow::ensure!(messages.between(), "half-closed within a message");
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    // Fails if a reset came with the half-close (HAProxy); the half-close was first.
    let _ = send.send_trailers(trailers);
    Ok(())
}

async fn flood(mut send: SendStream<Bytes>) -> Result<()> {
    let messages = Bytes::from(message(1024).repeat(16));
    let mut rest = Bytes::new();
    loop {
        if rest.is_empty() {
            rest = messages.clone();
        }
        send.reserve_capacity(rest.len());
        let granted = poll_fn(|cx| {
            if let std::task::Poll::Ready(end) = send.poll_reset(cx) {
                return std::task::Poll::Ready(end.and_then(|reason| Err(reason.into())));
            }
            send.poll_capacity(cx)
                .map(|granted| granted.unwrap_or(Ok(0)))
        });
        let granted = granted.await?.min(rest.len());
        send.send_data(rest.split_to(granted), false)
            .context("flood")?;
    }
}

/// Finds where messages end, without copying them.
#[derive(Default)]
struct Messages {
    /// Bytes of the prefix seen so far, and the length they spell.
    prefix: usize,
    length: usize,
    /// Bytes of the payload still to come.
    left: usize,
}

impl Messages {
    /// Takes from `chunk` what belongs to one message.
    fn split(&mut self, chunk: &mut Bytes) -> Bytes {
        let mut taken = 0;
        if self.left == 0 {
            for byte in chunk.iter().take(PREFIX - self.prefix) {
                if self.prefix > 0 {
                    self.length = (self.length << 8) | usize::from(*byte);
                }
                self.prefix += 1;
                taken += 1;
            }
            if self.prefix == PREFIX {
                self.left = self.length;
                self.prefix = 0;
                self.length = 0;
            }
        }
        let body = self.left.min(chunk.len() - taken);
        self.left -= body;
        chunk.split_to(taken + body)
    }

    fn between(&self) -> bool {
        self.left == 0 && self.prefix == 0
    }
}
