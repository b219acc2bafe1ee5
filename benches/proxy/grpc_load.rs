//! The gRPC caller, on `h2` directly: streams with a window of messages in flight, short streams,
//! and single streams to time.
//!
//! Follows the gRPC project's PROTOCOL-HTTP2. One message is sent as one DATA frame.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};
use bytes::{Bytes, BytesMut};
use h2::client::{self, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{Request, header};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::gather::Gather;
use crate::grpc_echo::{PREFIX, message};
use crate::load::{Shape, Spec, Tally, Target};
use crate::pace;
use crate::ring::{Back, Ring};
use crate::{CONNECTION_WINDOW, STREAM_WINDOW};

type Opened = (client::ResponseFuture, SendStream<Bytes>);

/// A connection, and the task that drives it.
pub(crate) struct Connection {
    requests: SendRequest<Bytes>,
    _driver: JoinSet<()>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let (requests, connection, wire) =
            handshake(address, STREAM_WINDOW, CONNECTION_WINDOW).await?;
        let mut driver = JoinSet::new();
        driver.spawn_local(async move {
            let _ = wire.drive(connection).await;
        });
        Ok(Self {
            requests,
            _driver: driver,
        })
    }

    /// Opens a stream on which one echo has already come back.
    pub(crate) async fn stream(&self, target: &Target, size: usize) -> Result<Stream> {
        let (response, send) = open(&self.requests, target, "Echo").await?;
        let mut stream = Stream {
            send,
            recv: None,
            message: message(size),
        };
        stream.send.send_data(stream.message.clone(), false)?;
        stream.recv = Some(accepted(response).await?);
        stream.receive().await?;
        Ok(stream)
    }
}

/// Connects without driving the connection.
pub(crate) async fn handshake(
    address: SocketAddr,
    stream_window: u32,
    connection_window: u32,
) -> Result<(
    SendRequest<Bytes>,
    client::Connection<Gather, Bytes>,
    Gather,
)> {
    let wire = Gather::new(TcpStream::connect(address).await?)?;
    let (requests, connection) = client::Builder::new()
        .initial_window_size(stream_window)
        .initial_connection_window_size(connection_window)
        .max_concurrent_reset_streams(1 << 10)
        .handshake(wire.clone())
        .await?;
    Ok((requests, connection, wire))
}

/// Sends the head of a request.
pub(crate) async fn open(
    requests: &SendRequest<Bytes>,
    target: &Target,
    method: &str,
) -> Result<Opened> {
    let request = Request::post(format!(
        "http://{}/{}/{method}",
        target.address, target.service
    ))
    .header(header::TE, "trailers")
    .header(header::CONTENT_TYPE, target.content_type())
    .body(())?;
    Ok(requests
        .clone()
        .ready()
        .await?
        .send_request(request, false)?)
}

async fn accepted(response: client::ResponseFuture) -> Result<RecvStream> {
    let response = response.await?;
    ensure!(
        response.status() == 200,
        "HTTP status {}",
        response.status()
    );
    if let Some(status) = response.headers().get("grpc-status") {
        anyhow::bail!("refused: grpc-status {status:?}");
    }
    Ok(response.into_body())
}

/// One stream, used in turns: send, receive.
pub(crate) struct Stream {
    send: SendStream<Bytes>,
    recv: Option<RecvStream>,
    message: Bytes,
}

impl Stream {
    /// One round trip.
    pub(crate) async fn exchange(&mut self) -> Result<()> {
        self.send.send_data(self.message.clone(), false)?;
        self.receive().await
    }

    async fn receive(&mut self) -> Result<()> {
        let recv = self.recv.as_mut().context("no response")?;
        let mut have = 0;
        while have < self.message.len() {
            let chunk = recv.data().await.context("the stream ended")??;
            recv.flow_control().release_capacity(chunk.len())?;
            have += chunk.len();
        }
        Ok(())
    }

    /// RST_STREAM(CANCEL). The stream must stay alive until it has left.
    pub(crate) fn cancel(&mut self) {
        self.send.send_reset(Reason::CANCEL);
    }
}

/// Starts the load of one connection; it runs until the set is dropped.
pub(crate) async fn start(
    target: &Target,
    spec: &Spec,
    tally: &Rc<Tally>,
    tasks: &mut JoinSet<()>,
) -> Result<()> {
    let (requests, connection, wire) =
        handshake(target.address, STREAM_WINDOW, CONNECTION_WINDOW).await?;
    tasks.spawn_local(async move {
        let _ = wire.drive(connection).await;
    });
    let in_flight = match spec.shape {
        Shape::Rotate { in_flight } => in_flight,
        _ => 0,
    };
    let ring = Ring::new(spec.streams_per_connection(), in_flight);
    let ring = Rc::new(RefCell::new(ring));
    for _ in 0..spec.streams_per_connection() {
        let (requests, target, tally) = (requests.clone(), target.clone(), Rc::clone(tally));
        let (shape, message, ring) = (spec.shape, message(spec.size), Rc::clone(&ring));
        tasks.spawn_local(async move {
            let run = match shape {
                Shape::Long { window } => long(&requests, &target, window, &message, &tally).await,
                Shape::Short => short(&requests, &target, &message, &tally).await,
                Shape::Rotate { .. } => rotate(&requests, &target, &ring, &message, &tally).await,
                Shape::Paced => paced(&requests, &target, &message, &tally).await,
            };
            if let Err(e) = run {
                tally.fail(&e);
            }
        });
    }
    Ok(())
}

async fn long(
    requests: &SendRequest<Bytes>,
    target: &Target,
    window: usize,
    message: &Bytes,
    tally: &Tally,
) -> Result<()> {
    let (response, mut send) = open(requests, target, "Echo").await?;
    for _ in 0..window {
        send.send_data(message.clone(), false)?;
    }
    let mut recv = accepted(response).await?;
    let mut have = 0;
    while let Some(chunk) = recv.data().await {
        let chunk = chunk?;
        recv.flow_control().release_capacity(chunk.len())?;
        tally.frame();
        have += chunk.len();
        while have >= message.len() {
            have -= message.len();
            tally.done();
            send.send_data(message.clone(), false)?;
        }
    }
    anyhow::bail!("the callee ended the stream")
}

/// Streams of one connection, of which a few have a message in flight.
type Line = RefCell<Ring<Rc<RefCell<SendStream<Bytes>>>>>;

async fn rotate(
    requests: &SendRequest<Bytes>,
    target: &Target,
    ring: &Line,
    message: &Bytes,
    tally: &Tally,
) -> Result<()> {
    let (response, mut send) = open(requests, target, "Echo").await?;
    send.send_data(message.clone(), false)?;
    let send = Rc::new(RefCell::new(send));
    let mut recv = accepted(response).await?;
    let mut have = 0;
    while let Some(chunk) = recv.data().await {
        let chunk = chunk?;
        recv.flow_control().release_capacity(chunk.len())?;
        have += chunk.len();
        if have < message.len() {
            continue;
        }
        have -= message.len();
        // A stream that cannot send has ended, and reports that itself.
        let back = ring.borrow_mut().back(Rc::clone(&send), |next| {
            let _ = next.borrow_mut().send_data(message.clone(), false);
        });
        match back {
            Back::Joined => tally.up(),
            Back::Done => tally.done(),
        }
    }
    anyhow::bail!("the callee ended the stream")
}

async fn paced(
    requests: &SendRequest<Bytes>,
    target: &Target,
    request: &Bytes,
    tally: &Tally,
) -> Result<()> {
    let (response, mut send) = open(requests, target, "Tokens").await?;
    send.send_data(request.clone(), true)?;
    let mut recv = accepted(response).await?;
    let mut up = false;
    let mut held = BytesMut::new();
    while let Some(chunk) = recv.data().await {
        let chunk = chunk?;
        recv.flow_control().release_capacity(chunk.len())?;
        tally.frame();
        held.extend_from_slice(&chunk);
        while held.len() >= PREFIX + pace::SIZE {
            let message = held.split_to(PREFIX + pace::SIZE);
            tally.aged(message.get(PREFIX..).unwrap_or_default());
            if !std::mem::replace(&mut up, true) {
                tally.up();
            }
        }
    }
    anyhow::bail!("the callee ended the stream")
}

async fn short(
    requests: &SendRequest<Bytes>,
    target: &Target,
    message: &Bytes,
    tally: &Tally,
) -> Result<()> {
    loop {
        let (response, mut send) = open(requests, target, "Echo").await?;
        send.send_data(message.clone(), true)?;
        let mut recv = accepted(response).await?;
        let mut have = 0;
        while let Some(chunk) = recv.data().await {
            let chunk = chunk?;
            recv.flow_control().release_capacity(chunk.len())?;
            tally.frame();
            have += chunk.len();
        }
        let trailers = recv.trailers().await?.context("no trailers")?;
        let status = trailers.get("grpc-status").context("no grpc-status")?;
        ensure!(status == "0", "grpc-status {status:?}");
        ensure!(
            have == message.len(),
            "{have} bytes came back of {} (prefix {PREFIX})",
            message.len()
        );
        tally.done();
    }
}
