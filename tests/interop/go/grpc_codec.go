package main

import (
	"fmt"

	"ripcord/interop/kitex_gen/interop"
)

// rawCodec passes message bytes through; its name is the content-subtype.
type rawCodec struct{ name string }

func (c rawCodec) Name() string { return c.name }

func (rawCodec) Marshal(v any) ([]byte, error) {
	switch b := v.(type) {
	case []byte:
		return b, nil
	case *[]byte:
		return *b, nil
	}
	return nil, fmt.Errorf("peer: raw codec cannot marshal %T", v)
}

func (rawCodec) Unmarshal(data []byte, v any) error {
	p, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("peer: raw codec cannot unmarshal into %T", v)
	}
	*p = append([]byte(nil), data...)
	return nil
}

// packMsg makes the bytes of one streaming message: a bare thrift Msg under
// subtype thrift, so that a Kitex peer can read it, a protobuf Msg of
// ../idl/interop.proto under "protobuf", else the payload itself.
func packMsg(subtype string, b []byte, seq int64) []byte {
	if subtype == "protobuf" {
		return packProto(b, seq)
	}
	if subtype != "thrift" {
		return b
	}
	m := &interop.Msg{Payload: b, Seq: seq}
	buf := make([]byte, m.BLength())
	return buf[:m.FastWrite(buf)]
}

func unpackMsg(subtype string, b []byte) ([]byte, int64, error) {
	if subtype == "protobuf" {
		return unpackProto(b)
	}
	if subtype != "thrift" {
		return b, 0, nil
	}
	m := new(interop.Msg)
	if _, err := m.FastRead(b); err != nil {
		return nil, 0, fmt.Errorf("peer: message is not a thrift Msg: %w", err)
	}
	return m.Payload, m.Seq, nil
}

// Kitex's unary methods carry args and result structs around the message.
func packPing(subtype string, b []byte, seq int64, result bool) []byte {
	if subtype != "thrift" {
		return b
	}
	m := &interop.Msg{Payload: b, Seq: seq}
	if result {
		r := &interop.InteropPingResult{Success: m}
		buf := make([]byte, r.BLength())
		return buf[:r.FastWrite(buf)]
	}
	a := &interop.InteropPingArgs{Req: m}
	buf := make([]byte, a.BLength())
	return buf[:a.FastWrite(buf)]
}

func unpackPing(subtype string, b []byte, result bool) ([]byte, int64, error) {
	if subtype != "thrift" {
		return b, 0, nil
	}
	var m *interop.Msg
	if result {
		r := new(interop.InteropPingResult)
		if _, err := r.FastRead(b); err != nil {
			return nil, 0, err
		}
		if r.F != nil {
			return nil, 0, r.F
		}
		m = r.Success
	} else {
		a := new(interop.InteropPingArgs)
		if _, err := a.FastRead(b); err != nil {
			return nil, 0, err
		}
		m = a.Req
	}
	if m == nil {
		m = new(interop.Msg)
	}
	return m.Payload, m.Seq, nil
}
