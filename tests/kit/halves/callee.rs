//! A callee that echoes, and records every stream's end.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use ripcord::net::tcp;
use ripcord::stream::{End, Inbound, RequestHead, ResponseHead};
use tokio::sync::watch;
use tokio::task::spawn_local;

use super::connection::{self, Serve, Settings, anywhere};
use super::tap::{Heard, Role, Tapped};
use super::{Thread, Wire};
use crate::kit::process::LIMIT;

/// The settings of these peers.
pub(super) const SETTINGS: Settings = Settings {
    stream_window: 64 << 10,
    carried: false,
    many: true,
};

/// What a peer observed.
#[derive(Default)]
pub(crate) struct Seen {
    /// For a callee, the streams that were opened. For a caller, the streams that had a first
    /// answer.
    pub(super) ready: AtomicUsize,
    /// Messages that came back to callers.
    pub(super) talked: AtomicUsize,
    ends: Mutex<Vec<(Instant, End)>>,
    more: Condvar,
    pub(super) heard: Arc<Mutex<Heard>>,
}

impl Seen {
    pub(super) fn ready(&self) {
        self.ready.fetch_add(1, Ordering::Relaxed);
        drop(self.ends.lock().unwrap());
        self.more.notify_all();
    }

    pub(super) fn ended(&self, end: End) {
        self.ends.lock().unwrap().push((Instant::now(), end));
        self.more.notify_all();
    }

    /// Waits until so many streams are ready.
    pub(crate) fn wait_ready(&self, count: usize) {
        self.wait("streams are ready", count, |_| {
            self.ready.load(Ordering::Relaxed)
        });
    }

    /// Waits until so many streams have ended, and takes their ends.
    pub(crate) fn wait_ended(&self, count: usize) -> Vec<(Instant, End)> {
        self.wait("streams have ended", count, Vec::len);
        std::mem::take(&mut *self.ends.lock().unwrap())
    }

    fn wait(&self, what: &str, count: usize, now: impl Fn(&Vec<(Instant, End)>) -> usize) {
        let end = Instant::now() + LIMIT;
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

    /// The number of streams that were ready.
    pub(crate) fn readied(&self) -> usize {
        self.ready.load(Ordering::Relaxed)
    }

    /// The number of messages that came back.
    pub(crate) fn talked(&self) -> usize {
        self.talked.load(Ordering::Relaxed)
    }

    /// How many more ends came than were taken.
    pub(crate) fn extra(&self) -> usize {
        self.ends.lock().unwrap().len()
    }

    /// What the tap saw on its connections.
    pub(crate) fn heard(&self) -> Heard {
        self.heard.lock().unwrap().clone()
    }
}

/// A callee that echoes, and records every stream's end.
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
            let socket = tcp::listen(address.unwrap_or_else(anywhere)).unwrap();
            sender.send(socket.local_addr().unwrap()).unwrap();
            let mut killed = told.clone();
            let accept = async {
                while let Ok((socket, _)) = socket.accept().await {
                    // When it is killed it resets its connections, and its address is free again.
                    let _ = socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO));
                    let _ = socket.set_nodelay(true);
                    let tapped = Tapped::new(socket, wire, Role::Caller, &serving.heard);
                    let echo = Echo(Arc::clone(&serving));
                    let mut killed = told.clone();
                    spawn_local(async move {
                        tokio::select! {
                            biased;
                            _ = killed.wait_for(Option::is_some) => {}
                            () = connection::serve(wire, tapped, SETTINGS, echo) => {}
                        }
                    });
                }
            };
            tokio::select! {
                biased;
                _ = killed.wait_for(Option::is_some) => {}
                () = accept => {}
            }
            // The connections end too. They need not wait until all their streams are dropped.
            tokio::task::yield_now().await;
        });
        let address = listening.recv().unwrap();
        Self {
            address,
            seen,
            thread,
        }
    }

    /// Closes its socket and every connection, as a killed process does. Returns when.
    pub(crate) fn kill(&mut self) -> Instant {
        let now = Instant::now();
        self.thread.tell(());
        self.thread.join();
        now
    }
}

#[derive(Clone)]
struct Echo(Arc<Seen>);

impl Serve for Echo {
    async fn stream(self, _: RequestHead, mut stream: impl Inbound) {
        stream.send_head(ResponseHead {
            explicit: true,
            ..ResponseHead::default()
        });
        self.0.ready();
        if let Some(end) = connection::echo(&mut stream).await {
            self.0.ended(end);
        }
    }
}
