package cloudinit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"github.com/bulkhead-os/bulkhead/internal/milestone"
	"github.com/bulkhead-os/bulkhead/internal/wait"
	"github.com/bulkhead-os/bulkhead/os-config/datasource/platform"
	"github.com/bulkhead-os/bulkhead/os-config/datasource/userdata"
)

const (
	// networkLimit is how long to wait for the network service to say whether
	// there is a network. It does within rancher.network.dhcp_timeout of its
	// start, but a slow machine takes its time to start it.
	networkLimit = 2 * time.Minute
	// quiet is how long a wait may last before the consoles name it.
	quiet = 2 * time.Second
)

// remote returns the sources that are still to be asked over the network when
// the one with the index is there: those preferred to it, and those that
// complete it.
func remote(sources []platform.Source, found int) []platform.Source {
	var list []platform.Source
	for n, s := range sources {
		if s.Network && (found < 0 || n < found || s.Name == sources[found].Name) {
			list = append(list, s)
		}
	}
	return list
}

// names lists sources for people.
func names(sources []platform.Source) string {
	list := make([]string, len(sources))
	for n, s := range sources {
		list[n] = s.String()
	}
	return strings.Join(list, ", ")
}

// awaitNetwork waits until there is an address, or nothing to wait for.
func awaitNetwork(ctx context.Context, log *slog.Logger) error {
	defer waiting(log, "the network, which user data comes over", networkLimit)()
	return wait.For(ctx, networkLimit, milestone.NetworkReady, nil)
}

// waiting names a wait in the log, and on the consoles if it lasts, until the
// returned function is called.
func waiting(log *slog.Logger, what string, limit time.Duration) (stop func()) {
	log.Info("waiting", "for", what, "at_most", limit)
	timer := time.AfterFunc(quiet, func() {
		announce(log, fmt.Sprintf("bulkhead: waiting for %s, at most %s", what, limit))
	})
	return func() { timer.Stop() }
}

// choose returns the answer that counts, completed by the local source of the
// same name, and what to tell about the answers.
func choose(local platform.Answer, answers []platform.Answer, best int) (platform.Answer, []platform.Answer) {
	if best < 0 {
		return local, answers
	}
	a := answers[best]
	if local.Found && local.Source.Name == a.Source.Name {
		res := local.Result
		res.Fill(a.Result)
		a.Result, a.Err = res, errors.Join(local.Err, a.Err)
	}
	return a, nil
}

// An includer gets what user data includes.
type includer struct {
	// download is nil as long as there is no network.
	download func(ctx context.Context, address string) ([]byte, error)
	cache    string // directory
	// missed is set when something could not be got.
	missed bool
}

var errLater = errors.New("got when the network is up")

// fetch implements userdata.Fetch.
func (i *includer) fetch(ctx context.Context, address string, once bool) ([]byte, error) {
	sum := sha256.Sum256([]byte(address))
	kept := filepath.Join(i.cache, hex.EncodeToString(sum[:]))
	if once {
		if data, err := os.ReadFile(kept); err == nil {
			return data, nil
		}
	}
	if i.download == nil {
		i.missed = true
		return nil, errLater
	}
	data, err := i.download(ctx, address)
	if err != nil {
		i.missed = true
		return nil, err
	}
	if once && os.MkdirAll(i.cache, 0o700) == nil {
		// Without a copy it is got again at the next boot.
		_ = renameio.WriteFile(kept, data, 0o600, renameio.WithTempDir(i.cache))
	}
	return data, nil
}

// take takes the data of an answer apart. Problems are returned; the finding
// has the rest. It reports whether the network is needed for all of it.
func take(ctx context.Context, a platform.Answer, inc *includer) (f finding, problems []error, later bool) {
	f.res = a.Result
	problems = append(problems, a.Err)
	var err error
	if f.vendor, err = userdata.Parse(ctx, a.Result.VendorData, inc.fetch); err != nil {
		problems = append(problems, fmt.Errorf("vendor data: %w", err))
	}
	if f.user, err = userdata.Parse(ctx, a.Result.UserData, inc.fetch); err != nil {
		problems = append(problems, fmt.Errorf("user data: %w", err))
	}
	return f, problems, inc.missed && inc.download == nil
}
