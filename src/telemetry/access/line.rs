//! The fields of an access log line. Every text of a peer is bounded and escaped.
//!
//! Times have the same names in the log, here and on the admin pages. `timestamp` is when the line
//! or the record was made; `..._at` is another moment. Both are RFC 3339 in UTC. `duration_ms` is
//! how long a stream took, or takes while it is open.

use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::stream::{Cancel, End, Failure, Path, Reason};
use crate::telemetry::names;
use crate::telemetry::record::Finished;
use crate::telemetry::trace::StreamTrace;

/// The longest name that is kept, in bytes.
const MAX_NAME: usize = 256;
/// The longest text that is kept, in bytes.
const MAX_TEXT: usize = 1024;

/// Writes one JSON object. Writing to a Vec cannot fail, so results are dropped.
struct Object<'a> {
    to: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Object<'a> {
    fn open(to: &'a mut Vec<u8>) -> Self {
        to.push(b'{');
        Self { to, first: true }
    }

    fn close(self) {
        self.to.push(b'}');
    }

    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.first {
            self.to.push(b',');
        }
        self.first = false;
        self.to.push(b'"');
        self.to.extend_from_slice(key.as_bytes());
        self.to.extend_from_slice(b"\":");
        self.to
    }

    fn text(&mut self, key: &str, value: &str, max: usize) {
        string(self.key(key), value, max);
    }

    fn name(&mut self, key: &str, value: &str) {
        self.text(key, value, MAX_NAME);
    }

    fn some(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.name(key, value);
        }
    }

    fn raw(&mut self, key: &str, value: impl std::fmt::Display) {
        let _ = write!(self.key(key), "{value}");
    }

    fn quoted(&mut self, key: &str, value: impl std::fmt::Display) {
        let _ = write!(self.key(key), "\"{value}\"");
    }
}

fn string(to: &mut Vec<u8>, value: &str, max: usize) {
    let cut = names::bounded(value, max);
    let written = if cut.len() < value.len() {
        serde_json::to_writer(to, &format!("{cut}..."))
    } else {
        serde_json::to_writer(to, value)
    };
    debug_assert!(written.is_ok());
}

pub(super) fn format(to: &mut Vec<u8>, node: &str, finished: &Finished<'_>, trace: &StreamTrace) {
    let stream = finished.stream;
    let info = &stream.info;
    let outcome = &finished.outcome;
    let mut line = Object::open(to);
    let ended = stream.started_at.checked_add(finished.duration);
    line.quoted("timestamp", rfc3339(ended.unwrap_or(stream.started_at)));
    line.name("node", node);
    line.name("listener", &info.series.listener);
    line.some("route", &info.series.route);
    line.some("backend", &info.backend);
    if let Some(peer) = info.peer {
        line.quoted("peer", peer);
    }
    if let Some(endpoint) = stream.endpoint() {
        line.quoted("endpoint", endpoint);
    }
    if stream.is_retried() {
        line.raw("retries", 1);
    }
    line.quoted("inbound", info.series.inbound.name);
    if let Some(outbound) = info.series.outbound {
        line.quoted("outbound", outbound.name);
    }
    line.name("service", &info.service);
    line.name("method", &info.method);
    if let Some(caller) = &info.caller {
        line.name("caller", caller);
    }
    let micros = finished.duration.as_micros();
    line.raw(
        "duration_ms",
        format_args!("{}.{:03}", micros / 1000, micros % 1000),
    );
    let traffic = &outcome.traffic;
    line.raw("request_messages", traffic.request_messages);
    line.raw("request_bytes", traffic.request_bytes);
    line.raw("response_messages", traffic.response_messages);
    line.raw("response_bytes", traffic.response_bytes);
    end(&mut line, outcome.end, node);
    if let (Some(code), Some(codes)) = (outcome.native_code, info.series.inbound.codes) {
        line.raw(codes.log_key, code.0);
    }
    if let Some(trace_id) = trace.trace_id() {
        line.quoted("trace_id", trace_id);
    }
    if let Some(span_id) = trace.span_id() {
        line.quoted("span_id", span_id);
    }
    line.close();
    to.push(b'\n');
}

fn end(line: &mut Object<'_>, end: &End, node: &str) {
    line.quoted("end", names::end_name(end));
    line.quoted("by", names::party_name(end.by));
    line.quoted("processed", names::processed_name(end.processed));
    if let Some(at) = names::error_index(end) {
        line.quoted("error_type", names::error_name(at));
    }
    match &end.reason {
        Reason::Complete => {}
        Reason::Failed(Failure::Status(status)) => {
            line.raw("status", status.code);
            line.text("text", &status.message, MAX_TEXT);
        }
        Reason::Failed(Failure::Exception(exception)) => {
            line.raw("code", exception.type_id);
            line.text("text", &exception.text, MAX_TEXT);
        }
        Reason::Failed(Failure::Business(business)) => {
            line.raw("code", business.code);
            if let Some(status) = &business.status {
                line.raw("status", status.code);
            }
            line.text("text", &business.text, MAX_TEXT);
        }
        Reason::Canceled(it) => cancel(line, it),
        Reason::Hop(hop) if hop.kind.before_backend() => {
            line.raw("code", hop.kind.cause());
            line.text("text", &hop.text, MAX_TEXT);
        }
        // Both neighbours receive a cancel with this path.
        Reason::Hop(hop) => {
            line.raw("cause", hop.kind.cause());
            line.text("text", &hop.text, MAX_TEXT);
            path(line, &hop.path(node));
        }
    }
}

fn cancel(line: &mut Object<'_>, cancel: &Cancel) {
    line.raw("cause", cancel.cause.code);
    line.text("text", &cancel.cause.text, MAX_TEXT);
    line.raw("class", cancel.class.code());
    line.quoted("how", cancel.signal.name());
    path(line, &cancel.path);
}

fn path(line: &mut Object<'_>, path: &Path) {
    if let Some(origin) = path.origin() {
        line.name("origin", origin);
    }
    let to = line.key("path");
    to.push(b'[');
    for (i, name) in path.names().iter().enumerate() {
        if i > 0 {
            to.push(b',');
        }
        string(to, name, MAX_NAME);
    }
    to.push(b']');
}

/// A time in UTC with milliseconds, as RFC 3339 has it.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis()
    )
}

/// Days since 1970-01-01 as year, month, day (H. Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`).
const fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        let at = |secs, ms: u32| UNIX_EPOCH + Duration::new(secs, ms * 1_000_000);
        assert_eq!(rfc3339(at(0, 0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(at(951_827_696, 7)), "2000-02-29T12:34:56.007Z");
        assert_eq!(rfc3339(at(1_709_251_199, 999)), "2024-02-29T23:59:59.999Z");
        assert_eq!(rfc3339(at(4_102_444_800, 0)), "2100-01-01T00:00:00.000Z");
    }
}
