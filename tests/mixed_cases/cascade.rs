//! Cancels through a mixed chain: code, text, and the path to which both hops have added their
//! names.

use super::hop::Pair;
use super::streams::{Answer, Asked, Call, Callee, Side, Then, run};
use super::{Chain, Middle};
use crate::loss_free_cases::{Pairs, frames, grpc, tt};

const CAUSE: i32 = 12007;
const TEXT: &str = "user code canceled";

/// Code, text and path.
type Told = (i32, String, String);

pub(crate) fn both_ways(pair: &Pair, middle: Middle) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let chain = Chain::start(pair, middle).await;
        from_the_caller(&chain, middle).await;
        from_the_callee(&chain).await;
    });
}

fn told(cause: i32, text: &str, path: &str) -> Told {
    (cause, text.to_owned(), path.to_owned())
}

fn path(names: &str) -> Pairs {
    vec![(b"ttscp".to_vec(), names.into())]
}

fn call(from: Side, to: Side, then: Then, n: &mut u32) -> Call {
    *n += 1;
    Call {
        from,
        service: to.service().to_owned(),
        method: format!("K{n}"),
        named: Some("app"),
        limit: None,
        sent: vec!["one".into()],
        then,
    }
}

/// The code, text and path of a Rst.
fn rst(heard: &tt::Heard) -> Told {
    let end = heard.end.as_ref().unwrap();
    let (cause, text) = frames::said(&end.payload).unwrap();
    let path = tt::strings(end)[&b"ttscp"[..]][0].clone();
    (cause, text, String::from_utf8(path.into()).unwrap())
}

async fn from_the_caller(chain: &Chain, middle: Middle) {
    let mut n = 0;
    for head in [None, Some(Pairs::new())] {
        let to_tt = Callee::Holds(Side::Tt, head.clone());
        let end = tt::End::Rst(path("app"), CAUSE, TEXT.to_owned());
        let one = call(Side::Tt, Side::Tt, Then::End(end.clone()), &mut n);
        let (_, Asked::Tt(heard)) = run(chain, &one, &to_tt).await else {
            panic!("the callee is a TTHeader one");
        };
        let (cause, text, way) = rst(&heard);
        assert_eq!(way, "app,one,two");
        match middle {
            Middle::TtHeader | Middle::Hop => assert_eq!((cause, &text[..]), (CAUSE, TEXT)),
            // HTTP/2 has a number only: that it was a cancel.
            Middle::Grpc => assert_eq!(cause, 12011, "{text}"),
        }
        let one = call(Side::Grpc, Side::Tt, Then::Reset(8), &mut n);
        let (_, Asked::Tt(heard)) = run(chain, &one, &to_tt).await else {
            panic!("the callee is a TTHeader one");
        };
        let (cause, _, way) = rst(&heard);
        assert_eq!((cause, &way[..]), (12011, "app,one,two"));
        let to_grpc = Callee::Holds(Side::Grpc, head);
        for one in [
            call(Side::Tt, Side::Grpc, Then::End(end), &mut n),
            call(Side::Grpc, Side::Grpc, Then::Reset(8), &mut n),
        ] {
            let (_, Asked::Grpc(heard)) = run(chain, &one, &to_grpc).await else {
                panic!("the callee is a gRPC one");
            };
            assert_eq!(heard.reset, Some(8));
        }
    }
}

async fn from_the_callee(chain: &Chain) {
    let mut n = 100;
    let end = tt::End::Rst(path("callee"), CAUSE, TEXT.to_owned());
    let callee = Callee::Tt(Pairs::new(), vec!["reply".into()], end);
    let one = call(Side::Tt, Side::Tt, Then::Listen, &mut n);
    let (Answer::Tt(heard), _) = run(chain, &one, &callee).await else {
        panic!("the caller is a TTHeader one");
    };
    assert_eq!(rst(&heard), told(CAUSE, TEXT, "callee,two,one"));
    let one = call(Side::Grpc, Side::Tt, Then::Listen, &mut n);
    let (Answer::Grpc(heard), _) = run(chain, &one, &callee).await else {
        panic!("the caller is a gRPC one");
    };
    let trailer = |name: &str| heard.trailers[name].to_str().unwrap();
    assert_eq!(trailer("grpc-status"), "1");
    assert_eq!(trailer("ripcord-code"), CAUSE.to_string());
    assert_eq!(trailer("ripcord-path"), "callee,two,one");
    let text = grpc::unpercent(heard.trailers["grpc-message"].as_bytes());
    assert!(text.contains(TEXT), "{text}");
    let canceled: Pairs = [("grpc-status", "1"), ("grpc-message", TEXT)]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
    let callee = Callee::Grpc(
        Some(Pairs::new()),
        Vec::new(),
        grpc::End::Trailers(canceled),
    );
    let one = call(Side::Tt, Side::Grpc, Then::Listen, &mut n);
    let (Answer::Tt(heard), _) = run(chain, &one, &callee).await else {
        panic!("the caller is a TTHeader one");
    };
    assert_eq!(rst(&heard), told(12011, TEXT, "non-ttstream path,two,one"));
}
