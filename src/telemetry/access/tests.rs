//! Lines are JSON whatever the peers send, and nobody waits for the writer.

use std::sync::mpsc;

use serde_json::Value;

use super::*;
use crate::stream::{
    Cancel, CancelSignal, Cause, Class, End, Exception, Failure, Initiator, LocalEndKind, Metadata,
    NativeCode, RequestHead, Scope, Status,
};
use crate::telemetry::{Outcome, StreamInfo, StreamRecord, Telemetry, Tracer, Traffic};

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn write(telemetry: &Telemetry, name: &str, end: &End) {
    open(telemetry, name, &RequestHead::default()).finish(outcome(end));
}

fn open(telemetry: &Telemetry, name: &str, head: &RequestHead) -> StreamRecord {
    let series = telemetry.metrics.series(
        &Arc::from("in"),
        &Arc::from("chat"),
        &crate::wire::grpc::WIRE,
        Some(&crate::wire::ttheader::WIRE),
    );
    let info = StreamInfo {
        series,
        backend: Arc::from("b"),
        peer: "[::1]:7".parse().ok(),
        service: name.into(),
        method: name.into(),
        caller: Some(name.into()),
    };
    let record = telemetry.open(0, info, head);
    record.connected("10.0.0.1:8888".parse().unwrap());
    record
}

fn outcome(end: &End) -> Outcome<'_> {
    let traffic = Traffic {
        request_messages: 1,
        request_bytes: 2,
        response_messages: 3,
        response_bytes: 4,
    };
    Outcome {
        end,
        traffic,
        native_code: Some(NativeCode(1)),
    }
}

fn line(name: &str, end: &End) -> Value {
    let memory = Memory::default();
    let (access, guard) = AccessLog::start(&Arc::from("hop"), memory.clone()).unwrap();
    let telemetry = Telemetry::new(1, crate::wire::ALL, Tracer::off(), access);
    write(&telemetry, name, end);
    drop(guard);
    let bytes = memory.0.lock().unwrap().clone();
    assert_eq!(bytes.iter().filter(|b| **b == b'\n').count(), 1);
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_cancel_is_told_with_its_path() {
    let cancel = Cancel {
        cause: Cause {
            code: 12015,
            text: "too \"late\"\n".to_owned(),
        },
        path: crate::stream::Path::parse("a,,b"),
        class: Class::ByCaller,
        signal: CancelSignal::numbered("reset", 8),
        status: None,
    };
    let mut line = line("s", &End::canceled(Initiator::Caller, cancel));
    let time = line["timestamp"].take();
    assert!(time.as_str().unwrap().ends_with('Z'));
    assert_eq!(
        line,
        serde_json::json!({
            "timestamp": null, "node": "hop", "listener": "in", "route": "chat", "backend": "b",
            "peer": "[::1]:7", "endpoint": "10.0.0.1:8888", "inbound": "grpc", "outbound": "ttheader",
            "service": "s", "method": "s", "caller": "s", "duration_ms": 0.0,
            "request_messages": 1, "request_bytes": 2, "response_messages": 3, "response_bytes": 4,
            "end": "canceled", "by": "caller", "processed": "maybe", "cause": 12015,
            "text": "too \"late\"\n", "class": 12010, "how": "reset", "origin": "a",
            "path": ["a", "", "b"], "grpc_status": 1,
        })
    );
}

#[test]
fn what_a_hop_decided_begins_its_path() {
    let idle = line("s", &End::hop(LocalEndKind::Idle, "nothing moved"));
    assert_eq!(idle["cause"], LocalEndKind::Idle.cause());
    assert_eq!(idle["origin"], "hop");
    assert_eq!(idle["path"], serde_json::json!(["hop"]));
    let refused = line("s", &End::hop(LocalEndKind::NoRoute, "no route"));
    assert_eq!(refused["code"], LocalEndKind::NoRoute.cause());
    assert_eq!(refused.get("path"), None);
}

#[test]
fn hostile_strings_stay_inside_one_line() {
    let long = "é\u{2028}".repeat(5000);
    for name in [
        "\"},{\"",
        "\\",
        "\n\r\0\u{1b}[31m\u{7f}",
        "é\u{10ffff}",
        "",
        &long,
    ] {
        let status = Status {
            code: 14,
            message: name.to_owned(),
            details: None,
        };
        let exception = Exception {
            type_id: -1,
            text: name.to_owned(),
        };
        for end in [
            End::complete(Metadata::new()),
            End::failed(Failure::Status(status), Metadata::new()),
            End::failed(Failure::Exception(exception), Metadata::new()),
            End::hop(LocalEndKind::Undecodable, name),
        ] {
            let line = line(name, &end);
            let service = line["service"].as_str().unwrap();
            if name.len() < 256 {
                assert_eq!(service, name);
            } else {
                assert!(service.len() < 300 && service.ends_with("..."));
            }
            if let Some(text) = line.get("text") {
                assert!(text.as_str().unwrap().len() < 1100);
            }
        }
    }
}

#[test]
fn a_writer_that_hangs_costs_lines_and_no_time() {
    struct Hung(mpsc::Receiver<()>, mpsc::Sender<()>);
    impl Write for Hung {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.1.send(());
            let _ = self.0.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (release, held) = mpsc::channel();
    let (entered, in_write) = mpsc::channel();
    let (log, guard) = AccessLog::start(&Arc::from("hop"), Hung(held, entered)).unwrap();
    let shared = log.inner.as_ref().unwrap().shared.clone();
    shared.push(b"first\n");
    in_write.recv().unwrap();
    let line = vec![b'x'; BUFFER / 4];
    for _ in 0..6 {
        shared.push(&line);
    }
    assert_eq!(log.dropped(), 2);
    drop(release);
    assert!(guard.flush());
    drop(guard);
    shared.push(b"after the end\n");
    assert_eq!(log.dropped(), 3);
}

#[test]
fn lines_that_cannot_be_written_are_counted() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (log, guard) = AccessLog::start(&Arc::from("hop"), Broken).unwrap();
    log.inner.as_ref().unwrap().shared.push(b"one\ntwo\n");
    drop(guard);
    assert_eq!(log.dropped(), 2);
}

/// As logrotate does it: the file is moved away, then the process gets its signal.
#[test]
fn a_rotation_loses_no_line_and_writes_none_twice() {
    const LINES: usize = 2000;
    let folder = std::env::temp_dir().join(format!("ripcord-rotated-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (path, old) = (folder.join("access.log"), folder.join("access.log.1"));
    let (log, guard) = AccessLog::start_file(&Arc::from("hop"), &path).unwrap();
    let shared = log.inner.as_ref().unwrap().shared.clone();
    std::thread::scope(|scope| {
        scope.spawn(|| (0..LINES).for_each(|n| shared.push(format!("{n}\n").as_bytes())));
        std::fs::rename(&path, &old).unwrap();
        log.reopen();
        assert!(log.flush(FLUSH));
        assert!(path.exists(), "the new file is there before any line");
    });
    shared.push(b"last\n");
    assert!(guard.flush());
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let (before, after) = (read(&old), read(&path));
    assert!(after.ends_with("last\n"), "{after}");
    let all: Vec<_> = before.lines().chain(after.lines()).collect();
    let wanted: Vec<_> = (0..LINES).map(|n| n.to_string()).collect();
    assert_eq!(all[..LINES], wanted);
    assert_eq!(log.dropped(), 0);

    // A folder in its place: the lines go on to the file that is open.
    std::fs::rename(&path, &old).unwrap();
    std::fs::create_dir(&path).unwrap();
    log.reopen();
    shared.push(b"kept\n");
    assert!(guard.flush());
    assert!(read(&old).ends_with("last\nkept\n"));
    drop(guard);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_log_that_is_no_file_is_not_reopened() {
    let memory = Memory::default();
    let (log, guard) = AccessLog::start(&Arc::from("hop"), memory.clone()).unwrap();
    log.reopen();
    log.inner.as_ref().unwrap().shared.push(b"line\n");
    drop(guard);
    assert_eq!(*memory.0.lock().unwrap(), b"line\n");
    AccessLog::off().reopen();
}

#[tokio::test(start_paused = true)]
async fn a_line_has_the_callers_trace_without_an_exporter() {
    let memory = Memory::default();
    let (access, guard) = AccessLog::start(&Arc::from("hop"), memory.clone()).unwrap();
    let telemetry = Telemetry::new(1, crate::wire::ALL, Tracer::off(), access);
    write(&telemetry, "untraced", &End::complete(Metadata::new()));
    let mut head = RequestHead::default();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    head.metadata
        .push(Scope::Transit, "traceparent", parent.to_owned());
    open(&telemetry, "traced", &head).finish(outcome(&End::complete(Metadata::new())));
    drop(guard);
    let bytes = memory.0.lock().unwrap().clone();
    let lines: Vec<Value> = std::str::from_utf8(&bytes)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0].get("trace_id"), None);
    assert_eq!(lines[1]["trace_id"], parent[3..35]);
    assert_eq!(lines[1].get("span_id"), None);
}
