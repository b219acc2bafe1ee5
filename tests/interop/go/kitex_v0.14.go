//go:build kitex014

package main

import (
	"errors"
	"time"

	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/kitex/client/callopt/streamcall"
	"github.com/cloudwego/kitex/pkg/remote/trans/ttstream"
	"github.com/cloudwego/kitex/server"
)

// The peer on Kitex v0.14 (v0.14.mod), which does not know the Rst frame.

type clientHandlerOption = ttstream.ClientProviderOption

var newClasses []kitexClass

// streamTypeID: v0.14 exports no type of a ttstream error.
func streamTypeID(err error) (int32, bool) {
	var ex interface{ TypeId() int32 }
	if !errors.As(err, &ex) {
		return 0, false
	}
	_, thrifts := ex.(*thrift.ApplicationException)
	return ex.TypeId(), !thrifts
}

func recvTimeout(timeout time.Duration, _ bool) streamcall.Option {
	return streamcall.WithRecvTimeout(timeout)
}

func registerGeneric(server.Server, *kitexHandler) error {
	return errors.New("peer: Kitex v0.14 has no handler of unknown services")
}
