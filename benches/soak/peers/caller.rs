//! Callers: a connection to a hop, and the calls on it.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use bytes::{Bytes, BytesMut};
use ripcord::net::http2::ConnectionEnd;
use ripcord::stream::{
    Class, End, MessageBatch, Metadata, Outbound, PREFIX, Payload, Received, RequestHead,
};
use ripcord::wire::{grpc, ttheader};
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::spawn_local;

use super::tap::{Heard, Role, Tapped};
use super::{CALLER, Order, Wire, grpc_config, http2_config, order, ttheader_config};

/// What a TTHeader caller that reads slowly leaves unread before its socket is not read.
const SLOW: usize = 64 << 10;

/// The signal for a connection to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Go,
    /// The socket stays open, and nobody reads it.
    Freeze,
    /// The socket is closed at once.
    Close,
}

enum Client {
    Grpc(grpc::client::Client),
    TtHeader(ttheader::client::Client),
}

/// A connection to a hop. Dropped, it closes once its calls are over.
pub(crate) struct Connection {
    client: Client,
    stop: watch::Sender<Stop>,
    pub(crate) heard: Arc<Mutex<Heard>>,
}

impl Connection {
    /// `slow`: its callers read slowly. `reset`: closing it at once resets it.
    pub(crate) async fn open(
        wire: Wire,
        address: SocketAddr,
        slow: bool,
        reset: bool,
    ) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        let socket = tokio::time::timeout(Duration::from_secs(60), socket.connect(address))
            .await
            .context("connecting takes over 60 s")??;
        socket.set_nodelay(true)?;
        if reset {
            socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
        }
        let heard = Arc::<Mutex<Heard>>::default();
        let tapped = Tapped::new(socket, wire, Role::Callee, &heard);
        let (stop, stopped) = watch::channel(Stop::Go);
        let client = match wire {
            Wire::Grpc => {
                let http2 = http2_config();
                let connecting = grpc::client::Client::connect(tapped, &http2, grpc_config());
                let (client, driver) = connecting.await.map_err(|e| anyhow!("{e:?}"))?;
                let errors = Arc::clone(&heard);
                spawn_local(drive(stopped, async move {
                    if driver.await != ConnectionEnd::Closed {
                        errors.lock().unwrap().errors += 1;
                    }
                }));
                Client::Grpc(client)
            }
            Wire::TtHeader => {
                let config = ttheader_config(if slow { SLOW } else { usize::MAX });
                let (client, driver) = ttheader::client::Client::new(tapped, config);
                spawn_local(drive(stopped, driver));
                Client::TtHeader(client)
            }
        };
        Ok(Self {
            client,
            stop,
            heard,
        })
    }

    /// Whether calls can be made on it.
    pub(crate) fn usable(&self) -> bool {
        match &self.client {
            Client::Grpc(client) => client.is_usable(),
            Client::TtHeader(client) => !client.is_closed(),
        }
    }

    pub(crate) fn stop(&self, how: Stop) {
        self.stop.send_replace(how);
    }

    pub(crate) async fn call(
        self: &Rc<Self>,
        service: &str,
        method: &str,
        order: Order,
        timeout: Option<Duration>,
    ) -> Result<Call> {
        let mut metadata = Metadata::new();
        order.write(&mut metadata);
        let head = RequestHead {
            service: service.to_owned(),
            method: method.to_owned(),
            payload: Payload::Thrift,
            to: Some("callee".to_owned()),
            caller: Some(CALLER.to_owned()),
            timeout,
            metadata,
            ..RequestHead::default()
        };
        let stream: Box<dyn Outbound> = match &self.client {
            Client::Grpc(client) => Box::new(client.open(&head).await?),
            Client::TtHeader(client) => Box::new(client.open(&head)?),
        };
        Ok(Call {
            stream,
            inbox: MessageBatch::new(),
            end: None,
            over: false,
            order,
            _connection: Rc::clone(self),
        })
    }
}

/// Drives a connection until it ends, or until the signal to stop.
async fn drive(mut told: watch::Receiver<Stop>, driver: impl Future<Output = ()>) {
    let mut driver = pin!(driver);
    loop {
        let now = *told.borrow_and_update();
        match now {
            // Its socket is dropped with the driver.
            Stop::Close => return,
            Stop::Freeze => {
                if told.changed().await.is_err() {
                    return;
                }
            }
            Stop::Go => {
                // Once nobody can tell anything any more it ends when it is idle.
                let changed = async {
                    if told.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                };
                tokio::select! {
                    biased;
                    () = changed => {}
                    () = driver.as_mut() => return,
                }
            }
        }
    }
}

/// What a call gives.
#[derive(Debug)]
pub(crate) enum Next {
    Message(Bytes),
    End(End),
}

/// A call. Dropped before its end it is canceled in whatever way the half does that.
pub(crate) struct Call {
    stream: Box<dyn Outbound>,
    /// Messages that were not asked for yet, still charged to the callee.
    inbox: MessageBatch,
    end: Option<End>,
    over: bool,
    pub(crate) order: Order,
    _connection: Rc<Connection>,
}

impl Call {
    /// Takes what came; whether there was anything.
    fn poll_inbox(&mut self, cx: &mut std::task::Context<'_>) -> Poll<()> {
        if self.over {
            return Poll::Ready(());
        }
        match self.stream.poll_recv(cx) {
            Poll::Ready(Received::Messages(mut run)) => self.inbox.append(&mut run),
            Poll::Ready(Received::End(end)) => {
                self.over = true;
                self.end = Some(end);
            }
            Poll::Ready(Received::Head(_) | Received::HalfClose) => {}
            Poll::Pending => return Poll::Pending,
        }
        Poll::Ready(())
    }

    /// Sends a message; meanwhile what comes is kept. Returns early when the stream ends.
    pub(crate) async fn send(&mut self, message: Bytes) {
        let mut run = MessageBatch::new();
        run.push_message(false, message);
        poll_fn(|cx| {
            // At the end whatever is left is dropped.
            while !self.over && self.poll_inbox(cx).is_ready() {}
            if self.over {
                return Poll::Ready(());
            }
            Pin::new(&mut self.stream).poll_send(cx, &mut run)
        })
        .await;
    }

    /// The next message, or the end; which comes once.
    pub(crate) async fn next(&mut self) -> Next {
        loop {
            let mut bytes = BytesMut::new();
            if let Some(message) = self.inbox.pop_message_into(&mut bytes) {
                if !self.over {
                    self.stream.release(PREFIX + message.len);
                }
                return Next::Message(bytes.freeze());
            }
            if let Some(end) = self.end.take() {
                return Next::End(end);
            }
            if self.over {
                // Asked again after the end: a fault of the scenario.
                std::future::pending::<()>().await;
            }
            poll_fn(|cx| self.poll_inbox(cx)).await;
        }
    }

    pub(crate) fn half_close(&mut self) {
        if !self.over {
            self.stream.half_close();
        }
    }

    /// Lets go; false when the stream had ended by itself.
    pub(crate) fn cancel(mut self) -> bool {
        if !self.over {
            let cancel = order::cancel(CALLER, Class::ByCaller);
            self.stream.cancel(&cancel);
        }
        !self.over
    }
}
