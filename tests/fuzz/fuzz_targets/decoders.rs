//! Any bytes through every decoder of heads, trailers, ends and single values of both wires, and
//! the result on to the other wire. There is never a panic, and ripcord can read what it writes.
#![no_main]

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use libfuzzer_sys::fuzz_target;
use ripcord::wire::grpc::end::Wording;
use ripcord::wire::grpc::status::{
    decode_bin, decode_details, decode_message, encode_bin, encode_message, format_timeout,
    parse_timeout,
};
use ripcord::stream::{End, Hops, Metadata, Initiator, Path, Reason, RequestHead};
use ripcord::wire::ttheader::end::{CancelForm, EndContext};
use ripcord::wire::ttheader::header::{self, Info, Prelude};
use ripcord::wire::{grpc, ttheader};

const CONTEXT: EndContext<'static> = EndContext {
    node: "node",
    method: "Chat",
    stream_id: 7,
    carried: true,
    form: CancelForm::Rst,
};

/// Lines of `name: value`, as far as HTTP/2 can write them.
fn headers(bytes: &[u8]) -> HeaderMap {
    let line = |line: &[u8]| -> Option<(HeaderName, HeaderValue)> {
        let at = line.iter().position(|b| *b == b':')?;
        let (name, value) = (&line[..at], &line[at + 1..]);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let name = HeaderName::from_lowercase(name).ok()?;
        Some((name, HeaderValue::from_bytes(value).ok()?))
    };
    bytes.split(|b| *b == b'\n').filter_map(line).collect()
}

/// An end as each peer receives it, and as the next hop reads that.
fn tell(end: &End) {
    for carried in [false, true] {
        for own in [Wording::Kitex, Wording::Plain] {
            let trailers = grpc::end::to_caller(end, "node", carried, own);
            let _ = grpc::end::from_trailers(200, &trailers);
        }
        let context = EndContext { carried, ..CONTEXT };
        let terminal = ttheader::end::to_caller(end, &context);
        let info = Info {
            strings: terminal.strings,
            ..Info::default()
        };
        write_info(&info);
        let _ = ttheader::end::from_trailer(&info, &terminal.payload);
        let _ = ttheader::end::from_rst(Initiator::Callee, &info, &terminal.payload);
        let _ = grpc::end::reset_to_caller(end, "node", carried, true);
    }
    if let Reason::Canceled(cancel) = &end.reason {
        let terminal = ttheader::end::to_callee(cancel, &CONTEXT);
        let info = Info {
            strings: terminal.strings,
            ..Info::default()
        };
        let _ = ttheader::end::from_rst(Initiator::Caller, &info, &terminal.payload);
    }
}

/// What can be encoded decodes to the same.
fn write_info(info: &Info) {
    let mut out = BytesMut::new();
    let prelude = Prelude {
        flags: 2,
        seq: 1,
        protocol: 0x10,
    };
    if header::encode(&mut out, prelude, info, 0).is_ok() {
        let block = out.freeze().slice(header::META..);
        header::decode(&block).expect("what was encoded is read");
    }
}

/// A request's head as each callee receives it, and as that callee reads it.
fn call(head: &RequestHead) {
    let (parts, ()) = grpc::metadata::request(head).into_parts();
    grpc::metadata::request_head(&parts).expect("what this hop sends is gRPC");
    let (info, protocol) = ttheader::metadata::request_info(head);
    let mut out = BytesMut::new();
    let prelude = Prelude {
        flags: 2,
        seq: 1,
        protocol,
    };
    if header::encode(&mut out, prelude, &info, 0).is_ok() {
        let block = out.freeze().slice(header::META..);
        let (protocol, info) = header::decode(&block).expect("what was encoded is read");
        let _ = ttheader::metadata::request_head(&info, protocol);
    }
}

fn grpc_head(bytes: &[u8]) {
    let mut lines = bytes.splitn(2, |b| *b == b'\n');
    let path = lines.next().unwrap_or_default();
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    let Ok(uri) = path.try_into() else { return };
    *request.uri_mut() = uri;
    *request.headers_mut() = headers(lines.next().unwrap_or_default());
    let (parts, ()) = request.into_parts();
    match grpc::metadata::request_head(&parts) {
        Ok(head) => call(&head),
        Err(refusal) => drop(refusal.response()),
    }
}

fn grpc_end(bytes: &[u8]) {
    let Some((&status, rest)) = bytes.split_first() else {
        return;
    };
    let headers = headers(rest);
    tell(&grpc::end::from_trailers(100 + u16::from(status) * 4, &headers));
    let head = grpc::metadata::response_head(&headers);
    write_info(&ttheader::metadata::response_info(&head, "Chat"));
}

fn ttheader_block(bytes: &[u8]) {
    let Some((&cut, rest)) = bytes.split_first() else {
        return;
    };
    let (block, payload) = rest.split_at(rest.len().min(usize::from(cut) * 4));
    let (block, payload) = (Bytes::copy_from_slice(block), Bytes::copy_from_slice(payload));
    let _ = header::scan(&block, 9);
    let Ok((protocol, info)) = header::decode(&block) else {
        return;
    };
    write_info(&info);
    if let Ok(head) = ttheader::metadata::request_head(&info, protocol) {
        call(&head);
    }
    let head = ttheader::metadata::response_head(&info);
    drop(grpc::metadata::response(&head, &Default::default()));
    tell(&ttheader::end::from_trailer(&info, &payload));
    for by in [Initiator::Caller, Initiator::Callee] {
        tell(&ttheader::end::from_rst(by, &info, &payload));
    }
    if let Some(end) = ttheader::end::from_caller_trailer(&info, &payload) {
        tell(&end);
    }
}

fn values(bytes: &[u8]) {
    if let Some(timeout) = parse_timeout(bytes) {
        let text = format_timeout(timeout);
        assert!(text.len() <= 9, "{text}");
        let again = parse_timeout(text.as_bytes()).expect("it was written here");
        assert!(again <= timeout || timeout.is_zero(), "{timeout:?} as {text}");
    }
    let text = decode_message(bytes);
    assert_eq!(decode_message(encode_message(&text).as_bytes()), text);
    if let Some(raw) = decode_bin(bytes) {
        assert_eq!(decode_bin(encode_bin(&raw).as_bytes()), Some(raw));
    }
    let whole = Bytes::copy_from_slice(bytes);
    let _ = decode_details(&whole);
    if let Some(metadata) = Metadata::unpack(whole.clone()) {
        assert_eq!(metadata.pack(), whole);
    }
    if let Ok(exception) = ttheader::exception::decode(&whole) {
        drop(format!("{exception:?}"));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        // One name that is empty is written as no name.
        let wire = Path::parse(text).to_wire();
        assert_eq!(Path::parse(&wire).to_wire(), wire);
        if let Some(mut hops) = Hops::parse(text) {
            // As they are sent on: an origin without a name alone would be none.
            hops.append("node");
            let again = Hops::parse(hops.as_wire()).expect("it names a hop");
            assert_eq!(again.path(), hops.path());
        }
    }
    let _ = ttheader::pingpong::parse(bytes);
}

fuzz_target!(|input: &[u8]| {
    let Some((which, bytes)) = input.split_first() else {
        return;
    };
    match which % 4 {
        0 => grpc_head(bytes),
        1 => grpc_end(bytes),
        2 => ttheader_block(bytes),
        _ => values(bytes),
    }
});
