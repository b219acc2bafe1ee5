//! Fields and functions.

use super::super::lexer::{Fault, Kind};
use super::super::tree::{Annotations, Field, Function};
use super::super::{Streaming, StructKind};
use super::{MAX_DEPTH, Parsed, Parser};
use crate::translate::pairing::Requiredness;

impl Parser<'_> {
    /// Fields to the symbol that ends them, which is taken.
    pub(super) fn fields(&mut self, end: u8) -> Parsed<Vec<Field>> {
        let mut fields = Vec::new();
        let mut last = 0;
        if end == b'}' {
            self.members(true, |parser| {
                let field = parser.field(&mut last)?;
                fields.push(field);
                Ok(())
            })?;
            return Ok(fields);
        }
        while !self.eat(end) {
            fields.push(self.field(&mut last)?);
        }
        Ok(fields)
    }

    /// A field. `last` is the id of the field before it, 0 for none.
    fn field(&mut self, last: &mut i16) -> Parsed<Field> {
        let mut comment = self.leading();
        let at = self.peek(0).at;
        let implicit = !matches!(self.peek(0).kind, Kind::Int { .. });
        let id = match implicit {
            true => i64::from(*last).saturating_add(1),
            false => {
                // An id is decimal everywhere, whatever its zeros in front.
                let id = match self.take().kind {
                    Kind::Int { value, .. } => value,
                    _ => 0,
                };
                self.expect(b':')?;
                id
            }
        };
        let id = i16::try_from(id).map_err(|_| Fault {
            text: format!("{id} is no id of a field: they have 16 bits"),
            at,
        })?;
        *last = id;
        let is_word = self.is_word(1);
        let requiredness = match self.peek(0).kind {
            Kind::Word("required") if is_word => Requiredness::Required,
            Kind::Word("optional") if is_word => Requiredness::Optional,
            _ => Requiredness::Default,
        };
        if requiredness != Requiredness::Default {
            self.take();
        }
        let ty = self.ty(MAX_DEPTH)?;
        self.eat(b'&');
        let name = self.name("the name of a field")?;
        let default = match self.eat(b'=') {
            true => Some(self.value(MAX_DEPTH)?),
            false => None,
        };
        self.eat_word("xsd_optional");
        self.eat_word("xsd_nillable");
        if self.peek(0).kind == Kind::Word("xsd_attrs") && self.is_symbol(1, b'{') {
            self.take();
            self.take();
            // They are fields in form only. They cannot nest: a field of theirs ends there.
            while !self.is_symbol(0, b'}') {
                if self.peek(0).kind == Kind::End {
                    return Err(self.unexpected("`}`"));
                }
                self.take();
            }
            self.take();
        }
        let annotations = self.annotations()?;
        self.trailing(&mut comment);
        self.separator();
        self.trailing(&mut comment);
        Ok(Field {
            id,
            implicit,
            requiredness,
            ty,
            name,
            default,
            annotations,
            comment,
        })
    }

    pub(super) fn function(&mut self) -> Parsed<Function> {
        let mut comment = self.leading();
        // `async f()` is a function of a type with that name.
        let oneway = matches!(self.peek(0).kind, Kind::Word("oneway" | "async"))
            && self.is_word(1)
            && !self.is_symbol(2, b'(');
        if oneway {
            self.take();
        }
        let is_void = self.peek(0).kind == Kind::Word("void");
        let result = match is_void {
            true => {
                self.take();
                None
            }
            false => Some(self.ty(MAX_DEPTH)?),
        };
        let name = self.name("the name of a function")?;
        self.expect(b'(')?;
        let mut arguments = self.fields(b')')?;
        for argument in &mut arguments {
            // Compilers pass over the word here.
            if argument.requiredness == Requiredness::Optional {
                argument.requiredness = Requiredness::Default;
            }
        }
        let mut throws = Vec::new();
        if self.eat_word("throws") {
            self.expect(b'(')?;
            throws = self.fields(b')')?;
            for exception in &mut throws {
                exception.requiredness = Requiredness::Optional;
            }
        }
        let annotations = self.annotations()?;
        self.trailing(&mut comment);
        self.separator();
        self.trailing(&mut comment);
        let mut fault = |text: String| self.faults.push(Fault { text, at: name.at });
        if oneway && result.is_some() {
            fault("a oneway function returns nothing: write `oneway void`".to_owned());
        }
        if oneway && !throws.is_empty() {
            fault("a oneway function cannot throw: nothing is sent back".to_owned());
        }
        let streaming = match streaming(&annotations) {
            Ok(streaming) => streaming,
            Err(text) => {
                fault(text);
                None
            }
        };
        if streaming.is_some() && arguments.len() != 1 {
            fault(format!(
                "a streaming function has exactly one argument, this one has {}",
                arguments.len()
            ));
        }
        Ok(Function {
            name,
            result,
            arguments,
            throws,
            oneway,
            streaming,
            annotations,
            comment,
        })
    }
}

/// What the annotation `streaming.mode` says, by thriftgo's rules.
fn streaming(annotations: &Annotations) -> Result<Option<Streaming>, String> {
    let mut modes = annotations
        .iter()
        .filter(|(key, _)| &**key == "streaming.mode")
        .map(|(_, mode)| &**mode);
    let Some(mode) = modes.next() else {
        return Ok(None);
    };
    if modes.next().is_some() {
        return Err("a function has one streaming.mode only".to_owned());
    }
    match mode {
        "unary" => Ok(Some(Streaming::Unary)),
        "client" => Ok(Some(Streaming::Client)),
        "server" => Ok(Some(Streaming::Server)),
        "bidirectional" => Ok(Some(Streaming::Bidirectional)),
        other => Err(format!(
            "streaming.mode is unary, client, server or bidirectional, not {:?}",
            super::super::lexer::short(other)
        )),
    }
}

/// A union's fields are optional, whatever they say.
pub(super) fn settle(kind: StructKind, fields: &mut [Field]) {
    if kind == StructKind::Union {
        for field in fields {
            field.requiredness = Requiredness::Optional;
        }
    }
}
