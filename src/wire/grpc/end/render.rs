//! An end as trailers within a number of bytes, so that a peer can take it.
//!
//! [`trailers`] takes these steps:
//!
//! 1. Trailers and a text that can never fit are cut before anything is rendered.
//! 2. The end is rendered and measured. When it fits, that is the result.
//! 3. Otherwise one part is cut after the other, in the order of [`Part`]. After each cut, the end
//!    is rendered and measured again.
//!
//! `ripcord-cut` names the parts that were cut, here or by a hop before. A part is named only if
//! cutting it changed something.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::carried;
use super::rendered::{RenderedStatus, Wording};
use crate::stream::{Cancel, Cut, End, Failure, MARK, Metadata, Part, Reason, Scope, shorten};
use crate::wire::grpc::keys;
use crate::wire::grpc::metadata::{self, HeadersOf, Room, put};
use crate::wire::grpc::status::{encode_bin, encode_message};

/// Bytes to which a path is cut.
const SHORT_PATH: usize = 512;

/// Bytes that HPACK adds to the size of every header.
const PER_HEADER: usize = 32;

/// Renders an end within `limit` bytes.
pub(super) fn trailers(
    end: &End,
    node: &str,
    carried: bool,
    wording: Wording,
    limit: usize,
) -> HeaderMap {
    let mut end = Cow::Borrowed(end);
    let mut cut = Cut::default();
    // Trailers that can never fit are not rendered even once.
    if end.trailers.size() + end.trailers.len() * PER_HEADER > limit * 4 {
        cut.insert(Part::Exact);
        cut.insert(Part::Trailers);
        let mut left = limit;
        end.to_mut().trailers.retain(|entry| {
            let size = entry.key.len() + entry.value.len() + PER_HEADER;
            let fits = left >= size;
            // One that is too long by itself takes no other with it.
            left = match fits {
                true => left - size,
                false if size > limit => left,
                false => 0,
            };
            fits
        });
    }
    if text(&end.reason).len() > limit {
        let short = shorten(text(&end.reason), limit).into_owned();
        set_text(&mut end.to_mut().reason, &short);
    }
    let early = cut;
    let with = |end: &End, cut, room| render(end, node, carried, wording, cut, room);
    let render = |end: &End, cut: Cut| match cut.contains(Part::Exact) {
        true => with(end, cut, Room::NONE),
        false => with(end, cut, Room::FREE),
    };
    let mut out = render(&end, cut);
    for part in Part::ORDER {
        if size(&out) <= limit {
            break;
        }
        cut.insert(part);
        // The name of the part in `ripcord-cut` takes room too.
        let marked = render(&end, cut);
        let over = size(&marked).saturating_sub(limit);
        let changed = match part {
            Part::Exact | Part::Details | Part::Extra => size(&marked) < size(&out),
            Part::Trailers => shorten_trailers(&mut end, over),
            Part::Path => shorten_path(&mut end),
            Part::Text => shorten_text(&mut end, node, wording, over),
        };
        if !changed && !early.contains(part) {
            cut.remove(part);
        }
        out = render(&end, cut);
    }
    // As many exact entries as there is room for.
    match limit.checked_sub(size(&out)) {
        Some(left) if cut.contains(Part::Exact) => with(&end, cut, Room::within(left, PER_HEADER)),
        Some(_) | None => out,
    }
}

fn render(
    end: &End,
    node: &str,
    carried: bool,
    wording: Wording,
    cut: Cut,
    room: Room,
) -> HeaderMap {
    // Without the details only the long wording says whose end it is.
    let wording = match carried && cut.contains(Part::Details) {
        true => Wording::Kitex,
        false => wording,
    };
    let rendered = RenderedStatus::of(&end.reason, node, wording);
    let mut out = HeaderMap::new();
    put(
        &mut out,
        keys::names::STATUS,
        &rendered.status.code.to_string(),
    );
    if !rendered.status.message.is_empty() {
        say(
            &mut out,
            keys::MESSAGE,
            &encode_message(&rendered.status.message),
        );
    }
    if let Some(details) = &rendered.status.details
        && !cut.contains(Part::Details)
    {
        say(&mut out, keys::DETAILS, &encode_bin(details));
    }
    if let Some((code, extra)) = &rendered.biz {
        say(&mut out, keys::BIZ_STATUS, &code.to_string());
        if let Some(extra) = extra
            && !cut.contains(Part::Extra)
        {
            say(&mut out, keys::BIZ_EXTRA, extra);
        }
    }
    if end.reason == Reason::Complete
        && let Some(text) = end.trailers.get(Scope::Plain, keys::MESSAGE)
        && let Ok(value) = HeaderValue::from_bytes(text.trim_ascii())
    {
        let _ = out.try_insert(keys::names::MESSAGE, value);
    }
    let trailers = match &end.reason {
        Reason::Failed(Failure::Status(_)) => say_no_business(&end.trailers, &mut out),
        Reason::Complete
        | Reason::Failed(Failure::Exception(_) | Failure::Business(_))
        | Reason::Canceled(_)
        | Reason::Hop(_) => Cow::Borrowed(&end.trailers),
    };
    let changed = metadata::write(&trailers, HeadersOf::Response, &mut out);
    if carried {
        let exact = !cut.contains(Part::Exact);
        carried::write(&end.reason, end.processed, node, exact, &mut out);
        // What has no room is among what `cut` names.
        metadata::carry(&trailers, &changed, room, &mut out);
        metadata::put_cut(&mut out, cut.and(end.cut));
    }
    out
}

/// Writes a `biz-status` that is no business error, and returns the other trailers.
fn say_no_business<'a>(trailers: &'a Metadata, out: &mut HeaderMap) -> Cow<'a, Metadata> {
    const NAMES: [&str; 2] = [keys::BIZ_STATUS, keys::BIZ_EXTRA];
    let is = |key: &[u8]| NAMES.into_iter().find(|name| key == name.as_bytes());
    if !trailers.iter().any(|entry| is(&entry.key).is_some()) {
        return Cow::Borrowed(trailers);
    }
    let mut others = trailers.clone();
    others.retain(|entry| {
        let name = is(&entry.key);
        if let Some(name) = name
            && let Ok(value) = HeaderValue::from_bytes(&entry.value)
        {
            let _ = out.try_insert(HeaderName::from_static(name), value);
        }
        name.is_none()
    });
    Cow::Owned(others)
}

fn say(out: &mut HeaderMap, name: &'static str, value: &str) {
    put(out, HeaderName::from_static(name), value);
}

fn size(headers: &HeaderMap) -> usize {
    let one =
        |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + PER_HEADER;
    headers.iter().map(one).sum()
}

fn shorten_trailers(end: &mut Cow<'_, End>, over: usize) -> bool {
    if end.trailers.is_empty() {
        return false;
    }
    let trailers = &mut end.to_mut().trailers;
    let mut gone = 0;
    let mut kept = trailers.len();
    for entry in trailers.iter().rev().cloned().collect::<Vec<_>>() {
        if gone >= over {
            break;
        }
        let mut alone = Metadata::new();
        alone.push(entry.scope, entry.key, entry.value);
        let mut headers = HeaderMap::new();
        metadata::write(&alone, HeadersOf::Response, &mut headers);
        gone += size(&headers);
        kept -= 1;
    }
    let mut at = 0;
    trailers.retain(|_| {
        at += 1;
        at <= kept
    });
    true
}

fn shorten_path(end: &mut Cow<'_, End>) -> bool {
    let Reason::Canceled(Cancel { path, .. }) = &end.reason else {
        return false;
    };
    let short = path.shortened(SHORT_PATH);
    if short == *path {
        return false;
    }
    if let Reason::Canceled(cancel) = &mut end.to_mut().reason {
        cancel.path = short;
    }
    true
}

fn shorten_text(end: &mut Cow<'_, End>, node: &str, wording: Wording, over: usize) -> bool {
    let rendered = RenderedStatus::of(&end.reason, node, wording);
    let written = encode_message(&rendered.status.message).len();
    let whole = text(&end.reason).to_owned();
    let others = written - encode_message(&whole).len().min(written);
    let room = written.saturating_sub(over + others + encode_message(MARK).len());
    let mut used = 0;
    let mut short = String::new();
    for c in whole.chars() {
        used += match c {
            // A space at either end would be escaped.
            ' ' | '%' => 3,
            '!'..='~' => 1,
            _ => 3 * c.len_utf8(),
        };
        if used > room {
            break;
        }
        short.push(c);
    }
    if short.len() == whole.len() {
        return false;
    }
    short.push_str(MARK);
    set_text(&mut end.to_mut().reason, &short);
    true
}

fn text(reason: &Reason) -> &str {
    match reason {
        Reason::Complete => "",
        Reason::Failed(Failure::Status(status)) => &status.message,
        Reason::Failed(Failure::Exception(exception)) => &exception.text,
        Reason::Failed(Failure::Business(found)) => &found.text,
        Reason::Canceled(cancel) => &cancel.cause.text,
        Reason::Hop(hop) => &hop.text,
    }
}

fn set_text(reason: &mut Reason, text: &str) {
    match reason {
        Reason::Complete => {}
        Reason::Failed(Failure::Status(status)) => text.clone_into(&mut status.message),
        Reason::Failed(Failure::Exception(exception)) => text.clone_into(&mut exception.text),
        Reason::Failed(Failure::Business(found)) => text.clone_into(&mut found.text),
        Reason::Canceled(cancel) => {
            text.clone_into(&mut cancel.cause.text);
            if let Some(status) = &mut cancel.status {
                text.clone_into(&mut status.message);
            }
        }
        Reason::Hop(hop) => text.clone_into(&mut hop.text),
    }
}
