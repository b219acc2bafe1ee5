package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"strconv"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func runGRPCClient(args []string) error {
	fs := flag.NewFlagSet("grpc-client", flag.ExitOnError)
	addr := fs.String("addr", "", "server address")
	subtype := fs.String("subtype", "", "content-subtype: empty, thrift or proto")
	assume := fs.String("assume", "", "what the messages are under an empty content-subtype")
	service := fs.String("service", "interop.Interop", "service part of the path")
	authority := fs.String("authority", "", ":authority, default the address")
	source := fs.String("source", "", "source-service metadata, as Kitex sends it")
	window := fs.Int("window", 0, "initial stream window, 0 = default")
	otlp := fs.String("otlp", "", "OTLP/gRPC collector for spans of its own")
	_ = fs.Parse(args)
	if err := startTracing(*otlp, *source); err != nil {
		return err
	}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20), grpc.ForceCodec(rawCodec{*subtype})),
		grpc.WithDisableServiceConfig(),
	}
	if *otlp != "" {
		opts = append(opts, grpc.WithStatsHandler(otelgrpc.NewClientHandler()))
	}
	if *authority != "" {
		opts = append(opts, grpc.WithAuthority(*authority))
	}
	if *window > 0 {
		opts = append(opts, grpc.WithInitialWindowSize(int32(*window)))
	}
	cc, err := grpc.NewClient("passthrough:///"+*addr, opts...)
	if err != nil {
		return err
	}
	if *subtype == "" {
		*subtype = *assume
	}
	runClient(&grpcDialer{cc: cc, subtype: *subtype, service: *service, source: *source})
	return nil
}

type grpcDialer struct {
	cc                       *grpc.ClientConn
	subtype, service, source string
}

func (d *grpcDialer) context(ctx context.Context, sc *Scenario) context.Context {
	md := toMD(sc.Metadata)
	if sc.Script != nil {
		md.Set("rpc-transit-script", encodeScript(sc.ID, sc.Script))
	}
	for k, v := range sc.Persist {
		md.Set(httpKey("rpc-persist-", k), v)
	}
	for k, v := range sc.Transit {
		md.Set(httpKey("rpc-transit-", k), v)
	}
	if d.source != "" {
		md.Set("source-service", d.source)
	}
	return metadata.NewOutgoingContext(ctx, md)
}

func (d *grpcDialer) Open(ctx context.Context, sc *Scenario, first []byte) (clientStream, error) {
	desc := &grpc.StreamDesc{
		ClientStreams: sc.Method != "ServerStream" && sc.Method != "Ping",
		ServerStreams: sc.Method != "ClientStream" && sc.Method != "Ping",
	}
	var opts []grpc.CallOption
	if c := compressor(sc); c != "" {
		opts = append(opts, grpc.UseCompressor(c))
	}
	st, err := d.cc.NewStream(d.context(ctx, sc), desc, "/"+d.service+"/"+sc.Method, opts...)
	if err != nil {
		return nil, err
	}
	s := &grpcClientStream{st: st, subtype: d.subtype}
	if sc.Method == "ServerStream" {
		// EOF here means that the status is behind Recv.
		if err := s.Send(first, 0); err != nil && err != io.EOF {
			return nil, err
		}
		_ = st.CloseSend()
	}
	return s, nil
}

func (d *grpcDialer) Ping(ctx context.Context, sc *Scenario, m map[string]any, b []byte, seq int64) ([]byte, error) {
	var res []byte
	var header, trailer metadata.MD
	opts := []grpc.CallOption{grpc.Header(&header), grpc.Trailer(&trailer)}
	if c := compressor(sc); c != "" {
		opts = append(opts, grpc.UseCompressor(c))
	}
	err := d.cc.Invoke(d.context(ctx, sc), "/"+d.service+"/Ping", packPing(d.subtype, b, seq, false), &res, opts...)
	m["header"], m["trailer"] = readable(header), readable(trailer)
	if err != nil {
		return nil, err
	}
	out, _, err := unpackPing(d.subtype, res, true)
	return out, err
}

func (d *grpcDialer) Classify(m map[string]any, err error) {
	classifyGRPC(m, err)
	// A business error, as a Kitex gRPC client would see it.
	tr, _ := m["trailer"].(map[string][]string)
	if bs := tr["biz-status"]; len(bs) > 0 && m["code"] != int32(0) {
		if n, e := strconv.Atoi(bs[0]); e == nil && n != 0 {
			biz := map[string]any{"code": n, "message": m["message"]}
			if x := tr["biz-extra"]; len(x) > 0 {
				var extra map[string]string
				if json.Unmarshal([]byte(x[0]), &extra) == nil {
					biz["extra"] = extra
				}
			}
			m["biz"], m["kind"] = biz, "biz"
		}
	}
}

// classifyGRPC adds status number, message and details.
func classifyGRPC(m map[string]any, err error) {
	if err == nil {
		return
	}
	is := []string{}
	for _, c := range []struct {
		name string
		err  error
	}{{"context.Canceled", context.Canceled}, {"context.DeadlineExceeded", context.DeadlineExceeded}, {"io.EOF", io.EOF}} {
		if errors.Is(err, c.err) {
			is = append(is, c.name)
		}
	}
	m["is"] = is
	if st, ok := status.FromError(err); ok {
		m["code"], m["code_kind"], m["message"] = int32(st.Code()), "grpc", text(st.Message())
		addDetails(m, st.Proto().GetDetails())
	}
}

type grpcClientStream struct {
	st      grpc.ClientStream
	subtype string
}

func (s *grpcClientStream) Send(b []byte, seq int64) error {
	return s.st.SendMsg(packMsg(s.subtype, b, seq))
}

func (s *grpcClientStream) Recv() ([]byte, int64, error) {
	var b []byte
	if err := s.st.RecvMsg(&b); err != nil {
		return nil, 0, err
	}
	return unpackMsg(s.subtype, b)
}

func (s *grpcClientStream) CloseSend() error { return s.st.CloseSend() }

func (s *grpcClientStream) Header() (map[string][]string, error) {
	h, err := s.st.Header()
	return h, err
}

func (s *grpcClientStream) Trailer() (map[string][]string, error) { return s.st.Trailer(), nil }
