package osconfig

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const docsFile = "../docs/config.md"

// typeNames are the words of docs/config.md for the types of keys.
var typeNames = map[reflect.Type]string{
	reflect.TypeFor[string]():             "text",
	reflect.TypeFor[bool]():               "true or false",
	reflect.TypeFor[int]():                "number",
	reflect.TypeFor[[]string]():           "texts",
	reflect.TypeFor[Secret]():             "text",
	reflect.TypeFor[Hostname]():           "host name",
	reflect.TypeFor[AbsPath]():            "absolute path",
	reflect.TypeFor[Mode]():               "octal number",
	reflect.TypeFor[Port]():               "port",
	reflect.TypeFor[Address]():            "IP address",
	reflect.TypeFor[Encoding]():           "`b64`, `gz` or `gz+b64`",
	reflect.TypeFor[StringList]():         "text or list",
	reflect.TypeFor[Words]():              "text or list",
	reflect.TypeFor[[]Command]():          "commands",
	reflect.TypeFor[[]File]():             "list",
	reflect.TypeFor[Environment]():        "map or list",
	reflect.TypeFor[Labels]():             "map or list",
	reflect.TypeFor[map[string]string]():  "map",
	reflect.TypeFor[map[string]Service](): "map",
}

// keyRows returns "key | type | default" of every key below v.
func keyRows(t *testing.T, v reflect.Value, key string) []string {
	var rows []string
	if name, ok := typeNames[v.Type()]; ok {
		rows = append(rows, fmt.Sprintf("%s | %s | %s", key, name, defaultText(v)))
	} else if v.Kind() != reflect.Struct {
		t.Errorf("%s: no word for type %s", key, v.Type())
	}
	switch {
	case v.Type() == reflect.TypeFor[[]File]():
		return append(rows, keyRows(t, newElem(v.Type().Elem()), key+"[]")...)
	case v.Type() == reflect.TypeFor[map[string]Service]():
		return append(rows, keyRows(t, newElem(v.Type().Elem()), key+".*")...)
	case v.Kind() == reflect.Struct && !isLeaf(v):
		for i := range v.NumField() {
			rows = append(rows, keyRows(t, v.Field(i), join(key, v.Type().Field(i).Tag.Get("yaml")))...)
		}
	}
	return rows
}

func defaultText(v reflect.Value) string {
	switch v := v.Interface().(type) {
	case bool, int, Port:
		return fmt.Sprintf("`%v`", v)
	case Mode:
		return fmt.Sprintf("`%04o`", uint16(v))
	case string:
		if v != "" {
			return "`" + v + "`"
		}
	}
	return ""
}

func TestDocsListEveryKey(t *testing.T) {
	text, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.*?) \\| (.*?) ?\\|.*\\|$")
	_, keys, _ := strings.Cut(string(text), "\n## Keys\n")
	for _, m := range row.FindAllStringSubmatch(keys, -1) {
		got = append(got, fmt.Sprintf("%s | %s | %s", m[1], m[2], m[3]))
	}
	cfg := Defaults()
	want := keyRows(t, reflect.ValueOf(&cfg).Elem(), "")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows of %s (-code +page):\n%s", docsFile, diff)
	}
}

func TestDocsExamplesAreValid(t *testing.T) {
	text, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) == 0 {
		t.Fatalf("no example in %s", docsFile)
	}
	for _, b := range blocks {
		cfg := Defaults()
		if problems := cfg.Merge(docsFile, []byte(b[1])); len(problems) > 0 {
			t.Errorf("problems in the example: %v", problems)
		}
	}
	line := regexp.MustCompile("(?m)^rancher\\.autologin=.*$").FindString(string(text))
	cfg := Defaults()
	if problems := cfg.mergeKernelLine(line); len(problems) > 0 || cfg.Hostname != "web1" {
		t.Errorf("kernel command line %q: host name %q, problems %v", line, cfg.Hostname, problems)
	}
}
