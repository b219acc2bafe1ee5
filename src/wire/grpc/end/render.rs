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
use crate::stream::{
    Cancel, CancelSignal, Cut, End, Failure, MARK, Metadata, Part, Processed, Reason, Scope,
    Status, shorten,
};
use crate::wire::grpc::keys;
use crate::wire::grpc::limit::{BlockLimit, PER_FIELD, Size};
use crate::wire::grpc::metadata::{self, HeadersOf, Room, put};
use crate::wire::grpc::status::{details_agree, encode_bin, encode_message};

/// Bytes to which a path is cut.
const SHORT_PATH: usize = 512;

/// Bytes that a shorter text may save less than was counted: lengths and base64 are rounded.
const ROUNDED: usize = 8;

/// The most fields in which the exact entries stand.
const CARRIED_FIELDS: usize = 2;

/// How often a text is cut, until what was rounded fits too.
const ATTEMPTS: usize = 3;

/// Renders an end within `limit`.
pub(super) fn trailers(
    end: &End,
    node: &str,
    carried: bool,
    wording: Wording,
    limit: BlockLimit,
) -> HeaderMap {
    if is_plain_success(end) && limit.takes(Size::field(keys::STATUS, 1)) {
        let mut out = HeaderMap::new();
        let _ = out.try_insert(keys::names::STATUS, HeaderValue::from_static("0"));
        return out;
    }
    let mut end = Cow::Borrowed(end);
    let mut cut = Cut::default();
    if drop_false_details(&mut end) {
        cut.insert(Part::Details);
    }
    // Trailers that can never fit are not rendered even once.
    if end.trailers.size() > limit.bytes().saturating_mul(4) {
        cut.insert(Part::Trailers);
        let kept = limit.keep(&end.trailers, &mut cut);
        end.to_mut().trailers = kept;
    }
    if text(&end.reason).len() > limit.bytes() {
        let short = shorten(text(&end.reason), limit.bytes()).into_owned();
        set_text(&mut end.to_mut().reason, &short);
    }
    let early = cut.clone();
    let with = |end: &End, cut: &Cut, room| render(end, node, carried, wording, cut, room);
    let render = |end: &End, cut: &Cut| match cut.contains(Part::Exact) {
        true => with(end, cut, Room::NONE),
        false => with(end, cut, Room::FREE),
    };
    let mut out = render(&end, &cut);
    for part in order(has_own_details(&end.reason)) {
        if limit.takes(Size::of(&out)) {
            break;
        }
        cut.insert(part);
        // The name of the part in `ripcord-cut` takes room too.
        let marked = render(&end, &cut);
        let changed = match part {
            Part::Exact | Part::Details | Part::Extra => Size::of(&marked).is_less(Size::of(&out)),
            Part::Headers => false,
            Part::Trailers => shorten_trailers(&mut end, &mut cut, limit, render),
            Part::Path => shorten_path(&mut end),
            Part::Text => shorten_text(&mut end, &cut, limit, render),
        };
        if !changed && !early.contains(part) {
            cut.remove(part);
        }
        out = render(&end, &cut);
    }
    // As many exact entries as there is room for.
    let left = limit.without(Size::of(&out));
    if cut.contains(Part::Exact) && left.fields() >= CARRIED_FIELDS {
        let room = Room::within(left.bytes(), PER_FIELD);
        // Perhaps all of them have room now.
        let mut without = cut.clone();
        without.remove(Part::Exact);
        out = with(&end, &without, room);
        if !limit.takes(Size::of(&out)) {
            out = with(&end, &cut, room);
        }
    }
    if !limit.takes(Size::of(&out)) {
        // The caller takes hardly anything.
        metadata::strip(&mut out);
    }
    out
}

/// Whether it is the usual end of a stream: OK, and nothing to say beside it.
fn is_plain_success(end: &End) -> bool {
    matches!(end.reason, Reason::Complete)
        && end.processed == Processed::Yes
        && end.trailers.is_empty()
        && end.cut.is_empty()
}

/// The order of cutting. The details that ripcord itself writes beside an end go last: they have
/// the text, which is cut there as well.
fn order(own: bool) -> impl Iterator<Item = Part> {
    let first = move |part: &Part| !own || *part != Part::Details;
    let last = own.then_some(Part::Details);
    Part::ORDER.into_iter().filter(first).chain(last)
}

/// Whether ripcord writes the details, and not the callee.
fn has_own_details(reason: &Reason) -> bool {
    match reason {
        Reason::Complete | Reason::Failed(Failure::Status(_)) => false,
        Reason::Failed(Failure::Exception(_)) | Reason::Hop(_) => true,
        Reason::Failed(Failure::Business(found)) => found.status.is_none(),
        Reason::Canceled(cancel) => {
            cancel.signal != CancelSignal::STATUS || cancel.status.is_none()
        }
    }
}

/// Removes a peer's details that contradict the status or are no `google.rpc.Status`. Returns
/// whether it had any. Some libraries show the code of the details in place of the status', and
/// take 0 there for success (connect-node).
fn drop_false_details(end: &mut Cow<'_, End>) -> bool {
    let agree = status(&end.reason).is_none_or(|status| {
        let details = status.details.as_ref();
        details.is_none_or(|details| details_agree(details, status.code))
    });
    if !agree && let Some(status) = status_mut(&mut end.to_mut().reason) {
        status.details = None;
    }
    !agree
}

/// The status that a peer sent with the end.
fn status(reason: &Reason) -> Option<&Status> {
    match reason {
        Reason::Failed(Failure::Status(status)) => Some(status),
        Reason::Failed(Failure::Business(found)) => found.status.as_ref(),
        Reason::Canceled(cancel) => cancel.status.as_deref(),
        Reason::Complete | Reason::Failed(Failure::Exception(_)) | Reason::Hop(_) => None,
    }
}

fn status_mut(reason: &mut Reason) -> Option<&mut Status> {
    match reason {
        Reason::Failed(Failure::Status(status)) => Some(status),
        Reason::Failed(Failure::Business(found)) => found.status.as_mut(),
        Reason::Canceled(cancel) => cancel.status.as_deref_mut(),
        Reason::Complete | Reason::Failed(Failure::Exception(_)) | Reason::Hop(_) => None,
    }
}

fn render(
    end: &End,
    node: &str,
    carried: bool,
    wording: Wording,
    cut: &Cut,
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
        let lost = metadata::carry(&trailers, &changed, room, &mut out);
        let cut = cut.clone().and(&end.cut).and(&lost.unnamed());
        metadata::put_cut(&mut out, &cut);
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

/// Keeps the trailers for which there is room, and names the others.
fn shorten_trailers(
    end: &mut Cow<'_, End>,
    cut: &mut Cut,
    limit: BlockLimit,
    render: impl Fn(&End, &Cut) -> HeaderMap,
) -> bool {
    let all = std::mem::replace(&mut end.to_mut().trailers, Metadata::new());
    let mut bare = render(end, cut);
    let mut left = limit;
    if bare.remove(keys::CUT).is_some() {
        left = left.without(Size::field(keys::CUT, Cut::MAX_LEN));
    }
    let kept = left.without(Size::of(&bare)).keep(&all, cut);
    let changed = kept.fields() < all.fields();
    end.to_mut().trailers = kept;
    changed
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

/// Cuts the text at its end until the whole fits, as far as that helps.
fn shorten_text(
    end: &mut Cow<'_, End>,
    cut: &Cut,
    limit: BlockLimit,
    render: impl Fn(&End, &Cut) -> HeaderMap,
) -> bool {
    let details = has_own_details(&end.reason) && !cut.contains(Part::Details);
    let mut changed = false;
    for _ in 0..ATTEMPTS {
        let size = Size::of(&render(end, cut)).bytes();
        if size <= limit.bytes() {
            break;
        }
        let over = size - limit.bytes() + if details { ROUNDED } else { 0 };
        let whole = text(&end.reason);
        let whole = whole.strip_suffix(MARK).unwrap_or(whole).to_owned();
        let short = shortened(&whole, over, details, changed);
        if short.len() == whole.len() {
            break;
        }
        changed = true;
        set_text(&mut end.to_mut().reason, &format!("{short}{MARK}"));
    }
    changed
}

/// As much of the beginning of `whole` as saves `over` bytes. `details`: the text stands in the
/// details too. `marked`: the room for the mark is already counted.
fn shortened(whole: &str, over: usize, details: bool, marked: bool) -> &str {
    let cost = |text: &str| {
        let copy = if details { text.len() * 4 } else { 0 };
        encode_message(text).len() * 3 + copy
    };
    let mark = if marked { 0 } else { cost(MARK) };
    let room = cost(whole).saturating_sub(over * 3 + mark);
    let (mut used, mut leading) = (0, true);
    for (at, c) in whole.char_indices() {
        leading &= c == ' ';
        let written = match c {
            // A space at the beginning may be escaped.
            ' ' if !leading => 1,
            '!'..='$' | '&'..='~' => 1,
            ' ' | '%' => 3,
            _ => 3 * c.len_utf8(),
        };
        used += written * 3 + if details { c.len_utf8() * 4 } else { 0 };
        if used > room {
            return whole.get(..at).unwrap_or_default();
        }
    }
    whole
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
