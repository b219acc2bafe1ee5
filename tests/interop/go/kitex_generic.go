package main

import (
	"context"
	"fmt"

	"github.com/cloudwego/kitex/pkg/generic"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/server/genericserver"

	"ripcord/interop/kitex_gen/interop"
)

// registerGeneric makes the server answer streams of any service and method,
// where a server without it stays silent.
func registerGeneric(svr server.Server, h *kitexHandler) error {
	return genericserver.RegisterUnknownServiceOrMethodHandler(svr, &genericserver.UnknownServiceOrMethodHandler{
		StreamingHandler: func(ctx context.Context, service, method string, st generic.BidiStreamingServer) error {
			return h.serve(ctx, method, &genericStream{BidiStreamingServer: st}, nil)
		},
	})
}

// genericStream packs Msg into the bytes that a binary generic stream carries.
type genericStream struct{ generic.BidiStreamingServer }

func (s *genericStream) SendMsg(ctx context.Context, m any) error {
	msg := m.(*interop.Msg)
	return s.Send(ctx, packMsg("thrift", msg.Payload, msg.Seq))
}

func (s *genericStream) RecvMsg(ctx context.Context, m any) error {
	got, err := s.Recv(ctx)
	if err != nil {
		return err
	}
	b, ok := got.([]byte)
	if !ok {
		return fmt.Errorf("peer: generic stream gave %T", got)
	}
	msg := m.(*interop.Msg)
	msg.Payload, msg.Seq, err = unpackMsg("thrift", b)
	return err
}
