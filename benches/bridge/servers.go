package main

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/cloudwego/kitex/pkg/generic"
	"github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/server/genericserver"
	"github.com/cloudwego/netpoll"
	"google.golang.org/grpc"
)

func serveKitex(addr string, next *callees) error {
	ln, err := netpoll.CreateListener("tcp", addr)
	if err != nil {
		return err
	}
	svr := server.NewServer(
		server.WithListener(ln),
		server.WithMetaHandler(transmeta.ServerTTHeaderHandler),
		server.WithMetaHandler(transmeta.ServerHTTP2Handler))
	err = genericserver.RegisterUnknownServiceOrMethodHandler(svr, &genericserver.UnknownServiceOrMethodHandler{
		StreamingHandler: func(ctx context.Context, service, method string, st generic.BidiStreamingServer) error {
			return forward(ctx, next, service, method, func(ctx context.Context) inbound {
				return kitexInbound{ctx, st}
			})
		},
	})
	if err != nil {
		return err
	}
	return svr.Run()
}

type kitexInbound struct {
	ctx context.Context
	st  generic.BidiStreamingServer
}

func (i kitexInbound) Send(b []byte) error { return i.st.Send(i.ctx, b) }

func (i kitexInbound) Recv() ([]byte, error) {
	got, err := i.st.Recv(i.ctx)
	if err != nil {
		return nil, err
	}
	return got.([]byte), nil
}

func serveGRPC(addr string, next *callees) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	svr := grpc.NewServer(
		grpc.ForceServerCodec(rawCodec{}),
		grpc.UnknownServiceHandler(func(_ any, st grpc.ServerStream) error {
			path, _ := grpc.MethodFromServerStream(st)
			service, method, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
			return forward(st.Context(), next, service, method, func(context.Context) inbound {
				return grpcInbound{st}
			})
		}))
	return svr.Serve(ln)
}

type grpcInbound struct {
	st grpc.ServerStream
}

func (i grpcInbound) Send(b []byte) error { return i.st.SendMsg(b) }

func (i grpcInbound) Recv() ([]byte, error) {
	var b []byte
	err := i.st.RecvMsg(&b)
	return b, err
}

// rawCodec passes the bytes of messages through. grpc-go hands Unmarshal a
// slice of its own, so it can be kept.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) ([]byte, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("cannot marshal %T", v)
	}
	return b, nil
}

func (rawCodec) Unmarshal(data []byte, v any) error {
	p, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("cannot unmarshal into %T", v)
	}
	*p = data
	return nil
}
