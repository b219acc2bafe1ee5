package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/remote/trans/nphttp2/codes"
	"github.com/cloudwego/kitex/pkg/remote/trans/nphttp2/metadata"
	"github.com/cloudwego/kitex/pkg/remote/trans/nphttp2/status"
	"github.com/cloudwego/kitex/pkg/remote/trans/ttstream"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/streaming"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"ripcord/interop/kitex_gen/interop"
)

type kitexHandler struct {
	name string
	next *kitexDialer
}

type rawHeaderKey struct{}

// rawHeader keeps the Header frame as it came, for the server_end event.
type rawHeader struct{}

type headerFrame struct {
	ints map[uint16]string
	strs map[string]string
}

func (rawHeader) OnReadStream(ctx context.Context, ihd ttstream.IntHeader, shd ttstream.StrHeader) (context.Context, error) {
	return context.WithValue(ctx, rawHeaderKey{}, headerFrame{ihd, shd}), nil
}

func (h *kitexHandler) Bidi(ctx context.Context, st interop.Interop_BidiServer) error {
	return h.serve(ctx, "Bidi", st, nil)
}

func (h *kitexHandler) ClientStream(ctx context.Context, st interop.Interop_ClientStreamServer) error {
	return h.serve(ctx, "ClientStream", st, nil)
}

func (h *kitexHandler) ServerStream(ctx context.Context, req *interop.Msg, st interop.Interop_ServerStreamServer) error {
	return h.serve(ctx, "ServerStream", st, req)
}

func (h *kitexHandler) Ping(ctx context.Context, req *interop.Msg) (*interop.Msg, error) {
	p := &pingStream{req: req}
	if err := h.serve(ctx, "Ping", p, req); err != nil {
		return nil, err
	}
	if p.res == nil {
		p.res = &interop.Msg{Payload: req.Payload, Seq: req.Seq}
	}
	return p.res, nil
}

func (h *kitexHandler) serve(ctx context.Context, method string, st streaming.ServerStream, first *interop.Msg) error {
	raw, _ := metainfo.GetValue(ctx, scriptKey)
	id, ops, err := decodeScript(raw)
	if err != nil {
		emit(map[string]any{"event": "server_bad_script", "method": method, "err": err.Error()})
		return err
	}
	return serve(id, method, ops, &kitexServerStream{h: h, ctx: ctx, st: st, first: first})
}

// pingStream lets a script serve the unary method: the first sent message is the answer.
type pingStream struct {
	streaming.ServerStream
	req, res *interop.Msg
}

func (p *pingStream) SendMsg(_ context.Context, m any) error {
	if p.res == nil {
		p.res = m.(*interop.Msg)
	}
	return nil
}

type kitexServerStream struct {
	h     *kitexHandler
	ctx   context.Context
	st    streaming.ServerStream
	first *interop.Msg // request already read by generated code
}

func (s *kitexServerStream) Context() context.Context { return s.ctx }

func (s *kitexServerStream) Recv() ([]byte, int64, error) {
	if m := s.first; m != nil {
		s.first = nil
		return m.Payload, m.Seq, nil
	}
	if _, unary := s.st.(*pingStream); unary {
		return nil, 0, io.EOF
	}
	m := new(interop.Msg)
	if err := s.st.RecvMsg(s.ctx, m); err != nil {
		return nil, 0, err
	}
	return m.Payload, m.Seq, nil
}

func (s *kitexServerStream) Send(b []byte, seq int64) error {
	return s.st.SendMsg(s.ctx, &interop.Msg{Payload: b, Seq: seq})
}

func (s *kitexServerStream) unary() bool { _, ok := s.st.(*pingStream); return ok }

func (s *kitexServerStream) SetHeader(kv map[string]values) error {
	if s.unary() {
		return s.backward(kv)
	}
	return s.st.SetHeader(joined(kv))
}

func (s *kitexServerStream) SendHeader(kv map[string]values) error {
	if s.unary() {
		return s.backward(kv)
	}
	return s.st.SendHeader(joined(kv))
}

func (s *kitexServerStream) SetTrailer(kv map[string]values) error {
	if s.unary() {
		return s.backward(kv)
	}
	return s.st.SetTrailer(joined(kv))
}

// backward is what a unary handler has instead of headers: backward metainfo.
func (s *kitexServerStream) backward(kv map[string]values) error {
	for k, v := range kv {
		metainfo.SendBackwardValue(s.ctx, k, strings.Join(v, ","))
	}
	return nil
}

func joined(kv map[string]values) map[string]string {
	out := make(map[string]string, len(kv))
	for k, v := range kv {
		out[k] = strings.Join(v, ",")
	}
	return out
}

func (s *kitexServerStream) Finish(op *Op) error {
	switch op.Kind {
	case "", "ok":
		return nil
	case "biz":
		if op.Details > 0 || op.Status != 0 {
			biz := kerrors.NewGRPCBizStatusErrorWithExtra(op.Code, op.Message, op.Extra)
			biz.(kerrors.GRPCStatusIface).SetGRPCStatus(kitexStatus(op.Status, op.Message, op.Details))
			return biz
		}
		if op.Extra == nil {
			return kerrors.NewBizStatusError(op.Code, op.Message)
		}
		return kerrors.NewBizStatusErrorWithExtra(op.Code, op.Message, op.Extra)
	case "status":
		return kitexStatus(op.Code, op.Message, op.Details).Err()
	case "exception":
		return thrift.NewApplicationException(op.Code, op.Message)
	case "failure":
		return &interop.Failure{Code: op.Code, Message: op.Message}
	case "ctx": // what a handler that gives up returns
		return s.ctx.Err()
	case "panic":
		panic(op.Message)
	}
	return errors.New(op.Message)
}

func kitexStatus(code int32, msg string, d details) *status.Status {
	if code == 0 {
		code = int32(codes.Internal)
	}
	st := status.New(codes.Code(code), msg)
	if d > 0 {
		st, _ = st.WithDetails(errorInfo(d))
	}
	return st
}

func errorInfo(d details) *errdetails.ErrorInfo {
	value := strings.Repeat("v", int(d))
	return &errdetails.ErrorInfo{Reason: "INTEROP", Domain: "interop.test", Metadata: map[string]string{"k": value}}
}

func (s *kitexServerStream) Describe(m map[string]any, err error) {
	classifyKitex(m, err)
	delete(m, "kind")
	ri := rpcinfo.GetRPCInfo(s.ctx)
	m["caller"] = ri.From().ServiceName()
	m["caller_method"] = ri.From().Method()
	m["service"] = ri.Invocation().ServiceName()
	m["transport"] = ri.Config().TransportProtocol().String()
	m["persist"] = metainfo.GetAllPersistentValues(s.ctx)
	transit := metainfo.GetAllValues(s.ctx)
	delete(transit, scriptKey)
	m["transit"] = transit
	if f, ok := s.ctx.Value(rawHeaderKey{}).(headerFrame); ok {
		m["int_header"] = f.ints
		md := map[string][]string{}
		for k, v := range f.strs {
			md[k] = []string{v}
		}
		m["metadata"] = readable(md)
	} else if md, ok := metadata.FromIncomingContext(s.ctx); ok {
		m["metadata"] = readable(md)
	}
}

func (s *kitexServerStream) Relay(id string, op *Op) (clientStream, error) {
	if s.h.next == nil {
		return nil, fmt.Errorf("peer: no --next")
	}
	ctx := metainfo.WithValue(s.ctx, scriptKey, encodeScript(id, op.Script))
	return s.h.next.Open(ctx, &Scenario{ID: id, Method: "Bidi"}, nil)
}
