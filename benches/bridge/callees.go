package main

import (
	"context"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/client/genericclient"
	"github.com/cloudwego/kitex/pkg/generic"
	"github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/transport"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const kitexService = "TtheaderEcho"

// callees are the clients; each has one connection, the default of both
// libraries with GOMAXPROCS=1.
type callees struct {
	kitex genericclient.Client
	grpc  *grpc.ClientConn
}

func newCallees(kitexAddr, grpcAddr string) (*callees, error) {
	k, err := genericclient.NewClient("bench.callee", generic.BinaryThriftGenericV2(kitexService),
		client.WithHostPorts(kitexAddr),
		client.WithTransportProtocol(transport.TTHeader|transport.TTHeaderStreaming),
		client.WithMetaHandler(transmeta.ClientTTHeaderHandler),
		client.WithMetaHandler(transmeta.ClientHTTP2Handler))
	if err != nil {
		return nil, err
	}
	g, err := grpc.NewClient("passthrough:///"+grpcAddr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
	return &callees{kitex: k, grpc: g}, err
}

// open starts a stream to the callee that serves this service.
func (c *callees) open(ctx context.Context, service, method string) (outbound, error) {
	if service == kitexService {
		st, err := c.kitex.BidirectionalStreaming(ctx, method)
		if err != nil {
			return nil, err
		}
		return kitexOutbound{st}, nil
	}
	desc := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	st, err := c.grpc.NewStream(ctx, desc, "/"+service+"/"+method)
	if err != nil {
		return nil, err
	}
	return grpcOutbound{st}, nil
}

type kitexOutbound struct {
	st genericclient.BidiStreamingClient
}

func (o kitexOutbound) Send(b []byte) error { return o.st.Send(o.st.Context(), b) }
func (o kitexOutbound) CloseSend() error    { return o.st.CloseSend(o.st.Context()) }

func (o kitexOutbound) Recv() ([]byte, error) {
	got, err := o.st.Recv(o.st.Context())
	if err != nil {
		return nil, err
	}
	return got.([]byte), nil
}

type grpcOutbound struct {
	st grpc.ClientStream
}

func (o grpcOutbound) Send(b []byte) error { return o.st.SendMsg(b) }
func (o grpcOutbound) CloseSend() error    { return o.st.CloseSend() }

func (o grpcOutbound) Recv() ([]byte, error) {
	var b []byte
	err := o.st.RecvMsg(&b)
	return b, err
}
