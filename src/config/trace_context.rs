//! `trace_context` of a backend: in which forms its callees receive the trace context.

use super::walk::{NodeRef, Walk};
use super::yaml::Kind;

/// The forms that are written for a backend's callees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// W3C `traceparent` and `tracestate`.
    pub w3c: bool,
    /// `b3` in one field.
    pub b3: bool,
    /// `x-b3-traceid`, `x-b3-spanid` and `x-b3-sampled`.
    pub b3multi: bool,
}

impl Default for TraceContext {
    fn default() -> Self {
        Self {
            w3c: true,
            ..Self::NONE
        }
    }
}

impl TraceContext {
    const NONE: Self = Self {
        w3c: false,
        b3: false,
        b3multi: false,
    };

    /// The words of the forms that are written, in a fixed order.
    pub(super) fn words(self) -> Vec<&'static str> {
        let all = [
            ("w3c", self.w3c),
            ("b3", self.b3),
            ("b3multi", self.b3multi),
        ];
        let on = all.into_iter().filter(|(_, on)| *on);
        on.map(|(word, _)| word).collect()
    }

    /// Reads a list of forms, or one of them.
    pub(super) fn read(walk: &mut Walk, at: &NodeRef<'_>) -> Option<Self> {
        let items = match &at.node.kind {
            Kind::Scalar { .. } if !at.node.is_null() => vec![at.clone()],
            Kind::Scalar { .. } | Kind::List(_) | Kind::Map(_) => {
                walk.list(at, "trace_context: [w3c, b3]")?
            }
        };
        let words = [
            (
                "w3c",
                Self {
                    w3c: true,
                    ..Self::NONE
                },
            ),
            (
                "b3",
                Self {
                    b3: true,
                    ..Self::NONE
                },
            ),
            (
                "b3multi",
                Self {
                    b3multi: true,
                    ..Self::NONE
                },
            ),
        ];
        let mut all = Self::NONE;
        for item in items {
            let one = walk.choice(&item, "trace_context", &words)?;
            all.w3c |= one.w3c;
            all.b3 |= one.b3;
            all.b3multi |= one.b3multi;
        }
        Some(all)
    }
}
