//! Callers: streams on some connections, that let go when they are told.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ripcord::net::http2::ConnectionEnd;
use ripcord::stream::{
    Cancel, CancelSignal, Cause, Class, End, Outbound, Path, Payload, Received, RequestHead, Run,
};
use ripcord::wire::{grpc, ttheader};
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::spawn_local;

use super::Wire::{self, Grpc, TtHeader};
use super::tap::{Heard, Role, Tapped};
use super::{STREAM_WINDOW, Seen, Thread, http2_config};
use crate::peer_config;

/// What a TTHeader caller says when it cancels.
pub(crate) const TEXT: &str = "storm";
pub(crate) const CAUSE: i32 = 12007;
pub(crate) const CALLER: &str = "caller";

/// What the streams do until the storm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// One message there and back, then nothing.
    Quiet,
    /// A message there and back, again and again.
    Busy,
}

/// What a caller does besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Nothing,
    /// Opens another stream as soon as its own has ended, once.
    TryAgain,
    /// Sends a message and cancels as soon as it has opened its stream.
    CancelAtOnce,
}

/// How callers let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storm {
    /// Each cancels its stream.
    Cancel,
    /// Their connections are dropped: closed, or every other one reset.
    Drop,
    /// They half-close, and have their streams finished.
    Finish,
}

/// Callers with streams of their own on some connections.
pub(crate) struct Callers {
    pub(crate) seen: Arc<Seen>,
    thread: Thread<Storm>,
}

#[derive(Clone)]
enum Client {
    Grpc(grpc::client::Client),
    TtHeader(Rc<ttheader::client::Client>),
}

/// What every stream of a caller has.
#[derive(Clone)]
struct Caller {
    client: Client,
    traffic: Traffic,
    then: Then,
    seen: Arc<Seen>,
    told: watch::Receiver<Option<Storm>>,
}

impl Callers {
    /// Opens `streams` streams on `connections` connections.
    pub(crate) fn start(
        wire: Wire,
        address: SocketAddr,
        (connections, streams): (usize, usize),
        traffic: Traffic,
        then: Then,
    ) -> Self {
        let seen = Arc::<Seen>::default();
        let noting = Arc::clone(&seen);
        let thread = Thread::start(move |told| async move {
            // Without a handle an HTTP/2 connection closes as soon as no stream is open.
            let mut handles = Vec::new();
            for connection in 0..connections {
                let socket = TcpSocket::new_v4().unwrap();
                let socket = socket.connect(address).await.unwrap();
                let _ = socket.set_nodelay(true);
                if connection % 2 == 1 {
                    let _ = socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO));
                }
                let tapped = Tapped::new(socket, wire, Role::Callee, &noting.heard);
                let caller = Caller {
                    client: connect(wire, tapped, told.clone(), Arc::clone(&noting.heard)).await,
                    traffic,
                    then,
                    seen: Arc::clone(&noting),
                    told: told.clone(),
                };
                handles.push(caller.client.clone());
                for _ in 0..streams / connections {
                    spawn_local(caller.clone().run());
                }
            }
            // The connections live until nobody has anything to tell any more.
            let mut told = told;
            while told.changed().await.is_ok() {}
            drop(handles);
        });
        Self { seen, thread }
    }

    /// Lets the storm begin; when.
    pub(crate) fn let_go(&self, how: Storm) -> Instant {
        let now = Instant::now();
        self.thread.tell(how);
        now
    }

    /// Ends the connections and the thread.
    pub(crate) fn close(mut self) {
        self.thread.join();
    }
}

async fn connect(
    wire: Wire,
    socket: Tapped,
    mut told: watch::Receiver<Option<Storm>>,
    heard: Arc<Mutex<Heard>>,
) -> Client {
    let dropped = async move {
        let drop = |storm: &Option<Storm>| *storm == Some(Storm::Drop);
        if told.wait_for(drop).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    match wire {
        Grpc => {
            let http2 = http2_config();
            let connecting = grpc::client::Client::connect(
                socket,
                &http2,
                peer_config::grpc(STREAM_WINDOW, false),
            );
            let (client, driver) = connecting.await.unwrap();
            spawn_local(async move {
                let end = tokio::select! { biased; () = dropped => return, end = driver => end };
                if end != ConnectionEnd::Closed {
                    heard.lock().unwrap().errors += 1;
                }
            });
            Client::Grpc(client)
        }
        TtHeader => {
            let (client, driver) =
                ttheader::client::Client::new(socket, peer_config::ttheader(false));
            spawn_local(async move {
                tokio::select! { biased; () = dropped => {}, () = driver => {} }
            });
            Client::TtHeader(Rc::new(client))
        }
    }
}

fn message() -> Run {
    let mut run = Run::new();
    run.push_message(false, Bytes::from_static(&[1; 100]));
    run
}

fn cancel() -> Cancel {
    Cancel {
        cause: Cause {
            code: CAUSE,
            text: TEXT.to_owned(),
        },
        path: Path::from_origin(CALLER),
        class: Class::ByCaller,
        signal: CancelSignal::named("rst"),
        status: None,
    }
}

impl Caller {
    async fn run(mut self) {
        self.stream(true).await;
        if self.then == Then::TryAgain && self.told.borrow().is_none() {
            self.stream(false).await;
        }
    }

    async fn stream(&mut self, first: bool) {
        let head = RequestHead {
            service: "Storm".to_owned(),
            method: "Echo".to_owned(),
            payload: Payload::Thrift,
            to: Some("callee".to_owned()),
            ..RequestHead::default()
        };
        match self.client.clone() {
            Client::Grpc(client) => self.play(client.open(&head).await.unwrap(), first).await,
            Client::TtHeader(client) => self.play(client.open(&head).unwrap(), first).await,
        }
    }

    async fn play(&mut self, mut stream: impl Outbound, first: bool) {
        if self.then == Then::CancelAtOnce {
            poll_fn(|cx| stream.poll_send(cx, &mut message())).await;
            return stream.cancel(&cancel());
        }
        let mut told = self.told.clone();
        let storm = tokio::select! {
            biased;
            storm = told.wait_for(Option::is_some) => storm.ok().and_then(|storm| *storm),
            end = self.talk(&mut stream, first) => return self.seen.ended(end),
        };
        match storm {
            Some(Storm::Cancel) => stream.cancel(&cancel()),
            Some(Storm::Drop) => std::future::pending().await,
            Some(Storm::Finish) | None => {
                stream.half_close();
                let end = self.listen(&mut stream).await;
                self.seen.ended(end);
            }
        }
    }

    /// Messages there and back until the end.
    async fn talk(&self, stream: &mut impl Outbound, first: bool) -> End {
        let mut ready = !first;
        loop {
            let mut run = message();
            poll_fn(|cx| stream.poll_send(cx, &mut run)).await;
            loop {
                match poll_fn(|cx| stream.poll_recv(cx)).await {
                    Received::Messages(run) => {
                        self.seen.talked.fetch_add(1, Ordering::Relaxed);
                        break stream.release(run.len());
                    }
                    Received::End(end) => return end,
                    Received::Head(_) | Received::HalfClose => {}
                }
            }
            if !std::mem::replace(&mut ready, true) {
                self.seen.ready();
            }
            if self.traffic == Traffic::Quiet {
                return self.listen(stream).await;
            }
        }
    }

    async fn listen(&self, stream: &mut impl Outbound) -> End {
        loop {
            match poll_fn(|cx| stream.poll_recv(cx)).await {
                Received::Messages(run) => stream.release(run.len()),
                Received::End(end) => return end,
                Received::Head(_) | Received::HalfClose => {}
            }
        }
    }
}
