// Command peer is the real-peer half of ripcord's interop tests: Kitex and
// grpc-go servers and clients driven by JSON scenarios (see ../README.md).
package main

import (
	"fmt"
	"os"
)

const (
	callerName = "kitex.interop.caller"
	calleeName = "kitex.interop.callee"
)

var commands = map[string]func(args []string) error{
	"kitex-server": runKitexServer,
	"grpc-server":  runGRPCServer,
	"kitex-client": runKitexClient,
	"grpc-client":  runGRPCClient,
	"capture":      runCapture,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: peer kitex-server|grpc-server|kitex-client|grpc-client|capture [flags]")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}
