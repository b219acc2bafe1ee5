package main

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
)

// payload makes message k: byte i is (k*31 + i*7) mod 251.
func payload(k, size int) []byte {
	b := make([]byte, size)
	x := k * 31 % 251
	for i := range b {
		b[i] = byte(x)
		if x += 7; x >= 251 {
			x -= 251
		}
	}
	return b
}

// tally checks and sums the messages received in one direction.
type tally struct {
	n, bytes   int
	corrupt    bool
	outOfOrder bool
	sum        hash.Hash
}

func newTally() *tally { return &tally{sum: sha256.New()} }

func (t *tally) add(b []byte) {
	if len(b) > 0 {
		x := int(b[0])
		if x != t.n*31%251 {
			t.outOfOrder = true
		}
		for _, c := range b {
			if int(c) != x {
				t.corrupt = true
				break
			}
			if x += 7; x >= 251 {
				x -= 251
			}
		}
	}
	t.n++
	t.bytes += len(b)
	t.sum.Write(b)
}

func (t *tally) report(m map[string]any) {
	m["recv"] = t.n
	m["recv_bytes"] = t.bytes
	m["sha256"] = hex.EncodeToString(t.sum.Sum(nil))
	if t.corrupt {
		m["corrupt"] = true
	}
	if t.outOfOrder {
		m["out_of_order"] = true
	}
}
