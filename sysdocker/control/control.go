// Package control is how people change what runs as a service: nothing at all,
// what the configuration says now or, for an OS service, another image than the
// shipped one. Commands send requests to the orchestrator over a socket that
// only root may use; what has to outlast a boot is in a Store. It knows no
// containers.
//
// A connection carries one Request as a line of JSON one way, and lines of
// JSON the other way: what is being done, and at last how it ended. A request
// whose sender goes away is carried out all the same.
package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/bulkhead-os/bulkhead/internal/unixsocket"
)

// A Verb is something to do with a service.
type Verb string

// The verbs.
const (
	Start    Verb = "start"
	Stop     Verb = "stop" // and keep it so over reboots
	Upgrade  Verb = "upgrade"
	Rollback Verb = "rollback" // to the image before the last upgrade
	Enable   Verb = "enable"   // another image, from the next boot on
	// A further user engine, which the service is.
	CreateEngine Verb = "create-engine"
	RemoveEngine Verb = "remove-engine" // with its data

	// For services of the configuration, besides Start and Stop.

	Up     Verb = "up"     // as the configuration says now
	Create Verb = "create" // make the container, and leave it until Up or Start
	Remove Verb = "remove" // the container, until Up or Start
	Pull   Verb = "pull"   // the image
)

// A Request asks the orchestrator to do something with a service.
type Request struct {
	Verb    Verb   `json:"verb"`
	Service string `json:"service,omitempty"` // of the OS
	// Configured: it is about Services of the configuration instead, all of
	// them if there are none.
	Configured bool     `json:"configured,omitempty"`
	Services   []string `json:"services,omitempty"`
	// Image is, for Upgrade, Enable and CreateEngine, the ID of an image of System Docker; empty for
	// the shipped one.
	Image string `json:"image,omitempty"`
	// Drain is for Upgrade and Rollback of user Docker: the containers that run
	// stop first, since the engine of the other image cannot take them over.
	Drain bool `json:"drain,omitempty"`
}

// ImageName names an image of a Request for people.
func ImageName(id string) string {
	if id == "" {
		return "the shipped image"
	}
	return "image " + ShortID(id)
}

// ShortID is an image's ID as docker images prints it.
func ShortID(id string) string { return fmt.Sprintf("%.12s", strings.TrimPrefix(id, "sha256:")) }

// answer is one line from the orchestrator.
type answer struct {
	Progress string `json:"progress,omitempty"`
	Done     bool   `json:"done,omitempty"`
	Error    string `json:"error,omitempty"`
}

// Do sends a request to the orchestrator at socket, hands on what it says, and
// returns the request's own error.
func Do(ctx context.Context, socket string, r Request, progress func(string)) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("ask the orchestrator: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return fmt.Errorf("ask the orchestrator: %w", err)
	}
	for in := json.NewDecoder(conn); ; {
		var a answer
		switch err := in.Decode(&a); {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, io.EOF):
			return errors.New("the orchestrator ended before its answer: see what became of it with ros service list")
		case err != nil:
			return fmt.Errorf("answer of the orchestrator: %w", err)
		case a.Error != "":
			return errors.New(a.Error)
		case a.Done:
			return nil
		}
		progress(a.Progress)
	}
}

// Serve answers requests at socket until ctx ends, several at a time. handle
// carries out one; its context is ctx.
func Serve(ctx context.Context, socket string, handle func(ctx context.Context, r Request, progress func(string)) error) error {
	l, err := unixsocket.Listen(socket, os.Getgid(), 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(socket)
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var serving sync.WaitGroup
	defer serving.Wait()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		serving.Go(func() {
			defer conn.Close()
			serve(ctx, conn, handle)
		})
	}
}

func serve(ctx context.Context, conn net.Conn, handle func(context.Context, Request, func(string)) error) {
	// A client that connects and says nothing must not delay the end.
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	out := json.NewEncoder(conn)
	// A reader that is gone is no reason to stop half-way.
	say := func(a answer) { _ = out.Encode(a) }
	line, err := bufio.NewReader(conn).ReadBytes('\n')
	var r Request
	if err == nil {
		err = json.Unmarshal(line, &r)
	}
	if err != nil {
		say(answer{Error: fmt.Sprintf("request: %v", err)})
		return
	}
	if err := handle(ctx, r, func(text string) { say(answer{Progress: text}) }); err != nil {
		say(answer{Error: err.Error()})
		return
	}
	say(answer{Done: true})
}
