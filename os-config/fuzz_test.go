package osconfig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// seeds adds every file of the corpus.
func seeds(f *testing.F, add func(text []byte)) {
	f.Helper()
	for _, pattern := range []string{"testdata/broken/*.yml", "testdata/rancheros/*.yml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			add(text)
		}
	}
}

// FuzzMerge reads anything and never panics; what it made of it can be
// written down, and means the same then.
func FuzzMerge(f *testing.F) {
	seeds(f, func(text []byte) { f.Add(text) })
	for _, seed := range []string{
		"", "a: &a [*a]\n", "<<: {hostname: a}\n", "rancher: {services: {a: &a {<<: *a}}}",
		"runcmd: [a, [b, 1], {c: d}, ~]", "rancher: {sysctl: {1: 2, [a]: b}, services: {a: {environment: {A: ~}, labels: [a=b, ~]}}}",
		"hostname: !!binary x", "? a\n: b", "--- \n...\n---\nb", "\xff\xfe",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d := decoder{origins: make(Origins)}
		cfg := Defaults()
		d.mergeText(&cfg, text)
		for _, p := range d.problems {
			if p.Line < 0 || p.Line > 0 && p.Line > strings.Count(string(text), "\n")+strings.Count(string(text), "\r")+2 {
				t.Errorf("no such line: %v", p)
			}
		}
		for _, file := range cfg.WriteFiles {
			_, _ = file.Bytes()
		}
		written, err := View{Private: true, Only: d.origins}.YAML(cfg, "")
		if err != nil {
			t.Fatal(err)
		}
		var again Config
		if problems := again.Merge("written", written); AnyError(problems) {
			t.Errorf("%v in what was written down:\n%s", problems, written)
		}
	})
}

// FuzzKernelLine reads any parameters.
func FuzzKernelLine(f *testing.F) {
	for _, seed := range []string{
		"rancher.debug cc.hostname=a", "rancher.services.a.environment.B=c", "rancher.sysctl.a.b=1", "cc.runcmd=[[a,b],c]",
		"rancher.network.interfaces.eth0.100.dhcp=true", `rancher.password="a b`, "cc.a=&a [*a]", "rancher.autologin=a rancher.autologin=b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(_ *testing.T, line string) {
		FromKernelLine(line)
		FromKernelLine("rancher." + line + " cc." + line)
	})
}

// FuzzSet edits anything: it refuses, or changes one value and nothing else.
func FuzzSet(f *testing.F) {
	seeds(f, func(text []byte) { f.Add(text, "rancher.ssh.port", "2200") })
	f.Add([]byte(editText), "runcmd", "[a, [b]]")
	f.Add([]byte(editText), "rancher.sysctl.a.b", "|\n#")
	f.Fuzz(func(t *testing.T, text []byte, key, value string) {
		edited, err := Set(text, key, value)
		if err != nil {
			return
		}
		var doc yaml.Node
		if err := yaml.Unmarshal(edited, &doc); err != nil {
			t.Fatalf("Set(%q, %q, %q): %v in %q", text, key, value, err, edited)
		}
		if back, err := Delete(edited, key); err != nil {
			t.Errorf("Delete(%q, %q) = %q, %v", edited, key, back, err)
		}
	})
}

// BenchmarkMerge reads the largest sample.
func BenchmarkMerge(b *testing.B) {
	text, err := os.ReadFile("testdata/rancheros/everything.yml")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		cfg := Defaults()
		cfg.Merge("everything.yml", text)
	}
}
