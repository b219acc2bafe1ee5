//! Decompresses messages for a half whose wire cannot mark a message as compressed.

use std::io::Write;

use bytes::{BufMut, Bytes, BytesMut};
use flate2::write::{GzDecoder, ZlibDecoder};

use crate::bridge::{Stage, StageError};
use crate::stream::{LocalEndKind, Message, MessageBatch, ResponseHead};

/// The compressions that it reads, as the value of `grpc-accept-encoding`.
pub const ACCEPTED: &str = "identity,deflate,gzip";

/// Inflates `gzip` and `deflate` (zlib) messages, each up to a limit.
#[derive(Debug)]
pub struct Decompress {
    encoding: Encoding,
    max_message: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    Deflate,
}

impl Encoding {
    fn parse(name: Option<&str>) -> Result<Self, StageError> {
        match name {
            None | Some("identity") => Ok(Self::Identity),
            Some("gzip") => Ok(Self::Gzip),
            Some("deflate") => Ok(Self::Deflate),
            Some(other) => Err(StageError::new(
                LocalEndKind::PayloadMismatch,
                format!(
                    "messages compressed with {other:?} cannot be passed on here; accepted: {ACCEPTED}"
                ),
            )),
        }
    }
}

impl Decompress {
    /// For messages in `encoding` (`grpc-encoding`). Each may have at most `max_message` bytes once
    /// inflated.
    ///
    /// # Errors
    /// An encoding other than `identity`, `gzip` and `deflate`.
    pub fn new(encoding: Option<&str>, max_message: usize) -> Result<Self, StageError> {
        Ok(Self {
            encoding: Encoding::parse(encoding)?,
            max_message,
        })
    }

    fn inflate(&self, pieces: &[Bytes]) -> Result<BytesMut, StageError> {
        let out = Bounded {
            bytes: BytesMut::new(),
            limit: self.max_message,
        };
        let inflated = match self.encoding {
            Encoding::Identity => Err(std::io::Error::other(
                "a compressed message, and no encoding was announced",
            )),
            Encoding::Gzip => feed(GzDecoder::new(out), pieces, GzDecoder::finish),
            Encoding::Deflate => feed(ZlibDecoder::new(out), pieces, ZlibDecoder::finish),
        };
        inflated.map(|out| out.bytes).map_err(|e| {
            let kind = if e.kind() == std::io::ErrorKind::FileTooLarge {
                LocalEndKind::MessageTooLarge
            } else {
                LocalEndKind::BadRequest
            };
            StageError::new(kind, format!("a message could not be decompressed: {e}"))
        })
    }
}

fn feed<D: Write>(
    mut decoder: D,
    pieces: &[Bytes],
    finish: impl FnOnce(D) -> std::io::Result<Bounded>,
) -> std::io::Result<Bounded> {
    for piece in pieces {
        decoder.write_all(piece)?;
    }
    finish(decoder)
}

impl Stage for Decompress {
    fn head(&mut self, head: &mut ResponseHead) -> Result<(), StageError> {
        self.encoding = Encoding::parse(head.encoding.take().as_deref())?;
        Ok(())
    }

    fn apply(
        &mut self,
        message: Message,
        pieces: &mut Vec<Bytes>,
        out: &mut MessageBatch,
    ) -> Result<(), StageError> {
        if message.compressed {
            let inflated = self.inflate(pieces)?;
            out.push_message(false, inflated.freeze());
        } else {
            out.push_prefix(false, u32::try_from(message.len).unwrap_or(u32::MAX));
            pieces.drain(..).for_each(|piece| out.push_bytes(piece));
        }
        Ok(())
    }
}

/// A buffer that refuses to grow over its limit, so that a small message cannot become a huge one.
struct Bounded {
    bytes: BytesMut,
    limit: usize,
}

impl Write for Bounded {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + buf.len() > self.limit {
            let text = format!("over the limit of {} bytes", self.limit);
            return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, text));
        }
        self.bytes.put_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    fn apply(
        stage: &mut Decompress,
        compressed: bool,
        payload: Vec<u8>,
    ) -> Result<Vec<u8>, StageError> {
        let mut out = MessageBatch::new();
        let message = Message {
            compressed,
            len: payload.len(),
        };
        stage.apply(message, &mut vec![Bytes::from(payload)], &mut out)?;
        let mut got = Vec::new();
        assert!(
            !out.pop_message(|piece| got.extend_from_slice(&piece))
                .unwrap()
                .compressed
        );
        Ok(got)
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn inflates_what_is_compressed_and_passes_what_is_not() {
        let mut stage = Decompress::new(Some("gzip"), 1000).unwrap();
        assert_eq!(apply(&mut stage, true, gzip(b"hello")).unwrap(), b"hello");
        assert_eq!(
            apply(&mut stage, false, b"plain".to_vec()).unwrap(),
            b"plain"
        );
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(b"zlib").unwrap();
        let mut stage = Decompress::new(Some("deflate"), 1000).unwrap();
        assert_eq!(
            apply(&mut stage, true, zlib.finish().unwrap()).unwrap(),
            b"zlib"
        );
    }

    #[test]
    fn a_bomb_is_refused_and_garbage_is_an_error() {
        let mut stage = Decompress::new(Some("gzip"), 1000).unwrap();
        assert_eq!(
            apply(&mut stage, true, gzip(&[0; 1001])).unwrap_err().kind,
            LocalEndKind::MessageTooLarge
        );
        assert_eq!(
            apply(&mut stage, true, b"garbage".to_vec())
                .unwrap_err()
                .kind,
            LocalEndKind::BadRequest
        );
        assert_eq!(
            apply(&mut stage, true, vec![]).unwrap_err().kind,
            LocalEndKind::BadRequest
        );
        assert_eq!(
            Decompress::new(Some("snappy"), 1).unwrap_err().kind,
            LocalEndKind::PayloadMismatch
        );
    }
}
