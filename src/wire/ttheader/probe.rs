//! Asks a callee whether it knows the Rst frame, on a connection of its own.
//!
//! One Rst goes out for a stream that nobody opened. Kitex before v0.15.0 closes the connection
//! (`ttstream/transport.go`, `loopRead`). Since v0.15.0 it drops the frame without a line in its log
//! (`transport_server.go`, `readFrame`), and so does a ripcord. Nothing is opened, so no handler
//! runs and no other stream is touched.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info};

use crate::net::connection::DialOptions;
use crate::net::tcp;
use crate::stream::code;
use crate::wire::ttheader::conn::config::{Counters, count};
use crate::wire::ttheader::conn::form::PeerForm;
use crate::wire::ttheader::end::CancelForm;
use crate::wire::ttheader::exception;
use crate::wire::ttheader::frame::{Frame, Kind};
use crate::wire::ttheader::keys::PROTOCOL_THRIFT_STRUCT;
use crate::wire::ttheader::known::{self, Callee, Phase};

/// How long a callee that knows the frame stays quiet until that is believed. Measured, on a busy
/// machine: Kitex v0.13.1 and v0.14.1 close the connection within 11 ms.
const QUIET: Duration = Duration::from_millis(150);

/// How long the connection is watched afterwards. A callee that got no CPU may close it late.
const WATCH: Duration = Duration::from_secs(10);

/// How long a connection without a Rst stays open at a callee that closes no other.
const CONTROL: Duration = Duration::from_millis(50);

/// The stream that nobody opened.
const UNUSED: i32 = i32::MAX;

/// How long after its first connection a callee is asked, unless a stream is canceled earlier.
const LATER: Duration = Duration::from_secs(1);

/// How long after a question that told nothing it is asked again. It doubles with each.
const BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// The form for a new connection to a callee. Plans a probe if its answer is not known.
pub(super) fn ask(
    address: SocketAddr,
    options: &DialOptions,
    counters: &Arc<Counters>,
) -> PeerForm {
    let known = &counters.known;
    let callee = known.callee(address);
    let now = known.now();
    if callee.plan(now) {
        let probe = Probe {
            callee: Arc::clone(&callee),
            address,
            options: options.clone(),
            counters: Arc::clone(counters),
        };
        tokio::task::spawn_local(probe.run());
    }
    PeerForm::Callee(callee, now)
}

struct Probe {
    callee: Arc<Callee>,
    address: SocketAddr,
    options: DialOptions,
    counters: Arc<Counters>,
}

/// Also when its task is dropped: another one may ask then.
impl Drop for Probe {
    fn drop(&mut self) {
        self.callee.set(Phase::Idle);
    }
}

impl Probe {
    /// Asks until the callee answers, or has no connection any more.
    async fn run(self) {
        let mut backoff = BACKOFF;
        let _ = timeout(LATER, self.callee.hurried()).await;
        while self.is_wanted() && !self.ask().await {
            count(&self.counters.probes_failed);
            self.callee.set(Phase::Resting);
            sleep(backoff).await;
            backoff = MAX_BACKOFF.min(backoff * 2);
        }
    }

    /// The table of callees and this probe hold it; so does each of its connections.
    fn is_wanted(&self) -> bool {
        Arc::strong_count(&self.callee) > 2
    }

    /// Returns whether the callee answered.
    async fn ask(&self) -> bool {
        self.callee.set(Phase::Asking);
        let begun = Instant::now();
        let mut socket = match self.send().await {
            Ok(socket) => socket,
            Err(error) => {
                debug!(endpoint = %self.address, %error, "cannot ask a callee whether it knows the Rst frame");
                return false;
            }
        };
        // As far away as the callee is, so late comes its answer.
        let quiet = QUIET + begun.elapsed() * 2;
        if timeout(quiet, closes(&mut socket)).await.is_ok() {
            return self.closed().await;
        }
        self.tell(CancelForm::Rst);
        if timeout(WATCH, closes(&mut socket)).await.is_ok() {
            self.closed_late(begun.elapsed() * 2).await;
        }
        true
    }

    /// The callee closed the connection some time after the Rst. It may be slow, or it closes idle
    /// connections, or it has ended and another one is in its place. So it is asked again, beside a
    /// connection without a Rst that is open for longer.
    async fn closed_late(&self, within: Duration) {
        let (Ok(mut control), Ok(mut asked)) = (self.connect().await, self.send().await) else {
            return;
        };
        let mut control = pin!(closes(&mut control));
        let closed = timeout(within, closes(&mut asked)).await.is_ok();
        let open = timeout(CONTROL, control.as_mut()).await.is_err();
        if closed && open {
            self.tell(CancelForm::Trailer);
        }
    }

    /// The callee closed the connection. One that closes a connection without a Rst too, such as a
    /// proxy without a backend or a server over its limit, says nothing by it.
    async fn closed(&self) -> bool {
        let open = match self.connect().await {
            Ok(mut control) => timeout(CONTROL, closes(&mut control)).await.is_err(),
            Err(_) => false,
        };
        if open {
            self.tell(CancelForm::Trailer);
        }
        open
    }

    async fn send(&self) -> io::Result<TcpStream> {
        let mut socket = self.connect().await?;
        socket.write_all(&rst()).await?;
        Ok(socket)
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let Self { options, .. } = self;
        tcp::connect(self.address, options.connect_timeout, &options.tcp).await
    }

    fn tell(&self, form: CancelForm) {
        let new = self.callee.found(form, self.counters.known.now());
        count(match form {
            CancelForm::Rst => &self.counters.probes_rst,
            CancelForm::Trailer => &self.counters.probes_trailer,
        });
        if new {
            info!(endpoint = %self.address, cancel_as = known::word(form), "found out how a callee takes a cancel");
        }
    }
}

/// Waits until the peer closes the connection. What it sends is dropped.
async fn closes(socket: &mut TcpStream) {
    let mut sink = BytesMut::with_capacity(1024);
    while socket.read_buf(&mut sink).await.is_ok_and(|n| n > 0) {
        sink.clear();
    }
}

fn rst() -> BytesMut {
    let mut frame = Frame::new(Kind::Rst, UNUSED, PROTOCOL_THRIFT_STRUCT, "probe".into());
    frame.payload = exception::encode(
        "probe",
        UNUSED,
        code::FOREIGN,
        "does this callee know Rst frames?",
    );
    let mut out = BytesMut::new();
    let _ = frame.encode(&mut out);
    out
}

#[cfg(test)]
mod tests;
