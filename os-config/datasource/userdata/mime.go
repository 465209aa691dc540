package userdata

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/textproto"
	"strings"

	"go.yaml.in/yaml/v3"
)

// addMessage sorts the parts of a MIME message (RFC 2045, RFC 2046).
func (p *parser) addMessage(ctx context.Context, pt part, depth int) {
	in := bufio.NewReader(bytes.NewReader(pt.data))
	header, err := textproto.NewReader(in).ReadMIMEHeader()
	if err != nil && !errors.Is(err, io.EOF) {
		p.problem(pt, fmt.Errorf("MIME header: %w", err))
		return
	}
	body, err := io.ReadAll(in)
	if err != nil {
		p.problem(pt, err)
		return
	}
	p.addEntity(ctx, pt.where, header, body, depth)
}

// addEntity sorts a header with a body: one part or, when it is multi-part
// itself, several.
func (p *parser) addEntity(ctx context.Context, where string, header textproto.MIMEHeader, body []byte, depth int) {
	pt := part{where: where}
	mediaType, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil && header.Get("Content-Type") != "" {
		p.problem(pt, fmt.Errorf("Content-Type: %w", err))
		return
	}
	if strings.HasPrefix(mediaType, "multipart/") {
		p.addMultipart(ctx, where, params["boundary"], body, depth)
		return
	}
	if _, params, err := mime.ParseMediaType(header.Get("Content-Disposition")); err == nil {
		pt.name = params["filename"]
	}
	if pt.name != "" {
		pt.where = fmt.Sprintf("%s (%.60q)", where, pt.name)
	}
	pt.kind = mediaType
	pt.data, err = decode(header.Get("Content-Transfer-Encoding"), body)
	if err != nil {
		p.problem(pt, err)
		return
	}
	p.add(ctx, pt, depth+1)
}

func (p *parser) addMultipart(ctx context.Context, where, boundary string, body []byte, depth int) {
	if boundary == "" {
		p.problem(part{where: where}, errors.New("Content-Type: no boundary"))
		return
	}
	if !p.spend(part{where: where, data: body}, depth) {
		return
	}
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for n := 1; n <= maxParts; n++ {
		next, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return
		}
		name := strings.TrimSpace(fmt.Sprintf("%s part %d", where, n))
		if err != nil {
			p.problem(part{where: name}, err)
			return
		}
		content, err := io.ReadAll(next)
		if err != nil {
			p.problem(part{where: name}, err)
			return
		}
		p.addEntity(ctx, name, next.Header, content, depth+1)
	}
}

func decode(encoding string, body []byte) ([]byte, error) {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "7bit", "8bit", "binary":
		return body, nil
	case "base64":
		plain, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(body)), ""))
		if err != nil {
			return nil, fmt.Errorf("base64: %w", err)
		}
		return plain, nil
	case "quoted-printable":
		plain, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(body)))
		if err != nil {
			return nil, fmt.Errorf("quoted-printable: %w", err)
		}
		return plain, nil
	}
	return nil, fmt.Errorf("unknown Content-Transfer-Encoding %.40q", encoding)
}

// addArchive sorts the items of a #cloud-config-archive: texts, or keys type,
// content and filename.
func (p *parser) addArchive(ctx context.Context, pt part, depth int) {
	var items []yaml.Node
	if err := yaml.Unmarshal(pt.data, &items); err != nil {
		p.problem(pt, fmt.Errorf("archive: %w", err))
		return
	}
	for n, item := range items {
		where := strings.TrimSpace(fmt.Sprintf("%s item %d", pt.where, n+1))
		var keys struct{ Type, Content, Filename string }
		err := item.Decode(&keys.Content)
		if err != nil {
			err = item.Decode(&keys)
		}
		if err != nil {
			p.problem(part{where: where}, errors.New("expected a text, or the keys type and content"))
			continue
		}
		p.add(ctx, part{where: where, kind: keys.Type, name: keys.Filename, data: []byte(keys.Content)}, depth+1)
	}
}
