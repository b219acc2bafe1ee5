//! The text of `/metrics`.

use super::*;
use crate::stream::{
    Cancel, CancelSignal, Cause, Class, End, Failure, Initiator, LocalEndKind, Metadata, Path,
    Status,
};
use crate::telemetry::{Outcome, Traffic};

fn arc(name: &str) -> Arc<str> {
    Arc::from(name)
}

fn cancel(class: Class, code: i32) -> End {
    let cancel = Cancel {
        cause: Cause {
            code,
            text: String::new(),
        },
        path: Path::from_origin("a"),
        class,
        signal: CancelSignal::named("rst"),
        status: None,
    };
    End::canceled(Initiator::Caller, cancel)
}

fn finish(series: &Series, end: &End, micros: u64) {
    let outcome = Outcome {
        end,
        traffic: Traffic {
            request_messages: 2,
            request_bytes: 30,
            response_messages: 1,
            response_bytes: 7,
        },
        native_code: None,
    };
    series.finished(&outcome, micros);
}

/// The lines of one family, zeros left out.
fn lines(metrics: &Metrics, prefix: &str) -> Vec<String> {
    metrics
        .encode()
        .lines()
        .filter(|line| line.starts_with(prefix) && !line.ends_with(" 0"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_stream_is_counted_once_everywhere() {
    let metrics = Metrics::new(crate::wire::ALL);
    let series = metrics.series(
        &arc("egress"),
        &arc("chat"),
        &crate::wire::grpc::WIRE,
        Some(&crate::wire::ttheader::WIRE),
    );
    series.opened();
    finish(&series, &End::complete(Metadata::new()), 4_000);
    finish(&series, &cancel(Class::ByCaller, 12007), 2_500_000);
    let labels = r#"listener="egress",route="chat",inbound="grpc",outbound="ttheader""#;
    assert_eq!(
        lines(&metrics, "ripcord_streams"),
        [
            format!("ripcord_streams_total{{{labels},end=\"complete\"}} 1"),
            format!("ripcord_streams_total{{{labels},end=\"canceled\"}} 1"),
            format!("ripcord_streams_active{{{labels}}} 1"),
        ]
    );
    assert_eq!(
        lines(&metrics, "ripcord_message"),
        [
            format!("ripcord_messages_total{{{labels},direction=\"request\"}} 4"),
            format!("ripcord_messages_total{{{labels},direction=\"response\"}} 2"),
            format!("ripcord_message_bytes_total{{{labels},direction=\"request\"}} 60"),
            format!("ripcord_message_bytes_total{{{labels},direction=\"response\"}} 14"),
        ]
    );
    let duration = lines(&metrics, "ripcord_stream_duration_seconds");
    assert_eq!(
        duration[..2],
        [
            format!("ripcord_stream_duration_seconds_sum{{{labels}}} 2.504"),
            format!("ripcord_stream_duration_seconds_count{{{labels}}} 2"),
        ]
    );
    let bucket =
        |le: &str| format!("ripcord_stream_duration_seconds_bucket{{le=\"{le}\",{labels}}}");
    assert!(
        duration.contains(&format!("{} 1", bucket("0.005"))),
        "{duration:#?}"
    );
    assert!(duration.contains(&format!("{} 1", bucket("1.0"))));
    assert!(duration.contains(&format!("{} 2", bucket("5.0"))));
    assert!(duration.contains(&format!("{} 2", bucket("+Inf"))));
    series.closed();
    assert!(lines(&metrics, "ripcord_streams_active").is_empty());
}

#[test]
fn cancels_and_errors_have_bounded_labels() {
    let metrics = Metrics::new(crate::wire::ALL);
    let series = metrics.series(
        &arc("l"),
        &arc("r"),
        &crate::wire::ttheader::WIRE,
        Some(&crate::wire::grpc::WIRE),
    );
    for code in [12015, -7, 99, i32::MAX] {
        finish(&series, &cancel(Class::Foreign, code), 1);
    }
    assert_eq!(
        lines(&metrics, "ripcord_cancels_total"),
        [
            r#"ripcord_cancels_total{route="r",class="foreign",cause="12015"} 1"#,
            r#"ripcord_cancels_total{route="r",class="foreign",cause="other"} 3"#,
        ]
    );
    assert!(lines(&metrics, "ripcord_stream_errors").is_empty());
    for code in [14, 77, 78] {
        let status = Status {
            code,
            message: String::new(),
            details: None,
        };
        let end = End::failed(Failure::Status(status), Metadata::new());
        finish(&series, &end, 1);
    }
    finish(&series, &End::hop(LocalEndKind::Deadline, ""), 1);
    assert_eq!(
        lines(&metrics, "ripcord_stream_errors_total"),
        [
            r#"ripcord_stream_errors_total{route="r",error_type="status_unavailable"} 1"#,
            r#"ripcord_stream_errors_total{route="r",error_type="status_other"} 2"#,
            r#"ripcord_stream_errors_total{route="r",error_type="deadline"} 1"#,
        ]
    );
}

/// What all ends of one route counted is one series, whatever listener and wires its streams had.
/// What never happened has no series.
#[test]
fn errors_and_cancels_are_counted_by_route() {
    let metrics = Metrics::new(crate::wire::ALL);
    let (grpc, ttheader) = (&crate::wire::grpc::WIRE, &crate::wire::ttheader::WIRE);
    let of =
        |listener, route, outbound| metrics.series(&arc(listener), &arc(route), grpc, outbound);
    let text = metrics.encode();
    assert!(text.contains("# TYPE ripcord_stream_errors counter\n"));
    assert!(text.contains("# TYPE ripcord_cancels counter\n"));

    let (first, second) = (of("a", "r", Some(grpc)), of("b", "r", Some(ttheader)));
    let unreachable = End::hop(LocalEndKind::Unreachable, "");
    for series in [&first, &second, &of("a", "s", Some(grpc))] {
        finish(series, &unreachable, 1);
        finish(series, &cancel(Class::ByCallee, 12007), 1);
    }
    finish(&of("a", "", None), &End::hop(LocalEndKind::NoRoute, ""), 1);
    let shown: Vec<String> = metrics.encode().lines().map(str::to_owned).collect();
    let of_family = |name: &str| -> Vec<&str> {
        let lines = shown.iter().filter(|line| line.starts_with(name));
        lines.map(String::as_str).collect()
    };
    assert_eq!(
        of_family("ripcord_stream_errors_total"),
        [
            r#"ripcord_stream_errors_total{route="",error_type="no_route"} 1"#,
            r#"ripcord_stream_errors_total{route="r",error_type="unreachable"} 2"#,
            r#"ripcord_stream_errors_total{route="s",error_type="unreachable"} 1"#,
        ]
    );
    assert_eq!(
        of_family("ripcord_cancels_total"),
        [
            r#"ripcord_cancels_total{route="r",class="by_callee",cause="12007"} 2"#,
            r#"ripcord_cancels_total{route="s",class="by_callee",cause="12007"} 1"#,
        ]
    );
}

/// As after many reloads that rename routes. Streams of each such route fail.
#[test]
fn routes_that_come_and_go_have_a_bounded_number_of_series() {
    let metrics = Metrics::new(crate::wire::ALL);
    let wire = &crate::wire::grpc::WIRE;
    for i in 0..MAX_SERIES + 10 {
        let series = metrics.series(&arc("l"), &arc(&format!("r{i}")), wire, Some(wire));
        finish(&series, &End::hop(LocalEndKind::Idle, ""), 1);
    }
    let shown = lines(&metrics, "ripcord_stream_errors_total");
    assert_eq!(shown.len(), MAX_SERIES);
    let rest = r#"ripcord_stream_errors_total{route="other",error_type="idle"} 11"#;
    assert!(shown.contains(&rest.to_owned()));
}

#[test]
fn the_operations_page_has_the_bounds() {
    let page = include_str!("../../../deploy/OPERATIONS.md");
    let row = |name: &str| {
        page.lines()
            .find(|line| line.starts_with(&format!("| `{name}")))
    };
    let errors = format!("at most {} series for each route", names::ERRORS);
    assert!(
        row("ripcord_stream_errors_total")
            .unwrap()
            .contains(&errors),
        "{errors}"
    );
    let cancels = names::CLASSES.len() * names::CAUSES.len();
    let cancels = format!("at most {cancels} series for each route");
    assert!(
        row("ripcord_cancels_total").unwrap().contains(&cancels),
        "{cancels}"
    );
    let names = format!("at most {MAX_SERIES} names of routes");
    assert!(page.contains(&names), "{names}");
}

#[test]
fn series_are_resolved_to_the_same_counters_and_bounded() {
    let metrics = Metrics::new(crate::wire::ALL);
    let wires = (&crate::wire::grpc::WIRE, Some(&crate::wire::grpc::WIRE));
    let first = metrics.series(&arc("l"), &arc("r"), wires.0, wires.1);
    let again = metrics.series(&arc("l"), &arc("r"), wires.0, wires.1);
    assert!(Arc::ptr_eq(&first, &again));
    for i in 0..MAX_SERIES + 10 {
        let _ = metrics.series(&arc("l"), &arc(&format!("r{i}")), wires.0, wires.1);
    }
    let over = metrics.series(&arc("l"), &arc("one more"), wires.0, wires.1);
    assert_eq!((&*over.listener, &*over.route), ("other", "other"));
    let count = metrics.state.series.read().unwrap().len();
    assert!(count <= MAX_SERIES, "{count}");
}

#[test]
fn connections_are_counted_while_they_live() {
    let metrics = Metrics::new(crate::wire::ALL);
    let guard = metrics.connection(Side::Outbound, &crate::wire::ttheader::WIRE);
    let labels = r#"{side="outbound",wire="ttheader"}"#;
    assert_eq!(
        lines(&metrics, "ripcord_connections"),
        [
            format!("ripcord_connections_active{labels} 1"),
            format!("ripcord_connections_total{labels} 1"),
        ]
    );
    drop(guard);
    assert_eq!(
        lines(&metrics, "ripcord_connections"),
        [format!("ripcord_connections_total{labels} 1")]
    );
}

#[test]
fn violations_are_counted_where_they_can_happen() {
    let metrics = Metrics::new(crate::wire::ALL);
    metrics.violation(Side::Inbound, None, Violation::TLS);
    metrics.violation(
        Side::Inbound,
        Some(&crate::wire::grpc::WIRE),
        Violation::FLOOD,
    );
    metrics.violation(
        Side::Outbound,
        Some(&crate::wire::grpc::WIRE),
        Violation::PROTOCOL,
    );
    assert_eq!(
        lines(&metrics, "ripcord_violations"),
        [
            r#"ripcord_violations_total{side="inbound",wire="none",kind="tls"} 1"#,
            r#"ripcord_violations_total{side="inbound",wire="grpc",kind="flood"} 1"#,
            r#"ripcord_violations_total{side="outbound",wire="grpc",kind="protocol"} 1"#,
        ]
    );
}

#[test]
fn numbers_of_others_are_read_when_asked_for() {
    let metrics = Metrics::new(crate::wire::ALL);
    let count = Arc::new(AtomicU64::new(3));
    let read = count.clone();
    let help = "Frames of streams that are gone";
    metrics.counter_fn(
        "ripcord_late_frames",
        help,
        &[("wire", "ttheader")],
        move || read.load(Relaxed),
    );
    metrics.counter_fn("ripcord_late_frames", help, &[("wire", "grpc\"\n\\")], || 1);
    metrics.buffered_bytes_fn(8192, || 4096);
    metrics.reload(Reload::Applied);
    let good = "ripcord_config_last_reload_successful";
    assert_eq!(lines(&metrics, good), [format!("{good} 1")]);
    metrics.reload(Reload::Rejected);
    assert!(metrics.encode().contains(&format!("\n{good} 0\n")));
    metrics.config_version(7);
    count.store(5, Relaxed);
    assert_eq!(
        lines(&metrics, "ripcord_late_frames"),
        [
            r#"ripcord_late_frames_total{wire="ttheader"} 5"#,
            r#"ripcord_late_frames_total{wire="grpc\"\n\\"} 1"#,
        ]
    );
    assert_eq!(
        lines(&metrics, "ripcord_buffered"),
        ["ripcord_buffered_bytes 4096"]
    );
    assert_eq!(
        lines(&metrics, "ripcord_buffer_limit"),
        ["ripcord_buffer_limit_bytes 8192"]
    );
    assert_eq!(
        lines(&metrics, "ripcord_config_version"),
        ["ripcord_config_version 7"]
    );
    assert_eq!(
        lines(&metrics, "ripcord_reloads"),
        [
            r#"ripcord_reloads_total{result="applied"} 1"#,
            r#"ripcord_reloads_total{result="rejected"} 1"#,
        ]
    );
    metrics.counter_fn("ripcord_late_frames", help, &[("wire", "ttheader")], || 9);
    assert!(
        lines(&metrics, "ripcord_late_frames")
            .contains(&r#"ripcord_late_frames_total{wire="ttheader"} 9"#.to_owned())
    );
}

#[test]
fn the_text_is_whole_open_metrics() {
    let metrics = Metrics::new(crate::wire::ALL);
    metrics.node("hop");
    let text = metrics.encode();
    assert!(text.ends_with("# EOF\n"));
    assert!(text.contains("# TYPE ripcord_streams counter\n"));
    assert!(text.contains("# TYPE ripcord_stream_duration_seconds histogram\n"));
    assert!(text.contains(concat!(
        "ripcord_build_info{version=\"",
        env!("CARGO_PKG_VERSION"),
        "\",node=\"hop\"} 1\n"
    )));
    assert!(text.contains("\nprocess_start_time_seconds 1"), "{text}");
    let families: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    let mut unique = families.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), families.len());
}
