package userdata

import (
	"bytes"
	"strings"
)

// A kind is what a part of user data is.
type kind int

const (
	unknown kind = iota
	config
	compose
	script
	boothook
	message
	archive
	include
	includeOnce
	jinja
	unsupported
)

// firstWords tell by the first line. It counts over the media type, as in
// cloud-init.
var firstWords = map[string]kind{
	"#cloud-config":         config,
	"#compose":              compose,
	"#cloud-boothook":       boothook,
	"#cloud-config-archive": archive,
	"#include":              include,
	"#include-once":         includeOnce,
	"#cloud-config-jsonp":   unsupported,
	"#part-handler":         unsupported,
	"#upstart-job":          unsupported,
}

var mediaTypes = map[string]kind{
	"text/cloud-config":               config,
	"text/x-shellscript":              script,
	"text/x-shellscript-per-boot":     script,
	"text/x-shellscript-per-instance": script,
	"text/x-shellscript-per-once":     script,
	"text/cloud-boothook":             boothook,
	"text/cloud-config-archive":       archive,
	"text/x-include-url":              include,
	"text/x-include-once-url":         includeOnce,
	"text/jinja2":                     jinja,
	"text/cloud-config-jsonp":         unsupported,
	"text/part-handler":               unsupported,
	"text/upstart-job":                unsupported,
}

// whens are the media types that say how often a script runs.
var whens = map[string]When{
	"text/x-shellscript-per-boot":     EachBoot,
	"text/x-shellscript-per-instance": OncePerInstance,
	"text/x-shellscript-per-once":     OnceEver,
}

func kindOf(pt part) kind {
	first, _, _ := bytes.Cut(pt.data, []byte("\n"))
	word, _, _ := strings.Cut(string(bytes.TrimSpace(first)), " ")
	if k, ok := firstWords[word]; ok {
		return k
	}
	switch {
	case isTemplate(first):
		return jinja
	case pt.kind == "text/cloud-boothook":
		return boothook
	case bytes.HasPrefix(first, []byte("#!")):
		return script
	case isMessage(pt.data):
		return message
	}
	return mediaTypes[pt.kind]
}

func isTemplate(first []byte) bool {
	rest, ok := bytes.CutPrefix(bytes.TrimSpace(first), []byte("##"))
	rest, ok2 := bytes.CutPrefix(bytes.TrimSpace(rest), []byte("template:"))
	return ok && ok2 && bytes.EqualFold(bytes.TrimSpace(rest), []byte("jinja"))
}

// isMessage tells a MIME message by its first header field.
func isMessage(data []byte) bool {
	first, _, _ := bytes.Cut(data[:min(len(data), 200)], []byte(":"))
	switch strings.ToLower(string(first)) {
	case "content-type", "mime-version":
		return true
	case "from", "to", "subject", "date", "content-transfer-encoding", "content-disposition":
		return bytes.Contains(bytes.ToLower(data[:min(len(data), 4096)]), []byte("mime-version:"))
	}
	return false
}

// composeConfig turns a Compose file of version 1 into a cloud-config.
func composeConfig(text []byte) []byte {
	_, services, _ := bytes.Cut(text, []byte("\n"))
	var b bytes.Buffer
	b.WriteString("rancher:\n  services:\n")
	for line := range bytes.Lines(services) {
		b.WriteString("    ")
		b.Write(line)
	}
	return b.Bytes()
}
