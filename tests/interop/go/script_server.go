package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"
)

// serverStream is what a script can do to a stream that the peer serves.
type serverStream interface {
	Context() context.Context
	Recv() (payload []byte, seq int64, err error)
	Send(payload []byte, seq int64) error
	SetHeader(kv map[string]values) error
	SendHeader(kv map[string]values) error
	SetTrailer(kv map[string]values) error
	// Finish makes the error that the handler returns for a "return" op.
	Finish(op *Op) error
	// Describe adds what the request looked like and how err classifies.
	Describe(m map[string]any, err error)
	// Relay opens the next hop with the handler's own context.
	Relay(id string, op *Op) (clientStream, error)
}

const waitCancelLimit = 20 * time.Second

type serverRun struct {
	id, method string
	st         serverStream
	in         *tally
	sent       int
	err        error // last error of Recv or Send, EOF included
	cause      error // ctx cause when the script ended
}

// serve runs a script and returns the handler's error.
func serve(id, method string, ops []Op, st serverStream) error {
	r := &serverRun{id: id, method: method, st: st, in: newTally()}
	emit(map[string]any{"event": "server_start", "id": id, "method": method})
	ended := false
	end := func(ret error) {
		if !ended {
			ended = true
			r.report(ret)
		}
	}
	defer func() {
		if p := recover(); p != nil {
			end(nil)
			panic(p)
		}
	}()
	for i := range ops {
		op := &ops[i]
		if op.Op == "return" {
			op.Message += strings.Repeat("m", op.Size)
			ret := st.Finish(op) // may panic: see the recover above
			end(ret)
			return ret
		}
		if r.failed() && op.Op != "wait_cancel" && op.Op != "trailer" && op.Op != "sleep" && op.Op != "barrier" && op.Op != "kill" {
			continue // only a return counts after a failure
		}
		r.step(op)
	}
	var ret error
	if r.failed() {
		ret = r.err
	}
	end(ret)
	return ret
}

func (r *serverRun) failed() bool { return r.err != nil && !errors.Is(r.err, io.EOF) }

func (r *serverRun) note(err error) {
	if err != nil {
		r.err = err
	}
}

func (r *serverRun) step(op *Op) {
	switch op.Op {
	case "header":
		r.note(r.st.SetHeader(op.filled()))
	case "send_header":
		r.note(r.st.SendHeader(op.filled()))
	case "trailer":
		r.note(r.st.SetTrailer(op.filled()))
	case "recv":
		for n := op.count(-1); n != 0 && r.err == nil; n-- {
			b, _, err := r.st.Recv()
			if err == nil {
				r.in.add(b)
			}
			r.note(err)
		}
	case "echo":
		for n := op.count(-1); n != 0 && r.err == nil; n-- {
			b, seq, err := r.st.Recv()
			if err == nil {
				r.in.add(b)
				if err = r.st.Send(b, seq); err == nil {
					r.sent++
				}
			}
			r.note(err)
		}
	case "send":
		for n := op.count(1); n > 0 && !r.failed(); n-- {
			err := r.st.Send(payload(r.sent, op.Size), int64(r.sent))
			if err == nil {
				r.sent++
			}
			r.note(err)
		}
	case "sleep":
		time.Sleep(time.Duration(op.MS) * time.Millisecond)
	case "barrier":
		barrier(r.id, op.Name)
	case "wait_cancel":
		r.waitCancel()
	case "relay":
		r.note(r.relay(op))
	case "kill":
		os.Exit(137)
	default:
		r.note(errors.New("peer: unknown server op " + op.Op))
	}
}

// waitCancel waits for the context and then asks Recv what it has to say.
func (r *serverRun) waitCancel() {
	select {
	case <-r.st.Context().Done():
	case <-time.After(waitCancelLimit):
		r.note(errors.New("peer: not canceled within 20s"))
		return
	}
	for {
		b, _, err := r.st.Recv()
		if err != nil {
			r.note(err)
			return
		}
		r.in.add(b)
	}
}

func (r *serverRun) report(ret error) {
	m := map[string]any{"event": "server_end", "id": r.id, "method": r.method, "sent": r.sent, "at_us": time.Now().UnixMicro()}
	r.in.report(m)
	if r.err != nil {
		m["err"] = text(r.err.Error())
	}
	if ret != nil {
		m["returned"] = text(ret.Error())
	}
	ctx := r.st.Context()
	if err := ctx.Err(); err != nil {
		m["ctx_err"] = text(err.Error())
	}
	if err := context.Cause(ctx); err != nil {
		m["ctx_cause"] = text(err.Error())
	}
	m["deadline_ms"] = nil
	if d, ok := ctx.Deadline(); ok {
		m["deadline_ms"] = time.Until(d).Milliseconds()
	}
	r.st.Describe(m, r.err)
	emit(m)
}

// relay pumps between the caller and the next hop until the next hop ends.
func (r *serverRun) relay(op *Op) error {
	next, err := r.st.Relay(r.id+"/next", op)
	if err != nil {
		return err
	}
	go func() {
		for {
			b, seq, err := r.st.Recv()
			if err != nil {
				if err == io.EOF {
					_ = next.CloseSend()
				}
				return
			}
			if next.Send(b, seq) != nil {
				return
			}
		}
	}()
	for {
		b, seq, err := next.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		r.in.add(b)
		if err = r.st.Send(b, seq); err != nil {
			return err
		}
		r.sent++
	}
}
