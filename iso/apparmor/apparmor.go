// Package apparmor compiles the AppArmor policy of the OS: Docker's own profile
// as the engine's module has it, and what of our services needs a little more.
// A machine loads the result and has no parser.
package apparmor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/iso/command"
	"github.com/bulkhead-os/bulkhead/iso/tools"
)

// module has Docker's profile as the constant profileName of profileFile.
const (
	module      = "github.com/moby/profiles/apparmor"
	profileFile = "template.go"
	profileName = "baseTemplate"
)

// dockerDefault is the profile that dockerd looks for and gives containers.
const dockerDefault = "docker-default"

// features are those of the kernel that Docker writes its profile for. With all
// that a newer kernel knows, what the profile does not speak of would be refused.
const features = "etc/apparmor.d/abi/3.0"

// A change turns Docker's profile into another one.
type change struct{ old, new string }

// changes are what services get beyond Docker's profile, by the name of theirs.
var changes = map[string]change{
	images.ProfileMount:      {"\n  deny mount,\n", "\n  mount,\n"},
	images.ProfileNetSysctls: {"\n  deny @{PROC}/sys/[^k]** w,", "\n  deny @{PROC}/sys/[^kn]** w,"},
	images.ProfileSignal:     {"\n  signal (receive) peer=unconfined,\n", "\n  signal (send,receive) peer=unconfined,\n"},
}

// Make compiles the policy for the engine that repo's go.mod selects into file.
func Make(ctx context.Context, repo, file string, ts *tools.Tools) error {
	texts, err := profiles(ctx, repo)
	if err != nil {
		return err
	}
	var policy []byte
	// One at a time: of several in one file the parser makes other bytes each time.
	for _, text := range texts {
		compiled, err := compile(ctx, text, file, ts)
		if err != nil {
			return err
		}
		policy = append(policy, compiled...)
	}
	return os.WriteFile(file, policy, 0o644)
}

// compile returns a profile as the kernel takes it. file is where it may write.
func compile(ctx context.Context, text, file string, ts *tools.Tools) ([]byte, error) {
	source := file + ".txt"
	if err := os.WriteFile(source, []byte(text), 0o644); err != nil {
		return nil, err
	}
	// Nothing of the build machine's: neither its settings nor its kernel's features.
	abi := ts.File(features)
	if err := ts.Run(ctx, "apparmor_parser", "--config-file=/dev/null", "--base="+ts.File("etc/apparmor.d"), "--skip-kernel-load",
		"--skip-cache", "--kernel-features="+abi, "--policy-features="+abi, "--jobs=1", "--ofile="+file, source); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
}

// profiles are the texts of Docker's profile and of ours.
func profiles(ctx context.Context, repo string) ([]string, error) {
	base, err := dockersProfile(ctx, repo)
	if err != nil {
		return nil, err
	}
	var texts []string
	for _, name := range append([]string{dockerDefault}, images.Profiles()...) {
		text, err := render(base, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		texts = append(texts, text)
	}
	return texts, nil
}

// render fills in Docker's template, for a daemon that is not confined.
func render(base *template.Template, name string) (string, error) {
	var text bytes.Buffer
	err := base.Execute(&text, struct {
		Abi, Name, DaemonProfile string
		Imports, InnerImports    []string
		// Where there are no files to include Docker defines the variable, too.
	}{Name: name, DaemonProfile: "unconfined", Imports: []string{"@{PROC}=/proc/"}})
	c, changed := changes[name]
	if err != nil || !changed {
		return text.String(), err
	}
	if n := strings.Count(text.String(), c.old); n != 1 {
		return "", fmt.Errorf("Docker's profile has %q %d times; want it once: look at what has changed there", strings.TrimSpace(c.old), n)
	}
	return strings.Replace(text.String(), c.old, c.new, 1), nil
}

// dockersProfile reads the template, which the module does not export, from its
// source.
func dockersProfile(ctx context.Context, repo string) (*template.Template, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-mod=readonly", "-m", "-json=Dir", module)
	cmd.Dir = repo
	out, err := command.Output(cmd)
	if err != nil {
		return nil, err
	}
	var found struct{ Dir string }
	if err := json.Unmarshal(out, &found); err != nil {
		return nil, fmt.Errorf("go list -m: %w", err)
	}
	file := filepath.Join(found.Dir, profileFile)
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		return nil, err
	}
	text := ""
	ast.Inspect(parsed, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Names) != 1 || v.Names[0].Name != profileName || len(v.Values) != 1 {
			return true
		}
		if literal, ok := v.Values[0].(*ast.BasicLit); ok {
			text, err = strconv.Unquote(literal.Value)
		}
		return false
	})
	if err != nil || text == "" {
		return nil, fmt.Errorf("%s: no text in the constant %s", file, profileName)
	}
	return template.New(dockerDefault).Parse(text)
}
