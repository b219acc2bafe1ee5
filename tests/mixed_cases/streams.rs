//! One stream through a chain, and what its peers received.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::HeaderMap;
use ripcord::wire::ttheader::frame::{Frame, Kind};
use tokio::sync::oneshot;

use super::Chain;
use crate::loss_free_cases::{Pairs, frames, grpc, soon, tt};

/// A peer's wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Grpc,
    Tt,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::Grpc, Self::Tt];

    /// The route to a callee that answers.
    pub(crate) const fn service(self) -> &'static str {
        match self {
            Self::Grpc => "Grpc",
            Self::Tt => "Tt",
        }
    }
}

/// What a caller does with its stream.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) from: Side,
    pub(crate) service: String,
    pub(crate) method: String,
    /// Names itself.
    pub(crate) named: Option<&'static str>,
    /// A deadline, in milliseconds.
    pub(crate) limit: Option<u32>,
    pub(crate) sent: Vec<Bytes>,
    pub(crate) then: Then,
}

/// How the caller goes on when everything is sent.
#[derive(Clone, Debug)]
pub(crate) enum Then {
    /// Half-closes, and waits for the end.
    Listen,
    /// Waits for the end.
    Wait,
    /// Lets go as soon as the callee has the stream: a gRPC caller.
    Reset(u32),
    /// The same: a TTHeader caller.
    End(tt::End),
}

/// What the callee does.
#[derive(Clone, Debug)]
pub(crate) enum Callee {
    Grpc(Option<Pairs>, Vec<Bytes>, grpc::End),
    Tt(Pairs, Vec<Bytes>, tt::End),
    /// Has the stream and sends nothing, or its head only.
    Holds(Side, Option<Pairs>),
    /// Never receives the stream.
    Nobody,
}

/// What a caller received.
pub(crate) enum Answer {
    Grpc(grpc::Answered),
    Tt(tt::Heard),
    /// It canceled, and does not wait for an answer.
    None,
}

/// What a callee received.
pub(crate) enum Asked {
    Grpc(grpc::Asked),
    Tt(tt::Heard),
    None,
}

/// Runs one stream to its end on both sides.
pub(crate) async fn run(chain: &Chain, call: &Call, callee: &Callee) -> (Answer, Asked) {
    let (mut in_grpc, mut in_tt) = (None, None);
    let (opened, open) = oneshot::channel();
    let opened = Arc::new(Mutex::new(Some(opened)));
    let name = &call.method;
    match callee.clone() {
        Callee::Grpc(head, messages, end) => {
            let script = grpc::Script::Answer(head, messages, end);
            in_grpc = Some(chain.grpc_callee.add(name, script));
        }
        Callee::Tt(head, messages, end) => {
            let script = tt::Script::Answer(head, messages, end);
            in_tt = Some(chain.tt_callee.add(name, script));
        }
        Callee::Holds(Side::Grpc, head) => {
            let script = grpc::Script::Hold(head, opened);
            in_grpc = Some(chain.grpc_callee.add(name, script));
        }
        Callee::Holds(Side::Tt, head) => {
            let script = tt::Script::Hold(head, opened);
            in_tt = Some(chain.tt_callee.add(name, script));
        }
        Callee::Nobody => {}
    }
    let answer = match call.from {
        Side::Grpc => from_grpc(chain, call, open).await,
        Side::Tt => from_tt(chain, call, open).await,
    };
    let asked = match (in_grpc, in_tt) {
        (Some(heard), _) => Asked::Grpc(soon("the callee", heard).await.unwrap()),
        (_, Some(heard)) => Asked::Tt(soon("the callee", heard).await.unwrap()),
        (None, None) => Asked::None,
    };
    (answer, asked)
}

async fn from_grpc(chain: &Chain, call: &Call, open: oneshot::Receiver<()>) -> Answer {
    let mut headers: Pairs = vec![
        (b"te".to_vec(), b"trailers".to_vec()),
        (b"content-type".to_vec(), b"application/grpc".to_vec()),
        (b"x-asked".to_vec(), b"some thing".to_vec()),
    ];
    if let Some(name) = call.named {
        headers.push((b"source-service".to_vec(), name.into()));
    }
    if let Some(limit) = call.limit {
        headers.push((b"grpc-timeout".to_vec(), format!("{limit}m").into()));
    }
    let path = format!("/{}/{}", call.service, call.method);
    let mut stream = chain.grpc().await.open("callee", &path, &headers).await;
    let half_close = matches!(call.then, Then::Listen);
    stream.send(&call.sent, half_close).await;
    match &call.then {
        Then::Listen | Then::Wait => Answer::Grpc(stream.hear().await),
        Then::Reset(code) => {
            soon("the stream", open).await.unwrap();
            stream.reset(*code);
            Answer::None
        }
        Then::End(_) => unreachable!("a gRPC caller has no such end"),
    }
}

async fn from_tt(chain: &Chain, call: &Call, open: oneshot::Receiver<()>) -> Answer {
    let mut stream = chain.tt().await.stream(&call.method, 0x11);
    let strings: Pairs = vec![
        (b"isn".to_vec(), call.service.clone().into_bytes()),
        (b"x-asked".to_vec(), b"some thing".to_vec()),
    ];
    let name = call.named.map(|name| (3, Bytes::from(name)));
    let limit = call.limit.map(|ms| (12, Bytes::from(ms.to_string())));
    let ints: Vec<(u16, Bytes)> = name.into_iter().chain(limit).collect();
    stream.send(Kind::Header, &ints, &strings, Bytes::new());
    stream.data(&call.sent);
    match &call.then {
        Then::Listen => {
            stream.send(Kind::Trailer, &[], &Pairs::new(), Bytes::new());
            Answer::Tt(stream.hear().await)
        }
        Then::Wait => Answer::Tt(stream.hear().await),
        Then::End(end) => {
            soon("the stream", open).await.unwrap();
            stream.end(end);
            Answer::None
        }
        Then::Reset(_) => unreachable!("a TTHeader caller has no such end"),
    }
}

/// Everything that both peers received, as text. What differs from run to run is named, not shown.
pub(crate) fn show(chain: &Chain, answer: &Answer, asked: &Asked) -> String {
    let mut lines = Vec::new();
    match answer {
        Answer::Grpc(heard) => {
            show_headers("caller head", heard.headers.as_ref(), &mut lines);
            show_messages("caller", &heard.messages, &mut lines);
            show_headers("caller end", Some(&heard.trailers), &mut lines);
        }
        Answer::Tt(heard) => show_frames("caller", heard, &mut lines),
        Answer::None => {}
    }
    match asked {
        Asked::Grpc(heard) => {
            lines.push(format!("callee path {} of {}", heard.path, heard.authority));
            show_headers("callee head", Some(&heard.headers), &mut lines);
            show_messages("callee", &heard.messages, &mut lines);
            lines.push(format!("callee reset {:?}", heard.reset));
        }
        Asked::Tt(heard) => show_frames("callee", heard, &mut lines),
        Asked::None => {}
    }
    let mut text = lines.join("\n");
    for (address, name) in chain.addresses {
        text = text.replace(&address.to_string(), name);
    }
    text
}

/// The codes that both peers received, and nothing else.
pub(crate) fn codes(answer: &Answer, asked: &Asked) -> String {
    let end = |heard: &tt::Heard| {
        let end = heard.end.as_ref().unwrap();
        let code = frames::said(&end.payload).map(|(code, _)| code);
        format!("{:?} {code:?}", end.kind)
    };
    let caller = match answer {
        Answer::Grpc(heard) => ["grpc-status", "ripcord-code"]
            .map(|name| format!("{name} {:?}", heard.trailers.get(name)))
            .join(" "),
        Answer::Tt(heard) => end(heard),
        Answer::None => "nothing".to_owned(),
    };
    let callee = match asked {
        Asked::Grpc(heard) => format!("reset {:?}", heard.reset),
        Asked::Tt(heard) => end(heard),
        Asked::None => "nothing".to_owned(),
    };
    format!("caller {caller}\ncallee {callee}")
}

fn show_headers(what: &str, headers: Option<&HeaderMap>, lines: &mut Vec<String>) {
    match headers {
        None => lines.push(format!("{what}: none")),
        Some(headers) => {
            let pairs = headers
                .iter()
                .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
            show_pairs(what, pairs, lines);
        }
    }
}

fn show_messages(who: &str, messages: &[Bytes], lines: &mut Vec<String>) {
    for message in messages {
        let shown = message
            .slice(..message.len().min(40))
            .escape_ascii()
            .to_string();
        lines.push(format!("{who} message of {}: {shown}", message.len()));
    }
}

fn show_frames(who: &str, heard: &tt::Heard, lines: &mut Vec<String>) {
    let frame = |what: &str, frame: &Frame, lines: &mut Vec<String>| {
        let what = format!("{who} {what}");
        lines.push(format!(
            "{what} {:?} protocol {}",
            frame.kind, frame.protocol
        ));
        for (key, value) in &frame.info.ints {
            // How much is left of a deadline.
            let value = if *key == 12 { b"<some>" } else { &value[..] };
            lines.push(format!("{what} int {key}={}", value.escape_ascii()));
        }
        let pairs = frame.info.strings.iter().map(|(k, v)| (&k[..], &v[..]));
        show_pairs(&what, pairs, lines);
        let payload = without_id(&frame.payload);
        lines.push(format!("{what} payload {}", payload.escape_ascii()));
    };
    match &heard.header {
        None => lines.push(format!("{who} head: none")),
        Some(header) => frame("head", header, lines),
    }
    show_messages(who, &heard.messages, lines);
    if let Some(end) = &heard.end {
        frame("end", end, lines);
    }
}

/// An exception without the stream's number, which each hop counts itself.
fn without_id(payload: &[u8]) -> Vec<u8> {
    let mut payload = payload.to_vec();
    if payload.len() > 8 {
        let name = u32::from_be_bytes(payload[4..8].try_into().unwrap()) as usize;
        payload[8 + name..12 + name].fill(0);
    }
    payload
}

/// In the order of the names: neither wire promises another one.
fn show_pairs<'a>(
    what: &str,
    pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    lines: &mut Vec<String>,
) {
    let mut shown = Vec::new();
    for (name, value) in pairs {
        let lower = name.to_ascii_lowercase();
        let value = match &lower[..] {
            // The trace, and the stream's number on its connection.
            traced if traced.ends_with(b"traceparent") => b"<some>",
            b"ripcord-stream" | b"grpc-timeout" => b"<some>",
            _ => value,
        };
        shown.push(format!(
            "{what} {}={}",
            name.escape_ascii(),
            value.escape_ascii()
        ));
    }
    shown.sort();
    lines.append(&mut shown);
}
