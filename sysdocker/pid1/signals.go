package pid1

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/power"
)

// signals turns what is sent to PID 1 into orders.
type signals struct {
	// requests has the first order to end the machine.
	requests chan power.Action
	// hurry is closed when someone insists: an end under way stops waiting.
	hurry chan struct{}
	// scheduled has a value when the scheduled end has become another.
	scheduled chan struct{}

	orders chan os.Signal
}

// harmless signals end a Go program that does not ask for them, by its
// runtime's own doing: the kernel's immunity of PID 1 is no help. The daemon
// asks for some of them later (SIGHUP reloads its configuration). They are
// caught, not ignored, because children would inherit that.
var harmless = []os.Signal{
	syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE, syscall.SIGABRT, syscall.SIGTRAP,
	syscall.SIGILL, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGSEGV, syscall.SIGSYS,
	syscall.SIGSTKFLT, syscall.SIGALRM, syscall.SIGUSR1, syscall.SIGUSR2,
}

// Someone who asks for an end this often within this time does not want to
// wait any longer: systemd's rule for Ctrl-Alt-Del.
const (
	insistTimes = 7
	insistTime  = 2 * time.Second
)

func catchSignals() *signals {
	s := &signals{
		requests:  make(chan power.Action, 1),
		hurry:     make(chan struct{}),
		scheduled: make(chan struct{}, 1),
		orders:    make(chan os.Signal, 16),
	}
	signal.Notify(make(chan os.Signal, 1), harmless...)
	signal.Notify(s.orders, power.EndSignals()...)
	signal.Notify(s.orders, power.SigSchedule)
	return s
}

// listen serves the signals that catchSignals queues.
func (s *signals) listen() {
	var someone insistence
	hurried := false
	for sig := range s.orders {
		s.takeFromDaemon()
		if sig == power.SigSchedule {
			select {
			case s.scheduled <- struct{}{}:
			default: // it is looked at soon
			}
			continue
		}
		action, ok := power.ForSignal(sig.(syscall.Signal))
		if !ok {
			continue
		}
		s.order(action)
		if someone.again(time.Now()) && !hurried {
			hurried = true
			close(s.hurry)
		}
	}
}

// order asks for an end of the machine.
func (s *signals) order(action power.Action) {
	select {
	case s.requests <- action:
	default: // the first order stands
	}
}

// An insistence notices orders that come thick and fast.
type insistence struct{ last []time.Time }

// again notes an order and says whether it is one too many.
func (i *insistence) again(now time.Time) bool {
	i.last = append(i.last, now)
	if len(i.last) > insistTimes {
		i.last = i.last[1:]
	}
	return len(i.last) == insistTimes && now.Sub(i.last[0]) < insistTime
}

// stopDaemon is the signal that stops the daemon, and nothing else. The daemon
// has no call for that. Its main shuts down at SIGTERM and os.Interrupt, and
// both would come from outside at the wrong time: services have to be stopped
// in order first, through its API.
const stopDaemon = syscall.Signal(34 + 11)

// giveToDaemon lets the daemon's main take stopDaemon for os.Interrupt, a
// variable of the standard library that it reads while it starts. SIGTERM is
// taken away from it later, by takeFromDaemon.
func giveToDaemon() { os.Interrupt = stopDaemon }

// takeFromDaemon takes SIGTERM, which is for PID 1, away from the daemon's main,
// which would exit, a kernel panic, at the fourth. To be called once it has
// asked for it, which is when the API answers, and at each signal before that.
//
// Ignore and not Reset, because Go's default action for SIGTERM would be to
// exit; one in the moment between the two calls is lost instead. None of the
// OS's own orders is a SIGTERM.
func (s *signals) takeFromDaemon() {
	signal.Ignore(syscall.SIGTERM)
	signal.Notify(s.orders, syscall.SIGTERM)
}
