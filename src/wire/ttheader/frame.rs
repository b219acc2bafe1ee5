//! Streaming frames (Meta, Header, Data, Trailer, Rst): an incremental decoder and the encoders.
//!
//! Here is where a frame begins and ends, and which limits hold. Streams, sockets and the meaning
//! of the info are not known here.
//!
//! The [`Decoder`] works on a buffer into which its owner reads. `next_event` goes through these
//! states and returns `None` whenever it needs more bytes:
//!
//! 1. Skip: bytes of a refused frame, or of a payload that nobody took, are dropped.
//! 2. The fixed 14 bytes: they give the length of the header block and of the payload.
//! 3. The header block: it gives the kind of the frame, and so the limit of its payload.
//! 4. The payload: once it is whole, the frame is an event. The payload of a Data frame stays in
//!    the buffer until `take_data`.
//!
//! `need` is how many bytes the current state needs. `skip` is how many are dropped before the
//! next.
//!
//! The source is Kitex `ttstream/frame.go` (v0.16.3). Kitex closes the connection for any fault.
//! Here a fault inside one frame of known length is an [`Event::Bad`], so that only its stream
//! fails.

use bytes::{Buf, Bytes, BytesMut};

use crate::stream::{GATHER_BELOW, MessageBatch};
use crate::wire::ttheader::header::{
    self, BlockError, EncodeError, FLAG_STREAMING, Fixed, FramingError, Info, META, Prelude,
};

/// Int key 27: the frame type.
const FRAME_TYPE: u16 = 27;

/// Int key 9: the method, which every frame repeats.
const TO_METHOD: u16 = 9;

/// How much room a read gets when nothing is known of the next frame.
pub(crate) const READ_CHUNK: usize = 16 * 1024;

/// Up to this size, the room for a whole frame is taken at once. A larger frame gets more room only
/// as it arrives, so that announcing it costs the peer about as much as this hop.
const EXACT_ROOM: usize = 256 * 1024;

/// With less room than this, a read is not worth its cost.
const MIN_ROOM: usize = 2 * 1024;

/// The kind of a frame: int key 27.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// About the connection or the stream. A proxy forwards nothing of it.
    Meta,
    /// Opens one direction of a stream.
    Header,
    /// One message of a stream.
    Data,
    /// A caller's Trailer half-closes the stream, a callee's ends it.
    Trailer,
    /// Cancels the stream.
    Rst,
}

impl Kind {
    /// The text of int key 27.
    #[must_use]
    pub const fn text(self) -> &'static [u8] {
        match self {
            Self::Meta => b"1",
            Self::Header => b"2",
            Self::Data => b"3",
            Self::Trailer => b"4",
            Self::Rst => b"5",
        }
    }

    /// Reads the text of int key 27.
    #[must_use]
    pub fn from_text(text: &[u8]) -> Option<Self> {
        [
            Self::Meta,
            Self::Header,
            Self::Data,
            Self::Trailer,
            Self::Rst,
        ]
        .into_iter()
        .find(|kind| kind.text() == text)
    }
}

/// One frame, with its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its kind; also in `info` under int key 27.
    pub kind: Kind,
    /// The id of its stream; 0 is the connection.
    pub stream_id: i32,
    /// The protocol id of the payload: 0x10 or 0x11 on streams.
    pub protocol: u8,
    /// The header's entries.
    pub info: Info,
    /// The payload.
    pub payload: Bytes,
}

impl Frame {
    /// A frame as Kitex begins it: method and kind are in its int keys.
    #[must_use]
    pub fn new(kind: Kind, stream_id: i32, protocol: u8, method: Bytes) -> Self {
        Self {
            kind,
            stream_id,
            protocol,
            info: Info {
                ints: vec![
                    (TO_METHOD, method),
                    (FRAME_TYPE, Bytes::from_static(kind.text())),
                ],
                strings: Vec::new(),
            },
            payload: Bytes::new(),
        }
    }

    /// The method, int key 9.
    #[must_use]
    pub fn method(&self) -> Bytes {
        self.info.int(TO_METHOD).cloned().unwrap_or_default()
    }

    /// Appends the whole frame. A Trailer always gets a string block. On an error nothing was
    /// appended.
    ///
    /// # Errors
    /// The header does not fit the format.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        header::encode(out, self.prelude(), &self.info, self.payload.len())?;
        out.extend_from_slice(&self.payload);
        Ok(())
    }

    /// A Data frame of a stream up to its payload, with the LENGTH of an empty one.
    pub(crate) fn data_template(
        stream_id: i32,
        protocol: u8,
        method: Bytes,
    ) -> Result<Box<[u8]>, EncodeError> {
        let mut out = BytesMut::new();
        Self::new(Kind::Data, stream_id, protocol, method).encode(&mut out)?;
        Ok(Box::from(&out[..]))
    }

    /// The same template for another stream.
    pub(crate) fn with_id(template: &[u8], stream_id: i32) -> Box<[u8]> {
        let mut out = Box::from(template);
        if let Some(id) = header::stream_id_of(&mut out) {
            *id = stream_id.to_be_bytes();
        }
        out
    }

    fn prelude(&self) -> Prelude {
        Prelude {
            flags: FLAG_STREAMING,
            seq: self.stream_id,
            protocol: self.protocol,
        }
    }
}

/// The sizes that the decoder accepts, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct FrameLimits {
    /// The longest header block.
    pub header: usize,
    /// The longest payload of a Data frame.
    pub message: usize,
    /// The longest payload of any other frame.
    pub control: usize,
}

impl FrameLimits {
    /// The longest payload of a frame of that kind.
    #[must_use]
    pub const fn of(&self, kind: Kind) -> usize {
        match kind {
            Kind::Data => self.message,
            Kind::Meta | Kind::Header | Kind::Trailer | Kind::Rst => self.control,
        }
    }
}

/// What the decoder found.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A frame other than Data.
    Frame(Frame),
    /// A Data frame whose payload is whole. [`Decoder::take_data`] takes the payload; otherwise it
    /// is skipped.
    Data {
        /// The id of its stream.
        stream_id: i32,
        /// The payload's length in bytes.
        len: usize,
    },
    /// A frame over a limit. Its bytes are skipped without being buffered.
    Oversized {
        /// The id of its stream.
        stream_id: i32,
        /// The kind of the frame.
        kind: Kind,
        /// The payload's length in bytes.
        len: usize,
    },
    /// A frame whose header cannot be read. Its bytes are skipped.
    Bad {
        /// The id of its stream.
        stream_id: i32,
        /// What is wrong with the header.
        error: BlockError,
    },
}

/// Finds frames in a byte stream that arrives in any pieces.
#[derive(Debug)]
pub struct Decoder {
    limits: FrameLimits,
    buf: BytesMut,
    /// The size of the allocation that `buf` is in: a slice of `buf` keeps all of it in memory.
    chunk: usize,
    /// Bytes that must be in `buf` before the next attempt.
    need: usize,
    /// Bytes to drop first.
    skip: usize,
}

impl Decoder {
    /// A decoder that begins with bytes which were read already.
    #[must_use]
    pub fn new(limits: FrameLimits, first: BytesMut) -> Self {
        Self {
            limits,
            chunk: first.capacity(),
            buf: first,
            need: META,
            skip: 0,
        }
    }

    /// The buffer to read into, with room.
    pub fn space(&mut self) -> &mut BytesMut {
        let missing = self.need.saturating_sub(self.buf.len());
        let room = self.buf.capacity() - self.buf.len();
        if self.buf.is_empty() && self.chunk > 4 * READ_CHUNK && missing <= READ_CHUNK {
            self.chunk = READ_CHUNK;
            self.buf = BytesMut::with_capacity(READ_CHUNK);
        } else if room < missing {
            self.grow(missing.min(EXACT_ROOM.max(self.buf.len())));
        } else if room < MIN_ROOM && missing <= MIN_ROOM {
            self.grow(READ_CHUNK);
        }
        &mut self.buf
    }

    /// Frees the read buffer while there is nothing in it.
    pub fn shrink(&mut self) {
        if self.buf.is_empty() && self.chunk > 0 {
            self.buf = BytesMut::new();
            self.chunk = 0;
        }
    }

    /// The memory of a large frame that is half received; 0 when there is none.
    #[must_use]
    pub fn assembling(&self) -> usize {
        if self.need > READ_CHUNK {
            self.chunk
        } else {
            0
        }
    }

    /// Drops a half-received frame, and skips the rest of it. Returns the id of its stream.
    pub fn abandon(&mut self) -> Option<i32> {
        let fixed = Fixed::parse(self.buf.first_chunk::<META>()?).ok()?;
        self.skip_frame(&fixed);
        let now = self.skip.min(self.buf.len());
        self.skip -= now;
        // Nothing after the frame has arrived, or it would be whole.
        self.buf = BytesMut::new();
        self.chunk = 0;
        Some(fixed.seq)
    }

    /// Whether an end of the input here would cut a frame.
    #[cfg(test)]
    pub(crate) fn in_frame(&self) -> bool {
        !self.buf.is_empty() || self.skip > 0
    }

    /// The next event; `None` when more bytes are needed.
    ///
    /// # Errors
    /// The framing is lost. Nothing can be decoded after that.
    pub fn next_event(&mut self) -> Result<Option<Event>, FramingError> {
        if self.skip > 0 {
            let now = self.skip.min(self.buf.len());
            self.buf.advance(now);
            self.skip -= now;
        }
        if self.skip > 0 || self.buf.len() < self.need {
            return Ok(None);
        }
        let Some(fixed) = self.buf.first_chunk::<META>() else {
            return Ok(None);
        };
        let fixed = Fixed::parse(fixed)?;
        if fixed.flags & FLAG_STREAMING == 0 {
            return Err(FramingError::NotStreaming(fixed.flags));
        }
        let stream_id = fixed.seq;
        if fixed.block > self.limits.header {
            let error = BlockError::TooLong(fixed.block);
            return Ok(Some(self.bad(&fixed, error)));
        }
        let Some(block) = self.buf.get(META..META + fixed.block) else {
            self.need = META + fixed.block;
            return Ok(None);
        };
        let kind = header::scan(block, FRAME_TYPE)
            .and_then(|text| text.and_then(Kind::from_text).ok_or(BlockError::FrameType));
        let kind = match kind {
            Ok(kind) => kind,
            Err(error) => return Ok(Some(self.bad(&fixed, error))),
        };
        let len = fixed.payload;
        if len > self.limits.of(kind) {
            self.skip_frame(&fixed);
            return Ok(Some(Event::Oversized {
                stream_id,
                kind,
                len,
            }));
        }
        if self.buf.len() < fixed.total() {
            self.need = fixed.total();
            return Ok(None);
        }
        self.need = META;
        if kind == Kind::Data {
            self.buf.advance(META + fixed.block);
            self.skip = len;
            return Ok(Some(Event::Data { stream_id, len }));
        }
        self.buf.advance(META);
        // Copied, so that a kept name or text does not keep the whole read buffer in memory.
        let block = Bytes::copy_from_slice(&self.buf.split_to(fixed.block));
        let payload = Bytes::copy_from_slice(&self.buf.split_to(len));
        Ok(Some(match header::decode(&block) {
            Ok((protocol, info)) => Event::Frame(Frame {
                kind,
                stream_id,
                protocol,
                info,
                payload,
            }),
            Err(error) => Event::Bad { stream_id, error },
        }))
    }

    /// Moves the payload that [`Event::Data`] announced to the end of `run`; a large one is not
    /// copied. Returns the memory that it occupies there.
    pub fn take_data(&mut self, run: &mut MessageBatch) -> usize {
        let len = std::mem::take(&mut self.skip).min(self.buf.len());
        if len < GATHER_BELOW {
            run.push_prefix(false, u32::try_from(len).unwrap_or(u32::MAX));
            run.push_slice(self.buf.get(..len).unwrap_or_default());
            self.buf.advance(len);
            len
        } else {
            run.push_message(false, self.buf.split_to(len).freeze());
            // All of the buffer stays in memory while this slice exists.
            self.chunk.max(len)
        }
    }

    fn bad(&mut self, fixed: &Fixed, error: BlockError) -> Event {
        self.skip_frame(fixed);
        Event::Bad {
            stream_id: fixed.seq,
            error,
        }
    }

    fn skip_frame(&mut self, fixed: &Fixed) {
        self.need = META;
        self.skip = fixed.total();
    }

    fn grow(&mut self, room: usize) {
        if self.buf.try_reclaim(room) {
            return;
        }
        self.chunk = (self.buf.len() + room).max(READ_CHUNK);
        let mut larger = BytesMut::with_capacity(self.chunk);
        larger.extend_from_slice(&self.buf);
        self.buf = larger;
    }
}

#[cfg(test)]
mod tests;
