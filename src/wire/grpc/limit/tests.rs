//! What a head keeps within a limit, and which limit a caller has. Knows no connection.

use super::*;
use crate::stream::Scope;

fn head(entries: &[(&'static str, usize)]) -> ResponseHead {
    let mut metadata = Metadata::new();
    for (key, len) in entries {
        metadata.push(Scope::Plain, *key, "x".repeat(*len));
    }
    ResponseHead {
        metadata,
        ..ResponseHead::default()
    }
}

fn written(head: &ResponseHead, limit: BlockLimit) -> HeaderMap {
    let response = response(head, &Payload::Protobuf, true, limit);
    let size = STATUS.plus(Size::of(response.headers()));
    assert!(limit.takes(size), "{size:?} is over {limit:?}");
    response.headers().clone()
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    headers.keys().map(HeaderName::as_str).collect()
}

fn mark(headers: &HeaderMap) -> &str {
    headers
        .get(keys::CUT)
        .map_or("", |mark| mark.to_str().unwrap())
}

#[test]
fn a_head_up_to_the_limit_stays_whole() {
    // `:status` is 42 bytes, the content type 60, the name and its field 35.
    let most = MAX_HEAD - 42 - 60 - 35;
    let whole = written(&head(&[("big", most)]), BlockLimit::CALLER);
    assert_eq!(names(&whole), ["content-type", "big"]);
    let cut = written(&head(&[("big", most + 1)]), BlockLimit::CALLER);
    assert_eq!(names(&cut), ["content-type", "ripcord-cut"]);
    assert_eq!(mark(&cut), "headers,names=big");
}

#[test]
fn a_head_keeps_what_grpc_reads_and_then_what_fits_in_order() {
    let entries = [
        ("a", 10),
        ("too-big", 9000),
        ("b", 6000),
        ("c", 2000),
        ("d", 10),
        ("grpc-accept-encoding", 1000),
    ];
    let cut = written(&head(&entries), BlockLimit::CALLER);
    let kept = [
        "content-type",
        "a",
        "b",
        "d",
        "grpc-accept-encoding",
        "ripcord-cut",
    ];
    assert_eq!(names(&cut), kept);
    assert_eq!(mark(&cut), "headers,names=too-big;c");
}

#[test]
fn a_block_has_at_most_a_hundred_fields() {
    let all: Vec<_> = (0..150).map(|i| format!("k-{i}")).collect();
    let mut many = head(&[]);
    for key in &all {
        many.metadata.push(Scope::Plain, key.clone(), "v");
    }
    let cut = written(&many, BlockLimit::CALLER);
    // `:status` is the hundredth.
    assert_eq!(cut.len(), MAX_FIELDS - 1);
    assert!(
        mark(&cut).starts_with("headers,names=k-97;k-98;"),
        "{}",
        mark(&cut)
    );
}

#[test]
fn the_pack_is_cut_before_any_header() {
    let exact = head(&[("Case", 1000), ("plain", 1000)]);
    let within = |bytes| written(&exact, BlockLimit::of_caller(MAX_HEAD, Some(bytes), false));
    // There is room for the key alone, and nothing is lost.
    let kept = ["content-type", "case", "plain", "ripcord-names-bin"];
    assert_eq!(names(&within(3000)), kept);
    let cut = within(2400);
    assert_eq!(
        names(&cut),
        ["content-type", "case", "plain", "ripcord-cut"]
    );
    assert_eq!(mark(&cut), "exact,names=Case");
}

#[test]
fn what_a_hop_before_cut_is_still_named() {
    let mut head = head(&[("a", 10), ("big", 9000)]);
    head.cut = Cut::parse("exact,names=earlier");
    let cut = written(&head, BlockLimit::CALLER);
    assert_eq!(mark(&cut), "exact,headers,names=earlier;big");
    let read = metadata::response_head(&cut);
    assert_eq!(read.cut.to_string(), "exact,headers,names=earlier;big");
    // A caller that must not see ripcord's fields.
    let limit = BlockLimit::CALLER;
    let stripped = response(&head, &Payload::Protobuf, false, limit);
    assert_eq!(names(stripped.headers()), ["content-type", "a"]);
}

#[test]
fn exact_entries_that_had_no_room_are_named_when_headers_are_cut_too() {
    let cut = written(&head(&[("Case", 6000), ("big", 6000)]), BlockLimit::CALLER);
    assert_eq!(names(&cut), ["content-type", "case", "ripcord-cut"]);
    assert_eq!(mark(&cut), "exact,headers,names=Case;big");
}

#[test]
fn where_the_mark_has_no_room_it_is_left_out() {
    let limit = BlockLimit::of_caller(MAX_HEAD, Some(110), false);
    let cut = written(&head(&[("a", 10), ("b", 10)]), limit);
    assert_eq!(names(&cut), ["content-type"]);
}

#[test]
fn malformed_fields_are_kept_or_named_as_others_are() {
    let mut head = head(&[("a", 10)]);
    head.metadata.push_malformed("small-bin", "!");
    head.metadata.push_malformed("big-bin", "!".repeat(9000));
    let cut = written(&head, BlockLimit::CALLER);
    assert_eq!(
        names(&cut),
        ["content-type", "a", "small-bin", "ripcord-cut"]
    );
    assert_eq!(mark(&cut), "headers,names=big-bin");
}

#[test]
fn only_the_listener_lifts_the_limit() {
    for (max_head, announced, from_ripcord, bytes, fields) in [
        (MAX_HEAD, None, false, 7936, 100),
        (MAX_HEAD, Some(16 << 10), false, 7936, 100),
        (MAX_HEAD, Some(4096), false, 4096, 100),
        (32 << 10, None, false, 32 << 10, 100),
        (32 << 10, Some(8192), false, 8192, 100),
        // A proxy between says what it takes itself.
        (MAX_HEAD, Some(60 << 10), true, 7936, 100),
        (MAX_HEAD, None, true, 7936, 100),
        (MAX_HEAD, Some(RIPCORD_READS), false, 7936, 100),
        (MAX_HEAD, Some(RIPCORD_READS), true, 64 << 10, usize::MAX),
    ] {
        assert_eq!(
            BlockLimit::of_caller(max_head, announced, from_ripcord),
            BlockLimit { bytes, fields },
            "{max_head} {announced:?} {from_ripcord}"
        );
    }
}

#[test]
fn a_request_is_measured_as_its_callee_measures_it() {
    let request = http::Request::post("http://a.b:1/S/M")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let fields = [":method", ":scheme", ":authority", ":path", "te"].len() * 32;
    let text = ":methodPOST:schemehttp:authoritya.b:1:path/S/Mtetrailers";
    assert_eq!(request_size(&request), fields + text.len());
}

#[test]
fn a_request_over_what_its_callee_takes_loses_its_exact_entries_alone() {
    let mut head = RequestHead {
        service: "S".into(),
        method: "M".into(),
        ..RequestHead::default()
    };
    for i in 0..40 {
        let key = format!("userId{i}");
        head.metadata.push(Scope::Persist, key, "x".repeat(60));
    }
    let whole = metadata::request(&head);
    assert!(request_size(&whole) > 7000);
    assert!(at_most(&head) > request_size(&whole));
    for (limit, fits) in [(64 << 10, true), (7000, true), (6000, false)] {
        let mut request = metadata::request(&head);
        shorten_request(&mut request, &head, limit);
        assert!(
            request_size(&request) <= limit,
            "{}",
            request_size(&request)
        );
        // As many as there is room for, and the others by their names.
        assert!(request.headers().contains_key(keys::META), "{limit}");
        let read = metadata::request_head(&request.into_parts().0).unwrap();
        let is_exact = |entry: &&crate::stream::Entry| entry.key.starts_with(b"userId");
        let kept = read.metadata.iter().filter(is_exact).count();
        assert!(kept > 10 && fits == (kept == 40), "{kept}");
        let said = read.cut.to_string();
        assert_eq!(said.starts_with("exact,names=userId"), !fits, "{said}");
        assert_eq!(read.metadata.len(), 40);
    }
}
