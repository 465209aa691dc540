// Package qemutest starts virtual machines for tests and for scripts/run: it
// builds the QEMU command line, keeps the serial console, talks to QEMU's
// monitor (QMP) and to the guest over ssh. It knows nothing about the product
// but what a user sees: files to boot, a console, an ssh port.
//
// Three habits run through it. The console is drained from the first byte, so
// a guest never blocks on it and no line is lost. Every wait has a name and a
// deadline. A failure says what was awaited, for how long, what the console
// said last, how QEMU was called and where the files are.
//
// # Environment
//
//	E2E_ACCEL          kvm or tcg; without it KVM is tried by running something under it
//	E2E_TIMEOUT_SCALE  multiplies every deadline; 1 with KVM and 8 without by default
//	E2E                "required" turns a missing tool, firmware or artefact from a skip into a failure
package qemutest
