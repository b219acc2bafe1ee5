package main

import (
	"context"
	"errors"
	"io"
)

// inbound is the stream that a caller opened.
type inbound interface {
	Recv() ([]byte, error)
	Send([]byte) error
}

// outbound is the stream to the callee.
type outbound interface {
	Send([]byte) error
	CloseSend() error
	Recv() ([]byte, error)
}

// forward carries one stream until the callee ends it. A caller that lets go
// cancels the callee's stream through its context.
func forward(ctx context.Context, next *callees, service, method string, in func(context.Context) inbound) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out, err := next.open(ctx, service, method)
	if err != nil {
		return err
	}
	caller := in(ctx)
	go func() {
		for {
			b, err := caller.Recv()
			if errors.Is(err, io.EOF) {
				_ = out.CloseSend()
				return
			}
			if err == nil {
				err = out.Send(b)
			}
			if err != nil {
				cancel(err)
				return
			}
		}
	}()
	for {
		b, err := out.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := caller.Send(b); err != nil {
			return err
		}
	}
}
