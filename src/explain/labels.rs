//! The words of metrics, access log and spans that are no codes: what they mean, and what to do.

/// One word, with its meaning and advice.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Label {
    /// The field or label that has this value.
    pub(super) field: &'static str,
    pub(super) value: &'static str,
    pub(super) means: &'static str,
    pub(super) advice: &'static str,
}

const fn label(
    field: &'static str,
    value: &'static str,
    means: &'static str,
    advice: &'static str,
) -> Label {
    Label {
        field,
        value,
        means,
        advice,
    }
}

/// All words. A test compares them with the values that streams can have.
pub(super) const LABELS: &[Label] = &[
    label(
        "end",
        "complete",
        "the callee finished the stream with success",
        "Nothing.",
    ),
    label(
        "end",
        "failed",
        "the callee answered with an error: a status, an exception or a business error",
        "Look at the callee. `error_type` and `text` say which error it was; ripcord only passed it on.",
    ),
    label(
        "end",
        "canceled",
        "the caller or the callee canceled before the stream was over",
        "Look at `origin`, who canceled first, then at `cause`. Cancels of users are normal.",
    ),
    label(
        "end",
        "hop",
        "this ripcord ended the stream itself",
        "Look at `error_type`: it names the limit, the timeout, the route or the backend.",
    ),
    label(
        "by",
        "caller",
        "the end came from the caller's side of this hop",
        "Follow the path toward the caller: its first name is who canceled.",
    ),
    label(
        "by",
        "callee",
        "the end came from the callee's side of this hop",
        "Look at the endpoint of the access log line: the callee, or the next ripcord.",
    ),
    label(
        "by",
        "hop",
        "this ripcord decided on the end",
        "Look at `error_type`, and explain that word.",
    ),
    label(
        "processed",
        "no",
        "the callee did not see the call",
        "It is safe to retry.",
    ),
    label(
        "processed",
        "maybe",
        "the callee may have acted on the call",
        "Retry only what may happen twice.",
    ),
    label(
        "processed",
        "yes",
        "the callee acted on the call and answered",
        "Do not retry blindly: the answer is the callee's own.",
    ),
    label(
        "class",
        "by_caller",
        "12010: a Rst came from the caller's side",
        "Look at the first name of the path.",
    ),
    label(
        "class",
        "by_callee",
        "12009: a Rst came from the callee's side",
        "Look at the first name of the path.",
    ),
    label(
        "class",
        "foreign",
        "12011: the cancel came over another protocol, for ripcord gRPC",
        "Look at `how` and at the first name of the path.",
    ),
    label(
        "how",
        "reset",
        "the cancel came as a RST_STREAM",
        "Normal when a gRPC caller cancels. The path says which caller.",
    ),
    label(
        "how",
        "rst",
        "the cancel came as a Rst frame",
        "Look at `cause` and at the first name of the path.",
    ),
    label(
        "how",
        "trailer",
        "a TTHeader caller gave up with a Trailer that has an error",
        "Look at `text`: it is what the caller's application said.",
    ),
    label(
        "how",
        "status",
        "a gRPC callee canceled with the status CANCELLED",
        "Look at the callee, or at the `origin` if the callee is another ripcord.",
    ),
    label(
        "how",
        "connection_lost",
        "a connection was lost: nobody decided on this",
        "Look for a crash, a kill without drain or a network fault at the first name of the path.",
    ),
    label(
        "how",
        "own_end",
        "another ripcord, with gRPC on both its sides, ended the stream",
        "Look at the access log of the first name of the path: its `error_type` says why.",
    ),
    label(
        "how",
        "own",
        "a ripcord decided on it",
        "Look at the access log of the first name of the path: its `error_type` says why.",
    ),
    label(
        "error_type",
        "status_other",
        "a gRPC status that the specification does not have",
        "Look at `status` in the access log, then at the callee's code: it is the callee's own number.",
    ),
    label(
        "error_type",
        "exception_other",
        "an exception type that neither thrift nor Kitex has",
        "Look at `code` and `text` in the access log, then at the callee's code.",
    ),
    label(
        "kind",
        "tls",
        "a peer speaks TLS, which ripcord does not",
        "Outbound: use a port without TLS, `/config` names the endpoint. Inbound: the log has the peer's address.",
    ),
    label(
        "kind",
        "http1",
        "a peer speaks HTTP/1",
        "Outbound: use the port that speaks the backend's protocol. Inbound: a scanner or a health check of the wrong kind.",
    ),
    label(
        "kind",
        "other_wire",
        "a peer speaks the other protocol of ripcord",
        "Outbound: correct the backend's `protocol`. Inbound: correct the listener's, or use `auto`.",
    ),
    label(
        "kind",
        "foreign",
        "a connection's first bytes are of no protocol that ripcord knows",
        "Look at the peer's address in the log: a scanner, or a client of the wrong kind.",
    ),
    label(
        "kind",
        "truncated",
        "a connection closed before its first bytes showed a protocol",
        "A port check does that. Nothing, if it is one.",
    ),
    label(
        "kind",
        "handshake_timeout",
        "a connection stayed silent, or did not finish its handshake in time",
        "Look at the peer; `limits.handshake_timeout` is the limit.",
    ),
    label(
        "kind",
        "keepalive",
        "a peer did not answer a keepalive PING",
        "Look for a network fault, or a peer that hangs.",
    ),
    label(
        "kind",
        "unread",
        "a peer did not read while a cancel or an end waited for it",
        "Look at the peer: it hangs or is overloaded; `limits.cancel_grace` is the limit.",
    ),
    label(
        "kind",
        "not_grpc",
        "an HTTP/2 request that is not gRPC",
        "Look at the log at debug: `request refused` has method, path and content type.",
    ),
    label(
        "kind",
        "malformed_request",
        "a request that the HTTP/2 layer refused: RST_STREAM(PROTOCOL_ERROR)",
        "Look at the log: `request refused` has the peer. Give the client a host as authority.",
    ),
    label(
        "kind",
        "flood",
        "a peer sent more frames than allowed that are errors, or parts of one header block",
        "Look at the peer's address in the log; the larger of `limits.max_resets` and twice `limits.max_streams_per_connection` is the limit of errors.",
    ),
    label(
        "kind",
        "resets",
        "a caller reset more streams than allowed before ripcord had looked at them",
        "Look at the caller's address in the log; `limits.max_resets` is the limit.",
    ),
    label(
        "kind",
        "empty_frames",
        "a peer sent its 101st empty DATA frame that does not end a stream, and lost its connection",
        "Look at the peer's library: such a frame carries nothing.",
    ),
    label(
        "kind",
        "malformed_field",
        "a peer sent an HTTP/2 field with a forbidden character, and lost its connection with all streams",
        "The log names the peer, the stream and the field. Correct the application that writes it.",
    ),
    label(
        "kind",
        "protocol",
        "a peer broke the rules of HTTP/2 frames (PROTOCOL_ERROR)",
        "Look at the peer's library and version.",
    ),
    label(
        "kind",
        "flow_control",
        "a peer sent more than its HTTP/2 window",
        "Look at the peer's library and version.",
    ),
    label(
        "kind",
        "frame_size",
        "a peer sent an HTTP/2 frame of a wrong size",
        "Look at the peer's library and version.",
    ),
    label(
        "kind",
        "compression",
        "a peer sent headers that HPACK cannot decode",
        "Look at the peer's library and version.",
    ),
    label(
        "cause",
        "other",
        "a cause that is none of 12001 to 12015: some proxy chose the number",
        "Look at `cause` in the access log, and at the first name of the path for who sent it.",
    ),
];

/// The words with that value; only those of `field` if it is known.
pub(super) fn find(field: Option<&str>, value: &str) -> impl Iterator<Item = &'static Label> {
    LABELS.iter().filter(move |label| {
        label.value.eq_ignore_ascii_case(value) && field.is_none_or(|field| label.field == field)
    })
}
