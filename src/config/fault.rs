//! What is wrong in a configuration file, and where.
//!
//! A fault is printed as one line: `file:line:column: path: what is wrong, what is allowed`. Knows
//! nothing of YAML or of the schema.

use std::fmt;

/// A place in the file. Lines and columns count from 1, in characters. Line 0 is the whole file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line, from 1; 0 for the whole file.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// Whether a file with this fault can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but probably does not say what was meant.
    Warning,
    /// Nothing is wrong. It is good to know.
    Note,
}

/// One mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, if it is another one than the configuration: an IDL file.
    pub file: Option<String>,
    /// Where in the file it is.
    pub place: Place,
    /// The key, from the root: `backends.chat.protocol`. Empty for the file as a whole.
    pub path: String,
    /// Whether the file can be used with it.
    pub severity: Severity,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl Fault {
    /// An error that concerns the file as a whole.
    pub(crate) fn whole(message: String) -> Self {
        Self {
            file: None,
            place: Place::default(),
            path: String::new(),
            severity: Severity::Error,
            message,
        }
    }
}

/// All faults of one file, sorted by place. Printed one per line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    file: String,
    list: Vec<Fault>,
}

impl Faults {
    pub(crate) fn new(file: &str, mut list: Vec<Fault>) -> Self {
        let key = |fault: &Fault| (fault.file.clone(), fault.place, fault.path.clone());
        list.sort_by_cached_key(key);
        Self {
            file: file.to_owned(),
            list,
        }
    }

    /// One error that concerns the file as a whole.
    pub(crate) fn whole_file(file: &str, message: String) -> Self {
        Self::new(file, vec![Fault::whole(message)])
    }

    /// The faults, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.list.iter()
    }

    /// The printed lines, each with the file's name.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.list.iter().map(|fault| {
            let colon = if fault.place.line > 0 { ":" } else { ": " };
            format!(
                "{}{colon}{fault}",
                fault.file.as_ref().unwrap_or(&self.file)
            )
        })
    }

    /// The number of faults, warnings included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is no fault and no warning.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The faults of another look at the same file are added.
    pub(crate) fn add(&mut self, more: Vec<Fault>) {
        let mut list = std::mem::take(&mut self.list);
        list.extend(more);
        *self = Self::new(&self.file, list);
    }

    /// Whether there is a warning or an error.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        self.list.iter().any(|f| f.severity != Severity::Note)
    }

    /// Whether the file cannot be used.
    #[must_use]
    pub fn fatal(&self) -> bool {
        self.list.iter().any(|f| f.severity == Severity::Error)
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.line > 0 {
            write!(f, "{}:{}: ", self.place.line, self.place.column)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        match self.severity {
            Severity::Error => {}
            Severity::Warning => f.write_str("warning: ")?,
            Severity::Note => f.write_str("note: ")?,
        }
        f.write_str(&self.message)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, line) in self.lines().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&line)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// How many characters of a value a message shows.
const SHOWN: usize = 64;

/// A value from the file, in quotes, on one line, and not too long.
pub(crate) fn quote(value: &str) -> String {
    format!("\"{}\"", shown(value))
}

/// The same without quotes, for a path.
pub(crate) fn shown(value: &str) -> String {
    let mut out: String = value.chars().take(SHOWN).collect();
    if out.len() < value.len() {
        out.push_str("...");
    }
    out.escape_debug().to_string().replace("\\'", "'")
}

/// The candidate that was probably meant by `value`.
pub(crate) fn suggestion<'a>(value: &str, allowed: &[&'a str]) -> Option<&'a str> {
    if value.len() > SHOWN {
        return None;
    }
    allowed
        .iter()
        .map(|a| (distance(value, a), *a))
        .filter(|(d, a)| *d <= a.len().div_ceil(3).min(3))
        .min_by_key(|(d, _)| *d)
        .map(|(_, a)| a)
}

/// The edit distance, where swapping two neighbours counts as one edit.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).collect();
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let at = |row: &[usize], i: usize| row.get(i).copied().unwrap_or(usize::MAX / 2);
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (at(&last, j + 1) + 1)
                .min(at(&row, j) + 1)
                .min(at(&last, j) + usize::from(x != y));
            if i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x) {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    at(&last, b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("grpc", "grcp"), 1);
        assert_eq!(distance("grpc", "grpc"), 0);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("Auto", "auto"), 0);
        assert_eq!(suggestion("grcp", &["grpc", "ttheader"]), Some("grpc"));
        assert_eq!(suggestion("http", &["grpc", "ttheader"]), None);
    }

    #[test]
    fn a_value_is_shown_on_one_short_line() {
        assert_eq!(quote("a\nb's"), "\"a\\nb's\"");
        assert_eq!(shown(&"x".repeat(100)).len(), SHOWN + 3);
    }

    #[test]
    fn lines() {
        let fault = |line, path: &str, severity| Fault {
            file: None,
            place: Place { line, column: 3 },
            path: path.to_owned(),
            severity,
            message: "odd".to_owned(),
        };
        let faults = Faults::new(
            "f.yaml",
            vec![
                fault(9, "b", Severity::Warning),
                fault(2, "a", Severity::Error),
            ],
        );
        assert_eq!(
            faults.to_string(),
            "f.yaml:2:3: a: odd\nf.yaml:9:3: b: warning: odd"
        );
        assert!(faults.fatal());
        assert_eq!(
            Faults::whole_file("f.yaml", "gone".to_owned()).to_string(),
            "f.yaml: gone"
        );
    }
}
