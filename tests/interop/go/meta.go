package main

import (
	"encoding/base64"

	"strings"
)

// readable makes metadata fit for JSON: -bin values become base64, the script
// itself is left out.
func readable(md map[string][]string) map[string][]string {
	out := make(map[string][]string, len(md))
	for k, vs := range md {
		if strings.EqualFold(k, "rpc-transit-script") || k == "RPC_TRANSIT_SCRIPT" {
			continue
		}
		list := make([]string, len(vs))
		for i, v := range vs {
			if strings.HasSuffix(k, "-bin") {
				list[i] = base64.StdEncoding.EncodeToString([]byte(v))
			} else {
				list[i] = text(v)
			}
		}
		out[text(k)] = list
	}
	return out
}

// unbin turns a scenario's base64 value of a -bin key into its bytes.
func unbin(k, v string) string {
	if !strings.HasSuffix(k, "-bin") {
		return v
	}
	b, err := base64.StdEncoding.DecodeString(v)
	if err != nil {
		return v
	}
	return string(b)
}
