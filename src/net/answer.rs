//! What a callee says first on a connection. One that speaks another protocol than the connection
//! was dialed for is told by these bytes. The wire, which cannot read them, gets an error that says
//! so, in place of the bytes.
//!
//! Owns the first bytes until they are judged, and the error. Knows no protocol: who dials judges.

use std::fmt;
use std::io;

/// What a judge makes of a connection's first bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// More bytes are needed.
    More,
    /// They are the wire's to read; the connection is not looked at again.
    Expected,
    /// They are not. The text is the connection's error from now on.
    Refused(String),
}

/// Judges what a callee says first.
pub trait FirstAnswer: Send {
    /// `first` is everything that came so far. `closed` says that nothing more comes.
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

    /// Takes what was read. Returns whether the connection is well from now on.
    ///
    /// # Errors
    /// It is refused.
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
