#!/usr/bin/env python3
"""Python gRPC peers for ripcord's interop tests: a second, independent gRPC stack (grpcio).

The scenario language is that of ../README.md. Subset: content-type application/grpc only,
with raw payloads, or with thrift Msgs where --assume thrift says so; server ops header, send_header, recv, send, echo, trailer, wait_cancel,
sleep, barrier, kill, return (ok, biz, error, status, panic; details as ErrorInfo); client
ops send, recv, exchange (window 1), header, close_send, cancel, cancel_cause (a plain
cancel), return, barrier, sleep, compress, ping.
"""
import argparse
import base64
import hashlib
import json
import os
import queue
import sys
import threading
import time
from concurrent import futures

import grpc

OUT = threading.Lock()
GATES = {}
WAIT_CANCEL_LIMIT = 20
EOF = object()
# How messages are read and written: None is raw.
UNPACK = PACK = None


def emit(**m):
    line = json.dumps(m, sort_keys=True)
    with OUT:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def gate(key):
    with OUT:
        return GATES.setdefault(key, threading.Semaphore(0))


def barrier(sid, name):
    g = gate(f"{sid}/{name}")
    emit(event="barrier", id=sid, name=name)
    g.acquire()


def stdin_lines(handle):
    for line in sys.stdin:
        if not line.strip():
            continue
        d = json.loads(line)
        if "go" in d:
            gate(d["go"]).release()
        else:
            handle(d)


def payload(k, size):
    x = k * 31 % 251
    return bytes((x + i * 7) % 251 for i in range(size))


def pack_thrift(b):
    """A thrift Msg (../idl) whose payload is b."""
    return b"\x0b\0\x01" + len(b).to_bytes(4, "big") + b + b"\0"


def unpack_thrift(b):
    """The payload of a thrift Msg; seq is passed over."""
    at, found = 0, b""
    while b[at] != 0:
        kind, at = b[at], at + 3
        if kind == 0x0B:
            size = int.from_bytes(b[at:at + 4], "big")
            found, at = b[at + 4:at + 4 + size], at + 4 + size
        elif kind == 0x0A:
            at += 8
        else:
            raise ValueError(f"peer: message is not a thrift Msg: type {kind}")
    return found


class Tally:
    """Checks and sums the messages of one direction."""

    def __init__(self):
        self.n = self.size = 0
        self.corrupt = self.disordered = False
        self.sum = hashlib.sha256()

    def add(self, b):
        if b:
            self.disordered |= b[0] != self.n * 31 % 251
            self.corrupt |= any(c != (b[0] + i * 7) % 251 for i, c in enumerate(b))
        self.n += 1
        self.size += len(b)
        self.sum.update(b)

    def report(self):
        m = {"recv": self.n, "recv_bytes": self.size, "sha256": self.sum.hexdigest()}
        if self.corrupt:
            m["corrupt"] = True
        if self.disordered:
            m["out_of_order"] = True
        return m


def filled(op):
    """kv and n more, t-0000 and so on, of size bytes each."""
    more = [(f"t-{i:04d}", "t" * op.get("size", 0)) for i in range(op.get("n", 0))]
    return pairs(op.get("kv")) + more


def pairs(kv):
    """Scenario metadata -> grpc tuples; -bin values are base64 in scenarios."""
    out = []
    for k, v in (kv or {}).items():
        for one in v if isinstance(v, list) else [v]:
            out.append((k.lower(), base64.b64decode(one) if k.endswith("-bin") else one))
    return out


def readable(md):
    out = {}
    for k, v in md or ():
        if k == "rpc-transit-script":
            continue
        if isinstance(v, bytes):
            v = base64.b64encode(v).decode() if k.endswith("-bin") else v.decode("latin1")
        out.setdefault(k, []).append(v)
    return out


def encode_script(sid, ops):
    raw = json.dumps({"id": sid, "ops": ops or []}, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode_script(md):
    raw = dict(md).get("rpc-transit-script", "")
    d = json.loads(base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4)))
    return d["id"], d["ops"]


# A google.rpc.Status with one ErrorInfo, by hand: no need for protobuf here.
def status_details(code, message):
    def field(n, b):
        return bytes([n << 3 | 2, len(b)]) + b

    info = field(1, b"INTEROP") + field(2, b"interop.test") + field(3, field(1, b"k") + field(2, b"v"))
    any_ = field(1, b"type.googleapis.com/google.rpc.ErrorInfo") + field(2, info)
    return b"\x08" + bytes([code]) + field(2, message.encode()) + field(3, any_)


class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.stream_stream_rpc_method_handler(lambda it, ctx: self.serve(details, it, ctx), UNPACK, PACK)

    def serve(self, details, it, ctx):
        """A generator: what it yields is sent."""
        md = list(details.invocation_metadata)
        try:
            sid, ops = decode_script(md)
        except Exception as e:  # pylint: disable=broad-except
            emit(event="server_bad_script", method=details.method, err=repr(e))
            ctx.abort(grpc.StatusCode.INVALID_ARGUMENT, repr(e))
        s = ServerRun(sid, details.method, md, it, ctx)
        emit(event="server_start", id=sid, method=s.method)
        try:
            yield from s.run(ops)
        finally:
            s.report()


class ServerRun:
    def __init__(self, sid, path, md, it, ctx):
        self.id, self.path, self.method, self.md = sid, path, path.rsplit("/", 1)[-1], md
        self.it, self.ctx, self.tally, self.sent = it, ctx, Tally(), 0
        self.err, self.eof, self.trailer, self.done = "", False, [], threading.Event()
        left = ctx.time_remaining()
        self.deadline = left if left is not None and left < 1e9 else None
        if not ctx.add_callback(self.done.set):
            self.done.set()

    def recv(self):
        try:
            b = next(self.it)
        except StopIteration:
            self.eof = True
            return None
        except Exception as e:  # grpcio raises a bare Exception when canceled
            self.err = str(e) or type(e).__name__
            return None
        self.tally.add(b)
        return b

    def run(self, ops):
        for op in ops:
            kind = op["op"]
            if self.err and kind not in ("return", "wait_cancel", "trailer", "sleep", "barrier", "kill"):
                continue
            if kind == "send_header":
                self.ctx.send_initial_metadata(filled(op))
            elif kind == "header":
                # grpcio has no buffered form: they go out at once
                self.ctx.send_initial_metadata(filled(op))
            elif kind == "trailer":
                self.trailer += filled(op)
                self.ctx.set_trailing_metadata(tuple(self.trailer))
            elif kind in ("recv", "echo"):
                n = op.get("n", -1)
                while n != 0 and not self.eof and not self.err:
                    b = self.recv()
                    if b is not None and kind == "echo":
                        yield b
                        self.sent += 1
                    n -= 1
            elif kind == "send":
                for _ in range(op.get("n", 1)):
                    yield payload(self.sent, op.get("size", 0))
                    self.sent += 1
            elif kind == "wait_cancel":
                if not self.done.wait(WAIT_CANCEL_LIMIT):
                    self.err = "peer: not canceled within 20s"
                else:
                    while self.recv() is not None:
                        pass
            elif kind == "sleep":
                time.sleep(op.get("ms", 0) / 1000)
            elif kind == "barrier":
                barrier(self.id, op.get("name", ""))
            elif kind == "kill":
                os._exit(137)
            elif kind == "return":
                self.finish(op)
                return
            else:
                self.err = "peer: unknown server op " + kind

    def finish(self, op):
        kind, code, msg = op.get("kind", "ok"), op.get("code", 2), op.get("message", "") + "m" * op.get("size", 0)
        if kind == "ok":
            return
        if kind == "biz":  # as a Kitex gRPC server writes it
            self.trailer.append(("biz-status", str(code)))
            if op.get("extra"):
                self.trailer.append(("biz-extra", json.dumps(op["extra"])))
            code = op.get("status", 13)
        elif kind == "error":
            code = 2
        elif kind == "panic":
            raise RuntimeError(msg)
        if op.get("details"):
            self.trailer.append(("grpc-status-details-bin", status_details(code, msg)))
        self.ctx.set_trailing_metadata(tuple(self.trailer))
        self.ctx.abort(next(c for c in grpc.StatusCode if c.value[0] == code), msg)

    def report(self):
        persist, transit = {}, {}
        for k, v in self.md:
            for prefix, to in (("rpc-persist-", persist), ("rpc-transit-", transit)):
                if k.startswith(prefix) and k != "rpc-transit-script":
                    to[k[len(prefix):].upper().replace("-", "_")] = v
        emit(event="server_end", id=self.id, method=self.method, path=self.path, sent=self.sent, err=self.err or ("EOF" if self.eof else ""),
             ctx_err="" if self.ctx.is_active() else "not active", caller=dict(self.md).get("source-service", ""), persist=persist,
             transit=transit, metadata=readable(self.md), deadline_ms=None if self.deadline is None else int(self.deadline * 1000), **self.tally.report())


def run_server(args):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=args.workers), options=[("grpc.max_receive_message_length", 64 << 20)])
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_insecure_port(args.addr)
    server.start()
    emit(event="listening", addr=f"{args.addr.rsplit(':', 1)[0]}:{port}")
    stdin_lines(lambda d: server.stop(5) if d.get("cmd") == "stop" else None)
    os._exit(0)


class ClientRun:
    def __init__(self, args, channel, sc):
        self.sc, self.tally, self.sent, self.out = sc, Tally(), 0, queue.Queue()
        self.m, self.err, self.ended, self.short = {}, None, False, False
        md = pairs(sc.get("metadata"))
        if "script" in sc:
            md.append(("rpc-transit-script", encode_script(sc["id"], sc["script"])))
        for prefix, kv in (("rpc-persist-", sc.get("persist")), ("rpc-transit-", sc.get("transit"))):
            md += [(prefix + k.lower().replace("_", "-"), v) for k, v in (kv or {}).items()]
        gzip = any(o["op"] == "compress" and o.get("name") == "gzip" for o in sc["ops"])
        call = channel.stream_stream(f"/{args.service}/{sc['method']}", PACK, UNPACK)
        self.call = call(iter(self.out.get, EOF), timeout=sc["timeout_ms"] / 1000 if sc.get("timeout_ms") else None, metadata=md,
                         compression=grpc.Compression.Gzip if gzip else None)

    def recv(self):
        try:
            self.tally.add(next(self.call))
            return True
        except StopIteration:
            self.ended = True
        except grpc.RpcError as e:
            self.ended, self.err = True, e
        return False

    def send(self, size):
        self.out.put(payload(self.sent, size))
        self.sent += 1

    def run(self):
        began, returned = time.monotonic(), False
        closes_itself = self.sc["method"] != "Bidi"
        for op in self.sc["ops"]:
            kind = op["op"]
            if kind in ("send", "ping") and not self.ended:
                for _ in range(op.get("n", 1)):
                    self.send(op.get("size", 0))
            elif kind == "exchange":
                for _ in range(op.get("n", 1)):
                    if not self.ended:
                        self.send(op.get("size", 0))
                        self.short |= not self.recv()
            elif kind == "recv":
                n = op.get("n", -1)
                while n != 0 and not self.ended:
                    self.short |= not self.recv() and n > 0
                    n -= 1
            elif kind == "header":
                self.call.initial_metadata()
            elif kind == "close_send":
                self.out.put(EOF)
            elif kind in ("cancel", "cancel_cause"):
                self.call.cancel()
            elif kind == "barrier":
                barrier(self.sc["id"], op.get("name", ""))
            elif kind == "sleep":
                time.sleep(op.get("ms", 0) / 1000)
            elif kind == "return":
                returned = True
                break
        if not returned:
            if closes_itself:
                self.out.put(EOF)
            while not self.ended and self.recv():
                pass
        self.result(began, returned)
        if returned:
            self.call.cancel()
        self.out.put(EOF)

    def result(self, began, returned):
        m = {"event": "result", "id": self.sc["id"], "sent": self.sent, "elapsed_ms": int((time.monotonic() - began) * 1000), **self.tally.report()}
        if returned:
            emit(kind="returned", **m)
            return
        m["header"], m["trailer"] = readable(self.call.initial_metadata()), readable(self.call.trailing_metadata())
        m["kind"] = "eof" if self.short else "ok"
        if self.err is not None:
            code, text = self.call.code().value[0], self.call.details()
            m.update(kind="error", code=code, code_kind="grpc", message=text, err=f"{self.call.code().name}: {text}")
            biz = m["trailer"].get("biz-status", ["0"])[0]
            if biz.lstrip("-").isdigit() and int(biz) != 0:
                extra = json.loads(m["trailer"].get("biz-extra", ["{}"])[0])
                m.update(kind="biz", biz={"code": int(biz), "message": text, "extra": extra})
        emit(**m)


def run_client(args):
    options = [("grpc.max_receive_message_length", 64 << 20)]
    if args.authority:
        options.append(("grpc.default_authority", args.authority))
    channel = grpc.insecure_channel(args.addr, options=options)
    threads = []

    def begin(sc):
        t = threading.Thread(target=lambda: ClientRun(args, channel, sc).run())
        t.start()
        threads.append(t)

    stdin_lines(begin)
    for t in threads:
        t.join()
    channel.close()


def run_aio(args):
    """Bidirectional calls that are refused, one after the other; prints how many had which code."""
    import asyncio  # pylint: disable=import-outside-toplevel

    async def calls():
        codes = {}
        async with grpc.aio.insecure_channel(args.addr) as channel:
            open_call = channel.stream_stream(args.method, lambda x: x, lambda x: x)
            for _ in range(args.count):
                call = open_call(timeout=20)
                try:
                    await call.write(b"x")
                except Exception:  # pylint: disable=broad-exception-caught
                    pass  # the call may be over already
                code = (await call.code()).name
                codes[code] = codes.get(code, 0) + 1
        emit(event="codes", codes=codes)

    asyncio.run(calls())


def main():
    p = argparse.ArgumentParser()
    sub = p.add_subparsers(dest="cmd", required=True)
    s = sub.add_parser("grpc-server")
    s.add_argument("--addr", default="127.0.0.1:0")
    s.add_argument("--workers", type=int, default=64)
    s.set_defaults(run=run_server)
    c = sub.add_parser("grpc-client")
    c.add_argument("--addr", required=True)
    c.add_argument("--service", default="interop.Interop")
    c.add_argument("--authority", default="")
    c.set_defaults(run=run_client)
    a = sub.add_parser("aio-client")
    a.add_argument("--addr", required=True)
    a.add_argument("--method", required=True)
    a.add_argument("--count", type=int, default=1)
    a.set_defaults(run=run_aio)
    for one in (s, c, a):
        one.add_argument("--assume", choices=["thrift"])
    args = p.parse_args()
    if args.assume:
        global UNPACK, PACK  # pylint: disable=global-statement
        UNPACK, PACK = unpack_thrift, pack_thrift
    args.run(args)


if __name__ == "__main__":
    main()
