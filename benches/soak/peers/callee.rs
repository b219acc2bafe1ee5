//! The callee: does what each stream orders, and reports to the ledger how the stream ended.

use std::cell::Cell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Result;
use bytes::BytesMut;
use ripcord::net::{http2, tcp};
use ripcord::stream::{End, Inbound, MessageBatch, Received, RequestHead, ResponseHead};
use ripcord::wire::{grpc, ttheader};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};

use super::tap::{Heard, Role, Tapped};
use super::{CALLEE, Order, Wire, grpc_config, http2_config, ttheader_config};
use crate::ledger::{Ledger, Told};
use crate::random::message;

/// A callee of one wire.
pub(crate) struct Callee {
    pub(crate) address: SocketAddr,
    kill: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    connections: Rc<Cell<usize>>,
    pub(crate) heard: Arc<Mutex<Heard>>,
}

impl Callee {
    /// Listens at `address`, or anywhere.
    pub(crate) fn start(
        wire: Wire,
        address: Option<SocketAddr>,
        ledger: &Rc<Ledger>,
    ) -> Result<Self> {
        let socket = tcp::listen(address.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0))))?;
        let address = socket.local_addr()?;
        let (kill, killed) = watch::channel(false);
        let heard = Arc::<Mutex<Heard>>::default();
        let connections = Rc::new(Cell::new(0));
        let serving = (
            Arc::clone(&heard),
            Rc::clone(&connections),
            Rc::clone(ledger),
        );
        let accepting = spawn_local(async move {
            let (heard, connections, ledger) = serving;
            let accept = async {
                while let Ok((socket, _)) = socket.accept().await {
                    // Killed, it resets its connections, and its address is free again.
                    let _ = socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO));
                    let _ = socket.set_nodelay(true);
                    let tapped = Tapped::new(socket, wire, Role::Caller, &heard);
                    connections.set(connections.get() + 1);
                    let connections = Rc::clone(&connections);
                    let served = serve(wire, tapped, Rc::clone(&ledger), killed.clone());
                    spawn_local(async move {
                        served.await;
                        connections.set(connections.get() - 1);
                    });
                }
            };
            let mut told = killed.clone();
            tokio::select! {
                biased;
                _ = told.wait_for(|killed| *killed) => {}
                () = accept => {}
            }
        });
        Ok(Self {
            address,
            kill,
            accepting,
            connections,
            heard,
        })
    }

    /// Closes its socket and every connection, as a killed process does.
    pub(crate) async fn kill(self) {
        self.kill.send_replace(true);
        let _ = self.accepting.await;
        while self.connections.get() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

async fn serve(wire: Wire, socket: Tapped, ledger: Rc<Ledger>, mut killed: watch::Receiver<bool>) {
    let serve = async {
        match wire {
            Wire::Grpc => {
                let connection = grpc::server::Connection::new(grpc_config());
                let control = connection.control();
                let on_request = move |request, respond| {
                    if let Some((head, stream)) = connection.accept(request, respond) {
                        spawn_local(handle(wire, head, stream, Rc::clone(&ledger)));
                    }
                };
                http2::serve(socket, &http2_config(), control, on_request).await;
            }
            Wire::TtHeader => {
                let on_stream = move |head, stream| {
                    spawn_local(handle(wire, head, Box::new(stream), Rc::clone(&ledger)));
                };
                let handle = ttheader::server::ServerHandle::new();
                let config = ttheader_config(usize::MAX);
                ttheader::server::serve(socket, config, handle, on_stream).await;
            }
        }
    };
    tokio::select! {
        biased;
        _ = killed.wait_for(|killed| *killed) => {}
        () = serve => {}
    }
}

async fn handle(wire: Wire, head: Box<RequestHead>, stream: Box<dyn Inbound>, ledger: Rc<Ledger>) {
    let Some(order) = Order::read(&head.metadata) else {
        let what = format!("a stream without an order came to the {wire:?} callee: {head:?}");
        ledger.unexpected("callee", 0, what);
        return;
    };
    let _live = ledger.enter(order.token);
    let mut served = Served {
        wire,
        order,
        stream,
    };
    if head.method != "Silent" {
        served.stream.send_head(ResponseHead {
            explicit: true,
            ..ResponseHead::default()
        });
    }
    let told = match head.method.as_str() {
        "Generate" => served.generate(&ledger).await,
        "Hold" | "Silent" => served.hold().await,
        _ => served.echo().await,
    };
    ledger.told(order.token, told);
}

/// One stream at the callee.
struct Served {
    wire: Wire,
    order: Order,
    stream: Box<dyn Inbound>,
}

impl Served {
    fn finish(&mut self) -> Told {
        let end = self.order.ending.end(self.wire, self.order.token);
        self.stream.finish(&end, CALLEE);
        Told::Finished
    }

    async fn recv(&mut self) -> Received {
        poll_fn(|cx| self.stream.poll_recv(cx)).await
    }

    /// Returns every message, and ends as ordered at the half-close.
    async fn echo(&mut self) -> Told {
        loop {
            match self.recv().await {
                Received::Messages(mut run) => {
                    self.stream.release(run.len());
                    poll_fn(|cx| self.stream.poll_send(cx, &mut run)).await;
                }
                Received::HalfClose => return self.finish(),
                Received::End(end) => return Told::Ended(end),
                Received::Head(_) => {}
            }
        }
    }

    /// Receives what comes and sends nothing.
    async fn hold(&mut self) -> Told {
        loop {
            match self.recv().await {
                Received::Messages(run) => self.stream.release(run.len()),
                Received::End(end) => return Told::Ended(end),
                Received::Head(_) | Received::HalfClose => {}
            }
        }
    }

    /// Waits for the request, and then sends what is ordered.
    async fn generate(&mut self, ledger: &Ledger) -> Told {
        let Order { seed, size, .. } = self.order;
        loop {
            match self.recv().await {
                Received::Messages(mut run) => {
                    self.stream.release(run.len());
                    let mut request = BytesMut::new();
                    run.pop_message_into(&mut request);
                    if request != message(seed, u64::MAX, 64) {
                        ledger.unexpected("callee", seed, "the request has changed".to_owned());
                    }
                    break;
                }
                Received::End(end) => return Told::Ended(end),
                Received::Head(_) | Received::HalfClose => {}
            }
        }
        for number in 0..self.order.count {
            if self.order.pause > 0 {
                let mut pause = pin!(tokio::time::sleep(Duration::from_millis(self.order.pause)));
                let ended = poll_fn(|cx| match self.poll_end(cx) {
                    Poll::Ready(end) => Poll::Ready(Some(end)),
                    Poll::Pending => pause.as_mut().poll(cx).map(|()| None),
                });
                if let Some(end) = ended.await {
                    return Told::Ended(end);
                }
            }
            let mut run = MessageBatch::new();
            run.push_message(false, message(seed, number, size));
            let ended = poll_fn(|cx| match self.poll_end(cx) {
                Poll::Ready(end) => Poll::Ready(Some(end)),
                Poll::Pending => self.stream.poll_send(cx, &mut run).map(|()| None),
            });
            if let Some(end) = ended.await {
                return Told::Ended(end);
            }
        }
        self.finish()
    }

    /// Whatever the caller sends is dropped, but for its end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            match self.stream.poll_recv(cx) {
                Poll::Ready(Received::End(end)) => return Poll::Ready(end),
                Poll::Ready(Received::Messages(run)) => self.stream.release(run.len()),
                Poll::Ready(Received::Head(_) | Received::HalfClose) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
