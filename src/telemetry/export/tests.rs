//! OTLP to a collector on a real socket: by HTTP and by gRPC.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::thread;

use bytes::Bytes;

use super::*;
use crate::stream::{End, Metadata, RequestHead};
use crate::telemetry::{AccessLog, Outcome, StreamInfo, Telemetry, Tracer, Traffic};

fn settings(port: u16, protocol: OtlpProtocol) -> TraceSettings {
    TraceSettings {
        endpoint: format!("http://127.0.0.1:{port}/"),
        protocol,
        headers: vec![("x-key".to_owned(), "hush".to_owned())],
        ..TraceSettings::default()
    }
}

/// One stream through a tracer with these settings, flushed.
fn one_stream(settings: &TraceSettings) -> Arc<ExportStats> {
    let (tracer, guard) = Tracer::otlp(&Arc::from("the-node"), settings).unwrap();
    let telemetry = Telemetry::new(1, crate::wire::ALL, tracer, AccessLog::off());
    let series = telemetry.metrics.series(
        &Arc::from("in"),
        &Arc::from("r"),
        &crate::wire::grpc::WIRE,
        None,
    );
    let info = StreamInfo {
        series,
        backend: Arc::from(""),
        peer: None,
        service: "the-service".into(),
        method: "m".into(),
        caller: None,
    };
    let record = telemetry.open(0, info, &RequestHead::default());
    record.finish(Outcome {
        end: &End::complete(Metadata::new()),
        traffic: Traffic::default(),
        native_code: None,
    });
    assert!(guard.flush());
    drop(guard);
    telemetry.tracer.stats().unwrap()
}

/// Serves one HTTP/1.1 request and returns its first line and its body.
fn http_collector(answer: &'static str) -> (u16, thread::JoinHandle<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = thread::spawn(move || {
        let mut keyed = false;
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut first, mut length) = (String::new(), 0);
        reader.read_line(&mut first).unwrap();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            keyed |= line == "x-key: hush";
            if let Some(n) = line.strip_prefix("content-length:") {
                length = n.trim().parse().unwrap();
            }
        }
        assert!(keyed);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        (first, body)
    });
    (port, served)
}

fn contains(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|w| w == text.as_bytes())
}

#[test]
fn spans_go_out_by_http() {
    let (port, served) = http_collector("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let stats = one_stream(&settings(port, OtlpProtocol::HttpProtobuf));
    let (first, body) = served.join().unwrap();
    assert_eq!(first, "POST /v1/traces HTTP/1.1\r\n");
    assert!(contains(&body, "the-node") && contains(&body, "the-service"));
    assert_eq!(stats.exported.load(Relaxed), 1);
}

#[test]
fn a_refusal_is_counted() {
    let (port, served) = http_collector("HTTP/1.1 400 No\r\ncontent-length: 0\r\n\r\n");
    let stats = one_stream(&settings(port, OtlpProtocol::HttpProtobuf));
    served.join().unwrap();
    assert_eq!(
        (stats.exported.load(Relaxed), stats.failed.load(Relaxed)),
        (0, 1)
    );
}

#[test]
fn spans_go_out_by_grpc() {
    let (tell_port, port) = std::sync::mpsc::channel();
    let served = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell_port
                .send(listener.local_addr().unwrap().port())
                .unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let (request, mut respond) = connection.accept().await.unwrap().unwrap();
            let answer = async move {
                assert_eq!(request.headers()["x-key"], "hush");
                let path = request.uri().path().to_owned();
                let mut body = request.into_body();
                let mut bytes = Vec::new();
                while let Some(data) = body.data().await {
                    bytes.extend_from_slice(&data.unwrap());
                }
                let response = ::http::Response::builder()
                    .header("content-type", "application/grpc")
                    .body(())
                    .unwrap();
                let mut send = respond.send_response(response, false).unwrap();
                send.send_data(Bytes::from_static(&[0; 5]), false).unwrap();
                let mut trailers = ::http::HeaderMap::new();
                trailers.insert("grpc-status", ::http::HeaderValue::from_static("0"));
                send.send_trailers(trailers).unwrap();
                (path, bytes)
            };
            tokio::pin!(answer);
            let told = tokio::select! {
                told = &mut answer => told,
                _ = connection.accept() => panic!("a second request"),
            };
            // Until the client closes the connection.
            while connection.accept().await.is_some() {}
            told
        })
    });
    let stats = one_stream(&settings(port.recv().unwrap(), OtlpProtocol::Grpc));
    let (path, body) = served.join().unwrap();
    assert_eq!(
        path,
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
    );
    assert!(contains(&body, "the-node") && contains(&body, "the-service"));
    assert_eq!(stats.exported.load(Relaxed), 1);
}

#[test]
fn endpoints_are_checked() {
    let try_one = |endpoint: &str, protocol| {
        endpoint_of(&TraceSettings {
            endpoint: endpoint.to_owned(),
            protocol,
            ..TraceSettings::default()
        })
    };
    let http = OtlpProtocol::HttpProtobuf;
    assert_eq!(
        try_one("http://c:4318", http).unwrap(),
        "http://c:4318/v1/traces"
    );
    assert_eq!(try_one("http://c/own/", http).unwrap(), "http://c/own");
    assert_eq!(
        try_one("http://c:4317", OtlpProtocol::Grpc).unwrap(),
        "http://c:4317"
    );
    for wrong in [
        "",
        "c:4317",
        "https://c:4317",
        "http://",
        "http:///x",
        "ftp://c",
    ] {
        assert!(
            matches!(try_one(wrong, http), Err(ExportError::Endpoint(_))),
            "{wrong}"
        );
    }
}

#[test]
fn headers_are_checked_and_not_shown() {
    let mut settings = settings(1, OtlpProtocol::Grpc);
    assert!(headers_of(&settings).is_ok());
    let shown = format!("{settings:?}");
    assert!(shown.contains("x-key") && !shown.contains("hush"));
    settings.headers.push(("x y".to_owned(), "1".to_owned()));
    assert!(matches!(headers_of(&settings), Err(ExportError::Header(name)) if name == "x y"));
}
