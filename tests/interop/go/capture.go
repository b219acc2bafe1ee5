package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/cloudwego/kitex/pkg/klog"
)

const middleName = "kitex.interop.middle"

// runCapture records every case into one file of JSON lines.
func runCapture(args []string) error {
	fs := flag.NewFlagSet("capture", flag.ExitOnError)
	out := fs.String("out", "../../data/captures", "folder to write")
	only := fs.String("only", "", "record only cases whose name has this prefix")
	_ = fs.Parse(args)
	klog.SetLevel(klog.LevelFatal)
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	for _, c := range allCases() {
		if !strings.HasPrefix(c.name, *only) {
			continue
		}
		lines, err := c.record()
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		var b bytes.Buffer
		for _, m := range lines {
			b.Write(jsonLine(m))
		}
		if err := os.WriteFile(filepath.Join(*out, c.name+".jsonl"), b.Bytes(), 0o644); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%-30s %d lines\n", c.name, len(lines))
	}
	return nil
}

// allCases crosses the endings with the streaming kinds.
func allCases() []captureCase {
	kinds := []struct{ prefix, method, s, o, f, r string }{
		{"bidi", "Bidi", `{"op":"recv","n":1},{"op":"send","n":1,"size":5}`, `{"op":"send","size":5},{"op":"recv","n":1}`, ``, `{"op":"recv","n":1},`},
		{"client", "ClientStream", `{"op":"recv","n":2}`, `{"op":"send","n":2,"size":5},{"op":"sleep","ms":30}`, ``, ``},
		{"server", "ServerStream", `{"op":"recv","n":1},{"op":"send","n":2,"size":5}`, `{"op":"send","size":5},{"op":"recv","n":2}`, `{"op":"send","size":5},`, `{"op":"recv","n":1},`},
	}
	cases := append([]captureCase(nil), extraCases...)
	for _, k := range kinds {
		for _, e := range endings {
			s, o := k.s, k.o
			if k.prefix == "client" && (e.name == "ok" || strings.HasPrefix(e.name, "header") || e.name == "metainfo" || e.name == "send-header") {
				s += `,{"op":"recv"},{"op":"send","n":1,"size":5}`
			}
			if k.prefix == "server" && strings.Contains(e.ops, "{F}") {
				o = `{"op":"recv","n":2}` // {F} has sent the request
			}
			if k.prefix == "client" && e.name == "early-end" {
				o = ""
			}
			sub := strings.NewReplacer("{S}", s, "{O}", o, "{F}", k.f, "{R}", k.r)
			cases = append(cases, captureCase{name: k.prefix + "-" + e.name,
				scenario: fmt.Sprintf(`{"method":%q,%s"script":[%s],"ops":[%s]}`, k.method, e.attrs, sub.Replace(e.script), sub.Replace(e.ops))})
		}
	}
	sort.Slice(cases, func(i, j int) bool { return cases[i].name < cases[j].name })
	return cases
}

// events takes over what the peers print while a case runs.
type events struct{ lines chan map[string]any }

func (e *events) Write(b []byte) (int, error) {
	var m map[string]any
	if json.Unmarshal(b, &m) == nil {
		e.lines <- m
	}
	return len(b), nil
}

func (c captureCase) record() ([]map[string]any, error) {
	sc := new(Scenario)
	if err := json.Unmarshal([]byte(c.scenario), sc); err != nil {
		return nil, fmt.Errorf("%w in %s", err, c.scenario)
	}
	sc.ID = c.name
	ev := &events{lines: make(chan map[string]any, 100)}
	outTo = ev
	rec := &recorder{}

	svr, ln, err := newKitexServer("127.0.0.1:0", calleeName, "", "", time.Second, false)
	if err != nil {
		return nil, err
	}
	go svr.Run()
	to, hop := ln.Addr().String(), ""
	ends := 1
	if c.chain {
		last, err := newRelay(to, "B-C", rec)
		if err != nil {
			return nil, err
		}
		mid, midLn, err := newKitexServer("127.0.0.1:0", middleName, last.addr(), "ttheader", time.Second, false)
		if err != nil {
			return nil, err
		}
		go mid.Run()
		to, hop, ends = midLn.Addr().String(), "A-B", 2
	}
	rl, err := newRelay(to, hop, rec)
	if err != nil {
		return nil, err
	}
	tp, pool := c.transport, c.pool
	if tp == "" {
		tp = "ttheader"
	}
	if pool == "" {
		pool = "mux"
	}
	d, err := newKitexDialer(rl.addr(), tp, pool, calleeName, callerName)
	if err != nil {
		return nil, err
	}
	if n := sc.Ops[0].count(1); sc.Method == "Ping" {
		ends = n
	}
	time.Sleep(20 * time.Millisecond) // the server's start
	result := make(chan map[string]any, 1)
	go func() { result <- runScenario(d, sc) }()
	var seen []map[string]any
	limit := time.After(15 * time.Second)
	for res := (map[string]any)(nil); res == nil || ends > 0; {
		select {
		case res = <-result:
			seen = append(seen, res)
			result = nil
		case m := <-ev.lines:
			if m["event"] == "server_end" {
				ends--
				seen = append(seen, m)
			}
			if m["event"] == "barrier" && c.stop {
				go svr.Stop()
				time.Sleep(100 * time.Millisecond)
				gate(c.name + "/stop") <- struct{}{}
			}
		case <-limit:
			return nil, fmt.Errorf("did not end: %v", seen)
		}
	}
	time.Sleep(50 * time.Millisecond) // last frames

	lines := []map[string]any{{"case": c.name, "transport": tp, "pool": pool, "scenario": json.RawMessage(c.scenario)}}
	rec.mu.Lock()
	lines = append(lines, rec.lines...)
	rec.mu.Unlock()
	for _, m := range seen {
		delete(m, "elapsed_ms")
		lines = append(lines, m)
	}
	return lines, nil
}
