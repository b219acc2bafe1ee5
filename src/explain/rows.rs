//! Every native end of each wire, taken through the tables: one row each.
//!
//! The native ends are made as frames and headers, and read as a wire reads them. [`settle`]
//! decides what each side receives, and the wires' own tables render it. So a row shows what really
//! happens.

use std::fmt;

use bytes::Bytes;
use http::HeaderMap;

use super::show::{show, show_terminal, show_trailers};
use crate::bridge::{Deadline, settle};
use crate::stream::{End, Initiator, LocalEndKind, NON_TTSTREAM, Path, TtCode, TypeId, code};
use crate::wire::grpc::end::Wording;
use crate::wire::grpc::status::{Code, KITEX_GRACEFUL, ResetCode, encode_message};
use crate::wire::ttheader::end::{CancelForm, EndContext, Terminal};
use crate::wire::ttheader::header::Info;
use crate::wire::ttheader::{exception, keys};
use crate::wire::{grpc, ttheader};

/// The name of this hop in the rows.
const NODE: &str = "hop";
/// The name of the peer that canceled.
const PEER: &str = "peer";
/// The text of the peer's ends.
const TEXT: &str = "why";

/// One row: an end as it came in, and what the other side receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The native end: who sent it, wire, kind, number. For a local end: `hop` and its name.
    pub from: String,
    /// What a gRPC peer on the other side receives; `-` for nothing.
    pub grpc: String,
    /// What a TTHeader peer on the other side receives; `-` for nothing.
    pub ttheader: String,
    /// The neutral value between the two.
    pub neutral: String,
}

/// `from | grpc ... | ttheader ... | neutral`.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, neutral, .. } = self;
        write!(
            f,
            "{from} | {} | {} | {neutral}",
            self.grpc_form(),
            self.ttheader_form()
        )
    }
}

impl Row {
    /// The second field: `grpc status=1 ...`.
    #[must_use]
    pub fn grpc_form(&self) -> String {
        format!("grpc {}", self.grpc)
    }

    /// The third field: `ttheader rst 12007 ...`.
    #[must_use]
    pub fn ttheader_form(&self) -> String {
        format!("ttheader {}", self.ttheader)
    }
}

/// All rows, in the order of the golden file.
#[must_use]
pub fn rows() -> Vec<Row> {
    let mut out = Vec::new();
    callee_ttheader(&mut out);
    callee_grpc(&mut out);
    caller_ttheader(&mut out);
    caller_grpc(&mut out);
    for kind in LocalEndKind::ALL {
        let end = End::hop(kind, TEXT);
        out.push(to_caller(format!("hop {} to caller", kind.name()), &end));
        if !kind.before_backend() {
            let from = format!("hop {} to caller, both sides grpc", kind.name());
            out.push(between_grpc(from, &end));
            let from = format!("hop {} to caller, a message half written", kind.name());
            out.push(half_written(from, &end));
        }
        out.push(to_callee(format!("hop {} to callee", kind.name()), &end));
    }
    callers_deadline(&mut out);
    as_trailer(&mut out);
    out
}

/// The deadline that a gRPC caller without a name set, when the clock of this hop is first.
fn callers_deadline(out: &mut Vec<Row>) {
    let end = deadline().end(TEXT);
    out.push(to_caller(
        "hop deadline of the caller to caller".into(),
        &end,
    ));
    out.push(between_grpc(
        "hop deadline of the caller to caller, both sides grpc".into(),
        &end,
    ));
    out.push(to_callee(
        "hop deadline of the caller to callee".into(),
        &end,
    ));
}

fn deadline() -> Deadline {
    Deadline::passed(unnamed())
}

/// What `cancel_as: trailer` changes: the Rsts that go out, and how another ripcord reads them.
fn as_trailer(out: &mut Vec<Row>) {
    let form = EndContext {
        form: CancelForm::Trailer,
        ..context()
    };
    let row = |from: String, terminal: Option<Terminal>, end: &End| Row {
        from: format!("as trailer: {from}"),
        grpc: "-".to_owned(),
        ttheader: terminal.map_or_else(|| "-".to_owned(), |frame| show_terminal(&frame)),
        neutral: show(end),
    };
    let caller = |from: String, end: &End| {
        let told = settle(end.clone(), NODE, false).end;
        row(from, Some(ttheader::end::to_caller(&told, &form)), end)
    };
    let callee = |from: String, end: &End| {
        let cancel = settle(end.clone(), NODE, true).to_callee;
        let frame = cancel.map(|cancel| ttheader::end::to_callee(&cancel, &form));
        row(from, frame, end)
    };
    for n in causes() {
        let end = ttheader::end::from_rst(Initiator::Callee, &path(), &message(n));
        out.push(caller(format!("callee ttheader rst {n}"), &end));
    }
    for n in causes() {
        let end = ttheader::end::from_rst(Initiator::Caller, &path(), &message(n));
        out.push(callee(format!("caller ttheader rst {n}"), &end));
    }
    let end = grpc::end::from_caller_reset(ResetCode::CANCEL, unnamed(), None);
    out.push(callee("caller grpc reset=8".into(), &end));
    let all = LocalEndKind::ALL.into_iter();
    for kind in all.filter(|kind| !kind.before_backend()) {
        let end = End::hop(kind, TEXT);
        out.push(caller(format!("hop {} to caller", kind.name()), &end));
        out.push(callee(format!("hop {} to callee", kind.name()), &end));
    }
    let read = format!("ttheader exception 12007 {}={PEER}", keys::CANCELED_PATH);
    let said = message(code::BIZ_CANCELED);
    let end = ttheader::end::from_trailer(&path(), &said);
    out.push(to_caller(format!("as trailer: callee {read}"), &end));
    if let Some(end) = ttheader::end::from_caller_trailer(&path(), &said) {
        out.push(to_callee(format!("as trailer: caller {read}"), &end));
    }
}

fn callee_ttheader(out: &mut Vec<Row>) {
    for n in causes() {
        let end = ttheader::end::from_rst(Initiator::Callee, &path(), &message(n));
        out.push(to_caller(format!("callee ttheader rst {n}"), &end));
    }
    let end = ttheader::end::from_rst(Initiator::Callee, &Info::default(), &Bytes::new());
    out.push(to_caller(
        "callee ttheader rst without payload".into(),
        &end,
    ));
    let types = TypeId::KNOWN.iter().map(|known| known.number());
    for n in types.chain(causes()) {
        let end = ttheader::end::from_trailer(&Info::default(), &message(n));
        out.push(to_caller(format!("callee ttheader exception {n}"), &end));
    }
    for (name, info, payload) in [
        ("trailer", Info::default(), Bytes::new()),
        ("biz 404", biz("404", r#"{"k":"v"}"#), Bytes::new()),
        ("biz 404 unreadable", biz("404", "{"), Bytes::new()),
        ("biz 0", biz("0", ""), Bytes::new()),
        (
            "exception unreadable",
            Info::default(),
            Bytes::from_static(b"?"),
        ),
    ] {
        let end = ttheader::end::from_trailer(&info, &payload);
        out.push(to_caller(format!("callee ttheader {name}"), &end));
    }
    let end = ttheader::end::connection_lost(Initiator::Callee, TEXT);
    out.push(to_caller("callee ttheader connection lost".into(), &end));
}

fn callee_grpc(out: &mut Vec<Row>) {
    let known = Code::KNOWN.iter().map(|known| known.number());
    for n in known.chain([20, 77]) {
        let end = grpc::end::from_trailers(200, &status(n, TEXT, false));
        out.push(to_caller(format!("callee grpc status={n}"), &end));
    }
    let unknown = status(1, "unknown method Talk", false);
    let end = grpc::end::from_trailers(200, &unknown);
    out.push(to_caller(
        "callee grpc status=1 unknown method".into(),
        &end,
    ));
    for n in [0, 1, 5, 13] {
        let end = grpc::end::from_trailers(200, &status(n, TEXT, true));
        out.push(to_caller(format!("callee grpc status={n} biz 404"), &end));
    }
    for n in [200, 400, 401, 403, 404, 429, 431, 500, 502, 503, 504] {
        let end = grpc::end::from_trailers(n, &HeaderMap::new());
        out.push(to_caller(format!("callee grpc http={n}"), &end));
    }
    for n in resets() {
        let end = grpc::end::from_callee_reset(ResetCode(n));
        out.push(to_caller(format!("callee grpc reset={n}"), &end));
    }
    let end = grpc::end::connection_lost(Initiator::Callee, Path::new(), TEXT);
    let from = "callee grpc connection lost";
    out.push(Row {
        grpc: between_grpc(String::new(), &end).grpc,
        ..to_caller(from.into(), &end)
    });
}

fn caller_ttheader(out: &mut Vec<Row>) {
    for n in causes() {
        let end = ttheader::end::from_rst(Initiator::Caller, &path(), &message(n));
        out.push(to_callee(format!("caller ttheader rst {n}"), &end));
    }
    let end = ttheader::end::from_rst(Initiator::Caller, &Info::default(), &Bytes::new());
    out.push(to_callee(
        "caller ttheader rst without payload".into(),
        &end,
    ));
    for (name, info, payload) in [
        ("trailer", Info::default(), Bytes::new()),
        ("exception 6", Info::default(), message(6)),
        ("biz 404", biz("404", ""), Bytes::new()),
    ] {
        let from = format!("caller ttheader {name}");
        out.push(match ttheader::end::from_caller_trailer(&info, &payload) {
            Some(end) => to_callee(from, &end),
            None => Row {
                from,
                grpc: "half-close".into(),
                ttheader: "half-close".into(),
                neutral: "half-close".into(),
            },
        });
    }
    let end = ttheader::end::connection_lost(Initiator::Caller, TEXT);
    out.push(to_callee("caller ttheader connection lost".into(), &end));
}

fn caller_grpc(out: &mut Vec<Row>) {
    for n in resets().chain([12007, 12015]) {
        let end = grpc::end::from_caller_reset(ResetCode(n), unnamed(), None);
        out.push(to_callee(format!("caller grpc reset={n}"), &end));
    }
    let end = grpc::end::from_caller_reset(ResetCode::CANCEL, Path::from_origin(PEER), None);
    out.push(to_callee(
        format!("caller grpc reset=8 source-service={PEER}"),
        &end,
    ));
    let end = grpc::end::from_caller_reset(ResetCode::CANCEL, unnamed(), Some(unnamed()));
    let end = deadline().recognize(end, NODE);
    out.push(to_callee(
        "caller grpc reset=8 at its deadline".into(),
        &end,
    ));
    let end = grpc::end::connection_lost(Initiator::Caller, unnamed(), TEXT);
    out.push(to_callee("caller grpc connection lost".into(), &end));
}

/// The hops of a caller without a name.
fn unnamed() -> Path {
    Path::from_origin(NON_TTSTREAM)
}

/// Every ttstream code, and one that no table has.
fn causes() -> impl Iterator<Item = i32> {
    let known = TtCode::KNOWN.iter().map(|known| known.number());
    known.chain([9999])
}

fn resets() -> impl Iterator<Item = u32> {
    (0..=13).chain([KITEX_GRACEFUL.0])
}

fn message(type_id: i32) -> Bytes {
    exception::encode("Talk", 1, type_id, TEXT)
}

fn strings<const N: usize>(strings: [(&'static str, &'static str); N]) -> Info {
    Info {
        ints: Vec::new(),
        strings: strings
            .into_iter()
            .map(|(key, value)| (Bytes::from(key), Bytes::from(value)))
            .collect(),
    }
}

fn path() -> Info {
    strings([(keys::CANCELED_PATH, PEER)])
}

fn biz(code: &'static str, extra: &'static str) -> Info {
    strings([
        (keys::BIZ_STATUS, code),
        (keys::BIZ_MESSAGE, TEXT),
        (keys::BIZ_EXTRA, extra),
    ])
}

fn status(code: u32, message: &str, biz: bool) -> HeaderMap {
    let mut out = HeaderMap::new();
    let mut put = |name: &'static str, value: String| {
        if let Ok(value) = value.parse() {
            out.insert(name, value);
        }
    };
    put(grpc::keys::STATUS, code.to_string());
    put(grpc::keys::MESSAGE, encode_message(message));
    if biz {
        put(grpc::keys::BIZ_STATUS, "404".into());
    }
    out
}

/// What a caller receives of its stream's end, as on the data path.
fn to_caller(from: String, end: &End) -> Row {
    let told = settle(end.clone(), NODE, false).end;
    Row {
        from,
        grpc: show_trailers(&grpc::end::to_caller(&told, NODE, true, Wording::Kitex)),
        ttheader: show_terminal(&ttheader::end::to_caller(&told, &context())),
        neutral: show(end),
    }
}

/// What a gRPC caller receives of a local end when its callee speaks gRPC too.
fn between_grpc(from: String, end: &End) -> Row {
    let told = settle(end.clone(), NODE, false).end;
    Row {
        from,
        grpc: show_trailers(&grpc::end::to_caller(&told, NODE, true, Wording::Plain)),
        ttheader: "-".to_owned(),
        neutral: show(end),
    }
}

/// What a gRPC caller receives that does not take the rest of a message in time. On TTHeader
/// messages are whole.
fn half_written(from: String, end: &End) -> Row {
    let code = grpc::end::reset_to_caller(end, NODE, false, true);
    Row {
        from,
        grpc: format!("reset={}", code.0),
        ttheader: "-".to_owned(),
        neutral: show(end),
    }
}

/// What a callee that has not ended its stream receives, as on the data path.
fn to_callee(from: String, end: &End) -> Row {
    let (grpc, ttheader) = match settle(end.clone(), NODE, true).to_callee {
        Some(cancel) => (
            format!("reset={}", grpc::end::reset_to_callee(&cancel, false).0),
            show_terminal(&ttheader::end::to_callee(&cancel, &context())),
        ),
        None => ("-".to_owned(), "-".to_owned()),
    };
    Row {
        from,
        grpc,
        ttheader,
        neutral: show(end),
    }
}

const fn context() -> EndContext<'static> {
    EndContext {
        node: NODE,
        method: "Talk",
        stream_id: 1,
        carried: true,
        form: CancelForm::Rst,
    }
}
