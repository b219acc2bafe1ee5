//! A caller and a callee of any wire, by that wire's own roles.

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use ripcord::net::bounds::Bounds;
use ripcord::net::connection::{ConnectionEnd, DialOptions, Drive};
use ripcord::net::socket::Socket;
use ripcord::stream::{
    Acceptor, Cancel, End, Failure, Half, Inbound, Initiator, MessageBatch, Metadata, Outbound,
    Received, RequestHead, ResponseHead, Status, Wire,
};
use ripcord::wire::{Client, Counters, Dialers, OutboundStream, Servers};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_local;

use super::canceled;

/// One stream of an application that calls.
pub(crate) struct Call {
    client: Client,
    stream: OutboundStream,
}

struct Spawn;

impl Drive for Spawn {
    fn drive(self, driver: impl Future<Output = ConnectionEnd> + 'static) {
        spawn_local(driver);
    }
}

impl Call {
    pub(super) async fn open(wire: &'static Wire, address: SocketAddr, head: &RequestHead) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        let dialers = Dialers::new(&Bounds::wide("caller"), &Counters::default());
        let (socket, options) = (Socket::new(socket), DialOptions::default());
        let client = dialers
            .connect(wire, socket, &options, Spawn)
            .await
            .unwrap();
        let stream = client.open(head).await.unwrap();
        Self { client, stream }
    }

    pub(super) async fn another(&self, head: &RequestHead) -> Self {
        let client = self.client.clone();
        let stream = client.open(head).await.unwrap();
        Self { client, stream }
    }

    pub(crate) async fn send(&mut self, message: &[u8]) {
        let mut run = MessageBatch::new();
        run.push_message(false, Bytes::copy_from_slice(message));
        poll_fn(|cx| self.stream.poll_send(cx, &mut run)).await;
    }

    /// Sends bytes as they are, in the place of messages.
    pub(crate) async fn send_raw(&mut self, bytes: &'static [u8]) {
        let mut run = MessageBatch::new();
        run.push_bytes(Bytes::from_static(bytes));
        poll_fn(|cx| self.stream.poll_send(cx, &mut run)).await;
    }

    pub(crate) fn half_close(&mut self) {
        self.stream.half_close();
    }

    pub(crate) fn cancel(&mut self, cancel: &Cancel) {
        self.stream.cancel(cancel);
    }

    async fn recv(&mut self) -> Received {
        poll_fn(|cx| self.stream.poll_recv(cx)).await
    }

    /// Waits for a message.
    pub(crate) async fn first_message(&mut self) {
        loop {
            match self.recv().await {
                Received::Messages(run) => return self.stream.release(run.len()),
                Received::Head(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Takes everything up to the end.
    pub(crate) async fn finish(mut self) -> (Vec<Vec<u8>>, End) {
        let mut messages = Vec::new();
        loop {
            match self.recv().await {
                Received::Messages(mut run) => {
                    self.stream.release(run.len());
                    let mut one = bytes::BytesMut::new();
                    while run.pop_message_into(&mut one).is_some() {
                        messages.push(one.split().to_vec());
                    }
                }
                Received::End(end) => return (messages, end),
                Received::Head(_) => {}
                Received::HalfClose => panic!("a callee does not half-close"),
            }
        }
    }
}

/// An application that is called, in one way for each method.
pub(crate) struct Callee {
    pub(super) wire: &'static Wire,
    pub(super) address: SocketAddr,
    lose: watch::Sender<u32>,
}

impl Callee {
    pub(super) async fn start(wire: &'static Wire, heard: mpsc::UnboundedSender<End>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (lose, losing) = watch::channel(0);
        let servers = Servers::new(&Bounds::wide("callee"), &Counters::default());
        let servers = Rc::new(servers);
        spawn_local(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (servers, mut losing) = (Rc::clone(&servers), losing.clone());
                let handlers = Handlers {
                    wire,
                    heard: heard.clone(),
                    tasks: Rc::default(),
                };
                let tasks = Rc::clone(&handlers.tasks);
                losing.mark_unchanged();
                spawn_local(async move {
                    tokio::select! {
                        biased;
                        _ = losing.changed() => {}
                        _ = servers.serve(wire, Socket::new(socket), handlers) => {}
                    }
                    for task in tasks.borrow_mut().drain(..) {
                        task.abort();
                    }
                });
            }
        });
        Self {
            wire,
            address,
            lose,
        }
    }

    /// Closes every connection, as a process does that dies.
    pub(super) fn lose(&self) {
        self.lose.send_modify(|times| *times += 1);
    }
}

struct Handlers {
    wire: &'static Wire,
    heard: mpsc::UnboundedSender<End>,
    tasks: Rc<RefCell<Vec<tokio::task::JoinHandle<()>>>>,
}

impl Acceptor for Handlers {
    type DrainGuard = ();

    fn open<I: Inbound + 'static>(&self, head: Box<RequestHead>, inbound: Box<I>) {
        let (wire, heard) = (self.wire, self.heard.clone());
        let handled = async move {
            if let Some(end) = handle(wire, &head.method, *inbound).await {
                let _ = heard.send(end);
            }
        };
        self.tasks.borrow_mut().push(spawn_local(handled));
    }

    fn violation(&self, kind: &'static str, _what: &str) {
        panic!("{kind}");
    }

    fn on_drain(&self, _: impl Fn() + 'static) {}
}

/// Serves one stream. Returns the end that it received, if it did not end the stream itself.
async fn handle(wire: &Wire, method: &str, mut stream: impl Inbound) -> Option<End> {
    let up = |stream: &mut dyn Inbound| {
        stream.send_head(ResponseHead {
            explicit: true,
            ..ResponseHead::default()
        });
    };
    if wire.heads && method != "Silent" {
        up(&mut stream);
    }
    let own = match method {
        "Echo" => return echo(stream).await,
        "Fail" => End::failed(
            Failure::Status(Status {
                code: 5,
                message: "gone".to_owned(),
                details: None,
            }),
            Metadata::new(),
        ),
        "LetGo" => End::canceled(Initiator::Callee, canceled("model")),
        _ => {
            let sent = match method {
                // A thrift struct without fields.
                "Hold" => (vec![0], 1),
                "Large" => (vec![b'x'; 200 << 10], 1),
                "Garbage" => (b"no thrift".to_vec(), 1),
                "Pour" => (vec![b'x'; 16 << 10], 1 << 20),
                "Flag" => {
                    let mut run = MessageBatch::new();
                    run.push_bytes(Bytes::from_static(&[9, 0, 0, 0, 1, b'x']));
                    poll_fn(|cx| stream.poll_send(cx, &mut run)).await;
                    (Vec::new(), 0)
                }
                _ => (Vec::new(), 0),
            };
            return Some(pour(stream, sent.0.into(), sent.1).await);
        }
    };
    stream.finish(&own, "callee");
    None
}

async fn echo(mut stream: impl Inbound) -> Option<End> {
    loop {
        match poll_fn(|cx| stream.poll_recv(cx)).await {
            Received::Messages(mut run) => {
                stream.release(run.len());
                poll_fn(|cx| stream.poll_send(cx, &mut run)).await;
            }
            Received::HalfClose => {
                stream.finish(&End::complete(Metadata::new()), "callee");
                return None;
            }
            Received::End(end) => return Some(end),
            Received::Head(_) => {}
        }
    }
}

/// Sends `message` so often, and takes what comes until the end.
async fn pour(mut stream: impl Inbound, message: Bytes, mut times: usize) -> End {
    let mut run = MessageBatch::new();
    poll_fn(|cx| {
        loop {
            match stream.poll_recv(cx) {
                std::task::Poll::Ready(Received::Messages(run)) => stream.release(run.len()),
                std::task::Poll::Ready(Received::End(end)) => {
                    return std::task::Poll::Ready(end);
                }
                std::task::Poll::Ready(Received::HalfClose | Received::Head(_)) => {}
                std::task::Poll::Pending => break,
            }
        }
        loop {
            if run.is_empty() {
                if times == 0 {
                    break;
                }
                times -= 1;
                run.push_message(false, message.clone());
            }
            if stream.poll_send(cx, &mut run).is_pending() {
                break;
            }
        }
        std::task::Poll::Pending
    })
    .await
}
