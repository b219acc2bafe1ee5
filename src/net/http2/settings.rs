//! Reads the first SETTINGS of a peer beside the connection layer: `h2` does not say how large a
//! header list the peer accepts, and does not respect it.
//!
//! RFC 9113, 3.4: SETTINGS is the first frame that each side sends, on a server's connection after
//! the client's preface. Later SETTINGS are not looked at.

/// The client's preface (RFC 9113, 3.4).
pub(super) const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();

/// The length of a frame's header.
const FRAME: usize = 9;

/// The type of a SETTINGS frame.
const SETTINGS: u8 = 0x4;

/// The longest SETTINGS that are read, in bytes: as many as any peer has settings, several times.
const LONGEST: usize = 600;

/// The number of `SETTINGS_MAX_HEADER_LIST_SIZE`.
const MAX_HEADER_LIST_SIZE: u16 = 0x6;

/// What the peer's first SETTINGS say, once all of them are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    /// More bytes are needed.
    Unknown,
    /// They are read: the peer's `SETTINGS_MAX_HEADER_LIST_SIZE`, if it sent one.
    HeaderList(Option<u32>),
}

/// Collects a connection's first bytes, as far as they are needed.
pub(super) struct FirstSettings {
    /// Bytes before the first frame that were not read yet.
    before: usize,
    first: Vec<u8>,
}

impl FirstSettings {
    /// For a connection with so many bytes before its first frame.
    pub(super) const fn after(before: usize) -> Self {
        Self {
            before,
            first: Vec::new(),
        }
    }

    /// Takes what was read.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Announced {
        let skipped = self.before.min(bytes.len());
        self.before -= skipped;
        let room = (FRAME + LONGEST).saturating_sub(self.first.len());
        let more = bytes.get(skipped..).unwrap_or_default();
        let more = more.get(..room.min(more.len())).unwrap_or_default();
        self.first.extend_from_slice(more);
        announced(&self.first)
    }
}

/// What these first frames announce. What is no SETTINGS announces nothing.
fn announced(first: &[u8]) -> Announced {
    let Some((&[a, b, c, kind, ..], rest)) = first.split_first_chunk::<FRAME>() else {
        return Announced::Unknown;
    };
    let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
    if kind != SETTINGS || length > LONGEST {
        return Announced::HeaderList(None);
    }
    let Some(settings) = rest.get(..length) else {
        return Announced::Unknown;
    };
    let mut found = None;
    for setting in settings.chunks_exact(6) {
        if let [i, d, v @ ..] = setting
            && u16::from_be_bytes([*i, *d]) == MAX_HEADER_LIST_SIZE
            && let Ok(value) = <[u8; 4]>::try_from(v)
        {
            // The last one of a kind counts (RFC 9113, 6.5.3).
            found = Some(u32::from_be_bytes(value));
        }
    }
    Announced::HeaderList(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with settings.
    fn frame(kind: u8, settings: &[(u16, u32)]) -> Vec<u8> {
        let mut out = vec![
            0,
            0,
            u8::try_from(settings.len() * 6).unwrap(),
            kind,
            0,
            0,
            0,
            0,
            0,
        ];
        for (id, value) in settings {
            out.extend(id.to_be_bytes());
            out.extend(value.to_be_bytes());
        }
        out
    }

    #[test]
    fn the_first_settings_are_read_in_pieces_of_any_size() {
        let settings = frame(SETTINGS, &[(3, 100), (6, 1), (6, 16_384), (4, 65_535)]);
        let mut bytes = vec![b'x'; PREFACE];
        bytes.extend(&settings);
        bytes.extend(frame(SETTINGS, &[(6, 7)]));
        for size in 1..bytes.len() {
            let mut reader = FirstSettings::after(PREFACE);
            let said = bytes.chunks(size).map(|piece| reader.read(piece));
            let known = said.filter(|said| *said != Announced::Unknown);
            assert_eq!(
                known.last(),
                Some(Announced::HeaderList(Some(16_384))),
                "{size}"
            );
        }
    }

    #[test]
    fn a_peer_that_announces_nothing_has_no_limit() {
        for first in [
            frame(SETTINGS, &[]),
            frame(SETTINGS, &[(4, 65_535)]),
            frame(0, &[(6, 5)]),
            vec![255; 100],
        ] {
            let said = FirstSettings::after(0).read(&first);
            assert_eq!(said, Announced::HeaderList(None), "{first:?}");
        }
        assert_eq!(FirstSettings::after(0).read(&[0; 8]), Announced::Unknown);
    }
}
