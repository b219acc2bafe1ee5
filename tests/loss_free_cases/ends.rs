//! One stream through both ripcords, and what has to come out of it.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::HeaderMap;
use ripcord::wire::ttheader::frame::Kind;
use tokio::sync::oneshot;

use super::make::{Cancel, GrpcCase, How, TtCase};
use super::world::World;
use super::{Fields, Pairs, fields, frames, grpc, soon, tt};

/// What a hop appends: the names of the ripcords, in the order of an end on its way back.
const BACK: &str = "two,one";

pub(crate) type Checked = Result<(), String>;

/// Complains unless both are the same.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, went_in: T, came_out: T) -> Checked {
    if went_in == came_out {
        return Ok(());
    }
    Err(format!("{what}\n  in:  {went_in:?}\n  out: {came_out:?}"))
}

fn pairs(list: &Pairs) -> Fields {
    fields(list.iter().map(|(k, v)| (&k[..], &v[..])))
}

/// Without the names that a hop writes itself.
fn without(mut fields: Fields, names: &[&str]) -> Fields {
    fields.retain(|name, _| !names.iter().any(|n| n.as_bytes() == &name[..]));
    fields
}

fn no_ripcord_fields(headers: &HeaderMap) -> Checked {
    match headers.keys().find(|n| n.as_str().starts_with("ripcord-")) {
        Some(name) => Err(format!("{name} was not stripped")),
        None => Ok(()),
    }
}

/// gRPC caller, TTHeader between the ripcords, gRPC callee.
pub(crate) async fn grpc_nest(world: Arc<World>, case: GrpcCase) -> Checked {
    let name = world.name();
    let script = grpc::Script::Answer(case.head.clone(), case.replied.clone(), case.end.clone());
    let heard = world.grpc.add(&name, script);
    let mut headers: Pairs = grpc::request(case.kind);
    if let Some(seconds) = case.timeout {
        headers.push((b"grpc-timeout".to_vec(), format!("{seconds}S").into_bytes()));
    }
    headers.extend(case.headers.clone());
    let path = format!("/test.Grpc/{name}{}", case.suffix);
    let entry = world.entry(case.strip);
    let mut call = entry.grpc.open(&case.authority, &path, &headers).await;
    call.send(&case.sent, true).await;
    let answered = call.hear().await;
    let asked = soon("the callee", heard).await.unwrap();

    same("path", &path, &asked.path)?;
    same("authority", &case.authority, &asked.authority)?;
    same("request", &case.sent, &asked.messages)?;
    same(
        "request headers",
        without(grpc::said(&grpc::header_map(&headers)), &["grpc-timeout"]),
        without(grpc::said(&asked.headers), &["grpc-timeout"]),
    )?;
    let seconds = asked.headers.get("grpc-timeout").map(seconds);
    match (case.timeout, seconds) {
        (None, None) => {}
        (Some(limit), Some(left)) if left > 0.0 && left <= f64::from(limit) => {}
        (limit, left) => return Err(format!("timeout {limit:?} became {left:?}")),
    }
    if case.strip {
        no_ripcord_fields(&answered.trailers)?;
        if let Some(headers) = &answered.headers {
            no_ripcord_fields(headers)?;
        }
    }
    match &case.end {
        grpc::End::Trailers(trailers) => {
            let head = grpc::header_map(case.head.as_ref().unwrap_or(&Pairs::new()));
            same(
                "response headers",
                grpc::said(&head),
                without(
                    grpc::said(answered.headers.as_ref().unwrap_or(&HeaderMap::new())),
                    &["content-type"],
                ),
            )?;
            same("response", &case.replied, &answered.messages)?;
            same(
                "trailers",
                end(&grpc::header_map(trailers)),
                end(&answered.trailers),
            )
        }
        grpc::End::Reset(code) => {
            let status = match code {
                8 => "1",
                7 | 1000 => "14",
                11 => "8",
                12 => "7",
                _ => "13",
            };
            same(
                "status of a reset",
                status,
                text(&answered.trailers["grpc-status"]),
            )
        }
    }
}

/// Trailers, with the text as text. An empty text may be there or not.
fn end(trailers: &HeaderMap) -> (String, Fields) {
    let message = trailers.get("grpc-message").map(|raw| raw.as_bytes());
    let said = without(grpc::said(trailers), &["grpc-message"]);
    (grpc::unpercent(message.unwrap_or_default()), said)
}

fn text(value: &http::HeaderValue) -> &str {
    value.to_str().unwrap()
}

fn seconds(value: &http::HeaderValue) -> f64 {
    let (number, unit) = text(value).split_at(value.len() - 1);
    let unit = match unit {
        "S" => 1.0,
        "m" => 1e-3,
        "u" => 1e-6,
        "n" => 1e-9,
        other => panic!("unit {other}"),
    };
    number.parse::<f64>().unwrap() * unit
}

/// TTHeader caller, gRPC between the ripcords, TTHeader callee.
pub(crate) async fn tt_nest(world: Arc<World>, case: TtCase) -> Checked {
    let name = world.name();
    let script = tt::Script::Answer(case.head.clone(), case.replied.clone(), case.end.clone());
    let heard = world.tt.add(&name, script);
    let method = format!("{name}{}", case.suffix);
    let mut stream = world.entry(case.strip).tt.stream(&method, case.protocol);
    let mut ints = case.ints.clone();
    let own = [(6, &case.to), (3, &case.from)];
    let timeout = case.timeout.map(|ms| ms.to_string());
    for (key, value) in own.into_iter().chain([(12, &timeout)]) {
        if let Some(value) = value {
            ints.push((key, Bytes::copy_from_slice(value.as_bytes())));
        }
    }
    let mut strings = case.strings.clone();
    strings.push((b"isn".to_vec(), b"Tt".to_vec()));
    stream.send(Kind::Header, &ints, &strings, Bytes::new());
    stream.data(&case.sent);
    stream.send(Kind::Trailer, &[], &Pairs::new(), Bytes::new());
    let answered = stream.hear().await;
    let asked = soon("the callee", heard).await.unwrap();

    let header = asked.header.as_ref().unwrap();
    same("method", method.as_bytes(), &header.method())?;
    same("protocol", case.protocol, header.protocol)?;
    same("strings", pairs(&strings), asked.head())?;
    same("request", &case.sent, &asked.messages)?;
    for (key, value) in &ints {
        let got = header.info.int(*key);
        if *key == 12 {
            let left: u32 = std::str::from_utf8(got.unwrap()).unwrap().parse().unwrap();
            if left == 0 || left > case.timeout.unwrap() {
                return Err(format!("timeout {:?} became {left}", case.timeout));
            }
        } else {
            same(&format!("int key {key}"), Some(value), got)?;
        }
    }
    // Kinds that are its own: the method, the frame's type, and whom it addresses, which gRPC
    // requires.
    let more =
        header.info.ints.iter().find(|(key, _)| {
            ![6, 9, 27].contains(key) && !ints.iter().any(|(known, _)| known == key)
        });
    same("int keys", None, more)?;
    same("response strings", pairs(&case.head), answered.head())?;
    same("response", &case.replied, &answered.messages)?;
    let end = answered.end.as_ref().unwrap();
    if case.strip {
        // An empty Header need not precede a Rst.
        for frame in answered.header.iter().chain([end]) {
            let mut keys = frame.info.strings.iter().map(|(key, _)| key);
            if let Some(key) = keys.find(|key| key.starts_with(b"ripcord-")) {
                return Err(format!("{key:?} was not stripped"));
            }
        }
    }
    same_end(&case.end, &method, stream.id, end, BACK, "")
}

/// Whether `frame` is `end` with `hops` behind its path; `unnamed` is what stands for an empty one.
fn same_end(
    end: &tt::End,
    method: &str,
    id: i32,
    frame: &ripcord::wire::ttheader::frame::Frame,
    hops: &str,
    unnamed: &str,
) -> Checked {
    let (kind, mut strings, payload) = match end {
        tt::End::Trailer(strings, said) => {
            let payload = said.as_ref().map_or_else(Bytes::new, |(type_id, text)| {
                frames::exception(method.as_bytes(), id, *type_id, text)
            });
            (Kind::Trailer, pairs(strings), payload)
        }
        tt::End::Rst(strings, cause, text) => {
            let payload = frames::exception(method.as_bytes(), id, *cause, text);
            (Kind::Rst, pairs(strings), payload)
        }
    };
    let mut came = tt::strings(frame);
    if kind == Kind::Rst {
        let path = strings.entry(Bytes::from_static(b"ttscp")).or_default();
        let way = path.pop().filter(|way| !way.is_empty());
        let way = way.map_or_else(|| unnamed.into(), |way| [&way[..], b","].concat());
        path.push([&way[..], hops.as_bytes()].concat().into());
    } else if strings.contains_key(&b"biz-status"[..]) {
        // An empty text may be there or not.
        for side in [&mut strings, &mut came] {
            side.entry(Bytes::from_static(b"biz-message"))
                .or_insert_with(|| vec![Bytes::new()]);
        }
    }
    same("kind of end", kind, frame.kind)?;
    same("end", payload, frame.payload.clone())?;
    same("strings of the end", strings, came)
}

/// A caller cancels, over either nesting. The callee receives it.
pub(crate) async fn cancel(world: Arc<World>, case: Cancel) -> Checked {
    match &case.how {
        How::Reset(code) => grpc_cancel(&world, &case, *code).await,
        How::Said(end) => tt_cancel(&world, &case, end).await,
    }
}

async fn grpc_cancel(world: &World, case: &Cancel, code: u32) -> Checked {
    let name = world.name();
    let (opened, open) = oneshot::channel();
    let head = case.answered.then(Pairs::new);
    let script = grpc::Script::Hold(head, Arc::new(Mutex::new(Some(opened))));
    let heard = world.grpc.add(&name, script);
    let headers: Pairs = grpc::request("application/grpc");
    let path = format!("/test.Grpc/{name}");
    let entry = world.entry(case.strip);
    let mut call = entry.grpc.open("callee", &path, &headers).await;
    call.send(&case.sent, case.half_closed).await;
    soon("the stream", open).await.unwrap();
    call.reset(code);
    let asked = soon("the callee", heard).await.unwrap();
    same("reset", Some(8), asked.reset)
}

async fn tt_cancel(world: &World, case: &Cancel, end: &tt::End) -> Checked {
    let name = world.name();
    let (opened, open) = oneshot::channel();
    let head = case.answered.then(Pairs::new);
    let script = tt::Script::Hold(head, Arc::new(Mutex::new(Some(opened))));
    let heard = world.tt.add(&name, script);
    let stream = world.entry(case.strip).tt.stream(&name, 0x10);
    let strings = vec![(b"isn".to_vec(), b"Tt".to_vec())];
    stream.send(Kind::Header, &[], &strings, Bytes::new());
    stream.data(&case.sent);
    if case.half_closed {
        stream.send(Kind::Trailer, &[], &Pairs::new(), Bytes::new());
    }
    soon("the stream", open).await.unwrap();
    stream.end(end);
    let asked = soon("the callee", heard).await.unwrap();
    let rst = asked.end.as_ref().unwrap();
    same_end(&as_rst(end), &name, rst.stream_id, rst, "one,two", ",")
}

/// A caller's end as its callee receives it: always a Rst.
fn as_rst(end: &tt::End) -> tt::End {
    match end {
        tt::End::Rst(strings, cause, text) => tt::End::Rst(strings.clone(), *cause, text.clone()),
        tt::End::Trailer(_, Some((cause, text))) => {
            tt::End::Rst(Pairs::new(), *cause, text.clone())
        }
        tt::End::Trailer(strings, None) => {
            let strings = pairs(strings);
            let text = |key: &'static [u8]| {
                let value = strings.get(key).map(|values| values[0].clone());
                String::from_utf8(value.unwrap_or_default().into()).unwrap()
            };
            let cause = text(b"biz-status").parse().unwrap();
            tt::End::Rst(Pairs::new(), cause, text(b"biz-message"))
        }
    }
}
