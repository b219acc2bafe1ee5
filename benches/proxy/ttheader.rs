//! Just enough TTHeader streaming for a caller and an echo server: frames, and a connection that
//! reads and writes at once.
//!
//! The sources are Kitex v0.16.3 (`pkg/remote/trans/ttstream/frame.go`) and gopkg
//! `protocol/ttheader`. The codec is its own, so that a fault of the proxy's codec cannot hide.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicI32, Ordering};
use std::task::{Context, Poll};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;

use crate::pace;

pub(crate) const HEADER: u8 = b'2';
pub(crate) const DATA: u8 = b'3';
pub(crate) const TRAILER: u8 = b'4';
pub(crate) const RST: u8 = b'5';

/// Bytes before the protocol id; LENGTH does not count its own four.
const FIXED: usize = 14;
const STREAM_ID: std::ops::Range<usize> = 8..12;
const METHOD_KEY: u16 = 9;
const FRAME_TYPE_KEY: u16 = 27;

/// Bytes waiting to be written beyond which nothing more is read.
const HIGH_WATER: usize = 256 * 1024;

/// Stream ids are unique per calling process.
pub(crate) fn next_stream_id() -> i32 {
    static NEXT: AtomicI32 = AtomicI32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// One frame as read.
pub(crate) struct Frame<'a> {
    pub(crate) kind: u8,
    pub(crate) stream: i32,
    pub(crate) method: &'a [u8],
    pub(crate) payload: &'a [u8],
}

/// A frame to be sent often: encoded once, then only the stream id changes.
pub(crate) struct Template(Vec<u8>);

impl Template {
    pub(crate) fn new(kind: u8, method: &[u8], strings: &[(&str, &str)], payload: &[u8]) -> Self {
        let mut info = vec![0x10, 0];
        if !strings.is_empty() {
            info.push(0x01);
            put(&mut info, strings.len());
            for (key, value) in strings {
                text(&mut info, key.as_bytes());
                text(&mut info, value.as_bytes());
            }
        }
        info.extend_from_slice(&[0x10, 0, 2]);
        info.extend_from_slice(&METHOD_KEY.to_be_bytes());
        text(&mut info, method);
        info.extend_from_slice(&FRAME_TYPE_KEY.to_be_bytes());
        text(&mut info, &[kind]);
        info.resize(info.len().next_multiple_of(4), 0);

        let length = u32::try_from(FIXED - 4 + info.len() + payload.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(FIXED + info.len() + payload.len());
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&[0x10, 0x00, 0x00, 0x02, 0, 0, 0, 0]);
        put(&mut bytes, info.len() / 4);
        bytes.extend_from_slice(&info);
        bytes.extend_from_slice(payload);
        Self(bytes)
    }

    /// The frame with the stamp of now at the start of a payload of [`pace::SIZE`] bytes.
    pub(crate) fn put_stamped(&self, stream: i32, out: &mut Vec<u8>) {
        self.put(stream, out);
        let start = out.len() - pace::SIZE;
        if let Some(stamp) = out.get_mut(start..start + 8) {
            stamp.copy_from_slice(&pace::stamp());
        }
    }

    pub(crate) fn put(&self, stream: i32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.0);
        let id = start + STREAM_ID.start..start + STREAM_ID.end;
        if let Some(id) = out.get_mut(id) {
            id.copy_from_slice(&stream.to_be_bytes());
        }
    }
}

/// The payload of a cancel: a thrift EXCEPTION, as Kitex writes it.
pub(crate) fn exception(method: &str, code: i32, message: &str) -> Vec<u8> {
    let mut out = vec![0x80, 0x01, 0, 3];
    long_text(&mut out, method);
    out.extend_from_slice(&[0, 0, 0, 0]); // sequence id
    out.extend_from_slice(&[11, 0, 1]); // field 1, string
    long_text(&mut out, message);
    out.extend_from_slice(&[8, 0, 2]); // field 2, i32
    out.extend_from_slice(&code.to_be_bytes());
    out.push(0);
    out
}

fn long_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put(out: &mut Vec<u8>, n: usize) {
    out.extend_from_slice(&u16::try_from(n).unwrap_or(u16::MAX).to_be_bytes());
}

fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// The first frame in `buf` and its length, or `None` while it is incomplete.
pub(crate) fn parse(buf: &[u8]) -> Result<Option<(Frame<'_>, usize)>> {
    let Some((mut fixed, _)) = buf.split_at_checked(FIXED) else {
        return Ok(None);
    };
    let total = fixed.get_u32() as usize + 4;
    let (magic, flags, stream) = (fixed.get_u16(), fixed.get_u16(), fixed.get_i32());
    let info = usize::from(fixed.get_u16()) * 4;
    ensure!(magic == 0x1000 && flags & 2 != 0, "not a streaming frame");
    let Some(frame) = buf.get(..total) else {
        return Ok(None);
    };
    let mut rest = frame
        .get(FIXED + 2..FIXED + info)
        .context("header size beyond the frame")?;
    let payload = frame.get(FIXED + info..).context("header size")?;
    let (mut kind, mut method) = (0, &[][..]);
    while !rest.is_empty() {
        match rest.try_get_u8()? {
            0x00 => {}
            0x01 => {
                for _ in 0..rest.try_get_u16()? {
                    take(&mut rest)?;
                    take(&mut rest)?;
                }
            }
            0x10 => {
                for _ in 0..rest.try_get_u16()? {
                    match (rest.try_get_u16()?, take(&mut rest)?) {
                        (METHOD_KEY, value) => method = value,
                        (FRAME_TYPE_KEY, value) => kind = value.first().copied().unwrap_or(0),
                        _ => {}
                    }
                }
            }
            0x11 => {
                take(&mut rest)?;
            }
            other => bail!("info block {other:#x}"),
        }
    }
    let frame = Frame {
        kind,
        stream,
        method,
        payload,
    };
    Ok(Some((frame, total)))
}

fn take<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8]> {
    let length = usize::from(rest.try_get_u16()?);
    let (value, after) = rest.split_at_checked(length).context("info block cut")?;
    *rest = after;
    Ok(value)
}

/// What a connection does with frames.
pub(crate) trait Handler {
    /// Takes one frame; answers go to `out`.
    fn frame(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<()>;

    /// Called before each write: a sender without end adds its frames here.
    fn refill(&mut self, _out: &mut Vec<u8>) {}

    /// Called at each poll: adds what others have given it to send, and wakes for more.
    fn poll_due(&mut self, _cx: &mut Context<'_>, _out: &mut Vec<u8>) {}
}

/// Reads and writes until the peer closes. `out` holds what is to be sent first.
pub(crate) async fn run<H: Handler>(
    mut socket: TcpStream,
    mut out: Vec<u8>,
    handler: &mut H,
) -> Result<()> {
    socket.set_nodelay(true)?;
    let mut input = BytesMut::with_capacity(256 * 1024);
    let mut sent = 0;
    loop {
        if sent == 0 && out.len() < HIGH_WATER {
            handler.refill(&mut out);
        }
        let open = poll_fn(|cx| {
            handler.poll_due(cx, &mut out);
            turn(&mut socket, cx, &mut input, &mut out, &mut sent)
        });
        let open = open.await?;
        if !open {
            return Ok(());
        }
        while let Some((frame, length)) = parse(&input)? {
            handler.frame(&frame, &mut out)?;
            input.advance(length);
        }
        // A large frame is waited for in a buffer that it fits.
        if input.capacity() - input.len() < 64 * 1024 {
            input.reserve(256 * 1024);
        }
    }
}

/// One write and one read; false at the end of the input.
fn turn(
    socket: &mut TcpStream,
    cx: &mut Context<'_>,
    input: &mut BytesMut,
    out: &mut Vec<u8>,
    sent: &mut usize,
) -> Poll<Result<bool>> {
    let mut progress = false;
    if let Some(rest) = out.get(*sent..).filter(|rest| !rest.is_empty()) {
        match Pin::new(&mut *socket).poll_write(cx, rest) {
            Poll::Ready(Ok(n)) => {
                *sent += n;
                progress = true;
            }
            Poll::Ready(Err(e)) => return Poll::Ready(Err(e.into())),
            Poll::Pending => {}
        }
        if *sent == out.len() {
            out.clear();
            *sent = 0;
        }
    }
    if out.len() - *sent < HIGH_WATER {
        match pin!(socket.read_buf(input)).poll(cx) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Ok(false)),
            Poll::Ready(Ok(_)) => progress = true,
            Poll::Ready(Err(e)) => return Poll::Ready(Err(e.into())),
            Poll::Pending => {}
        }
    }
    if progress {
        Poll::Ready(Ok(true))
    } else {
        Poll::Pending
    }
}
