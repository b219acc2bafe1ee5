//! Recognizes a callee that speaks another protocol than its connection was dialed for, by the
//! first bytes that it sends. The wire could not read these bytes. It gets an error that names the
//! protocol instead.
//!
//! The first bytes and the error are here. Whoever dials brings the judge: no protocol is known
//! here.

use std::fmt;
use std::io;

/// What a judge decides about a connection's first bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// More bytes are needed.
    More,
    /// They are for the wire. The connection is not judged again.
    Expected,
    /// They are not for the wire. The text is the connection's error from now on.
    Refused(String),
}

/// Judges the first bytes that a callee sends.
pub trait FirstAnswer: Send {
    /// `first` is everything that came so far. `closed` means that nothing more comes.
    fn judge(&mut self, first: &[u8], closed: bool) -> Verdict;
}

/// A connection that is not judged yet.
pub(super) struct Unjudged {
    judge: Box<dyn FirstAnswer>,
    first: Vec<u8>,
    refused: Option<String>,
}

impl Unjudged {
    pub(super) fn new(judge: Box<dyn FirstAnswer>) -> Self {
        Self {
            judge,
            first: Vec::new(),
            refused: None,
        }
    }

    /// Everything that came so far.
    pub(super) fn first(&self) -> &[u8] {
        &self.first
    }

    /// The error of a connection that was refused.
    pub(super) fn refused(&self) -> Option<io::Error> {
        self.refused.clone().map(io::Error::other)
    }

    /// Takes what was read. Returns true when the connection is accepted and need not be judged
    /// again.
    ///
    /// # Errors
    /// The connection is refused.
    pub(super) fn heard(&mut self, bytes: &[u8], closed: bool) -> io::Result<bool> {
        self.first.extend_from_slice(bytes);
        match self.judge.judge(&self.first, closed) {
            Verdict::More => Ok(false),
            Verdict::Expected => Ok(true),
            Verdict::Refused(text) => {
                self.refused = Some(text.clone());
                Err(io::Error::other(text))
            }
        }
    }
}

impl fmt::Debug for Unjudged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unjudged")
            .field("first", &self.first)
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}
