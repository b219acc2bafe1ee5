package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/client/callopt/streamcall"
	"github.com/cloudwego/kitex/pkg/connpool"
	"github.com/cloudwego/kitex/pkg/remote/trans/nphttp2/metadata"
	"github.com/cloudwego/kitex/pkg/remote/trans/ttstream"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/streaming"
	"github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/transport"
	"github.com/kitex-contrib/obs-opentelemetry/tracing"

	"ripcord/interop/kitex_gen/interop"
	svc "ripcord/interop/kitex_gen/interop/interop"
)

func runKitexClient(args []string) error {
	fs := flag.NewFlagSet("kitex-client", flag.ExitOnError)
	addr := fs.String("addr", "", "server address")
	tp := fs.String("transport", "ttheader", "ttheader|grpc|pingpong|framed")
	pool := fs.String("pool", "mux", "mux|long|short")
	name := fs.String("service-name", calleeName, "destination service name")
	caller := fs.String("caller", callerName, "this caller's own name")
	otlp := fs.String("otlp", "", "OTLP/gRPC collector for spans of its own")
	_ = fs.Parse(args)
	var suite []client.Option
	if *otlp != "" {
		if err := startTracing(*otlp, *caller); err != nil {
			return err
		}
		suite = append(suite, client.WithSuite(tracing.NewClientSuite()))
	}
	d, err := newKitexDialer(*addr, *tp, *pool, *name, *caller, suite...)
	if err != nil {
		return err
	}
	runClient(d)
	return nil
}

type kitexDialer struct {
	c     svc.Client
	unary client.Client // pingpong: TTHeader without the inner frame
	tp    string
}

type headerOutKey struct{}

// extraHeader writes a scenario's metadata and int_header into the Header frame.
type extraHeader struct{}

func (extraHeader) OnWriteStream(ctx context.Context) (ttstream.IntHeader, ttstream.StrHeader, error) {
	sc, _ := ctx.Value(headerOutKey{}).(*Scenario)
	if sc == nil {
		return nil, nil, nil
	}
	ihd, shd := ttstream.IntHeader{}, ttstream.StrHeader{}
	for k, v := range sc.IntHeader {
		ihd[k] = v
	}
	for k, v := range sc.Metadata {
		shd[k] = strings.Join(v, ",")
	}
	return ihd, shd, nil
}

// newKitexDialer: a suite comes with the meta handlers that a user installs, like Kitex's tracing suite.
func newKitexDialer(addr, tp, pool, dest, caller string, suite ...client.Option) (*kitexDialer, error) {
	if len(suite) == 0 {
		suite = []client.Option{
			client.WithMetaHandler(transmeta.ClientTTHeaderHandler),
			client.WithMetaHandler(transmeta.ClientHTTP2Handler),
		}
	}
	opts := append(suite,
		client.WithHostPorts(addr),
		client.WithClientBasicInfo(&rpcinfo.EndpointBasicInfo{ServiceName: caller}),
		client.WithConnectTimeout(2*time.Second),
	)
	handler := []clientHandlerOption{ttstream.WithClientHeaderFrameHandler(extraHeader{})}
	idle := connpool.IdleConfig{MinIdlePerAddress: 0, MaxIdlePerAddress: 100, MaxIdleGlobal: 100, MaxIdleTimeout: time.Minute}
	switch pool {
	case "mux":
	case "long":
		handler = append(handler, ttstream.WithClientLongConnPool(ttstream.DefaultLongConnConfig))
		opts = append(opts, client.WithLongConnection(idle))
	case "short":
		handler = append(handler, ttstream.WithClientShortConnPool())
		opts = append(opts, client.WithShortConnection())
	default:
		return nil, fmt.Errorf("unknown pool %q", pool)
	}
	opts = append(opts, client.WithTTHeaderStreamingOptions(client.WithTTHeaderStreamingTransportOptions(handler...)))
	switch tp {
	case "ttheader": // unary methods go as TTHeader ping-pong
		opts = append(opts, client.WithTransportProtocol(transport.TTHeaderFramed))
	case "grpc":
		opts = append(opts, client.WithTransportProtocol(transport.GRPC))
	case "pingpong": // the generated constructor would add the inner frame
		opts = append(opts, client.WithDestService(dest),
			client.WithTransportProtocol(transport.PurePayload), client.WithTransportProtocol(transport.TTHeader))
		u, err := client.NewClient(svc.NewServiceInfo(), opts...)
		return &kitexDialer{unary: u, tp: tp}, err
	case "framed":
		opts = append(opts, client.WithTransportProtocol(transport.TTHeaderFramed))
	default:
		return nil, fmt.Errorf("unknown transport %q", tp)
	}
	c, err := svc.NewClient(dest, opts...)
	if err != nil {
		return nil, err
	}
	return &kitexDialer{c: c, tp: tp}, nil
}

// context carries the scenario's metainfo, metadata and server script.
func (d *kitexDialer) context(ctx context.Context, sc *Scenario) context.Context {
	if sc.Script != nil {
		ctx = metainfo.WithValue(ctx, scriptKey, encodeScript(sc.ID, sc.Script))
	}
	for k, v := range sc.Persist {
		ctx = metainfo.WithPersistentValue(ctx, k, v)
	}
	for k, v := range sc.Transit {
		ctx = metainfo.WithValue(ctx, k, v)
	}
	if d.tp != "grpc" {
		return context.WithValue(ctx, headerOutKey{}, sc)
	}
	for k, vs := range sc.Metadata {
		for _, v := range vs {
			ctx = metadata.AppendToOutgoingContext(ctx, k, unbin(k, v))
		}
	}
	return ctx
}

func (d *kitexDialer) Open(ctx context.Context, sc *Scenario, first []byte) (clientStream, error) {
	if d.c == nil {
		return nil, fmt.Errorf("peer: transport %s has only Ping", d.tp)
	}
	ctx = d.context(ctx, sc)
	var opts []streamcall.Option
	if sc.RecvTimeoutMS > 0 {
		tm := time.Duration(sc.RecvTimeoutMS) * time.Millisecond
		opts = append(opts, recvTimeout(tm, sc.RecvTimeoutKeep))
	}
	if c := compressor(sc); c != "" && d.tp == "grpc" {
		opts = append(opts, streamcall.WithGRPCCompressor(c))
	}
	var st streaming.ClientStream
	var err error
	switch sc.Method {
	case "Bidi":
		st, err = d.c.Bidi(ctx, opts...)
	case "ClientStream":
		st, err = d.c.ClientStream(ctx, opts...)
	case "ServerStream":
		st, err = d.c.ServerStream(ctx, &interop.Msg{Payload: first}, opts...)
	default:
		return nil, fmt.Errorf("peer: unknown method %q", sc.Method)
	}
	if err != nil {
		return nil, err
	}
	return &kitexClientStream{st: st, ctx: ctx}, nil
}

func (d *kitexDialer) Ping(ctx context.Context, sc *Scenario, m map[string]any, b []byte, seq int64) ([]byte, error) {
	ctx = metainfo.WithBackwardValues(d.context(ctx, sc))
	res, err := d.call(ctx, &interop.Msg{Payload: b, Seq: seq})
	if back := metainfo.RecvAllBackwardValues(ctx); len(back) > 0 {
		m["backward"] = back
	}
	if err != nil {
		return nil, err
	}
	return res.Payload, nil
}

func (d *kitexDialer) call(ctx context.Context, req *interop.Msg) (*interop.Msg, error) {
	if d.unary == nil {
		return d.c.Ping(ctx, req)
	}
	var res interop.InteropPingResult
	if err := d.unary.Call(ctx, "Ping", &interop.InteropPingArgs{Req: req}, &res); err != nil {
		return nil, err
	}
	if res.F != nil {
		return nil, res.F
	}
	return res.GetSuccess(), nil
}

func (d *kitexDialer) Classify(m map[string]any, err error) { classifyKitex(m, err) }

type kitexClientStream struct {
	st  streaming.ClientStream
	ctx context.Context
}

func (s *kitexClientStream) Send(b []byte, seq int64) error {
	return s.st.SendMsg(s.ctx, &interop.Msg{Payload: b, Seq: seq})
}

func (s *kitexClientStream) Recv() ([]byte, int64, error) {
	m := new(interop.Msg)
	if err := s.st.RecvMsg(s.ctx, m); err != nil {
		return nil, 0, err
	}
	return m.Payload, m.Seq, nil
}

func (s *kitexClientStream) CloseSend() error { return s.st.CloseSend(s.ctx) }

func (s *kitexClientStream) Header() (map[string][]string, error) {
	h, err := s.st.Header()
	return lists(h), err
}

func (s *kitexClientStream) Trailer() (map[string][]string, error) {
	t, err := s.st.Trailer()
	return lists(t), err
}

func lists(m map[string]string) map[string][]string {
	out := make(map[string][]string, len(m))
	for k, v := range m {
		out[k] = []string{v}
	}
	return out
}

// compressor finds the compress op of a scenario.
func compressor(sc *Scenario) string {
	for _, op := range sc.Ops {
		if op.Op == "compress" {
			return op.Name
		}
	}
	return ""
}
