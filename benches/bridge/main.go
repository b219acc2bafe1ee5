// The bridge that a team would write today: what ripcord is compared with on
// the pairs with TTHeader.
//
// TTHeader to TTHeader follows Kitex's guide "Proxy Application Development":
// a server for unknown services, a generic client with binary payloads, and a
// loop for each direction of a stream. The mixed pairs are the same two loops
// between Kitex's binary generic streams and grpc-go's with a codec that passes
// bytes through. Messages and plain ends only: no metadata, no statuses, no
// causes and paths of cancels, no limits, no telemetry.
//
// Go's runtime is left as it is (GOGC=100, no memory limit), but for
// GOMAXPROCS=1, which the report sets since every proxy there has one core.
package main

import (
	"flag"
	"log"

	"github.com/cloudwego/kitex/pkg/klog"
)

func main() {
	kitex := flag.String("ttheader", "", "listen for TTHeader here")
	grpc := flag.String("grpc", "", "listen for gRPC here")
	kitexNext := flag.String("ttheader-echo", "", "the callee for service TtheaderEcho")
	grpcNext := flag.String("grpc-echo", "", "the callee for any other service")
	flag.Parse()
	klog.SetLevel(klog.LevelFatal) // as the other proxies: no log

	next, err := newCallees(*kitexNext, *grpcNext)
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(serveKitex(*kitex, next)) }()
	log.Fatal(serveGRPC(*grpc, next))
}
