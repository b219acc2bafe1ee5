//! Finds out whether a callee ends connections for small DATA frames that its application has not
//! read, before it is sent the first.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::net::connection::DialOptions;
use crate::net::http2;
use crate::net::tcp;

/// How long the first streams of a new connection wait for the answer, and at most half of the time
/// that is left for the connection. It needs a connect and one turn.
const WAIT: Duration = Duration::from_millis(250);

/// How long the answer may take.
const LONGEST: Duration = Duration::from_secs(5);

/// Asks the callee at `address`, unless another connection did so not long ago. One that gives no
/// answer in time is taken for one that bears any number; its complaint would say otherwise.
pub(super) async fn ask(address: SocketAddr, options: &DialOptions) {
    let Some(pace) = options.pace.as_ref().filter(|pace| pace.is_to_ask()) else {
        return;
    };
    let until = options.until;
    let (pace, options) = (Arc::clone(pace), options.clone());
    let asking = spawn_local(async move {
        let asked = async {
            let socket = tcp::connect(address, options.connect_timeout, &options.tcp).await;
            http2::bears_small_frames(socket.ok()?).await
        };
        match timeout(LONGEST, asked).await.ok().flatten() {
            Some(bears) => pace.answered(bears),
            None => {
                debug!(endpoint = %address, "a callee did not say how many small DATA frames it bears")
            }
        }
    });
    let left = until.map_or(WAIT, |at| at.saturating_duration_since(Instant::now()) / 2);
    let _ = timeout(WAIT.min(left), asking).await;
}
