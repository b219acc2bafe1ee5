//! The info keys of TTHeader frames, each with its rule.
//!
//! The sources are gopkg `protocol/ttheader/{const,metakey}.go` and Kitex
//! `pkg/remote/transmeta/metakey.go`. The `ripcord-*` keys are this crate's own: ripcord reads
//! them, other peers ignore them.

/// Transport type (`framed`). It is about the sender's connection, so it is never forwarded.
pub const TRANSPORT_TYPE: u16 = 1;
/// The caller's service name. Streaming Kitex callers do not set it.
pub const FROM_SERVICE: u16 = 3;
/// The callee's service name, as the caller addresses it.
pub const TO_SERVICE: u16 = 6;
/// The method. Every frame of a stream repeats it.
pub const TO_METHOD: u16 = 9;
/// The time that remains, in milliseconds. Open-source Kitex ignores it on streams.
pub const RPC_TIMEOUT: u16 = 12;
/// The message type. Ping-pong only.
pub const MESSAGE_TYPE: u16 = 22;
/// The frame's kind, as text: 1 to 5 (`frame::Kind`).
pub const FRAME_TYPE: u16 = 27;
/// [`FRAME_TYPE`]: opens one direction of a stream.
pub const FRAME_HEADER: &str = "2";

/// Thrift struct payloads: what Kitex streaming writes.
pub const PROTOCOL_THRIFT_STRUCT: u8 = 0x10;
/// Protobuf struct payloads. No Kitex peer has them, only other ripcords.
pub const PROTOCOL_PROTOBUF_STRUCT: u8 = 0x11;

/// IDL service name without its package, in a request's Header frame.
pub const IDL_SERVICE: &str = "isn";
/// Canceled path, in a Rst: names joined by commas, the originator first. It may be absent, and
/// names may be empty.
pub const CANCELED_PATH: &str = "ttscp";
/// Business error: its code, an i32 as text. 0, absent or not a number means none.
pub const BIZ_STATUS: &str = "biz-status";
/// Business error: its text.
pub const BIZ_MESSAGE: &str = "biz-message";
/// Business error: a JSON object of strings. Empty or absent means none.
pub const BIZ_EXTRA: &str = "biz-extra";
/// Connection will be reset. It is about the connection, so it is never forwarded.
pub const CONNECTION_RESET: &str = "crrst";

/// Prefix of metainfo for the whole chain. The rest of the key matches with case. Empty names and
/// empty values are dropped, as gopkg `metainfo` does.
pub const PREFIX_PERSIST: &[u8] = b"RPC_PERSIST_";
/// Prefix of metainfo for one hop. `RPC_TRANSIT_UPSTREAM_K` (already one hop old) is the transit
/// entry `UPSTREAM_K` here, so that a hop forwards it as it came.
pub const PREFIX_TRANSIT: &[u8] = b"RPC_TRANSIT_";

/// Prefix of keys that only ripcord writes. A user's key with it is never sent.
pub const PREFIX_RIPCORD: &[u8] = b"ripcord-";
/// Carried: the number of the gRPC status behind an exception, a business error or a Rst. On an
/// exception it counts if type and text are what that status renders to.
pub const CARRIED_STATUS: &str = "ripcord-status";
/// Carried, beside [`CARRIED_STATUS`]: `grpc-status-details-bin`, base64.
pub const CARRIED_DETAILS: &str = "ripcord-details";
/// Carried, on a refusal by another ripcord: the name of its local end (`no_route`).
pub const CARRIED_END: &str = "ripcord-end";
/// Carried: `no`, `maybe` or `yes`, if the frame alone would mean another value.
pub const CARRIED_PROCESSED: &str = "ripcord-processed";
/// Carried: the exact entries (`Metadata::pack`, base64), if strings cannot hold them.
pub const CARRIED_META: &str = "ripcord-meta";
/// Carried: the full service name, of which [`IDL_SERVICE`] is the last part.
pub const CARRIED_SERVICE: &str = "ripcord-service";
/// Carried, in a request: the names by which it came, the caller's first, then each hop's. In the
/// form of [`CANCELED_PATH`]. A Rst has a path of its own; this one is for gRPC hops further on.
pub const CARRIED_HOPS: &str = "ripcord-hops";
/// Carried, beside [`CARRIED_HOPS`] and [`RPC_TIMEOUT`]: which of those names set the limit, and how
/// many there are (`1/2`). The path of a cancel at the deadline begins with it.
pub const CARRIED_LIMIT: &str = "ripcord-limit";
/// Carried, with protocol id 0x11: a gRPC content subtype other than protobuf.
pub const CARRIED_SUBTYPE: &str = "ripcord-subtype";
/// The parts that were cut to keep a frame's strings within bounds. For information only.
pub const CUT: &str = "ripcord-cut";
/// Prefix, followed by its number, of an int key that ripcord has no use for (log id, cluster,
/// ...). It travels so as an ordinary entry.
pub const PREFIX_INT: &str = "ripcord-int-";

/// Int keys that this hop writes itself, or that are about one connection. They are never forwarded
/// as they came.
pub(crate) const fn is_own_int(key: u16) -> bool {
    matches!(
        key,
        TRANSPORT_TYPE
            | FROM_SERVICE
            | TO_SERVICE
            | TO_METHOD
            | RPC_TIMEOUT
            | MESSAGE_TYPE
            | FRAME_TYPE
    )
}

/// String keys with a meaning for the receiver. No user's entry may be written under them.
pub(crate) fn is_reserved(key: &[u8]) -> bool {
    const NAMES: [&str; 9] = [
        IDL_SERVICE,
        CANCELED_PATH,
        BIZ_STATUS,
        BIZ_MESSAGE,
        BIZ_EXTRA,
        CONNECTION_RESET,
        "rip",
        "tc",
        "ti",
    ];
    key.is_empty()
        || NAMES.iter().any(|name| key == name.as_bytes())
        || starts_with_no_case(key, PREFIX_RIPCORD)
}

/// Whether `key` begins with the ASCII prefix, in any case.
pub(crate) fn starts_with_no_case(key: &[u8], prefix: &[u8]) -> bool {
    key.get(..prefix.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}
