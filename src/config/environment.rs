//! What a file needs beyond its text: `${NAME}` in its values, and which folders exist.
//!
//! Here is the syntax of variables. Keys and comments have none. A value is expanded when it is
//! read, so that it cannot change what is around it. Knows nothing of places.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;

/// The most bytes that the values of one file may have after expansion, together.
pub(super) const MAX_EXPANDED: usize = super::yaml::MAX_BYTES;

/// Gives the value of a variable, by its name.
type Lookup = Box<dyn Fn(&str) -> Option<OsString>>;

/// The variables that values may name, and the folders that paths may use.
pub struct Environment {
    variable: Lookup,
    is_folder: fn(&Path) -> bool,
}

impl Environment {
    /// The variables of this process. Paths are not checked.
    #[must_use]
    pub fn process() -> Self {
        Self {
            variable: Box::new(|name| std::env::var_os(name)),
            is_folder: |_| true,
        }
    }

    /// These variables and no other. Paths are not checked.
    #[must_use]
    pub fn of(variables: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), OsString::from(value));
        let variables: Vec<(String, OsString)> = variables.iter().map(own).collect();
        let find = move |name: &str| {
            let (_, value) = variables.iter().find(|(known, _)| known == name)?;
            Some(value.clone())
        };
        Self {
            variable: Box::new(find),
            is_folder: |_| true,
        }
    }

    /// Adds a check of paths: one whose folder this machine does not have gets a warning.
    #[must_use]
    pub fn with_folders(self) -> Self {
        Self {
            is_folder: Path::is_dir,
            ..self
        }
    }

    /// Whether the folder of that path exists, so that a file can be created there.
    pub(super) fn has_folder_of(&self, path: &Path) -> bool {
        path.parent().is_none_or(self.is_folder)
    }

    /// The text with its variables replaced, in at most `room` bytes. The error never shows the
    /// value of a variable.
    pub(super) fn expand<'t>(&self, text: &'t str, room: usize) -> Result<Cow<'t, str>, String> {
        if !text.contains('$') {
            return Ok(Cow::Borrowed(text));
        }
        let (mut out, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            rest = if let Some(after) = after.strip_prefix('$') {
                out.push('$');
                after
            } else if let Some(after) = after.strip_prefix('{') {
                let (inside, after) = after.split_once('}').ok_or_else(|| spelling(after))?;
                out.push_str(&self.value(inside)?);
                after
            } else {
                out.push('$');
                after
            };
            if out.len() > room {
                return Err(format!(
                    "too long with its variables; allowed: {MAX_EXPANDED} bytes in the whole file"
                ));
            }
        }
        out.push_str(rest);
        Ok(Cow::Owned(out))
    }

    /// The value of `${inside}`.
    fn value(&self, inside: &str) -> Result<String, String> {
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let digit = name.starts_with(|c: char| c.is_ascii_digit());
        let nested = default.is_some_and(|default| default.contains("${"));
        if name.is_empty() || digit || nested || !name.bytes().all(word) {
            return Err(spelling(&format!("{inside}}}")));
        }
        let Some(value) = (self.variable)(name).filter(|v| default.is_none() || !v.is_empty())
        else {
            return default.map(str::to_owned).ok_or_else(|| {
                format!(
                    "the environment variable {name} is not set; \
                     set it, or give a default, e.g. ${{{name}:-value}}"
                )
            });
        };
        let not_text = |_| format!("the environment variable {name} is not UTF-8");
        value.into_string().map_err(not_text)
    }
}

impl Default for Environment {
    fn default() -> Self {
        Self::process()
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment(..)")
    }
}

fn spelling(inside: &str) -> String {
    let found = super::fault::quote(&format!("${{{inside}"));
    format!(
        "bad variable {found}; allowed: ${{NAME}}, ${{NAME:-default}}, or $$ for a dollar that stands for itself"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn expand(text: &str) -> Result<String, String> {
        let environment =
            Environment::of(&[("HOST", "10.0.0.1"), ("EMPTY", ""), ("RAW", "${HOST}$")]);
        environment.expand(text, 64).map(Cow::into_owned)
    }

    #[test]
    fn variables_defaults_and_dollars() {
        for (text, expanded) in [
            ("plain", "plain"),
            ("${HOST}:80", "10.0.0.1:80"),
            ("${HOST}${HOST}", "10.0.0.110.0.0.1"),
            ("${GONE:-a:1}", "a:1"),
            ("${EMPTY:-b}", "b"),
            ("${GONE:-}", ""),
            ("${EMPTY}", ""),
            ("$${HOST}", "${HOST}"),
            ("a$$b", "a$b"),
            ("$GenericService", "$GenericService"),
            ("a$", "a$"),
            // A value is not expanded again.
            ("${RAW}", "${HOST}$"),
        ] {
            assert_eq!(expand(text).as_deref(), Ok(expanded), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_expanded_is_told_by_its_name() {
        let missing = expand("a${GONE}").unwrap_err();
        assert_eq!(
            missing,
            "the environment variable GONE is not set; set it, or give a default, e.g. ${GONE:-value}"
        );
        for text in [
            "${",
            "${HOST",
            "${}",
            "${1A}",
            "${A B}",
            "${A:?b}",
            "${A:-${B}}",
        ] {
            let error = expand(text).unwrap_err();
            assert!(error.starts_with("bad variable \"${"), "{text}: {error}");
        }
        let long = expand(&"${HOST}".repeat(9)).unwrap_err();
        assert!(long.starts_with("too long"), "{long}");
        assert!(!long.contains("10.0"), "{long}");
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_no_text_is_a_fault() {
        use std::os::unix::ffi::OsStringExt;
        let environment = Environment {
            variable: Box::new(|_| Some(OsString::from_vec(vec![0xE9]))),
            ..Environment::process()
        };
        let error = environment.expand("${RAW}", 64).unwrap_err();
        assert_eq!(error, "the environment variable RAW is not UTF-8");
    }

    proptest! {
        #[test]
        fn any_text_is_expanded_without_a_panic(text in "[${}:A-B-]{0,40}") {
            if let Ok(out) = expand(&text) {
                prop_assert!(out.len() <= 64 + text.len());
            }
        }
    }
}
