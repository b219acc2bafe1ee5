package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"

	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/trans/nphttp2/status"
	"github.com/cloudwego/kitex/pkg/remote/trans/ttstream"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	"ripcord/interop/kitex_gen/interop"
)

// kitexClass is an exported identifier that a Kitex user can test for.
type kitexClass struct {
	name string
	err  error
}

// kitexClasses are those that every version has.
var kitexClasses = []kitexClass{
	{"ErrStreamingProtocol", kerrors.ErrStreamingProtocol},
	{"ErrBiz", kerrors.ErrBiz},
	{"ErrPanic", kerrors.ErrPanic},
	{"ErrRPCTimeout", kerrors.ErrRPCTimeout},
	{"ErrCanceledByBusiness", kerrors.ErrCanceledByBusiness},
	{"ErrTimeoutByBusiness", kerrors.ErrTimeoutByBusiness},
	{"ErrRemoteOrNetwork", kerrors.ErrRemoteOrNetwork},
	{"ErrGetConnection", kerrors.ErrGetConnection},
	{"ErrInternalException", kerrors.ErrInternalException},
	{"ErrServiceDiscovery", kerrors.ErrServiceDiscovery},
	{"ttstream.ErrClosedStream", ttstream.ErrClosedStream},
	{"ttstream.ErrCanceledStream", ttstream.ErrCanceledStream},
	{"ttstream.ErrInvalidStreamKind", ttstream.ErrInvalidStreamKind},
	{"context.Canceled", context.Canceled},
	{"context.DeadlineExceeded", context.DeadlineExceeded},
	{"io.EOF", io.EOF},
}

// classifyKitex adds what errors.Is and errors.As can find in err:
// code is the business code, the ttstream type id, the gRPC status number or
// the thrift exception type, and code_kind says which.
func classifyKitex(m map[string]any, err error) {
	if err == nil {
		return
	}
	is := []string{}
	for _, c := range slices.Concat(newClasses, kitexClasses) {
		if errors.Is(err, c.err) {
			is = append(is, c.name)
		}
	}
	m["is"] = is

	var app *thrift.ApplicationException
	var trans *remote.TransError
	var st status.Iface
	var fail *interop.Failure
	if errors.As(err, &app) {
		m["app_exception"] = app.TypeId()
	}
	if errors.As(err, &st) {
		addDetails(m, st.GRPCStatus().Proto().GetDetails())
	}
	if biz, ok := kerrors.FromBizStatusError(err); ok {
		m["kind"] = "biz"
		m["code"], m["code_kind"], m["message"] = biz.BizStatusCode(), "biz", text(biz.BizMessage())
		m["biz"] = map[string]any{"code": biz.BizStatusCode(), "message": text(biz.BizMessage()), "extra": biz.BizExtra()}
		return
	}
	typeID, ofStream := streamTypeID(err)
	switch {
	case errors.As(err, &fail):
		m["code"], m["code_kind"], m["message"] = fail.Code, "failure", text(fail.Message)
	case ofStream:
		m["code"], m["code_kind"] = typeID, "ttstream"
	case st != nil:
		m["code"], m["code_kind"] = int32(st.GRPCStatus().Code()), "grpc"
		m["message"] = text(st.GRPCStatus().Message())
	case app != nil:
		m["code"], m["code_kind"], m["message"] = app.TypeId(), "thrift", text(app.Msg())
	case errors.As(err, &trans):
		m["code"], m["code_kind"] = trans.TypeID(), "trans"
	}
}

// addDetails renders a google.rpc.Status' details.
func addDetails(m map[string]any, details []*anypb.Any) {
	if len(details) == 0 {
		return
	}
	var out []map[string]any
	for _, d := range details {
		one := map[string]any{"type": string(d.MessageName())}
		if msg, err := d.UnmarshalNew(); err == nil {
			if b, err := protojson.Marshal(msg); err == nil {
				var v any
				_ = json.Unmarshal(b, &v) // protojson's spacing is random
				one["json"] = v
			}
		}
		out = append(out, one)
	}
	m["details"] = out
}
