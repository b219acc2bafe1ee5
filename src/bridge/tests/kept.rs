//! Streams that are opened again, since their first callee did not look at them.

use super::*;
use crate::stream::{Message, Processed, RequestHead, Status};

/// Counts what is kept, up to a limit.
struct Account {
    used: Cell<usize>,
    limit: usize,
}

impl Room for Account {
    fn take(&self, bytes: usize) -> bool {
        let fits = self.used.get() + bytes <= self.limit;
        if fits {
            self.used.set(self.used.get() + bytes);
        }
        fits
    }

    fn give_back(&self, bytes: usize) {
        self.used.set(self.used.get() - bytes);
    }
}

fn account(limit: usize) -> Rc<Account> {
    let used = Cell::new(0);
    Rc::new(Account { used, limit })
}

fn refusal() -> End {
    let status = Status {
        code: 14,
        message: "refused".to_owned(),
        details: None,
    };
    let mut end = End::failed(Failure::Status(status), Metadata::new());
    end.processed = Processed::No;
    end
}

/// A stream on its first callee, which can refuse it.
struct Kept {
    caller: Remote,
    callee: Remote,
    account: Rc<Account>,
    task: tokio::task::JoinHandle<(Ran, MemoryHalf)>,
}

struct Options {
    early: Early,
    stages: Stages,
    room: usize,
    /// Of the copy.
    limit: usize,
    account: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            early: Early::default(),
            stages: Stages::default(),
            room: usize::MAX,
            limit: 64 << 10,
            account: usize::MAX,
        }
    }
}

fn open(options: Options) -> Kept {
    let (mut inbound, caller) = memory_half(usize::MAX);
    let (mut outbound, callee) = memory_half(options.room);
    let account = account(options.account);
    let head = RequestHead {
        method: "M".to_owned(),
        ..RequestHead::default()
    };
    let room = Rc::clone(&account) as Rc<dyn Room>;
    let kept = super::Kept::new(Box::new(head), options.limit, room);
    let limits = StreamTimeouts {
        deadline: Some(Deadline {
            at: Instant::now() + Duration::from_secs(9),
            set_by: None,
        }),
        ..StreamTimeouts::default()
    };
    let start = PreparedStream::new(options.early, options.stages, &limits, Some(kept));
    let task = tokio::task::spawn_local(async move {
        let switch = Switch::default();
        let ran = run(&mut inbound, &mut outbound, start, NODE, &switch, |_, _| ()).await;
        (ran, inbound)
    });
    Kept {
        caller,
        callee,
        account,
        task,
    }
}

impl Kept {
    /// The first callee refuses. Opens the stream on a second one.
    async fn refused(self, early: Early) -> (Remote, Remote, tokio::task::JoinHandle<Outcome>) {
        self.callee.refuses(refusal());
        let (ran, mut inbound) = self.task.await.unwrap();
        let refused = ran.expect_err("it is opened again");
        tokio::time::advance(Duration::from_secs(2)).await;
        let head = refused.take_head().unwrap();
        assert_eq!(head.method, "M");
        let (mut outbound, second) = memory_half(usize::MAX);
        let start = refused.again(early);
        let task = tokio::task::spawn_local(async move {
            let switch = Switch::default();
            let ran = run(&mut inbound, &mut outbound, start, NODE, &switch, |_, _| ()).await;
            kept_nothing(ran)
        });
        (self.caller, second, task)
    }

    /// It was not kept: the refusal is its end.
    async fn ends(self) -> Outcome {
        self.callee.refuses(refusal());
        let account = self.account;
        let (ran, inbound) = self.task.await.unwrap();
        drop(inbound);
        assert_eq!(account.used.get(), 0);
        kept_nothing(ran)
    }
}

fn early(messages: &[&'static [u8]], half_closed: bool) -> Early {
    let mut early = Early::default();
    for message in messages {
        early
            .messages
            .push_message(false, Bytes::from_static(message));
    }
    early.half_closed = half_closed;
    early
}

#[test]
fn the_second_callee_receives_all_that_the_first_one_did() {
    for half_closed in [false, true] {
        local(async || {
            let stream = open(Options {
                early: early(&[b"early"], false),
                ..Options::default()
            });
            stream.caller.sends(b"one");
            stream.caller.sends(&[7; 20_000]);
            if half_closed {
                stream.caller.does(Received::HalfClose);
            }
            settled().await;
            assert_eq!(stream.callee.heard().messages.len(), 3);
            assert_eq!(stream.callee.heard().half_closes, usize::from(half_closed));
            let account = Rc::clone(&stream.account);
            assert!(account.used.get() >= 20_000, "{}", account.used.get());
            let (caller, second, task) = stream.refused(early(&[b"meanwhile"], false)).await;
            settled().await;
            let big = [7; 20_000];
            let all: [&[u8]; 4] = [b"early", b"one", &big, b"meanwhile"];
            assert_eq!(second.heard().messages, all);
            assert_eq!(second.heard().half_closes, usize::from(half_closed));
            let bytes: usize = all.iter().map(|m| m.len() + 5).sum();
            assert_eq!(caller.heard().released, bytes);
            second.does(Received::Head(ResponseHead::default()));
            settled().await;
            assert_eq!(account.used.get(), 0);
            second.does(Received::End(End::complete(Metadata::new())));
            let outcome = task.await.unwrap();
            assert_eq!(outcome.end.reason, Reason::Complete);
            assert_eq!(outcome.request.messages, 4);
            assert_eq!(caller.heard().ends.len(), 1);
        });
    }
}

#[test]
fn what_the_first_callee_did_not_take_is_sent_once() {
    local(async || {
        let stream = open(Options {
            room: 13,
            ..Options::default()
        });
        stream.caller.sends(b"first");
        stream.caller.sends(b"second");
        settled().await;
        // Half of the second message was taken, and its sender has that room back.
        assert_eq!(stream.caller.heard().released, 13);
        let (caller, second, _task) = stream.refused(early(&[], true)).await;
        settled().await;
        assert_eq!(second.heard().messages, [b"first".as_slice(), b"second"]);
        assert_eq!(second.heard().half_closes, 1);
        assert_eq!(caller.heard().released, 21);
    });
}

/// Doubles each message.
struct Double;

impl Stage for Double {
    fn head(&mut self, _: &mut ResponseHead) -> Result<(), StageError> {
        Ok(())
    }

    fn apply(
        &mut self,
        message: Message,
        pieces: &mut Vec<Bytes>,
        out: &mut MessageBatch,
    ) -> Result<(), StageError> {
        let payload = pieces.concat().repeat(2);
        assert_eq!(message.len * 2, payload.len());
        out.push_message(false, payload.into());
        Ok(())
    }
}

#[test]
fn behind_a_stage_its_output_is_kept() {
    local(async || {
        let stages = Stages {
            request: Some(Box::new(Double)),
            ..Stages::default()
        };
        let stream = open(Options {
            stages,
            room: 20,
            ..Options::default()
        });
        stream.caller.sends(b"abc");
        stream.caller.sends(b"defg");
        settled().await;
        assert_eq!(stream.callee.heard().messages, [b"abcabc"]);
        let (caller, second, _task) = stream.refused(early(&[b"h"], true)).await;
        settled().await;
        let all: [&[u8]; 3] = [b"abcabc", b"defgdefg", b"hh"];
        assert_eq!(second.heard().messages, all);
        assert_eq!(caller.heard().released, 8 + 9 + 6);
    });
}

#[test]
fn a_stream_is_opened_again_once() {
    local(async || {
        let stream = open(Options::default());
        settled().await;
        let (caller, second, task) = stream.refused(early(&[b"one"], true)).await;
        settled().await;
        second.refuses(refusal());
        let outcome = task.await.unwrap();
        assert_eq!(outcome.end, refusal());
        assert_eq!(caller.heard().ends, [refusal()]);
    });
}

#[test]
fn too_much_is_not_kept() {
    let too_long = Options {
        limit: 100,
        ..Options::default()
    };
    let no_room = Options {
        account: 100,
        ..Options::default()
    };
    for options in [too_long, no_room] {
        local(async move || {
            let stream = open(options);
            stream.caller.sends(b"one");
            stream.caller.sends(&[7; 100]);
            settled().await;
            assert_eq!(stream.account.used.get(), 0);
            assert_eq!(stream.callee.heard().messages.len(), 2);
            assert_eq!(stream.ends().await.end, refusal());
        });
    }
}

#[test]
fn nothing_is_kept_once_the_callee_has_answered_or_nothing_could_prove_a_refusal() {
    let answers = |stream: &Kept| stream.callee.does(Received::Head(ResponseHead::default()));
    let is_written = |stream: &Kept| stream.callee.is_written();
    type Makes = fn(&Kept);
    let cases: [Makes; 2] = [answers, is_written];
    for makes in cases {
        local(async move || {
            let stream = open(Options {
                early: early(&[b"one"], false),
                ..Options::default()
            });
            settled().await;
            assert!(stream.account.used.get() > 0);
            makes(&stream);
            settled().await;
            assert_eq!(stream.account.used.get(), 0);
            let outcome = stream.ends().await;
            assert_eq!(outcome.end, refusal());
        });
    }
}

#[test]
fn a_cancel_wins_over_a_refusal() {
    local(async || {
        let stream = open(Options::default());
        settled().await;
        stream.callee.refuses(refusal());
        stream
            .caller
            .does(Received::End(cancel(Initiator::Caller, "web")));
        let (ran, _inbound) = stream.task.await.unwrap();
        assert_eq!(kept_nothing(ran).end.by, Initiator::Caller);
    });
}
