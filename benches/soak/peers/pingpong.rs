//! Kitex's ping-pong over TTHeader, as raw bytes: one request, one reply, and an echo that answers.

use std::net::SocketAddr;

use anyhow::{Result, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use ripcord::net::tcp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::spawn_local;

/// Bytes of a frame before its header block.
const META: usize = 14;
const METHOD: &[u8] = b"Ping";
const REPLY: u8 = 2;

/// A request to `service` with that sequence id and thrift struct.
fn request(service: &str, sequence: i32, body: &[u8]) -> Vec<u8> {
    let mut block = BytesMut::new();
    let text = |out: &mut BytesMut, text: &[u8]| {
        out.put_u16(text.len() as u16);
        out.put_slice(text);
    };
    block.put_slice(&[0, 0, 0x01, 0, 1]); // thrift binary, no transforms, one string
    text(&mut block, b"isn");
    text(&mut block, service.as_bytes());
    block.put_slice(&[0x10, 0, 2]);
    block.put_u16(6);
    text(&mut block, b"callee");
    block.put_u16(9);
    text(&mut block, METHOD);
    block.resize(block.len().next_multiple_of(4), 0);
    let mut payload = BytesMut::new();
    payload.put_slice(&[0x80, 0x01, 0, 1]);
    payload.put_u32(METHOD.len() as u32);
    payload.put_slice(METHOD);
    payload.put_i32(sequence);
    payload.put_slice(&[12, 0, 1]); // field 1 of the arguments: a struct
    payload.put_slice(body);
    payload.put_u8(0);
    let mut out = Vec::new();
    out.put_u32((META - 4 + block.len() + payload.len()) as u32);
    out.put_slice(&[0x10, 0, 0, 0]);
    out.put_i32(sequence);
    out.put_u16((block.len() / 4) as u16);
    out.put_slice(&block);
    out.put_slice(&payload);
    out
}

/// One whole frame; nothing at the end of the connection.
async fn frame(socket: &mut TcpStream) -> Result<Option<Vec<u8>>> {
    let mut frame = vec![0; 4];
    if socket.read(&mut frame[..1]).await? == 0 {
        return Ok(None);
    }
    socket.read_exact(&mut frame[1..]).await?;
    let length = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
    ensure!((META..64 << 20).contains(&length), "a frame of {length}");
    frame.resize(4 + length, 0);
    socket.read_exact(&mut frame[4..]).await?;
    Ok(Some(frame))
}

/// Where the message type is.
fn kind_at(frame: &[u8]) -> usize {
    META + usize::from(u16::from_be_bytes([frame[12], frame[13]])) * 4 + 3
}

/// Calls the service some times on one connection; every reply is compared.
pub(crate) async fn ping(address: SocketAddr, service: &str, bodies: &[Bytes]) -> Result<()> {
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    for (at, body) in bodies.iter().enumerate() {
        let sent = request(service, at as i32 + 1, body);
        socket.write_all(&sent).await?;
        let Some(mut reply) = frame(&mut socket).await? else {
            bail!("the connection was closed before reply {at}");
        };
        let kind = kind_at(&reply);
        ensure!(
            reply.get(kind) == Some(&REPLY),
            "no reply {at}: {:?}",
            Bytes::from(reply)
        );
        reply[kind] = 1;
        ensure!(reply == sent, "reply {at} differs");
    }
    Ok(())
}

/// Answers each request with its own bytes.
pub(crate) struct PingPongCallee {
    pub(crate) address: SocketAddr,
}

impl PingPongCallee {
    pub(crate) fn start() -> Result<Self> {
        let socket = tcp::listen(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = socket.local_addr()?;
        spawn_local(async move {
            while let Ok((mut socket, _)) = socket.accept().await {
                spawn_local(async move {
                    let _ = socket.set_nodelay(true);
                    while let Ok(Some(mut frame)) = frame(&mut socket).await {
                        let kind = kind_at(&frame);
                        if let Some(kind) = frame.get_mut(kind) {
                            *kind = REPLY;
                        }
                        if socket.write_all(&frame).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Ok(Self { address })
    }
}
