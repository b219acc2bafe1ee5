//! TTHeader frames as scripted peers read them. The thrift in them is written and read by hand: the
//! crate's codec of exceptions must not be tested with itself.

use bytes::{BufMut, Bytes, BytesMut};
use ripcord::wire::ttheader::frame::{Frame, Kind};
use ripcord::wire::ttheader::header::{self, Fixed};

/// The int key of a frame's kind.
const FRAME_TYPE: u16 = 27;

/// The frame with these three parts.
pub(crate) fn frame(fixed: &Fixed, block: Vec<u8>, payload: Vec<u8>) -> Frame {
    let (protocol, info) = header::decode(&Bytes::from(block)).unwrap();
    Frame {
        kind: Kind::from_text(info.int(FRAME_TYPE).unwrap()).unwrap(),
        stream_id: fixed.seq,
        protocol,
        info,
        payload: payload.into(),
    }
}

/// A frame's bytes.
pub(crate) fn encoded(frame: &Frame) -> Bytes {
    let mut out = BytesMut::new();
    frame.encode(&mut out).unwrap();
    out.freeze()
}

/// A struct with one field, `{1: binary}`: a message of the test IDL.
pub(crate) fn message(payload: &[u8]) -> Bytes {
    let mut out = vec![11, 0, 1];
    out.extend((payload.len() as u32).to_be_bytes());
    out.extend(payload);
    out.push(0);
    out.into()
}

/// A thrift EXCEPTION message, written by hand: what Trailers and Rsts carry.
pub(crate) fn exception(method: &[u8], id: i32, type_id: i32, text: &str) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u32(0x8001_0003);
    out.put_u32(method.len() as u32);
    out.put_slice(method);
    out.put_i32(id);
    out.put_slice(&[11, 0, 1]);
    out.put_u32(text.len() as u32);
    out.put_slice(text.as_bytes());
    out.put_slice(&[8, 0, 2]);
    out.put_i32(type_id);
    out.put_u8(0);
    out.freeze()
}

/// Type and text of an EXCEPTION message as ripcord and Kitex write it; `None` without a payload.
pub(crate) fn said(payload: &[u8]) -> Option<(i32, String)> {
    let u32_at = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap()) as usize;
    if payload.is_empty() {
        return None;
    }
    let text = 4 + 4 + u32_at(4) + 4 + 3 + 4;
    let end = text + u32_at(text - 4);
    let type_id = u32_at(end + 3) as i32;
    Some((
        type_id,
        String::from_utf8(payload[text..end].to_vec()).unwrap(),
    ))
}
