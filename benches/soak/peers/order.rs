//! What a caller orders of the callee, in a metadata entry of its request, and the ends that can be
//! ordered.

use bytes::Bytes;
use ripcord::stream::{
    Business, Cancel, CancelSignal, Cause, Class, End, Exception, Failure, Initiator, Metadata,
    Path, Scope, Status,
};

use super::Wire;

/// The text of a TTHeader peer's cancel.
pub(crate) const TEXT: &str = "soak";
pub(crate) const CAUSE: i32 = 12007;
/// The peers' names.
pub(crate) const CALLER: &str = "caller";
pub(crate) const CALLEE: &str = "callee";

const KEY: &str = "x-soak";
const TRAILER: &str = "x-soak-trailer";

/// One stream's order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    /// Names the stream, at both ends.
    pub(crate) token: u64,
    /// Of the contents.
    pub(crate) seed: u64,
    /// Messages that the callee sends, where it does not echo.
    pub(crate) count: u64,
    /// Bytes of each.
    pub(crate) size: usize,
    /// Milliseconds between two.
    pub(crate) pause: u64,
    pub(crate) ending: Ending,
}

/// How the callee ends a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Complete,
    /// A gRPC status, or an exception, of that number.
    Failed(u32),
    Business(u32),
    /// It cancels: Rst, or the status CANCELLED.
    Cancel,
}

impl Ending {
    fn parts(self) -> (u32, u32) {
        match self {
            Self::Complete => (0, 0),
            Self::Failed(code) => (1, code),
            Self::Business(code) => (2, code),
            Self::Cancel => (3, 0),
        }
    }

    fn from_parts(kind: u32, code: u32) -> Self {
        match kind {
            0 => Self::Complete,
            1 => Self::Failed(code),
            2 => Self::Business(code),
            _ => Self::Cancel,
        }
    }

    /// The end as a callee of that wire sends it.
    pub(crate) fn end(self, wire: Wire, token: u64) -> End {
        let mut trailers = Metadata::new();
        trailers.push(Scope::Plain, TRAILER, token.to_string());
        let text = format!("as ordered by {token}");
        let failure = match (self, wire) {
            (Self::Complete, _) => return End::complete(trailers),
            (Self::Cancel, Wire::TtHeader) => {
                return End::canceled(Initiator::Callee, cancel(CALLEE, Class::ByCallee));
            }
            (Self::Cancel, Wire::Grpc) => {
                let mut cancel = cancel(CALLEE, Class::Foreign);
                cancel.signal = CancelSignal::STATUS;
                cancel.status = Some(Box::new(status(1, TEXT)));
                return End::canceled(Initiator::Callee, cancel);
            }
            (Self::Failed(code), Wire::Grpc) => Failure::Status(status(code, &text)),
            (Self::Failed(code), Wire::TtHeader) => Failure::Exception(Exception {
                type_id: code as i32,
                text,
            }),
            (Self::Business(code), _) => Failure::Business(Business {
                code: code as i32,
                text: text.clone(),
                extra: Some(Bytes::from_static(br#"{"k":"v"}"#)),
                status: (wire == Wire::Grpc).then(|| status(13, &text)),
            }),
        };
        End::failed(failure, trailers)
    }
}

fn status(code: u32, message: &str) -> Status {
    Status {
        code,
        message: message.to_owned(),
        details: None,
    }
}

/// A cancel as its originator sends it.
pub(crate) fn cancel(who: &str, class: Class) -> Cancel {
    Cancel {
        cause: Cause {
            code: CAUSE,
            text: TEXT.to_owned(),
        },
        path: Path::from_origin(who),
        class,
        signal: CancelSignal::named("rst"),
        status: None,
    }
}

impl Order {
    pub(crate) fn write(&self, metadata: &mut Metadata) {
        let (kind, code) = self.ending.parts();
        let text = format!(
            "{} {} {} {} {} {kind} {code}",
            self.token, self.seed, self.count, self.size, self.pause
        );
        metadata.push(Scope::Plain, KEY, text);
    }

    pub(crate) fn read(metadata: &Metadata) -> Option<Self> {
        let text = metadata.get(Scope::Plain, KEY)?;
        let numbers: Option<Vec<u64>> = std::str::from_utf8(text)
            .ok()?
            .split(' ')
            .map(|n| n.parse().ok())
            .collect();
        let [token, seed, count, size, pause, kind, code] = numbers?[..] else {
            return None;
        };
        Some(Self {
            token,
            seed,
            count,
            size: size as usize,
            pause,
            ending: Ending::from_parts(kind as u32, code as u32),
        })
    }

    /// Whether those are the trailers of this stream.
    pub(crate) fn has_trailer(&self, trailers: &Metadata) -> bool {
        trailers.get(Scope::Plain, TRAILER).map(|v| &v[..])
            == Some(self.token.to_string().as_bytes())
    }
}
