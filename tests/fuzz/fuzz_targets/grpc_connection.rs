//! Any bytes as the peer of an HTTP/2 connection that carries gRPC, in both roles. `ripcord_fuzz`
//! checks what must hold. Without a sanitizer, h2 is instrumented as well.
#![no_main]

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use ripcord::wire::grpc::StreamConfig;
use ripcord::wire::grpc::client::Client;
use ripcord::wire::grpc::server::Connection;
use ripcord::net::bounds::Ping;
use ripcord::net::http2::{self, Http2Config};
use ripcord_fuzz::{MESSAGE, Plan, World, play};

/// The client's preface and an empty SETTINGS frame.
const CALLER: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// An empty SETTINGS frame.
const CALLEE: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

const STREAM_WINDOW: u32 = 16 * 1024;

fn http2_config() -> Http2Config {
    Http2Config {
        stream_window: STREAM_WINDOW,
        connection_window: 64 * 1024,
        send_buffer: 16 * 1024,
        max_streams: 16,
        header_list: 16 * 1024,
        pending_resets: 20,
        ping: Some(Ping {
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
            without_streams: true,
        }),
        ..Http2Config::default()
    }
}

fn config(world: &World) -> Rc<StreamConfig> {
    Rc::new(StreamConfig {
        node: Rc::from("fuzz"),
        max_message: MESSAGE,
        max_metadata: 4 * 1024,
        max_head: 8 * 1024 - 256,
        stream_window: STREAM_WINDOW,
        connection_window: 64 * 1024,
        slow_receiver_timeout: Duration::from_millis(500),
        budget: Arc::clone(&world.budget),
        slow_streams: Arc::default(),
        to_ripcord: world.plan.to_ripcord(),
        carried: world.plan.carried(),
    })
}

fuzz_target!(|input: &[u8]| {
    let Some((plan, bytes)) = Plan::of(input) else {
        return;
    };
    let prefix = match (plan.opened(), plan.client()) {
        (false, _) => &[],
        (true, false) => CALLER,
        (true, true) => CALLEE,
    };
    play(plan, prefix, bytes, |world, io| async move {
        let config = config(&world);
        if plan.client() {
            let Ok((client, driver)) = Client::connect(io, &http2_config(), config).await else {
                return;
            };
            let opening = {
                let (client, world) = (client.clone(), Rc::clone(&world));
                async move {
                    for stream in 0..3 {
                        match client.open(&world.head(stream)).await {
                            Ok(stream) => world.call(stream),
                            Err(_) => return,
                        }
                    }
                }
            };
            // A callee may allow no stream at all: then the connection's end ends the waiting.
            let opening = tokio::task::spawn_local(opening);
            driver.await;
            opening.await.expect("no panic");
        } else {
            let connection = Connection::new(config);
            let control = connection.control();
            let on_request = move |request, respond| {
                if let Some((head, stream)) = connection.accept(request, respond) {
                    world.serve(head, *stream);
                }
            };
            http2::serve(io, &http2_config(), control, on_request).await;
        }
    });
});
