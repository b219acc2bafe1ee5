package main

import (
	"io"
	"net"
	"sync"
)

// recorder collects the lines of one capture, in the order seen.
type recorder struct {
	mu    sync.Mutex
	lines []map[string]any
	live  sync.WaitGroup
}

func (r *recorder) add(m map[string]any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, m)
}

// relay is a TCP proxy that records TTHeader frames in both directions.
type relay struct {
	ln    net.Listener
	to    string
	hop   string
	rec   *recorder
	conns int
}

func newRelay(to, hop string, rec *recorder) (*relay, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{ln: ln, to: to, hop: hop, rec: rec}
	go r.accept()
	return r, nil
}

func (r *relay) addr() string { return r.ln.Addr().String() }

func (r *relay) accept() {
	for {
		c, err := r.ln.Accept()
		if err != nil {
			return
		}
		s, err := net.Dial("tcp", r.to)
		if err != nil {
			c.Close()
			continue
		}
		r.conns++
		r.rec.live.Add(2)
		go r.copy(c, s, ">", r.conns)
		go r.copy(s, c, "<", r.conns)
	}
}

// copy records what it read before it passes it on, so that an answer can
// never be recorded ahead of its request.
func (r *relay) copy(from, to net.Conn, dir string, conn int) {
	defer r.rec.live.Done()
	line := func(m map[string]any) {
		m["dir"], m["conn"] = dir, conn
		if r.hop != "" {
			m["hop"] = r.hop
		}
		r.rec.add(m)
	}
	var pending []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		pending = append(pending, buf[:n]...)
		for {
			f, rest, bad := nextFrame(pending)
			if bad != nil {
				line(map[string]any{"bad": bad.Error()})
				pending = nil
			}
			if f == nil {
				break
			}
			line(decodeFrame(f))
			pending = rest
		}
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		if err != nil {
			if err == io.EOF {
				line(map[string]any{"event": "eof"})
				_ = to.(*net.TCPConn).CloseWrite()
			} else {
				_ = to.Close()
			}
			return
		}
	}
}
