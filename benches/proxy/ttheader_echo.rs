//! The TTHeader streaming echo server: method `Echo` returns each message and answers a half-close with
//! an empty Trailer; `Flood` sends without end.
//!
//! Behaves as a Kitex server v0.16.3 does: Header first, never a Rst of its own.

use std::rc::Rc;

use anyhow::{Result, bail};
use rustc_hash::FxHashMap;
use tokio::net::{TcpListener, TcpStream};

use crate::callee::{Active, Callee, Ended};
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
    };
    let _ = run(socket, Vec::new(), &mut echo).await;
    if !echo.live.is_empty() {
        echo.callee.record(Ended::ConnectionLost);
    }
}

struct Echo {
    callee: Rc<Callee>,
    live: FxHashMap<i32, (Active, bool)>,
    /// The Data frame that was echoed last: a load repeats the same message.
    data: Option<(Vec<u8>, Template)>,
    flood: Template,
}

impl Handler for Echo {
    fn frame(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<()> {
        match frame.kind {
            HEADER => {
                let flood = frame.method == b"Flood";
                self.live.insert(frame.stream, (self.callee.enter(), flood));
                Template::new(HEADER, frame.method, &[], &[]).put(frame.stream, out);
            }
            DATA => {
                if !self.live.contains_key(&frame.stream) {
                    return Ok(());
                }
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
            TRAILER => {
                if self.live.remove(&frame.stream).is_some() {
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
        for (stream, (_, flood)) in &self.live {
            if *flood {
                for _ in 0..16 {
                    self.flood.put(*stream, out);
                }
            }
        }
    }
}
