//! The peers of `tests/storms.rs`: callers and a callee made of the crate's own halves, with limits
//! that are never in the way, on sockets that are listened to ([`tap`]).

mod callers;
mod tap;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ripcord::net::http2::{self, Http2Config};
use ripcord::net::tcp;
use ripcord::stream::{End, Inbound, RequestHead, ResponseHead};
use ripcord::wire::{grpc, ttheader};
use tokio::sync::watch;
use tokio::task::spawn_local;

use crate::peer_config;
pub(crate) use callers::{CALLER, CAUSE, Callers, Storm, TEXT, Then, Traffic};
pub(crate) use tap::Heard;
use tap::{Role, Tapped};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Grpc,
    TtHeader,
}
use Wire::{Grpc, TtHeader};

/// Bytes that a stream may receive unread.
const STREAM_WINDOW: u32 = 64 << 10;

fn http2_config() -> Http2Config {
    Http2Config {
        stream_window: STREAM_WINDOW,
        connection_window: peer_config::CONNECTION_WINDOW,
        max_streams: 1 << 20,
        pending_resets: 1 << 20,
        ..Http2Config::default()
    }
}

/// What a peer noticed.
#[derive(Default)]
pub(crate) struct Seen {
    /// Streams that were opened to a callee; streams of a caller that had a first answer.
    ready: AtomicUsize,
    /// Messages that came back to callers.
    talked: AtomicUsize,
    ends: Mutex<Vec<(Instant, End)>>,
    more: Condvar,
    heard: Arc<Mutex<Heard>>,
}

impl Seen {
    fn ready(&self) {
        self.ready.fetch_add(1, Ordering::Relaxed);
        drop(self.ends.lock().unwrap());
        self.more.notify_all();
    }

    fn ended(&self, end: End) {
        self.ends.lock().unwrap().push((Instant::now(), end));
        self.more.notify_all();
    }

    /// Waits until so many streams are ready.
    pub(crate) fn wait_ready(&self, count: usize) {
        self.wait("streams are ready", count, |_| {
            self.ready.load(Ordering::Relaxed)
        });
    }

    /// Waits until so many streams have ended, and takes what they said.
    pub(crate) fn wait_ended(&self, count: usize) -> Vec<(Instant, End)> {
        self.wait("streams have ended", count, Vec::len);
        std::mem::take(&mut *self.ends.lock().unwrap())
    }

    fn wait(&self, what: &str, count: usize, now: impl Fn(&Vec<(Instant, End)>) -> usize) {
        let end = Instant::now() + PATIENCE;
        let mut ends = self.ends.lock().unwrap();
        while now(&ends) < count {
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "of {count} {what}: {}; heard {:?}",
                now(&ends),
                self.heard()
            );
            ends = self.more.wait_timeout(ends, left).unwrap().0;
        }
    }

    /// How many streams were ready.
    pub(crate) fn readied(&self) -> usize {
        self.ready.load(Ordering::Relaxed)
    }

    /// How many messages came back.
    #[allow(dead_code, reason = "only the abuse suite asks")]
    pub(crate) fn talked(&self) -> usize {
        self.talked.load(Ordering::Relaxed)
    }

    /// How many more ends came than were taken.
    pub(crate) fn extra(&self) -> usize {
        self.ends.lock().unwrap().len()
    }

    /// What was said on its connections.
    pub(crate) fn heard(&self) -> Heard {
        self.heard.lock().unwrap().clone()
    }
}

/// A thread with a runtime of its own, that is told one thing and ends when it is dropped.
struct Thread<C> {
    command: Option<watch::Sender<Option<C>>>,
    thread: Option<JoinHandle<()>>,
}

impl<C: Send + Sync + 'static> Thread<C> {
    fn start<F: Future<Output = ()>>(
        run: impl FnOnce(watch::Receiver<Option<C>>) -> F + Send + 'static,
    ) -> Self {
        let (command, told) = watch::channel(None);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build_local(tokio::runtime::LocalOptions::default());
            runtime.unwrap().block_on(run(told));
        });
        Self {
            command: Some(command),
            thread: Some(thread),
        }
    }

    fn tell(&self, command: C) {
        self.command.as_ref().unwrap().send_replace(Some(command));
    }

    fn join(&mut self) {
        self.command = None;
        if let Some(thread) = self.thread.take() {
            let done = thread.join();
            assert!(done.is_ok() || std::thread::panicking(), "a peer panicked");
        }
    }
}

impl<C> Drop for Thread<C> {
    fn drop(&mut self) {
        self.command = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

// -- The callee ----------------------------------------------------------------------------------

/// A callee that echoes and notes every stream's end.
pub(crate) struct Callee {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    thread: Thread<()>,
}

impl Callee {
    /// Listens at `address`, or anywhere.
    pub(crate) fn start(wire: Wire, address: Option<SocketAddr>) -> Self {
        let seen = Arc::<Seen>::default();
        let (sender, listening) = std::sync::mpsc::channel();
        let serving = Arc::clone(&seen);
        let thread = Thread::start(move |told: watch::Receiver<Option<()>>| async move {
            let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
            let socket = tcp::listen(address.unwrap_or(anywhere)).unwrap();
            sender.send(socket.local_addr().unwrap()).unwrap();
            let mut killed = told.clone();
            let accept = async {
                while let Ok((socket, _)) = socket.accept().await {
                    // Killed, it resets its connections; and its address is free again.
                    let _ = socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO));
                    let _ = socket.set_nodelay(true);
                    let tapped = Tapped::new(socket, wire, Role::Caller, &serving.heard);
                    spawn_local(serve(wire, tapped, Arc::clone(&serving), told.clone()));
                }
            };
            tokio::select! {
                biased;
                _ = killed.wait_for(Option::is_some) => {}
                () = accept => {}
            }
            // The connections hear it too, and need not wait until all their streams are dropped.
            tokio::task::yield_now().await;
        });
        let address = listening.recv().unwrap();
        Self {
            address,
            seen,
            thread,
        }
    }

    /// Closes its socket and every connection, as a killed process does; when.
    pub(crate) fn kill(&mut self) -> Instant {
        let now = Instant::now();
        self.thread.tell(());
        self.thread.join();
        now
    }
}

async fn serve(
    wire: Wire,
    socket: Tapped,
    seen: Arc<Seen>,
    mut killed: watch::Receiver<Option<()>>,
) {
    let serve = async {
        match wire {
            Grpc => {
                let connection =
                    grpc::server::Connection::new(peer_config::grpc(STREAM_WINDOW, false));
                let control = connection.control();
                let on_request = move |request, respond| {
                    if let Some((head, stream)) = connection.accept(request, respond) {
                        spawn_local(handle(head, stream, Arc::clone(&seen)));
                    }
                };
                http2::serve(socket, &http2_config(), control, on_request).await;
            }
            TtHeader => {
                let on_stream = move |head, stream| {
                    spawn_local(handle(head, stream, Arc::clone(&seen)));
                };
                let handle = ttheader::server::ServerHandle::new();
                ttheader::server::serve(socket, peer_config::ttheader(false), handle, on_stream)
                    .await;
            }
        }
    };
    tokio::select! {
        biased;
        _ = killed.wait_for(Option::is_some) => {}
        () = serve => {}
    }
}

async fn handle(_: RequestHead, mut stream: impl Inbound, seen: Arc<Seen>) {
    stream.send_head(ResponseHead {
        explicit: true,
        ..ResponseHead::default()
    });
    seen.ready();
    if let Some(end) = peer_config::echo(&mut stream).await {
        seen.ended(end);
    }
}
