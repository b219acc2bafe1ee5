package main

// captureCase is one recorded exchange; the scenario is what a test would use.
type captureCase struct {
	name      string
	transport string // default ttheader
	pool      string // default mux
	chain     bool   // A -> B -> C
	stop      bool   // stop the server gracefully at the barrier "stop"
	scenario  string
}

// endings are run for each of the three streaming kinds; {S} and {O} are the
// kind's way to get the first messages across.
var endings = []struct{ name, attrs, script, ops string }{
	{"ok", ``, `{S}`, `{O},{"op":"close_send"}`},
	{"biz", ``, `{S},{"op":"return","kind":"biz","code":10404,"message":"no such thing","extra":{"k1":"v1","k2":"ü"}}`, `{O}`},
	{"biz-no-extra", ``, `{S},{"op":"return","kind":"biz","code":-7,"message":"plain biz"}`, `{O}`},
	{"error", ``, `{S},{"op":"return","kind":"error","message":"plain error"}`, `{O}`},
	{"error-first", ``, `{"op":"return","kind":"error","message":"before any message"}`, `{O}`},
	{"status", ``, `{S},{"op":"return","kind":"status","code":5,"message":"not there"}`, `{O}`},
	{"exception", ``, `{S},{"op":"return","kind":"exception","code":9,"message":"thrift application exception"}`, `{O}`},
	{"panic", ``, `{S},{"op":"return","kind":"panic","message":"boom"}`, `{O}`},
	{"cancel-before", ``, `{"op":"wait_cancel"}`, `{F}{"op":"sleep","ms":50},{"op":"cancel"}`},
	{"cancel-mid", ``, `{S},{"op":"wait_cancel"}`, `{O},{"op":"sleep","ms":50},{"op":"cancel"}`},
	{"cancel-half-closed", ``, `{S},{"op":"wait_cancel"}`, `{O},{"op":"close_send"},{"op":"sleep","ms":50},{"op":"cancel"}`},
	{"cancel-cause", ``, `{S},{"op":"wait_cancel"}`, `{O},{"op":"sleep","ms":50},{"op":"cancel_cause","message":"user closed the tab"}`},
	{"cancel-defer", ``, `{S},{"op":"wait_cancel"}`, `{O},{"op":"sleep","ms":50},{"op":"return"}`},
	{"cancel-answered", ``, `{S},{"op":"wait_cancel"},{"op":"trailer","kv":{"t1":"late"}},{"op":"return","kind":"biz","code":499,"message":"I was canceled"}`, `{O},{"op":"sleep","ms":50},{"op":"cancel"}`},
	{"stream-timeout", `"timeout_ms":200,`, `{S},{"op":"wait_cancel"}`, `{O}`},
	{"recv-timeout", `"recv_timeout_ms":200,`, `{S},{"op":"wait_cancel"}`, `{O}`},
	{"recv-timeout-keep", `"recv_timeout_ms":200,"recv_timeout_keep":true,`, `{S},{"op":"sleep","ms":400}`, `{O}`},
	{"empty", ``, `{"op":"recv","n":1},{"op":"send","n":1,"size":0}`, `{"op":"send","n":1,"size":0},{R}{"op":"close_send"}`},
	{"one-byte", ``, `{"op":"recv","n":1},{"op":"send","n":1,"size":1}`, `{"op":"send","n":1,"size":1},{R}{"op":"close_send"}`},
	{"large", ``, `{"op":"recv","n":1},{"op":"send","n":1,"size":70000}`, `{"op":"send","n":1,"size":70000},{R}{"op":"close_send"}`},
	{"header-trailer", ``, `{"op":"header","kv":{"h1":"v1","H2-Upper":"ü"}},{S},{"op":"trailer","kv":{"t1":"v1"}}`, `{O},{"op":"close_send"}`},
	{"header-trailer-error", ``, `{"op":"header","kv":{"h1":"v1"}},{S},{"op":"trailer","kv":{"t1":"v1"}},{"op":"return","kind":"error","message":"with trailers"}`, `{O}`},
	{"send-header", ``, `{"op":"send_header","kv":{"h1":"v1"}},{S}`, `{F}{"op":"header"},{O},{"op":"close_send"}`},
	{"metainfo", `"persist":{"USER_ID":"42","lower":"x"},"transit":{"TRACE":"abc"},`, `{S}`, `{O},{"op":"close_send"}`},
	{"early-end", ``, `{"op":"send","n":1,"size":3}`, `{F}{"op":"recv","n":1}`},
}

// extraCases are those that exist only once.
var extraCases = []captureCase{
	{name: "pingpong-ok", scenario: `{"method":"Ping","script":[{"op":"recv","n":1},{"op":"send","n":1,"size":7}],"ops":[{"op":"ping","n":2,"size":5}]}`},
	{name: "pingpong-unframed", transport: "pingpong", scenario: `{"method":"Ping","script":[],"ops":[{"op":"ping","size":5}]}`},
	{name: "pingpong-unframed-biz", transport: "pingpong", scenario: `{"method":"Ping","script":[{"op":"return","kind":"biz","code":10404,"message":"no such thing"}],"ops":[{"op":"ping","size":5}]}`},
	{name: "pingpong-short", pool: "short", scenario: `{"method":"Ping","script":[],"ops":[{"op":"ping","size":5}]}`},
	{name: "pingpong-biz", scenario: `{"method":"Ping","script":[{"op":"return","kind":"biz","code":10404,"message":"no such thing","extra":{"k1":"v1"}}],"ops":[{"op":"ping","size":5}]}`},
	{name: "pingpong-failure", scenario: `{"method":"Ping","script":[{"op":"return","kind":"failure","code":3,"message":"declared in the IDL"}],"ops":[{"op":"ping","size":5}]}`},
	{name: "pingpong-error", scenario: `{"method":"Ping","script":[{"op":"return","kind":"error","message":"plain error"}],"ops":[{"op":"ping","size":5}]}`},
	{name: "pingpong-status", scenario: `{"method":"Ping","script":[{"op":"return","kind":"status","code":5,"message":"not there"}],"ops":[{"op":"ping","size":5}]}`},
	{name: "pingpong-panic", scenario: `{"method":"Ping","script":[{"op":"return","kind":"panic","message":"boom"}],"ops":[{"op":"ping","size":5}]}`},
	{name: "pingpong-empty", scenario: `{"method":"Ping","script":[],"ops":[{"op":"ping","size":0}]}`},
	{name: "pingpong-metainfo", scenario: `{"method":"Ping","persist":{"USER_ID":"42"},"transit":{"TRACE":"abc"},"script":[{"op":"header","kv":{"back":"ward"}}],"ops":[{"op":"ping","size":5}]}`},
	{name: "pingpong-timeout", scenario: `{"method":"Ping","timeout_ms":200,"script":[{"op":"sleep","ms":400}],"ops":[{"op":"ping","size":5}]}`},
	{name: "pool-short-ok", pool: "short", scenario: `{"method":"Bidi","script":[{"op":"echo","n":1}],"ops":[{"op":"send","size":5},{"op":"recv","n":1},{"op":"close_send"}]}`},
	{name: "pool-short-cancel", pool: "short", scenario: `{"method":"Bidi","script":[{"op":"echo","n":1},{"op":"wait_cancel"}],"ops":[{"op":"send","size":5},{"op":"recv","n":1},{"op":"cancel"}]}`},
	{name: "pool-long-cancel", pool: "long", scenario: `{"method":"Bidi","script":[{"op":"echo","n":1},{"op":"wait_cancel"}],"ops":[{"op":"send","size":5},{"op":"recv","n":1},{"op":"cancel"}]}`},
	{name: "chain-ok", chain: true, scenario: `{"method":"Bidi","persist":{"USER_ID":"42"},"transit":{"TRACE":"abc"},"script":[{"op":"relay","script":[{"op":"echo"}]}],"ops":[{"op":"exchange","n":1,"size":5},{"op":"close_send"}]}`},
	{name: "chain-cancel", chain: true, scenario: `{"method":"Bidi","script":[{"op":"relay","script":[{"op":"echo","n":1},{"op":"wait_cancel"}]}],"ops":[{"op":"exchange","n":1,"size":5},{"op":"cancel"}]}`},
	{name: "chain-stream-timeout", chain: true, scenario: `{"method":"Bidi","timeout_ms":200,"script":[{"op":"relay","script":[{"op":"echo","n":1},{"op":"wait_cancel"}]}],"ops":[{"op":"exchange","n":1,"size":5}]}`},
	{name: "chain-error", chain: true, scenario: `{"method":"Bidi","script":[{"op":"relay","script":[{"op":"echo","n":1},{"op":"return","kind":"error","message":"from C"}]}],"ops":[{"op":"exchange","n":1,"size":5}]}`},
	{name: "chain-biz", chain: true, scenario: `{"method":"Bidi","script":[{"op":"relay","script":[{"op":"echo","n":1},{"op":"return","kind":"biz","code":7,"message":"from C"}]}],"ops":[{"op":"exchange","n":1,"size":5}]}`},
	{name: "server-stop", stop: true, scenario: `{"method":"Bidi","script":[{"op":"echo","n":1},{"op":"barrier","name":"stop"},{"op":"sleep","ms":300}],"ops":[{"op":"exchange","n":1,"size":5}]}`},
}
