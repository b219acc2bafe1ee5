//! What comes to the port before its protocol is known.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Duration;

use super::rig::{Rig, Row};
use crate::kit::h2raw::{PREFACE, Raw, SETTINGS};
use crate::kit::process::LIMIT;

const VIOLATIONS: &str = "ripcord_violations_total";

pub(crate) const ROWS: &[Row] = &[
    Row {
        abuse: "random bytes: closed",
        counted: (VIOLATIONS, "wire=\"none\",kind=\"foreign\""),
        act: |rig| assert_eq!(answer(rig, &noise(4096)), ""),
    },
    Row {
        abuse: "HTTP/1: 505, which offers no upgrade and says what to do; closed",
        counted: (VIOLATIONS, "wire=\"none\",kind=\"http1\""),
        act: |rig| {
            let said = answer(rig, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
            assert!(said.starts_with("HTTP/1.1 505 "), "{said}");
            assert!(!said.contains("upgrade:"), "{said}");
            assert!(said.contains("call this port with a gRPC client"), "{said}");
        },
    },
    Row {
        abuse: "a TLS hello: closed",
        counted: (VIOLATIONS, "wire=\"none\",kind=\"tls\""),
        act: |rig| {
            assert_eq!(
                answer(rig, &[&[0x16, 3, 1, 2, 0, 1][..], &noise(500)].concat()),
                ""
            )
        },
    },
    Row {
        abuse: "five bytes and the end: closed",
        counted: (VIOLATIONS, "wire=\"none\",kind=\"truncated\""),
        act: |rig| {
            let mut socket = connect(rig);
            socket.write_all(&PREFACE[..5]).unwrap();
            socket.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(until_end(socket), "");
        },
    },
    Row {
        abuse: "nothing at all: closed after the handshake timeout",
        counted: (VIOLATIONS, "wire=\"none\",kind=\"handshake_timeout\""),
        act: |rig| assert_eq!(answer(rig, b""), ""),
    },
    Row {
        abuse: "a preface, one byte after another, without end: closed after the handshake timeout",
        counted: (
            VIOLATIONS,
            "side=\"inbound\",wire=\"grpc\",kind=\"handshake_timeout\"",
        ),
        act: |rig| {
            let mut socket = connect(rig);
            let mut reader = socket.try_clone().unwrap();
            let (tell, told) = mpsc::channel();
            std::thread::spawn(move || {
                let _ = tell.send(reader.read_to_end(&mut Vec::new()));
            });
            socket.write_all(&PREFACE[..8]).unwrap();
            // Never the last byte: that it is closed is due to the time alone.
            for byte in &PREFACE[8..PREFACE.len() - 1] {
                let _ = socket.write_all(&[*byte]);
                if told.recv_timeout(Duration::from_millis(50)).is_ok() {
                    return;
                }
            }
            told.recv_timeout(LIMIT).expect("it is closed").ok();
        },
    },
    Row {
        abuse: "a preface, one byte after another, in time: served",
        counted: ("ripcord_streams_total", "inbound=\"grpc\""),
        act: |rig| {
            let mut raw = Raw::connect(rig.address());
            PREFACE.iter().for_each(|byte| raw.send(&[*byte]));
            raw.frame(SETTINGS, 0, 0, &[]);
            raw.echo(1);
        },
    },
];

/// Bytes of no protocol.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8 | 0x80
    };
    (0..len).map(|_| next()).collect()
}

fn connect(rig: &Rig) -> TcpStream {
    let socket = TcpStream::connect_timeout(&rig.address(), LIMIT).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

/// Everything that the port answers to these bytes before it closes.
fn answer(rig: &Rig, bytes: &[u8]) -> String {
    let mut socket = connect(rig);
    socket.write_all(bytes).unwrap();
    until_end(socket)
}

/// A connection that is closed with bytes unread is reset, which is an end as well.
fn until_end(mut socket: TcpStream) -> String {
    let mut said = Vec::new();
    if let Err(error) = socket.read_to_end(&mut said) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    String::from_utf8(said).unwrap()
}
