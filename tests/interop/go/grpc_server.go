package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // registers gzip
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

func runGRPCServer(args []string) error {
	fs := flag.NewFlagSet("grpc-server", flag.ExitOnError)
	addr := fs.String("addr", "127.0.0.1:0", "listen address")
	maxMsg := fs.Int("max-message", 64<<20, "largest message received")
	streams := fs.Uint("max-streams", 0, "SETTINGS_MAX_CONCURRENT_STREAMS, 0 = none")
	window := fs.Int("window", 0, "initial stream window, 0 = default")
	maxAge := fs.Duration("max-age", 0, "age at which a connection ends with GOAWAY, 0 = none; its streams have 10 s more")
	otlp := fs.String("otlp", "", "OTLP/gRPC collector for spans of its own")
	minPing := fs.Duration("min-ping", 0, "the shortest time between pings of a client, 0 = default")
	assume := fs.String("assume", "", "what the messages are under an empty content-subtype")
	_ = fs.Parse(args)
	if err := startTracing(*otlp, "grpc.interop.callee"); err != nil {
		return err
	}
	tcp, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	ln := &trackedListener{Listener: tcp, conns: map[string]net.Conn{}}
	opts := []grpc.ServerOption{
		grpc.ForceServerCodec(rawCodec{"proto"}), // any content-subtype
		grpc.UnknownServiceHandler(func(_ any, st grpc.ServerStream) error { return serveGRPC(st, ln, *assume) }),
		grpc.MaxRecvMsgSize(*maxMsg),
	}
	if *otlp != "" {
		opts = append(opts, grpc.StatsHandler(otelgrpc.NewServerHandler()))
	}
	if *streams > 0 {
		opts = append(opts, grpc.MaxConcurrentStreams(uint32(*streams)))
	}
	if *minPing > 0 {
		opts = append(opts, grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: *minPing}))
	}
	if *maxAge > 0 {
		age := keepalive.ServerParameters{MaxConnectionAge: *maxAge, MaxConnectionAgeGrace: 10 * time.Second}
		opts = append(opts, grpc.KeepaliveParams(age))
	}
	if *window > 0 {
		opts = append(opts, grpc.InitialWindowSize(int32(*window)))
	}
	svr := grpc.NewServer(opts...)
	go func() {
		if err := svr.Serve(ln); err != nil {
			fmt.Fprintln(os.Stderr, "peer: grpc server:", err)
		}
	}()
	emit(map[string]any{"event": "listening", "addr": ln.Addr().String()})
	exitOnSignal()
	serveUntilEOF(svr.GracefulStop)
	return nil
}

// trackedListener remembers connections, for the drop_conn op.
type trackedListener struct {
	net.Listener
	mu    sync.Mutex
	conns map[string]net.Conn
}

func (l *trackedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		l.conns[c.RemoteAddr().String()] = c
		l.mu.Unlock()
	}
	return c, err
}

func (l *trackedListener) drop(addr string) {
	l.mu.Lock()
	c := l.conns[addr]
	l.mu.Unlock()
	if c != nil {
		_ = c.Close()
	}
}

func serveGRPC(st grpc.ServerStream, ln *trackedListener, assume string) error {
	full, _ := grpc.MethodFromServerStream(st)
	md, _ := metadata.FromIncomingContext(st.Context())
	raw := ""
	if v := md.Get("rpc-transit-script"); len(v) > 0 {
		raw = v[0]
	}
	id, ops, err := decodeScript(raw)
	if err != nil {
		emit(map[string]any{"event": "server_bad_script", "method": full, "err": err.Error()})
		return status.Error(codes.InvalidArgument, err.Error())
	}
	s := &grpcServerStream{st: st, md: md, full: full, ln: ln, ping: strings.HasSuffix(full, "/Ping")}
	if ct := md.Get("content-type"); len(ct) > 0 {
		s.subtype = strings.TrimLeft(strings.TrimPrefix(ct[0], "application/grpc"), "+;")
	}
	if s.subtype == "" {
		s.subtype = assume
	}
	return serve(id, full[strings.LastIndex(full, "/")+1:], ops, s)
}

type grpcServerStream struct {
	st      grpc.ServerStream
	md      metadata.MD
	full    string
	subtype string
	ping    bool
	ln      *trackedListener
}

func (s *grpcServerStream) Context() context.Context { return s.st.Context() }

func (s *grpcServerStream) Recv() ([]byte, int64, error) {
	var b []byte
	if err := s.st.RecvMsg(&b); err != nil {
		return nil, 0, err
	}
	if s.ping {
		return unpackPing(s.subtype, b, false)
	}
	return unpackMsg(s.subtype, b)
}

func (s *grpcServerStream) Send(b []byte, seq int64) error {
	if s.ping {
		return s.st.SendMsg(packPing(s.subtype, b, seq, true))
	}
	return s.st.SendMsg(packMsg(s.subtype, b, seq))
}

func toMD(kv map[string]values) metadata.MD {
	md := metadata.MD{}
	for k, vs := range kv {
		for _, v := range vs {
			md.Append(k, unbin(strings.ToLower(k), v))
		}
	}
	return md
}

func (s *grpcServerStream) SetHeader(kv map[string]values) error  { return s.st.SetHeader(toMD(kv)) }
func (s *grpcServerStream) SendHeader(kv map[string]values) error { return s.st.SendHeader(toMD(kv)) }
func (s *grpcServerStream) SetTrailer(kv map[string]values) error {
	s.st.SetTrailer(toMD(kv))
	return nil
}

func (s *grpcServerStream) Finish(op *Op) error {
	switch op.Kind {
	case "", "ok":
		return nil
	case "biz": // as a Kitex gRPC server writes it
		md := metadata.Pairs("biz-status", strconv.Itoa(int(op.Code)))
		if len(op.Extra) > 0 {
			b, _ := json.Marshal(op.Extra)
			md.Append("biz-extra", string(b))
		}
		s.st.SetTrailer(md)
		code := codes.Internal
		if op.Status != 0 {
			code = codes.Code(op.Status)
		}
		return grpcStatus(code, op.Message, op.Details)
	case "status", "exception", "failure":
		return grpcStatus(codes.Code(op.Code), op.Message, op.Details)
	case "ctx":
		return status.FromContextError(s.Context().Err()).Err()
	case "drop_conn": // the TCP connection, with every stream on it
		if p, ok := peer.FromContext(s.Context()); ok {
			s.ln.drop(p.Addr.String())
		}
		return nil
	case "panic": // grpc-go itself would take the process down; this is what a recovery interceptor makes of it
		return status.Error(codes.Internal, "panic: "+op.Message)
	}
	return errors.New(op.Message)
}

func grpcStatus(code codes.Code, msg string, d details) error {
	st := status.New(code, msg)
	if d > 0 {
		st, _ = st.WithDetails(errorInfo(d))
	}
	return st.Err()
}

func (s *grpcServerStream) Describe(m map[string]any, err error) {
	classifyGRPC(m, err)
	delete(m, "kind")
	m["path"] = s.full
	m["caller"] = ""
	if v := s.md.Get("source-service"); len(v) > 0 {
		m["caller"] = v[0]
	}
	m["persist"], m["transit"] = metainfoOf(s.md)
	m["metadata"] = readable(s.md)
}

// metainfoOf reads rpc-persist-* and rpc-transit-* as a Kitex server would.
func metainfoOf(md map[string][]string) (persist, transit map[string]string) {
	persist, transit = map[string]string{}, map[string]string{}
	for k, vs := range md {
		name := func(p string) string {
			return strings.ToUpper(strings.ReplaceAll(strings.TrimPrefix(k, p), "-", "_"))
		}
		switch {
		case k == "rpc-transit-script" || len(vs) == 0:
		case strings.HasPrefix(k, "rpc-persist-"):
			persist[name("rpc-persist-")] = vs[0]
		case strings.HasPrefix(k, "rpc-transit-"):
			transit[name("rpc-transit-")] = vs[0]
		}
	}
	return
}

func (s *grpcServerStream) Relay(string, *Op) (clientStream, error) {
	return nil, errors.New("peer: grpc-server has no relay")
}
