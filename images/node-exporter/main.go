package exporter

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// port is node_exporter's.
const port = ":9100"

// Main runs the program node-exporter, or with the argument check asks the one
// that runs.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	run := serve
	if len(args) > 1 && args[1] == "check" {
		run = check
	}
	if err := run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "node-exporter: %v\n", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", sources{proc: "/proc", state: "/state"})
	server := &http.Server{Addr: port, Handler: mux, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// ServeHTTP answers with the figures of this moment.
func (s sources) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	list, errs := s.collect()
	for _, err := range errs {
		fmt.Fprintf(os.Stderr, "node-exporter: %v\n", err)
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	// The client may be gone.
	_ = write(w, list)
}

func check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1"+port+"/metrics", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New("answer " + resp.Status)
	}
	return nil
}
