package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"golang.org/x/term"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// waitForLogin waits until ssh works and shows what the console says meanwhile.
func waitForLogin(ctx context.Context, vm *qemutest.VM, key qemutest.Key, out *os.File) error {
	start := time.Now()
	done := make(chan error, 1)
	go func() {
		client, err := vm.AwaitSSH(60*time.Second, qemutest.LoginKey("rancher", key))
		if err == nil {
			err = client.Close()
		}
		done <- err
	}()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	width, _, err := term.GetSize(int(out.Fd()))
	interactive := err == nil
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-done:
			if interactive {
				fmt.Fprint(out, "\r\x1b[K")
			}
			if err == nil {
				fmt.Fprintf(out, "ssh works after %.1f s\n", time.Since(start).Seconds())
			}
			return err
		case <-tick.C:
			if interactive {
				fmt.Fprintf(out, "\r\x1b[K%s", progress(time.Since(start), vm.Console.Tail(1), width))
			}
		}
	}
}

// progress is one line about a boot, not wider than the terminal.
func progress(elapsed time.Duration, tail []string, width int) string {
	line := fmt.Sprintf("booting %3.0f s", elapsed.Seconds())
	if len(tail) > 0 {
		line += "  " + tail[0]
	}
	if runes := []rune(line); len(runes) >= width {
		line = string(runes[:max(0, width-1)])
	}
	return line
}

// ctrlC is what the key sends while the terminal is in raw mode.
const ctrlC = 0x03

// attach connects the terminal to the serial console until the machine ends.
func attach(ctx context.Context, vm *qemutest.VM) error {
	fmt.Println("serial console; Ctrl-C powers the machine off")
	interrupts := make(chan os.Signal, 2)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	if fd := int(os.Stdin.Fd()); term.IsTerminal(fd) {
		before, err := term.MakeRaw(fd)
		if err != nil {
			return fmt.Errorf("set up the terminal: %w", err)
		}
		defer func() { _ = term.Restore(fd, before) }()
		go forwardKeys(os.Stdin, vm.Serial(), interrupts)
	}
	vm.Console.Copy(os.Stdout)
	for presses := 0; ; {
		select {
		case <-vm.Exited():
			fmt.Print("\r\nthe machine is off\r\n")
			return nil
		case <-interrupts:
			presses++
			if presses > 1 {
				vm.Kill()
				continue
			}
			fmt.Print("\r\npressing the power button; Ctrl-C again pulls the plug\r\n")
			if err := vm.Monitor.PowerButton(ctx); err != nil {
				return err
			}
		}
	}
}

// forwardKeys sends what is typed to the guest, except Ctrl-C, which becomes
// an interrupt.
func forwardKeys(from io.Reader, to io.Writer, interrupts chan<- os.Signal) {
	buf := make([]byte, 256)
	for {
		n, err := from.Read(buf)
		for _, b := range buf[:n] {
			if b == ctrlC {
				interrupts <- os.Interrupt
				continue
			}
			if _, err := to.Write([]byte{b}); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
