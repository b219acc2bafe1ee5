//! A gRPC callee, frame by frame, that holds its clients to its limits and remembers what each
//! connection did. Without any HTTP/2 library: nothing is queued, merged or forgiven.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::h2raw::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RESET, SETTINGS, WINDOW, field,
    frame,
};
use super::process::LIMIT;

const ACK: u8 = 1;
const REFUSED: u32 = 7;
const INTERNAL: u32 = 2;
const CALM: u32 = 11;

/// How it counts resets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resets {
    /// As many as they like.
    Any,
    /// As nghttp2: 1,000, then 33 in each whole second.
    Nghttp2,
    /// As Netty: 200 in 30 s from the first.
    Netty,
    /// As Envoy: of the first 500 streams, fewer than half within two seconds and before an answer.
    Envoy,
}

/// What it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// SETTINGS_MAX_CONCURRENT_STREAMS, if it sends that.
    pub(crate) streams: Option<u32>,
    /// The same for all connections after the first, if it is another.
    pub(crate) later: Option<u32>,
    /// When its SETTINGS leave.
    pub(crate) late: Duration,
    /// How it counts resets.
    pub(crate) resets: Resets,
    /// Whether it sends the head of a response at once.
    pub(crate) head: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            streams: None,
            later: None,
            late: Duration::ZERO,
            resets: Resets::Any,
            head: false,
        }
    }
}

/// What was seen on all connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) connections: usize,
    /// Streams that were opened, and those that are open.
    pub(crate) opened: usize,
    pub(crate) open: usize,
    /// Streams over the limit, which were refused.
    pub(crate) refused: usize,
    /// Streams that were opened before its SETTINGS were acknowledged.
    pub(crate) before_ack: usize,
    pub(crate) resets: usize,
    /// SETTINGS that were acknowledged.
    pub(crate) acks: usize,
    /// Connections that it said GOAWAY on.
    pub(crate) left: usize,
    /// Connections that it ended for their resets.
    pub(crate) ended: usize,
}

#[derive(Default)]
struct State {
    seen: Seen,
    /// Whether streams that are half-closed are answered.
    answers: bool,
    /// SETTINGS that have to be sent to every connection, in order.
    limits: Vec<u32>,
    /// It says GOAWAY on so many connections, the first ones.
    leaves: usize,
}

/// A callee on threads of its own.
pub(crate) struct Strict {
    pub(crate) address: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Strict {
    /// Starts it. It answers every half-closed stream with OK at once.
    pub(crate) fn start(rules: Rules) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let shared: Arc<(Mutex<State>, Condvar)> = Arc::default();
        shared.0.lock().unwrap().answers = true;
        let all = Arc::clone(&shared);
        std::thread::spawn(move || {
            for socket in socket.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&all);
                std::thread::spawn(move || serve(socket, rules, shared));
            }
        });
        Self { address, shared }
    }

    /// Whether it answers streams that are half-closed.
    pub(crate) fn answer(&self, answers: bool) {
        self.shared.0.lock().unwrap().answers = answers;
    }

    /// Sends SETTINGS with this limit on all connections.
    pub(crate) fn limit(&self, streams: u32) {
        self.shared.0.lock().unwrap().limits.push(streams);
    }

    /// Sends GOAWAY on all connections that are open now. Their streams go on.
    pub(crate) fn leave(&self) {
        let mut state = self.shared.0.lock().unwrap();
        state.leaves = state.seen.connections;
    }

    /// What was seen until now.
    pub(crate) fn seen(&self) -> Seen {
        self.shared.0.lock().unwrap().seen.clone()
    }

    /// Waits until what was seen is so.
    pub(crate) fn wait(&self, what: &str, done: impl Fn(&Seen) -> bool) -> Seen {
        let state = self.shared.0.lock().unwrap();
        let waited = self
            .shared
            .1
            .wait_timeout_while(state, LIMIT, |state| !done(&state.seen));
        let (state, waited) = waited.unwrap();
        assert!(!waited.timed_out(), "{what}: {:?}", state.seen);
        state.seen.clone()
    }
}

/// How many streams a client resets on one connection.
struct Count {
    rules: Resets,
    start: Instant,
    /// nghttp2's tokens and second; Netty's resets and the start of its window.
    tokens: u64,
    at: Duration,
    /// Envoy's: closed, and reset early.
    closed: u64,
    early: u64,
}

impl Count {
    fn new(rules: Resets) -> Self {
        Self {
            rules,
            start: Instant::now(),
            tokens: match rules {
                Resets::Nghttp2 => 1000,
                Resets::Any | Resets::Netty | Resets::Envoy => 0,
            },
            at: Duration::ZERO,
            closed: 0,
            early: 0,
        }
    }

    /// One more. The code with which the connection has to end, if it is one too many.
    fn reset(&mut self, early: bool) -> Option<(u32, &'static str)> {
        let now = self.start.elapsed();
        match self.rules {
            Resets::Any => None,
            Resets::Nghttp2 => {
                let seconds = now.as_secs() - self.at.as_secs();
                self.tokens = (self.tokens + 33 * seconds).min(1000);
                self.at = now;
                match self.tokens.checked_sub(1) {
                    Some(left) => self.tokens = left,
                    None => return Some((INTERNAL, "")),
                }
                None
            }
            Resets::Netty => {
                if self.tokens == 0 || now - self.at >= Duration::from_secs(30) {
                    (self.tokens, self.at) = (0, now);
                }
                self.tokens += 1;
                (self.tokens > 200).then_some((CALM, "Maximum number of RST frames reached"))
            }
            Resets::Envoy => {
                self.closed += 1;
                self.early += u64::from(early);
                let most = self.closed.max(500);
                (self.early * 2 >= most).then_some((0, ""))
            }
        }
    }
}

/// An open stream.
struct Stream {
    since: Instant,
    half_closed: bool,
}

struct Connection {
    socket: TcpStream,
    rules: Rules,
    shared: Arc<(Mutex<State>, Condvar)>,
    streams: HashMap<u32, Stream>,
    count: Count,
    limit: Option<u32>,
    acked: bool,
    /// How many of the later SETTINGS were sent.
    sent: usize,
    /// The last stream, and whether GOAWAY was sent.
    last: u32,
    left: bool,
    /// Which connection it is, from 1.
    number: usize,
}

fn serve(socket: TcpStream, rules: Rules, shared: Arc<(Mutex<State>, Condvar)>) {
    let _ = socket.set_nodelay(true);
    let mut state = shared.0.lock().unwrap();
    state.seen.connections += 1;
    let number = state.seen.connections;
    // Of the limits that were set before, the last one counts from the start.
    let (sent, set) = (state.limits.len(), state.limits.last().copied());
    drop(state);
    let mut connection = Connection {
        socket,
        rules,
        shared,
        streams: HashMap::new(),
        count: Count::new(rules.resets),
        limit: set.or(rules.later.filter(|_| number > 1)).or(rules.streams),
        acked: false,
        sent,
        last: 0,
        number,
        left: false,
    };
    let _ = connection.run();
    let open = connection.streams.len();
    connection.state().seen.open -= open;
    connection.shared.1.notify_all();
    let _ = connection.socket.shutdown(Shutdown::Both);
}

impl Connection {
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap()
    }

    fn run(&mut self) -> std::io::Result<()> {
        // A peer that is late with its SETTINGS. Not a wait for an event.
        std::thread::sleep(self.rules.late);
        let limit = self.limit.map(setting).unwrap_or_default();
        self.socket.write_all(&frame(SETTINGS, 0, 0, &limit))?;
        let room = frame(WINDOW, 0, 0, &(100_u32 << 20).to_be_bytes());
        self.socket.write_all(&room)?;
        self.socket
            .set_read_timeout(Some(Duration::from_millis(5)))?;
        let (mut unread, mut piece) = (Vec::new(), vec![0; 64 << 10]);
        let mut begun = false;
        loop {
            self.between()?;
            match self.socket.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(n) => unread.extend_from_slice(&piece[..n]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => return Err(e),
            }
            if !begun && unread.len() >= PREFACE.len() {
                unread.drain(..PREFACE.len());
                begun = true;
            }
            let mut at = 0;
            while begun && unread.len() >= at + 9 {
                let head: [u8; 9] = unread[at..at + 9].try_into().unwrap();
                let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                let Some(payload) = unread.get(at + 9..at + 9 + len) else {
                    break;
                };
                let payload = payload.to_vec();
                let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                self.frame(head[3], head[4], stream, &payload)?;
                at += 9 + len;
            }
            unread.drain(..at);
        }
    }

    /// New SETTINGS, and answers to streams that were half-closed while it did not answer.
    fn between(&mut self) -> std::io::Result<()> {
        let state = self.state();
        let limits: Vec<u32> = state.limits.iter().skip(self.sent).copied().collect();
        let (answers, leaves) = (state.answers, state.leaves);
        drop(state);
        if leaves >= self.number && !std::mem::replace(&mut self.left, true) {
            let mut payload = self.last.to_be_bytes().to_vec();
            payload.extend([0; 4]);
            self.socket.write_all(&frame(GOAWAY, 0, 0, &payload))?;
            self.state().seen.left += 1;
            self.shared.1.notify_all();
        }
        for limit in limits {
            self.sent += 1;
            self.limit = Some(limit);
            self.socket
                .write_all(&frame(SETTINGS, 0, 0, &setting(limit)))?;
        }
        if answers {
            let done: Vec<u32> = self
                .streams
                .iter()
                .filter(|(_, s)| s.half_closed)
                .map(|(id, _)| *id)
                .collect();
            for stream in done {
                self.close(stream);
                let mut block = match self.rules.head {
                    true => Vec::new(),
                    false => head(),
                };
                block.extend(field("grpc-status", "0"));
                let flags = END_HEADERS | END_STREAM;
                self.socket
                    .write_all(&frame(HEADERS, flags, stream, &block))?;
            }
        }
        Ok(())
    }

    /// Forgets a stream. Returns it if it was open.
    fn close(&mut self, id: u32) -> Option<Stream> {
        let stream = self.streams.remove(&id)?;
        self.state().seen.open -= 1;
        self.shared.1.notify_all();
        Some(stream)
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> std::io::Result<()> {
        match kind {
            SETTINGS if flags & ACK != 0 => {
                self.acked = true;
                self.state().seen.acks += 1;
                self.shared.1.notify_all();
            }
            SETTINGS => self.socket.write_all(&frame(SETTINGS, ACK, 0, &[]))?,
            PING if flags & ACK == 0 => self.socket.write_all(&frame(PING, ACK, 0, payload))?,
            HEADERS => self.opened(stream, flags)?,
            DATA if flags & END_STREAM != 0 => self.half_closed(stream),
            RESET => return self.reset(stream),
            _ => {}
        }
        Ok(())
    }

    fn opened(&mut self, stream: u32, flags: u8) -> std::io::Result<()> {
        let full = self.limit.is_some_and(|l| self.streams.len() >= l as usize);
        let (before_ack, rules) = (!self.acked, self.rules);
        self.last = stream;
        let mut state = self.state();
        state.seen.opened += 1;
        state.seen.before_ack += usize::from(before_ack);
        state.seen.refused += usize::from(full);
        state.seen.open += usize::from(!full);
        drop(state);
        if full {
            let refused = frame(RESET, 0, stream, &REFUSED.to_be_bytes());
            self.socket.write_all(&refused)?;
        } else {
            let opened = Stream {
                since: Instant::now(),
                half_closed: flags & END_STREAM != 0,
            };
            self.streams.insert(stream, opened);
            if rules.head {
                let answer = frame(HEADERS, END_HEADERS, stream, &head());
                self.socket.write_all(&answer)?;
            }
        }
        self.shared.1.notify_all();
        Ok(())
    }

    fn half_closed(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.half_closed = true;
        }
    }

    fn reset(&mut self, id: u32) -> std::io::Result<()> {
        // First: whoever waits until no stream is open finds all resets counted.
        self.state().seen.resets += 1;
        let closed = self.close(id);
        let young = closed.is_some_and(|s| s.since.elapsed() < Duration::from_secs(2));
        let too_many = self.count.reset(young && !self.rules.head);
        if let Some((code, why)) = too_many {
            self.state().seen.ended += 1;
            let mut payload = id.to_be_bytes().to_vec();
            payload.extend(code.to_be_bytes());
            payload.extend(why.as_bytes());
            self.socket.write_all(&frame(GOAWAY, 0, 0, &payload))?;
            return Err(ErrorKind::Other.into());
        }
        self.shared.1.notify_all();
        Ok(())
    }
}

fn setting(streams: u32) -> Vec<u8> {
    let mut setting = vec![0, 3];
    setting.extend(streams.to_be_bytes());
    setting
}

fn head() -> Vec<u8> {
    // :status 200 of the static table.
    let mut block = vec![0x88];
    block.extend(field("content-type", "application/grpc+thrift"));
    block
}
