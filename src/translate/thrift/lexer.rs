//! The tokens of a thrift file, each with its place and the comments before it.
//!
//! It takes what Apache's lexer and thriftgo's grammar take: comments of three kinds, literals in
//! both quotes (over several lines too, as thriftgo does), numbers in hex and octal, a byte order
//! mark, and both kinds of line ends.

use std::sync::Arc;

/// A place in a file: line and column, from 1, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) line: u32,
    pub(super) column: u32,
}

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) text: String,
    pub(super) at: At,
}

/// A token with its place.
#[derive(Clone, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) at: At,
    /// The line on which it ends.
    pub(super) end_line: u32,
    /// The comments between the token before it and this one.
    pub(super) comments: Vec<Comment<'a>>,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind<'a> {
    /// A word: letters, digits, `_` and `.`; the words of the language too.
    Word(&'a str),
    /// An integer. `octal`: it has zeros in front, so that thriftgo reads another number where it
    /// is a value (in decimal: `value`).
    Int { value: i64, octal: bool },
    /// A number with a fraction or an exponent.
    Double(f64),
    /// A literal without its quotes. `plain`: it has no escape but those that all compilers know.
    Literal { text: Arc<str>, plain: bool },
    /// One of `{ } ( ) [ ] < > , ; : = * &`.
    Symbol(u8),
    /// No token: the text says why.
    Bad(String),
    /// The end of the file.
    End,
}

/// A comment with its marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Comment<'a> {
    pub(super) text: &'a str,
    pub(super) line: u32,
    pub(super) end_line: u32,
}

/// Reads the tokens of a text, one after the other. After the end it gives [`Kind::End`] forever.
pub(super) struct Lexer<'a> {
    text: &'a str,
    /// What is not yet read begins here, at a character's first byte.
    offset: usize,
    at: At,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let at = At { line: 1, column: 1 };
        Self {
            text,
            offset: 0,
            at,
        }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.offset..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.offset).copied()
    }

    /// Reads `count` bytes, which end at a character's end.
    fn take(&mut self, count: usize) -> &'a str {
        let rest = self.rest();
        let taken = rest.get(..count).unwrap_or(rest);
        for c in taken.chars() {
            if c == '\n' {
                self.at.line = self.at.line.saturating_add(1);
                self.at.column = 1;
            } else {
                self.at.column = self.at.column.saturating_add(1);
            }
        }
        self.offset = self.offset.saturating_add(taken.len());
        taken
    }

    /// Reads the bytes that `takes` takes.
    fn take_while(&mut self, takes: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.rest();
        let count = rest.bytes().position(|b| !takes(b)).unwrap_or(rest.len());
        self.take(count)
    }

    /// The next token.
    pub(super) fn token(&mut self) -> Token<'a> {
        let mut comments = Vec::new();
        let mut bad = None;
        loop {
            self.take_while(|b| b.is_ascii_whitespace() || b == 0x0b);
            let at = self.at;
            match self.comment() {
                None => break,
                Some(Ok(text)) => comments.push(Comment {
                    text,
                    line: at.line,
                    end_line: self.at.line,
                }),
                Some(Err(text)) => bad = Some((Kind::Bad(text.to_owned()), at)),
            }
        }
        let (kind, at) = bad.unwrap_or_else(|| {
            let at = self.at;
            (self.kind(), at)
        });
        Token {
            kind,
            at,
            end_line: self.at.line,
            comments,
        }
    }

    /// A comment, if one begins here.
    fn comment(&mut self) -> Option<Result<&'a str, &'static str>> {
        let rest = self.rest();
        if rest.starts_with("//") || rest.starts_with('#') {
            return Some(Ok(self.take_while(|b| b != b'\n').trim_end()));
        }
        let body = rest.strip_prefix("/*")?;
        match body.find("*/") {
            Some(end) => Some(Ok(self.take(end.saturating_add(4)))),
            None => {
                self.take(rest.len());
                Some(Err("this comment has no end: `*/` is missing"))
            }
        }
    }

    fn kind(&mut self) -> Kind<'a> {
        let Some(first) = self.peek() else {
            return Kind::End;
        };
        match first {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                Kind::Word(self.take_while(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.'))
            }
            b'0'..=b'9' | b'+' | b'-' | b'.' => self.number(),
            b'"' | b'\'' => self.literal(first),
            b'{' | b'}' | b'(' | b')' | b'[' | b']' | b'<' | b'>' | b',' | b';' | b':' | b'='
            | b'*' | b'&' => {
                self.take(1);
                Kind::Symbol(first)
            }
            _ => {
                let c = self.rest().chars().next().unwrap_or_default();
                self.take(c.len_utf8());
                Kind::Bad(format!("the character {c:?} has no place here"))
            }
        }
    }

    fn number(&mut self) -> Kind<'a> {
        let sign = self.take_while_first(|b| b == b'+' || b == b'-');
        let rest = self.rest();
        for (mark, radix) in [("0x", 16), ("0X", 16), ("0o", 8)] {
            if rest.starts_with(mark) {
                self.take(2);
                let digits = self.take_while(|b| b.is_ascii_alphanumeric());
                let text = format!("{sign}{digits}");
                return match i64::from_str_radix(&text, radix) {
                    Ok(value) => Kind::Int {
                        value,
                        octal: false,
                    },
                    Err(_) => Kind::Bad(format!(
                        "{sign}{mark}{} is no number of 64 bits",
                        short(digits)
                    )),
                };
            }
        }
        let whole = self.take_while(|b| b.is_ascii_digit());
        let is_fraction = self.peek() == Some(b'.');
        let mut text = format!("{sign}{whole}");
        if is_fraction {
            text.push_str(self.take(1));
            let fraction = self.take_while(|b| b.is_ascii_digit());
            if fraction.is_empty() {
                return Kind::Bad(format!("{} is no number", short(&text)));
            }
            text.push_str(fraction);
        }
        let is_exponent = matches!(self.peek(), Some(b'e' | b'E'));
        if is_exponent {
            text.push_str(self.take(1));
            text.push_str(self.take_while_first(|b| b == b'+' || b == b'-'));
            text.push_str(self.take_while(|b| b.is_ascii_digit()));
        }
        if is_fraction || is_exponent {
            return match text.parse() {
                Ok(value) => Kind::Double(value),
                Err(_) => Kind::Bad(format!("{} is no number", short(&text))),
            };
        }
        match text.parse() {
            Ok(value) => Kind::Int {
                value,
                octal: whole.len() > 1 && whole.starts_with('0'),
            },
            Err(_) => Kind::Bad(format!("{} is no number of 64 bits", short(&text))),
        }
    }

    /// One byte, if `takes` takes it.
    fn take_while_first(&mut self, takes: impl Fn(u8) -> bool) -> &'a str {
        match self.peek() {
            Some(first) if takes(first) => self.take(1),
            _ => "",
        }
    }

    fn literal(&mut self, quote: u8) -> Kind<'a> {
        let mut text = String::new();
        let mut plain = true;
        self.take(1);
        loop {
            text.push_str(self.take_while(|b| b != quote && b != b'\\'));
            if self.peek().is_none() {
                return Kind::Bad("this literal has no end: its quote is missing".to_owned());
            }
            if self.take(1) != "\\" {
                let text = text.into();
                return Kind::Literal { text, plain };
            }
            let c = self.rest().chars().next().unwrap_or('\\');
            match c {
                'n' => text.push('\n'),
                'r' => text.push('\r'),
                't' => text.push('\t'),
                '"' | '\'' | '\\' => text.push(c),
                _ => {
                    plain = false;
                    text.push('\\');
                    text.push(c);
                }
            }
            self.take(c.len_utf8());
        }
    }
}

/// The beginning of a word of a file, for texts: a word can be as long as the file.
pub(super) fn short(word: &str) -> String {
    match word.char_indices().nth(80) {
        Some((end, _)) => format!("{}...", word.get(..end).unwrap_or_default()),
        None => word.to_owned(),
    }
}

impl Kind<'_> {
    /// How a text names it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Word(word) => format!("`{}`", short(word)),
            Self::Int { value, .. } => format!("`{value}`"),
            Self::Double(value) => format!("`{value}`"),
            Self::Literal { .. } => "a literal".to_owned(),
            Self::Symbol(symbol) => format!("`{}`", char::from(*symbol)),
            Self::Bad(text) => text.clone(),
            Self::End => "the end of the file".to_owned(),
        }
    }
}

/// The text of comments without their marks: one line for each of theirs. Empty lines in front and
/// at the end are left out.
pub(super) fn clean(comments: &[Comment<'_>]) -> String {
    let mut lines: Vec<&str> = Vec::new();
    let mut last = None;
    for comment in comments {
        if last.is_some_and(|line: u32| line.saturating_add(1) < comment.line) {
            lines.push("");
        }
        last = Some(comment.end_line);
        if let Some(text) = comment.text.strip_prefix("/*") {
            let text = text.strip_suffix("*/").unwrap_or(text);
            lines.extend(text.trim_start_matches('*').lines().map(|line| {
                let line = line.trim();
                // The column of stars that many write.
                match line.trim_start_matches('*') {
                    starless if starless.len() == line.len() => line,
                    starless => starless.strip_prefix(' ').unwrap_or(starless),
                }
            }));
        } else {
            let text = comment.text.trim_start_matches(['/', '#']);
            lines.push(text.strip_prefix(' ').unwrap_or(text));
        }
    }
    let lines: Vec<&str> = lines.into_iter().map(str::trim_end).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}
