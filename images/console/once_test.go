package console

import (
	"os"
	"path/filepath"
	"testing"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

func TestLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "done.json")
	// Each boot opens the ledger anew.
	steps := []struct {
		instance string
		rate     rate
		command  string
		want     bool
	}{
		{"i-1", eachBoot, "a", true},
		{"i-1", eachBoot, "a", true},
		{"i-1", oncePerInstance, "a", true},
		{"i-1", oncePerInstance, "a", false},
		{"i-1", oncePerInstance, "changed", true},
		{"i-1", onceEver, "b", true},
		{"i-2", onceEver, "b", false},
		{"i-2", oncePerInstance, "a", true},
		{"i-2", oncePerInstance, "a", false},
		{"i-1", oncePerInstance, "a", true},
	}
	for i, s := range steps {
		l, err := openLedger(path, s.instance)
		if err != nil {
			t.Fatal(err)
		}
		got, err := l.claim(s.rate, []byte(s.command))
		if got != s.want || err != nil {
			t.Errorf("step %d: claim = %v, %v; want %v", i, got, err, s.want)
		}
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := openLedger(path, "i-1")
	if err == nil {
		t.Error("a broken ledger opens without an error")
	}
	if run, err := l.claim(onceEver, []byte("b")); !run || err != nil {
		t.Errorf("claim after a broken ledger = %v, %v; want true", run, err)
	}
}

func TestRates(t *testing.T) {
	for _, once := range []bool{false, true} {
		c := &console{cfg: osconfig.Config{}}
		c.cfg.Rancher.CloudInit.Once = once
		usual := eachBoot
		if once {
			usual = oncePerInstance
		}
		for path, want := range map[string]rate{
			"/x/cloud-config-script": usual, "/x/001-a": usual, "/x/001-a.boot": eachBoot, "/x/001-a.instance": oncePerInstance, "/x/001-a.once": onceEver,
		} {
			if got := c.scriptRate(path); got != want {
				t.Errorf("once = %v: scriptRate(%s) = %v; want %v", once, path, got, want)
			}
		}
	}
}
