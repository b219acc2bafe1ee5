#!/usr/bin/env python3
"""Writes tests/fuzz/seeds: inputs to begin with, from the captures of real Kitex peers
(tests/data/captures), from HTTP/2 frames made by hand, and of the schema of translation. Run it when
a target's input changes.

An input of a connection target begins with two bytes (`Plan` in src/lib.rs), one of `decoders`
with one, one of `translate` with three."""
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


def varint(number):
    number &= (1 << 64) - 1
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def p(number, value):
    """A protobuf field: an integer, a float as a double, or what has a length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def fixed(number, form, value):
    return varint(number << 3 | (5 if struct.calcsize(form) == 4 else 1)) + struct.pack(form, value)


def t(number, kind, value=b""):
    """A thrift field, or without a number a value."""
    forms = {2: ">B", 3: ">b", 4: ">d", 6: ">h", 8: ">i", 10: ">q"}
    if kind in forms:
        value = struct.pack(forms[kind], value)
    elif kind == 11:
        value = value.encode() if isinstance(value, str) else value
        value = struct.pack(">i", len(value)) + value
    elif kind == 12:
        value += b"\0"
    elif kind in (14, 15):
        of, values = value
        value = struct.pack(">Bi", of, len(values)) + b"".join(t(None, of, one) for one in values)
    elif kind == 13:
        of, to, pairs = value
        value = struct.pack(">BBi", of, to, len(pairs))
        value += b"".join(t(None, of, a) + t(None, to, b) for a, b in pairs)
    return value if number is None else struct.pack(">Bh", kind, number) + value


def messages():
    """Of schema/rich.proto and schema/rich.thrift: name, pair, whether it is thrift, and bytes."""
    tree = p(1, "root") + p(2, p(1, "a") + p(3, p(1, "b"))) + p(4, p(1, "k") + p(2, p(1, "c")))
    part, strings = p(4, p(3, p(1, "x") + p(2, 7))), p(3, "s") + p(3, "t")
    scalars = b"".join(p(n, 7) for n in (1, 2, 3, 4, 5, 6, 11, 18, 19, 20, 22, 23, 24))
    scalars += fixed(7, "<I", 200) + fixed(8, "<Q", 1 << 40) + fixed(9, "<i", -1) + fixed(10, "<q", -1)
    scalars += fixed(12, "<f", 1.5) + p(13, -0.0)
    scalars += b"".join(p(n, "text") for n in (14, 15, 16, 17, 21)) + p(115, 1) + p(116, 0)
    lists = p(30, b"\1\2\3") + p(30, 4) + p(31, 5) + p(31, b"\6") + fixed(32, "<I", 9)
    lists += p(33, "a") + p(33, "b") + p(33, "a") + p(34, b"\1\1\2") + p(35, b"\0\1\7")
    lists += p(36, tree) + p(36, b"") + p(37, part) + p(37, p(6, 0)) + p(38, strings) + p(39, p(1, strings))
    lists += p(40, struct.pack("<d", 2.0))
    maps = p(50, p(1, "k") + p(2, 1)) + p(50, p(1, "k") + p(2, 2)) + p(51, p(2, tree)) + p(52, p(1, 1) + p(2, strings))
    maps += p(53, p(1, "p") + p(2, part)) + p(54, p(1, 0.5) + p(2, "v")) + p(55, p(1, tree) + p(2, strings))
    maps += p(56, p(1, 1) + p(2, 3)) + p(57, p(1, 1) + p(2, 5)) + b"".join(p(50, p(1, str(n))) for n in range(10))
    needs = p(1, 1) + p(2, 0) + p(3, b"") + p(4, b"\1") + p(5, part)
    inner = p(60, tree) + p(61, part) + p(62, needs) + p(63, 1) + p(64, tree) + p(65, "c") + p(66, lists) + p(99, "?")
    split = p(60, p(1, "a")) + p(61, p(5, p(1, "a"))) + p(60, p(3, p(1, "b"))) + p(61, p(5, p(6, 1))) + p(66, p(1, 1))
    yield "scalars", 0, False, scalars
    yield "lists", 0, False, lists
    yield "maps", 0, False, maps
    yield "inner", 0, False, inner
    yield "split", 0, False, split + p(66, maps)
    yield "all", 0, False, scalars + lists + maps + inner
    old = p(1, 1) + p(3, b"\1") + p(4, 1) + p(6, p(1, 2) + p(7, 1)) + p(7, 2)
    for pair, (name, data) in enumerate((("tree", tree), ("part", part), ("needs", needs), ("old", old)), 1):
        yield name, pair, False, data

    tree = t(1, 11, "root") + t(2, 15, (12, [t(1, 11, "a")])) + t(3, 12, t(2, 15, (12, [])))
    tree += t(4, 13, (11, 12, [("k", b"")]))
    part, must = t(4, 13, (11, 10, [("x", 7)])), t(9, 8, 1) + t(115, 8, 0)
    kinds = {1: 3, 2: 6, 3: 8, 4: 10, 5: 10, 6: 8, 7: 3, 8: 6, 10: 10, 11: 2, 18: 8, 19: 8, 20: 8, 22: 8, 23: 8, 24: 2}
    scalars = b"".join(t(n, kind, 1) for n, kind in kinds.items()) + t(12, 4, 1.5) + t(13, 4, -0.0)
    scalars += b"".join(t(n, 11, "text") for n in (14, 15, 16, 17, 21)) + t(7, 3, -1) + t(8, 6, -1) + t(14, 11, "again")
    lists = t(30, 15, (8, [1, 2])) + t(31, 15, (10, [1])) + t(32, 15, (10, [])) + t(33, 14, (11, ["a", "a"]))
    lists += t(34, 14, (6, [1, 2])) + t(35, 15, (8, [0, 9])) + t(36, 15, (12, [tree])) + t(37, 15, (12, [part, part]))
    lists += t(38, 15, (15, [(11, ["s"])])) + t(39, 15, (15, [])) + t(40, 15, (4, [0.0]))
    maps = t(50, 13, (11, 10, [("k", 1), ("k", 2)])) + t(51, 13, (8, 12, [(0, tree)])) + t(52, 13, (2, 15, [(1, (11, ["s"]))]))
    maps += t(53, 13, (11, 12, [("p", part)])) + t(54, 13, (4, 11, [(0.5, "v")])) + t(55, 13, (12, 14, [(tree, (11, ["s"]))]))
    maps += t(56, 13, (8, 8, [(1, 3)])) + t(57, 13, (10, 8, [(1, 2)]))
    needs = t(1, 8, 1) + t(2, 8, 0) + t(3, 12) + t(4, 15, (8, [])) + t(5, 12, part)
    inner = t(60, 12, tree) + t(61, 12, part) + t(62, 12, needs) + t(63, 8, 1) + t(66, 12, must + lists) + t(61, 12)
    inner += t(70, 10, 1) + t(71, 15, (11, ["a"])) + t(99, 11, "?") + t(1, 11, "another type")
    yield "scalars", 0, True, scalars + must + b"\0"
    yield "lists", 0, True, lists + must + b"\0"
    yield "maps", 0, True, maps + must + b"\0"
    yield "inner", 0, True, inner + must + b"\0"
    yield "all", 0, True, scalars + lists + maps + inner + must + b"\0"
    old = t(1, 8, 1) + t(3, 15, (8, [1])) + t(6, 12, t(1, 8, 2) + t(7, 8, 1)) + t(7, 8, 2)
    for pair, (name, data) in enumerate((("tree", tree), ("part", part), ("needs", needs), ("old", old)), 1):
        yield name, pair, True, data + b"\0"


IDLS = {
    "names": "namespace go a.b\nconst i32 N = 3\nconst list<string> L = ['a', \"b\"]\ntypedef map<string, list<i32>> M\n"
    "enum E { A, B = 5, C = -1 }\nstruct S { 1: M m, 2: E e = E.B, 3: i32 n = N, 4: list<string> l = L }\n",
    "kinds": "struct All { 1: bool a = true 2: byte b; 3: i16 c, 4: i64 d = 0x10 5: double e = 1e3, 6: binary f (a = 'b') "
    "-1: string g, 19000: uuid h, set<map<i8, list<double>>> i }\n",
    "unions": "union U { 1: list<list<i32>> a, 2: U b, 3: map<string, U> c } exception X { 1: U u }\n"
    "service S { U Talk(1: U u) (streaming.mode = 'bidirectional') }\n",
    "calls": "include 'base.thrift'\nstruct R {} exception X { 1: string m }\nservice S extends base.Common {\n"
    "  R Talk(1: R r) throws (1: X x, 2: base.Broken b) (streaming.mode = 'bidirectional')\n  i32 add(1: i32 a, 2: i32 b = base.ONE)\n"
    "  oneway void tell(1: R r)\n  map<double, list<R>> table()\n}\n",
    "words": "// A comment.\nstruct message { 1: string fooBar /* b */ 2: i32 foo_bar # c\n 3: message optional }\n"
    "struct TalkRequest {} service S { void talk(1: i32 a) message message(1: message m) }\n",
    "defaults": "struct P { 1: i32 a = 1, 2: optional P p } struct Q { 1: P p = {'a': 2}, 2: list<P> l = [{}, {'a': 3}], "
    "3: map<string, P> m = {'k': {}} }\nservice S { Q Choose(1: Q q) (streaming.mode = 'bidirectional') }\n",
}


def main():
    targets = ("decoders", "grpc_connection", "idl", "translate", "ttheader_connection", "ttheader_frame")
    for target in targets:
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
    for name, pair, thrift, data in messages():
        write("translate", f"{'thrift' if thrift else 'protobuf'}-{name}", bytes([pair, 2 * thrift, len(name)]) + data)
    for name, text in IDLS.items():
        write("idl", name, text.encode())
    with open(os.path.join(ROOT, "schema/rich.thrift"), "rb") as file:
        write("idl", "rich", file.read())


main()
