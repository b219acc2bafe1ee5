//! What adversaries send: ripcord's own fields, beside ends and heads of any kind.

use proptest::collection::vec;
use proptest::prelude::*;
use ripcord::wire::grpc::status::encode_bin;

use super::{Pairs, grpc, make, tt};

/// A callee of one wire that lies, and a caller of either.
#[derive(Clone, Debug)]
pub(crate) struct Lie {
    pub(super) strip: bool,
    pub(super) to_grpc: bool,
    pub(super) end: Native,
    pub(super) forged: Pairs,
}

#[derive(Clone, Debug)]
pub(crate) enum Native {
    Grpc(grpc::End),
    Tt(tt::End),
}

/// A caller that lies, and a callee of either wire.
#[derive(Clone, Debug)]
pub(crate) struct LyingCall {
    pub(super) strip: bool,
    pub(super) from_grpc: bool,
    pub(super) to_grpc: bool,
    pub(super) honest: Pairs,
    pub(super) forged: Pairs,
}

/// Metadata as `ripcord-meta` carries it.
fn pack(entries: &[(u8, Vec<u8>, Vec<u8>)]) -> String {
    let mut out = Vec::new();
    for (scope, key, value) in entries {
        out.push(*scope);
        out.extend((key.len() as u32).to_be_bytes());
        out.extend((value.len() as u32).to_be_bytes());
        out.extend(key);
        out.extend(value);
    }
    encode_bin(&out)
}

/// What an adversary would smuggle in.
fn packed() -> impl Strategy<Value = String> {
    let key = proptest::sample::select(vec![
        "grpc-status",
        "Grpc-Status",
        "grpc-message",
        "grpc-timeout",
        "GRPC-ENCODING",
        "content-type",
        "te",
        ":path",
        "biz-status",
        "Biz-Status",
        "biz-message",
        "isn",
        "ttscp",
        "crrst",
        "rip",
        "ripcord-status",
        "Ripcord-End",
        "ripcord-int-9",
        "ripcord-int-27",
        "ripcord-int-2",
        "source-service",
        "plain",
        "UPPER",
        "a\r\nb",
        "",
        "K",
        "connection",
        "host",
        "x-bin",
    ]);
    let value = proptest::sample::select(vec!["0", "5", "13", "v", "", "{}", "a\r\nb: c", "é"]);
    let entry = (0u8..4, key, value).prop_map(|(scope, key, value)| {
        (scope, key.as_bytes().to_vec(), value.as_bytes().to_vec())
    });
    prop_oneof![6 => vec(entry, 0..5).prop_map(|entries| pack(&entries)), 1 => Just("!".to_owned())]
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0i32..=21).prop_map(|n| n.to_string()),
        4 => (12001i32..=12015).prop_map(|n| n.to_string()),
        1 => any::<i64>().prop_map(|n| n.to_string()),
        1 => Just("x".to_owned()),
    ]
}

fn kind() -> impl Strategy<Value = String> {
    let mut all: Vec<_> = ripcord::stream::LocalEndKind::ALL
        .iter()
        .map(|kind| kind.name())
        .collect();
    all.extend([
        "rst",
        "rst",
        "rst",
        "status",
        "status",
        "exception",
        "exception",
        "x",
        "",
    ]);
    proptest::sample::select(all).prop_map(str::to_owned)
}

fn chosen(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::select(words).prop_map(str::to_owned)
}

fn claims(fields: Vec<(&'static str, BoxedStrategy<String>)>) -> impl Strategy<Value = Pairs> {
    let each: Vec<_> = fields
        .into_iter()
        .map(|(name, value)| {
            proptest::option::weighted(0.7, value)
                .prop_map(move |value| value.map(|value| (name.into(), value.into_bytes())))
        })
        .collect();
    each.prop_map(|claims| claims.into_iter().flatten().collect())
}

fn claimed_in_trailers() -> impl Strategy<Value = Pairs> {
    claims(vec![
        ("ripcord-end", kind().boxed()),
        ("ripcord-code", number().boxed()),
        (
            "ripcord-path",
            chosen(&["", "a", "a,b", "%zz", "peer,hop"]).boxed(),
        ),
        (
            "ripcord-class",
            chosen(&["12009", "12010", "12011", "1"]).boxed(),
        ),
        ("ripcord-text", chosen(&["", "x"]).boxed()),
        (
            "ripcord-processed",
            chosen(&["no", "maybe", "yes", "x"]).boxed(),
        ),
        ("ripcord-meta-bin", packed().boxed()),
        (
            "ripcord-biz-extra-bin",
            chosen(&["e30", "bnVsbA", "!"]).boxed(),
        ),
        (
            "ripcord-cut",
            chosen(&["details", "exact,trailers,details,extra,path,text", "x"]).boxed(),
        ),
        ("ripcord-status", number().boxed()),
    ])
}

fn claimed_in_strings() -> impl Strategy<Value = Pairs> {
    claims(vec![
        ("ripcord-status", number().boxed()),
        ("ripcord-details", chosen(&["aGk", "!", ""]).boxed()),
        ("ripcord-end", kind().boxed()),
        (
            "ripcord-processed",
            chosen(&["no", "maybe", "yes", "x"]).boxed(),
        ),
        ("ripcord-meta", packed().boxed()),
        ("ripcord-cut", chosen(&["details", "x"]).boxed()),
        ("Ripcord-Code", number().boxed()),
    ])
}

fn claimed_in_request() -> impl Strategy<Value = Pairs> {
    claims(vec![
        ("ripcord-meta-bin", packed().boxed()),
        ("ripcord-meta", packed().boxed()),
        (
            "ripcord-to-bin",
            chosen(&["w6k", "bG9jYWxob3N0", "!"]).boxed(),
        ),
        (
            "ripcord-call-bin",
            chosen(&["VG9HcnBjAEV2aWw", "AEV2aWw", "AA", "!"]).boxed(),
        ),
        (
            "ripcord-service",
            chosen(&["x.Other", "Other", "ToGrpcc", ""]).boxed(),
        ),
        ("ripcord-subtype", chosen(&["json", ""]).boxed()),
        ("ripcord-int-9", chosen(&["Evil"]).boxed()),
        ("ripcord-int-27", chosen(&["5"]).boxed()),
        ("ripcord-int-2", chosen(&["log"]).boxed()),
        ("ripcord-hops", chosen(&["a,b", ""]).boxed()),
        ("ripcord-end", kind().boxed()),
    ])
}

/// Ends as they come, and ends that read like a ripcord's.
pub(crate) fn lie() -> impl Strategy<Value = Lie> {
    // Half of the claims fit their text, so that the rest of the check is what refuses them.
    let path = chosen(&["", "a,b", "a"]);
    let print = (number(), path, make::text(), any::<bool>(), 0u32..18).prop_map(
        |(code, path, text, fits, status)| {
            let way = path.replace(',', " -> ");
            let way = if path.is_empty() {
                way
            } else {
                format!("[canceled path: {way}] ")
            };
            let shown = format!("[ttstream error, code={code}] [client-side stream] {way}{text}");
            let claims = [("ripcord-code", code), ("ripcord-path", path)];
            (
                status,
                shown,
                if fits { claims.to_vec() } else { Vec::new() },
            )
        },
    );
    let plain = (0u32..18, make::text()).prop_map(|(status, text)| (status, text, Vec::new()));
    let status = prop_oneof![3 => print, 1 => plain].prop_map(|(status, message, claims)| {
        let say = |name: &str, value: Vec<u8>| (name.into(), value);
        let end = grpc::End::Trailers(vec![
            say("grpc-status", status.to_string().into_bytes()),
            say("grpc-message", grpc::percent(&message)),
        ]);
        (Native::Grpc(end), claims)
    });
    let named = (0u32..18, make::number(), make::text(), any::<bool>()).prop_map(
        |(code, type_id, text, fits)| {
            let text = format!("rpc error: code = {} desc = {text}", go_name(code));
            let end = tt::End::Trailer(Pairs::new(), Some((type_id, text)));
            let claims = if fits {
                vec![("ripcord-status", code.to_string())]
            } else {
                Vec::new()
            };
            (Native::Tt(end), claims)
        },
    );
    let grpc = prop_oneof![2 => status.boxed(), 1 => make::grpc_end().prop_map(|end| (Native::Grpc(end), Vec::new())).boxed()];
    let tt = prop_oneof![1 => named.boxed(), 2 => make::tt_end().prop_map(|end| (Native::Tt(end), Vec::new())).boxed()];
    let both = prop_oneof![
        (grpc, claimed_in_trailers()).boxed(),
        (tt, claimed_in_strings()).boxed(),
    ];
    (any::<bool>(), any::<bool>(), both).prop_map(
        |(strip, to_grpc, ((end, claims), mut forged))| {
            for (name, value) in claims {
                forged.retain(|(key, _)| key != name.as_bytes());
                forged.push((name.into(), value.into_bytes()));
            }
            Lie {
                strip,
                to_grpc,
                end,
                forged,
            }
        },
    )
}

pub(crate) fn lying_call() -> impl Strategy<Value = LyingCall> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (flags, make::headers(true), claimed_in_request()).prop_map(
        |((strip, from_grpc, to_grpc), honest, forged)| LyingCall {
            strip,
            from_grpc,
            to_grpc,
            honest,
            forged,
        },
    )
}

const NAMES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

pub(super) fn go_name(code: u32) -> String {
    NAMES
        .get(code as usize)
        .map_or_else(|| format!("Code({code})"), |name| (*name).to_owned())
}
