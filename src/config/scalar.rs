//! Reads texts, words, numbers, sizes, durations and addresses.
//!
//! Here are the messages that all keys of a kind share. A message shows a value as it is written.
//! Knows no key.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::hints;
use super::units;
use super::walk::{NodeRef, Walk, unknown_value};
use super::yaml::{Kind, Node};

impl Walk {
    /// Text with its variables replaced. `what` names it in messages.
    pub(crate) fn text<'n>(&mut self, at: &NodeRef<'n>, what: &str) -> Option<Cow<'n, str>> {
        let node: &'n Node = at.node;
        let text = match &node.kind {
            Kind::Scalar { text, .. } if !node.is_null() => text,
            Kind::Scalar { .. } | Kind::List(_) | Kind::Map(_) => {
                let found = node.name();
                return self.refuse(at, format!("{what} is needed; found {found}"));
            }
        };
        match self.environment.expand(text, self.room) {
            Ok(Cow::Borrowed(text)) => Some(Cow::Borrowed(text)),
            Ok(Cow::Owned(text)) => {
                self.room = self.room.saturating_sub(text.len());
                Some(Cow::Owned(text))
            }
            Err(message) => self.refuse(at, message),
        }
    }

    /// Text of 1 to `max` bytes without control characters.
    pub(crate) fn label(&mut self, at: &NodeRef<'_>, max: usize) -> Option<String> {
        let text = self.text(at, "text")?;
        if text.is_empty() || text.len() > max || text.chars().any(char::is_control) {
            let found = at.quoted();
            let message =
                format!("bad text {found}; allowed: 1 to {max} bytes without control characters");
            return self.refuse(at, message);
        }
        Some(text.into_owned())
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        at: &NodeRef<'_>,
        what: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let text = self.text(at, what)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let allowed: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.refuse(at, unknown_value(what, &at.quoted(), &text, &allowed))
    }

    /// `on` or `off`.
    pub(crate) fn switch(&mut self, at: &NodeRef<'_>) -> Option<bool> {
        let words = [
            ("on", true),
            ("off", false),
            ("true", true),
            ("false", false),
        ];
        self.choice(at, "switch", &words)
    }

    /// Whether the value is the word `off`.
    pub(crate) fn is_off(&self, at: &NodeRef<'_>) -> bool {
        self.is(at, "off")
    }

    /// Whether the value is that word.
    pub(crate) fn is(&self, at: &NodeRef<'_>, word: &str) -> bool {
        let Kind::Scalar { text, .. } = &at.node.kind else {
            return false;
        };
        let expanded = self.environment.expand(text, self.room);
        expanded.is_ok_and(|text| text == word)
    }

    /// A whole number within a range.
    pub(crate) fn count(
        &mut self,
        at: &NodeRef<'_>,
        allowed: RangeInclusive<usize>,
    ) -> Option<usize> {
        let text = self.text(at, "a number")?;
        match text.parse() {
            Ok(number) if allowed.contains(&number) => Some(number),
            Ok(_) | Err(_) => {
                let (from, to) = (allowed.start(), allowed.end());
                let message = format!("bad number {}; allowed: {from} to {to}", at.quoted());
                self.refuse_value(at, &message, None)
            }
        }
    }

    /// A size in bytes, such as `64KiB`.
    pub(crate) fn size(
        &mut self,
        at: &NodeRef<'_>,
        allowed: RangeInclusive<usize>,
    ) -> Option<usize> {
        let text = self.text(at, "a size")?;
        let Some(size) = units::parse_size(&text).and_then(|s| usize::try_from(s).ok()) else {
            let message = format!("bad size {}; allowed: {}", at.quoted(), units::SIZES);
            return self.refuse_value(at, &message, None);
        };
        if !allowed.contains(&size) {
            let shown = |bytes: usize| units::format_size(bytes as u64);
            let (from, to) = (shown(*allowed.start()), shown(*allowed.end()));
            return self.refuse(
                at,
                format!("{text} is out of range; allowed: {from} to {to}"),
            );
        }
        Some(size)
    }

    /// A duration, such as `30s`.
    pub(crate) fn duration(
        &mut self,
        at: &NodeRef<'_>,
        allowed: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let text = self.text(at, "a duration")?;
        self.duration_of(at, &text, &allowed, "")
    }

    /// A duration, or `off`.
    pub(crate) fn duration_or_off(
        &mut self,
        at: &NodeRef<'_>,
        allowed: RangeInclusive<Duration>,
    ) -> Option<Option<Duration>> {
        let text = self.text(at, "a duration or off")?;
        if text == "off" {
            return Some(None);
        }
        self.duration_of(at, &text, &allowed, "off, or ").map(Some)
    }

    fn duration_of(
        &mut self,
        at: &NodeRef<'_>,
        text: &str,
        allowed: &RangeInclusive<Duration>,
        also: &str,
    ) -> Option<Duration> {
        let Some(duration) = units::parse_duration(text) else {
            let found = at.quoted();
            let message = format!("bad duration {found}; allowed: {also}{}", units::DURATIONS);
            return self.refuse_value(at, &message, None);
        };
        if !allowed.contains(&duration) {
            let from = units::format_duration(*allowed.start());
            let to = units::format_duration(*allowed.end());
            let message = format!("{text} is out of range; allowed: {also}{from} to {to}");
            return self.refuse(at, message);
        }
        Some(duration)
    }

    /// An address to listen on.
    pub(crate) fn address(&mut self, at: &NodeRef<'_>) -> Option<SocketAddr> {
        let text = self.text(at, "an address")?;
        match text.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                let message = format!(
                    "bad address {}; allowed: ip:port, e.g. 127.0.0.1:9901 or [::1]:9901",
                    at.quoted()
                );
                self.refuse_value(at, &message, hints::address(at.written()))
            }
        }
    }
}
