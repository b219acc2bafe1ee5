//! Checks every message of a stream and refuses one that is not what its route requires.
//!
//! A check changes nothing, so messages pass as they lie. Unlike a [`crate::bridge::Stage`] it
//! receives whole batches. A direction without a check pays one branch for each batch.

use crate::bridge::StageError;
use crate::bridge::thrift::{Pieces, Walker};
use crate::stream::{LocalEndKind, MessageBatch, PREFIX};

/// What every message of a stream must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// A thrift struct in the binary protocol.
    ThriftStruct,
}

/// The check of one direction, with the state of its walker.
#[derive(Debug)]
pub(super) struct Checker {
    walker: Walker,
    /// The local end that a bad message causes.
    kind: LocalEndKind,
    /// Whose messages these are, for the text of that end: `the caller's`, `the callee's`.
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

    /// Checks every message of `run`.
    pub(super) fn look(&mut self, run: &MessageBatch) -> Result<(), StageError> {
        let mut pieces = Pieces::new(run.pieces());
        while let Some([flag, length @ ..]) = pieces.take::<PREFIX>() {
            self.messages += 1;
            let whose = self.whose;
            let refuse = |why: &dyn std::fmt::Display| {
                let number = self.messages;
                let text = format!("{whose} message {number} is not a thrift struct: {why}");
                StageError::new(self.kind, text)
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
