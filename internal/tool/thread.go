package tool

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// OnOwnThread runs f on a thread that ends with it, whatever namespaces f enters.
// It is never the main thread: that one cannot end, and /proc/self shows where it
// is.
func OnOwnThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			defer runtime.UnlockOSThread()
			OnOwnThread(f) // on another one, since this one is taken
			return
		}
		f()
	}()
	<-done
}
