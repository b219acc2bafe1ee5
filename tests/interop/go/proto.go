package main

import (
	"fmt"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// The message of ../idl/interop.proto, as protobuf-go knows it without a
// code generator.
var protoMsg = func() protoreflect.MessageDescriptor {
	file := new(descriptorpb.FileDescriptorProto)
	err := prototext.Unmarshal([]byte(`
		name: "interop.proto" package: "interop" syntax: "proto3"
		message_type {
			name: "Msg"
			field { name: "payload" number: 1 type: TYPE_BYTES label: LABEL_OPTIONAL }
			field { name: "seq" number: 2 type: TYPE_INT64 label: LABEL_OPTIONAL }
		}`), file)
	if err != nil {
		panic(err)
	}
	known, err := protodesc.NewFile(file, nil)
	if err != nil {
		panic(err)
	}
	return known.Messages().ByName("Msg")
}()

func packProto(b []byte, seq int64) []byte {
	m := dynamicpb.NewMessage(protoMsg)
	m.Set(protoMsg.Fields().ByName("payload"), protoreflect.ValueOfBytes(b))
	m.Set(protoMsg.Fields().ByName("seq"), protoreflect.ValueOfInt64(seq))
	out, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return out
}

func unpackProto(b []byte) ([]byte, int64, error) {
	m := dynamicpb.NewMessage(protoMsg)
	if err := proto.Unmarshal(b, m); err != nil {
		return nil, 0, fmt.Errorf("peer: message is not a protobuf Msg: %w", err)
	}
	if unknown := m.GetUnknown(); len(unknown) > 0 {
		return nil, 0, fmt.Errorf("peer: message has %d bytes that are no field of Msg", len(unknown))
	}
	payload := m.Get(protoMsg.Fields().ByName("payload")).Bytes()
	return payload, m.Get(protoMsg.Fields().ByName("seq")).Int(), nil
}
