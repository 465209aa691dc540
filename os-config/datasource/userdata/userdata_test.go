package userdata

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func zip(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// web is what lies at the addresses of the tests.
var web = map[string]string{
	"http://a/config": "#cloud-config\na: 1\n",
	"http://a/list":   "#include\nhttp://a/config\n",
	"http://a/loop":   "#include\nhttp://a/loop\n",
	"http://a/once":   "#!/bin/sh\nonce\n",
}

func fetch(_ context.Context, address string, once bool) ([]byte, error) {
	text, ok := web[address]
	if !ok {
		return nil, errors.New("not found")
	}
	if once != strings.HasSuffix(address, "once") {
		return nil, fmt.Errorf("once = %v", once)
	}
	return []byte(text), nil
}

func TestParse(t *testing.T) {
	const config, sh = "#cloud-config\na: 1\n", "#!/bin/sh\necho\n"
	multipart := func(parts ...string) string {
		var b strings.Builder
		b.WriteString("Content-Type: multipart/mixed; boundary=\"==B==\"\nMIME-Version: 1.0\n\n")
		for _, p := range parts {
			b.WriteString("--==B==\n" + p + "\n")
		}
		return b.String() + "--==B==--\n"
	}
	tests := []struct {
		name, data string
		configs    []string
		scripts    []Script
		errs       string // parts of the error, one per line
	}{
		{name: "nothing"},
		{name: "only blanks", data: " \n\n"},
		{name: "cloud-config", data: config, configs: []string{config}},
		{name: "cloud-config from Windows", data: "\ufeff#cloud-config \r\na: b\r\n", configs: []string{"#cloud-config \r\na: b\r\n"}},
		{name: "script", data: sh, scripts: []Script{{Body: []byte(sh)}}},
		{name: "packed", data: zip(t, sh), scripts: []Script{{Body: []byte(sh)}}},
		{name: "packed twice", data: zip(t, zip(t, sh)), scripts: []Script{{Body: []byte(sh)}}},
		{name: "packed without end", data: func() string {
			data := sh
			for range 20 {
				data = zip(t, data)
			}
			return data
		}(), errs: "packed more than"},
		{name: "broken gzip", data: "\x1f\x8b", errs: "unpack"},
		{name: "too large when unpacked", data: zip(t, "#!"+strings.Repeat("a", MaxSize)), errs: "unpack: more than 16 MiB"},
		{name: "too large", data: "#!" + strings.Repeat("a", MaxSize), errs: "larger than 16 MiB"},
		{name: "compose", data: "#compose\nweb:\n  image: nginx\n", configs: []string{"rancher:\n  services:\n    web:\n      image: nginx\n"}},
		{name: "plain text", data: "hello", errs: ErrKind.Error()},
		{name: "almost a cloud-config", data: "#cloudconfig\n", errs: ErrKind.Error()},
		{name: "Python", data: "#part-handler\ndef list_types():\n", errs: `"#part-handler" is not supported here`},
		{name: "boothook", data: "#cloud-boothook\n" + sh, scripts: []Script{{Body: []byte(sh), When: EachBoot}}, errs: "boothook runs with the other scripts"},

		{name: "template without anything to fill in", data: "## template: jinja\n" + config, configs: []string{config}},
		{name: "template of a cloud-config", data: "##template:jinja\n#cloud-config\na: {{ b }}\n", configs: []string{"#cloud-config\na: {{ b }}\n"}, errs: "not filled in; taken as it is"},
		{name: "template of a script", data: "## template: jinja\n#!/bin/sh\nrm -r /x/{{ b }}\n", errs: "taken as it is\nthe script is left out"},

		{name: "include", data: "#include\nhttp://a/config\n# no address\n\nhttp://a/list\n", configs: []string{config}, errs: "the same address again"},
		{name: "include in the first line", data: "#include http://a/config", configs: []string{config}},
		{name: "include once", data: "#include-once\nhttp://a/once\n", scripts: []Script{{Body: []byte("#!/bin/sh\nonce\n")}}},
		{name: "include of an include", data: "#include\nhttp://a/list\n", configs: []string{config}},
		{name: "include of itself", data: "#include\nhttp://a/loop\n", errs: "the same address again"},
		{name: "include of nothing", data: "#include\nhttp://a/gone\nhttp://a/config\n", configs: []string{config}, errs: "#include: not found"},
		{name: "many includes", data: "#include\n" + func() string {
			var b strings.Builder
			for i := range 40 {
				fmt.Fprintf(&b, "http://a/%d\n", i)
			}
			return b.String()
		}(), errs: "more than 32 addresses"},

		{name: "archive", data: "#cloud-config-archive\n- type: text/cloud-config\n  content: |\n    a: 1\n- |\n  #!/bin/sh\n  echo\n- type: text/x-shellscript-per-once\n  filename: x.sh\n  content: echo\n- [1]\n",
			configs: []string{"a: 1\n"}, scripts: []Script{{Body: []byte(sh)}, {"x.sh", []byte("echo"), OnceEver}}, errs: "item 4: expected a text, or the keys"},
		{name: "archive that is none", data: "#cloud-config-archive\na: b\n", errs: "archive: "},
		{name: "archive of itself", data: "#cloud-config-archive\n- &a [*a]\n", errs: "item 1: expected"},

		{name: "parts", data: multipart(
			"Content-Type: text/cloud-config; charset=\"us-ascii\"\nContent-Disposition: attachment; filename=\"first.yml\"\n\n"+config,
			"Content-Type: text/cloud-config\nContent-Transfer-Encoding: base64\n\n"+base64.StdEncoding.EncodeToString([]byte("b: 2\n")),
			"Content-Type: text/x-shellscript; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\nContent-Disposition: attachment; filename=\"go.sh\"\n\n#!/bin/sh\necho a=3Db",
			"Content-Type: text/x-shellscript-per-boot\n\n#!/bin/sh\n1",
			"Content-Type: text/x-shellscript-per-instance\n\n#!/bin/sh\n2",
			"Content-Type: text/x-include-url\n\nhttp://a/config",
			"Content-Type: text/jinja2\n\n#cloud-config\na: 1\n",
			"Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n"+base64.StdEncoding.EncodeToString([]byte(zip(t, config))),
		), configs: []string{config, "b: 2\n", config, "#cloud-config\na: 1\n", config}, scripts: []Script{
			{Name: "go.sh", Body: []byte("#!/bin/sh\necho a=b")},
			{Body: []byte("#!/bin/sh\n1"), When: EachBoot},
			{Body: []byte("#!/bin/sh\n2"), When: OncePerInstance},
		}},
		{name: "the first line counts over the type", data: multipart("Content-Type: text/x-shellscript\n\n" + config), configs: []string{config}},
		{name: "parts of parts", data: multipart(strings.ReplaceAll(multipart("Content-Type: text/plain\n\n"+config, "Content-Type: text/plain\n\nx"), "==B==", "==C==")),
			configs: []string{config}, errs: "part 1 part 2: expected"},
		{name: "packed parts", data: zip(t, multipart("Content-Type: text/cloud-config\n\n"+config)), configs: []string{config}},
		{name: "bad parts", data: multipart(
			"Content-Type: text/plain\nContent-Disposition: attachment; filename=a.txt\n\nhello",
			"Content-Type: text/cloud-config\nContent-Transfer-Encoding: base64\n\n!!!",
			"Content-Type: text/cloud-config\nContent-Transfer-Encoding: morse\n\n-",
			"Content-Type: ;;\n\nx",
			"Content-Type: text/part-handler\n\nx",
			"Content-Type: text/cloud-config\n\n"+config,
		), configs: []string{config}, errs: "part 1 (\"a.txt\"): expected\npart 2: base64\npart 3: unknown Content-Transfer-Encoding\npart 4: Content-Type\npart 5: \"x\" is not"},
		{name: "no boundary", data: "Content-Type: multipart/mixed\n\nx", errs: "no boundary"},
		{name: "parts that end early", data: "Content-Type: multipart/mixed; boundary=B\n\n--B\nContent-Type: text/cloud-config\n\na: 1\n", errs: "part 1: "},
		{name: "one part", data: "MIME-Version: 1.0\nContent-Type: text/x-shellscript\n\necho\n", scripts: []Script{{Body: []byte("echo\n")}}},
		{name: "mail", data: "From: me\nMIME-Version: 1.0\nContent-Type: text/x-shellscript\n\necho\n", scripts: []Script{{Body: []byte("echo\n")}}},
		{name: "no header", data: "Content-Type\x00: x\n", errs: ErrKind.Error()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse(t.Context(), []byte(tt.data), fetch)
			var configs []string
			for _, c := range got.Configs {
				configs = append(configs, string(c))
			}
			if diff := cmp.Diff(tt.configs, configs); diff != "" {
				t.Errorf("cloud-configs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.scripts, got.Scripts, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("scripts (-want +got):\n%s", diff)
			}
			text := fmt.Sprint(err)
			if (err != nil) != (tt.errs != "") {
				t.Errorf("error = %v; want one: %v", err, tt.errs != "")
			}
			for part := range strings.SplitSeq(tt.errs, "\n") {
				if !strings.Contains(text, part) {
					t.Errorf("error = %q; want %q in it", text, part)
				}
			}
		})
	}
}

func TestManyParts(t *testing.T) {
	data := "#cloud-config-archive\n" + strings.Repeat("- \"#!a\"\n", 2*maxParts)
	got, err := Parse(t.Context(), []byte(data), nil)
	if err == nil || len(got.Scripts) != maxParts-1 {
		t.Errorf("%d scripts, error %v; want %d and an error", len(got.Scripts), err, maxParts-1)
	}
}

func TestIncludeWithoutNetwork(t *testing.T) {
	if _, err := Parse(t.Context(), []byte("#include\nhttp://a\n"), nil); err == nil {
		t.Error("no error; want one")
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, seed := range []string{"", "#cloud-config\n", "#compose\na: b", "\x1f\x8b\x08", "#include\nhttp://a/loop", "#cloud-config-archive\n- {content: x}", "## template: jinja\n#!x"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, _ := Parse(context.Background(), data, fetch)
		if n := len(got.Configs) + len(got.Scripts); n > maxParts {
			t.Errorf("%d parts; want at most %d", n, maxParts)
		}
	})
}
