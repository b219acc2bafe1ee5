//! From a file's bytes to text.
//!
//! Here are the errors for a file that is not UTF-8. The YAML reader handles a UTF-8 byte order
//! mark.

use super::fault::{Fault, Place, Severity};

/// The bytes as text, or the fault at the first byte that is no UTF-8.
pub(super) fn text(bytes: &[u8]) -> Result<&str, Fault> {
    if let Some(found) = wide(bytes) {
        let message = format!("{found}; allowed: UTF-8; save the file as UTF-8");
        return Err(fault(Place { line: 1, column: 1 }, message));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let (before, bad) = bytes.split_at(error.valid_up_to());
        let before = String::from_utf8_lossy(before);
        let line = before.rsplit('\n').next().unwrap_or_default();
        let place = Place {
            line: before.matches('\n').count() + 1,
            column: line.trim_start_matches('\u{feff}').chars().count() + 1,
        };
        let message = format!(
            "byte 0x{:02X}, at offset {}, is not UTF-8; allowed: UTF-8; if the file is Latin-1 or \
             Windows-1252, save it as UTF-8",
            bad.first().copied().unwrap_or_default(),
            error.valid_up_to()
        );
        fault(place, message)
    })
}

/// The name of an encoding with several bytes per character. A configuration begins with ASCII.
fn wide(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => Some("the file is UTF-32"),
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => Some("the file is UTF-16"),
        [0, byte, ..] | [byte, 0, ..] if *byte != 0 => Some("the file looks like UTF-16"),
        _ => None,
    }
}

fn fault(place: Place, message: String) -> Fault {
    Fault {
        file: None,
        place,
        path: String::new(),
        severity: Severity::Error,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(bytes: &[u8]) -> String {
        text(bytes).unwrap_err().to_string()
    }

    #[test]
    fn a_byte_that_is_not_utf_8_has_a_place() {
        assert_eq!(
            told(b"node: n\n# caf\xE9\n"),
            "2:6: byte 0xE9, at offset 13, is not UTF-8; allowed: UTF-8; if the file is Latin-1 or Windows-1252, save it as UTF-8"
        );
        // Characters are counted, not bytes, and a byte order mark is none.
        assert!(told("\u{feff}\u{e9}".as_bytes().split_last().unwrap().1).starts_with("1:1: "));
        assert!(told(b"\xC3\xA9\xC3\xA9\xFF").starts_with("1:3: byte 0xFF, at offset 4"));
    }

    #[test]
    fn wide_characters_are_told_by_their_first_bytes() {
        let utf16: Vec<u8> = "node: n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let marked = [&[0xFF, 0xFE][..], &utf16].concat();
        assert_eq!(
            told(&marked),
            "1:1: the file is UTF-16; allowed: UTF-8; save the file as UTF-8"
        );
        assert!(told(&[0xFE, 0xFF, 0, b'n']).contains("the file is UTF-16"));
        assert!(told(&[0xFF, 0xFE, 0, 0, b'n', 0, 0, 0]).contains("the file is UTF-32"));
        assert!(told(&utf16).contains("the file looks like UTF-16"));
    }

    #[test]
    fn utf_8_is_text() {
        for good in ["", "n", "\u{feff}node: \u{e9}"] {
            assert_eq!(text(good.as_bytes()), Ok(good));
        }
    }
}
