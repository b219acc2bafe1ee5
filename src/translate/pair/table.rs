//! Prints a pairing as a table: what `ripcord schema FILE NAME` shows.

use std::fmt::Write as _;

use super::super::pairing::{
    Arguments, FieldPair, MessagePair, MethodKind, MethodPair, Overflow, Pairing, Presence,
    ProtobufScalar, Requiredness, Returns, Scalar, ThriftScalar, Utf8, Value,
};

/// The pairing as text: its services with their methods, then its messages field by field.
#[must_use]
pub fn table(pairing: &Pairing) -> String {
    let mut out = String::new();
    for service in &pairing.services {
        let _ = writeln!(out, "service {} | {}", service.protobuf, service.thrift);
        let rows = service.methods.iter().map(|m| method(pairing, m)).collect();
        rows_of(&mut out, rows);
        for method in &service.methods {
            for e in &method.exceptions {
                let _ = writeln!(
                    out,
                    "  {} throws {} (id {}): code {}, details {}",
                    method.protobuf, e.thrift, e.id, e.code, e.protobuf
                );
            }
        }
        out.push('\n');
    }
    for message in &pairing.messages {
        let union = if message.is_union { " (union)" } else { "" };
        let _ = writeln!(
            out,
            "message {} | {}{union}",
            message.protobuf, message.thrift
        );
        let mut rows: Vec<_> = message.fields.iter().map(|f| field(pairing, f)).collect();
        for only in &message.only_thrift {
            let required = if only.required { "required" } else { "" };
            let default = only.default.as_ref().map_or("", |_| "default");
            let rule = ["only in thrift", required, default];
            let rule: Vec<_> = rule.into_iter().filter(|r| !r.is_empty()).collect();
            rows.push([
                "-".into(),
                String::new(),
                String::new(),
                "|".into(),
                only.id.to_string(),
                only.name.to_string(),
                String::new(),
                rule.join(", "),
            ]);
        }
        for (number, name) in &message.missing_in_thrift {
            rows.push([
                number.to_string(),
                name.to_string(),
                String::new(),
                "|".into(),
                "-".into(),
                String::new(),
                String::new(),
                "only in protobuf, required".into(),
            ]);
        }
        rows_of(&mut out, rows);
        out.push('\n');
    }
    while out.ends_with("\n\n") {
        out.pop();
    }
    out
}

/// Writes rows with columns below each other.
fn rows_of<const N: usize>(out: &mut String, rows: Vec<[String; N]>) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|r| r.get(column));
        cells.map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..N).map(width).collect();
    for row in &rows {
        let mut line = String::from(" ");
        for (cell, width) in row.iter().zip(&widths) {
            if *width > 0 {
                let _ = write!(line, " {cell:width$}");
            }
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

fn names_of(pairing: &Pairing, at: usize) -> (&str, &str) {
    match pairing.messages.get(at) {
        Some(MessagePair {
            protobuf, thrift, ..
        }) => (protobuf, thrift),
        None => ("?", "?"),
    }
}

fn method(pairing: &Pairing, method: &MethodPair) -> [String; 6] {
    let kind = match method.kind {
        MethodKind::Call if method.oneway => "oneway call",
        MethodKind::Call => "call",
        MethodKind::Stream { client, server } => match (client, server) {
            (false, false) => "unary stream",
            (true, false) => "client stream",
            (false, true) => "server stream",
            (true, true) => "bidirectional stream",
        },
    };
    let (request, thrift_request) = names_of(pairing, method.request);
    let thrift_request = match method.arguments {
        Arguments::One(_) => thrift_request,
        Arguments::All => "its arguments",
    };
    let (response, thrift_response) = match method.response {
        None => ("nothing", "void"),
        Some(at) => {
            let (protobuf, thrift) = names_of(pairing, at);
            match method.returns {
                Returns::Message => (protobuf, thrift),
                Returns::Value => (protobuf, "its result"),
            }
        }
    };
    [
        method.protobuf.to_string(),
        format!("({request}) -> {response}"),
        "|".into(),
        method.thrift.to_string(),
        format!("({thrift_request}) -> {thrift_response}"),
        kind.into(),
    ]
}

fn field(pairing: &Pairing, field: &FieldPair) -> [String; 8] {
    let types = types(pairing, &field.value);
    let mut rule = Vec::new();
    match field.presence {
        Presence::Implicit => {}
        Presence::Explicit => rule.push("absent is kept"),
        Presence::Required => rule.push("required by protobuf"),
        Presence::Oneof(_) => rule.push("oneof"),
    }
    match field.requiredness {
        Requiredness::Default => {}
        Requiredness::Required => rule.push("required by thrift"),
        Requiredness::Optional => rule.push("optional in thrift"),
    }
    if field.default.is_some() {
        rule.push("default");
    }
    let implicit = field.presence == Presence::Implicit;
    if field.write_zeros && implicit && field.requiredness == Requiredness::Optional {
        rule.push("zeros written");
    }
    choices(&field.value, &mut rule);
    [
        field.number.to_string(),
        field.protobuf.to_string(),
        types.0,
        "|".into(),
        field.id.to_string(),
        field.thrift.to_string(),
        types.1,
        rule.join(", "),
    ]
}

/// What the schema chose for the scalars of a value.
fn choices(value: &Value, rule: &mut Vec<&'static str>) {
    match value {
        Value::Scalar(scalar) => {
            let is_text = matches!(
                (scalar.protobuf, scalar.thrift),
                (ProtobufScalar::String, _) | (_, ThriftScalar::String)
            );
            let overflow = match scalar.overflow {
                Overflow::Error => None,
                Overflow::Saturate => Some("overflow: saturate"),
                Overflow::Wrap => Some("overflow: wrap"),
            };
            let utf8 = match scalar.utf8 {
                Utf8::Error => None,
                Utf8::Replace => Some("utf8: replace"),
                Utf8::Bytes => Some("utf8: bytes"),
            };
            let by_name = scalar.numbers.as_ref().map(|_| "by name");
            let is_int = is_int(scalar) && scalar.numbers.is_none();
            let chosen = [
                overflow.filter(|_| is_int),
                utf8.filter(|_| is_text),
                by_name,
            ];
            for text in chosen.into_iter().flatten() {
                if !rule.contains(&text) {
                    rule.push(text);
                }
            }
        }
        Value::Message(_) => {}
        Value::List(list) => choices(&list.element, rule),
        Value::Map(map) => {
            choices(&map.key, rule);
            choices(&map.value, rule);
        }
        Value::Wrapper { value, .. } => choices(value, rule),
    }
}

fn is_int(scalar: &Scalar) -> bool {
    super::scalars::protobuf_range(scalar.protobuf).is_some()
}

/// The types of both sides.
fn types(pairing: &Pairing, value: &Value) -> (String, String) {
    match value {
        Value::Scalar(scalar) => (
            format!("{:?}", scalar.protobuf).to_lowercase(),
            format!("{:?}", scalar.thrift).to_lowercase(),
        ),
        Value::Message(at) => {
            let (protobuf, thrift) = names_of(pairing, *at);
            (protobuf.into(), thrift.into())
        }
        Value::List(list) => {
            let (protobuf, thrift) = types(pairing, &list.element);
            let container = if list.is_set { "set" } else { "list" };
            (
                format!("repeated {protobuf}"),
                format!("{container}<{thrift}>"),
            )
        }
        Value::Map(map) => {
            let (key, value) = (types(pairing, &map.key), types(pairing, &map.value));
            (
                format!("map<{}, {}>", key.0, value.0),
                format!("map<{}, {}>", key.1, value.1),
            )
        }
        Value::Wrapper { value, .. } => {
            let (protobuf, thrift) = types(pairing, value);
            (format!("message of {protobuf}"), thrift)
        }
    }
}
