//! Finds the malformed field in a header block that `h2` refused, for the log.
//!
//! RFC 9113, 8.2.1 and 8.1.1: a field with a forbidden character is an error of its stream. `h2`
//! (0.4.20) checks fields while it decodes HPACK (RFC 7541), and ends the whole connection with
//! PROTOCOL_ERROR. It does not say why. Here the block is read a second time, without the tables of
//! HPACK: what came before is not known, but a malformed field is always written out.
//!
//! This runs once, when a connection is lost.

mod huffman;

/// The most characters of a name that are shown.
const SHOWN: usize = 64;

/// What is malformed in a block; `None` when nothing is.
pub(super) fn malformed(block: &[u8]) -> Option<String> {
    let mut reader = Reader(block);
    while let Some(&first) = reader.0.first() {
        // The four kinds of representations (RFC 7541, 6).
        let bits = match first {
            0x80.. => {
                reader.integer(7)?;
                continue;
            }
            0x40.. => 6,
            0x20.. => {
                reader.integer(5)?;
                continue;
            }
            _ => 4,
        };
        let index = reader.integer(bits)?;
        let name = match index {
            0 => Some(reader.string()?),
            _ => None,
        };
        let value = reader.string()?;
        if let Some(fault) = name.as_deref().and_then(name_fault) {
            return Some(format!(
                "{fault} in the name {}",
                shown(&name.unwrap_or_default())
            ));
        }
        let fault = value.iter().copied().find(|b| !allowed(*b));
        if let Some(byte) = fault {
            let of = name.map_or_else(|| "a field".to_owned(), |name| shown(&name));
            return Some(format!("{} in the value of {of}", described(byte)));
        }
    }
    None
}

/// Whether a value may have that byte, as the `http` crate decides it.
fn allowed(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

fn name_fault(name: &[u8]) -> Option<String> {
    const PSEUDO: [&[u8]; 6] = [
        b":authority",
        b":method",
        b":scheme",
        b":path",
        b":protocol",
        b":status",
    ];
    match name {
        [] => Some("nothing".to_owned()),
        [b':', ..] => (!PSEUDO.contains(&name)).then(|| "an unknown pseudo-header".to_owned()),
        _ => {
            let token = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || SIGNS.contains(&b);
            let fault = name.iter().copied().find(|b| !token(*b));
            fault.map(described)
        }
    }
}

/// The signs of a token (RFC 9110, 5.6.2).
const SIGNS: &[u8] = b"!#$%&'*+-.^_`|~";

fn described(byte: u8) -> String {
    match byte {
        b'\n' => "a line feed".to_owned(),
        b'\r' => "a carriage return".to_owned(),
        b' ' => "a blank".to_owned(),
        b'A'..=b'Z' => "upper case".to_owned(),
        _ => format!("byte 0x{byte:02x}"),
    }
}

fn shown(name: &[u8]) -> String {
    let kept = name.get(..SHOWN.min(name.len())).unwrap_or_default();
    format!("\"{}\"", kept.escape_ascii())
}

/// HPACK's primitives (RFC 7541, 5).
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    /// An integer whose first byte has `bits` of it.
    fn integer(&mut self, bits: u32) -> Option<usize> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        let full = (1_usize << bits) - 1;
        let mut value = usize::from(*first) & full;
        if value < full {
            return Some(value);
        }
        for shift in (0..28).step_by(7) {
            let (next, rest) = self.0.split_first()?;
            self.0 = rest;
            value += usize::from(next & 0x7f) << shift;
            if next & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn string(&mut self) -> Option<Vec<u8>> {
        let coded = self.0.first()? & 0x80 != 0;
        let len = self.integer(7)?;
        let (raw, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        if coded {
            return huffman::decode(raw);
        }
        Some(raw.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
        let mut out = vec![0, name.len() as u8];
        out.extend(name);
        out.push(value.len() as u8);
        out.extend(value);
        out
    }

    #[test]
    fn a_malformed_field_is_named() {
        for (name, value, expected) in [
            (&b"x-Key"[..], &b"v"[..], "upper case in the name \"x-Key\""),
            (b"x key", b"v", "a blank in the name \"x key\""),
            (b"x\x00", b"v", "byte 0x00 in the name \"x\\x00\""),
            (b"x:", b"v", "byte 0x3a in the name \"x:\""),
            (
                b":else",
                b"v",
                "an unknown pseudo-header in the name \":else\"",
            ),
            (b"", b"v", "nothing in the name \"\""),
            (b"x", b"a\nb", "a line feed in the value of \"x\""),
            (b"x", b"a\r", "a carriage return in the value of \"x\""),
            (b"x", b"\x7f", "byte 0x7f in the value of \"x\""),
        ] {
            // What comes before and after it is read over: indexed fields, a size update.
            let block = [
                &[0x88, 0xff, 0x80, 0x01, 0x3f, 0xe1, 0x1f][..],
                &literal(b"ok-_.1", b"\t a \xff"),
                &literal(name, value),
                &literal(b"x-later", b"v"),
            ]
            .concat();
            assert_eq!(malformed(&block).as_deref(), Some(expected));
        }
        assert_eq!(
            malformed(&[&[0x88][..], &literal(b"ok", b"fine")].concat()),
            None
        );
    }

    #[test]
    fn a_coded_value_is_read() {
        // An indexed name, and the value "a\nb".
        let block = [0x0f, 0x2f, 0x86, 0x1f, 0xff, 0xff, 0xff, 0x91, 0xff];
        let expected = "a line feed in the value of a field";
        assert_eq!(malformed(&block).as_deref(), Some(expected));
    }

    #[test]
    fn a_block_that_is_cut_or_broken_has_no_malformed_field() {
        let whole = literal(b"x-Key", b"v");
        for len in 0..whole.len() {
            assert_eq!(malformed(&whole[..len]), None, "{len}");
        }
        assert_eq!(malformed(&[0xff; 20]), None);
        assert_eq!(malformed(&[0, 0x81, 0xff, 1, 0]), None);
    }
}
