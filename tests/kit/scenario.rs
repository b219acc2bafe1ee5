//! Scenarios in the peers' language (tests/interop/README.md), and what has to be seen of them.

use serde_json::{Value, json};

/// What a stream has to do at both ends.
#[derive(Clone)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) value: Value,
}

/// The kind of stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bidi,
    Client,
    Server,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Bidi, Self::Client, Self::Server];

    /// How many messages went up and down when such a stream is half-way.
    pub(crate) const fn middle(self) -> (usize, usize) {
        match self {
            Self::Bidi => (1, 1),
            Self::Client => (2, 0),
            Self::Server => (1, 2),
        }
    }

    pub(crate) const fn method(self) -> &'static str {
        match self {
            Self::Bidi => "Bidi",
            Self::Client => "ClientStream",
            Self::Server => "ServerStream",
        }
    }
}

/// A scenario: the callee's script and the caller's operations.
pub(crate) fn scenario<const S: usize, const O: usize>(
    name: impl Into<String>,
    kind: Kind,
    script: [Value; S],
    ops: [Value; O],
) -> Scenario {
    let value = json!({ "method": kind.method(), "script": script.to_vec(), "ops": ops.to_vec() });
    Scenario {
        name: name.into(),
        value,
    }
}

impl Scenario {
    /// Sets another key of it.
    pub(crate) fn with(mut self, key: &str, value: Value) -> Self {
        self.value[key] = value;
        self
    }
}

/// `send` n messages.
pub(crate) fn send(n: usize, size: usize) -> Value {
    json!({ "op": "send", "n": n, "size": size })
}

/// `recv` n messages.
pub(crate) fn recv(n: usize) -> Value {
    json!({ "op": "recv", "n": n })
}

/// An operation that has only a name.
pub(crate) fn op(name: &str) -> Value {
    json!({ "op": name })
}

/// Stops there until the test lets it go on.
pub(crate) fn barrier(name: &str) -> Value {
    json!({ "op": "barrier", "name": name })
}

/// When a caller cancels: before any message, in mid stream, after its half-close.
pub(crate) const PHASES: [&str; 3] = ["before", "middle", "half-closed"];

/// A stream that its caller cancels in that phase, when the callee has passed `ready` and the
/// caller `now`.
pub(crate) fn canceled(phase: &str) -> Scenario {
    let middle = usize::from(phase != "before");
    let close = match phase {
        "half-closed" => op("close_send"),
        _ => send(0, 0),
    };
    let script = [
        recv(middle),
        send(middle, 5),
        barrier("ready"),
        op("wait_cancel"),
    ];
    let ops = [
        send(middle, 5),
        recv(middle),
        close,
        barrier("now"),
        op("cancel"),
    ];
    scenario(phase, Kind::Bidi, script, ops)
}

/// A stream that runs. Its callee has passed `ready` and waits for a cancel. `last` is what its
/// caller does then.
pub(crate) fn in_the_middle(kind: Kind, last: Value) -> Scenario {
    let (up, down) = kind.middle();
    let script = [recv(up), send(down, 5), barrier("ready"), op("wait_cancel")];
    scenario(
        format!("{kind:?}"),
        kind,
        script,
        [send(up, 5), recv(down), last],
    )
}

/// The handler returns.
pub(crate) fn ret(kind: &str, code: i64, message: &str) -> Value {
    json!({ "op": "return", "kind": kind, "code": code, "message": message })
}

/// Asserts that all of `expected` is in `actual`. Objects are compared key by key, other values by
/// equality. A string that begins with `~` only has to be contained; with `!~` it must not be.
/// `null` is absent, null or empty.
#[track_caller]
pub(crate) fn assert_like(what: &str, actual: &Value, expected: &Value) {
    if let Err(why) = like("", actual, expected) {
        panic!("{what}: {why}\nexpected: {expected:#}\nactual: {actual:#}");
    }
}

fn like(at: &str, actual: &Value, expected: &Value) -> Result<(), String> {
    match expected {
        Value::Object(wanted) => wanted.iter().try_for_each(|(key, value)| {
            like(&format!("{at}.{key}"), &actual[key.as_str()], value)
        }),
        Value::String(wanted) if wanted.starts_with('~') => {
            let text = actual.as_str().unwrap_or_default();
            let part = &wanted[1..];
            if text.contains(part) {
                Ok(())
            } else {
                Err(format!("{at}: no {part:?} in {text:?}"))
            }
        }
        Value::String(wanted) if wanted.starts_with("!~") => {
            let text = actual.as_str().unwrap_or_default();
            match text.contains(&wanted[2..]) {
                true => Err(format!("{at}: {:?} is in {text:?}", &wanted[2..])),
                false => Ok(()),
            }
        }
        Value::Null => {
            let empty = actual.as_str().is_some_and(str::is_empty)
                || actual.as_object().is_some_and(serde_json::Map::is_empty);
            if actual.is_null() || empty {
                Ok(())
            } else {
                Err(format!("{at}: {actual} is there"))
            }
        }
        exact if exact == actual => Ok(()),
        exact => Err(format!("{at}: {actual} is not {exact}")),
    }
}
