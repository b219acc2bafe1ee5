//! The TTHeader streaming echo server. Method `Echo` returns each message and answers a half-close
//! with an empty Trailer. `Flood` sends without end, `Tokens` at the pacer's pace.
//!
//! It behaves like a Kitex server v0.16.3: Header first, never a Rst of its own.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Waker};

use anyhow::{Result, bail};
use rustc_hash::FxHashMap;
use tokio::net::{TcpListener, TcpStream};

use crate::callee::{Active, Callee, Ended};
use crate::pace;
use crate::ttheader::{DATA, Frame, HEADER, Handler, RST, TRAILER, Template, run};

/// Serves until the task is dropped.
pub(crate) async fn listen(listener: TcpListener, callee: Rc<Callee>) {
    while let Ok((socket, _)) = listener.accept().await {
        let callee = Rc::clone(&callee);
        tokio::task::spawn_local(async move { connection(socket, callee).await });
    }
}

async fn connection(socket: TcpStream, callee: Rc<Callee>) {
    let mut echo = Echo {
        callee,
        live: FxHashMap::default(),
        data: None,
        flood: Template::new(DATA, b"Flood", &[], &[b'x'; 1024]),
        token: Rc::new(Template::new(DATA, b"Tokens", &[], &[b'x'; pace::SIZE])),
        due: Rc::default(),
    };
    let _ = run(socket, Vec::new(), &mut echo).await;
    if !echo.live.is_empty() {
        echo.callee.record(Ended::ConnectionLost);
    }
}

struct Echo {
    callee: Rc<Callee>,
    live: FxHashMap<i32, Live>,
    /// The Data frame that was echoed last: a load repeats the same message.
    data: Option<(Vec<u8>, Template)>,
    flood: Template,
    token: Rc<Template>,
    due: Rc<RefCell<Due>>,
}

/// A stream, by its method.
struct Live {
    kind: Kind,
    _active: Active,
}

enum Kind {
    Echo,
    Flood,
    /// Paced once its request has come; the pacer sees by a weak handle that it is gone.
    Tokens(Option<Rc<()>>),
}

/// What the pacer gives a connection to send.
#[derive(Default)]
struct Due {
    frames: Vec<u8>,
    waker: Option<Waker>,
}

impl Echo {
    fn pace(&self, stream: i32) -> Rc<()> {
        let alive = Rc::new(());
        let gone = Rc::downgrade(&alive);
        let (token, due) = (Rc::clone(&self.token), Rc::clone(&self.due));
        self.callee.pacer.join(move || {
            if gone.strong_count() == 0 {
                return false;
            }
            let mut due = due.borrow_mut();
            token.put_stamped(stream, &mut due.frames);
            if let Some(waker) = due.waker.take() {
                waker.wake();
            }
            true
        });
        alive
    }
}

impl Handler for Echo {
    fn frame(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<()> {
        match frame.kind {
            HEADER => {
                let kind = match frame.method {
                    b"Flood" => Kind::Flood,
                    b"Tokens" => Kind::Tokens(None),
                    _ => Kind::Echo,
                };
                let _active = self.callee.enter();
                self.live.insert(frame.stream, Live { kind, _active });
                Template::new(HEADER, frame.method, &[], &[]).put(frame.stream, out);
            }
            DATA => match self.live.get(&frame.stream).map(|live| &live.kind) {
                Some(Kind::Echo | Kind::Flood) => {
                    self.callee.message();
                    self.echo(frame, out);
                }
                Some(Kind::Tokens(_)) | None => {}
            },
            TRAILER => {
                if let Some(Kind::Tokens(None)) = self.live.get(&frame.stream).map(|l| &l.kind) {
                    let alive = self.pace(frame.stream);
                    if let Some(live) = self.live.get_mut(&frame.stream) {
                        live.kind = Kind::Tokens(Some(alive));
                    }
                } else if self.live.remove(&frame.stream).is_some() {
                    self.callee.record(Ended::HalfClose);
                    Template::new(TRAILER, frame.method, &[], &[]).put(frame.stream, out);
                }
            }
            RST => {
                if self.live.remove(&frame.stream).is_some() {
                    self.callee.record(Ended::Cancel);
                }
            }
            b'1' => {}
            other => bail!("frame type {other}"),
        }
        Ok(())
    }

    fn refill(&mut self, out: &mut Vec<u8>) {
        for (stream, live) in &self.live {
            if matches!(live.kind, Kind::Flood) {
                for _ in 0..16 {
                    self.flood.put(*stream, out);
                }
            }
        }
    }

    fn poll_due(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) {
        let mut due = self.due.borrow_mut();
        out.append(&mut due.frames);
        due.waker = Some(cx.waker().clone());
    }
}

impl Echo {
    fn echo(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) {
        match &self.data {
            Some((payload, template)) if payload == frame.payload => {
                template.put(frame.stream, out);
            }
            _ => {
                let template = Template::new(DATA, frame.method, &[], frame.payload);
                template.put(frame.stream, out);
                self.data = Some((frame.payload.to_vec(), template));
            }
        }
    }
}
