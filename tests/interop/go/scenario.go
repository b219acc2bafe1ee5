package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

// scriptKey is the one-hop metainfo key that carries the server's script.
const scriptKey = "SCRIPT"

// Scenario is one line of a client's input.
type Scenario struct {
	ID            string            `json:"id"`
	Method        string            `json:"method"`
	Metadata      map[string]values `json:"metadata"`
	IntHeader     map[uint16]string `json:"int_header"` // Kitex TTHeader streaming only
	Persist       map[string]string `json:"persist"`
	Transit       map[string]string `json:"transit"`
	TimeoutMS     int               `json:"timeout_ms"`
	RecvTimeoutMS int               `json:"recv_timeout_ms"`
	// RecvTimeoutKeep is Kitex's DisableCancelRemote.
	RecvTimeoutKeep bool            `json:"recv_timeout_keep"`
	Script          json.RawMessage `json:"script"`
	Ops             []Op            `json:"ops"`
}

// Op is one step of a script, on either side.
type Op struct {
	Op      string            `json:"op"`
	N       *int              `json:"n"`
	Size    int               `json:"size"`
	Window  int               `json:"window"`
	MS      int               `json:"ms"`
	Name    string            `json:"name"`
	KV      map[string]values `json:"kv"`
	Kind    string            `json:"kind"`
	Code    int32             `json:"code"`
	Status  int32             `json:"status"`
	Message string            `json:"message"`
	Extra   map[string]string `json:"extra"`
	Details details           `json:"details"`
	Script  json.RawMessage   `json:"script"` // relay: the next hop's script
}

func (o *Op) count(def int) int {
	if o.N == nil {
		return def
	}
	return *o.N
}

// filled is KV and n more, t-0000 and so on, of size bytes each.
func (o *Op) filled() map[string]values {
	kv := map[string]values{}
	for k, v := range o.KV {
		kv[k] = v
	}
	for i := range o.count(0) {
		kv[fmt.Sprintf("t-%04d", i)] = values{strings.Repeat("t", o.Size)}
	}
	return kv
}

// Script is what travels to the server.
type Script struct {
	ID  string          `json:"id"`
	Ops json.RawMessage `json:"ops"`
}

// details says whether a status has an ErrorInfo, and how many bytes its one metadata value has.
type details int

func (d *details) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "false", "null":
		*d = 0
		return nil
	case "true":
		*d = 1
		return nil
	}
	return json.Unmarshal(b, (*int)(d))
}

// values is a metadata value: one string or a list of them.
type values []string

func (v *values) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]string)(v))
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	*v = values{s}
	return nil
}

func encodeScript(id string, ops json.RawMessage) string {
	if len(ops) == 0 {
		ops = json.RawMessage("[]")
	}
	var small bytes.Buffer
	if json.Compact(&small, ops) == nil {
		ops = small.Bytes()
	}
	b, _ := json.Marshal(Script{ID: id, Ops: ops})
	return base64.RawURLEncoding.EncodeToString(b)
}

func decodeScript(s string) (id string, ops []Op, err error) {
	if s == "" {
		return "", nil, fmt.Errorf("no script in the request's metadata")
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		return "", nil, err
	}
	var sc Script
	if err = json.Unmarshal(b, &sc); err != nil {
		return "", nil, err
	}
	err = json.Unmarshal(sc.Ops, &ops)
	return sc.ID, ops, err
}

// httpKey turns a metainfo key into its gRPC spelling.
func httpKey(prefix, k string) string {
	return prefix + strings.ToLower(strings.ReplaceAll(k, "_", "-"))
}
