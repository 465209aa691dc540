package osconfig

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// This file makes docs/config.md's list of keys and schema.json from the
// types: go generate writes them, go test compares them.

var update = flag.Bool("update", false, "write docs/config.md and schema.json")

const (
	docsFile   = "../docs/config.md"
	schemaFile = "schema.json"
	begin      = "<!-- The rest of this file is made from the types: go generate ./os-config -->\n"
)

func TestGenerated(t *testing.T) {
	docs := comments(t)
	page, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	head, _, found := bytes.Cut(page, []byte(begin))
	if !found {
		t.Fatalf("%s has no line %q", docsFile, begin)
	}
	for file, want := range map[string]string{
		docsFile:   string(head) + begin + keysPage(t, docs),
		schemaFile: schemaText(t, docs),
	} {
		if *update {
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s is not up to date, run go generate ./os-config (-types +file):\n%s", file, diff)
		}
	}
}

// comments returns the comments of fields by type and field: "File.Path".
func comments(t *testing.T) map[string]string {
	t.Helper()
	docs := make(map[string]string)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, f := range s.Fields.List {
					for _, name := range f.Names {
						docs[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
					}
				}
			}
			return true
		})
	}
	return docs
}

// A kindOf is how docs and schema call a type.
type kindOf struct {
	word   string
	schema map[string]any
}

type object = map[string]any

func text(word, pattern string) kindOf {
	s := object{"type": []string{"string", "number", "boolean"}}
	if pattern != "" {
		s = object{"type": []string{"string", "integer"}, "pattern": pattern}
	}
	return kindOf{word, s}
}

func list(word string, items object) kindOf {
	return kindOf{word, object{"type": "array", "items": items}}
}

func either(word string, schemas ...object) kindOf { return kindOf{word, object{"anyOf": schemas}} }

// kinds are the types that are no struct, map or list of Go, and those with a
// notation of their own.
func kinds() map[reflect.Type]kindOf {
	anyText := text("", "").schema
	texts := list("", anyText).schema
	assignments := either("map or list", object{"type": "object", "additionalProperties": object{"type": []string{"string", "number", "boolean", "null"}}}, texts)
	whole := object{"type": "integer"}
	return map[reflect.Type]kindOf{
		reflect.TypeFor[string]():             text("text", ""),
		reflect.TypeFor[bool]():               {"true or false", object{"enum": []any{true, false, "yes", "no", "on", "off", 1, 0}}},
		reflect.TypeFor[int]():                {"number", object{"type": "integer", "minimum": 0}},
		reflect.TypeFor[Anything]():           {"anything", object{}},
		reflect.TypeFor[Secret]():             text("text", ""),
		reflect.TypeFor[Hash]():               text("crypt(5) hash", `^[!*]*(\$.+)?$`),
		reflect.TypeFor[PrivateKey]():         text("private key in PEM", `PRIVATE KEY`),
		reflect.TypeFor[Proxy]():              text("URL", ""),
		reflect.TypeFor[AuthorizedKey]():      text("SSH public key", `(ssh-|ecdsa-|sk-)`),
		reflect.TypeFor[KeyList]():            list("SSH public keys", text("", `(ssh-|ecdsa-|sk-)`).schema),
		reflect.TypeFor[CertList]():           either("certificates in PEM", object{"type": "string"}, texts),
		reflect.TypeFor[Hostname]():           text("host name", `^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9_.])?$`),
		reflect.TypeFor[Host]():               text("host name or IP address", ""),
		reflect.TypeFor[Address]():            text("IP address", `^[0-9a-fA-F:.]+(%.+)?$`),
		reflect.TypeFor[CIDR]():               text("IP address/length", `^[0-9a-fA-F:.]+/[0-9]{1,3}$`),
		reflect.TypeFor[URL]():                text("URL", `^https?://.+`),
		reflect.TypeFor[SigningKey]():         text("key of minisign", `^RW`),
		reflect.TypeFor[BuildContext]():       text("path or URL", `^(/|git@|.+://)`),
		reflect.TypeFor[MTU]():                {"number", object{"type": "integer", "minimum": 68, "maximum": 65536}},
		reflect.TypeFor[InterfaceKey]():       text("name, pattern, `mac=…` or `driver=…`", ""),
		reflect.TypeFor[WireGuardKey]():       text("key of WireGuard", `^[A-Za-z0-9+/]{43}=$`),
		reflect.TypeFor[WireGuardPublicKey](): text("key of WireGuard", `^[A-Za-z0-9+/]{43}=$`),
		reflect.TypeFor[Endpoint]():           text("`HOST:PORT`", `:[0-9]+$`),
		reflect.TypeFor[IPNetwork]():          text("network", `^[0-9a-fA-F:.]+(/[0-9]{1,3})?$`),
		reflect.TypeFor[Keepalive]():          {"number", object{"type": "integer", "minimum": 0, "maximum": 65535}},
		reflect.TypeFor[FirewallRule]():       text("`PORT[-PORT][/tcp|/udp]` or `any`, `from ADDRESS`, `on INTERFACE`", `^(any|[0-9]+(-[0-9]+)?(/(tcp|udp))?)( (from|on) [^ ]+)*$`),
		reflect.TypeFor[LinkName]():           text("name", `^[A-Za-z0-9._@-]{1,15}$`),
		reflect.TypeFor[Domain]():             text("domain", `^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9_.])?$`),
		reflect.TypeFor[VLANs]():              text("`ID[:NAME],…`", `^[0-9]+(:[^,]+)?(, *[0-9]+(:[^,]+)?)*$`),
		reflect.TypeFor[DatasourceRef]():      text("`NAME[:ARGUMENT]`", `^(`+strings.Join(datasources, "|")+`)(:.*)?$`),
		reflect.TypeFor[AbsPath]():            text("absolute path", `^/.+`),
		reflect.TypeFor[Mode]():               text("octal number", `^(0o)?[0-7]{1,4}$`),
		reflect.TypeFor[Owner]():              text("`USER[:GROUP]`", ""),
		reflect.TypeFor[UserName]():           text("name", `^[A-Za-z_][A-Za-z0-9_.-]{0,31}$`),
		reflect.TypeFor[UserID]():             {"number", object{"type": []string{"integer", "string"}, "minimum": 0}},
		reflect.TypeFor[NameList]():           either("names: list, map, or text with commas", object{"type": []string{"string", "object"}}, texts),
		reflect.TypeFor[Sudo]():               either("text or list", object{"type": "string"}, texts, object{"enum": []any{false}}),
		reflect.TypeFor[Date]():               text("day", `^[0-9]{4}-[0-9]{2}-[0-9]{2}$`),
		reflect.TypeFor[Toggle]():             {"true, false or `unchanged`", object{"enum": []any{true, false, "yes", "no", "on", "off", 1, 0, "unchanged"}}},
		reflect.TypeFor[EtcHosts]():           {"true, false or `localhost`", object{"enum": []any{true, false, "localhost", "template"}}},
		reflect.TypeFor[ResizeRootFS]():       {"true, false or `noblock`", object{"enum": []any{true, false, "noblock"}}},
		reflect.TypeFor[GrowMode]():           {"`auto`, `growpart` or `off`", object{"enum": []any{"auto", "growpart", "gpart", "off", false}}},
		reflect.TypeFor[Weight]():             {"number", object{"type": "integer", "minimum": 1, "maximum": 10000}},
		reflect.TypeFor[Port]():               {"port", object{"type": []string{"integer", "string"}, "minimum": 1, "maximum": 65535}},
		reflect.TypeFor[ShutdownTimeout]():    {"number", object{"type": "integer", "minimum": 0}},
		reflect.TypeFor[Signed]():             {"number", whole},
		reflect.TypeFor[Decimal]():            {"number with decimals", object{"type": []string{"number", "string"}}},
		reflect.TypeFor[Duration]():           {"time span", object{"type": []string{"string", "integer"}}},
		reflect.TypeFor[Size]():               {"size", object{"type": []string{"string", "integer"}}},
		reflect.TypeFor[Share]():              {"size", object{"type": []string{"string", "integer"}}},
		reflect.TypeFor[Timezone]():           text("time zone", `^[A-Za-z0-9_+/-]+$`),
		reflect.TypeFor[Module]():             text("text", `^[A-Za-z0-9_-]+( .*)?$`),
		reflect.TypeFor[Device]():             text("device", ""),
		reflect.TypeFor[FSType]():             text("kind of file system", `^[A-Za-z0-9._-]+$`),
		reflect.TypeFor[FSPartition]():        text("number, `auto`, `any` or `none`", `^([0-9]+|auto|any|none)$`),
		reflect.TypeFor[PowerDelay]():         text("`now` or minutes", `^(now|\+?[0-9]+)$`),
		reflect.TypeFor[Encoding]():           {"`b64`, `gz` or `gz+b64`", object{"enum": []string{"", "text/plain", "b64", "base64", "gz", "gzip", "gz+b64", "gz+base64", "gzip+b64", "gzip+base64"}}},
		reflect.TypeFor[RestartPolicy]():      text("text", `^(no|false|always|unless-stopped|on-failure(:[0-9]+)?)$`),
		reflect.TypeFor[StringList]():         either("text or list", anyText, texts),
		reflect.TypeFor[SecretList]():         either("text or list", anyText, texts),
		reflect.TypeFor[Words]():              either("text or list", anyText, texts),
		reflect.TypeFor[HealthTest]():         either("text or list", anyText, texts),
		reflect.TypeFor[Command]():            either("text or list", anyText, texts),
		reflect.TypeFor[Condition]():          either("command, or true or false", object{"type": "boolean"}, anyText, texts),
		reflect.TypeFor[Names]():              either("list or map", texts, object{"type": "object"}),
		reflect.TypeFor[ExtraHosts]():         either("list or map", texts, object{"type": "object"}),
		reflect.TypeFor[Environment]():        assignments,
		reflect.TypeFor[Labels]():             assignments,
		reflect.TypeFor[PortList]():           list("list", object{"type": []string{"string", "number", "object"}}),
		reflect.TypeFor[VolumeList]():         list("list", object{"type": []string{"string", "object"}}),
		reflect.TypeFor[Group]():              either("name, or `{NAME: [MEMBER]}`", object{"type": "string"}, object{"type": "object"}),
		reflect.TypeFor[GroupList]():          {"names, or `{NAME: [MEMBER]}`", object{"type": []string{"string", "array", "object"}}},
		reflect.TypeFor[PasswordList]():       either("lines or list", object{"type": "string"}, texts),
		reflect.TypeFor[MountFields]():        {"list of up to 6 texts", object{"type": "array", "minItems": 1, "maxItems": 6}},
		reflect.TypeFor[Mount]():              {"list of up to 6 texts", object{"type": "array", "minItems": 1, "maxItems": 6}},
		reflect.TypeFor[DiskLayout]():         either("true, false, `remove` or list", object{"enum": []any{true, false, "remove"}}, object{"type": "array"}),
		reflect.TypeFor[MountOptions]():       text("text", `^[^ ]+$`),
	}
}

func kindFor(t *testing.T, typ reflect.Type) kindOf {
	t.Helper()
	if k, ok := kinds()[typ]; ok {
		return k
	}
	if words, ok := reflect.Zero(typ).Interface().(enumerated); ok {
		return kindOf{"`" + strings.Join(words.values(), "`, `") + "`", object{"enum": words.values()}}
	}
	switch typ.Kind() {
	case reflect.Slice:
		item := kindFor(t, typ.Elem())
		word := "list"
		if typ.Elem().Kind() != reflect.Struct || typ.Elem() == reflect.TypeFor[Mount]() {
			word = "list: " + item.word
		}
		return list(word, item.schema)
	case reflect.Map:
		item := kindFor(t, typ.Elem())
		word := "map"
		if typ.Elem().Kind() != reflect.Struct {
			word = "map: " + item.word
		}
		return kindOf{word, object{"type": "object", "additionalProperties": item.schema}}
	case reflect.Struct:
		return kindOf{"map", object{"$ref": "#/$defs/" + typ.Name()}}
	}
	t.Fatalf("no word for type %s", typ)
	return kindOf{}
}

// within returns the struct whose keys are below a key, and what is added to
// the key for it.
func within(typ reflect.Type) (reflect.Type, string, bool) {
	suffix := ""
	for typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
		if _, leaf := kinds()[typ]; leaf {
			return nil, "", false
		}
		if typ.Kind() == reflect.Slice {
			suffix += "[]"
		} else {
			suffix += ".*"
		}
		typ = typ.Elem()
	}
	if _, leaf := kinds()[typ]; leaf || typ.Kind() != reflect.Struct || typ == reflect.TypeFor[passwordLine]() {
		return nil, "", false
	}
	return typ, suffix, true
}

func keysPage(t *testing.T, docs map[string]string) string {
	var b strings.Builder
	cfg := Defaults()
	writeSection(t, &b, docs, reflect.ValueOf(cfg), "", "RancherOS")
	return b.String()
}

func writeSection(t *testing.T, b *strings.Builder, docs map[string]string, v reflect.Value, key, origin string) {
	t.Helper()
	title := "The top level"
	if key != "" {
		title = "`" + key + "`"
	}
	fmt.Fprintf(b, "\n### %s\n\n| Key | Type | Default | Example | From | Meaning |\n|---|---|---|---|---|---|\n", title)
	type section struct {
		v           reflect.Value
		key, origin string
	}
	var below []section
	keys := readKeys(v.Type())
	for i, k := range keys.fields {
		field := v.Type().Field(i)
		from := origin
		if o := field.Tag.Get("origin"); o != "" {
			from = o
		}
		path := join(key, k.name)
		meaning := docs[v.Type().Name()+"."+field.Name]
		if meaning == "" && v.Type().Name() != "" {
			t.Errorf("%s.%s has no comment", v.Type(), field.Name)
		}
		switch {
		case k.instead != "":
			meaning += " **No effect:** " + k.instead + "."
		case k.notYet:
			meaning += " **No effect in this version.**"
		}
		if k.required {
			meaning += " Required."
		}
		if k.alias != "" {
			meaning += " Older name: `" + k.alias + "`."
		}
		row := []string{"`" + path + "`", kindFor(t, field.Type).word, defaultText(v.Field(i), field), code(field.Tag.Get("eg")), from, meaning}
		for i := range row {
			row[i] = strings.ReplaceAll(row[i], "|", `\|`)
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | "))
		if typ, suffix, ok := within(field.Type); ok && k.instead == "" {
			inner := newElem(typ)
			if suffix == "" {
				inner = v.Field(i)
			}
			below = append(below, section{inner, path + suffix, from})
		}
	}
	for _, s := range below {
		writeSection(t, b, docs, s.v, s.key, s.origin)
	}
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

func defaultText(v reflect.Value, field reflect.StructField) string {
	if d := field.Tag.Get("def"); d != "" {
		return code(d)
	}
	switch x := v.Interface().(type) {
	case bool, int, Port, ShutdownTimeout:
		if field.Tag.Get("instead") == "" && !(v.Kind() == reflect.Int && v.IsZero()) {
			return code(fmt.Sprint(x))
		}
	case Mode:
		return code(x.String())
	}
	if v.Kind() == reflect.String && v.String() != "" {
		return code(v.String())
	}
	return ""
}

func schemaText(t *testing.T, docs map[string]string) string {
	defs := make(object)
	structSchema(t, docs, reflect.TypeFor[Config](), defs)
	top := defs["Config"].(object)
	delete(defs, "Config")
	top["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	top["title"] = "Configuration of a Bulkhead machine"
	top["$defs"] = defs
	text, err := json.MarshalIndent(top, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "\n"
}

func structSchema(t *testing.T, docs map[string]string, typ reflect.Type, defs object) {
	if _, done := defs[typ.Name()]; done {
		return
	}
	properties, required := make(object), []string{}
	schema := object{"type": "object", "properties": properties, "additionalProperties": false}
	defs[typ.Name()] = schema
	for i, k := range readKeys(typ).fields {
		field := typ.Field(i)
		var s object
		if field.Type.Name() == "" && field.Type.Kind() == reflect.Struct { // has no name to refer to
			s = object{"type": "object"}
		} else {
			s = object{}
			for name, value := range kindFor(t, field.Type).schema {
				s[name] = value
			}
			if inner, _, ok := within(field.Type); ok {
				structSchema(t, docs, inner, defs)
			}
		}
		s["description"] = docs[typ.Name()+"."+field.Name]
		if k.instead != "" {
			s["description"] = fmt.Sprintf("%s No effect: %s.", s["description"], k.instead)
			s["deprecated"] = true
		}
		properties[k.name] = s
		if k.alias != "" {
			older := object{"description": "Older name of " + k.name + ".", "deprecated": true}
			for name, value := range kindFor(t, field.Type).schema {
				older[name] = value
			}
			properties[k.alias] = older
		}
		if k.required {
			required = append(required, k.name)
		}
	}
	if len(required) > 0 {
		schema["required"] = required
	}
	switch typ {
	case reflect.TypeFor[User](), reflect.TypeFor[Build]():
		defs[typ.Name()] = object{"anyOf": []object{{"type": "string"}, schema}}
	case reflect.TypeFor[Ulimit]():
		defs[typ.Name()] = object{"anyOf": []object{{"type": "integer"}, schema}}
	}
}

// Each key has an example that its type takes.
func TestExamples(t *testing.T) {
	seen := make(map[reflect.Type]bool)
	var walk func(typ reflect.Type)
	walk = func(typ reflect.Type) {
		if seen[typ] {
			return
		}
		seen[typ] = true
		for i, k := range readKeys(typ).fields {
			field := typ.Field(i)
			name := typ.Name() + "." + field.Name
			inner, _, hasKeys := within(field.Type)
			if hasKeys && k.instead == "" {
				walk(inner)
			}
			eg := field.Tag.Get("eg")
			if eg == "" {
				if !hasKeys && k.instead == "" {
					t.Errorf("%s has no example", name)
				}
				continue
			}
			if strings.Contains(eg, "…") {
				continue // too long to be whole
			}
			var doc yaml.Node
			if err := yaml.Unmarshal([]byte(eg), &doc); err != nil {
				t.Errorf("%s: example %s: %v", name, eg, err)
				continue
			}
			d := decoder{source: "example"}
			if d.decode(doc.Content[0], newElem(field.Type), name); AnyError(d.problems) {
				t.Errorf("%s: example %s: %v", name, eg, d.problems)
			}
		}
	}
	walk(reflect.TypeFor[Config]())
}
