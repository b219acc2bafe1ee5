//! Rows and edges of TTHeader's table of ends that the golden table does not show. Knows no
//! connection and no other wire.

use super::*;
use crate::stream::MARK;

fn ctx() -> EndContext<'static> {
    EndContext {
        node: "hop",
        method: "Chat",
        stream_id: 3,
        carried: true,
        form: CancelForm::Rst,
    }
}

fn info(strings: &[(&'static str, &'static str)]) -> Info {
    Info {
        ints: Vec::new(),
        strings: strings
            .iter()
            .map(|(k, v)| {
                (
                    Bytes::from_static(k.as_bytes()),
                    Bytes::from_static(v.as_bytes()),
                )
            })
            .collect(),
    }
}

fn read(terminal: &Terminal) -> End {
    let info = Info {
        ints: Vec::new(),
        strings: terminal.strings.clone(),
    };
    match terminal.kind {
        TerminalKind::Trailer => from_trailer(&info, &terminal.payload),
        TerminalKind::Rst => from_rst(Initiator::Callee, &info, &terminal.payload),
    }
}

#[test]
fn a_rst_without_payload_reads_as_kitex_reads_it() {
    let end = from_rst(Initiator::Callee, &Info::default(), &Bytes::new());
    let Reason::Canceled(cancel) = end.reason else {
        panic!("{end:?}")
    };
    assert_eq!((cancel.cause.code, cancel.cause.text.as_str()), (13, "rst"));
    assert!(cancel.path.is_empty());
    assert_eq!(cancel.class, Class::ByCallee);
}

#[test]
fn biz_fields_are_read_as_kitex_reads_them() {
    let fine = from_trailer(
        &info(&[("biz-status", "x"), ("biz-extra", "{")]),
        &Bytes::new(),
    );
    assert_eq!(fine.reason, Reason::Complete);
    let end = from_trailer(
        &info(&[("biz-status", "5"), ("biz-extra", "{")]),
        &Bytes::new(),
    );
    let Reason::Failed(Failure::Exception(exception)) = end.reason else {
        panic!("{end:?}")
    };
    assert_eq!(exception.type_id, 12003);
    let end = from_trailer(
        &info(&[
            ("biz-status", "-5"),
            ("biz-message", "no"),
            ("biz-extra", r#"{"a":"b"}"#),
        ]),
        &Bytes::new(),
    );
    let Reason::Failed(Failure::Business(found)) = &end.reason else {
        panic!("{end:?}")
    };
    assert_eq!((found.code, found.text.as_str()), (-5, "no"));
    assert_eq!(read(&to_caller(&end, &ctx())), end);
}

#[test]
fn a_callers_trailer_is_a_half_close_or_a_cancel() {
    assert_eq!(from_caller_trailer(&Info::default(), &Bytes::new()), None);
    let payload = exception::encode("Chat", 1, 6, "gave up");
    let end = from_caller_trailer(&Info::default(), &payload).unwrap();
    let Reason::Canceled(cancel) = end.reason else {
        panic!("{end:?}")
    };
    assert_eq!((cancel.cause.code, cancel.signal), (6, TRAILER));
    let end = from_caller_trailer(&info(&[("biz-status", "9")]), &Bytes::new()).unwrap();
    assert!(matches!(end.reason, Reason::Canceled(c) if c.cause.code == 9));
}

#[test]
fn the_hops_own_ends_cross_to_another_ripcord() {
    for kind in LocalEndKind::ALL {
        let end = End::hop(kind, "why");
        let terminal = to_caller(&end, &ctx());
        let crossed = read(&terminal);
        assert_eq!(crossed.processed, end.processed, "{kind:?}");
        if kind.before_backend() {
            assert_eq!(terminal.kind, TerminalKind::Trailer);
            assert_eq!(crossed.reason, end.reason);
        } else {
            assert_eq!(terminal.kind, TerminalKind::Rst);
            let Reason::Hop(hop) = &end.reason else {
                panic!()
            };
            let mut cancel = hop.to_caller("hop");
            cancel.signal = RST;
            cancel.status = own_status_beside(kind).map(Box::new);
            assert_eq!(crossed.reason, Reason::Canceled(cancel));
        }
    }
}

#[test]
fn a_cancel_in_a_trailer_reads_as_its_rst_does() {
    let as_trailer = EndContext {
        form: CancelForm::Trailer,
        ..ctx()
    };
    for path in ["", "caller,one"] {
        let rst = exception::encode("Chat", 3, 12007, "enough");
        let end = from_rst(Initiator::Caller, &info(&[("ttscp", path)]), &rst);
        let Reason::Canceled(cancel) = end.reason else {
            panic!("{end:?}")
        };
        let said = to_callee(&cancel, &as_trailer);
        assert_eq!(said.kind, TerminalKind::Trailer);
        let strings = Info {
            ints: Vec::new(),
            strings: said.strings,
        };
        let end = from_caller_trailer(&strings, &said.payload).unwrap();
        let Reason::Canceled(read) = end.reason else {
            panic!("{end:?}")
        };
        assert_eq!(read.cause, cancel.cause);
        assert_eq!((read.path, read.class), (cancel.path, cancel.class));
    }
    for kind in LocalEndKind::ALL {
        let end = End::hop(kind, "why");
        let mut rst = read(&to_caller(&end, &ctx()));
        let trailer = read(&to_caller(&end, &as_trailer));
        if let Reason::Canceled(cancel) = &mut rst.reason {
            cancel.signal = TRAILER;
        }
        assert_eq!(trailer, rst, "{kind:?}");
    }
}

#[test]
fn forged_fields_do_not_count() {
    let payload = exception::encode("Chat", 1, 6, "rpc error: code = NotFound desc = x");
    let end = from_trailer(&info(&[("ripcord-status", "5")]), &payload);
    assert!(matches!(end.reason, Reason::Failed(Failure::Status(_))));
    for status in ["7", "0", "14", "-1", "4294967295", "1"] {
        let strings = vec![("ripcord-status", status)];
        let end = from_trailer(&info(&strings.leak()[..]), &payload);
        assert!(
            matches!(&end.reason, Reason::Failed(Failure::Exception(e)) if e.type_id == 6),
            "{status}: {end:?}"
        );
        assert!(end.trailers.is_empty());
    }
    let end = from_trailer(&info(&[("ripcord-end", "unreachable")]), &payload);
    assert!(matches!(end.reason, Reason::Failed(Failure::Exception(_))));
    let rst = exception::encode("Chat", 1, 12007, "x");
    let end = from_rst(Initiator::Callee, &info(&[("ripcord-status", "1")]), &rst);
    assert!(matches!(end.reason, Reason::Canceled(c) if c.status.is_none()));
}

#[test]
fn stripped_means_no_ripcord_strings() {
    let status = Status {
        code: 5,
        message: "gone".into(),
        details: Some(Bytes::from_static(b"x")),
    };
    let mut trailers = crate::stream::Metadata::new();
    trailers.push(crate::stream::Scope::Plain, "a", "1");
    trailers.push(crate::stream::Scope::Plain, "a", "2");
    let end = End::failed(Failure::Status(status), trailers);
    let with = to_caller(&end, &ctx());
    assert_eq!(read(&with), end);
    let stripped = to_caller(
        &end,
        &EndContext {
            carried: false,
            ..ctx()
        },
    );
    assert_eq!(
        stripped.strings,
        [(Bytes::from_static(b"a"), Bytes::from_static(b"1,2"))]
    );
}

#[test]
fn strings_stay_within_a_block() {
    let mut trailers = crate::stream::Metadata::new();
    for i in 0..10 {
        trailers.push(
            crate::stream::Scope::Plain,
            format!("K{i}"),
            vec![b'x'; 40_000],
        );
    }
    let terminal = to_caller(&End::complete(trailers), &ctx());
    let total: usize = terminal
        .strings
        .iter()
        .map(|(k, v)| k.len() + v.len() + 4)
        .sum();
    assert!(total < 200_000);
    assert!(terminal.strings.iter().any(|(k, _)| k == keys::CUT));
}

/// A status with so many bytes of text and details, and with trailers of 40,000 bytes.
fn long_status(text: usize, details: usize, trailers: usize) -> End {
    let mut all = crate::stream::Metadata::new();
    for i in 0..trailers {
        let value = vec![b'x'; 40_000];
        all.push(crate::stream::Scope::Plain, format!("k{i}"), value);
    }
    let status = Status {
        code: 5,
        message: "m".repeat(text),
        details: Some(Bytes::from(vec![7; details])),
    };
    End::failed(Failure::Status(status), all)
}

#[test]
fn what_is_missed_the_least_is_cut_first_and_the_status_never() {
    for (end, cut, kept) in [
        (long_status(10, 40_000, 3), "", 3),
        (long_status(10, 40_000, 4), "trailers,names=k3", 3),
        (
            long_status(10, 40_000, 9),
            "trailers,names=k8;k7;k6;k5;k4;k3",
            3,
        ),
        (long_status(10, 50_000, 4), "details", 4),
        (
            long_status(70_000, 50_000, 9),
            "trailers,details,text,names=k8;k7;k6;k5;k4",
            4,
        ),
    ] {
        let terminal = to_caller(&end, &ctx());
        let read = read(&terminal);
        assert_eq!(read.cut.to_string(), cut);
        assert_eq!(read.trailers.len(), kept);
        let Reason::Failed(Failure::Status(status)) = &read.reason else {
            panic!("{:?}", read.reason);
        };
        assert_eq!(status.code, 5);
        assert_eq!(status.details.is_none(), cut.contains("details"));
        assert_eq!(status.message.ends_with(MARK), cut.contains("text"));
        // The next hop names it too.
        assert_eq!(self::read(&to_caller(&read, &ctx())).cut, read.cut);
    }
}

#[test]
fn a_business_error_is_cut_and_marked_as_any_other() {
    let found = Business {
        code: 7,
        text: "é".repeat(40_000),
        extra: Some(Bytes::from(format!("{{\"k\":\"{}\"}}", "v".repeat(70_000)))),
        status: None,
    };
    let end = End::failed(Failure::Business(found), crate::stream::Metadata::new());
    let read = read(&to_caller(&end, &ctx()));
    assert_eq!(read.cut.to_string(), "extra,text");
    let Reason::Failed(Failure::Business(found)) = read.reason else {
        panic!("{:?}", read.reason);
    };
    assert!(found.extra.is_none());
    assert!(found.text.len() <= MAX_TEXT && found.text.ends_with(MARK));
}

/// A frame whose strings do not fit would lose all of them.
#[test]
fn a_long_head_loses_its_last_strings_and_names_them() {
    let mut metadata = crate::stream::Metadata::new();
    for i in 0..6 {
        metadata.push(
            crate::stream::Scope::Plain,
            format!("k{i}"),
            vec![b'x'; 60_000],
        );
    }
    let head = crate::stream::ResponseHead {
        metadata,
        ..Default::default()
    };
    let info = crate::wire::ttheader::metadata::response_info(&head, "M");
    let read = crate::wire::ttheader::metadata::response_head(&info);
    assert_eq!(read.metadata.len(), 3);
    assert_eq!(read.cut.to_string(), "headers,names=k5;k4;k3");
}

/// Repeated keys are joined, and packed beside that.
#[test]
fn a_requests_pack_is_left_out_where_a_frame_cannot_hold_both() {
    use crate::stream::{RequestHead, Scope};
    use crate::wire::ttheader::header::MAX_BLOCK;
    for (count, cut) in [(20, ""), (200, "exact")] {
        let mut head = RequestHead {
            method: "M".into(),
            ..RequestHead::default()
        };
        for i in 0..count {
            let key = format!("k{}", i / 2);
            head.metadata.push(Scope::Plain, key, vec![b'x'; 1000]);
        }
        let (info, _) = crate::wire::ttheader::metadata::request_info(&head);
        assert_eq!(
            crate::wire::ttheader::metadata::cut_of(&info).to_string(),
            cut
        );
        let bytes = info.strings.iter().map(|(k, v)| k.len() + v.len() + 4);
        assert!(bytes.sum::<usize>() < MAX_BLOCK);
        let keys = info.strings.iter().filter(|(key, _)| key.starts_with(b"k"));
        assert_eq!(keys.count(), count / 2);
    }
}
