//! A table of ends through a mixed chain and through one of two new hops: both peers receive the
//! same.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ripcord::wire::grpc::status::encode_bin;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::hop::Pair;
use super::streams::{Call, Callee, Side, Then, codes, run, show};
use super::{Chain, Middle};
use crate::loss_free_cases::{Pairs, grpc, tt};

/// Cases that this build means to change, by a part of their names, and what is other. Of these only
/// the codes are compared. When `.ci/landed` names a commit that has the change, the entry goes.
const CHANGED: &[(&str, &str)] = &[
    (
        " caller: Dead",
        "a connection that is refused is told in plain words",
    ),
    (
        " caller: ThriftOnly",
        "a payload of another kind is told of schemas, which translate",
    ),
];

/// What only new hops write, and old ones hand on: lines with it are not compared.
const NEW_FIELDS: &[&str] = &[
    "ripcord-limit",
    // `ripcord-meta` and `ripcord-meta-bin` have only the entries that the wire changes; an old hop
    // writes all of them.
    "ripcord-meta",
];

/// How long one stream may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Limits that both hops know. Either clock may run out first, and the path begins there: only the
/// codes are compared. The methods of such streams begin with [`RACE`].
const FIRST_HOPS_LIMIT: &str = "the first hop's limit";
const CALLERS_LIMIT: &str = "the caller's limit";
const RACE: &str = "Race";

/// How many differences a failure shows.
const SHOWN: usize = 3;

pub(crate) fn every_end(pair: &Pair, middle: Middle) {
    let expected = expected(pair, middle);
    let mixed = heard(pair, middle);
    let mut faults = Vec::new();
    for ((name, new), (other, old)) in expected.iter().zip(&mixed) {
        assert_eq!(name, other);
        let (new, old) = (&without_new_fields(new), &without_new_fields(old));
        if new != old {
            faults.push(format!("{name}{}", difference(new, old)));
        }
    }
    assert_eq!(expected.len(), mixed.len());
    let (many, all) = (faults.len(), expected.len());
    faults.truncate(SHOWN);
    let text = faults.join("\n");
    assert!(
        faults.is_empty(),
        "{many} of {all} ends are other than those of two new hops:\n{text}"
    );
}

fn is_changed(name: &str) -> bool {
    CHANGED.iter().any(|(part, _)| name.contains(part))
}

fn without_new_fields(heard: &str) -> String {
    let is_new = |line: &&str| NEW_FIELDS.iter().any(|field| line.contains(field));
    let lines = heard.lines().filter(|line| !is_new(line));
    lines.collect::<Vec<_>>().join("\n")
}

fn difference(new: &str, old: &str) -> String {
    let mut out = String::new();
    let only = |a: &str, b: &str, sign: char, out: &mut String| {
        for line in a.lines().filter(|line| !b.lines().any(|l| l == *line)) {
            let _ = write!(out, "\n  {sign} {line}");
        }
    };
    only(new, old, '+', &mut out);
    only(old, new, '-', &mut out);
    out
}

/// A name that no other case has, and what is played.
type Case = (String, Call, Callee);

/// Every case, and what its peers received.
type Heard = Vec<(String, String)>;

/// Of two new hops. Both orders compare with the same.
fn expected(pair: &Pair, middle: Middle) -> Arc<Heard> {
    static KNOWN: Mutex<Vec<(Middle, Arc<Heard>)>> = Mutex::new(Vec::new());
    let mut known = KNOWN.lock().unwrap();
    if let Some((_, heard)) = known.iter().find(|(of, _)| *of == middle) {
        return Arc::clone(heard);
    }
    let heard = Arc::new(heard(&pair.both_new(), middle));
    known.push((middle, Arc::clone(&heard)));
    heard
}

fn heard(pair: &Pair, middle: Middle) -> Heard {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let chain = Arc::new(Chain::start(pair, middle).await);
        let (mut all, mut waiting) = (Heard::new(), JoinSet::new());
        for case in cases() {
            let waits = matches!(case.1.then, Then::Wait);
            let one = one(Arc::clone(&chain), case);
            // One after the other, but for those that wait for a limit.
            if waits {
                waiting.spawn(one);
            } else {
                all.push(one.await);
            }
        }
        while let Some(done) = waiting.join_next().await {
            all.push(done.unwrap());
        }
        all.sort();
        all
    })
}

/// Plays one case.
async fn one(chain: Arc<Chain>, (name, call, callee): Case) -> (String, String) {
    let stream = timeout(LIMIT, run(&chain, &call, &callee)).await;
    let (answer, asked) = stream.unwrap_or_else(|_| panic!("{name}: somebody hears nothing"));
    let is_changed = is_changed(&name);
    let text = match is_changed || call.method.starts_with(RACE) {
        true => codes(&answer, &asked),
        false => show(&chain, &answer, &asked),
    };
    assert!(!text.is_empty(), "{name}: nobody heard anything");
    (name, text)
}

fn pairs(list: &[(&str, &str)]) -> Pairs {
    list.iter()
        .map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec()))
        .collect()
}

/// Everything that is played. The methods are numbered: a script is found by its name.
fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for from in Side::BOTH {
        for (what, end) in grpc_ends() {
            for head in [None, Some(pairs(&[("x-head", "h")]))] {
                let replied = head.iter().map(|_| Bytes::from("reply")).collect();
                let name = format!(
                    "{from:?} caller, gRPC callee: {what}, head {}",
                    head.is_some()
                );
                let callee = Callee::Grpc(head, replied, end.clone());
                all.push((name, from, "Grpc".to_owned(), Then::Listen, callee));
            }
        }
        for (what, end) in tt_ends() {
            let name = format!("{from:?} caller, TTHeader callee: {what}");
            let callee = Callee::Tt(pairs(&[("x-head", "h")]), vec!["reply".into()], end);
            all.push((name, from, "Tt".to_owned(), Then::Listen, callee));
        }
        for service in [
            "Unknown",
            "Nowhere",
            "DeadHere",
            "DeadGrpc",
            "DeadTt",
            "ThriftOnly",
        ] {
            let name = format!("{from:?} caller: {service}");
            all.push((name, from, service.to_owned(), Then::Listen, Callee::Nobody));
        }
        for side in Side::BOTH {
            for (service, head) in [
                ("Silent", None),
                ("Idle", Some(Pairs::new())),
                ("Late", Some(Pairs::new())),
            ] {
                let name = format!("{from:?} caller, {side:?} callee: {service}");
                let callee = Callee::Holds(side, head);
                let service = format!("{service}{}", side.service());
                all.push((name, from, service, Then::Wait, callee));
            }
            for what in [FIRST_HOPS_LIMIT, CALLERS_LIMIT] {
                let name = format!("{from:?} caller, {side:?} callee: {what}");
                let callee = Callee::Holds(side, Some(Pairs::new()));
                all.push((name, from, side.service().to_owned(), Then::Wait, callee));
            }
            for then in let_go(from) {
                for head in [None, Some(Pairs::new())] {
                    let name = format!(
                        "{from:?} caller {then:?}, {side:?} callee, head {}",
                        head.is_some()
                    );
                    let callee = Callee::Holds(side, head);
                    all.push((name, from, side.service().to_owned(), then.clone(), callee));
                }
            }
        }
    }
    let call = |(n, (name, from, service, then, callee)): (
        usize,
        (String, Side, String, Then, Callee),
    )| {
        let (hasty, limited) = (
            name.ends_with(FIRST_HOPS_LIMIT),
            name.ends_with(CALLERS_LIMIT),
        );
        let method = match (hasty, limited) {
            (true, _) => format!("{RACE}Hasty{n}"),
            (_, true) => format!("{RACE}{n}"),
            (false, false) => format!("C{n}"),
        };
        let call = Call {
            from,
            service,
            method,
            limit: limited.then_some(500),
            named: (n % 2 == 0).then_some("app"),
            // A cancel overtakes what is queued: of messages before one, any number arrives.
            sent: match then {
                Then::Listen => vec!["one".into(), Bytes::new(), vec![b'x'; 5000].into()],
                Then::Wait | Then::Reset(_) | Then::End(_) => Vec::new(),
            },
            then,
        };
        (name, call, callee)
    };
    all.into_iter().enumerate().map(call).collect()
}

fn grpc_ends() -> Vec<(String, grpc::End)> {
    let mut ends = Vec::new();
    for code in (0..=17).chain([77]) {
        let code = code.to_string();
        let plain = pairs(&[
            ("grpc-status", &code),
            ("grpc-message", "why %C3%A9"),
            ("x-end", "a"),
            ("x-end", "b"),
        ]);
        ends.push((format!("status {code}"), grpc::End::Trailers(plain)));
    }
    let details = encode_bin(b"\x08\x05\x12\x03why");
    let status = |more: &[(&str, &str)]| {
        let all = [&[("grpc-status", "5"), ("grpc-message", "why")], more].concat();
        grpc::End::Trailers(pairs(&all))
    };
    ends.push((
        "details".into(),
        status(&[("grpc-status-details-bin", &details)]),
    ));
    ends.push(("business".into(), status(&[("biz-status", "404")])));
    ends.push((
        "business with extra".into(),
        status(&[("biz-status", "-4"), ("biz-extra", r#"{"k":"v"}"#)]),
    ));
    ends.push((
        "unknown method".into(),
        grpc::End::Trailers(pairs(&[
            ("grpc-status", "1"),
            ("grpc-message", "unknown method Talk"),
        ])),
    ));
    ends.extend((0..=13).map(|code| (format!("reset {code}"), grpc::End::Reset(code))));
    ends
}

fn tt_ends() -> Vec<(String, tt::End)> {
    let strings = pairs(&[("x-end", "e"), ("Upper", "U")]);
    let why = "why \u{e9}";
    let mut ends = vec![
        (
            "empty Trailer".to_owned(),
            tt::End::Trailer(Pairs::new(), None),
        ),
        (
            "Trailer".to_owned(),
            tt::End::Trailer(strings.clone(), None),
        ),
    ];
    for n in (0..=10).chain([20, 21, 99]).chain(12001..=12016) {
        let end = tt::End::Trailer(strings.clone(), Some((n, why.to_owned())));
        ends.push((format!("exception {n}"), end));
    }
    for business in [
        pairs(&[("biz-status", "404"), ("biz-message", why)]),
        pairs(&[
            ("biz-status", "-4"),
            ("biz-message", why),
            ("biz-extra", "{ \"k\" : \"v\" }"),
        ]),
        pairs(&[("biz-status", "4"), ("x-end", "e")]),
    ] {
        let name = format!("business, {} strings", business.len());
        ends.push((name, tt::End::Trailer(business, None)));
    }
    for cause in (12006..=12015).chain([6, 13000]) {
        for path in [pairs(&[("ttscp", "callee,beyond")]), Pairs::new()] {
            let name = format!("Rst {cause}, path {}", !path.is_empty());
            ends.push((name, tt::End::Rst(path, cause, why.to_owned())));
        }
    }
    ends
}

/// How a caller cancels.
fn let_go(from: Side) -> Vec<Then> {
    match from {
        Side::Grpc => (0..=13).map(Then::Reset).collect(),
        Side::Tt => {
            let why = || "why \u{e9}".to_owned();
            let path = |names: &str| pairs(&[("ttscp", names)]);
            let rst = |cause| Then::End(tt::End::Rst(path("app"), cause, why()));
            let mut all: Vec<Then> = (12006..=12015).map(rst).collect();
            all.push(Then::End(tt::End::Rst(Pairs::new(), 12007, String::new())));
            all.push(Then::End(tt::End::Rst(path("far,app"), 42, why())));
            all.push(Then::End(tt::End::Trailer(Pairs::new(), Some((6, why())))));
            all.push(Then::End(tt::End::Trailer(
                pairs(&[("biz-status", "404"), ("biz-message", "no")]),
                None,
            )));
            all
        }
    }
}
