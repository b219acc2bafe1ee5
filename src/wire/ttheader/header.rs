//! The TTHeader block: bounded decoding and encoding of one frame's header.
//!
//! Here are the bytes before the payload, without their meaning: frame kinds, keys and streams are
//! for the layers above. The source is gopkg v0.2.0 `protocol/ttheader/{encode,decode}.go`. This
//! code is stricter where that one trusts its peer (LENGTH, transforms).

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

/// Bytes before the header block: LENGTH, magic, flags, sequence id, header size.
pub const META: usize = 14;

/// The largest header block that the format can express: a u16 times 4.
pub const MAX_BLOCK: usize = 4 * 0xFFFF;

/// The largest legal LENGTH.
pub const MAX_LENGTH: u32 = 0x3FFF_FFFF;

/// The flag of a streaming frame.
pub const FLAG_STREAMING: u16 = 0x0002;

/// Thrift struct, the protocol id that Kitex writes on streams.
pub const PROTOCOL_THRIFT_STRUCT: u8 = 0x10;

/// Protobuf struct. No Kitex peer speaks it on streams.
pub const PROTOCOL_PROTOBUF_STRUCT: u8 = 0x11;

/// The string key under which the ACL token block is shown.
pub const ACL_TOKEN: &str = "RPC_TRANSIT_gdpr-token";

/// Bytes of LENGTH itself, which LENGTH does not count.
const LENGTH_FIELD: usize = 4;

const MAGIC: u16 = 0x1000;

/// The most entries of one block: a decoded entry takes more memory than its bytes did.
const MAX_ENTRIES: usize = 2048;

const INFO_PADDING: u8 = 0x00;
const INFO_STRINGS: u8 = 0x01;
const INFO_INTS: u8 = 0x10;
const INFO_ACL: u8 = 0x11;

/// The info blocks of one TTHeader frame, in the order of the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Int-keyed values (info id 0x10).
    pub ints: Vec<(u16, Bytes)>,
    /// String-keyed values (info id 0x01). The ACL token, 0x11, is under `RPC_TRANSIT_gdpr-token`.
    pub strings: Vec<(Bytes, Bytes)>,
}

impl Info {
    /// The value of an int key.
    #[must_use]
    pub fn int(&self, key: u16) -> Option<&Bytes> {
        self.ints.iter().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    /// The value of a string key. Keys match exactly, with case.
    #[must_use]
    pub fn string(&self, key: &str) -> Option<&Bytes> {
        self.strings
            .iter()
            .find(|(k, _)| k == key.as_bytes())
            .map(|(_, v)| v)
    }
}

/// The framing is lost: nobody can know where the next frame begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FramingError {
    /// The bytes are no TTHeader frame.
    #[error("bad magic {0:#06x}, want 0x1000")]
    BadMagic(u16),
    /// LENGTH is over the legal maximum, or less than the header that it contains.
    #[error("bad length {length} with a header of {block} bytes")]
    BadLength {
        /// The value of LENGTH.
        length: u32,
        /// The header block's size in bytes.
        block: usize,
    },
    /// A ping-pong frame came on a streaming connection.
    #[error("frame without the streaming flag: flags {0:#06x}")]
    NotStreaming(u16),
}

/// The header block of one frame cannot be read. The framing is intact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BlockError {
    /// It has fewer than the two bytes of every block.
    #[error("header of {0} bytes is too short")]
    TooShort(usize),
    /// It is longer than this hop accepts.
    #[error("header of {0} bytes is over the limit")]
    TooLong(usize),
    /// A protocol id that Kitex does not know either.
    #[error("unsupported protocol id {0:#04x}")]
    Protocol(u8),
    /// The payload is transformed (compressed), which is not supported.
    #[error("{0} payload transforms, none is supported")]
    Transforms(u8),
    /// An info id that Kitex does not know either, so its length is unknown.
    #[error("unknown info id {0:#04x}")]
    UnknownInfo(u8),
    /// A count or length reaches past the block's end.
    #[error("header ends in the middle of {0}")]
    Truncated(&'static str),
    /// It has more entries than this hop accepts.
    #[error("more than {MAX_ENTRIES} header entries")]
    TooManyEntries,
    /// Int key 27 is none of the five kinds of frames.
    #[error("unknown or missing frame type")]
    FrameType,
}

/// Why a header cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// A key or value over 65,535 bytes, or more than 65,535 of them.
    #[error("header entry of {0} bytes (or entries) does not fit in 16 bits")]
    Entry(usize),
    /// The block is over [`MAX_BLOCK`].
    #[error("header of {0} bytes is over the format's limit")]
    Block(usize),
    /// The frame is over [`MAX_LENGTH`].
    #[error("frame with a payload of {0} bytes is over the format's limit")]
    Payload(usize),
}

/// The 14 bytes before the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// The flags of the frame.
    pub flags: u16,
    /// The sequence id. On streams it is the stream id.
    pub seq: i32,
    /// The block's size in bytes, a multiple of 4.
    pub block: usize,
    /// The payload's size in bytes.
    pub payload: usize,
}

impl Fixed {
    /// Reads the 14 bytes.
    ///
    /// # Errors
    /// They do not begin a TTHeader frame.
    pub fn parse(bytes: &[u8; META]) -> Result<Self, FramingError> {
        let [l0, l1, l2, l3, m0, m1, f0, f1, s0, s1, s2, s3, h0, h1] = *bytes;
        let magic = u16::from_be_bytes([m0, m1]);
        if magic != MAGIC {
            return Err(FramingError::BadMagic(magic));
        }
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        let block = usize::from(u16::from_be_bytes([h0, h1])) * 4;
        let rest = (length as usize).checked_sub(META - LENGTH_FIELD + block);
        let payload = match rest {
            Some(payload) if length <= MAX_LENGTH => payload,
            Some(_) | None => return Err(FramingError::BadLength { length, block }),
        };
        Ok(Self {
            flags: u16::from_be_bytes([f0, f1]),
            seq: i32::from_be_bytes([s0, s1, s2, s3]),
            block,
            payload,
        })
    }

    /// Bytes of the whole frame.
    #[must_use]
    pub const fn total(&self) -> usize {
        META + self.block + self.payload
    }
}

/// One entry of a block, as offsets into it.
enum Entry {
    Int(u16, Range<usize>),
    Text(Range<usize>, Range<usize>),
    Acl(Range<usize>),
}

/// Reads a whole block and returns the protocol id. Every entry is checked against the block's end.
fn walk(block: &[u8], mut entry: impl FnMut(Entry)) -> Result<u8, BlockError> {
    let [protocol, transforms, ..] = *block else {
        return Err(BlockError::TooShort(block.len()));
    };
    // 0x02 is the old compact id, which Kitex rejects too.
    if !matches!(
        protocol,
        0x00 | 0x03 | 0x04 | PROTOCOL_THRIFT_STRUCT | PROTOCOL_PROTOBUF_STRUCT
    ) {
        return Err(BlockError::Protocol(protocol));
    }
    if transforms != 0 {
        return Err(BlockError::Transforms(transforms));
    }
    let mut cursor = Cursor { block, at: 2 };
    let mut entries = 0;
    while let Some(id) = cursor.byte() {
        let count = match id {
            INFO_PADDING => continue,
            INFO_STRINGS => cursor.u16("the string map's size")?,
            INFO_INTS => cursor.u16("the int map's size")?,
            INFO_ACL => 1,
            unknown => return Err(BlockError::UnknownInfo(unknown)),
        };
        for _ in 0..count {
            entries += 1;
            if entries > MAX_ENTRIES {
                return Err(BlockError::TooManyEntries);
            }
            entry(match id {
                INFO_INTS => Entry::Int(cursor.u16("an int key")?, cursor.text("an int value")?),
                INFO_ACL => Entry::Acl(cursor.text("the ACL token")?),
                _ => Entry::Text(cursor.text("a string key")?, cursor.text("a string value")?),
            });
        }
    }
    Ok(protocol)
}

struct Cursor<'a> {
    block: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = self.block.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }

    fn u16(&mut self, what: &'static str) -> Result<u16, BlockError> {
        let rest = self.block.get(self.at..).unwrap_or_default();
        let bytes = rest.first_chunk().ok_or(BlockError::Truncated(what))?;
        self.at += 2;
        Ok(u16::from_be_bytes(*bytes))
    }

    fn text(&mut self, what: &'static str) -> Result<Range<usize>, BlockError> {
        let len = usize::from(self.u16(what)?);
        let start = self.at;
        if len > self.block.len() - start {
            return Err(BlockError::Truncated(what));
        }
        self.at += len;
        Ok(start..self.at)
    }
}

/// Checks a whole block and finds one int key's value, without allocating.
///
/// # Errors
/// The block cannot be read.
pub fn scan(block: &[u8], key: u16) -> Result<Option<&[u8]>, BlockError> {
    let mut found = None;
    walk(block, |entry| match entry {
        Entry::Int(k, value) if k == key => found = block.get(value),
        Entry::Int(..) | Entry::Text(..) | Entry::Acl(_) => {}
    })?;
    Ok(found)
}

/// Decodes a whole block into the protocol id and its entries, which are slices of it.
///
/// # Errors
/// The block cannot be read.
pub fn decode(block: &Bytes) -> Result<(u8, Info), BlockError> {
    let mut info = Info::default();
    let protocol = walk(block, |entry| match entry {
        Entry::Int(key, value) => info.ints.push((key, block.slice(value))),
        Entry::Text(key, value) => info.strings.push((block.slice(key), block.slice(value))),
        Entry::Acl(value) => info
            .strings
            .push((Bytes::from_static(ACL_TOKEN.as_bytes()), block.slice(value))),
    })?;
    Ok((protocol, info))
}

/// What [`encode`] writes besides the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prelude {
    /// The flags of the frame.
    pub flags: u16,
    /// The sequence id. On streams it is the stream id.
    pub seq: i32,
    /// The protocol id of the payload.
    pub protocol: u8,
}

/// Appends a frame's header for a payload of `payload` bytes, in Kitex's order of blocks. On an
/// error nothing was appended.
///
/// # Errors
/// Something does not fit the format.
pub fn encode(
    out: &mut BytesMut,
    prelude: Prelude,
    info: &Info,
    payload: usize,
) -> Result<(), EncodeError> {
    let start = out.len();
    let result = encode_inner(out, prelude, info, payload);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn encode_inner(
    out: &mut BytesMut,
    prelude: Prelude,
    info: &Info,
    payload: usize,
) -> Result<(), EncodeError> {
    let block = block_len(info);
    let block_words = u16::try_from(block / 4).map_err(|_| EncodeError::Block(block))?;
    let length = u32::try_from(META - LENGTH_FIELD + block)
        .ok()
        .zip(u32::try_from(payload).ok())
        .and_then(|(head, payload)| head.checked_add(payload))
        .filter(|length| *length <= MAX_LENGTH)
        .ok_or(EncodeError::Payload(payload))?;
    out.reserve(META + block);
    out.put_u32(length);
    out.put_u16(MAGIC);
    out.put_u16(prelude.flags);
    out.put_i32(prelude.seq);
    out.put_u16(block_words);
    let begin = out.len();
    out.put_u8(prelude.protocol);
    out.put_u8(0);

    let is_acl = |key: &Bytes| key == ACL_TOKEN.as_bytes();
    for (_, token) in info.strings.iter().filter(|(k, _)| is_acl(k)) {
        out.put_u8(INFO_ACL);
        put_text(out, token)?;
    }
    let plain = info.strings.iter().filter(|(k, _)| !is_acl(k));
    let count = plain.clone().count();
    if count > 0 {
        out.put_u8(INFO_STRINGS);
        put_u16(out, count)?;
        for (key, value) in plain {
            put_text(out, key)?;
            put_text(out, value)?;
        }
    }
    if !info.ints.is_empty() {
        out.put_u8(INFO_INTS);
        put_u16(out, info.ints.len())?;
        for (key, value) in &info.ints {
            out.put_u16(*key);
            put_text(out, value)?;
        }
    }
    let padding = (begin + block).saturating_sub(out.len());
    out.put_bytes(INFO_PADDING, padding);
    Ok(())
}

/// Where the stream's id is in an encoded header: behind LENGTH, MAGIC and the flags.
pub(crate) fn stream_id_of(header: &mut [u8]) -> Option<&mut [u8; 4]> {
    header.get_mut(8..)?.first_chunk_mut()
}

/// The block's length with its padding.
fn block_len(info: &Info) -> usize {
    let mut len = 2;
    let mut plain = 0;
    for (key, value) in &info.strings {
        if key == ACL_TOKEN.as_bytes() {
            len += 3 + value.len();
        } else {
            plain += 1;
            len += 4 + key.len() + value.len();
        }
    }
    if plain > 0 {
        len += 3;
    }
    if !info.ints.is_empty() {
        len += 3 + info.ints.iter().map(|(_, v)| 4 + v.len()).sum::<usize>();
    }
    len.next_multiple_of(4)
}

fn put_u16(out: &mut BytesMut, n: usize) -> Result<(), EncodeError> {
    out.put_u16(u16::try_from(n).map_err(|_| EncodeError::Entry(n))?);
    Ok(())
}

fn put_text(out: &mut BytesMut, text: &[u8]) -> Result<(), EncodeError> {
    put_u16(out, text.len())?;
    out.put_slice(text);
    Ok(())
}

#[cfg(test)]
mod tests;
