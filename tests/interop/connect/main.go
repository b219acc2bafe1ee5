// A client of connect-go that speaks gRPC, for ripcord's interop tests. ../README.md has the
// language. It knows of a scenario: method, metadata, timeout_ms, and the operations send, recv,
// close_send, cancel, barrier; after them it receives to the end.
//
//	connect-peer client --addr 127.0.0.1:PORT
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
)

// raw leaves messages alone. Under the name "proto" the content type is plain application/grpc, and
// connect-go reads the status' details with it.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(message any) ([]byte, error) { return *message.(*[]byte), nil }

func (raw) Unmarshal(data []byte, message any) error {
	if status, ok := message.(proto.Message); ok {
		return proto.Unmarshal(data, status)
	}
	*message.(*[]byte) = append([]byte(nil), data...)
	return nil
}

type op struct {
	Op   string `json:"op"`
	N    *int   `json:"n"`
	Size int    `json:"size"`
	Name string `json:"name"`
}

type scenario struct {
	ID        string            `json:"id"`
	Method    string            `json:"method"`
	Ops       []op              `json:"ops"`
	Metadata  map[string]string `json:"metadata"`
	TimeoutMS int64             `json:"timeout_ms"`
	Go        string            `json:"go"`
}

var (
	out   sync.Mutex
	gates sync.Map
)

func emit(line map[string]any) {
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	out.Lock()
	defer out.Unlock()
	fmt.Println(string(text))
}

func gate(key string) chan struct{} {
	found, _ := gates.LoadOrStore(key, make(chan struct{}, 1))
	return found.(chan struct{})
}

func main() {
	if len(os.Args) != 4 || os.Args[1] != "client" {
		fmt.Fprintln(os.Stderr, "connect-peer client --addr A")
		os.Exit(2)
	}
	plain := new(http.Protocols)
	plain.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: plain}}
	var running sync.WaitGroup
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		sc := new(scenario)
		if err := json.Unmarshal(lines.Bytes(), sc); err != nil {
			panic(err)
		}
		if sc.Go != "" {
			gate(sc.Go) <- struct{}{}
			continue
		}
		running.Go(func() { run(client, "http://"+os.Args[3], sc) })
	}
	running.Wait()
}

func run(client *http.Client, base string, sc *scenario) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if sc.TimeoutMS > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, time.Duration(sc.TimeoutMS)*time.Millisecond)
		defer stop()
	}
	if sc.Method == "" {
		sc.Method = "Bidi"
	}
	url := base + "/interop.Interop/" + sc.Method
	stream := connect.NewClient[[]byte, []byte](client, url, connect.WithGRPC(), connect.WithCodec(raw{})).CallBidiStream(ctx)
	for key, value := range sc.Metadata {
		stream.RequestHeader().Set(key, value)
	}
	sent, received := 0, 0
	var end error
	receive := func() bool {
		if end == nil {
			if _, err := stream.Receive(); err != nil {
				end = err
			} else {
				received++
			}
		}
		return end == nil
	}
	for _, op := range sc.Ops {
		switch op.Op {
		case "send":
			n := 1
			if op.N != nil {
				n = *op.N
			}
			for ; n > 0; n-- {
				message := make([]byte, op.Size)
				for i := range message {
					message[i] = byte((sent*31 + i*7) % 251)
				}
				if stream.Send(&message) != nil { // Receive has the reason.
					break
				}
				sent++
			}
		case "recv":
			n := -1
			if op.N != nil {
				n = *op.N
			}
			for ; n != 0 && receive(); n-- {
			}
		case "close_send":
			_ = stream.CloseRequest()
		case "cancel":
			cancel()
		case "barrier":
			emit(map[string]any{"event": "barrier", "id": sc.ID, "name": op.Name})
			<-gate(sc.ID + "/" + op.Name)
		default:
			panic("unknown operation " + op.Op)
		}
	}
	for receive() {
	}
	line := map[string]any{"event": "result", "id": sc.ID, "recv": received, "sent": sent, "kind": "ok",
		"header": lower(stream.ResponseHeader()), "trailer": lower(stream.ResponseTrailer())}
	if !errors.Is(end, io.EOF) {
		line["kind"], line["code"], line["err"] = "error", int(connect.CodeOf(end)), end.Error()
		var told *connect.Error
		if errors.As(end, &told) {
			line["message"], line["trailer"] = told.Message(), lower(told.Meta())
			line["details"] = details(told)
		}
	}
	emit(line)
	_ = stream.CloseResponse()
}

func lower(headers http.Header) map[string][]string {
	out := map[string][]string{}
	for key, values := range headers {
		out[strings.ToLower(key)] = values
	}
	return out
}

func details(told *connect.Error) []map[string]any {
	var all []map[string]any
	for _, detail := range told.Details() {
		one := map[string]any{"type": detail.Type()}
		if value, err := detail.Value(); err != nil {
			one["unreadable"] = err.Error()
		} else if info, ok := value.(*errdetails.ErrorInfo); ok {
			one["reason"], one["domain"], one["metadata"] = info.GetReason(), info.GetDomain(), info.GetMetadata()
		}
		all = append(all, one)
	}
	return all
}
