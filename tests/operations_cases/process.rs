//! The process: signals, `RUST_LOG`, and `ripcord explain` on what people paste.

use std::io::Write;
use std::path::Path;

use serde_json::Value;

use crate::kit::ripcord::Ripcord;
use crate::kit::spec::Spec;
use crate::kit::tt;
use crate::{hop, table};

/// A hop with one open stream to a callee that sends nothing.
fn with_a_stream(spec: Spec, then: impl FnOnce(&Ripcord)) {
    let callee = tt::Listener::start();
    let ripcord = spec.to("protocol: ttheader", &callee.address).start();
    let caller = tt::Connection::connect(&ripcord.address);
    caller.open(1, "Talk", &[("isn", "Chat")]);
    let called = callee.accept();
    called.stream(0);
    then(&ripcord);
}

const ENDS: &str = "a second signal ends the process at once";

/// Until it counts: one that comes with the first is the same wish.
fn signal_again(hop: &Ripcord, signal: &str) {
    hop.wait("a second signal counts", || {
        let lines = hop.process.all();
        let counts = lines.iter().any(|line| {
            let said = line["message"].as_str();
            said.is_some_and(|said| said.starts_with(ENDS))
        });
        if !counts {
            hop.process.signal(signal);
        }
        counts
    });
}

#[test]
fn a_second_signal_ends_a_drain_at_once() {
    for (first, second, exit_code) in [("TERM", "INT", 130), ("INT", "TERM", 143)] {
        with_a_stream(Ripcord::named("hop").set("drain: { timeout: 1h }"), |hop| {
            hop.process.signal(first);
            assert_eq!(hop.logged("draining")["streams"], 1);
            signal_again(hop, second);
            let line = hop.logged(ENDS);
            assert_eq!(line["level"], "WARN");
            assert_eq!(line["streams"], 1);
            assert_eq!(line["signal"], format!("SIG{second}"));
            assert_eq!(hop.process.exit_code(), Some(exit_code));
        });
    }
}

/// The callers and the log hear the name, not only that there is no endpoint.
#[test]
fn a_name_that_does_not_resolve_is_told() {
    let keys = "protocol: ttheader, connect_timeout: 1s";
    let hop = Ripcord::named("hop")
        .to(keys, "no-such-host.invalid:8888")
        .start();
    let line = hop.logged("name not resolved; it has no address, so streams cannot reach it");
    assert_eq!(line["name"], "no-such-host.invalid");
    let caller = tt::Connection::connect(&hop.address);
    caller.open(1, "Talk", &[("isn", "Chat")]);
    let refused = hop
        .process
        .line("the refusal", |line| line["text"].is_string());
    let text = refused["text"].as_str().unwrap();
    let told = "cannot be reached: no-such-host.invalid does not resolve (";
    assert!(text.contains(told), "{text}");
}

/// A collector that says nothing holds up the last spans for some seconds.
#[test]
fn a_second_signal_does_not_wait_for_the_last_spans() {
    let collector = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let otlp = format!(
        "{{ endpoint: 'http://{}' }}",
        collector.local_addr().unwrap()
    );
    let hop = Ripcord::named("hop")
        .traced(&otlp)
        .table(table("a"))
        .start();
    let caller = tt::Connection::connect(&hop.address);
    caller.open(1, "Talk", &[("isn", "Chat")]);
    hop.wait("the stream's end", || {
        hop.metric("ripcord_streams_total", "") == 1
    });
    hop.wait_idle();
    hop.process.signal("TERM");
    hop.logged("drained");
    signal_again(&hop, "INT");
    assert_eq!(hop.process.exit_code(), Some(130));
}

/// As logrotate does it: rename, then SIGHUP.
#[test]
fn sighup_reopens_the_access_log() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let name = |end: &str| folder.join(format!("rotated-{}.{end}", std::process::id()));
    let (path, old) = (name("log"), name("log.1"));
    let _ = std::fs::remove_file(&path);
    let ripcord = Ripcord::named("hop")
        .access_log(&path)
        .table(table("a"))
        .start();
    // Nobody listens there: a line for each.
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-00");
    let stream = |id| {
        let caller = tt::Connection::connect(&ripcord.address);
        let strings = [("isn", "Chat"), ("RPC_TRANSIT_traceparent", &*parent)];
        caller.open(id, "Talk", &strings);
        ripcord.wait("the line", || {
            ripcord.metric("ripcord_streams_total", "") == u64::from(id.unsigned_abs())
        });
        ripcord.wait_idle();
    };
    let reopened = |message: &str, count| {
        ripcord.process.signal("HUP");
        let wanted = |line: &Value| line["message"].to_string().contains(message);
        ripcord.process.lines(message, count, wanted);
    };
    let lines = |path: &Path| std::fs::read_to_string(path).unwrap().lines().count();
    stream(1);
    std::fs::rename(&path, &old).unwrap();
    reopened("access log reopened", 1);
    assert_eq!((lines(&old), lines(&path)), (1, 0));
    stream(2);
    std::fs::rename(&path, &old).unwrap();
    std::fs::create_dir(&path).unwrap();
    reopened("access log cannot be reopened", 1);
    std::fs::remove_dir(&path).unwrap();
    stream(3);
    reopened("access log reopened", 2);
    assert_eq!((lines(&old), lines(&path)), (2, 0));
    // Without an exporter a line has the caller's trace, and the time's name of the log.
    for line in std::fs::read_to_string(&old).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["trace_id"], trace);
        assert!(line["timestamp"].is_string(), "{line}");
    }
    for file in [&path, &old] {
        std::fs::remove_file(file).unwrap();
    }
}

#[test]
fn rust_log_overrides_the_configured_level() {
    let ripcord = hop()
        .table(table("a"))
        .environment("RUST_LOG", "info,ripcord=debug")
        .start();
    let line = ripcord.logged("RUST_LOG filters the log");
    assert_eq!(line["filter"], "info,ripcord=debug");
}

#[test]
fn a_bad_rust_log_is_an_error_at_the_start() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/grpc-to-grpc.yaml");
    let output = std::process::Command::new(crate::kit::ripcord::binary())
        .args(["run", "--config"])
        .arg(file)
        .env("RUST_LOG", "inof")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let wanted = "ripcord: RUST_LOG: bad log filter \"inof\": \"inof\" is no level; allowed: ";
    assert!(said.starts_with(wanted), "{said}");
}

/// What `ripcord explain` prints for these arguments and that standard input, and its exit code.
fn explained(arguments: &[&str], input: &str) -> (String, Option<i32>) {
    use std::process::{Command, Stdio};
    let mut child = Command::new(crate::kit::ripcord::binary())
        .arg("explain")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8(said).unwrap(), output.status.code())
}

#[test]
fn explain_takes_a_pasted_line_quoted_unquoted_or_from_standard_input() {
    let line = "[ttstream error, code=12013] [server-side stream] [canceled path: a -> b] gone";
    let (quoted, code) = explained(&[line], "");
    assert_eq!(code, Some(0));
    assert!(quoted.contains("\n  first:      a "), "{quoted}");
    assert!(
        quoted.contains("\n  through:    b\n") && quoted.contains("\nttstream code 12013: "),
        "{quoted}"
    );
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(explained(&words, ""), (quoted.clone(), Some(0)));
    assert_eq!(explained(&["-"], &format!("{line}\n")), (quoted, Some(0)));
    let (said, code) = explained(&["iddle"], "");
    assert_eq!(code, Some(1));
    let wanted = "ripcord: \"iddle\" is unknown (did you mean \"idle\"?); allowed: ";
    assert!(said.starts_with(wanted), "{said}");
}

/// `timeout` signals its child, and then the group that it is in.
#[test]
fn two_signals_at_once_drain() {
    with_a_stream(
        Ripcord::named("hop").set("drain: { timeout: 600ms }"),
        |hop| {
            hop.process.signal("TERM");
            hop.process.signal("INT");
            assert_eq!(hop.process.exit_code(), Some(0));
        },
    );
}
