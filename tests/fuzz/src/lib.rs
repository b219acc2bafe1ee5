//! A world for one connection whose peer is a fuzzer: an in-memory transport, a paused clock, and
//! players of the streams. So a run is a function of its bytes.
//!
//! Here is what must hold for every connection, whatever its peer sends. It ends once the peer is
//! gone, and so does every stream. Neither polls without end. All memory that was charged is given
//! back.

pub mod schema;
pub mod thrift;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ripcord::net::budget::Budget;
use ripcord::stream::{
    Cancel, Cause, Class, End, LocalEndKind, CancelSignal, Inbound, Metadata, Outbound, Path, Payload,
    Received, RequestHead, ResponseHead, MessageBatch, Scope, code,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{sleep, timeout};

/// The process budget. Inputs are small beside it.
pub const BUDGET: usize = 1 << 20;

/// The longest message.
pub const MESSAGE: usize = 32 * 1024;

/// By when everything must be over once the peer has closed: far beyond each grace of the settings.
const OVER: Duration = Duration::from_secs(600);

/// Polls of one connection in one run: inputs have a few KiB.
const POLLS: usize = 200_000;

/// What the first bytes of an input decide.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    flags: u8,
    /// How streams are played, two bits for each of four.
    modes: u8,
}

impl Plan {
    /// Splits an input.
    pub fn of(input: &[u8]) -> Option<(Self, &[u8])> {
        let (&[flags, modes], bytes) = input.split_first_chunk()?;
        Some((Self { flags, modes }, bytes))
    }

    /// Whether ripcord is the client.
    pub fn client(self) -> bool {
        self.flags & 1 != 0
    }

    /// Whether the carried fields count.
    pub fn carried(self) -> bool {
        self.flags & 2 != 0
    }

    /// Whether the peer is marked as another ripcord.
    pub fn to_ripcord(self) -> bool {
        self.flags & 4 != 0
    }

    /// Whether the connection's opening is sent on behalf of the fuzzer.
    pub fn opened(self) -> bool {
        self.flags & 8 != 0
    }

    /// Whether the peer reads nothing before it has sent everything.
    fn deaf(self) -> bool {
        self.flags & 16 != 0
    }

    /// How many bytes the peer sends at once.
    fn step(self) -> usize {
        match self.flags >> 6 {
            0 => usize::MAX,
            1 => 1,
            2 => 17,
            _ => 300,
        }
    }

    /// How the stream of that number is played.
    fn mode(self, stream: usize) -> u8 {
        (self.modes >> (stream % 4 * 2)) & 3
    }
}

/// One run: a connection and the tasks of its streams.
pub struct World {
    /// What all of it may hold.
    pub budget: Arc<Budget>,
    /// The input's.
    pub plan: Plan,
    streams: Rc<Cell<usize>>,
    opened: Rc<Cell<usize>>,
}

/// Plays an input. `run` has the world and the connection's side of the transport. The peer sends
/// what remains of the bytes.
pub fn play<F: Future<Output = ()>>(
    plan: Plan,
    prefix: &[u8],
    bytes: &[u8],
    run: impl FnOnce(Rc<World>, DuplexStream) -> F,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build_local(tokio::runtime::LocalOptions::default())
        .expect("a runtime");
    let world = Rc::new(World {
        budget: Budget::new(BUDGET),
        plan,
        streams: Rc::default(),
        opened: Rc::default(),
    });
    let (ours, theirs) = tokio::io::duplex(if plan.deaf() { 512 } else { 64 * 1024 });
    let said = [prefix, bytes].concat();
    runtime.block_on(async {
        tokio::task::spawn_local(peer(plan, theirs, said));
        let connection = pin!(bounded(run(Rc::clone(&world), ours)));
        timeout(OVER * 2, connection)
            .await
            .expect("the connection ends with its peer");
        let gone = async {
            while world.streams.get() > 0 {
                sleep(Duration::from_secs(1)).await;
            }
        };
        timeout(OVER, gone).await.expect("every stream ends");
    });
    assert_eq!(world.budget.used(), 0, "all memory is given back");
}

/// Says all of it, waits long enough for any short grace, and closes.
async fn peer(plan: Plan, io: DuplexStream, said: Vec<u8>) {
    let (mut read, mut write) = tokio::io::split(io);
    let say = async {
        for piece in said.chunks(plan.step().min(said.len().max(1))) {
            if write.write_all(piece).await.is_err() {
                break;
            }
            if plan.step() != usize::MAX {
                tokio::task::yield_now().await;
            }
        }
        sleep(Duration::from_secs(2)).await;
        let _ = write.shutdown().await;
    };
    let hear = async |read: &mut tokio::io::ReadHalf<DuplexStream>| {
        let mut sink = [0; 4096];
        while read.read(&mut sink).await.is_ok_and(|n| n > 0) {}
    };
    if plan.deaf() {
        // A connection that does not read, since its own words are not taken, must not stop this.
        let _ = timeout(OVER / 2, say).await;
        let _ = timeout(OVER / 2, hear(&mut read)).await;
    } else {
        tokio::join!(say, async {
            let _ = timeout(OVER, hear(&mut read)).await;
        });
    }
}

/// A future that may be polled only so often.
async fn bounded<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut polls = 0;
    poll_fn(|cx| {
        polls += 1;
        assert!(polls < POLLS, "polls without end");
        future.as_mut().poll(cx)
    })
    .await
}

/// A message of `len` bytes.
fn message(len: usize) -> MessageBatch {
    let mut run = MessageBatch::new();
    run.push_message(false, Bytes::from(vec![7; len]));
    run
}

impl World {
    /// Plays a stream that the fuzzer opened.
    pub fn serve(self: &Rc<Self>, head: Box<RequestHead>, stream: impl Inbound + 'static) {
        let mode = self.begin();
        let world = Rc::clone(self);
        tokio::task::spawn_local(async move {
            drop(head);
            // No limit of its own: `play` fails if it outlives its connection.
            bounded(serve(mode, stream)).await;
            world.end();
        });
    }

    /// Plays a stream that was opened on the fuzzer.
    pub fn call(self: &Rc<Self>, stream: impl Outbound + 'static) {
        let mode = self.begin();
        let world = Rc::clone(self);
        tokio::task::spawn_local(async move {
            bounded(call(mode, stream)).await;
            world.end();
        });
    }

    /// What the streams that are opened on the fuzzer send first.
    pub fn head(&self, stream: usize) -> RequestHead {
        let mut metadata = Metadata::new();
        metadata.push(Scope::Plain, "key", "value");
        RequestHead {
            service: "a.v1.Echo".to_owned(),
            method: "Chat".to_owned(),
            to: Some("echo".to_owned()),
            payload: if self.plan.mode(stream) == 3 {
                Payload::Thrift
            } else {
                Payload::Protobuf
            },
            timeout: (stream == 2).then_some(Duration::from_secs(3)),
            metadata,
            ..RequestHead::default()
        }
    }

    fn begin(&self) -> u8 {
        self.streams.set(self.streams.get() + 1);
        self.opened.set(self.opened.get() + 1);
        self.plan.mode(self.opened.get() - 1)
    }

    fn end(&self) {
        self.streams.set(self.streams.get() - 1);
    }
}

/// 0 echoes; 1 leaves messages in the account for a while; 2 ends the stream after the first thing
/// that comes; 3 sends a lot at once.
async fn serve(mode: u8, mut stream: impl Inbound) {
    stream.send_head(ResponseHead {
        explicit: mode == 0,
        ..ResponseHead::default()
    });
    if mode == 3 {
        let mut run = message(MESSAGE);
        let _ = timeout(
            Duration::from_secs(5),
            poll_fn(|cx| stream.poll_send(cx, &mut run)),
        )
        .await;
    }
    let mut owed = 0;
    loop {
        let received = poll_fn(|cx| stream.poll_recv(cx)).await;
        match received {
            Received::Messages(mut run) => {
                owed += run.len();
                if mode == 1 {
                    sleep(Duration::from_secs(1)).await;
                    run.clear();
                } else {
                    stream.release(std::mem::take(&mut owed));
                    poll_fn(|cx| stream.poll_send(cx, &mut run)).await;
                }
            }
            Received::HalfClose if mode != 1 => {
                stream.finish(&End::complete(Metadata::new()), "fuzz");
                return;
            }
            Received::HalfClose => {}
            Received::End(end) => {
                stream.finish(&end, "fuzz");
                return;
            }
            Received::Head(_) => panic!("no head comes from a caller"),
        }
        if mode == 2 {
            let end = End::hop(LocalEndKind::Deadline, "enough");
            stream.finish(&end, "fuzz");
            return;
        }
    }
}

/// The same modes, from the caller's side; 2 cancels.
async fn call(mode: u8, mut stream: impl Outbound) {
    let mut run = message(if mode == 3 { MESSAGE } else { 10 });
    let sent = poll_fn(|cx| stream.poll_send(cx, &mut run));
    let _ = timeout(Duration::from_secs(5), sent).await;
    if mode != 1 && run.is_empty() {
        stream.half_close();
    }
    let (mut heads, mut owed) = (0, 0);
    loop {
        match poll_fn(|cx| stream.poll_recv(cx)).await {
            Received::Messages(run) => {
                owed += run.len();
                if mode == 1 {
                    sleep(Duration::from_secs(1)).await;
                } else {
                    stream.release(std::mem::take(&mut owed));
                }
            }
            Received::Head(_) => {
                heads += 1;
                assert_eq!(heads, 1, "one head");
            }
            Received::End(_) => return,
            Received::HalfClose => panic!("a callee does not half-close"),
        }
        if mode == 2 {
            stream.cancel(&Cancel {
                cause: Cause {
                    code: code::FOREIGN,
                    text: "enough".to_owned(),
                },
                path: Path::from_origin("fuzz"),
                class: Class::Foreign,
                signal: CancelSignal::numbered("reset", 8),
                status: None,
            });
            return;
        }
    }
}
