//! Asks a server whether it bears small DATA frames that are not read, on a connection of its own.
//!
//! One request that is no valid request (RFC 9113, 8.3.1) is refused by the HTTP/2 layer, so no
//! application sees it and no log has it. A layer with the small budget ([`crate::net::unread`])
//! charges the DATA that follows on its stream all the same: 101 frames of a byte are more than it
//! bears. It ends this connection, on which there is nothing else. Every other one answers the PING
//! behind them.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::watch::GoAway;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const GO_AWAY: u8 = 0x7;

const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// `:method: POST` of the static table (RFC 7541, appendix A), and nothing else: a request without
/// a path.
const NO_REQUEST: &[u8] = &[0x83];

/// 255 of each are charged; the budget is 25,600.
const FRAMES: usize = 101;

/// The longest frame that is read, in bytes: the most that may be sent to a peer that announced no
/// other size.
const LONGEST: usize = 16_384;

/// Asks the server at the other end of `io`, a new connection, and waits for its answer. `None`
/// when it gave none and closed the connection.
pub async fn bears_small_frames<IO>(mut io: IO) -> Option<bool>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    io.write_all(&question()).await.ok()?;
    loop {
        let mut head = [0; 9];
        io.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, flags, ..] = head;
        let len = u32::from_be_bytes([0, a, b, c]) as usize;
        if len > LONGEST {
            return None;
        }
        let mut payload = vec![0; len];
        io.read_exact(&mut payload).await.ok()?;
        match kind {
            PING if flags & ACK == ACK => return Some(true),
            GO_AWAY => {
                return GoAway::parse(&payload)?
                    .too_many_small_frames()
                    .then_some(false);
            }
            _ => {}
        }
    }
}

fn question() -> Vec<u8> {
    let mut out = PREFACE.to_vec();
    let mut frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let len = u8::try_from(payload.len()).unwrap_or_default();
        out.extend_from_slice(&[0, 0, len, kind, flags, 0, 0, 0, stream]);
        out.extend_from_slice(payload);
    };
    frame(SETTINGS, 0, 0, &[]);
    frame(HEADERS, END_HEADERS, 1, NO_REQUEST);
    for _ in 0..FRAMES {
        frame(DATA, 0, 1, &[0]);
    }
    frame(PING, 0, 0, b"ripcord?");
    out
}
