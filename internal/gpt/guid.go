package gpt

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// A GUID is as a table has it: the first three groups are little-endian.
type GUID [16]byte

// NewGUID returns a random one (RFC 9562, version 4).
func NewGUID() GUID {
	var g GUID
	rand.Read(g[:])
	g[7] = g[7]&0x0f | 0x40 // the high byte of the third group
	g[8] = g[8]&0x3f | 0x80
	return g
}

// ParseGUID reads the usual notation, C12A7328-F81F-11D2-BA4B-00A0C93EC93B.
func ParseGUID(s string) (GUID, error) {
	raw, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(raw) != 16 {
		return GUID{}, fmt.Errorf("GUID %q: want 32 hexadecimal digits", s)
	}
	return GUID(raw).swapped(), nil
}

// MustGUID is ParseGUID for constants.
func MustGUID(s string) GUID {
	g, err := ParseGUID(s)
	if err != nil {
		panic(err)
	}
	return g
}

func (g GUID) swapped() GUID {
	binary.LittleEndian.PutUint32(g[0:], binary.BigEndian.Uint32(g[0:]))
	binary.LittleEndian.PutUint16(g[4:], binary.BigEndian.Uint16(g[4:]))
	binary.LittleEndian.PutUint16(g[6:], binary.BigEndian.Uint16(g[6:]))
	return g
}

// String returns the usual notation in lower case, as the kernel writes it.
func (g GUID) String() string {
	s := g.swapped()
	return fmt.Sprintf("%x-%x-%x-%x-%x", s[0:4], s[4:6], s[6:8], s[8:10], s[10:])
}
