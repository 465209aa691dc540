// Package userdata takes user data apart: gzip, multi-part MIME, archives and
// lists of addresses, down to cloud-configs and scripts. It neither reads the
// cloud-configs nor runs the scripts.
package userdata

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// UserData is user data sorted by kind, in the order given.
type UserData struct {
	// Configs are cloud-configs; a later one counts over an earlier one.
	Configs [][]byte
	Scripts []Script
}

// A Script is a program to run as root.
type Script struct {
	// Name is the file name it was given, or "".
	Name string
	Body []byte
	When When
}

// When says how often a script runs.
type When int

// Whenever is what the configuration says about scripts in general.
const (
	Whenever When = iota
	EachBoot
	OncePerInstance
	OnceEver
)

// MaxSize bounds user data and each part of it, in bytes.
const MaxSize = osconfig.MaxContent

const (
	// maxTotal bounds the bytes that are looked at on all levels together.
	maxTotal = 3 * MaxSize
	// maxDepth bounds how deep parts may be packed into each other.
	maxDepth = 8
	// maxParts and maxIncludes bound what is taken apart and fetched.
	maxParts    = 256
	maxIncludes = 32
)

// ErrKind means that user data is none of the kinds that are understood.
var ErrKind = errors.New(`expected "#cloud-config", "#!", "#include", "#cloud-config-archive", "#compose" or "Content-Type:" at the beginning`)

// A Fetch gets what lies at an address of an #include; for once, also if it
// can no more be got, what lay there the first time.
type Fetch func(ctx context.Context, url string, once bool) ([]byte, error)

// Parse takes user data apart. It returns what is right together with an
// error about the rest. Empty user data is no error.
func Parse(ctx context.Context, data []byte, fetch Fetch) (UserData, error) {
	out, _, errs := ParseNamed(ctx, data, fetch)
	return out, errors.Join(errs...)
}

// ParseNamed is Parse that also says where in the data each of the cloud-configs
// is ("part 2 (web.yml)", or "" for all of it), and returns the errors one by
// one.
func ParseNamed(ctx context.Context, data []byte, fetch Fetch) (out UserData, wheres []string, errs []error) {
	p := parser{fetch: fetch, seen: make(map[string]bool)}
	p.add(ctx, part{data: data}, 0)
	return p.out, p.wheres, p.errs
}

// Known reports whether data says which kind of user data it is.
func Known(data []byte) bool {
	return bytes.HasPrefix(data, gzipMagic) || kindOf(part{data: bytes.TrimPrefix(data, []byte(byteOrderMark))}) != unknown
}

var gzipMagic = []byte{0x1f, 0x8b}

const byteOrderMark = "\ufeff"

// A Notice tells of what is understood, but not as elsewhere.
type Notice string

func (n Notice) Error() string { return string(n) }

// A part is a piece of user data on any level.
type part struct {
	// where names it in errors: "part 2 (web.yml)".
	where string
	// kind is the media type it was given, or "".
	kind string
	name string
	data []byte
}

type parser struct {
	fetch           Fetch
	out             UserData
	wheres          []string // of out.Configs
	errs            []error
	total           int
	parts, includes int
	seen            map[string]bool
}

func (p *parser) problem(pt part, err error) {
	if pt.where != "" {
		err = fmt.Errorf("%s: %w", pt.where, err)
	}
	p.errs = append(p.errs, err)
}

// spend reports whether a part may still be looked at.
func (p *parser) spend(pt part, depth int) bool {
	p.parts++
	p.total += len(pt.data)
	var err error
	switch {
	case len(pt.data) > MaxSize || p.total > maxTotal:
		err = fmt.Errorf("larger than %d MiB", MaxSize>>20)
	case depth > maxDepth:
		err = fmt.Errorf("packed more than %d times", maxDepth)
	case p.parts == maxParts+1:
		err = fmt.Errorf("more than %d parts, the others are left out", maxParts)
	case p.parts > maxParts:
		return false
	}
	if err != nil {
		p.problem(pt, err)
	}
	return err == nil
}

// add sorts one part.
func (p *parser) add(ctx context.Context, pt part, depth int) {
	if !p.spend(pt, depth) {
		return
	}
	if bytes.HasPrefix(pt.data, gzipMagic) {
		plain, err := osconfig.Gunzip(pt.data)
		if err != nil {
			p.problem(pt, fmt.Errorf("unpack: %w", err))
			return
		}
		pt.data = plain
		p.add(ctx, pt, depth+1)
		return
	}
	// Byte order marks and Windows line ends come from editors.
	pt.data = bytes.TrimPrefix(pt.data, []byte(byteOrderMark))
	if len(bytes.TrimSpace(pt.data)) == 0 {
		return
	}
	kind := kindOf(pt)
	if kind == jinja {
		pt.data = p.untemplate(pt)
		pt.kind = ""
		kind = kindOf(pt)
		if kind == script && bytes.Contains(pt.data, []byte("{{")) {
			p.problem(pt, errors.New("templates are not filled in; the script is left out"))
			return
		}
	}
	switch kind {
	case config:
		p.addConfig(pt, pt.data)
	case compose:
		p.addConfig(pt, composeConfig(pt.data))
	case script:
		p.out.Scripts = append(p.out.Scripts, Script{pt.name, pt.data, whens[pt.kind]})
	case boothook:
		p.problem(pt, Notice("a boothook runs with the other scripts here, not before the network"))
		body := pt.data
		if bytes.HasPrefix(body, []byte("#cloud-boothook")) {
			_, body, _ = bytes.Cut(body, []byte("\n"))
		}
		p.out.Scripts = append(p.out.Scripts, Script{pt.name, body, EachBoot})
	case message:
		p.addMessage(ctx, pt, depth)
	case archive:
		p.addArchive(ctx, pt, depth)
	case include, includeOnce:
		p.addIncluded(ctx, pt, kind == includeOnce, depth)
	case unsupported:
		first, _, _ := bytes.Cut(pt.data, []byte("\n"))
		p.problem(pt, fmt.Errorf("%.40q is not supported here", bytes.TrimSpace(first)))
	default:
		p.problem(pt, ErrKind)
	}
}

func (p *parser) addConfig(pt part, text []byte) {
	p.out.Configs = append(p.out.Configs, text)
	p.wheres = append(p.wheres, pt.where)
}

// untemplate drops the first line, which says that the rest is a template.
func (p *parser) untemplate(pt part) []byte {
	if bytes.Contains(pt.data, []byte("{{")) || bytes.Contains(pt.data, []byte("{%")) {
		p.problem(pt, errors.New("templates are not filled in; taken as it is"))
	}
	if first, body, _ := bytes.Cut(pt.data, []byte("\n")); isTemplate(first) {
		return body
	}
	return pt.data
}

// addIncluded gets and sorts what lies at each address of an #include.
func (p *parser) addIncluded(ctx context.Context, pt part, once bool, depth int) {
	for line := range strings.Lines(string(pt.data)) {
		line = strings.TrimSpace(line)
		for _, word := range []string{"#include-once", "#include"} {
			if rest, ok := strings.CutPrefix(line, word); ok {
				once = once || word == "#include-once"
				line = strings.TrimSpace(rest)
			}
		}
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		from := part{where: strings.TrimSpace(pt.where + " #include"), name: pt.name}
		switch {
		case p.fetch == nil:
			p.problem(from, errors.New("no network to get it from"))
			return
		case p.seen[line]:
			p.problem(from, errors.New("the same address again; it is got once"))
			continue
		case p.includes == maxIncludes:
			p.problem(from, fmt.Errorf("more than %d addresses, the others are left out", maxIncludes))
			return
		}
		p.seen[line] = true
		p.includes++
		data, err := p.fetch(ctx, line, once)
		if err != nil {
			p.problem(from, err)
			continue
		}
		from.data = data
		p.add(ctx, from, depth+1)
	}
}
