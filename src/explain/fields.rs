//! The names of fields that people read in the access log and in trailers: what they hold.

/// One field.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// In the access log first, then as it is called elsewhere.
    pub(super) names: &'static [&'static str],
    pub(super) means: &'static str,
    pub(super) advice: &'static str,
}

/// All of them.
pub(super) const FIELDS: &[Field] = &[
    Field {
        names: &["class", "ripcord-class", "ripcord.cancel.class"],
        means: "which way a cancel came: 12009 by_callee, 12010 by_caller, or 12011 foreign (over another protocol)",
        advice: "Read `cause` and `path` for the reason; the class only tells the direction.",
    },
    Field {
        names: &["processed", "ripcord-processed", "ripcord.end.processed"],
        means: "whether the callee acted on the call: no, maybe or yes",
        advice: "Retry where it is `no`; where it is `maybe`, retry only what may happen twice.",
    },
    Field {
        names: &["retries", "ripcord.retries"],
        means: "1 when the stream was opened again, since its first callee did not look at it",
        advice: "Look at the first callee: it refused the stream, or was going away (a rollout, overload).",
    },
    Field {
        names: &["origin", "ripcord.cancel.origin"],
        means: "who canceled first: the first name of the canceled path",
        advice: "Look at that application or ripcord. `non-ttstream path` is a gRPC peer that gave no name.",
    },
    Field {
        names: &["path", "ripcord.cancel.path"],
        means: "the canceled path: who canceled first, then each hop that handed the cancel on",
        advice: "Look at the first name for the reason; the others only handed it on.",
    },
    Field {
        names: &["how", "ripcord.cancel.how"],
        means: "as what a cancel came to this hop: reset, rst, trailer, status, connection_lost or own",
        advice: "Explain the value, e.g. ripcord explain how=reset.",
    },
    Field {
        names: &["by", "ripcord.end.by", "ripcord.cancel.by"],
        means: "from which side of this hop the end came: caller, callee or hop (this ripcord itself)",
        advice: "Go on at that side; for `hop` look at `error_type`.",
    },
    Field {
        names: &["ripcord-code"],
        means: "the end's number on TTHeader: a Rst's cause (12001 to 12015) or an exception's type. It is no gRPC \
                status: 9 beside `ripcord-end: payload_mismatch` is thrift's INVALID_PROTOCOL",
        advice: "Read it with `ripcord-end`: `rst` has a cause, `exception` and a refusal's name have an exception's \
                 type. The gRPC status is `grpc-status`.",
    },
    Field {
        names: &["ripcord-cut"],
        means: "what a ripcord cut so that its caller can take the head or the end: exact, headers, trailers, details, \
                extra, path, text; then the names of cut headers and trailers (names=a;b)",
        advice: "Send less, or raise `max_head` on the listener where all its callers take more. `details` alone may \
                 mean that the callee's details contradict its status.",
    },
    Field {
        names: &["ripcord-end"],
        means: "what the end was on TTHeader: rst, status (a gRPC callee's CANCELLED), exception, or the name of a \
                refusal by a ripcord (no_route)",
        advice: "Explain the name of a refusal; else read `ripcord-code` and `ripcord-path`.",
    },
    Field {
        names: &["ripcord-path"],
        means: "the canceled path in gRPC trailers: who canceled first, then each hop, with commas between",
        advice: "Look at the first name for the reason; the others only handed it on.",
    },
];

/// The field of that name.
pub(super) fn find(name: &str) -> Option<&'static Field> {
    let named = |field: &&Field| field.names.contains(&name);
    FIELDS.iter().find(named)
}

impl Field {
    /// Its first name.
    pub(super) fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }
}
