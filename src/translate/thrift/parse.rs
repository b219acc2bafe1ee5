//! From a text to the tree of what it says.
//!
//! Words of the language are words like others where the grammar leaves no doubt: a field may be
//! named `string` or `required`. A fault ends its field, value or function; what follows is read.

use std::collections::VecDeque;
use std::sync::Arc;

use super::lexer::{At, Comment, Fault, Kind, Lexer, Token, clean};
use super::tree::{Annotations, Enum, EnumValue, File, Include, Name, Service, Struct};
use super::tree::{Constant, Typedef};
use super::{MAX_DEPTH, MAX_FINDINGS, StructKind};

mod member;
mod value;

pub(super) use value::check_octal;

/// The words that begin a definition or a header.
const DEFINITIONS: &[&str] = &[
    "include",
    "cpp_include",
    "namespace",
    "const",
    "typedef",
    "enum",
    "senum",
    "struct",
    "union",
    "exception",
    "service",
];

pub(super) type Parsed<T> = Result<T, Fault>;

/// Reads a text. All its faults are in the second part; the first holds what is good.
pub(super) fn parse(text: &str) -> (File, Vec<Fault>) {
    let mut parser = Parser {
        lexer: Lexer::new(text),
        ahead: VecDeque::new(),
        end_line: 0,
        faults: Vec::new(),
    };
    let mut file = File::default();
    while parser.peek(0).kind != Kind::End && parser.faults.len() < MAX_FINDINGS {
        if let Err(fault) = parser.definition(&mut file) {
            parser.faults.push(fault);
            parser.skip_definition();
        }
    }
    (file, parser.faults)
}

pub(super) struct Parser<'a> {
    lexer: Lexer<'a>,
    ahead: VecDeque<Token<'a>>,
    /// The line on which the last token that was taken ends. 0: none was taken.
    end_line: u32,
    faults: Vec<Fault>,
}

impl<'a> Parser<'a> {
    /// The token that is `n` tokens ahead.
    fn peek(&mut self, n: usize) -> &Token<'a> {
        while self.ahead.len() <= n {
            self.ahead.push_back(self.lexer.token());
        }
        // The queue is long enough by now.
        match self.ahead.get(n) {
            Some(token) => token,
            None => unreachable!("the queue of tokens holds {n} and one more"),
        }
    }

    fn take(&mut self) -> Token<'a> {
        self.peek(0);
        let token = self.ahead.pop_front();
        let token = token.unwrap_or_else(|| self.lexer.token());
        self.end_line = token.end_line;
        token
    }

    fn is_symbol(&mut self, n: usize, symbol: u8) -> bool {
        self.peek(n).kind == Kind::Symbol(symbol)
    }

    fn is_word(&mut self, n: usize) -> bool {
        matches!(self.peek(n).kind, Kind::Word(_))
    }

    /// Takes the next token if it is `symbol`.
    fn eat(&mut self, symbol: u8) -> bool {
        let is_it = self.is_symbol(0, symbol);
        if is_it {
            self.take();
        }
        is_it
    }

    /// Takes the next token if it is the word `word`.
    fn eat_word(&mut self, word: &str) -> bool {
        let is_it = self.peek(0).kind == Kind::Word(word);
        if is_it {
            self.take();
        }
        is_it
    }

    /// Takes a `,` or `;`, if there is one.
    fn separator(&mut self) -> bool {
        self.eat(b',') || self.eat(b';')
    }

    /// The next token is not what has to be here.
    fn unexpected(&mut self, what: &str) -> Fault {
        let token = self.peek(0);
        let text = match &token.kind {
            Kind::Bad(text) => text.clone(),
            other => format!("{what} is expected here, not {}", other.shown()),
        };
        Fault { text, at: token.at }
    }

    fn expect(&mut self, symbol: u8) -> Parsed<()> {
        if self.eat(symbol) {
            return Ok(());
        }
        Err(self.unexpected(&format!("`{}`", char::from(symbol))))
    }

    /// A word, with dots or not.
    fn word(&mut self, what: &str) -> Parsed<Name> {
        let token = self.peek(0);
        let Kind::Word(text) = token.kind else {
            return Err(self.unexpected(what));
        };
        let name = Name {
            text: text.into(),
            at: token.at,
        };
        self.take();
        Ok(name)
    }

    /// The name of what is declared here: it has no dots.
    fn name(&mut self, what: &str) -> Parsed<Name> {
        let name = self.word(what)?;
        match name.text.contains('.') {
            true => Err(Fault {
                text: format!("{what} has no dots"),
                at: name.at,
            }),
            false => Ok(name),
        }
    }

    fn literal(&mut self, what: &str) -> Parsed<(Arc<str>, At)> {
        let token = self.peek(0);
        let Kind::Literal { text, .. } = &token.kind else {
            return Err(self.unexpected(what));
        };
        let literal = (text.clone(), token.at);
        self.take();
        Ok(literal)
    }

    /// The comments before the next token. Those on the line of the last token belong to that.
    fn leading(&mut self) -> String {
        let end_line = self.end_line;
        let token = self.peek(0);
        let line = token.at.line;
        let mut comments: &[Comment<'_>] = &token.comments;
        while let [first, rest @ ..] = comments {
            if first.line != end_line {
                break;
            }
            comments = rest;
        }
        // What stands at the top of a file is about the file, unless it touches what follows.
        if end_line == 0 {
            let mut next = line;
            let touching = comments.iter().rev().take_while(|c| {
                let touches = c.end_line.saturating_add(1) >= next;
                next = c.line;
                touches
            });
            let count = touching.count();
            comments = comments
                .get(comments.len().saturating_sub(count)..)
                .unwrap_or_default();
        }
        clean(comments)
    }

    /// Adds the comments behind the last token, on its line, to `comment`.
    fn trailing(&mut self, comment: &mut String) {
        let end_line = self.end_line;
        self.peek(0);
        let Some(token) = self.ahead.front_mut() else {
            return;
        };
        let count = token.comments.iter().take_while(|c| c.line == end_line);
        let count = count.count();
        let taken: Vec<_> = token.comments.drain(..count).collect();
        let text = clean(&taken);
        if !text.is_empty() {
            if !comment.is_empty() {
                comment.push('\n');
            }
            comment.push_str(&text);
        }
    }

    /// Whether the next token begins a line.
    fn begins_line(&mut self) -> bool {
        let end_line = self.end_line;
        self.peek(0).at.line > end_line
    }

    /// Whether a definition or header begins with the next token, as far as can be told.
    fn begins_definition(&mut self) -> bool {
        let is_word = match self.peek(0).kind {
            Kind::Word(word) => DEFINITIONS.contains(&word),
            _ => false,
        };
        is_word
            && self.begins_line()
            && matches!(
                self.peek(1).kind,
                Kind::Word(_) | Kind::Literal { .. } | Kind::Symbol(b'*')
            )
    }

    fn skip_definition(&mut self) {
        loop {
            if self.peek(0).kind == Kind::End || self.begins_definition() {
                return;
            }
            self.take();
        }
    }

    /// Skips what is left of a member of a definition with a fault. Gives false where the whole
    /// definition is lost.
    fn skip_member(&mut self, separators: bool) -> bool {
        let mut depth = 0_usize;
        loop {
            if self.peek(0).kind == Kind::End || self.begins_definition() {
                return false;
            }
            let begins_line = self.begins_line();
            match self.peek(0).kind {
                Kind::Symbol(b'}') if depth == 0 => return true,
                Kind::Symbol(b'{' | b'(' | b'[' | b'<') => depth = depth.saturating_add(1),
                Kind::Symbol(b'}' | b')' | b']' | b'>') => depth = depth.saturating_sub(1),
                Kind::Symbol(b',' | b';') if depth == 0 && separators => {
                    self.take();
                    return true;
                }
                Kind::Int { .. } | Kind::Word(_) if depth == 0 && begins_line => return true,
                _ => {}
            }
            self.take();
        }
    }

    /// The members of a definition between `{` and `}`. A fault costs its member only.
    fn members(
        &mut self,
        separators: bool,
        mut member: impl FnMut(&mut Self) -> Parsed<()>,
    ) -> Parsed<()> {
        while !self.eat(b'}') {
            let (before, after) = (self.peek(0).at, self.faults.len());
            // `struct B {` at the beginning of a line is no field.
            let is_lost = self.begins_definition() && self.is_symbol(2, b'{');
            if is_lost || self.peek(0).kind == Kind::End || after >= MAX_FINDINGS {
                return Err(self.unexpected("`}`"));
            }
            if let Err(fault) = member(self) {
                self.faults.push(fault);
                if self.peek(0).at == before {
                    self.take();
                }
                if !self.skip_member(separators) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn definition(&mut self, file: &mut File) -> Parsed<()> {
        let comment = self.leading();
        let token = self.peek(0);
        let at = token.at;
        let Kind::Word(word) = token.kind else {
            let fault = self.unexpected("a definition");
            self.take();
            return Err(fault);
        };
        self.take();
        match word {
            "include" => {
                let (path, at) = self.literal("the name of a file, in quotes,")?;
                file.includes.push(Include { path, at });
            }
            "cpp_include" => {
                self.literal("the name of a file, in quotes,")?;
            }
            "namespace" => {
                let scope = match self.eat(b'*') {
                    true => Arc::from("*"),
                    false => self.word("the scope of a namespace")?.text,
                };
                let name = self.word("a namespace")?.text;
                self.annotations()?;
                file.namespaces.push((scope, name));
            }
            "const" => {
                let ty = self.ty(MAX_DEPTH)?;
                let name = self.name("the name of a constant")?;
                self.expect(b'=')?;
                let value = self.value(MAX_DEPTH)?;
                file.constants.push(Constant { name, ty, value });
            }
            "typedef" => {
                let ty = self.ty(MAX_DEPTH)?;
                let name = self.name("the name of a typedef")?;
                file.typedefs.push(Typedef { name, ty });
            }
            "enum" => file.enums.push(self.enumeration(comment)?),
            "struct" => {
                let parsed = self.structure(StructKind::Struct, comment)?;
                file.structs.push(parsed);
            }
            "union" => {
                let parsed = self.structure(StructKind::Union, comment)?;
                file.structs.push(parsed);
            }
            "exception" => {
                let parsed = self.structure(StructKind::Exception, comment)?;
                file.structs.push(parsed);
            }
            "service" => file.services.push(self.service(comment)?),
            "senum" => {
                let text = "senum is not taken, as by all tools of today: \
                            make it a typedef of string, or an enum"
                    .to_owned();
                return Err(Fault { text, at });
            }
            _ => {
                let text = format!(
                    "a definition is expected here (const, typedef, enum, struct, union, \
                     exception, service), not {}",
                    Kind::Word(word).shown()
                );
                return Err(Fault { text, at });
            }
        }
        self.annotations()?;
        self.separator();
        // It belongs to nothing.
        self.trailing(&mut String::new());
        Ok(())
    }

    fn enumeration(&mut self, mut comment: String) -> Parsed<Enum> {
        let name = self.name("the name of an enum")?;
        self.expect(b'{')?;
        self.trailing(&mut comment);
        let mut values = Vec::new();
        let mut next = Some(0);
        self.members(true, |parser| {
            let value = parser.enum_value(&mut next)?;
            values.push(value);
            Ok(())
        })?;
        Ok(Enum {
            name,
            values,
            comment,
        })
    }

    /// A value of an enum. `next` is the number that it has if it gives none: `None`, where the
    /// value before it has the last one.
    fn enum_value(&mut self, next: &mut Option<i32>) -> Parsed<EnumValue> {
        let mut comment = self.leading();
        let name = self.name("a value of the enum")?;
        let number = match self.eat(b'=') {
            true => {
                let at = self.peek(0).at;
                let number = self.int("the number of the value")?;
                i32::try_from(number).map_err(|_| Fault {
                    text: format!("{number} is no number of an enum: they have 32 bits"),
                    at,
                })?
            }
            false => next.ok_or_else(|| Fault {
                text: "there is no number after that of the value before".to_owned(),
                at: name.at,
            })?,
        };
        *next = number.checked_add(1);
        self.annotations()?;
        self.trailing(&mut comment);
        self.separator();
        self.trailing(&mut comment);
        Ok(EnumValue {
            name,
            number,
            comment,
        })
    }

    fn structure(&mut self, kind: StructKind, mut comment: String) -> Parsed<Struct> {
        let name = self.name("a name")?;
        self.eat_word("xsd_all");
        self.expect(b'{')?;
        self.trailing(&mut comment);
        let mut fields = self.fields(b'}')?;
        member::settle(kind, &mut fields);
        let annotations = self.annotations()?;
        Ok(Struct {
            name,
            kind,
            fields,
            annotations,
            comment,
        })
    }

    fn service(&mut self, mut comment: String) -> Parsed<Service> {
        let name = self.name("the name of a service")?;
        let extends = match self.eat_word("extends") {
            true => Some(self.word("the service that is extended")?),
            false => None,
        };
        self.expect(b'{')?;
        self.trailing(&mut comment);
        let mut functions = Vec::new();
        self.members(false, |parser| {
            let function = parser.function()?;
            functions.push(function);
            Ok(())
        })?;
        Ok(Service {
            name,
            extends,
            functions,
            comment,
        })
    }

    /// Annotations, if there are any: `(key = "value", key)`. A key alone has the value `1`.
    fn annotations(&mut self) -> Parsed<Annotations> {
        let mut found = Vec::new();
        if !self.eat(b'(') {
            return Ok(found);
        }
        while !self.eat(b')') {
            let key = self.word("the key of an annotation, or `)`,")?.text;
            let value = match self.eat(b'=') {
                true => self.literal("the value of the annotation, in quotes,")?.0,
                false => Arc::from("1"),
            };
            found.push((key, value));
            self.separator();
        }
        Ok(found)
    }
}
