package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"
)

var peerBin string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "peer")
	if err != nil {
		panic(err)
	}
	peerBin = filepath.Join(dir, "peer")
	if out, err := exec.Command("go", "build", "-o", peerBin, ".").CombinedOutput(); err != nil {
		fmt.Println(string(out))
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// proc is a peer process with its lines of output.
type proc struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	mu    sync.Mutex
	lines []map[string]any
	more  chan struct{}
	done  chan struct{}
}

func start(t *testing.T, args ...string) *proc {
	t.Helper()
	p := &proc{t: t, cmd: exec.Command(peerBin, args...), more: make(chan struct{}, 1), done: make(chan struct{})}
	log, _ := os.Create(filepath.Join(t.TempDir(), args[0]+".log"))
	p.cmd.Stderr = log
	p.in, _ = p.cmd.StdinPipe()
	out, _ := p.cmd.StdoutPipe()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		r := bufio.NewScanner(out)
		r.Buffer(nil, 8<<20)
		for r.Scan() {
			var m map[string]any
			if json.Unmarshal(r.Bytes(), &m) != nil {
				m = map[string]any{"event": "garbage", "line": r.Text()}
			}
			p.mu.Lock()
			p.lines = append(p.lines, m)
			p.mu.Unlock()
			select {
			case p.more <- struct{}{}:
			default:
			}
		}
	}()
	t.Cleanup(func() {
		p.in.Close()
		select {
		case <-p.done:
		case <-time.After(3 * time.Second):
			_ = p.cmd.Process.Kill()
			<-p.done
		}
		_ = p.cmd.Wait()
		log.Close()
		if t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Logf("%v stderr: %.3000s", args, b)
		}
	})
	return p
}

// wait returns the first line of that event and id.
func (p *proc) wait(event, id string) map[string]any {
	p.t.Helper()
	dead := false
	limit := time.After(7 * time.Second)
	for {
		p.mu.Lock()
		for _, m := range p.lines {
			if m["event"] == event && (id == "" || m["id"] == id) {
				p.mu.Unlock()
				return m
			}
		}
		p.mu.Unlock()
		if dead {
			p.t.Errorf("%v: ended without %s of %s", p.cmd.Args[1:], event, id)
			return map[string]any{"id": id}
		}
		select {
		case <-p.more:
		case <-p.done:
			dead = true
		case <-limit:
			p.t.Errorf("%v: no %s of %s", p.cmd.Args[1:], event, id)
			return map[string]any{"id": id}
		}
	}
}

func (p *proc) say(v any) {
	b, _ := json.Marshal(v)
	_, _ = p.in.Write(append(b, '\n'))
}

type pair struct{ server, client []string }

func (c pair) name() string {
	return strings.Join(c.client, "_") + "--" + strings.Join(c.server, "_")
}

func pairs() []pair {
	var out []pair
	for _, tp := range []string{"ttheader", "grpc"} {
		for _, pool := range []string{"mux", "long", "short"} {
			out = append(out, pair{[]string{"kitex-server"}, []string{"kitex-client", "--transport", tp, "--pool", pool}})
		}
	}
	return append(out,
		pair{[]string{"kitex-server"}, []string{"kitex-client", "--transport", "pingpong"}},
		pair{[]string{"kitex-server"}, []string{"kitex-client", "--transport", "framed"}},
		pair{[]string{"grpc-server"}, []string{"grpc-client"}},
		pair{[]string{"grpc-server"}, []string{"grpc-client", "--subtype", "thrift"}},
		pair{[]string{"kitex-server"}, []string{"grpc-client", "--subtype", "thrift"}},
		pair{[]string{"grpc-server"}, []string{"kitex-client", "--transport", "grpc"}},
	)
}

// TestPairs runs every self-test scenario through every direct pair; with -v
// it prints what both sides saw.
func TestPairs(t *testing.T) {
	f, err := os.ReadFile("testdata/selftest.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range pairs() {
		t.Run(c.name(), func(t *testing.T) {
			srv := start(t, c.server...)
			cli := start(t, append(c.client, "--addr", srv.wait("listening", "")["addr"].(string))...)
			want := map[string]string{}
			for _, line := range strings.Split(strings.TrimSpace(string(f)), "\n") {
				var sc struct{ ID, Method, Want string }
				if err := json.Unmarshal([]byte(line), &sc); err != nil {
					t.Fatal(err, line)
				}
				pingOnly := strings.Contains(c.name(), "pingpong") || strings.Contains(c.name(), "framed")
				if pingOnly && sc.Method != "Ping" {
					continue
				}
				want[sc.ID] = sc.Want
				fmt.Fprintln(cli.in, line)
			}
			ids := make([]string, 0, len(want))
			for id := range want {
				ids = append(ids, id)
			}
			sort.Strings(ids)
			for _, id := range ids {
				res, end := cli.wait("result", id), srv.wait("server_end", id)
				show(t, "client", res)
				show(t, "server", end)
				if w := want[id]; w != "" && res["kind"] != w {
					t.Errorf("%s: kind %v, want %s: %v", id, res["kind"], w, res["err"])
				}
				for _, m := range []map[string]any{res, end} {
					if m["corrupt"] == true || m["out_of_order"] == true {
						t.Errorf("%s: corrupt payloads: %v", id, m)
					}
				}
			}
		})
	}
}

func show(t *testing.T, side string, m map[string]any) {
	s := map[string]any{}
	for k, v := range m {
		if k != "sha256" && k != "event" && k != "id" && k != "elapsed_ms" {
			s[k] = v
		}
	}
	b, _ := json.Marshal(s)
	t.Logf("%-14s %s %s", m["id"], side, b)
}

// TestBarriers cancels at an exact phase, as the bridge's tests do.
func TestBarriers(t *testing.T) {
	srv := start(t, "kitex-server")
	cli := start(t, "kitex-client", "--addr", srv.wait("listening", "")["addr"].(string))
	fmt.Fprintln(cli.in, `{"id":"b","method":"Bidi","script":[{"op":"recv","n":1},{"op":"wait_cancel"}],"ops":[{"op":"send"},{"op":"barrier","name":"x"},{"op":"cancel"}]}`)
	cli.wait("barrier", "b")
	srv.wait("server_start", "b")
	cli.say(map[string]any{"go": "b/x"})
	cli.wait("result", "b")
	end := srv.wait("server_end", "b")
	if end["code"] != float64(12007) {
		t.Errorf("server saw %v", end)
	}
}

// TestRelay checks that the two-hop path grows.
func TestRelay(t *testing.T) {
	c := start(t, "kitex-server")
	b := start(t, "kitex-server", "--name", "kitex.interop.middle", "--next", c.wait("listening", "")["addr"].(string))
	a := start(t, "kitex-client", "--addr", b.wait("listening", "")["addr"].(string))
	fmt.Fprintln(a.in, `{"id":"r","method":"Bidi","script":[{"op":"relay","script":[{"op":"recv","n":1},{"op":"send"},{"op":"wait_cancel"}]}],"ops":[{"op":"send"},{"op":"recv","n":1},{"op":"cancel"}]}`)
	show(t, "A", a.wait("result", "r"))
	show(t, "B", b.wait("server_end", "r"))
	end := c.wait("server_end", "r/next")
	show(t, "C", end)
	if s, _ := end["err"].(string); !strings.Contains(s, "kitex.interop.caller -> kitex.interop.middle]") {
		t.Errorf("C saw %v", end)
	}
}

// TestGeneric reaches a service that the server does not know, over gRPC.
func TestGeneric(t *testing.T) {
	srv := start(t, "kitex-server", "--generic")
	addr := srv.wait("listening", "")["addr"].(string)
	cli := start(t, "grpc-client", "--addr", addr, "--subtype", "thrift", "--service", "other.pkg.Unknown")
	fmt.Fprintln(cli.in, `{"id":"g","method":"Talk","script":[{"op":"echo"}],"ops":[{"op":"exchange","n":3,"size":9},{"op":"close_send"}]}`)
	if res := cli.wait("result", "g"); res["kind"] != "ok" || res["recv"] != float64(3) {
		t.Errorf("%v", res)
	}
	show(t, "server", srv.wait("server_end", "g"))
	known := start(t, "kitex-client", "--addr", addr)
	fmt.Fprintln(known.in, `{"id":"k","method":"Bidi","script":[{"op":"echo"}],"ops":[{"op":"exchange","n":3,"size":9},{"op":"close_send"}]}`)
	if res := known.wait("result", "k"); res["kind"] != "ok" {
		t.Errorf("%v", res)
	}
}

// TestExitAtEOF checks that no server outlives its test.
func TestExitAtEOF(t *testing.T) {
	for _, s := range []string{"kitex-server", "grpc-server"} {
		p := start(t, s)
		p.wait("listening", "")
		p.in.Close()
		select {
		case <-p.done:
		case <-time.After(5 * time.Second):
			t.Errorf("%s still runs", s)
		}
	}
}
