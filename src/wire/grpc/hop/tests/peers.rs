//! Peers of the control stream that are no ripcords, or misbehave.

use super::*;

/// A peer that accepts the control stream and never reads it, or answers it in some way.
async fn foreign(io: DuplexStream, answer: Option<u16>, resets: Rc<RefCell<Vec<u32>>>) {
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(1000);
    let mut connection: h2::server::Connection<_, Bytes> = builder.handshake(io).await.unwrap();
    let mut held = Vec::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        if request.uri().path() == CONTROL {
            if let Some(status) = answer {
                let mut response = Response::new(());
                *response.status_mut() = status.try_into().unwrap();
                let _ = respond.send_response(response, true);
            }
            held.push((request, respond));
            continue;
        }
        let resets = Rc::clone(&resets);
        spawn_local(async move {
            let _request = request;
            let reset = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            resets.borrow_mut().push(reset.unwrap().into());
        });
    }
}

#[test]
fn a_blocked_or_refused_control_stream_delays_nothing() {
    for answer in [None, Some(404), Some(200)] {
        local(async {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            let resets: Rc<RefCell<Vec<u32>>> = Rc::default();
            spawn_local(foreign(theirs, answer, Rc::clone(&resets)));
            let (client, _driven) = connect(ours, true).await;
            for n in 1..=2000 {
                let mut stream = client.open(&head()).await.unwrap();
                stream.cancel(&cancel(12007, "why"));
                drop(stream);
                while resets.borrow().len() < n {
                    tokio::task::yield_now().await;
                }
            }
            assert!(resets.borrow().iter().all(|code| *code == 12007));
        });
    }
}

/// A caller that writes what it likes onto the control stream.
#[test]
fn a_malicious_control_stream_speaks_only_for_its_connection_and_is_bounded() {
    local(async {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let connection = Connection::new(config(false, true));
        let control = connection.control();
        let streams: Rc<RefCell<Vec<_>>> = Rc::default();
        let opened = Rc::clone(&streams);
        spawn_local(async move {
            let on_request = |request, respond| {
                opened
                    .borrow_mut()
                    .extend(connection.accept(request, respond));
            };
            let http2 = Http2Config::default();
            http2::serve(theirs, &http2, control, on_request).await
        });
        let (requests, driver) = h2::client::handshake(ours).await.unwrap();
        spawn_local(async move { driver.await.unwrap() });
        let open = async |path: &str, stream: Option<u64>| {
            let mut request = Request::new(());
            *request.method_mut() = http::Method::POST;
            *request.uri_mut() = format!("http://x{path}").parse().unwrap();
            metadata::put_payload(request.headers_mut(), &Payload::Protobuf);
            if let Some(stream) = stream {
                name(&mut request, stream);
            }
            let mut requests = requests.clone().ready().await.unwrap();
            requests.send_request(request, false).unwrap()
        };
        let (_answer, mut stream) = open("/S/M", Some(7)).await;
        let (_, mut details) = open(CONTROL, None).await;
        let (second, _) = open(CONTROL, None).await;
        let refused = second.await.unwrap();
        assert_eq!(refused.headers()["grpc-status"], "8");
        let detail = |stream, code, text: &str| CancelDetail {
            stream,
            cause: Cause {
                code,
                text: text.to_owned(),
            },
            path: Path::parse("forged"),
        };
        // Not a detail; other streams; a code that is not the reset's.
        details
            .send_data(Bytes::from_static(b"\0\0\0\0\x03abc"), false)
            .unwrap();
        for other in 1000..9000 {
            details
                .send_data(detail(other, 12007, &"x".repeat(300)).encode(), false)
                .unwrap();
        }
        details
            .send_data(detail(7, 12015, "no").encode(), false)
            .unwrap();
        let (_, mut theirs) = streams.borrow_mut().pop().unwrap();
        // Nothing is kept for streams that are not open.
        while theirs.details().held().0 == 0 {
            tokio::task::yield_now().await;
        }
        assert!(theirs.details().held().1 < 1024);
        stream.send_reset(12007.into());
        let (code, _, path) = heard(&mut theirs).await;
        assert_eq!((code, path.as_str()), (12007, "non-ttstream path"));
        // A detail that is too large ends the control stream alone.
        details
            .send_data(Bytes::from_static(b"\0\xff\xff\xff\xff"), false)
            .unwrap();
        let (_answer, mut stream) = open("/S/M", Some(8)).await;
        std::future::poll_fn(|cx| details.poll_reset(cx))
            .await
            .unwrap();
        let (_, mut details) = open(CONTROL, None).await;
        details
            .send_data(detail(8, 12007, "honest").encode(), false)
            .unwrap();
        stream.send_reset(12007.into());
        while streams.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        let (_, mut theirs) = streams.borrow_mut().pop().unwrap();
        let said = (12007, "honest".to_owned(), "forged".to_owned());
        assert_eq!(heard(&mut theirs).await, said);
        // Details of an ended control stream do not count for the next one.
        let (_answer, mut stream) = open("/S/M", Some(9)).await;
        details
            .send_data(detail(9, 12007, "before").encode(), true)
            .unwrap();
        let next = loop {
            let (answer, mut details) = open(CONTROL, None).await;
            let begun = details.send_data(Bytes::from_static(b"\0\0\0\x01\0begun"), false);
            let served = tokio::time::timeout(Duration::from_secs(1), answer);
            if begun.is_ok() && served.await.is_err() {
                break details;
            }
        };
        stream.send_reset(12007.into());
        let (_, mut theirs) = streams.borrow_mut().pop().unwrap();
        let said = (12007, "before".to_owned(), "forged".to_owned());
        assert_eq!(heard(&mut theirs).await, said);
        assert_eq!(theirs.details().held(), (0, 0));
        drop(next);
    });
}

/// Before a callee's SETTINGS, a client may assume more streams than it allows.
#[test]
fn a_connection_whose_only_place_the_control_stream_has_is_not_used() {
    local(async {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (client, _driven) = connect(ours, true).await;
        // Nothing is there to answer yet.
        let mut stream = client.open(&head()).await.unwrap();
        stream.cancel(&cancel(12007, "why"));
        drop(stream);
        assert!(client.is_usable());
        let mut builder = h2::server::Builder::new();
        builder.max_concurrent_streams(1);
        spawn_local(async move {
            let mut connection: h2::server::Connection<_, Bytes> =
                builder.handshake(theirs).await.unwrap();
            let mut held = Vec::new();
            while let Some(Ok(request)) = connection.accept().await {
                held.push(request);
            }
        });
        while client.capacity() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(!client.is_usable());
    });
}
