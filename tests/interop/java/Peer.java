import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.Any;
import com.google.rpc.ErrorInfo;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.HandlerRegistry;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerMethodDefinition;
import io.grpc.Status;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.NettyServerBuilder;
import io.grpc.protobuf.StatusProto;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/**
 * A client and a server of grpc-java (netty), for ripcord's interop tests. ../README.md has the
 * language. The client knows of a scenario: method, metadata, timeout_ms, and the operations send,
 * recv, close_send, cancel, barrier; after them it receives to the end. The server sends its
 * response headers at once, echoes each message, and prints how the stream ended; a stream's name
 * is its metadata x-id. It ends a connection after 200 resets in 30 s, which is Netty's own default.
 *
 * <pre>java -cp ... Peer client --addr 127.0.0.1:PORT | server</pre>
 */
public final class Peer {
  private static final Gson GSON = new Gson();
  private static final Map<String, Semaphore> GATES = new ConcurrentHashMap<>();
  private static final Metadata.Key<String> NAME =
      Metadata.Key.of("x-id", Metadata.ASCII_STRING_MARSHALLER);

  private static final MethodDescriptor.Marshaller<byte[]> BYTES =
      new MethodDescriptor.Marshaller<>() {
        @Override
        public InputStream stream(byte[] value) {
          return new ByteArrayInputStream(value);
        }

        @Override
        public byte[] parse(InputStream stream) {
          try {
            return stream.readAllBytes();
          } catch (java.io.IOException error) {
            throw new java.io.UncheckedIOException(error);
          }
        }
      };

  public static void main(String[] arguments) throws Exception {
    java.util.logging.LogManager.getLogManager().reset();
    switch (arguments.length > 0 ? arguments[0] : "") {
      case "client" -> client(arguments[2]);
      case "server" -> server();
      default -> {
        System.err.println("Peer client --addr A | Peer server");
        System.exit(2);
      }
    }
  }

  private static synchronized void emit(JsonObject line) {
    System.out.println(GSON.toJson(line));
    System.out.flush();
  }

  private static JsonObject event(String event, String id) {
    JsonObject line = new JsonObject();
    line.addProperty("event", event);
    line.addProperty("id", id);
    return line;
  }

  private static Semaphore gate(String key) {
    return GATES.computeIfAbsent(key, k -> new Semaphore(0));
  }

  private static void stdin(Consumer<JsonObject> handle) throws Exception {
    var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String text = lines.readLine(); text != null; text = lines.readLine()) {
      JsonObject line = JsonParser.parseString(text).getAsJsonObject();
      if (line.has("go")) {
        gate(line.get("go").getAsString()).release();
      } else {
        handle.accept(line);
      }
    }
  }

  private static MethodDescriptor<byte[], byte[]> method(String path) {
    return MethodDescriptor.newBuilder(BYTES, BYTES)
        .setType(MethodDescriptor.MethodType.BIDI_STREAMING)
        .setFullMethodName(path)
        .build();
  }

  private static JsonObject readable(Metadata metadata) {
    JsonObject out = new JsonObject();
    for (String key : metadata.keys()) {
      JsonArray values = new JsonArray();
      if (key.endsWith(Metadata.BINARY_HEADER_SUFFIX)) {
        for (byte[] value : metadata.getAll(Metadata.Key.of(key, Metadata.BINARY_BYTE_MARSHALLER))) {
          values.add(Base64.getEncoder().encodeToString(value));
        }
      } else {
        metadata.getAll(Metadata.Key.of(key, Metadata.ASCII_STRING_MARSHALLER)).forEach(values::add);
      }
      out.add(key, values);
    }
    return out;
  }

  private static JsonElement details(Status status, Metadata trailers) {
    JsonArray out = new JsonArray();
    try {
      var proto = StatusProto.fromStatusAndTrailers(status, trailers);
      for (Any any : proto.getDetailsList()) {
        JsonObject one = new JsonObject();
        one.addProperty("type", any.getTypeUrl().replaceAll(".*/", ""));
        if (any.is(ErrorInfo.class)) {
          ErrorInfo info = any.unpack(ErrorInfo.class);
          one.addProperty("reason", info.getReason());
          one.addProperty("domain", info.getDomain());
          one.add("metadata", GSON.toJsonTree(info.getMetadataMap()));
        }
        out.add(one);
      }
    } catch (Exception error) {
      return new com.google.gson.JsonPrimitive("unreadable: " + error);
    }
    return out;
  }

  private static void client(String address) throws Exception {
    int colon = address.lastIndexOf(':');
    var target =
        new InetSocketAddress(
            address.substring(0, colon), Integer.parseInt(address.substring(colon + 1)));
    // Every result is the first answer: some ends would be tried again by the library itself.
    ManagedChannel channel =
        NettyChannelBuilder.forAddress(target)
            .usePlaintext()
            .disableRetry()
            .maxInboundMessageSize(64 << 20)
            .build();
    List<Thread> calls = new ArrayList<>();
    stdin(
        scenario -> {
          Thread call = new Thread(() -> new Call(channel, scenario).run());
          calls.add(call);
          call.start();
        });
    for (Thread call : calls) {
      call.join();
    }
    channel.shutdown();
    System.exit(0);
  }

  /** One call of the client. */
  private static final class Call extends ClientCall.Listener<byte[]> {
    private final JsonObject scenario;
    private final ClientCall<byte[], byte[]> call;
    private Metadata header = new Metadata();
    private int received;
    private int taken;
    private int sent;
    private boolean asked;
    private Status status;
    private Metadata trailers;

    Call(ManagedChannel channel, JsonObject scenario) {
      this.scenario = scenario;
      String name = scenario.has("method") ? scenario.get("method").getAsString() : "Bidi";
      CallOptions options = CallOptions.DEFAULT;
      if (scenario.has("timeout_ms")) {
        long limit = scenario.get("timeout_ms").getAsLong();
        options = options.withDeadlineAfter(limit, TimeUnit.MILLISECONDS);
      }
      call = channel.newCall(method("interop.Interop/" + name), options);
    }

    @Override
    public void onHeaders(Metadata headers) {
      header = headers;
    }

    @Override
    public synchronized void onMessage(byte[] message) {
      received++;
      asked = false;
      notifyAll();
    }

    @Override
    public synchronized void onClose(Status end, Metadata last) {
      status = end;
      trailers = last;
      notifyAll();
    }

    /** Waits for one more message; false at the end. */
    private synchronized boolean receive() throws InterruptedException {
      while (taken == received && status == null) {
        if (!asked) {
          asked = true;
          call.request(1);
        }
        wait();
      }
      boolean one = taken < received;
      taken += one ? 1 : 0;
      return one;
    }

    void run() {
      String id = scenario.get("id").getAsString();
      try {
        Metadata metadata = new Metadata();
        if (scenario.has("metadata")) {
          for (var pair : scenario.getAsJsonObject("metadata").entrySet()) {
            var key = Metadata.Key.of(pair.getKey(), Metadata.ASCII_STRING_MARSHALLER);
            metadata.put(key, pair.getValue().getAsString());
          }
        }
        call.start(this, metadata);
        for (JsonElement op : scenario.getAsJsonArray("ops")) {
          step(id, op.getAsJsonObject());
        }
        while (receive()) {}
      } catch (InterruptedException error) {
        throw new IllegalStateException(error);
      }
      JsonObject line = event("result", id);
      line.addProperty("recv", received);
      line.addProperty("sent", sent);
      line.add("header", readable(header));
      line.add("trailer", readable(trailers));
      line.addProperty("kind", status.isOk() ? "ok" : "error");
      if (!status.isOk()) {
        line.addProperty("code", status.getCode().value());
        String text = status.getDescription();
        line.addProperty("message", text == null ? "" : text);
        line.add("details", details(status, trailers));
      }
      emit(line);
    }

    private void step(String id, JsonObject op) throws InterruptedException {
      int n = op.has("n") ? op.get("n").getAsInt() : -1;
      switch (op.get("op").getAsString()) {
        case "send" -> {
          int size = op.has("size") ? op.get("size").getAsInt() : 0;
          for (int left = n < 0 ? 1 : n; left > 0; left--) {
            byte[] message = new byte[size];
            for (int i = 0; i < size; i++) {
              message[i] = (byte) ((sent * 31 + i * 7) % 251);
            }
            call.sendMessage(message);
            sent++;
          }
        }
        case "recv" -> {
          for (int left = n; left != 0 && receive(); left--) {}
        }
        case "close_send" -> call.halfClose();
        case "cancel" -> call.cancel(null, null);
        case "barrier" -> {
          String name = op.get("name").getAsString();
          JsonObject line = event("barrier", id);
          line.addProperty("name", name);
          emit(line);
          gate(id + "/" + name).acquire();
        }
        default -> throw new IllegalArgumentException("unknown operation " + op);
      }
    }
  }

  private static void server() throws Exception {
    HandlerRegistry all =
        new HandlerRegistry() {
          @Override
          public ServerMethodDefinition<?, ?> lookupMethod(String path, String authority) {
            return ServerMethodDefinition.create(method(path), new Echo());
          }
        };
    Server server =
        NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0))
            .fallbackHandlerRegistry(all)
            .maxRstFramesPerWindow(200, 30)
            .build()
            .start();
    JsonObject line = new JsonObject();
    line.addProperty("event", "listening");
    line.addProperty("addr", "127.0.0.1:" + server.getPort());
    emit(line);
    stdin(ignored -> {});
    System.exit(0);
  }

  /** The server's only handler. */
  private static final class Echo implements ServerCallHandler<byte[], byte[]> {
    @Override
    public ServerCall.Listener<byte[]> startCall(ServerCall<byte[], byte[]> call, Metadata head) {
      String id = head.containsKey(NAME) ? head.get(NAME) : "";
      call.sendHeaders(new Metadata());
      call.request(1);
      return new ServerCall.Listener<>() {
        private int received;

        @Override
        public void onMessage(byte[] message) {
          received++;
          call.sendMessage(message);
          call.request(1);
        }

        @Override
        public void onHalfClose() {
          call.close(Status.OK, new Metadata());
        }

        @Override
        public void onComplete() {
          ended("EOF");
        }

        @Override
        public void onCancel() {
          ended("canceled");
        }

        private void ended(String err) {
          Instant now = Instant.now();
          JsonObject line = event("server_end", id);
          line.addProperty("at_us", now.getEpochSecond() * 1_000_000 + now.getNano() / 1000);
          line.addProperty("recv", received);
          line.addProperty("err", err);
          emit(line);
        }
      };
    }
  }
}
