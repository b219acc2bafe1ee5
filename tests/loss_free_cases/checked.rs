//! Routes with `validate: thrift`, at raw peers of both wires: what each side receives.

use std::io::Write as _;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use ripcord::wire::ttheader::frame::Kind;
use tokio::sync::oneshot;

use super::ends::{Checked, same};
use super::world::World;
use super::{Pairs, frames, grpc, soon, tt};

/// `{1: "abc"}`.
const GOOD: &[u8] = b"\x0b\0\x01\0\0\0\x03abc\0";

/// The same without its end.
const BROKEN: &[u8] = b"\x0b\0\x01\0\0\0\x03abc";

const WHY: &str = "message 2 is not a thrift struct: it ends too early, at byte 10 of 10";

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Nothing,
    Request,
    Response,
    /// gRPC: good and compressed.
    Gzip,
    /// gRPC: broken and compressed.
    BrokenGzip,
    /// gRPC: an encoding that nobody here reads.
    Snappy,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    what: What,
    from_grpc: bool,
    to_grpc: bool,
}

pub(crate) fn cases() -> Vec<Case> {
    let mut out = Vec::new();
    for (from_grpc, to_grpc) in [(true, true), (true, false), (false, true), (false, false)] {
        let all = [
            What::Nothing,
            What::Request,
            What::Response,
            What::Gzip,
            What::BrokenGzip,
            What::Snappy,
        ];
        let fits = |what: &What| {
            from_grpc || [What::Nothing, What::Request, What::Response].contains(what)
        };
        out.extend(all.into_iter().filter(fits).map(|what| Case {
            what,
            from_grpc,
            to_grpc,
        }));
    }
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// How the stream ended for its caller: status or cause, text, messages.
type Told = (i64, String, Vec<Bytes>);

pub(crate) async fn checked(world: Arc<World>, case: Case) -> Checked {
    let run = Run::start(&world, case);
    let told = if case.from_grpc {
        run.grpc_call(&world).await
    } else {
        run.tt_call(&world).await
    };
    let what = format!("{case:?}");
    let good = Bytes::from_static(GOOD);
    let (code, text, messages) = told;
    let internal = if case.from_grpc { 13 } else { 12004 };
    match case.what {
        What::Nothing | What::Gzip => {
            same(
                &what,
                (0, vec![good.clone(), good.clone()]),
                (code, messages),
            )?;
            same(
                &what,
                Some((vec![good.clone(), good], None)),
                run.callee().await,
            )
        }
        What::Request | What::BrokenGzip => {
            same(&what, internal, code)?;
            same(&text, true, text.ends_with(&format!("the caller's {WHY}")))?;
            let heard = run.callee().await.unwrap().1;
            let wanted = if case.to_grpc {
                (8, String::new())
            } else {
                (12004, format!("one: the caller's {WHY}"))
            };
            same(&what, Some(wanted), heard)
        }
        What::Response => {
            same(&what, internal, code)?;
            same(&text, true, text.ends_with(&format!("the callee's {WHY}")))
        }
        // Refused before a backend.
        What::Snappy => {
            same(&what, 12, code)?;
            same(
                &text,
                true,
                text.contains("accepted: identity,deflate,gzip"),
            )
        }
    }
}

/// One stream; its callee waits for it.
struct Run {
    case: Case,
    name: String,
    /// The callee has the stream.
    open: Mutex<Option<oneshot::Receiver<()>>>,
    grpc: Mutex<Option<oneshot::Receiver<grpc::Asked>>>,
    tt: Mutex<Option<oneshot::Receiver<tt::Heard>>>,
}

impl Run {
    fn start(world: &World, case: Case) -> Self {
        let name = world.name();
        let (opened, open) = oneshot::channel();
        let opened = Arc::new(Mutex::new(Some(opened)));
        let holds = matches!(case.what, What::Request | What::BrokenGzip);
        let second = if case.what == What::Response {
            BROKEN
        } else {
            GOOD
        };
        let reply = [GOOD, second].map(Bytes::from_static).to_vec();
        let mut run = Self {
            case,
            name,
            open: Mutex::new(holds.then_some(open)),
            grpc: Mutex::default(),
            tt: Mutex::default(),
        };
        if case.to_grpc {
            let ok = grpc::End::Trailers(vec![(b"grpc-status".to_vec(), b"0".to_vec())]);
            let script = if holds {
                grpc::Script::Hold(None, opened)
            } else {
                grpc::Script::Answer(Some(Pairs::new()), reply, ok)
            };
            run.grpc = Mutex::new(Some(world.grpc.add(&run.name, script)));
        } else {
            let script = if holds {
                tt::Script::Hold(None, opened)
            } else {
                tt::Script::Answer(Pairs::new(), reply, tt::End::Trailer(Pairs::new(), None))
            };
            run.tt = Mutex::new(Some(world.tt.add(&run.name, script)));
        }
        run
    }

    fn service(&self) -> &'static str {
        if self.case.to_grpc {
            "CheckedGrpc"
        } else {
            "CheckedTt"
        }
    }

    /// Until the callee has the stream, if it has to receive an end.
    async fn opened(&self) {
        let open = self.open.lock().unwrap().take();
        if let Some(open) = open {
            soon("the callee", open).await.unwrap();
        }
    }

    async fn grpc_call(&self, world: &World) -> Told {
        let mut headers: Pairs = grpc::request("application/grpc+thrift");
        headers.push((b"grpc-accept-encoding".to_vec(), b"gzip,snappy".to_vec()));
        let encoding = match self.case.what {
            What::Gzip | What::BrokenGzip => Some("gzip"),
            What::Snappy => Some("snappy"),
            What::Nothing | What::Request | What::Response => None,
        };
        if let Some(encoding) = encoding {
            headers.push((b"grpc-encoding".to_vec(), encoding.into()));
        }
        let path = format!("/{}/{}", self.service(), self.name);
        let mut call = world.keep.grpc.open("callee", &path, &headers).await;
        let message = |payload: &[u8]| {
            let (flag, payload) = match encoding {
                Some(_) => (1, gzip(payload)),
                None => (0, payload.to_vec()),
            };
            let mut out = vec![flag];
            out.extend((payload.len() as u32).to_be_bytes());
            out.extend(payload);
            Bytes::from(out)
        };
        call.send_raw(message(GOOD), false).await;
        self.opened().await;
        let bad = matches!(self.case.what, What::Request | What::BrokenGzip);
        call.send_raw(message(if bad { BROKEN } else { GOOD }), !bad)
            .await;
        let answered = call.hear().await;
        let status = answered.trailers["grpc-status"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        let text = answered.trailers.get("grpc-message");
        let text = text.map_or_else(String::new, |raw| grpc::unpercent(raw.as_bytes()));
        (status, text, answered.messages)
    }

    async fn tt_call(&self, world: &World) -> Told {
        let mut stream = world.keep.tt.stream(&self.name, 0x10);
        let strings = vec![(b"isn".to_vec(), self.service().into())];
        stream.send(Kind::Header, &[], &strings, Bytes::new());
        stream.data(&[Bytes::from_static(GOOD)]);
        self.opened().await;
        let bad = self.case.what == What::Request;
        stream.data(&[Bytes::from_static(if bad { BROKEN } else { GOOD })]);
        if !bad {
            stream.send(Kind::Trailer, &[], &Pairs::new(), Bytes::new());
        }
        let heard = stream.hear().await;
        let (code, text) = frames::said(&heard.end.unwrap().payload).unwrap_or_default();
        (code.into(), text, heard.messages)
    }

    /// The messages that the callee received, and the cancel: a reset's code, or a Rst's cause,
    /// path and text.
    async fn callee(&self) -> Option<(Vec<Bytes>, Option<(i64, String)>)> {
        let (grpc, tt) = (
            self.grpc.lock().unwrap().take(),
            self.tt.lock().unwrap().take(),
        );
        if let Some(heard) = grpc {
            let asked = soon("the callee", heard).await.unwrap();
            assert!(!asked.headers.contains_key("grpc-encoding"));
            assert!(!asked.headers.contains_key("grpc-accept-encoding"));
            return Some((
                asked.messages,
                asked.reset.map(|code| (code.into(), String::new())),
            ));
        }
        let heard = soon("the callee", tt?).await.unwrap();
        let end = heard.end.unwrap();
        let rst = (end.kind == Kind::Rst).then(|| {
            let (cause, text) = frames::said(&end.payload).unwrap();
            let path = end.info.string("ttscp").unwrap();
            (
                cause.into(),
                format!("{}: {text}", std::str::from_utf8(path).unwrap()),
            )
        });
        Some((heard.messages, rst))
    }
}
