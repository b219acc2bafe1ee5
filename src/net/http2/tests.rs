use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const PING: u8 = 6;
const ACK: u8 = 1;

#[test]
fn a_drained_connection_reads_on_until_its_peer_has_closed() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap();
    runtime.block_on(async {
        let (ours, mut peer) = tokio::io::duplex(1 << 16);
        let control = Control::default();
        let remote = control.clone();
        let served = tokio::task::spawn_local(async move {
            let config = Http2Config::default();
            serve(ours, BytesMut::new(), &config, control, |_, _| {}).await
        });
        peer.write_all(PREFACE).await.unwrap();
        peer.write_all(&SETTINGS).await.unwrap();
        remote.drain();
        let mut head = [0; 9];
        // Until it has closed its side.
        while peer.read_exact(&mut head).await.is_ok() {
            let [_, hi, lo, kind, flags, ..] = head;
            let mut payload = vec![0; usize::from(u16::from_be_bytes([hi, lo]))];
            peer.read_exact(&mut payload).await.unwrap();
            if kind == PING && flags & ACK == 0 {
                head[4] = ACK;
                peer.write_all(&head).await.unwrap();
                peer.write_all(&payload).await.unwrap();
            }
        }
        // What was on its way to it does not meet a closed socket.
        peer.write_all(&[0; 30_000]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        peer.write_all(&[0; 60_000]).await.expect("still read");
        assert!(!served.is_finished());
        drop(peer);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(served.is_finished());
        assert_eq!(served.await.unwrap(), ConnectionEnd::Closed);
    });
}
