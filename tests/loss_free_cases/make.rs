//! What peers can send: strategies for heads, messages and ends of each wire.

use std::fmt::Write as _;

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use ripcord::wire::grpc::status::{ErrorInfo, encode_bin, encode_details};

use super::{Pairs, grpc, tt};

/// A stream of a gRPC caller with a gRPC callee.
#[derive(Clone, Debug)]
pub(crate) struct GrpcCase {
    pub(crate) strip: bool,
    pub(crate) kind: &'static str,
    pub(crate) authority: String,
    /// After the method's name, as it stands in the path.
    pub(crate) suffix: String,
    /// Seconds.
    pub(crate) timeout: Option<u32>,
    pub(crate) headers: Pairs,
    pub(crate) sent: Vec<Bytes>,
    pub(crate) head: Option<Pairs>,
    pub(crate) replied: Vec<Bytes>,
    pub(crate) end: grpc::End,
}

/// A stream of a TTHeader caller with a TTHeader callee.
#[derive(Clone, Debug)]
pub(crate) struct TtCase {
    pub(crate) strip: bool,
    pub(crate) protocol: u8,
    pub(crate) suffix: String,
    /// Milliseconds.
    pub(crate) timeout: Option<u32>,
    /// Int key 6 and int key 3.
    pub(crate) to: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) ints: Vec<(u16, Bytes)>,
    pub(crate) strings: Pairs,
    pub(crate) sent: Vec<Bytes>,
    pub(crate) head: Pairs,
    pub(crate) replied: Vec<Bytes>,
    pub(crate) end: tt::End,
}

/// A caller that cancels.
#[derive(Clone, Debug)]
pub(crate) struct Cancel {
    pub(crate) strip: bool,
    /// The callee has sent its head.
    pub(crate) answered: bool,
    pub(crate) half_closed: bool,
    pub(crate) sent: Vec<Bytes>,
    pub(crate) how: How,
}

#[derive(Clone, Debug)]
pub(crate) enum How {
    /// A gRPC caller's RST_STREAM.
    Reset(u32),
    /// A TTHeader caller's Rst, or Trailer with an exception or a business error.
    Said(tt::End),
}

fn raw(max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..max)
}

pub(crate) fn text() -> BoxedStrategy<String> {
    prop_oneof![
        6 => any::<String>().prop_map(|text| text.chars().take(40).collect()),
        4 => "[ -~]{0,60}",
        1 => Just(String::new()),
        1 => Just("  \t ".to_owned()),
        1 => Just("100%, %41 %zz % ".to_owned()),
        1 => Just("取消 — der Schlüssel \u{1f511}\r\n\0\u{7f}".to_owned()),
        1 => Just("unknown method Talk".to_owned()),
        1 => Just("rpc error: code = NotFound desc = x".to_owned()),
        1 => Just("[ttstream error, code=12007] [client-side stream] x".to_owned()),
        1 => "[a-zA-Z ]{1000,1500}",
    ]
    .boxed()
}

fn messages() -> impl Strategy<Value = Vec<Bytes>> {
    let message = prop_oneof![
        6 => raw(60).prop_map(Bytes::from),
        2 => Just(Bytes::new()),
        1 => any::<u8>().prop_map(|b| vec![b; 5000].into()),
        1 => any::<u8>().prop_map(|b| vec![b; 70_000].into()),
    ];
    vec(message, 0..4)
}

/// Printable, and what HTTP calls obs-text; no spaces at the ends, which HTTP does not keep.
fn header_value() -> impl Strategy<Value = Vec<u8>> {
    let byte =
        prop_oneof![8 => 0x20..=0x7eu8, 1 => 0x80..=0xffu8, 1 => Just(b'\t'), 1 => Just(b',')];
    vec(byte, 0..24).prop_map(|value| value.trim_ascii().to_vec())
}

/// Headers of an application: names repeated, also apart from each other.
pub(crate) fn headers(request: bool) -> BoxedStrategy<Pairs> {
    let name = prop_oneof![
        8 => "[a-z0-9][a-z0-9_.!#$&'*+^`|~-]{0,12}",
        1 => Just("x-bin".to_owned()),
        1 => Just("user-agent".to_owned()),
        // Each means something on TTHeader.
        1 => proptest::sample::select(vec!["isn", "rip", "tc", "crrst", "ttscp", "biz-message", "rpc_persist_k"]).prop_map(str::to_owned),
        1 => proptest::sample::select(vec!["rpc-persist-user-id", "rpc-transit-k", "rpc-persist-x"]).prop_map(str::to_owned),
        1 => Just("grpc-trace-bin".to_owned()),
    ]
    .prop_filter("trace context, which hops write", |name| !["b3", "baggage", "te"].contains(&name.as_str()));
    let entry = (name, vec((header_value(), any::<bool>()), 1..3));
    vec(entry, 0..5)
        .prop_map(move |entries| {
            let mut out = Pairs::new();
            for (name, values) in entries {
                for (mut value, padded) in values {
                    if name.ends_with("-bin") {
                        value = encode_bin(&value).into_bytes();
                        while padded && !value.len().is_multiple_of(4) {
                            value.push(b'=');
                        }
                    }
                    // Metainfo without a value is none.
                    if request && name.starts_with("rpc-") && value.is_empty() {
                        value.push(b'v');
                    }
                    out.push((name.clone().into_bytes(), value));
                }
            }
            out
        })
        .boxed()
}

fn status() -> impl Strategy<Value = Pairs> {
    let code =
        prop_oneof![2 => Just(0u32), 8 => 1u32..=16, 1 => 17u32..200, 1 => Just(i32::MAX as u32)];
    let biz = (
        prop_oneof![Just(-3i32), 1i32..9, Just(i32::MAX)],
        option::of(proptest::sample::select(vec![
            r#"{"k":"v"}"#,
            "{ }",
            "null",
            r#"{"a":"\u00e9","b":null}"#,
        ])),
    );
    let details = option::of((text(), any::<bool>()));
    (
        code,
        option::of(text()),
        details,
        option::weighted(0.3, biz),
    )
        .prop_map(|(code, message, details, biz)| {
            let mut out = vec![(b"grpc-status".to_vec(), code.to_string().into_bytes())];
            let mut say = |name: &str, value: Vec<u8>| out.push((name.into(), value));
            if let Some(message) = message {
                say("grpc-message", grpc::percent(&message));
            }
            // Beside success neither has a meaning.
            if code == 0 {
                return out;
            }
            if let Some((details, padded)) = details {
                let details = encode_details(code, &details, &ErrorInfo::default());
                let mut details = encode_bin(&details).into_bytes();
                while padded && !details.len().is_multiple_of(4) {
                    details.push(b'=');
                }
                say("grpc-status-details-bin", details);
            }
            if let Some((biz, extra)) = biz {
                say("biz-status", biz.to_string().into_bytes());
                if let Some(extra) = extra {
                    say("biz-extra", extra.into());
                }
            }
            out
        })
}

pub(crate) fn grpc_end() -> BoxedStrategy<grpc::End> {
    let trailers = (status(), headers(false)).prop_map(|(mut out, more)| {
        out.extend(more);
        grpc::End::Trailers(out)
    });
    let reset = prop_oneof![0u32..=13, Just(1000), Just(77)].prop_map(grpc::End::Reset);
    prop_oneof![8 => trailers, 1 => reset].boxed()
}

/// What stands behind the method's name in a path.
fn path_suffix() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just(String::new()), 1 => "-[a-zA-Z0-9._~!$&'()*+,;=:@-]{0,8}", 1 => Just("-%41%C3%A9%2f".to_owned())]
}

pub(crate) fn grpc_case() -> impl Strategy<Value = GrpcCase> {
    let kind = proptest::sample::select(vec![
        "application/grpc",
        "application/grpc+thrift",
        "application/grpc+json",
    ]);
    let authority = "[a-z]{1,8}(\\.[a-z]{1,3})?(:[1-9][0-9]{0,3})?";
    let request = (
        kind,
        authority,
        path_suffix(),
        option::of(1000u32..9000),
        headers(true),
        messages(),
    );
    let answer = (option::of(headers(false)), messages(), grpc_end());
    (any::<bool>(), request, answer).prop_map(
        |(strip, (kind, authority, suffix, timeout, headers, sent), (head, replied, end))| {
            GrpcCase {
                strip,
                kind,
                authority,
                suffix,
                timeout,
                headers,
                sent,
                head,
                replied,
                end,
            }
        },
    )
}

/// What only hops read, so that it does not go on.
const HOP_ONLY: [&str; 9] = [
    "isn",
    "ttscp",
    "biz-status",
    "biz-message",
    "biz-extra",
    "crrst",
    "rip",
    "tc",
    "ti",
];

/// The strings of a TTHeader application: any bytes.
pub(crate) fn strings(request: bool) -> BoxedStrategy<Pairs> {
    let words = vec![
        "te",
        "grpc-status",
        "grpc-message",
        "grpc-encoding",
        "content-type",
        "Content-Type",
        "Connection",
        ":path",
        "host",
        "x-bin",
        "GRPC-timeout",
        "grpc-trace-bin",
        "schlüssel",
        "键",
        "Upper",
        "upper",
        "RPC_PERSIST_Case",
        "RPC_PERSIST_UPPER",
        "RPC_TRANSIT_K",
        "RPC_TRANSIT_UPSTREAM_K",
        "RPC_TRANSIT_gdpr-token",
        "rpc-persist-x",
        "RPC_TRANSIT_",
        "a b",
        "a,b",
        "source-service",
        "user-agent",
    ];
    let key = prop_oneof![
        3 => "[A-Za-z][A-Za-z0-9_.-]{0,12}".prop_map(String::into_bytes),
        1 => "\\PC{1,8}".prop_map(String::into_bytes),
        2 => raw(8),
        6 => proptest::sample::select(words).prop_map(|word| word.as_bytes().to_vec()),
    ]
    .prop_filter("empty, or trace context", |key| {
        !key.is_empty()
            && !["b3", "baggage"]
                .iter()
                .any(|name| key.eq_ignore_ascii_case(name.as_bytes()))
            && !HOP_ONLY.iter().any(|name| key == name.as_bytes())
    });
    let value = prop_oneof![4 => raw(20), 3 => "[ -~]{0,20}".prop_map(String::into_bytes), 1 => Just(b"a, b".to_vec())];
    btree_map(key, value, 0..6)
        .prop_map(move |map| {
            map.into_iter()
                .map(|(mut key, mut value)| {
                    // Metainfo without a name or a value is none.
                    if request && key.starts_with(b"RPC_") {
                        if key.ends_with(b"_") {
                            key.push(b'K');
                        }
                        if value.is_empty() {
                            value.push(b'v');
                        }
                    }
                    (key, value)
                })
                .collect::<std::collections::BTreeMap<_, _>>()
                .into_iter()
                .collect()
        })
        .boxed()
}

pub(crate) fn number() -> impl Strategy<Value = i32> {
    prop_oneof![
        3 => 0i32..=21,
        4 => 12001i32..=12015,
        1 => 12016i32..13000,
        1 => any::<i32>(),
    ]
}

fn path() -> impl Strategy<Value = Pairs> {
    let names = vec("[^,\\p{Cc}]{0,10}", 1..5).prop_map(|names| names.join(","));
    option::weighted(0.8, names).prop_map(|names| {
        names
            .map(|names| vec![(b"ttscp".to_vec(), names.into_bytes())])
            .unwrap_or_default()
    })
}

fn business() -> impl Strategy<Value = Pairs> {
    let code = prop_oneof![1i32..20, any::<i32>()].prop_filter("0 is none", |code| *code != 0);
    let pairs = vec((any::<String>(), any::<String>()), 0..3).prop_map(|pairs| {
        let mut out = String::from("{");
        for (n, (key, value)) in pairs.iter().enumerate() {
            let comma = if n == 0 { "" } else { " , " };
            let short = |text: &str| {
                serde_json::to_string(&text.chars().take(12).collect::<String>()).unwrap()
            };
            let _ = write!(out, "{comma}{}:\t{}", short(key), short(value));
        }
        out + "\n}"
    });
    let extra = prop_oneof![3 => pairs, 1 => Just("null".to_owned()), 1 => Just(" {} ".to_owned())];
    (code, option::of(text()), option::of(extra)).prop_map(|(code, text, extra)| {
        let mut out = vec![(b"biz-status".to_vec(), code.to_string().into_bytes())];
        if let Some(text) = text {
            out.push((b"biz-message".to_vec(), text.into_bytes()));
        }
        if let Some(extra) = extra {
            out.push((b"biz-extra".to_vec(), extra.into_bytes()));
        }
        out
    })
}

fn rst() -> impl Strategy<Value = tt::End> {
    (path(), number(), text()).prop_map(|(path, cause, text)| tt::End::Rst(path, cause, text))
}

pub(crate) fn tt_end() -> BoxedStrategy<tt::End> {
    let complete = strings(false).prop_map(|strings| tt::End::Trailer(strings, None));
    let exception = (strings(false), number(), text())
        .prop_map(|(strings, type_id, text)| tt::End::Trailer(strings, Some((type_id, text))));
    let business = (business(), strings(false)).prop_map(|(mut out, more)| {
        out.extend(more);
        tt::End::Trailer(out, None)
    });
    prop_oneof![2 => complete, 3 => exception, 3 => business, 4 => rst()].boxed()
}

pub(crate) fn tt_case() -> impl Strategy<Value = TtCase> {
    let key = proptest::sample::select(vec![2u16, 4, 5, 7, 8, 10, 17, 18, 20, 28, 1000, u16::MAX]);
    let ints = btree_map(key, raw(20), 0..3).prop_map(|map| {
        map.into_iter()
            .map(|(k, v)| (k, Bytes::from(v)))
            .collect::<Vec<_>>()
    });
    let protocol = proptest::sample::select(vec![0x10u8, 0x10, 0x11]);
    let name = || option::of(prop_oneof!["[a-z.-]{1,12}", "[a-zA-Z0-9_ /é服务]{1,12}"]);
    let suffix =
        prop_oneof![4 => Just(String::new()), 1 => "-[a-zA-Z0-9._]{1,8}", 1 => "-[ -~é键]{0,8}"];
    let request = (
        protocol,
        suffix,
        option::of(100_000u32..900_000),
        name(),
        // An older ripcord in the chain knows no field for the blanks that HTTP/2 forbids.
        name().prop_map(|name| {
            name.map(|name| name.trim().to_owned())
                .filter(|n| !n.is_empty())
        }),
        ints,
        strings(true),
        messages(),
    );
    let answer = (strings(false), messages(), tt_end());
    (any::<bool>(), request, answer).prop_map(
        |(
            strip,
            (protocol, suffix, timeout, to, from, ints, strings, sent),
            (head, replied, end),
        )| TtCase {
            strip,
            protocol,
            suffix,
            timeout,
            to,
            from,
            ints,
            strings,
            sent,
            head,
            replied,
            end,
        },
    )
}

/// Cancels that leave the connections by which they came with open windows. A connection that was
/// just dialed has 64 KiB until its peer allows more, and text and exact path need room in it
/// (config/README.md, "Carried fields").
pub(crate) fn opening() -> Vec<Cancel> {
    let rst = tt::End::Rst(Pairs::new(), 12007, "opening".to_owned());
    let ways = [How::Reset(8), How::Said(rst)];
    let both = [false, true].map(|strip| {
        ways.clone().map(|how| Cancel {
            strip,
            answered: true,
            half_closed: false,
            sent: Vec::new(),
            how,
        })
    });
    both.into_iter().flatten().collect()
}

pub(crate) fn cancel() -> impl Strategy<Value = Cancel> {
    let reset = prop_oneof![2 => Just(8u32), 1 => 0u32..=13, 1 => Just(1000)].prop_map(How::Reset);
    let gave_up = prop_oneof![
        (number(), text())
            .prop_map(|(type_id, text)| tt::End::Trailer(Pairs::new(), Some((type_id, text)))),
        business().prop_map(|strings| tt::End::Trailer(strings, None)),
    ];
    let said = prop_oneof![3 => rst(), 1 => gave_up].prop_map(How::Said);
    (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        messages(),
        prop_oneof![reset, said],
    )
        .prop_map(|(strip, answered, half_closed, sent, how)| Cancel {
            strip,
            answered,
            // A Trailer by which the caller gives up is also the half-close.
            half_closed: half_closed && !matches!(how, How::Said(tt::End::Trailer(..))),
            sent,
            how,
        })
}
