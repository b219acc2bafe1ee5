package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// clientStream is what a script can do to a stream that the peer opened.
type clientStream interface {
	Send(payload []byte, seq int64) error
	Recv() (payload []byte, seq int64, err error)
	CloseSend() error
	Header() (map[string][]string, error)
	Trailer() (map[string][]string, error)
}

// dialer opens streams in one of the protocols.
type dialer interface {
	// Open starts a stream; first is the request of a server-streaming call.
	Open(ctx context.Context, sc *Scenario, first []byte) (clientStream, error)
	// Ping is one unary call; it adds what metadata came back to m.
	Ping(ctx context.Context, sc *Scenario, m map[string]any, payload []byte, seq int64) ([]byte, error)
	// Classify adds kind, code, class and details of an error.
	Classify(m map[string]any, err error)
}

const metaWait = 3 * time.Second

type clientRun struct {
	d      dialer
	sc     *Scenario
	ctx    context.Context
	cancel context.CancelCauseFunc
	st     clientStream
	in     *tally
	sent   int
	err    error
	short  bool // EOF came before a recv op had its messages
	m      map[string]any
	hdr    bool // header already asked for
}

// runClient reads scenarios from stdin, runs them concurrently, prints results.
func runClient(d dialer) {
	var wg sync.WaitGroup
	stdinLines(func(line []byte) {
		sc := new(Scenario)
		if err := json.Unmarshal(line, sc); err != nil || sc.ID == "" {
			emit(map[string]any{"event": "result", "id": sc.ID, "kind": "bad_scenario", "line": string(line)})
			return
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			emit(runScenario(d, sc))
		}()
	})
	wg.Wait()
}

// runScenario carries out one scenario and returns its result line.
func runScenario(d dialer, sc *Scenario) map[string]any {
	began := time.Now()
	r := &clientRun{d: d, sc: sc, in: newTally(), m: map[string]any{"event": "result", "id": sc.ID}}
	base := context.Background()
	if sc.TimeoutMS > 0 {
		var stop context.CancelFunc
		base, stop = context.WithTimeout(base, time.Duration(sc.TimeoutMS)*time.Millisecond)
		defer stop()
	}
	r.ctx, r.cancel = context.WithCancelCause(base)
	defer r.cancel(nil)
	returned := r.run()
	r.m["elapsed_ms"] = time.Since(began).Milliseconds()
	r.m["sent"] = r.sent
	r.in.report(r.m)
	if returned {
		r.m["kind"] = "returned"
		r.cancel(nil)
	}
	return r.m
}

// open starts the stream if it is not yet there.
func (r *clientRun) open(first []byte) bool {
	if r.st != nil || r.err != nil {
		return r.err == nil
	}
	r.st, r.err = r.d.Open(r.ctx, r.sc, first)
	return r.err == nil
}

func (r *clientRun) run() (returned bool) {
	lazy := r.sc.Method == "ServerStream" || r.sc.Method == "Ping"
	if !lazy {
		r.open(nil)
	}
	for i := range r.sc.Ops {
		op := &r.sc.Ops[i]
		if op.Op == "return" {
			r.finish(false)
			return true
		}
		if r.err != nil && op.Op != "cancel" && op.Op != "cancel_cause" && op.Op != "barrier" && op.Op != "sleep" {
			continue
		}
		r.step(op)
	}
	r.finish(true)
	return false
}

func (r *clientRun) step(op *Op) {
	switch op.Op {
	case "compress": // read before the stream is opened
	case "send":
		if r.sc.Method == "ServerStream" && r.st == nil {
			if r.open(payload(0, op.Size)) {
				r.sent++
			}
			return
		}
		for n := op.count(1); n > 0 && r.err == nil; n-- {
			r.sendOne(op.Size)
		}
	case "recv":
		if !r.open(nil) {
			return
		}
		n := op.count(-1)
		for i := 0; i != n && r.err == nil; i++ {
			r.recvOne()
		}
		if r.err == io.EOF && n >= 0 {
			r.short = true
		}
	case "exchange":
		r.exchange(op)
	case "header":
		if r.open(nil) {
			r.header(20 * time.Second)
		}
	case "close_send":
		if r.open(nil) {
			if err := r.st.CloseSend(); err != nil {
				r.m["close_send_err"] = text(err.Error())
			}
		}
	case "cancel":
		r.cancel(nil)
	case "cancel_cause":
		r.cancel(errors.New(op.Message))
	case "barrier":
		barrier(r.sc.ID, op.Name)
	case "sleep":
		time.Sleep(time.Duration(op.MS) * time.Millisecond)
	case "ping":
		for n := op.count(1); n > 0 && r.err == nil; n-- {
			var b []byte
			if b, r.err = r.d.Ping(r.ctx, r.sc, r.m, payload(r.sent, op.Size), int64(r.sent)); r.err == nil {
				r.in.add(b)
				r.sent++
			}
		}
	case "kill":
		os.Exit(137)
	default:
		r.err = errors.New("peer: unknown client op " + op.Op)
	}
}

func (r *clientRun) sendOne(size int) {
	err := r.st.Send(payload(r.sent, size), int64(r.sent))
	if err == nil {
		r.sent++
		return
	}
	r.m["send_err"] = text(err.Error())
	if err == io.EOF { // grpc-go: the status is behind Recv
		for r.err == nil {
			r.recvOne()
		}
		return
	}
	r.err = err
}

func (r *clientRun) recvOne() {
	b, _, err := r.st.Recv()
	if err != nil {
		r.err = err
		return
	}
	r.in.add(b)
}

// exchange keeps at most window messages unanswered; it sends and receives
// concurrently, so that flow control cannot lock the two against each other.
func (r *clientRun) exchange(op *Op) {
	n := op.count(1)
	tokens, stop := make(chan struct{}, max(op.Window, 1)), make(chan struct{})
	sender := make(chan error, 1)
	go func() {
		for i := 0; i < n; i++ {
			select {
			case tokens <- struct{}{}:
			case <-stop:
				sender <- nil
				return
			}
			if err := r.st.Send(payload(r.sent, op.Size), int64(r.sent)); err != nil {
				sender <- err
				return
			}
			r.sent++
		}
		sender <- nil
	}()
	for i := 0; i < n && r.err == nil; i++ {
		if r.recvOne(); r.err == nil {
			<-tokens
		}
	}
	close(stop)
	if err := <-sender; err != nil {
		r.m["send_err"] = text(err.Error())
	}
	if r.err == io.EOF {
		r.short = true
	}
}

// finish drains the stream and records how it ended.
func (r *clientRun) finish(drain bool) {
	if r.st == nil && r.err == nil && r.sc.Method != "Ping" {
		r.open(nil)
	}
	if drain && r.st != nil {
		if r.err == nil && r.sc.Method == "ClientStream" {
			if err := r.st.CloseSend(); err != nil {
				r.m["close_send_err"] = text(err.Error())
			}
			if r.recvOne(); r.err == nil {
				r.err = io.EOF // the one answer is the success
			}
		}
		for r.err == nil {
			r.recvOne()
		}
	}
	if drain && r.st != nil {
		r.headerAgain(metaWait)
		r.header(metaWait)
		if tr, err, ok := within(metaWait, r.st.Trailer); !ok {
			r.m["trailer_err"] = "peer: timeout"
		} else if err != nil {
			r.m["trailer_err"] = text(err.Error())
		} else {
			r.m["trailer"] = readable(tr)
		}
	}
	switch {
	case r.err == nil:
		r.m["kind"] = "ok"
	case r.err == io.EOF && r.short:
		r.m["kind"], r.m["err"] = "eof", "EOF"
	case r.err == io.EOF:
		r.m["kind"] = "ok"
	default:
		r.m["err"] = text(r.err.Error())
		r.m["kind"] = "error"
		r.d.Classify(r.m, r.err)
	}
}

// headerAgain asks once more, after the end, if it was asked before.
func (r *clientRun) headerAgain(wait time.Duration) {
	if !r.hdr {
		return
	}
	if h, err, ok := within(wait, r.st.Header); !ok {
		r.m["header_again_err"] = "peer: timeout"
	} else if err != nil {
		r.m["header_again_err"] = text(err.Error())
	} else {
		r.m["header_again"] = readable(h)
	}
}

// header asks for the response header once: Kitex blocks on a second call before the end.
func (r *clientRun) header(wait time.Duration) {
	if r.hdr {
		return
	}
	r.hdr = true
	if h, err, ok := within(wait, r.st.Header); !ok {
		r.m["header_err"] = "peer: timeout"
	} else if err != nil {
		r.m["header_err"] = text(err.Error())
	} else {
		r.m["header"] = readable(h)
	}
}

func within(d time.Duration, f func() (map[string][]string, error)) (map[string][]string, error, bool) {
	type res struct {
		m   map[string][]string
		err error
	}
	c := make(chan res, 1)
	go func() {
		m, err := f()
		c <- res{m, err}
	}()
	select {
	case x := <-c:
		return x.m, x.err, true
	case <-time.After(d):
		return nil, nil, false
	}
}
