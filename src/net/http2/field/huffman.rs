//! HPACK's Huffman code (RFC 7541, 5.2 and appendix B), for reading only.

/// The length of each byte's code, in bits. The code is canonical: codes of one length follow each
/// other in the order of their bytes, and a longer one follows the shorter ones.
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// The longest code.
const LONGEST: u8 = 30;

/// The bytes that `coded` stands for; `None` when it is no Huffman code.
pub(super) fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut code = Code::default();
    for byte in coded {
        for shift in (0..8).rev() {
            if let Some(symbol) = code.bit(u32::from(byte >> shift) & 1)? {
                out.push(symbol);
                code = Code::default();
            }
        }
    }
    // What is left is padding: fewer than 8 bits, all of them 1.
    (code.len < 8 && code.bits + 1 == 1 << code.len).then_some(out)
}

/// A code that is being read.
#[derive(Default)]
struct Code {
    bits: u32,
    len: u8,
    /// The first code of this length.
    first: u32,
}

impl Code {
    /// Takes a bit: the byte that the code stands for if it is complete. `None` when there is no
    /// such code.
    fn bit(&mut self, bit: u32) -> Option<Option<u8>> {
        self.bits = self.bits << 1 | bit;
        self.len += 1;
        self.first <<= 1;
        if self.len > LONGEST {
            return None;
        }
        let mut code = self.first;
        for (symbol, len) in (0..=u8::MAX).zip(LENGTHS) {
            if len == self.len {
                if code == self.bits {
                    return Some(Some(symbol));
                }
                code += 1;
            }
        }
        self.first = code;
        Some(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7541, C.4 and C.6.
    #[test]
    fn the_examples_of_the_rfc_are_read() {
        for (coded, expected) in [
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("25a849e95ba97d7f", "custom-key"),
            ("25a849e95bb8e8b4bf", "custom-value"),
            ("6402", "302"),
            ("aec3771a4b", "private"),
            (
                "d07abe941054d444a8200595040b8166e082a62d1bff",
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
            ("", ""),
        ] {
            let bytes: Vec<u8> = (0..coded.len())
                .step_by(2)
                .map(|i| u8::from_str_radix(&coded[i..i + 2], 16).unwrap())
                .collect();
            assert_eq!(decode(&bytes).as_deref(), Some(expected.as_bytes()));
        }
    }

    #[test]
    fn what_is_no_code_or_no_padding_is_refused() {
        for bad in [
            &[0xff, 0xff, 0xff, 0xff][..],
            &[0xff],
            &[0x00],
            &[0xf1, 0xe3, 0x00],
        ] {
            assert_eq!(decode(bad), None, "{bad:x?}");
        }
    }
}
