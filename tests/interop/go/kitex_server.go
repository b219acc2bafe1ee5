package main

import (
	"flag"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cloudwego/kitex/pkg/klog"
	_ "github.com/cloudwego/kitex/pkg/remote/codec/protobuf/encoding/gzip" // registers gzip for gRPC
	"github.com/cloudwego/kitex/pkg/remote/trans/ttstream"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/netpoll"
	"github.com/kitex-contrib/obs-opentelemetry/tracing"

	"ripcord/interop/kitex_gen/interop/interop"
)

func runKitexServer(args []string) error {
	fs := flag.NewFlagSet("kitex-server", flag.ExitOnError)
	addr := fs.String("addr", "127.0.0.1:0", "listen address")
	name := fs.String("name", calleeName, "this service's name in canceled paths")
	next := fs.String("next", "", "address that a relay op calls")
	nextTransport := fs.String("next-transport", "ttheader", "ttheader or grpc, for a relay op")
	exitWait := fs.Duration("exit-wait", 2*time.Second, "graceful shutdown: how long to wait")
	generic := fs.Bool("generic", false, "also serve streams of unknown services and methods")
	otlp := fs.String("otlp", "", "OTLP/gRPC collector for spans of its own")
	_ = fs.Parse(args)

	var suite []server.Option
	if *otlp != "" {
		if err := startTracing(*otlp, *name); err != nil {
			return err
		}
		suite = append(suite, server.WithSuite(tracing.NewServerSuite()))
	}
	svr, ln, err := newKitexServer(*addr, *name, *next, *nextTransport, *exitWait, *generic, suite...)
	if err != nil {
		return err
	}
	go func() {
		if err := svr.Run(); err != nil {
			klog.Errorf("peer: kitex server: %v", err)
		}
	}()
	emit(map[string]any{"event": "listening", "addr": ln.Addr().String()})
	exitOnSignal()
	serveUntilEOF(func() { _ = svr.Stop() })
	return nil
}

// exitOnSignal takes SIGTERM away from Kitex: tests want a prompt end.
func exitOnSignal() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-c
		os.Exit(0)
	}()
}

// newKitexServer builds a server that serves TTHeader streaming, TTHeader
// ping-pong and gRPC on one port, with the handlers that a user installs (a suite comes with them).
func newKitexServer(addr, name, next, nextTransport string, exitWait time.Duration, generic bool, suite ...server.Option) (server.Server, net.Listener, error) {
	ln, err := netpoll.CreateListener("tcp", addr) // a net.Listener would lose its descriptor to both owners
	if err != nil {
		return nil, nil, err
	}
	h := &kitexHandler{name: name}
	if next != "" {
		if h.next, err = newKitexDialer(next, nextTransport, "mux", calleeName, name); err != nil {
			return nil, nil, err
		}
	}
	if len(suite) == 0 {
		suite = []server.Option{
			server.WithMetaHandler(transmeta.ServerTTHeaderHandler),
			server.WithMetaHandler(transmeta.ServerHTTP2Handler),
		}
	}
	svr := interop.NewServer(h, append(suite,
		server.WithListener(ln),
		server.WithServerBasicInfo(&rpcinfo.EndpointBasicInfo{ServiceName: name}),
		server.WithTTHeaderStreamingOptions(
			server.WithTTHeaderStreamingTransportOptions(ttstream.WithServerHeaderFrameHandler(rawHeader{}))),
		server.WithExitSignal(func() <-chan error { return make(chan error) }),
		server.WithExitWaitTime(exitWait),
	)...)
	if generic {
		err = registerGeneric(svr, h)
	}
	return svr, ln, err
}
