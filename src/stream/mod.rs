//! The neutral stream model: the parts of a stream, whatever wire carries it.
//!
//! A stream is a [`RequestHead`], messages, a half-close, and one [`End`]. The callee's half has a
//! [`ResponseHead`] before its messages. A wire (`crate::wire::grpc`, `crate::wire::ttheader`)
//! translates between its frames and these values, and knows no other wire. The bridge moves these
//! values and knows no wire at all. This folder uses `std` and `bytes` only.

mod accept;
mod cancel;
mod codes;
mod cut;
mod end;
mod half;
mod head;
mod hops;
mod message;
mod metadata;
mod pack;
mod wire;

pub use accept::{Acceptor, OpenError};
pub use cancel::{Cancel, CancelSignal, Cause, Class, MAX_PATH_NAMES, NON_TTSTREAM, Path, code};
pub use codes::{Code, TtCode, TypeId, UNKNOWN_METHOD, default_text};
pub use cut::{Cut, MARK, Part, shorten};
pub use end::{
    Business, End, Exception, Failure, Initiator, LimitOwner, LocalEnd, LocalEndKind, Processed,
    Reason, Status,
};
pub use half::{Forget, Half, Inbound, NativeCode, Outbound, Received};
pub use head::{Payload, PayloadNaming, RequestHead, ResponseHead};
pub use hops::Hops;
pub use message::{Advance, Boundary, GATHER_BELOW, Message, MessageBatch, PREFIX};
pub use metadata::{Entry, Metadata, Scope};
pub use pack::ENTRY as PACKED_ENTRY;
pub use wire::{Codes, Propagation, Wire};
