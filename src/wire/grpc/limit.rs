//! What a caller takes of one header block (a head, trailers, or both in a Trailers-Only block),
//! and heads within that.
//!
//! Peers measure a block as RFC 9113, 6.5.2, says: each field is its name, its value and 32 bytes
//! more, `:status` included. grpc-java and Armeria refuse more than 8,192 bytes, grpcio some blocks
//! from 8,192 bytes on, tonic and volo heads over 16 KiB. Node refuses more than 128 fields.

use http::{HeaderMap, HeaderName, HeaderValue, Response};

use crate::stream::{Cut, Entry, Metadata, Part, Payload, RequestHead, ResponseHead};
use crate::wire::grpc::keys;
use crate::wire::grpc::metadata::{self, HeadersOf, Room};

/// Bytes that every field has beside its name and value.
pub(super) const PER_FIELD: usize = 32;

/// `:status`, which is on every head.
const STATUS: Size = Size {
    bytes: ":status".len() + "200".len() + PER_FIELD,
    fields: 1,
};

/// The most bytes of a block toward a caller, if its listener says nothing else: 8 KiB, the least
/// that a gRPC library takes, and some room to be safe.
pub const MAX_HEAD: usize = 8 * 1024 - 256;

/// The most fields of a block toward a caller.
pub const MAX_FIELDS: usize = 100;

/// The most bytes of a block toward another ripcord, which cuts it for its own caller.
const MAX_TO_RIPCORD: usize = 64 * 1024;

/// `SETTINGS_MAX_HEADER_LIST_SIZE` of a ripcord toward its callees: the bytes that it reads of a
/// head or an end, whatever `metadata_size` is. It is about as many as a TTHeader block can have.
/// With a lower limit, some callees would reset the stream instead of sending their status
/// (grpc-go, Kitex). Others would ignore the limit (grpcio), and `h2` then ends the whole
/// connection.
pub(super) const RIPCORD_READS: u32 = 256 * 1024;

/// The size of a header block, or of a part of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    bytes: usize,
    fields: usize,
}

impl Size {
    /// The size of these fields.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let one =
            |(name, value): (&HeaderName, &HeaderValue)| Self::field(name.as_str(), value.len());
        headers.iter().map(one).fold(Self::default(), Self::plus)
    }

    /// One field with a value of so many bytes.
    pub(super) const fn field(name: &str, value: usize) -> Self {
        Self {
            bytes: name.len() + value + PER_FIELD,
            fields: 1,
        }
    }

    /// Both together.
    pub(super) const fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            fields: self.fields + other.fields,
        }
    }

    /// Its bytes, 32 for each field included.
    pub(super) const fn bytes(self) -> usize {
        self.bytes
    }

    /// Whether it is less in any way.
    pub(super) const fn is_less(self, other: Self) -> bool {
        self.bytes < other.bytes || self.fields < other.fields
    }
}

/// How much a block may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockLimit {
    bytes: usize,
    fields: usize,
}

impl BlockLimit {
    /// What any gRPC library takes.
    pub const CALLER: Self = Self {
        bytes: MAX_HEAD,
        fields: MAX_FIELDS,
    };

    /// For a caller that announced so much (`SETTINGS_MAX_HEADER_LIST_SIZE`), on a listener that
    /// sets `max_head`. More than that is never sent because a caller announces it: grpcio
    /// announces 16 KiB and fails from 8 KiB on.
    ///
    /// `from_ripcord`: the request says that a ripcord sent it. That counts only if the connection
    /// is a ripcord's too, since a proxy between passes the request on.
    #[must_use]
    pub fn of_caller(max_head: usize, announced: Option<u32>, from_ripcord: bool) -> Self {
        if from_ripcord && announced == Some(RIPCORD_READS) {
            return Self {
                bytes: max_head.max(MAX_TO_RIPCORD),
                fields: usize::MAX,
            };
        }
        let announced = announced.and_then(|n| usize::try_from(n).ok());
        Self {
            bytes: announced.map_or(max_head, |n| n.min(max_head)),
            fields: MAX_FIELDS,
        }
    }

    /// What is left of it beside a head without metadata, in a Trailers-Only block.
    #[must_use]
    pub fn beside(self, head: &HeaderMap) -> Self {
        self.without(STATUS.plus(Size::of(head)))
    }

    /// Whether the block fits.
    pub(super) const fn takes(self, size: Size) -> bool {
        size.bytes <= self.bytes && size.fields <= self.fields
    }

    /// How many bytes it may have.
    pub(super) const fn bytes(self) -> usize {
        self.bytes
    }

    /// How many fields it may have.
    pub(super) const fn fields(self) -> usize {
        self.fields
    }

    /// Room for exact entries in a head of which so much is left.
    fn room(self) -> Room {
        match self.fields >= EXACT_FIELDS {
            true => Room::of_head_within(self.bytes, PER_FIELD),
            false => Room::NONE,
        }
    }

    /// What is left of it beside that.
    pub(super) const fn without(self, size: Size) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(size.bytes),
            fields: self.fields.saturating_sub(size.fields),
        }
    }

    /// The entries that fit, and the names of the others. The fields that gRPC defines come first.
    /// Of the rest, each is kept that the ones before it leave room for.
    pub(super) fn keep(self, entries: &Metadata, cut: &mut Cut) -> Metadata {
        let mut left = self;
        let mut kept = vec![false; entries.len()];
        for grpc in [true, false] {
            for (entry, kept) in entries.iter().zip(&mut kept) {
                if is_grpc(entry) == grpc {
                    // What cannot fit is not even measured.
                    let least = entry.key.len() + entry.value.len();
                    let size = (least <= left.bytes && left.fields > 0).then(|| size_of(entry));
                    let Some(size) = size.filter(|size| left.takes(*size)) else {
                        continue;
                    };
                    *kept = true;
                    left = left.without(size);
                }
            }
        }
        let mut out = Metadata::with_capacity(entries.len());
        for (entry, kept) in entries.iter().zip(kept) {
            if kept {
                out.push(entry.scope, entry.key.clone(), entry.value.clone());
            } else {
                cut.insert_name(&entry.key);
            }
        }
        for (name, value) in entries.malformed() {
            let size = Size {
                bytes: name.len() + value.len() + PER_FIELD,
                fields: 1,
            };
            if left.takes(size) {
                left = left.without(size);
                out.push_malformed(name.clone(), value.clone());
            } else {
                cut.insert_name(name);
            }
        }
        out
    }
}

/// Whether gRPC itself reads the entry: `grpc-accept-encoding`, `grpc-retry-pushback-ms`.
fn is_grpc(entry: &Entry) -> bool {
    entry.key.starts_with(b"grpc-")
}

/// What one entry becomes in a block. A text beside OK is among the trailers.
fn size_of(entry: &Entry) -> Size {
    if entry.key == keys::MESSAGE {
        return Size::field(keys::MESSAGE, entry.value.len());
    }
    let mut alone = Metadata::new();
    alone.push(entry.scope, entry.key.clone(), entry.value.clone());
    let mut headers = HeaderMap::new();
    metadata::write(&alone, HeadersOf::Response, &mut headers);
    Size::of(&headers)
}

/// A callee's head as its caller can take it. What was cut, here or by a hop before, is named.
/// `carried`: the fields that only ripcord reads are written.
#[must_use]
pub fn response(
    head: &ResponseHead,
    payload: &Payload,
    carried: bool,
    limit: BlockLimit,
) -> Response<()> {
    // What had no room among the exact entries is named already.
    let (mut response, lost) = metadata::response_and_cut(head, payload);
    if !carried {
        metadata::strip(response.headers_mut());
    }
    let fits = |response: &Response<()>| limit.takes(STATUS.plus(Size::of(response.headers())));
    if fits(&response) {
        return response;
    }
    let mut cut = lost;
    if without_exact(response.headers_mut()) {
        // As many of them as there is room for.
        response.headers_mut().remove(keys::CUT);
        let mark = Size::field(keys::CUT, Cut::MAX_LEN);
        let left = limit.beside(response.headers()).without(mark);
        let room = left.room();
        let (of, headers) = (HeadersOf::Response, response.headers_mut());
        let lost = metadata::write_exact_within(&head.metadata, of, room, headers);
        cut = head.cut.clone().and(&lost);
        finish(&mut response, carried, &cut);
        if fits(&response) {
            return response;
        }
    }
    let mut short = ResponseHead {
        encoding: head.encoding.clone(),
        ..ResponseHead::default()
    };
    let mark = match carried {
        true => Size::field(keys::CUT, Cut::MAX_LEN),
        false => Size::default(),
    };
    let bare = metadata::response(&short, payload);
    let left = limit.beside(bare.headers()).without(mark);
    short.metadata = left.keep(&head.metadata, &mut cut);
    if short.metadata.fields() < head.metadata.fields() {
        cut.insert(Part::Headers);
    }
    let mut response = metadata::response(&short, payload);
    without_exact(response.headers_mut());
    finish(&mut response, carried, &cut);
    if !fits(&response) {
        // Not even the mark has room.
        metadata::strip(response.headers_mut());
    }
    response
}

/// Removes the exact entries, which only ripcord reads. Returns whether there were any.
fn without_exact(headers: &mut HeaderMap) -> bool {
    let (packed, named) = (headers.remove(keys::META), headers.remove(keys::NAMES));
    packed.is_some() || named.is_some()
}

/// Removes what this caller must not receive, and names what was cut.
fn finish(response: &mut Response<()>, carried: bool, cut: &Cut) {
    match carried {
        true => metadata::put_cut(response.headers_mut(), cut),
        false => metadata::strip(response.headers_mut()),
    }
}

/// The fields in which exact entries stand.
const EXACT_FIELDS: usize = 2;

/// What a request can have beside its metadata, names and all: the fields of gRPC and HTTP/2, the
/// pack, the hops, the mark of what was cut.
const BESIDE_METADATA: usize = 7 * 1024;

/// A quick bound of a request's bytes: it has no more, and may have far less.
#[must_use]
pub fn at_most(head: &RequestHead) -> usize {
    let names = head.service.len() + head.method.len() + head.to.as_ref().map_or(0, String::len);
    // Base64 of what was no base64, and the prefix of metainfo.
    let metadata = head.metadata.size() * 2 + head.metadata.fields() * 2 * PER_FIELD;
    BESIDE_METADATA + names * 4 + metadata
}

/// Removes exact entries of a request with this head that has more bytes than its callee takes:
/// nothing but them is ripcord's to cut. As many stay as there is room for.
pub fn shorten_request(request: &mut http::Request<()>, head: &RequestHead, limit: usize) {
    if request_size(request) <= limit || !without_exact(request.headers_mut()) {
        return;
    }
    request.headers_mut().remove(keys::CUT);
    let mark = Size::field(keys::CUT, Cut::MAX_LEN).bytes();
    let left = limit.saturating_sub(request_size(request) + mark);
    let room = Room::of_head_within(left, PER_FIELD);
    let (of, headers) = (HeadersOf::Request, request.headers_mut());
    let lost = metadata::write_exact_within(&head.metadata, of, room, headers);
    let mut cut = head.cut.clone().and(&lost);
    metadata::put_cut(request.headers_mut(), &cut);
    if request_size(request) > limit {
        cut = cut.unnamed();
        metadata::put_cut(request.headers_mut(), &cut);
    }
}

/// The bytes of a request as its callee counts them (RFC 9113, 6.5.2).
#[must_use]
pub fn request_size(request: &http::Request<()>) -> usize {
    let uri = request.uri();
    let scheme = uri.scheme_str().unwrap_or_default();
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    let pseudo = [
        (":method", request.method().as_str()),
        (":scheme", scheme),
        (":authority", authority),
        (":path", path),
    ];
    let fields = pseudo
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| Size::field(name, value.len()))
        .fold(Size::of(request.headers()), Size::plus);
    fields.bytes
}

#[cfg(test)]
mod tests;
