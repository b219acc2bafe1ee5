package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"unicode/utf8"
)

var (
	outMu  sync.Mutex
	outTo  io.Writer = os.Stdout
	gateMu sync.Mutex
	gates  = map[string]chan struct{}{}
)

// jsonLine renders one line: keys sorted, no HTML escapes.
func jsonLine(m map[string]any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(m); err != nil {
		return []byte(fmt.Sprintf("{\"event\":\"bug\",\"err\":%q}\n", err))
	}
	return b.Bytes()
}

// emit prints one event.
func emit(m map[string]any) {
	b := jsonLine(m)
	outMu.Lock()
	defer outMu.Unlock()
	_, _ = outTo.Write(b)
}

func gate(key string) chan struct{} {
	gateMu.Lock()
	defer gateMu.Unlock()
	if gates[key] == nil {
		gates[key] = make(chan struct{}, 16)
	}
	return gates[key]
}

// barrier announces a phase and waits for {"go":"id/name"} on stdin.
func barrier(id, name string) {
	g := gate(id + "/" + name)
	emit(map[string]any{"event": "barrier", "id": id, "name": name})
	<-g
}

// stdinLines hands every stdin line to f until EOF; it opens the barriers itself.
func stdinLines(f func(line []byte)) {
	r := bufio.NewReaderSize(os.Stdin, 1<<16)
	for {
		line, err := r.ReadBytes('\n')
		if len(line) > 1 {
			var g struct {
				Go string `json:"go"`
			}
			if json.Unmarshal(line, &g) == nil && g.Go != "" {
				gate(g.Go) <- struct{}{}
			} else {
				f(line)
			}
		}
		if err != nil {
			return
		}
	}
}

// serveUntilEOF ends the process when stdin ends, so that no orphan survives
// its test; {"cmd":"stop"} asks for the library's graceful shutdown.
func serveUntilEOF(stop func()) {
	stdinLines(func(line []byte) {
		var c struct {
			Cmd string `json:"cmd"`
		}
		if json.Unmarshal(line, &c) == nil && c.Cmd == "stop" {
			go func() {
				stop()
				emit(map[string]any{"event": "stopped"})
			}()
		}
	})
	os.Exit(0)
}

// text keeps strings that are not UTF-8 readable and lossless in JSON.
func text(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	b := []byte("latin1:")
	for i := 0; i < len(s); i++ {
		b = utf8.AppendRune(b, rune(s[i]))
	}
	return string(b)
}
