package cmdline

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	tests := []struct {
		name, line string
		want       Params
	}{
		{"empty", " \n", nil},
		{"plain", "BOOT_IMAGE=/boot/vmlinuz console=ttyS0,115200 quiet\n", Params{
			{"BOOT_IMAGE", "/boot/vmlinuz", "/boot/vmlinuz"},
			{"console", "ttyS0,115200", "ttyS0,115200"},
			{"quiet", "true", "true"},
		}},
		{"empty value", "root= x", Params{{"root", "", ""}, {"x", "true", "true"}}},
		{"second equals sign", "rancher.state.dev=LABEL=RANCHER_STATE", Params{
			{"rancher.state.dev", "LABEL=RANCHER_STATE", "LABEL=RANCHER_STATE"},
		}},
		{"double quotes", `cc.hostname="my host" x=1`, Params{
			{"cc.hostname", "my host", `"my host"`}, {"x", "1", "1"},
		}},
		{"single quotes", `a='b c' d`, Params{{"a", "b c", `'b c'`}, {"d", "true", "true"}}},
		{"apostrophe inside a word", `a=it's b=c's`, Params{{"a", "it's", "it's"}, {"b", "c's", "c's"}}},
		{"whole parameter quoted", `"a=b c" d`, Params{{"a", "b c", "b c"}, {"d", "true", "true"}}},
		{"list with spaces", `rancher.state.autoformat=[/dev/sda, /dev/vda] x`, Params{
			{"rancher.state.autoformat", "[/dev/sda, /dev/vda]", "[/dev/sda, /dev/vda]"}, {"x", "true", "true"},
		}},
		{"list with quoted bracket", `k=["a ]b", c] x`, Params{{"k", `["a ]b", c]`, `["a ]b", c]`}, {"x", "true", "true"}}},
		{"open bracket", "k=[a b", Params{{"k", "[a", "[a"}, {"b", "true", "true"}}},
		{"bracket inside a value", "k=a[b c]", Params{{"k", "a[b", "a[b"}, {"c]", "true", "true"}}},
		{"open quote", `k="a b`, Params{{"k", "a b", `"a b`}}},
		{"end of kernel parameters", "a -- b", Params{{"a", "true", "true"}, {"b", "true", "true"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Parse(tt.line)); diff != "" {
				t.Errorf("Parse(%q) (-want +got):\n%s", tt.line, diff)
			}
		})
	}
}

func TestLastOneWins(t *testing.T) {
	p := Parse("rancher.debug=true rancher.autologin=tty1 rancher.autologin=ttyS0 rancher.debug=false")
	if p.Bool("rancher.debug") {
		t.Error("rancher.debug: the first value won")
	}
	if diff := cmp.Diff([]string{"tty1", "ttyS0"}, p.All("rancher.autologin")); diff != "" {
		t.Error(diff)
	}
}

func TestBool(t *testing.T) {
	for line, want := range map[string]bool{
		"": false, "k": true, "k=true": true, "k=1": true, "k=yes": true, "k=On": true,
		"k=false": false, "k=0": false, "k=": false, `k="true"`: true,
	} {
		if got := Parse(line).Bool("k"); got != want {
			t.Errorf("Parse(%q).Bool(k) = %v; want %v", line, got, want)
		}
	}
}

func TestList(t *testing.T) {
	for line, want := range map[string][]string{
		"":                    nil,
		"k=":                  nil,
		"k=[]":                nil,
		"k=/dev/sda":          {"/dev/sda"},
		"k=[/dev/sda]":        {"/dev/sda"},
		"k=[a, 'b,c' ,\"d\"]": {"a", "b,c", "d"},
		"k=\"[a,b]\"":         {"a", "b"},
	} {
		if diff := cmp.Diff(want, Parse(line).List("k")); diff != "" {
			t.Errorf("Parse(%q).List(k) (-want +got):\n%s", line, diff)
		}
	}
}

func TestSettings(t *testing.T) {
	got := Parse(`quiet rancher.state.dev=/dev/sda1 cc.hostname="7" rancher.debug ranchers.x=1`).Settings()
	want := []Setting{
		{[]string{"rancher", "state", "dev"}, "/dev/sda1"},
		{[]string{"hostname"}, `"7"`},
		{[]string{"rancher", "debug"}, "true"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "a", "a=b", `a="b c`, "a=[b, c] d", `"a=b"`, `a='`, "=[", `a=[']`, "a=\xff", "[[]]", "--",
		"BOOT_IMAGE=/boot/vmlinuz rancher.autologin=tty1 rancher.state.autoformat=[/dev/sda,/dev/vda] panic=10",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		total := 0
		for _, p := range Parse(line) {
			total += len(p.Key)
			if p.Raw != "true" {
				total += len(p.Raw)
			}
			if !strings.Contains(line, p.Key) {
				t.Errorf("key %q is not in the line", p.Key)
			}
			Parse(line).List(p.Key)
		}
		if total > len(line) {
			t.Errorf("parameters of %q are longer than the line", line)
		}
		Parse(line).Settings()
	})
}
