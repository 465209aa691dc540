package control

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// serving starts a server and returns its socket once it listens.
func serving(t *testing.T, handle func(context.Context, Request, func(string)) error) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, socket, handle) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close() // says nothing: must not matter
			return socket
		}
		if time.Now().After(end) {
			t.Fatal("nobody listens")
		}
	}
}

func TestRequestAndAnswers(t *testing.T) {
	socket := serving(t, func(_ context.Context, r Request, progress func(string)) error {
		progress("one")
		progress("two")
		if r.Verb == Stop {
			return errors.New("cannot " + string(r.Verb) + " " + r.Service)
		}
		return nil
	})
	var said []string
	if err := Do(t.Context(), socket, Request{Verb: Start, Service: "ntp"}, func(s string) { said = append(said, s) }); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"one", "two"}, said); diff != "" {
		t.Error(diff)
	}
	// It answers once it has its mode.
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v; want mode 0600", info.Mode(), err)
	}
	err := Do(t.Context(), socket, Request{Verb: Stop, Service: "ntp"}, func(string) {})
	if err == nil || err.Error() != "cannot stop ntp" {
		t.Errorf("error = %v", err)
	}
}

func TestRequestOutlivesItsSender(t *testing.T) {
	began, finish, ended := make(chan bool), make(chan bool), make(chan bool)
	socket := serving(t, func(ctx context.Context, _ Request, progress func(string)) error {
		close(began)
		<-finish
		progress("to nobody")
		if ctx.Err() == nil {
			close(ended)
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	if err := Do(ctx, socket, Request{Verb: Start}, func(string) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("Do = %v", err)
	}
	close(finish)
	<-ended
}

func TestNobodyListens(t *testing.T) {
	err := Do(t.Context(), filepath.Join(t.TempDir(), "none"), Request{}, func(string) {})
	if err == nil || !strings.Contains(err.Error(), "ask the orchestrator") {
		t.Errorf("error = %v", err)
	}
}

func TestStore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "services.json")
	s, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	previous := ""
	for range maxEvents + 5 {
		err := s.Change("ntp", func(r *Record) {
			r.Image, r.Previous = "sha256:aa", &previous
			r.Add(Event{Verb: Upgrade, Image: "sha256:aa"})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Change("syslog", func(r *Record) { r.Stopped = true }); err != nil {
		t.Fatal(err)
	}
	again, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.records, again.records); diff != "" {
		t.Error(diff)
	}
	if r := again.Get("ntp"); len(r.Events) != maxEvents || r.Previous == nil {
		t.Errorf("record %+v", r)
	}
}

func TestDamagedStoreIsPutAside(t *testing.T) {
	file := filepath.Join(t.TempDir(), "services.json")
	if err := os.WriteFile(file, []byte(`{"ntp": `), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(file)
	if err == nil || !strings.Contains(err.Error(), file+".damaged") {
		t.Errorf("Open = %v", err)
	}
	if err := s.Change("ntp", func(r *Record) { r.Stopped = true }); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(file + ".damaged"); err != nil || string(text) != `{"ntp": ` {
		t.Errorf("put aside: %q, %v", text, err)
	}
	if again, err := Open(file); err != nil || !again.Get("ntp").Stopped {
		t.Errorf("Open = %v", err)
	}
}
