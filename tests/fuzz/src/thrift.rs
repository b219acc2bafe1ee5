//! Thrift's binary protocol, read by recursion.

/// What follows a value of that type.
pub fn skip(bytes: &[u8], kind: u8) -> Option<&[u8]> {
    let length =
        |at: &[u8]| -> Option<usize> { i32::from_be_bytes(*at.first_chunk()?).try_into().ok() };
    let types = match kind {
        2 | 3 => return bytes.get(1..),
        6 => return bytes.get(2..),
        8 => return bytes.get(4..),
        4 | 10 => return bytes.get(8..),
        11 => return bytes.get(4..)?.get(length(bytes)?..),
        12 => {
            let mut at = bytes;
            loop {
                let (kind, rest) = at.split_first()?;
                if *kind == 0 {
                    return Some(rest);
                }
                at = skip(rest.get(2..)?, *kind)?;
            }
        }
        13 => 2,
        14 | 15 => 1,
        _ => return None,
    };
    let (of, mut at) = bytes.split_at_checked(types)?;
    let count = length(at)?;
    at = at.get(4..)?;
    for _ in 0..count {
        for kind in of {
            at = skip(at, *kind)?;
        }
    }
    Some(at)
}

/// A struct without the fields that come again behind them, of the same type. `None`: it is no
/// struct.
pub fn last_fields(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut fields, mut at) = (Vec::new(), bytes);
    while let [kind, a, b, value @ ..] = at
        && *kind != 0
    {
        let rest = skip(value, *kind)?;
        let field = &at[..at.len() - rest.len()];
        fields.retain(|earlier: &&[u8]| earlier[..3] != [*kind, *a, *b]);
        fields.push(field);
        at = rest;
    }
    Some([&fields.concat(), at].concat())
}
