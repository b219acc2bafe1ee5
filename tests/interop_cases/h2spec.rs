//! h2spec, the HTTP/2 conformance suite, against the gRPC listener. It speaks HTTP and not gRPC, so
//! every request is refused at once with a status (405). `tests/interop/README.md` explains what it
//! then misses. Any other failure fails here.

use std::process::Command;

use crate::kit::peers::build;
use crate::kit::ripcord::Ripcord;
use crate::kit::trial::cases;

cases! {
    [Go] {
        h2spec_fails_only_where_it_is_explained,
    }
}

/// Cases, as h2spec names them, that may fail.
const EXPLAINED: &[&str] = &[
    "Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded",
    // It grants no window and waits for DATA: a refusal's text is left out then.
    "Sends a SETTINGS frame for window size to be negative",
    "Changes SETTINGS_INITIAL_WINDOW_SIZE after sending HEADERS frame",
    // Whether the answer or the fault is first is a race; here h2spec may see neither.
    "Sends a HEADERS frame that contains a pseudo-header field as trailers",
    "Sends a second HEADERS frame without the END_STREAM flag",
    "Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream",
    "Sends a WINDOW_UPDATE frame with a flow control window increment of 0 on a stream",
    "Sends a HEADERS frame with the \"content-length\" header field which does not equal the DATA frame payload length",
    "Sends a HEADERS frame with the \"content-length\" header field which does not equal the sum of the multiple DATA frames payload length",
];

/// What any case may see instead of what it waits for: the answer, HEADERS and DATA with
/// END_STREAM, was first.
const ANSWERED: (&str, &str) = ("Actual: DATA Frame", "flags:0x01");

/// Cases of the pinned version.
const CASES: usize = 145;

fn h2spec_fails_only_where_it_is_explained() {
    let program = build(
        "h2spec",
        "h2spec",
        "github.com/summerwind/h2spec/cmd/h2spec",
    );
    // No request of it comes as far as to a backend.
    let hop = Ripcord::named("h2spec")
        .backend("none", "protocol: grpc", "127.0.0.1:9")
        .route("none", "match: { service: None }, backend: none")
        .start();
    let (host, port) = hop.address.rsplit_once(':').unwrap();
    let out = Command::new(program)
        // How long it waits for a frame, in seconds: a machine of CI is slow.
        .args(["--host", host, "--port", port, "--timeout", "10"])
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let (cases, failures) = text.split_once("Failures:").unwrap_or((&text, ""));
    // Each begins with its number and name; what it saw is its last line.
    let unexplained: Vec<_> = failures
        .split("× ")
        .skip(1)
        .filter(|case| {
            let (title, saw) = case.split_once('\n').unwrap_or((case, ""));
            let name = title.split_once(": ").map_or(title, |(_, name)| name);
            let answered = saw
                .lines()
                .any(|line| line.contains(ANSWERED.0) && line.contains(ANSWERED.1));
            !answered && !EXPLAINED.contains(&name.trim())
        })
        .collect();
    assert!(unexplained.is_empty(), "{unexplained:?}\n{text}");
    let summary = text.lines().last().unwrap_or_default();
    assert!(
        summary.starts_with(&format!("{CASES} tests, ")),
        "{summary}\n{cases}"
    );
    println!("h2spec: {summary}");
}
