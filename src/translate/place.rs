//! Places in IDL files, and what is found there.

use std::fmt;
use std::sync::Arc;

/// A place in an IDL file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file, as the schema or an include names it.
    pub file: Arc<str>,
    /// From 1. 0: the place within the file is not known (a descriptor set without source info).
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column),
        }
    }
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Values can fail to pass, and each failure ends its stream with a clear error.
    Note,
    /// Something is lost without an error. `ripcord check --strict` makes it an error.
    Warning,
    /// The schema cannot be used.
    Error,
}

/// Something that a reader of the two IDLs should know, before there is traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is, and what to do.
    pub text: String,
    /// Where, in one or both files. The protobuf side comes first.
    pub places: Vec<Place>,
}
