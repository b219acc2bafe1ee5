//! Looks at the frames that come in, on their way to `h2`, for what `h2` does not report, or reports
//! too late: a GOAWAY at the moment when it comes, SETTINGS (`settings.rs`), and the header blocks
//! (`blocks.rs`).
//!
//! It reads the 9 bytes before each frame (RFC 9113, 4.1) and skips the rest. Of what goes out it
//! keeps the last bytes: after a GOAWAY that ends the connection, `h2` writes nothing more.

use std::fmt;
use std::io::IoSlice;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{self, AsyncRead, AsyncWrite, ReadBuf};

use super::{Control, ControlState, ResetCode};
use super::{blocks, settings, words};

const HEADERS: u8 = 0x1;
const SETTINGS: u8 = 0x4;
const GO_AWAY: u8 = 0x7;
const CONTINUATION: u8 = 0x9;

/// What the client sends before its first frame (RFC 9113, 3.4).
const PREFACE: usize = 24;

/// GOAWAY's stream id and code.
const FIXED: usize = 8;

/// The most that is kept of a GOAWAY's text, in bytes.
const TEXT: usize = 128;

/// How many of the last bytes written are kept. A GOAWAY ends with its text.
pub(super) const TAIL: usize = 32;

/// A GOAWAY that the peer sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoAway {
    /// Its error code.
    pub code: ResetCode,
    /// What it says beside the code. It is cut after 128 bytes.
    pub text: String,
}

impl GoAway {
    /// Reads the payload of a frame (RFC 9113, 6.8).
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let (fixed, text) = payload.split_first_chunk::<FIXED>()?;
        let [_, _, _, _, a, b, c, d] = *fixed;
        let printable = |b: &u8| (b' '..=b'~').contains(b);
        let text = text
            .iter()
            .map(|b| if printable(b) { char::from(*b) } else { '?' });
        Some(Self {
            code: ResetCode(u32::from_be_bytes([a, b, c, d])),
            text: text.collect(),
        })
    }

    /// Whether the peer complains of small DATA frames that it has not read, as `h2` 0.4.16 and later
    /// do.
    #[must_use]
    pub fn too_many_small_frames(&self) -> bool {
        self.code == ResetCode::ENHANCE_YOUR_CALM && self.text.contains("too_many_data_frames")
    }

    /// Whether the peer complains of too many pings (gRFC A8).
    #[must_use]
    pub fn too_many_pings(&self) -> bool {
        self.code == ResetCode::ENHANCE_YOUR_CALM && self.text.contains("too_many_pings")
    }
}

impl fmt::Display for GoAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&words::goaway(self.code, &self.text))
    }
}

/// A connection whose incoming frames are watched.
pub(super) struct Watched<IO> {
    io: IO,
    frames: Frames,
}

impl<IO> Watched<IO> {
    /// `preface`: the peer is the client, whose frames begin after the preface.
    pub(super) fn new(io: IO, control: &Control, preface: bool) -> Self {
        control.0.id.set(blocks::next_id());
        Self {
            io,
            frames: Frames {
                head: [0; 9],
                have: 0,
                left: if preface { PREFACE } else { 0 },
                kind: 0,
                begun: None,
                kept: Vec::new(),
                state: Rc::clone(&control.0),
            },
        }
    }
}

/// Where in the frames the reading is.
struct Frames {
    /// The frame's first 9 bytes, as far as they came in an earlier piece.
    head: [u8; 9],
    have: usize,
    /// Bytes until the next frame.
    left: usize,
    kind: u8,
    /// The stream and the flags of a header block of which nothing came yet.
    begun: Option<(u32, u8)>,
    /// The payload of a GOAWAY or of SETTINGS, as far as it is there.
    kept: Vec<u8>,
    state: Rc<ControlState>,
}

impl Frames {
    fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let (payload, rest) = bytes.split_at(self.left.min(bytes.len()));
                bytes = rest;
                self.left -= payload.len();
                match self.kind {
                    HEADERS | CONTINUATION => self.block(payload),
                    SETTINGS => self.settings(payload),
                    GO_AWAY => self.go_away(payload),
                    _ => {}
                }
                continue;
            }
            let head = if self.have == 0
                && let Some((head, rest)) = bytes.split_first_chunk()
            {
                bytes = rest;
                *head
            } else {
                let missing = self.head.get_mut(self.have..).unwrap_or_default();
                let (now, rest) = bytes.split_at(missing.len().min(bytes.len()));
                missing
                    .iter_mut()
                    .zip(now)
                    .for_each(|(to, from)| *to = *from);
                self.have += now.len();
                bytes = rest;
                if self.have < self.head.len() {
                    return;
                }
                self.have = 0;
                self.head
            };
            self.begin(head);
        }
    }

    /// The first 9 bytes of a frame are there.
    fn begin(&mut self, head: [u8; 9]) {
        let [a, b, c, kind, flags, w, x, y, z] = head;
        self.left = u32::from_be_bytes([0, a, b, c]) as usize;
        self.kind = kind;
        if kind == HEADERS {
            let stream = u32::from_be_bytes([w, x, y, z]) & (u32::MAX >> 1);
            self.begun = Some((stream, flags));
        }
    }

    fn block(&mut self, payload: &[u8]) {
        let id = self.state.id.get();
        match self.begun.take() {
            Some((stream, flags)) => blocks::begin(id, stream, flags, payload),
            None => blocks::add(id, payload),
        }
    }

    fn settings(&mut self, payload: &[u8]) {
        let Some(whole) = self.whole(payload, settings::LONGEST) else {
            return;
        };
        if let Some(size) = settings::max_header_list(&whole) {
            self.state.header_list.set(Some(size));
        }
        if settings::are_of_hyper(&whole) {
            self.state.hyper.set(true);
        }
    }

    fn go_away(&mut self, payload: &[u8]) {
        if let Some(whole) = self.whole(payload, FIXED + TEXT)
            && let Some(goaway) = GoAway::parse(&whole)
        {
            self.state.went_away(goaway);
        }
    }

    /// Keeps a piece of the frame's payload. Returns the first `most` bytes of the payload when
    /// this piece is its last.
    fn whole(&mut self, piece: &[u8], most: usize) -> Option<Vec<u8>> {
        let room = most.saturating_sub(self.kept.len());
        let kept = piece.get(..room.min(piece.len())).unwrap_or_default();
        self.kept.extend_from_slice(kept);
        (self.left == 0).then(|| std::mem::take(&mut self.kept))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Watched<IO> {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        this.frames
            .read(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Watched<IO> {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        // Shorter ones are no GOAWAY with a text.
        if let Some(last) = bufs.iter().rev().find_map(|buf| buf.last_chunk::<TAIL>()) {
            this.frames.state.tail.set(*last);
        }
        polled
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    #[inline]
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
        let mut out = vec![a, b, c, kind, 0];
        out.extend(stream.to_be_bytes());
        out.extend(payload);
        out
    }

    /// In pieces of any size: the GOAWAY is seen whole, and the blocks of the last piece are.
    #[test]
    fn frames_are_seen_in_pieces_of_any_size() {
        let goaway = [&[0, 0, 0, 7, 0, 0, 0, 11][..], b"too_many_pings"].concat();
        let all = [
            vec![b'P'; PREFACE],
            frame(SETTINGS, 0, &[0, 3, 0, 0, 0, 9, 0, 6, 0, 0, 32, 0]),
            frame(HEADERS, 5, &[0x88; 300]),
            frame(GO_AWAY, 0, &goaway),
            frame(0, 5, &[]),
            frame(HEADERS, 7, b"\0\x05x-Key"),
            frame(CONTINUATION, 7, b"\x01v"),
            frame(HEADERS, 9, &[0x88; 40]),
        ]
        .concat();
        for size in 1..all.len() {
            let control = Control::default();
            let mut watched = Watched::new((), &control, true);
            for piece in all.chunks(size) {
                watched.frames.read(piece);
            }
            let seen = control.go_away().unwrap();
            assert!(seen.too_many_pings(), "{size}: {seen:?}");
            assert_eq!(control.peer_header_list(), Some(8192), "{size}");
            let found = blocks::find_malformed(control.0.id.get());
            let expected = (7, "upper case in the name \"x-Key\"".to_owned());
            assert_eq!(found, Some(expected), "{size}");
        }
    }

    #[test]
    fn a_go_away_with_a_long_or_binary_text_is_cut_and_cleaned() {
        let mut payload = vec![0, 0, 0, 0, 0, 0, 0, 1];
        payload.extend([b'\n'; 1000]);
        let control = Control::default();
        let mut watched = Watched::new((), &control, false);
        watched.frames.read(&frame(GO_AWAY, 0, &payload));
        let seen = control.go_away().unwrap();
        assert_eq!(seen.code, ResetCode::PROTOCOL_ERROR);
        assert_eq!(seen.text, "?".repeat(TEXT));
    }
}
