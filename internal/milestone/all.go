package milestone

import (
	"time"

	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// ConfigurationLimit is how long to wait for CloudInitDone. Sources on the
// network have minutes at most; people may give them some more.
const ConfigurationLimit = 30 * time.Minute

// All milestones; Table says what each means.
const (
	UdevSettled         Milestone = "/run/udev/settled"
	CloudInitLocal      Milestone = layout.RunDir + "/cloud-init.local"
	CloudInitDone       Milestone = layout.RunDir + "/cloud-init.done"
	NetworkReady        Milestone = layout.NetworkDir + "/ready"
	StorageWanted       Milestone = layout.RunDir + "/storage.wanted"
	StorageDone         Milestone = layout.RunDir + "/storage.done"
	ConsoleChosen       Milestone = layout.RunDir + "/console.chosen"
	ConsoleReady        Milestone = layout.RunDir + "/console.ready"
	BootCommandsStarted Milestone = layout.RunDir + "/console-bootcmd"
	CommandsStarted     Milestone = layout.RunDir + "/console-commands"
	CommandsDone        Milestone = layout.RunDir + "/console-done"
	Finished            Milestone = layout.RunDir + "/console-final"
	ServicesRestarted   Milestone = layout.RunDir + "/services-restarted"
	UserWaiting         Milestone = layout.UserRunDir + "/waiting"
	UserConfigured      Milestone = layout.UserRunDir + "/configured"
	UserReload          Milestone = layout.UserRunDir + "/reload"
	UserReloading       Milestone = layout.UserRunDir + "/reloading"
	UserRulesHeld       Milestone = layout.UserRunDir + "/rules-held"
	UserDrain           Milestone = layout.RunDir + "/user-drain"
	Shutdown            Milestone = layout.RunDir + "/shutdown"
)

// A Row says of a milestone what it means, and which folders have the programs
// and declarations that set it and that wait for it or look at it.
type Row struct {
	Milestone
	Means        string
	SetBy, Users []string
}

// Folders of the table.
const (
	apply        = "cmd/ros/apply"
	cloudInit    = "images/cloud-init"
	console      = "images/console"
	storage      = "images/console/storage"
	network      = "images/network"
	udev         = "images/udev"
	orchestrator = "sysdocker/orchestrator"
	pid1         = "sysdocker/pid1"
	userDocker   = "userdocker"
)

// Table has all milestones in about the order in which a boot reaches them.
// docs/boot.md prints it, and a test holds it against the code.
func Table() []Row {
	in := func(folders ...string) []string { return folders }
	return []Row{
		{UdevSettled, "the devices that were there at boot have their nodes and links",
			in(udev), in(storage, orchestrator)},
		{CloudInitLocal, "the configuration that needs no network has been read",
			in(cloudInit), in(orchestrator, userDocker)},
		{CloudInitDone, "all of the configuration has been read, and the machine has its name",
			in(cloudInit), in(cloudInit, console, network, orchestrator, pid1, userDocker)},
		{ConsoleChosen, "this boot's console has been chosen: a restarted orchestrator does not choose again",
			in(orchestrator), nil},
		{NetworkReady, "the network is as ready as it will get; the file says what is missing",
			in(network), in(cloudInit, storage, orchestrator, userDocker)},
		{StorageWanted, "the configuration has disks or mounts that containers may need; set before CloudInitLocal",
			in(cloudInit), in(userDocker)},
		{StorageDone, "disks and mounts are there, or have been waited for long enough",
			in(console), in(userDocker)},
		{BootCommandsStarted, "`bootcmd` has begun: a restarted console does not run it again",
			in(console), nil},
		{ConsoleReady, "people can log in; the file has the port of the SSH server, or nothing without one",
			in(console), in(console, orchestrator)},
		{CommandsStarted, "`runcmd` and scripts have begun: a restarted console does not run them again",
			in(console), nil},
		{CommandsDone, "`runcmd` and scripts have run",
			in(console), nil},
		{Finished, "`final_message` and `power_state` have been carried out",
			in(console), nil},
		{ServicesRestarted, "`rancher.restart_services` has been carried out",
			in(orchestrator), nil},
		{UserWaiting, "user Docker waits for other services, so nobody waits for it; removed afterwards",
			in(userDocker), in(orchestrator)},
		{UserConfigured, "the user daemon answers with all of this boot's configuration and disks: the boot does not restart it any more",
			in(userDocker), in(console)},
		{UserReload, "a request: restart the user daemon if its settings have changed",
			in(apply, console), in(userDocker)},
		{UserReloading, "UserReload is being carried out; removed when the daemon answers",
			in(userDocker), in(apply)},
		{UserRulesHeld, "copies of the user daemon's firewall rules are in force while a daemon starts; removed with them",
			in(userDocker), in(userDocker)},
		{UserDrain, "a switch of engines: containers of user Docker stop with their engine; removed afterwards",
			in(orchestrator), in(userDocker)},
		{Shutdown, "the machine is being shut down; the file says how it ends",
			in(pid1), in(userDocker)},
	}
}
