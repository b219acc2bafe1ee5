//! Callers: streams on some connections, which cancel at a signal.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ripcord::stream::{
    Cancel, CancelSignal, Cause, Class, End, MessageBatch, Outbound, Path, Received,
};
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::spawn_local;

use super::callee::{SETTINGS, Seen};
use super::connection::{Call, Client, head};
use super::tap::{Role, Tapped};
use super::{Thread, Wire};

/// The text of a TTHeader caller's cancel.
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

/// How callers leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storm {
    /// Each cancels its stream.
    Cancel,
    /// Their connections are dropped: closed, or every other one reset.
    Drop,
    /// They half-close, and their streams are finished.
    Finish,
}

/// Callers, each with a stream, on some connections.
pub(crate) struct Callers {
    pub(crate) seen: Arc<Seen>,
    thread: Thread<Storm>,
}

/// What every stream of a caller needs.
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
            // Without a handle, an HTTP/2 connection closes as soon as no stream is open.
            let mut handles = Vec::new();
            for connection in 0..connections {
                let socket = TcpSocket::new_v4().unwrap();
                let socket = socket.connect(address).await.unwrap();
                let _ = socket.set_nodelay(true);
                if connection % 2 == 1 {
                    let _ = socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO));
                }
                let tapped = Tapped::new(socket, wire, Role::Callee, &noting.heard);
                let (dropped, heard) = (dropped(told.clone()), Arc::clone(&noting.heard));
                let broken = move || heard.lock().unwrap().errors += 1;
                let caller = Caller {
                    client: Client::connect(wire, tapped, SETTINGS, dropped, broken).await,
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
            // The connections live until nobody can give a signal any more.
            let mut told = told;
            while told.changed().await.is_ok() {}
            drop(handles);
        });
        Self { seen, thread }
    }

    /// Begins the storm. Returns when.
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

/// Waits for a storm that drops connections.
async fn dropped(mut told: watch::Receiver<Option<Storm>>) {
    let drop = |storm: &Option<Storm>| *storm == Some(Storm::Drop);
    if told.wait_for(drop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn message() -> MessageBatch {
    let mut run = MessageBatch::new();
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

/// A caller's stream, and whether it is its first.
struct Play<'a>(&'a mut Caller, bool);

impl Call for Play<'_> {
    type Output = ();
    async fn stream(self, stream: impl Outbound) {
        let Self(caller, first) = self;
        caller.play(stream, first).await;
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
        let client = self.client.clone();
        let play = Play(self, first);
        client.open(&head("Storm", "Echo"), play).await;
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
