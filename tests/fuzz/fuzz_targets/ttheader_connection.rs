//! Any bytes as the peer of a TTHeader connection, in both roles. `ripcord_fuzz` checks what must
//! hold.
#![no_main]

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use ripcord::wire::ttheader::client::Client;
use ripcord::wire::ttheader::server::{self, ServerHandle};
use ripcord::wire::ttheader::{ConnConfig, Counters};
use ripcord_fuzz::{MESSAGE, Plan, World, play};

fn config(world: &World) -> Rc<ConnConfig> {
    let mut config = ConnConfig::new("fuzz", Arc::clone(&world.budget), Counters::new());
    config.carried = world.plan.carried();
    config.max_header = 8 * 1024;
    config.max_message = MESSAGE;
    config.stream_budget = 2 * 1024;
    config.connection_budget = 8 * 1024;
    config.max_streams = 16;
    config.slow_receiver_timeout = Duration::from_millis(500);
    Rc::new(config)
}

fuzz_target!(|input: &[u8]| {
    let Some((plan, bytes)) = Plan::of(input) else {
        return;
    };
    play(plan, &[], bytes, |world, io| async move {
        let config = config(&world);
        if plan.client() {
            let (client, driver) = Client::new(io, config);
            for stream in 0..3 {
                let opened = client.open(&world.head(stream));
                world.call(opened.expect("a new connection opens streams"));
            }
            driver.await;
            assert_eq!(client.active(), 0, "no stream is left");
        } else {
            let on_stream = move |head, stream| world.serve(head, stream);
            let handle = ServerHandle::new();
            server::serve(io, config, handle.clone(), on_stream).await;
            assert_eq!(handle.streams(), 0, "no stream is left");
        }
    });
});
