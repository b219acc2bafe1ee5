module ripcord/interop/connect

go 1.26.0

require (
	connectrpc.com/connect v1.21.1
	google.golang.org/genproto/googleapis/rpc v0.0.0-20250804133106-a7a43d27e69b
)

require google.golang.org/protobuf v1.36.12
