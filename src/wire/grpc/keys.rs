//! Header names of gRPC over HTTP/2, each with its rule.
//!
//! The sources are PROTOCOL-HTTP2.md and Kitex `pkg/remote/trans/nphttp2`. The `ripcord-*` names
//! are this crate's own: ripcord reads them, other peers ignore them.

/// The number of the status, in trailers.
pub const STATUS: &str = "grpc-status";
/// The text of the status, percent-encoded.
pub const MESSAGE: &str = "grpc-message";
/// A whole `google.rpc.Status`, base64. In Kitex it replaces code and text, so all three must
/// agree.
pub const DETAILS: &str = "grpc-status-details-bin";
/// The time that remains: at most 8 digits and a unit.
pub const TIMEOUT: &str = "grpc-timeout";
/// How messages whose flag is 1 are compressed.
pub const ENCODING: &str = "grpc-encoding";
/// Kitex business error, in trailers: i32, never 0. Counts only beside a status other than OK.
pub const BIZ_STATUS: &str = "biz-status";
/// Kitex business error: a JSON object of strings.
pub const BIZ_EXTRA: &str = "biz-extra";
/// The caller's service name, from Kitex's HTTP2 meta handler and from other ripcords.
pub const SOURCE_SERVICE: &str = "source-service";

/// The names by which a request came: the caller's first, then each hop's. In the form of [`PATH`],
/// at most about 512 bytes. It is on every request that ripcord sends. So the path of a cancel
/// survives where nothing else carries it: RST_STREAM, and proxies that are not ripcord.
pub const HOPS: &str = "ripcord-hops";

/// Beside [`HOPS`] and [`TIMEOUT`]: which of those names set the limit, and how many there are
/// (`1/2`). The path of a cancel at the deadline begins with it.
pub const LIMIT: &str = "ripcord-limit";

/// What the ripcord that wrote [`HOPS`] beside it reads: `plain-ends;hops=37`. It reads own ends of a
/// hop in the plain wording too. The number is the length of that header in bytes: a ripcord
/// that does not know this field hands it on, but not the header beside it as it was. It is not
/// written beside a list that is nearly full.
pub const READS: &str = "ripcord-reads";

/// The stream's name in the cancel details of the control stream (`wire/grpc/hop.rs`), 16 hex
/// digits. Only on requests to a backend that is marked `hop: ripcord`.
pub const STREAM: &str = "ripcord-stream";

/// Prefix of metainfo for the whole chain. Matches without case; `-` stands for `_`.
pub const PREFIX_PERSIST: &str = "rpc-persist-";
/// Prefix of metainfo for one hop.
pub const PREFIX_TRANSIT: &str = "rpc-transit-";

/// Prefix of names that only ripcord writes.
pub const PREFIX_RIPCORD: &str = "ripcord-";
/// What the end was on TTHeader: [`END_RST`], [`END_STATUS`], [`END_EXCEPTION`]. For a refusal by a
/// hop it is the refusal's name (`no_route`).
pub const END: &str = "ripcord-end";
/// [`END`]: a Rst. `grpc-message` is what Kitex prints of it.
pub const END_RST: &str = "rst";
/// [`END`]: a gRPC callee's CANCELLED, with the path that it took since. `grpc-message` is the
/// callee's own.
pub const END_STATUS: &str = "status";
/// [`END`]: a Trailer with an exception. `grpc-message` is what Kitex prints of it.
pub const END_EXCEPTION: &str = "exception";
/// The Rst's cause or the exception's type.
pub const CODE: &str = "ripcord-code";
/// The canceled path as in `ttscp`, percent-encoded like `grpc-message`.
pub const PATH: &str = "ripcord-path";
/// The class of a cancel, if it is not 12009.
pub const CLASS: &str = "ripcord-class";
/// Present and empty when the text is empty: `grpc-message` then has a default text.
pub const TEXT: &str = "ripcord-text";
/// `no`, `maybe` or `yes`, if the other fields would mean another value.
pub const PROCESSED: &str = "ripcord-processed";
/// The exact entries (`Metadata::pack`) of those that HTTP headers cannot hold.
pub const META: &str = "ripcord-meta-bin";
/// The exact keys (`Metadata::pack`, without values) of entries of which HTTP headers cannot hold
/// the key, and for which [`META`] has no room.
pub const NAMES: &str = "ripcord-names-bin";
/// The exact `biz-extra`, if it is not printable ASCII.
pub const EXTRA: &str = "ripcord-biz-extra-bin";
/// On a request: the caller's name, if [`SOURCE_SERVICE`] cannot hold it as it is. Counts if that
/// is what ripcord writes for it.
pub const FROM: &str = "ripcord-from-bin";
/// On a request: whom it addresses, if that is not a valid authority. Counts if `:authority` is
/// what ripcord writes instead.
pub const TO: &str = "ripcord-to-bin";
/// On a request: service and method with a NUL between, if `:path` needs escapes for them. Counts
/// if `:path` is how ripcord writes them.
pub const CALL: &str = "ripcord-call-bin";
/// The parts that were cut to keep a head or the trailers within bounds, and the names of cut fields
/// (`stream::Cut`).
pub const CUT: &str = "ripcord-cut";

/// Reserved `grpc-` names that are passed on all the same: they are about the call, not about one
/// hop of it.
const PASSED: [&str; 5] = [
    "grpc-accept-encoding",
    "grpc-previous-rpc-attempts",
    "grpc-retry-pushback-ms",
    "grpc-tags-bin",
    "grpc-trace-bin",
];

/// Whether this wire gives the name a meaning. Such a name neither becomes metadata nor is written
/// from it. Expects lower case.
pub(crate) fn is_reserved(name: &str) -> bool {
    if name.starts_with("grpc-") {
        return !PASSED.contains(&name);
    }
    name.starts_with(':')
        || matches!(
            name,
            "" | "te"
                | "content-type"
                | "content-length"
                | "host"
                | "connection"
                | "keep-alive"
                | "proxy-connection"
                | "proxy-authenticate"
                | "proxy-authorization"
                | "trailer"
                | "transfer-encoding"
                | "upgrade"
                | "http2-settings"
                | "biz-status"
                | "biz-extra"
        )
}

/// Whether ripcord writes `name` beside an end or a head.
pub(crate) fn is_carried(name: &str) -> bool {
    matches!(
        name,
        HOPS | LIMIT
            | READS
            | STREAM
            | END
            | CODE
            | PATH
            | CLASS
            | TEXT
            | PROCESSED
            | META
            | NAMES
            | EXTRA
            | FROM
            | TO
            | CALL
            | CUT
    )
}

/// Names of headers that are on most streams, parsed at compile time.
pub(crate) mod names {
    use http::HeaderName;

    pub(crate) const STATUS: HeaderName = HeaderName::from_static(super::STATUS);
    pub(crate) const MESSAGE: HeaderName = HeaderName::from_static(super::MESSAGE);
    pub(crate) const TIMEOUT: HeaderName = HeaderName::from_static(super::TIMEOUT);
    pub(crate) const ENCODING: HeaderName = HeaderName::from_static(super::ENCODING);
    pub(crate) const SOURCE_SERVICE: HeaderName = HeaderName::from_static(super::SOURCE_SERVICE);
    pub(crate) const HOPS: HeaderName = HeaderName::from_static(super::HOPS);
    pub(crate) const LIMIT: HeaderName = HeaderName::from_static(super::LIMIT);
    pub(crate) const READS: HeaderName = HeaderName::from_static(super::READS);
    pub(crate) const STREAM: HeaderName = HeaderName::from_static(super::STREAM);
}
