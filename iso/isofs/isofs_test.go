package isofs

import (
	"regexp"
	"strings"
	"testing"
)

func TestMenu(t *testing.T) {
	menu, err := Menu("v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	text := string(menu)
	for _, want := range []string{"Bulkhead v1.2.3", "rancher.debug=true", "rancher.recovery=true", "set timeout=1\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("menu lacks %q", want)
		}
	}
	// Of several console= the last is /dev/console; scripts read the serial line.
	for _, line := range regexp.MustCompile(`(?m)^[^#\n]*console=.*$`).FindAllString(text, -1) {
		all := regexp.MustCompile(`console=(\w+)`).FindAllStringSubmatch(line, -1)
		if last := all[len(all)-1][1]; last != "ttyS0" {
			t.Errorf("last console of %q is %s", line, last)
		}
	}
}

func TestEarlyConfigFindsLabel(t *testing.T) {
	raw, err := boot.ReadFile("boot/early.cfg")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), "--label "+Label+"\n") {
		t.Errorf("early.cfg does not look for the label %s:\n%s", Label, raw)
	}
}
