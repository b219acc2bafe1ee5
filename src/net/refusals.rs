//! Finds the streams that the HTTP/2 layer refuses by itself, in the bytes that it writes.
//!
//! The `h2` crate answers a malformed request (RFC 9113, 8.1.1) with RST_STREAM(PROTOCOL_ERROR)
//! and reports it to nobody. Ripcord never resets a stream with that code, so each such frame is one
//! of these refusals.

/// Bytes of a frame before its payload (RFC 9113, 4.1).
const HEAD: usize = 9;
/// Bytes of a whole RST_STREAM.
const RESET: usize = HEAD + 4;
const RST_STREAM: u8 = 3;
const PROTOCOL_ERROR: [u8; 4] = [0, 0, 0, 1];

/// Follows the frames of one connection.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// The beginning of the current frame.
    begun: [u8; RESET],
    have: usize,
    /// Bytes of the current frame that are still to come, and do not matter.
    skip: usize,
    found: u32,
}

impl Refusals {
    /// Takes the next bytes that were written.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let step = self.skip.min(bytes.len());
                self.skip -= step;
                bytes = bytes.get(step..).unwrap_or_default();
                continue;
            }
            // Nearly all frames, in one step.
            if self.have == 0
                && let Some((&[l0, l1, l2, kind, ..], rest)) = bytes.split_first_chunk::<HEAD>()
                && kind != RST_STREAM
            {
                self.skip = u32::from_be_bytes([0, l0, l1, l2]) as usize;
                bytes = rest;
                continue;
            }
            let wanted = if self.have < HEAD { HEAD } else { RESET };
            let step = (wanted - self.have).min(bytes.len());
            let (part, rest) = bytes.split_at(step);
            if let Some(to) = self.begun.get_mut(self.have..self.have + step) {
                to.copy_from_slice(part);
            }
            self.have += step;
            bytes = rest;
            if self.have == wanted {
                self.complete();
            }
        }
    }

    /// The refused streams since the last call.
    pub(crate) fn take(&mut self) -> u32 {
        std::mem::take(&mut self.found)
    }

    fn complete(&mut self) {
        let [l0, l1, l2, kind, _, _, _, _, _, code @ ..] = self.begun;
        let len = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        if self.have == HEAD && kind == RST_STREAM && len == RESET - HEAD {
            return;
        }
        if self.have == RESET {
            self.found += u32::from(code == PROTOCOL_ERROR);
        } else {
            self.skip = len;
        }
        self.have = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let len = u8::try_from(payload.len()).unwrap();
        [&[0, 0, len, kind, 0, 0, 0, 0, 7], payload].concat()
    }

    #[test]
    fn only_resets_with_protocol_error_are_found_in_any_pieces() {
        let bytes = [
            frame(4, &[]),
            frame(RST_STREAM, &PROTOCOL_ERROR),
            frame(0, &[0, 0, 4, 3, 0, 0, 0, 0, 7, 0, 0, 0, 1]),
            frame(RST_STREAM, &[0, 0, 0, 8]),
            frame(1, &[1; 100]),
            frame(RST_STREAM, &PROTOCOL_ERROR),
        ]
        .concat();
        for size in [1, 2, 9, 13, 1000] {
            let mut refusals = Refusals::default();
            bytes.chunks(size).for_each(|piece| refusals.feed(piece));
            assert_eq!(refusals.take(), 2, "pieces of {size}");
            assert_eq!(refusals.take(), 0);
        }
    }
}
