//! What a peer's SETTINGS say that `h2` does not report: how large a header list it accepts, and
//! whether it may be on `h2` itself.

/// The longest SETTINGS that are read, in bytes: as many as any peer has settings, several times.
pub(super) const LONGEST: usize = 600;

/// The number of `SETTINGS_MAX_HEADER_LIST_SIZE` (RFC 9113, 6.5.2).
const MAX_HEADER_LIST_SIZE: u16 = 0x6;

/// The peer's `SETTINGS_MAX_HEADER_LIST_SIZE`, if the payload of its SETTINGS has one.
pub(super) fn max_header_list(settings: &[u8]) -> Option<u32> {
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
    found
}

/// Whether SETTINGS are those of a server on `hyper`, and so on the `h2` crate. It always says its
/// window, its frame size and its header list, in this order; grpc-go, grpc-java, gRPC Core, Node and
/// Envoy say less, or more, or in another order.
pub(super) fn are_of_hyper(settings: &[u8]) -> bool {
    let ids = settings.chunks_exact(6).map(|setting| match setting {
        [i, d, ..] => u16::from_be_bytes([*i, *d]),
        _ => 0,
    });
    // A limit of streams and extended CONNECT are up to the application.
    ids.filter(|id| ![3, 8].contains(id)).eq([4, 5, 6])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(settings: &[(u16, u32)]) -> Vec<u8> {
        let one = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
        settings.iter().flat_map(one).collect()
    }

    #[test]
    fn the_last_limit_of_header_lists_counts() {
        let settings = payload(&[(3, 100), (6, 1), (6, 16_384), (4, 65_535)]);
        assert_eq!(max_header_list(&settings), Some(16_384));
        for none in [payload(&[]), payload(&[(4, 65_535)]), vec![0, 6, 1]] {
            assert_eq!(max_header_list(&none), None, "{none:?}");
        }
    }

    #[test]
    fn a_server_on_hyper_is_known_by_its_settings() {
        let [window, frame, list] = [(4, 1 << 20), (5, 16_384), (6, 16_384)];
        let hyper = [
            vec![window, frame, list],
            vec![(3, 200), window, frame, list],
            vec![(3, 200), window, frame, list, (8, 1)],
        ];
        assert!(hyper.iter().all(|is| are_of_hyper(&payload(is))));
        let others = [
            vec![],
            // ripcord, grpc-java, Kestrel.
            vec![(3, 200), window, list],
            // grpc-go.
            vec![frame, (3, 200), window, list],
            // gRPC Core.
            vec![window, frame, list, (0xfe03, 1)],
        ];
        assert!(!others.iter().any(|is| are_of_hyper(&payload(is))));
    }
}
