package qemutest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// A Key is an ssh key pair that lives for one test or one developer's machine.
type Key struct {
	Signer ssh.Signer
	// Authorized is the line for authorized_keys, without a newline.
	Authorized string
	// PEM is the private key in OpenSSH's format.
	PEM []byte
}

// NewKey makes a key pair.
func NewKey(comment string) (Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, err
	}
	block, err := ssh.MarshalPrivateKey(private, comment)
	if err != nil {
		return Key{}, err
	}
	return ParseKey(pem.EncodeToMemory(block), comment)
}

// ParseKey reads a private key as NewKey gives it.
func ParseKey(private []byte, comment string) (Key, error) {
	signer, err := ssh.ParsePrivateKey(private)
	if err != nil {
		return Key{}, err
	}
	public := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	return Key{Signer: signer, Authorized: public + " " + comment, PEM: private}, nil
}

// A Login is how to log in to a guest.
type Login struct {
	User string
	Auth ssh.AuthMethod
}

// LoginKey logs in with a key.
func LoginKey(user string, key Key) Login {
	return Login{User: user, Auth: ssh.PublicKeys(key.Signer)}
}

// LoginPassword logs in with a password.
func LoginPassword(user, password string) Login {
	return Login{User: user, Auth: ssh.Password(password)}
}

// A Client is a logged-in ssh connection.
type Client struct {
	ssh *ssh.Client
	// HostKey is the guest's public key as an authorized_keys line.
	HostKey string
	ended   chan struct{}
}

// dialSSH logs in once. Host keys are not checked: the address is a port of
// this machine and the guest is seconds old.
func dialSSH(ctx context.Context, addr string, login Login) (*Client, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	// QEMU accepts the connection long before the guest does.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	c := &Client{}
	config := &ssh.ClientConfig{
		User: login.User,
		Auth: []ssh.AuthMethod{login.Auth},
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			c.HostKey = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
			return nil
		},
	}
	sc, channels, requests, err := ssh.NewClientConn(conn, addr, config)
	if err != nil {
		conn.Close()
		return nil, err
	}
	c.ssh = ssh.NewClient(sc, channels, requests)
	c.ended = make(chan struct{})
	go func() {
		_ = c.ssh.Wait()
		close(c.ended)
	}()
	return c, nil
}

// waitSSH tries to log in until it works or ctx ends.
func waitSSH(ctx context.Context, addr string, login Login) (*Client, error) {
	for {
		c, err := trySSH(ctx, addr, login)
		if err == nil {
			return c, nil
		}
		if stop := pause(ctx, err); stop != nil {
			return nil, stop
		}
	}
}

// acceptsSSH tries to log in until the server takes or refuses the login, or
// ctx ends.
func acceptsSSH(ctx context.Context, addr string, login Login) (bool, error) {
	for {
		c, err := trySSH(ctx, addr, login)
		if err == nil {
			return true, c.Close()
		}
		if strings.Contains(err.Error(), "unable to authenticate") { // x/crypto/ssh has no type for it
			return false, nil
		}
		if stop := pause(ctx, err); stop != nil {
			return false, stop
		}
	}
}

func trySSH(ctx context.Context, addr string, login Login) (*Client, error) {
	ctx, cancel := context.WithTimeout(ctx, Scaled(10*time.Second))
	defer cancel()
	return dialSSH(ctx, addr, login)
}

// pause waits for the next attempt after err; it returns an error if there is
// no time for one.
func pause(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("%w; last attempt: %w", context.Cause(ctx), err)
	case <-time.After(300 * time.Millisecond):
		return nil
	}
}

// Close ends the connection.
func (c *Client) Close() error { return c.ssh.Close() }

// Ended reports whether the connection is gone.
func (c *Client) Ended() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// A Result is what a command in the guest did.
type Result struct {
	Stdout, Stderr string
	Exit           int
}

// Run runs a shell command in the guest. An exit code other than 0 is a
// result, not an error; an error means that the command could not be run or
// followed to its end.
func (c *Client) Run(ctx context.Context, command string, stdin io.Reader) (Result, error) {
	type outcome struct {
		result Result
		err    error
	}
	done := make(chan outcome, 1)
	// In a goroutine as a whole: a guest that does not answer blocks each step.
	go func() {
		result, err := c.run(ctx, command, stdin)
		done <- outcome{result, err}
	}()
	select {
	case <-ctx.Done():
		return Result{}, fmt.Errorf("run %q: %w", command, context.Cause(ctx))
	case o := <-done:
		return o.result, o.err
	}
}

func (c *Client) run(ctx context.Context, command string, stdin io.Reader) (Result, error) {
	session, err := c.ssh.NewSession()
	if err != nil {
		return Result{}, fmt.Errorf("ssh session: %w", err)
	}
	defer session.Close()
	stop := context.AfterFunc(ctx, func() { session.Close() })
	defer stop()
	var stdout, stderr bytes.Buffer
	session.Stdout, session.Stderr, session.Stdin = &stdout, &stderr, stdin
	err = session.Run(command)
	result := Result{Stdout: stdout.String(), Stderr: stderr.String()}
	var exit *ssh.ExitError
	if errors.As(err, &exit) {
		result.Exit = exit.ExitStatus()
		return result, nil
	}
	if err != nil {
		return result, fmt.Errorf("run %q: %w", command, err)
	}
	return result, nil
}
