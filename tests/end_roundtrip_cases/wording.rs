//! The plain wording of own ends between gRPC peers.

use super::*;

#[test]
fn an_own_end_in_the_plain_wording_is_read_as_the_same_cancel() {
    for kind in LocalEndKind::ALL {
        let end = End::hop(kind, "why");
        let read = |wording| {
            let trailers = grpc::end::to_caller(&end, NODE, true, wording);
            (trailers.clone(), grpc::end::from_trailers(200, &trailers))
        };
        let (kitex, (trailers, plain)) = (read(Wording::Kitex).1, read(Wording::Plain));
        assert_eq!(trailers["grpc-message"], "why", "{kind:?}");
        // A second hop between gRPC peers passes it on in the same words. TTHeader receives as much
        // of it as of the other.
        let next = grpc::end::to_caller(&grown(&plain), "next", true, Wording::Plain);
        assert_eq!(next["grpc-message"], "why", "{kind:?}");
        assert_eq!(next["grpc-status"], trailers["grpc-status"], "{kind:?}");
        assert_eq!(
            through_ttheader(&plain),
            through_ttheader(&kitex),
            "{kind:?}"
        );
        // A caller that does not know the plain wording gets the other one, as if from the start.
        let old = |end| grpc::end::to_caller(&grown(end), "next", true, Wording::Kitex);
        assert_eq!(old(&plain), old(&kitex), "{kind:?}");
    }
}

#[test]
fn the_plain_wording_counts_only_for_what_a_hop_says_of_itself() {
    let end = End::hop(LocalEndKind::Idle, "why");
    let honest = grpc::end::to_caller(&end, NODE, true, Wording::Plain);
    for (field, value) in [
        ("grpc-status", "13"),
        ("grpc-message", "another"),
        ("ripcord-code", "12007"),
        ("ripcord-path", "elsewhere"),
    ] {
        let mut forged = honest.clone();
        forged.insert(field, value.parse().unwrap());
        let seen = grpc::end::from_trailers(200, &forged);
        assert!(
            matches!(seen.reason, Reason::Failed(Failure::Status(_))),
            "{field}: {seen:?}"
        );
    }
}
