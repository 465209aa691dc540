package userdocker

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/retry"
	"github.com/bulkhead-os/bulkhead/internal/tool"
)

// A process is a program that is started again whenever it ends.
type process struct {
	name string
	log  *slog.Logger
	// command makes the command of one run, whose context ends with the run.
	// Its error counts as a failed start.
	command func(ctx context.Context) (*exec.Cmd, error)
	// enter, if set, puts the calling thread into the place of the process.
	enter func() (leave func() error, err error)
	// errors, if set, gets what the process writes to standard error, line by
	// line, instead of our own.
	errors io.Writer
	// ended, if set, gets the error and the last line on standard error of each
	// run that ended.
	ended func(err error, lastWords string)
	// changed, if set, cuts a pause short when it receives.
	changed <-chan struct{}
	// stopLimit is how long the process may take to stop before it is killed.
	stopLimit time.Duration

	mu      sync.Mutex
	running *os.Process // nil between two runs
}

// run keeps the process running until ctx ends, and returns when it is gone.
func (p *process) run(ctx context.Context) {
	// The kernel sends the parent death signal when the thread that forked ends,
	// not when the process does (prctl(2), PR_SET_PDEATHSIG).
	tool.OnOwnThread(func() { p.keep(ctx) })
}

// keep is run on a thread of its own.
func (p *process) keep(ctx context.Context) {
	var lastWords string
	keeper := retry.Keeper{
		Backoff: retry.Backoff{First: 200 * time.Millisecond, Last: 30 * time.Second, Calm: 30 * time.Second},
		Hurry:   p.changed,
		Once: func(ctx context.Context) (err error) {
			lastWords, err = p.once(ctx)
			return err
		},
		Ended: func(r retry.Run) {
			if p.ended != nil {
				p.ended(r.Err, lastWords)
			}
			p.log.Warn("process ended", "process", p.name, "err", r.Err, "ran", r.Lasted, "again_in", r.Pause)
		},
	}
	keeper.Keep(ctx)
}

// once starts the process and waits for its end.
func (p *process) once(ctx context.Context) (lastWords string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd, err := p.command(ctx)
	if err != nil {
		return "", err
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = p.stopLimit
	// A pipe of our own: with one of exec's, Wait would also wait for all processes
	// that inherited its other end.
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer r.Close()
	cmd.Stdout, cmd.Stderr = os.Stdout, w
	err = p.start(cmd)
	w.Close()
	if err != nil {
		return "", err
	}
	p.setRunning(cmd.Process)
	defer p.setRunning(nil)

	words := make(chan string, 1)
	var out io.Writer = os.Stderr
	if p.errors != nil {
		out = p.errors
	}
	go func() { words <- copyLines(out, r) }()
	err = cmd.Wait()
	select {
	case lastWords = <-words:
	case <-time.After(time.Second): // someone else holds the pipe
	}
	return lastWords, err
}

// start starts the command, by the thread that keeps it.
func (p *process) start(cmd *exec.Cmd) error {
	if p.enter == nil {
		return cmd.Start()
	}
	leave, err := p.enter()
	if err != nil {
		return err
	}
	err = cmd.Start()
	if l := leave(); l != nil {
		panic(l) // A thread that is elsewhere is of no use.
	}
	return err
}

func (p *process) setRunning(proc *os.Process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = proc
}

// signal sends a signal to the process if it runs.
func (p *process) signal(sig os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		return fmt.Errorf("%s: %w", p.name, os.ErrProcessDone)
	}
	return p.running.Signal(sig)
}

// copyLines copies from r to w and returns the last line that is not a log
// record. That is how dockerd says why it gives up.
func copyLines(w io.Writer, r io.Reader) (last string) {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadString('\n')
		if line != "" {
			_, _ = io.WriteString(w, line)
			if text := strings.TrimSpace(line); text != "" && !strings.HasPrefix(text, "time=") {
				last = text
			}
		}
		if err != nil {
			return last
		}
	}
}
