package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// hexLimit is how much of a frame's payload a capture keeps in hex.
const hexLimit = 512

var (
	frameTypes = map[string]string{"1": "Meta", "2": "Header", "3": "Data", "4": "Trailer", "5": "Rst"}
	intKeys    = map[uint16]string{
		1: "transport-type", 2: "log-id", 3: "from-service", 4: "from-cluster", 5: "from-idc", 6: "to-service",
		7: "to-cluster", 8: "to-idc", 9: "to-method", 10: "env", 12: "rpc-timeout", 17: "connect-timeout",
		18: "span-context", 20: "from-method", 22: "msg-type", 27: "frame-type",
	}
	msgTypes = map[byte]string{1: "CALL", 2: "REPLY", 3: "EXCEPTION", 4: "ONEWAY"}
)

// nextFrame cuts one TTHeader frame off buf; nil means that more bytes are needed.
func nextFrame(buf []byte) (frame, rest []byte, err error) {
	if len(buf) < 14 {
		return nil, buf, nil
	}
	if buf[4] != 0x10 || buf[5] != 0 {
		return nil, buf, fmt.Errorf("not TTHeader: %x", buf[:8])
	}
	n := int(binary.BigEndian.Uint32(buf)) + 4
	if len(buf) < n {
		return nil, buf, nil
	}
	return buf[:n], buf[n:], nil
}

// decodeFrame renders one frame as JSON fields.
func decodeFrame(f []byte) map[string]any {
	head := int(binary.BigEndian.Uint16(f[12:])) * 4
	flags := binary.BigEndian.Uint16(f[6:])
	m := map[string]any{"len": len(f), "flags": fmt.Sprintf("0x%04x", flags), "id": int32(binary.BigEndian.Uint32(f[8:]))}
	cut := f
	if body := 14 + head; len(f) > body+hexLimit {
		cut = f[:body+hexLimit]
		m["hex_cut"] = len(f) - len(cut)
	}
	m["hex"] = hex.EncodeToString(cut)
	if 14+head > len(f) {
		m["bad"] = "header larger than frame"
		return m
	}
	h, payload := f[14:14+head], f[14+head:]
	m["protocol"] = fmt.Sprintf("0x%02x", h[0])
	m["transforms"] = int(h[1])
	ftype := decodeInfo(m, h[2+int(h[1]):])
	m["payload_len"] = len(payload)
	if flags&2 != 0 {
		m["frame"] = frameTypes[ftype]
	} else {
		m["frame"] = "PingPong"
	}
	decodePayload(m, payload)
	return m
}

// decodeInfo reads the info blocks and returns the frame type.
func decodeInfo(m map[string]any, b []byte) (ftype string) {
	str := func() string {
		n := int(binary.BigEndian.Uint16(b))
		s := string(b[2 : 2+n])
		b = b[2+n:]
		return s
	}
	blocks := []string{}
	for len(b) > 0 {
		id := b[0]
		b = b[1:]
		if id == 0 {
			continue // padding
		}
		blocks = append(blocks, fmt.Sprintf("0x%02x", id))
		switch id {
		case 0x01:
			kv := map[string]string{}
			for n := readU16(&b); n > 0; n-- {
				k := str()
				kv[text(k)] = text(str())
			}
			m["str"] = kv
		case 0x10:
			kv := map[string]string{}
			for n := readU16(&b); n > 0; n-- {
				k := readU16(&b)
				v := str()
				kv[strconv.Itoa(int(k))+" "+intKeys[k]] = text(v)
				if k == 27 {
					ftype = v
				}
			}
			m["int"] = kv
		case 0x11:
			m["acl_token"] = text(str())
		default:
			m["bad"] = fmt.Sprintf("unknown info block 0x%02x", id)
			return
		}
	}
	m["blocks"] = blocks
	return
}

func readU16(b *[]byte) uint16 {
	v := binary.BigEndian.Uint16(*b)
	*b = (*b)[2:]
	return v
}

// decodePayload shows a thrift message's envelope, an exception, or text.
func decodePayload(m map[string]any, p []byte) {
	if len(p) == 0 {
		return
	}
	b := p
	if len(b) > 8 && b[4] == 0x80 && b[5] == 0x01 { // framed
		m["framed"] = true
		b = b[4:]
	}
	if len(b) > 8 && b[0] == 0x80 && b[1] == 0x01 {
		n := int(binary.BigEndian.Uint32(b[4:]))
		msg := map[string]any{"type": msgTypes[b[3]], "name": string(b[8 : 8+n]), "seq": int32(binary.BigEndian.Uint32(b[8+n:]))}
		if b[3] == 3 {
			msg["exception"] = decodeAppException(b[12+n:])
		}
		m["message"] = msg
		return
	}
	if len(p) <= hexLimit && printable(p) {
		m["text"] = string(p)
	}
}

func decodeAppException(b []byte) map[string]any {
	m := map[string]any{}
	for len(b) > 3 && b[0] != 0 {
		field := binary.BigEndian.Uint16(b[1:])
		kind := b[0]
		b = b[3:]
		switch kind {
		case 11:
			n := binary.BigEndian.Uint32(b)
			m[fmt.Sprintf("%d text", field)] = text(string(b[4 : 4+n]))
			b = b[4+n:]
		case 8:
			m[fmt.Sprintf("%d type", field)] = int32(binary.BigEndian.Uint32(b))
			b = b[4:]
		default:
			return m
		}
	}
	return m
}

func printable(p []byte) bool {
	if !utf8.Valid(p) {
		return false
	}
	for _, r := range string(p) {
		if r < 0x20 && r != '\n' && r != '\t' {
			return false
		}
	}
	return true
}
