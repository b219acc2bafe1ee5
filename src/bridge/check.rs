//! Looks at every message of a stream and refuses what is not what the route says that it is.
//!
//! A check changes nothing, so that messages pass as they lie: unlike a [`crate::bridge::Stage`] it
//! sees whole runs. A direction without one pays a branch per run.

use crate::bridge::StageError;
use crate::bridge::thrift::{Pieces, Walker};
use crate::stream::{LocalEndKind, MessageBatch, PREFIX};

/// What messages must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Thrift structs in the binary protocol.
    ThriftStruct,
}

/// One direction of a stream.
#[derive(Debug)]
pub(super) struct Checker {
    walker: Walker,
    /// The end that a bad message means.
    kind: LocalEndKind,
    /// Whose messages they are, in that end's text.
    whose: &'static str,
    messages: u64,
}

impl Checker {
    pub(super) fn new(check: Check, kind: LocalEndKind, whose: &'static str) -> Self {
        let Check::ThriftStruct = check;
        Self {
            walker: Walker::default(),
            kind,
            whose,
            messages: 0,
        }
    }

    /// Looks at every message of `run`.
    pub(super) fn look(&mut self, run: &MessageBatch) -> Result<(), StageError> {
        let mut pieces = Pieces::new(run.pieces());
        while let Some([flag, length @ ..]) = pieces.take::<PREFIX>() {
            self.messages += 1;
            let whose = self.whose;
            let refuse = |why: &dyn std::fmt::Display| StageError {
                kind: self.kind,
                text: format!(
                    "{whose} message {} is not a thrift struct: {why}",
                    self.messages
                ),
            };
            if flag != 0 {
                return Err(refuse(&"it is compressed, and no encoding was announced"));
            }
            let len = u32::from_be_bytes(length) as usize;
            let looked = self.walker.walk(&mut pieces, len);
            looked.map_err(|malformed| refuse(&malformed))?;
        }
        Ok(())
    }
}
