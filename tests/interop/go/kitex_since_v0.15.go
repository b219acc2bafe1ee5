//go:build !kitex014

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloudwego/kitex/client/callopt/streamcall"
	"github.com/cloudwego/kitex/pkg/generic"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/remote/trans/ttstream"
	"github.com/cloudwego/kitex/pkg/streaming"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/server/genericserver"

	"ripcord/interop/kitex_gen/interop"
)

// What the peer uses of Kitex that v0.14 has not, or has under another name: see kitex_v0.14.go.

type clientHandlerOption = ttstream.ClientHandlerOption

var newClasses = []kitexClass{
	{"ErrStreamingCanceled", kerrors.ErrStreamingCanceled},
	{"ErrStreamingTimeout", kerrors.ErrStreamingTimeout},
}

// streamTypeID is the type id of a ttstream error.
func streamTypeID(err error) (int32, bool) {
	var ex *ttstream.Exception
	if !errors.As(err, &ex) {
		return 0, false
	}
	return ex.TypeId(), true
}

func recvTimeout(timeout time.Duration, keep bool) streamcall.Option {
	return streamcall.WithRecvTimeoutConfig(streaming.TimeoutConfig{Timeout: timeout, DisableCancelRemote: keep})
}

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
