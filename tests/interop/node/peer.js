// A client and a server of grpc-js, and a server of Node's own http2, for ripcord's interop tests.
// ../README.md has the language. The client knows of a scenario: `method`, `metadata`,
// `timeout_ms`, and the operations `send`, `recv`, `close_send`, `cancel`, `barrier`; after them it
// receives to the end. Both servers send their response headers at once, echo each message, and
// print how the stream ended; a stream's name is its metadata `x-id`.
//
//   node peer.js client --addr 127.0.0.1:PORT
//   node peer.js server            (grpc-js)
//   node peer.js http2-server      (Node's http2 alone)
"use strict";

const http2 = require("http2");
const readline = require("readline");
const grpc = require("@grpc/grpc-js");
const protobuf = require("protobufjs");

const emit = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const nowUs = () => Math.round((performance.timeOrigin + performance.now()) * 1000);

const gates = new Map();
const gate = (key) => {
  if (!gates.has(key)) {
    let open;
    const opened = new Promise((resolve) => (open = resolve));
    gates.set(key, { open, opened });
  }
  return gates.get(key);
};

function stdinLines(handle, end) {
  const lines = readline.createInterface({ input: process.stdin });
  lines.on("line", (text) => {
    if (!text.trim()) return;
    const line = JSON.parse(text);
    if (line.go) gate(line.go).open();
    else handle(line);
  });
  lines.on("close", end);
}

const payload = (k, size) => Buffer.from(Array.from({ length: size }, (_, i) => (k * 31 + i * 7) % 251));

// google.rpc.Status and ErrorInfo, by the protobuf library that comes with grpc-js.
const types = protobuf.parse(`
  syntax = "proto3";
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
`).root;

function details(metadata) {
  const raw = metadata?.get("grpc-status-details-bin")[0];
  if (!raw) return null;
  try {
    const status = types.lookupType("Status").decode(raw);
    return status.details.map((any) => {
      const type = any.typeUrl.split("/").pop();
      if (type !== "google.rpc.ErrorInfo") return { type };
      const info = types.lookupType("ErrorInfo").decode(any.value);
      return { type, reason: info.reason, domain: info.domain, metadata: info.metadata };
    });
  } catch (error) {
    return `unreadable: ${error.message}`;
  }
}

function readable(metadata) {
  const out = {};
  for (const key of Object.keys(metadata?.getMap() ?? {})) {
    out[key] = metadata.get(key).map((value) => (Buffer.isBuffer(value) ? value.toString("base64") : value));
  }
  return out;
}

const same = (bytes) => bytes;

class Call {
  constructor(client, scenario) {
    this.scenario = scenario;
    this.sent = this.received = this.taken = 0;
    this.status = null;
    this.header = null;
    this.wake = () => {};
    const metadata = new grpc.Metadata();
    for (const [key, value] of Object.entries(scenario.metadata ?? {})) metadata.set(key, value);
    const options = scenario.timeout_ms ? { deadline: Date.now() + scenario.timeout_ms } : {};
    const path = `/interop.Interop/${scenario.method ?? "Bidi"}`;
    this.call = client.makeBidiStreamRequest(path, same, same, metadata, options);
    this.call.pause(); // It reads only what `recv` asks for.
    this.call.on("metadata", (header) => (this.header = header));
    this.call.on("data", () => {
      this.received += 1;
      this.call.pause();
      this.wake();
    });
    this.call.on("error", () => {});
    // The status comes after the last message.
    this.call.on("status", (status) => {
      this.status = status;
      this.wake();
    });
  }

  // Waits for one more message; false at the end.
  async receive() {
    while (this.taken === this.received && !this.status) {
      this.call.resume();
      await new Promise((resolve) => (this.wake = resolve));
    }
    if (this.taken === this.received) return false;
    this.taken += 1;
    return true;
  }

  async run() {
    const { id, ops = [] } = this.scenario;
    for (const op of ops) {
      if (op.op === "send") {
        for (let n = op.n ?? 1; n > 0; n--) this.call.write(payload(this.sent++, op.size ?? 0));
      } else if (op.op === "recv") {
        for (let n = op.n ?? Infinity; n > 0 && (await this.receive()); n--);
      } else if (op.op === "close_send") this.call.end();
      else if (op.op === "cancel") this.call.cancel();
      else if (op.op === "barrier") {
        const opened = gate(`${id}/${op.name}`).opened;
        emit({ event: "barrier", id, name: op.name });
        await opened;
      } else throw new Error(`unknown operation ${op.op}`);
    }
    while (await this.receive());
    const { code, details: message, metadata } = this.status;
    const line = { event: "result", id, recv: this.received, sent: this.sent, header: readable(this.header), trailer: readable(metadata) };
    if (code === 0) emit({ ...line, kind: "ok" });
    else emit({ ...line, kind: "error", code, message, details: details(metadata) });
  }
}

function runClient(address) {
  // Every result is the first answer: grpc-js would try some ends again by itself.
  const client = new grpc.Client(address, grpc.credentials.createInsecure(), {
    "grpc.enable_retries": 0,
    "grpc.max_receive_message_length": -1,
  });
  const running = [];
  stdinLines(
    (scenario) => running.push(new Call(client, scenario).run()),
    () => Promise.all(running).then(() => client.close()),
  );
}

const ended = (id, recv, err) => emit({ event: "server_end", id, at_us: nowUs(), recv, err });

function runServer() {
  const server = new grpc.Server();
  const echo = (call) => {
    const id = call.metadata.get("x-id")[0] ?? "";
    let recv = 0;
    let over = false;
    const end = (err) => {
      if (!over) ended(id, recv, err);
      over = true;
    };
    call.sendMetadata(new grpc.Metadata());
    call.on("data", (message) => {
      recv += 1;
      call.write(message);
    });
    call.on("error", (error) => end(error.message));
    call.on("cancelled", () => end("canceled"));
    call.on("end", () => {
      end("EOF");
      call.end();
    });
  };
  const method = { path: "/storm.Storm/Hold", requestStream: true, responseStream: true,
    requestDeserialize: same, requestSerialize: same, responseDeserialize: same, responseSerialize: same };
  server.addService({ Hold: method }, { Hold: echo });
  server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
    if (error) throw error;
    emit({ event: "listening", addr: `127.0.0.1:${port}` });
  });
  stdinLines(() => {}, () => process.exit(0));
}

function runHttp2Server() {
  const server = http2.createServer();
  server.on("stream", (stream, headers) => {
    const id = headers["x-id"] ?? "";
    let recv = 0;
    stream.respond({ ":status": 200, "content-type": headers["content-type"] }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.on("data", (piece) => {
      recv += piece.length;
      stream.write(piece);
    });
    stream.on("end", () => stream.end());
    stream.on("error", () => {});
    stream.on("close", () => ended(id, recv, stream.rstCode === 0 ? "EOF" : `canceled, code ${stream.rstCode}`));
  });
  server.on("sessionError", (error) => emit({ event: "session_error", message: error.message }));
  server.listen(0, "127.0.0.1", () => emit({ event: "listening", addr: `127.0.0.1:${server.address().port}` }));
  stdinLines(() => {}, () => process.exit(0));
}

const [role, ...rest] = process.argv.slice(2);
if (role === "client") runClient(rest[rest.indexOf("--addr") + 1]);
else if (role === "server") runServer();
else if (role === "http2-server") runHttp2Server();
else {
  console.error("node peer.js client --addr A | server | http2-server");
  process.exit(2);
}
