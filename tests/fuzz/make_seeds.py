#!/usr/bin/env python3
"""Writes tests/fuzz/seeds: inputs to begin with, from the captures of real Kitex peers
(tests/data/captures) and from HTTP/2 frames made by hand. Run it when a target's input changes.

An input of a connection target begins with two bytes (`Plan` in src/lib.rs), one of `decoders`
with one."""
import glob
import json
import os
import shutil
import struct

ROOT = os.path.dirname(os.path.abspath(__file__))
SEEDS = os.path.join(ROOT, "seeds")
CAPTURES = os.path.join(ROOT, "../data/captures/*.jsonl")
LONGEST = 2048

CLIENT, CARRIED, TO_RIPCORD, OPENED, DEAF = 1, 2, 4, 8, 16


def write(target, name, data):
    folder = os.path.join(SEEDS, target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as file:
        file.write(data)


def captures():
    """Name of the case, direction, and the frames of its first connection in that direction."""
    for path in sorted(glob.glob(CAPTURES)):
        name = os.path.basename(path).removesuffix(".jsonl")
        if name.startswith("pingpong"):
            continue
        for side in "><":
            frames, hop = [], None
            for line in map(json.loads, open(path)):
                if "hex" not in line or line["dir"] != side or line.get("hex_cut"):
                    continue
                hop = hop or (line.get("hop"), line["conn"])
                if hop == (line.get("hop"), line["conn"]):
                    frames.append(bytes.fromhex(line["hex"]))
            if frames and sum(map(len, frames)) <= LONGEST:
                yield name, side, frames


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def field(name, value):
    name, value = name.encode(), value.encode()
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


def request(path, *more):
    block = b"\x83\x86" + field(":path", path) + field(":authority", "echo") + field("te", "trailers")
    if not any(name == "content-type" for name, _ in more):
        block += field("content-type", "application/grpc")
    return block + b"".join(field(*pair) for pair in more)


def message(payload, compressed=0):
    return bytes([compressed]) + struct.pack(">I", len(payload)) + payload


def entry(key, value):
    return b"\0" + struct.pack(">II", len(key), len(value)) + key + value


def callers():
    headers = lambda stream, *more: frame(1, 4, stream, request("/a.v1.Echo/Chat", *more))
    yield "unary", headers(1) + frame(0, 1, 1, message(b"hello"))
    yield "messages", headers(1) + b"".join(frame(0, 0, 1, message(b"x" * n)) for n in range(8)) + frame(0, 1, 1)
    yield "split", headers(1) + b"".join(frame(0, 0, 1, bytes([b])) for b in message(b"hello"))
    yield "streams", b"".join(headers(n) + frame(0, 0, n, message(b"hi")) for n in (1, 3, 5, 7))
    yield "reset", headers(1, ("grpc-timeout", "5S")) + frame(0, 0, 1, message(b"hi")) + frame(3, 0, 1, b"\0\0\0\x08")
    yield "padded", frame(1, 12, 1, b"\x03" + request("/a/b") + b"\0\0\0") + frame(0, 9, 1, b"\x02" + message(b"a") + b"\0\0")
    yield "continued", frame(1, 0, 1, request("/a/b")[:20]) + frame(9, 4, 1, request("/a/b")[20:])
    yield "control", (
        frame(4, 0, 0, b"\0\x04\0\0\x10\0\0\x03\0\0\0\x01") + frame(4, 1, 0) + frame(6, 0, 0, b"12345678")
        + headers(1) + frame(8, 0, 1, b"\0\0\x10\0") + frame(8, 0, 0, b"\0\0\x10\0") + frame(7, 0, 0, b"\0\0\0\1\0\0\0\0")
    )
    yield "refused", headers(1, ("content-type", "text/html")) + frame(1, 5, 3, b"\x82\x86\x84" + field("te", "x"))
    note = entry(b"stream", b"\0" * 7 + b"\1") + entry(b"code", b"12007") + entry(b"text", b"t") + entry(b"path", b"a,b")
    yield "notes", (
        frame(1, 4, 1, request("/ripcord.v1.Hop/Control")) + headers(3, ("ripcord-hops", "a,b"), ("ripcord-stream", "1"))
        + frame(0, 0, 1, message(note)) + frame(3, 0, 3, b"\0\0\0\x08")
    )
    yield "large", headers(1) + frame(0, 0, 1, b"\0\0\xff\xff\xff")
    yield "indexed", frame(1, 4, 1, b"\x83\x86\x40" + field("x-a", "b" * 60)[1:] + b"\xbe" * 40)


def callees():
    head = b"\x88" + field("content-type", "application/grpc")
    ok = field("grpc-status", "0")
    yield "ok", frame(1, 4, 1, head) + frame(0, 0, 1, message(b"hi")) + frame(1, 5, 1, ok)
    yield "only", frame(1, 5, 1, head + field("grpc-status", "5") + field("grpc-message", "no%20such"))
    yield "ends", b"".join(
        frame(1, 5, n, head + field("grpc-status", str(n)) + field("biz-status", "7") + field("biz-extra", "{}"))
        for n in (1, 3, 5)
    )
    yield "resets", b"".join(frame(3, 0, n, struct.pack(">I", n + 7)) for n in (1, 3, 5))
    yield "http", frame(1, 5, 1, b"\x8d") + frame(1, 4, 3, b"\x88" + field("content-type", "text/html")) + frame(0, 1, 3, b"<p>")
    yield "goaway", frame(7, 0, 0, b"\0\0\0\3\0\0\0\0") + frame(1, 4, 1, head) + frame(1, 5, 1, ok)
    yield "none", frame(4, 0, 0, b"\0\3\0\0\0\0") + frame(4, 1, 0)
    yield "windows", frame(4, 0, 0, b"\0\4\0\0\0\1") + frame(8, 0, 1, b"\0\0\1\0") + frame(6, 0, 0, b"\1" * 8)
    yield "late", frame(1, 4, 1, head) + frame(0, 0, 1, message(b"x" * 600)) * 3 + frame(1, 5, 1, ok) + frame(0, 0, 1, b"late")


def decoders():
    lines = lambda pairs: "\n".join(f"{k}: {v}" for k, v in pairs).encode()
    kind = ("content-type", "application/grpc+thrift")
    yield "head", b"\0/a.v1.Echo/Chat\n" + lines(
        [kind, ("te", "trailers"), ("grpc-timeout", "100m"), ("source-service", "a"), ("rpc-persist-a-b", "c"),
         ("rpc-transit-traceparent", "00-11111111111111111111111111111111-2222222222222222-01"),
         ("ripcord-hops", "a,b"), ("x-bin", "AAEC"), ("grpc-encoding", "gzip")])
    yield "status", b"\1\x19" + lines([kind, ("grpc-status", "5"), ("grpc-message", "no%20such%C3%A9"), ("key", "v")])
    yield "details", b"\1\x19" + lines([("grpc-status", "5"), ("grpc-message", "m"), ("grpc-status-details-bin", "CAUSAW0")])
    yield "business", b"\1\x19" + lines([("grpc-status", "13"), ("biz-status", "404"), ("biz-extra", '{"a":"b"}')])
    yield "canceled", b"\1\x19" + lines([("grpc-status", "1"), ("grpc-message", "gone"), ("ripcord-code", "12007"), ("ripcord-path", "a,b")])
    for text in ("100m", "99999999H", "no%20such%E2%82%AC%", "AAEC,AwQ=", "a,b,c", "non-ttstream path,node"):
        yield "value-" + "".join(c for c in text if c.isalnum()), b"\3" + text.encode()
    yield "pack", b"\3" + entry(b"key", b"value") + entry(b"", b"")


def main():
    for target in ("decoders", "grpc_connection", "ttheader_connection", "ttheader_frame"):
        shutil.rmtree(os.path.join(SEEDS, target), ignore_errors=True)
    seen = set()
    for number, (name, side, frames) in enumerate(captures()):
        # Which kinds of frames, in which order: one of each is enough.
        shape = (side, tuple(one[16:60] for one in frames)[:3], len(frames))
        if shape in seen:
            continue
        seen.add(shape)
        way = "caller" if side == ">" else "callee"
        role = (CLIENT if side == "<" else 0) | CARRIED * (number % 2)
        modes = (0, 0b01, 0b10, 0b11, 0b00011011)[number % 5]
        data = b"".join(frames)
        write("ttheader_connection", f"{way}-{name}", bytes([role, modes]) + data)
        if number % 4 == 0:
            write("ttheader_frame", f"{way}-{name}", b"\x10" + data)
        ends = [one for one in frames if b"ttscp" in one or b"\x80\x01\0\3" in one or b"biz-" in one]
        for one in ends[:1]:
            words = struct.unpack(">H", one[12:14])[0]
            write("decoders", f"block-{way}-{name}", b"\2" + bytes([min(words, 255)]) + one[14:])
    for number, (name, data) in enumerate(callers()):
        flags = OPENED | CARRIED * (number % 2)
        write("grpc_connection", f"caller-{name}", bytes([flags, number]) + data)
    write("grpc_connection", "caller-preface", b"\0\0PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + dict(callers())["unary"])
    for number, (name, data) in enumerate(callees()):
        flags = CLIENT | OPENED | CARRIED * (number % 2) | TO_RIPCORD * (number % 3 == 0)
        write("grpc_connection", f"callee-{name}", bytes([flags, number * 5]) + data)
    for name, data in decoders():
        write("decoders", name, data)


main()
